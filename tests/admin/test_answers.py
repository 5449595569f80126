"""The table of answers against the command table."""

import pytest

from kvgate.admin.answers import ANSWERS
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import by_full_name, every_command
from kvgate.server.dispatch import WAYS
from tests.admin.rooms import Room


def _is_called(spec: CommandSpec) -> bool:
    """Containers are commands by themselves only when they may stand alone."""
    return not spec.subcommands or spec.arity == -1


def test_every_row_of_the_gate_is_answered_here_or_has_a_way() -> None:
    rows = {spec.name for spec in every_command() if spec.action is Action.GATE and _is_called(spec)}
    assert rows - ANSWERS.keys() == rows & WAYS.keys()
    assert not ANSWERS.keys() & WAYS.keys()
    assert ANSWERS.keys() <= rows


@pytest.mark.parametrize("name", sorted(name for name in ANSWERS if name.endswith("|HELP")))
@pytest.mark.parametrize("proto", [2, 3])
def test_every_help_is_an_array_of_simple_strings_that_names_every_subcommand(open_gate: Room, name: str, proto: int) -> None:
    container, _, sub = name.partition("|")
    client = open_gate.join()
    open_gate.ask(client, "HELLO", proto)
    raw = open_gate.ask(client, container, sub)
    head, *lines = raw.split(b"\r\n")[:-1]
    assert head == b"*%d" % len(lines)
    assert lines[0] == b"+%b <subcommand> [<arg> [value] [opt] ...]. Subcommands are:" % container.encode()
    spec = by_full_name(container.encode())
    assert spec is not None
    assert {b"+" + sub for sub in spec.subcommands} <= {line.partition(b" ")[0] for line in lines[1:]}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_nothing_but_logging_in_is_answered_before_it(room: Room, name: str) -> None:
    client = room.join()
    spec = by_full_name(name.encode())
    assert spec is not None
    words = [*name.split("|"), *("1" for _ in range(abs(spec.arity)))][: max(abs(spec.arity), name.count("|") + 1)]
    raw = room.ask(client, *words)
    if name in ("QUIT", "RESET"):
        assert raw in (b"+OK\r\n", b"+RESET\r\n")
    elif name in ("AUTH", "HELLO"):
        assert raw.startswith((b"-NOAUTH HELLO must", b"-ERR AUTH <password> called without"))
    else:
        assert raw == b"-NOAUTH Authentication required.\r\n"
