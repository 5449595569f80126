"""The hypothesis state machine: one rule for each command that both servers can do, and for what combines them."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kvgate.commands.keys import key_indices
from kvgate.commands.spec import Action
from kvgate.commands.table import resolve
from kvgate.errors import GateError
from kvgate_compat import pools
from kvgate_compat.pair import Pair
from kvgate_compat.readings import ASKING, asks
from kvgate_compat.steps import Block, Piped, Single
from kvgate_compat.table import GENERATORS, specs
from kvgate_compat.words import FunctionsPayload, Payload, Request

_FILL = ("HSET", "SET", "HSET", "MSET", "APPEND", "SETEX", "HMSET", "RPUSH", "SADD", "ZADD", "GEOADD", "EXPIRE")
"""What an example begins with, so that commands meet data."""


def _combinable(names: Sequence[str]) -> "st.SearchStrategy[Request] | None":
    """Requests that may stand in pipelines and transactions: their replies are compared by themselves, and the gate lets
    them into MULTI (what it answers itself, such as KEYS, is refused there: it would have to be run by the store)."""
    known = specs()
    able = [name for name in names if name not in ASKING | {"LCS"} and known[name].action is not Action.GATE]
    return _one_of(tuple(able)).filter(_may_be_combined) if able else None


@st.composite
def _one_of(draw: st.DrawFn, names: tuple[str, ...]) -> Request:
    """A request of one of the commands."""
    return draw(GENERATORS[draw(st.sampled_from(names))])


def _may_be_combined(request: Request) -> bool:
    if any(isinstance(arg, Payload | FunctionsPayload) for arg in request.args):
        return False  # it is asked for just before the command
    if asks(request.name, [arg for arg in request.args if isinstance(arg, bytes)]):
        return False
    return _tells_its_keys(request)


def _tells_its_keys(request: Request) -> bool:
    """Not what the gate refuses when it is queued, because it does not say its keys: see LEFT_OUT, "Inside MULTI"."""
    args = [arg if isinstance(arg, bytes) else b"0" for arg in request.args]
    try:
        spec = resolve(args)
    except GateError:
        return True  # Redis refuses it when it is queued as well
    try:
        key_indices(spec, args)
    except GateError:
        return False
    return True


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
        members[f"do_{name.lower().replace('|', '_')}"] = rule(request=GENERATORS[name].map(put))(_step(pair))
    fills = tuple(name for name in _FILL if name in names)
    if fills:
        members["fill"] = initialize(requests=st.lists(_one_of(fills).map(put), min_size=1, max_size=6))(_fill(pair))
    together = _combinable(names)
    if together is not None:
        together = together.map(put)
        members["in_a_pipeline"] = rule(requests=st.lists(together, min_size=2, max_size=6))(_pipeline(pair))
        if transactions:
            members["in_a_transaction"] = rule(
                requests=st.lists(together, max_size=4),
                watched=st.lists(pools.key.map(pair.keys.key), max_size=2),
                meanwhile=st.one_of(st.none(), together),
                discard=st.sampled_from((False, False, False, True)),
            )(_transaction(pair))
    return type("Comparison", (Comparison,), members)


def _step(pair: Pair) -> "Callable[[Any, Request], None]":
    def do(self: RuleBasedStateMachine, request: Request) -> None:
        del self
        pair.run(Single(request))

    return do


def _fill(pair: Pair) -> "Callable[[Any, list[Request]], None]":
    def fill(self: RuleBasedStateMachine, requests: list[Request]) -> None:
        del self
        for request in requests:
            pair.run(Single(request))

    return fill


def _pipeline(pair: Pair) -> "Callable[[Any, list[Request]], None]":
    def in_a_pipeline(self: RuleBasedStateMachine, requests: list[Request]) -> None:
        del self
        pair.run(Piped(tuple(requests)))

    return in_a_pipeline


def _transaction(pair: Pair) -> "Callable[..., None]":
    def in_a_transaction(
        self: RuleBasedStateMachine, requests: list[Request], watched: list[bytes], meanwhile: Request | None, discard: bool
    ) -> None:
        del self
        pair.run(Block(tuple(requests), tuple(watched), meanwhile, discard))

    return in_a_transaction


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
