"""The hypothesis state machine: one rule for each command that both servers can do, and for what combines them."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kvgate_compat.channels import LISTENING, TELLING
from kvgate_compat.clients import ALONE, BESIDE
from kvgate_compat.expiry import mortal
from kvgate_compat.frames import raw
from kvgate_compat.pair import Pair
from kvgate_compat.readings import READINGS
from kvgate_compat.speakers import MOST
from kvgate_compat.steps import Aside, Passing, Piped, Single, Step
from kvgate_compat.table import GENERATORS, can_be_queued, may_be_queued
from kvgate_compat.turns import flight, piped, turns
from kvgate_compat.words import Request

_FILL: Final = (
    *("HSET", "SET", "HSET", "MSET", "APPEND", "SETEX", "HMSET", "RPUSH", "LPUSH", "SADD", "SADD", "ZADD", "ZADD"),
    *("EXPIRE", "GEOADD", "XADD", "SETBIT", "HINCRBY", "PFADD", "EXSET", "EXHSET", "XGROUP|CREATE"),
)
"""What an example begins with, so that commands meet data."""
_WEIGHT: Final = 25
"""Commands of a plan for which each rule that combines them is there once more, so that it is drawn often enough."""
_SLOW: Final = ("let_a_key_expire", "time_passes")
"""Rules that cost waiting: they are there once."""
_AGAINST_SLOW: Final = 40
"""Rules for single commands are repeated until there are so many: a plan of two commands would mostly wait otherwise."""
_client = st.sampled_from((*(0,) * 6, *range(1, MOST)))


@st.composite
def _one_of(draw: st.DrawFn, names: tuple[str, ...]) -> Request:
    """A request of one of the commands."""
    return draw(GENERATORS[draw(st.sampled_from(names))])


def make_machine(pair: Pair, names: Sequence[str], *, transactions: bool) -> type[RuleBasedStateMachine]:
    """A machine that drives `pair` with the commands `names` of the table."""

    class Comparison(RuleBasedStateMachine):
        """One example: both servers empty at first."""

        def __init__(self) -> None:
            super().__init__()
            pair.begin()

        def teardown(self) -> None:
            pair.finish()

    put = pair.keys.put
    members: dict[str, Any] = {}
    for name in names:
        if name in LISTENING or name in ALONE:
            continue
        single = st.builds(Single, GENERATORS[name].map(put), _client)
        for copy in range(-(-_AGAINST_SLOW // len(names))):
            members[f"do_{name.lower().replace('|', '_')}_{copy}"] = rule(step=single)(_run(pair))
    dying = mortal(tuple(names))
    if fills := tuple(name for name in _FILL if name in names):
        some = _one_of(fills)
        some = some if dying is None else st.one_of(*[some] * 11, dying)
        filling = st.lists(some.filter(may_be_queued).map(put), min_size=1, max_size=16)
        members["fill"] = initialize(step=filling.map(lambda requests: Piped(tuple(requests))))(_run(pair))
    for rule_name, step in _combining(pair, names, dying, transactions=transactions).items():
        for copy in range(1 if rule_name in _SLOW else 1 + len(names) // _WEIGHT):
            members[f"{rule_name}_{copy}"] = rule(step=step)(_run(pair))
    return type("Comparison", (Comparison,), members)


def _combining(
    pair: Pair, names: Sequence[str], dying: "st.SearchStrategy[Request] | None", *, transactions: bool
) -> "dict[str, st.SearchStrategy[Step]]":
    """The steps that are more than one command, or none."""
    found: dict[str, st.SearchStrategy[Step]] = {}
    if dying is not None:
        found["let_a_key_expire"] = st.builds(Single, dying.map(pair.keys.put), _client)
        found["time_passes"] = st.just(Passing())
    if {"GET", "SET", "APPEND", "INCR"} <= set(names):
        parts = [pair.keys.names] if pair.space is None else [part.keys for part in pair.space.parts]
        found["send_bytes"] = raw(pair.keys, parts, transactions=transactions)
    for rule_name, wanted, others in (("listens", LISTENING, TELLING), ("changes_the_connection", ALONE, BESIDE)):
        if those := tuple(name for name in wanted if name in names):
            beside = tuple(name for name in others if name in names)
            mixed = st.one_of(_one_of(those), _one_of(those + beside), _one_of(beside or those)).map(pair.keys.put)
            found[rule_name] = st.lists(mixed, min_size=1, max_size=8).map(_aside)
    if able := tuple(name for name in names if can_be_queued(name)):
        drawn = _one_of(able) if dying is None else st.one_of(*[_one_of(able)] * 29, dying)
        drawn = drawn.filter(may_be_queued)
        together = drawn.map(pair.keys.put)
        found["in_a_pipeline"] = piped(together, pair.keys, transactions=transactions)
        found["in_flight"] = flight(drawn, pair.keys)
        if transactions:
            found["in_turns"] = turns(together, pair.keys)
    return found


def _aside(requests: Sequence[Request]) -> Aside:
    """Where replies may be turned off it is not known whose one is: then without those that are read, not compared."""
    if any(request.name == "CLIENT|REPLY" for request in requests):
        requests = [request for request in requests if request.name not in READINGS]
    return Aside(tuple(requests))


def _run(pair: Pair) -> "Callable[[Any, Step], None]":
    def do(self: RuleBasedStateMachine, step: Step) -> None:
        del self
        pair.run(step)

    return do


def search_settings(examples: int, steps: int) -> settings:
    """Hypothesis' settings for one run. It does not shrink: an example is a list of steps, which `kvgate_compat.shrink`
    cuts down in seconds."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
