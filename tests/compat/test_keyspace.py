"""Steps are fitted to a server that is cut into parts, and such as it must refuse are left out."""

import pytest
from hypothesis import HealthCheck, given, settings

from kvgate_compat.frames import raw
from kvgate_compat.keys import Keys
from kvgate_compat.keyspace import Keyspace, Part
from kvgate_compat.steps import Flight, Leave, Piped, Raw, Single, Step, Turns
from kvgate_compat.words import Key, Option, Payload, Request, Span

SPACE = Keyspace((Part((b"{t}a", b"{t}b"), b"{t}*"), Part((b"{u}a", b"{u}b", b"{u}c"), without=frozenset(("RPUSH",)))))


def request(text: str) -> Request:
    """`text` with ``@0`` for the first of the keys, and so on."""
    name, *rest = text.split()
    return Request(
        name, (Option(name.encode()), *(Key(SPACE.keys[int(one[1:])]) if one[0] == "@" else one.encode() for one in rest))
    )


def turns(*texts: str) -> Turns:
    return Turns(tuple(Single(request(text)) for text in texts))


def fitted(text: str) -> str:
    step = SPACE.fit(Single(request(text)))
    assert isinstance(step, Single)
    assert SPACE.fit(step) == step
    assert SPACE.allows(step)
    return " ".join(arg.decode() for arg in step.request.args if isinstance(arg, bytes))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GET @0", "GET {t}a"),
        ("GET @1", "GET {u}a"),
        ("GET @4", "GET {u}c"),
        ("SET @0 a", "SET {t}a a"),  # a value is no key
        ("MGET @0 @1 @2", "MGET {t}a {u}a {t}b"),
        ("RENAME @0 @1", "RENAME {t}a {t}b"),
        ("RENAME @1 @0", "RENAME {u}a {u}b"),
        ("RPUSH @1 x", "RPUSH {t}b x"),  # its own part has no lists
        ("SORT @0 BY * GET Ads.T:*->f GET #", "SORT {t}a BY {t}* GET {t}*->f GET #"),
        ("PING", "PING"),
    ],
)
def test_keys_of_one_request(text: str, said: str) -> None:
    assert fitted(text) == said


def test_first_keys_are_in_different_parts() -> None:
    assert SPACE.keys == (b"{t}a", b"{u}a", b"{t}b", b"{u}b", b"{u}c")


@pytest.mark.parametrize(
    ("step", "allowed"),
    [
        (Single(request("GET junk")), False),  # whose part is not known
        (Single(request("MSET {t}a 1 {u}a 2")), True),
        (Single(request("MSETNX {t}a 1 {u}a 2")), False),
        (Single(request("RENAME {t}a junk")), False),
        (Single(request("RENAME {t}a")), True),  # a wrong arity is said before keys are looked at
        (Single(request("RPUSH {u}a 1")), False),
        (Single(request("SORT {t}a BY *")), False),
        (Single(request("SORT {t}a BY nosort GET {t}*")), True),
        (Single(request("ECHO junk")), True),
        (Piped((request("GET {t}a"), request("GET {u}a"))), True),
        (Piped((request("GET {t}a"), request("GET junk"))), False),
        (turns("GET {t}a", "GET {t}b"), True),
        (turns("GET {t}a", "GET {u}b"), False),
        (turns("MGET {t}a {u}b"), False),
        (turns("WATCH {u}a", "MULTI", "GET {t}a", "EXEC"), False),
        (turns("WATCH {t}a", "MULTI", "GET {t}a", "EXEC"), True),
        (turns("RPUSH {u}a v"), False),
        (turns("GET junk"), False),
        (turns(), True),
        (Piped((request("MULTI"), request("GET {t}a"), request("GET {u}a"), request("EXEC"))), False),
        (Flight((Piped((request("GET {t}a"),)), Piped((request("GET {u}a"),), 1))), True),
        (Flight((Piped((request("GET {t}a"),)), Piped((request("GET {t}b"),), 1))), False),
        (Raw((b"PING\r\n",)), True),
    ],
)
def test_what_is_left_out(step: Step, allowed: bool) -> None:
    assert SPACE.allows(step) is allowed


def test_a_transaction_is_in_one_part_that_can_do_it() -> None:
    block = turns("WATCH @0", "SET @0 v", "MULTI", "GET @1", "MGET @0 @1", "EXEC")
    assert SPACE.fit(block) == turns("WATCH {t}a", "SET {t}a v", "MULTI", "GET {t}b", "MGET {t}a {t}b", "EXEC")
    lists = SPACE.fit(turns("GET @1", "RPUSH @1 v"))
    assert lists == turns("GET {t}b", "RPUSH {t}b v")
    assert SPACE.fit(lists) == lists
    assert SPACE.allows(lists)
    assert SPACE.fit(Turns((Leave(1), Single(request("PING"))))) == Turns((Leave(1), Single(request("PING"))))
    pipe = SPACE.fit(Piped((request("MULTI"), request("GET @1"), request("GET @0"), request("EXEC")), 1, (500,)))
    assert pipe == Piped((request("MULTI"), request("GET {u}a"), request("GET {u}b"), request("EXEC")), 1, (500,))


def test_pipelines_in_flight_are_in_parts_of_their_own() -> None:
    flight = SPACE.fit(Flight((Piped((request("GET @1"),)), Piped((request("GET @1"), request("MGET @0 @1")), 1))))
    assert flight == Flight((Piped((request("GET {t}b"),)), Piped((request("GET {u}a"), request("MGET {u}b {u}a")), 1)))
    assert SPACE.allows(flight)


def test_payloads_come_from_the_same_part() -> None:
    restore = Request("RESTORE", (Option(b"RESTORE"), Key(SPACE.keys[1]), Span(10), Payload(SPACE.keys[0])))
    (_, key, _, payload) = SPACE._fit(restore).args
    assert key == b"{u}a"
    assert isinstance(payload, Payload)
    assert payload.key == b"{u}b"
    foreign = Request("RESTORE", (Option(b"RESTORE"), Key(b"{u}a"), b"0", Payload(b"{t}a")))
    assert not SPACE.allows(Single(foreign))


def test_a_server_in_one_part() -> None:
    step = Single(request("RENAME @0 @1"))
    other = Keyspace((Part((b"x", b"y")),))
    assert other.fit(Single(Request("RENAME", (Option(b"RENAME"), Key(b"x"), Key(b"y"))))) == Single(request("RENAME x y"))
    assert other.allows(other.fit(step))
    assert other.allows(Single(request("RENAME x junk")))
    assert not other.without("GET")
    assert Keyspace((Part((b"x",), without=frozenset(("GET",))),)).without("GET")


def test_a_transaction_in_bytes_has_keys_of_one_part() -> None:
    whole = Keys("parts", SPACE.keys)
    seen: set[tuple[bool, int]] = set()

    @settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(raw(whole, [part.keys for part in SPACE.parts], transactions=True))
    def look(step: Raw) -> None:
        data = b"".join(step.frames)
        parts = sum(any(key in data for key in part.keys) for part in SPACE.parts)
        seen.add((b"MULTI" in data, parts))
        if b"MULTI" in data:
            assert b"$3\r\nGET\r\n$0\r\n\r\n" not in data, "the empty key is in none of the parts"

    look()
    assert seen == {(True, 0), (True, 1), (False, 0), (False, 1), (False, 2)}
