"""Every row of tair.md on every backend, command by command in RESP2 and as one pipeline in RESP3."""

import pytest

from tests.support.resp import frame
from tests.versioned.cases import CASES, Case
from tests.versioned.gates import KindOfGate
from tests.versioned.replies import dialogue, read


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_row_holds(gate: KindOfGate, case: Case, proto: int) -> None:
    if gate.kind == "kvrocks":
        case = case.without("OBJECT ENCODING")
    commands = case.commands(f"resp{proto}")
    with gate.client(proto=proto) as client:
        if proto == 2:
            told = [client.raw_reply(*command) for command in commands]
        else:
            client.send_raw(b"".join(frame(*command) for command in commands))
            told = [client.read_one() for _ in commands]
    wrong = dialogue(commands, case.expected, [read(raw, proto) for raw in told], proto)
    assert not wrong, wrong
