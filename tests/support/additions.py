"""The commands of the table that a plain Redis 7.0 lacks: of Redis 7.2, of other servers and modules, or kvgate's own."""

from typing import Final

from kvgate.commands.table import every_command

NOT_IN_REDIS: Final = frozenset(
    spec.name
    for spec in every_command()
    if spec.group in ("conditional", "exstring", "exhash", "gate") or spec.name == "CLIENT|SETINFO"
)
"""Full names, upper case. Each row says in `why` where it comes from."""
