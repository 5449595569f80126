"""Generated commands, to every backend and to the model: the same answers. ``make versioned`` tries more of them."""

import itertools
import os
import time
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.resp import frame
from tests.support.servers import RedisServer
from tests.versioned import floats, model_hashes, model_strings
from tests.versioned.cases import NAMESPACE
from tests.versioned.gates import SCRIPTED, KindOfGate
from tests.versioned.generate import GENERIC, HASHES, STRINGS, Command, Step, expanded, number, steps
from tests.versioned.model import Model
from tests.versioned.replies import OK, Error, Expected, Simple, dialogue, read

EXAMPLES = int(os.environ.get("VERSIONED_EXAMPLES", "0"))
"""For each backend; 0 for those few that each run of the tests tries, always the same."""
QUICK = 60
SEARCH = settings(
    max_examples=EXAMPLES or QUICK,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
HANDLERS_OF = (model_strings, model_hashes)
"""They enter their handlers into the model when they are imported."""
_runs = itertools.count()


def predicted(model: Model, plan: Sequence[Step], now: int) -> tuple[list[Command], list[Expected]]:
    """The requests of the steps, and what the model answers to them. After every second one, what it wrote is looked at."""
    requests, answers = list[Command](), list[Expected]()
    for place, step in enumerate(plan):
        replies = [model.do(command, now) for command in step]
        if len(step) == 1:
            requests += step
            answers += replies
        else:
            requests += [(b"MULTI",), *step, (b"EXEC",)]
            answers += [OK, *[Simple("QUEUED")] * len(step), replies]
        if place % 2 and len(step[-1]) > 1:
            looks = model.looks(*step[-1][1:3])
            requests += looks
            answers += [model.do(look, now) for look in looks]
    return requests, answers


def search(gate: KindOfGate, plan: Sequence[Step], proto: int) -> None:
    """Send all of it at once, and compare."""
    prefix = f"{NAMESPACE}:{{{next(_runs)}}}".encode()  # keys that no other example has, all of one shard
    meant = [[expanded(command, prefix) for command in step] for step in plan]
    requests, answers = predicted(Model(coarse=gate.kind in SCRIPTED), meant, int(time.time() * 1000))
    with gate.client(proto=proto) as client:
        client.send_raw(b"".join(frame(*command) for command in requests))
        told = [read(client.read_one(), proto) for _ in requests]
    wrong = dialogue(requests, answers, told, proto)
    assert not wrong, wrong


@SEARCH
@given(plan=steps(STRINGS, GENERIC), proto=st.sampled_from((2, 3)))
def test_strings(gate: KindOfGate, plan: list[Step], proto: int) -> None:
    search(gate, plan, proto)


@SEARCH
@given(plan=steps(HASHES, GENERIC), proto=st.sampled_from((2, 3)))
def test_hashes(gate: KindOfGate, plan: list[Step], proto: int) -> None:
    search(gate, plan, proto)


@SEARCH
@given(plan=steps(GENERIC, STRINGS, HASHES), proto=st.sampled_from((2, 3)))
def test_all_together(gate: KindOfGate, plan: list[Step], proto: int) -> None:
    search(gate, plan, proto)


@SEARCH
@given(numbers=st.lists(number, min_size=1, max_size=8))
def test_a_real_redis_adds_as_the_model(module_redis: RedisServer, numbers: list[bytes]) -> None:
    """What is no number, what overflows, and every digit of what does not."""
    with module_redis.client() as client:
        client.cmd("DEL", "sum")
        total = floats.parse(b"0")
        for each in numbers:
            told, parsed = read(client.raw_reply("INCRBYFLOAT", "sum", each), 2), floats.parse(each)
            assert total is not None
            summed = None if parsed is None else floats.total(total, parsed)
            if parsed is None:
                assert told == Error("ERR value is not a valid float"), each
            elif summed is None:
                assert told == Error("ERR increment would produce NaN or Infinity"), each
            else:
                assert told == floats.human(summed), each
                total = floats.parse(floats.human(summed))
