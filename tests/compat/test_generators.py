"""Requests are put together soundly; what generators reach is looked at in test_reach.py."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgate_compat import pools
from kvgate_compat.table import ARGUMENTS, GENERATORS, may_agree, specs
from kvgate_compat.words import Option, Payload, Request, Span, any_of, option, requests, seq

SAMPLES = settings(
    max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def samples(strategy: "st.SearchStrategy[Request]") -> list[Request]:
    found: list[Request] = []

    @SAMPLES
    @given(strategy)
    def collect(request: Request) -> None:
        found.append(request)

    collect()
    return found


def test_some_requests_are_right() -> None:
    spec = specs()["SET"]
    assert any(len(request.args) == abs(spec.arity) and not request.damaged for request in samples(GENERATORS["SET"]))


def test_times_are_fixed_once_and_far_apart() -> None:
    request = Request("EXPIRE", (Option(b"EXPIRE"), b"k", Span(100), Span(100, 1000)))
    assert request.for_step(0).args == (b"EXPIRE", b"k", b"100", b"100000")
    assert request.for_step(3).args == (b"EXPIRE", b"k", b"130", b"130000")
    assert request.for_step(3).for_step(9) == request.for_step(3)


def test_no_relative_time_is_short() -> None:
    """A key must not expire in the middle of an example: one server might still have it."""
    for strategy, unit in ((pools.seconds, 1), (pools.milliseconds, 1000)):
        found: list[Any] = []

        @SAMPLES
        @given(strategy)
        def collect(time: Any) -> None:
            found.append(time)  # noqa: B023 - called here, in this turn

        collect()
        for time in found:
            text = time.at(0) if isinstance(time, Span) else time
            if text.lstrip(b"-").isdigit() and not text.startswith((b"0", b"-0")):
                assert int(text) <= 0 or int(text) >= 1000 * unit


def test_labels_name_the_options() -> None:
    request = Request("SET", (Option(b"set"), b"k", b"NX", Option(b"nx"), Option(b"GET"), Option(b"NX")))
    assert request.label == "SET GET NX"
    assert Request("SET", request.args, damaged=True).label == "SET GET NX (damaged)"


def test_parts_are_put_together() -> None:
    strategy = seq(b"a", option("X"), any_of(seq(option("Y"), st.just(b"1")), most=1), st.just([b"z"]))
    found = {tuple(request.args) for request in samples(requests("PING", strategy)) if not request.damaged}
    assert {tuple(map(bytes.upper, args)) for args in found} == {  # type: ignore[arg-type]  # no spans here
        (b"PING", b"A", b"X", b"Z"),
        (b"PING", b"A", b"X", b"Y", b"1", b"Z"),
    }


def test_payloads_are_damaged_as_said() -> None:
    assert Payload(b"k").of(b"abc") == b"abc"
    assert Payload(b"k", "cut").of(b"abc") == b"ab"
    assert Payload(b"k", "flip").of(b"abc") == b"!bc"
    assert Payload(b"k", "empty").of(b"abc") == Payload(b"k", "flip").of(b"") == b""


def test_the_pools_collide() -> None:
    assert len(pools.KEYS) <= 10
    assert any(len(key) > 400 for key in pools.KEYS), "longer than an engine's key"
    assert any(len(text) > 2 * pools.CHUNK for text in pools.TEXTS)
    assert set(ARGUMENTS) == set(GENERATORS)


def test_no_connection_of_the_search_is_killed() -> None:
    said = [b" ".join(bytes(arg) for arg in request.args[2:]).upper() for request in samples(GENERATORS["CLIENT|KILL"])]  # type: ignore[arg-type]  # no spans here
    assert any(b"TYPE NORMAL" in text for text in said)
    kills = (b"SKIPME yes", b"SKIPME NO", b"TYPE normal", b"type normal skipme no", b"TYPE pubsub TYPE normal")
    spares = (b"", b"1.2.3.4:5", b"TYPE normal ID 9", b"ID 9 SKIPME no", b"TYPE normal TYPE pubsub", b"TYPE pubsub", b"JUNK x")
    for text in (*kills, *spares):
        request = Request("CLIENT|KILL", (Option(b"CLIENT"), Option(b"KILL"), *text.split()))
        assert may_agree(request) == (text in spares), text
