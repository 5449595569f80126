"""Which commands of the table a search reaches, and the reason for each that it does not."""

from collections.abc import Iterable
from typing import Final

from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import every_command
from kvgate_compat.table import GENERATORS, WITHOUT

MODEL_GROUPS: Final = ("conditional", "exstring", "exhash")
"""Groups of commands that no Redis has, so that they are compared with a model (tests/versioned)."""
STEPS: Final = frozenset(("MULTI", "EXEC", "DISCARD", "WATCH"))
"""Commands that are no requests of their own, but parts of transaction steps."""


def is_command(spec: CommandSpec) -> bool:
    """Whether it is more than a container of subcommands."""
    return not spec.subcommands or spec.arity == -1


def is_reached(spec: CommandSpec) -> bool:
    """Whether a search may send it to both servers."""
    return spec.name in GENERATORS or spec.name in STEPS


def reason(spec: CommandSpec) -> str:
    """Why no search reaches a command; empty when one does, or should."""
    if is_reached(spec):
        return ""
    if spec.action is Action.REFUSE:
        return "the gate refuses it"
    if not is_command(spec):
        return "a container: its subcommands are commands"
    if spec.group in MODEL_GROUPS:
        return "no Redis has it: it is compared with a model"
    if spec.group == "gate":
        return "the gate's own"
    return WITHOUT.get(spec.name, "")


def missing(specs: Iterable[CommandSpec] | None = None) -> list[str]:
    """Names of commands that nothing reaches, without a reason."""
    return [spec.name for spec in specs or every_command() if not is_reached(spec) and not reason(spec)]
