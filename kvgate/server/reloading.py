"""GATE RELOAD: take the configuration file into service, or show what that would change."""

from typing import TYPE_CHECKING

from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, syntax_error
from kvgate.lane.client import Client
from kvgate.wire.reply import OK, Reply

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way


def _reload(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, frame, now
    if len(args) > 3 or (len(args) == 3 and args[2].upper() != b"DRYRUN"):
        raise syntax_error()
    gate.tasks.alone(client, _run, gate, len(args) == 3)


async def _run(gate: "Dispatcher", dry_run: bool) -> Reply:  # noqa: FBT001 - spawned: no keywords
    """OK; with DRYRUN the differences, a line each."""
    if gate.reload is None:
        raise GateError("ERR this gate was started without a way to read its configuration again")
    difference = await gate.reload(dry_run)
    if not dry_run:
        return OK
    lines = [*difference.lines, *(f"moves: {move}" for move in difference.moves)]
    lines += [f"needs a restart: {key}" for key in difference.restart]
    return [line.encode("utf-8", "surrogateescape") for line in lines]


WAYS: "dict[str, Way]" = {"GATE|RELOAD": _reload}
