"""What the audit log holds: the ``[audit]`` table as values, and which commands it is about."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from kvgate.commands.keys import channels, key_indices
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError
from kvgate.policy.users import Grants, Named, User, grants
from kvgate.routing.namespaces import Namespaces

ADMIN: Final = ("@admin", "@dangerous", "@shared")
"""``commands = "admin"``: what administers, what can hurt, what changes what all users of a store share."""
ALL: Final = ("@all",)
MIB: Final = 1024 * 1024


@attrs.frozen(slots=True, kw_only=True)
class AuditSettings:
    """``[audit]``. Refused commands, AUTH and refused connections are in the log whatever it says."""

    path: Path
    """Of the file; the folder must exist."""
    commands: tuple[str, ...] = ADMIN
    """Categories (``@write``) and commands (``GET``, ``CONFIG|SET``) that are noted."""
    users: frozenset[str] = frozenset()
    """Whose every command is."""
    namespaces: tuple[str, ...] = ()
    """On whose keys every command is: ``Bank.Ledger``, ``Bank.*``, ``default``, ``*``."""
    max_size: int = 64 * MIB
    """Bytes after which another file is begun."""
    keep: int = 8
    """How many files are kept beside that one."""
    required: bool = False
    """Whether a command that should be noted is refused when it cannot be."""

    @property
    def file(self) -> tuple[Path, int, int]:
        """What asks for another writer when it changes."""
        return self.path, self.max_size, self.keep


class Auditing:
    """`AuditSettings`, compiled."""

    def __init__(self, settings: AuditSettings) -> None:
        """Nothing was asked yet."""
        self.settings = settings
        self._categories = frozenset(word.lower() for word in settings.commands if word.startswith("@"))
        self._names = frozenset(word.upper() for word in settings.commands if not word.startswith("@"))
        self._grants: Grants = grants(settings.namespaces)
        self._known: dict[CommandSpec, bool] = {}

    def of_command(self, spec: CommandSpec) -> bool:
        """Whether the command is noted whoever says it, about whatever key."""
        known = self._known.get(spec)
        if known is None:
            names = {spec.name, spec.name.partition("|")[0]}
            known = "@all" in self._categories or not self._names.isdisjoint(names)
            known = self._known[spec] = known or not self._categories.isdisjoint(spec.categories)
        return known

    def every(self, user: User, namespace: Named, spec: CommandSpec) -> bool:
        """Whether every such command of the user in the namespace is noted: then the lane must not take it by itself."""
        return self.of_command(spec) or user.name in self.settings.users or self._grants.cover(namespace)

    def wants(self, user: User | None, spec: CommandSpec, args: Sequence[bytes], spaces: Namespaces) -> bool:
        """Whether a command is noted."""
        if self.of_command(spec) or spec.name == "AUTH":
            return True
        if spec.name == "HELLO":
            return any(word.upper() == b"AUTH" for word in args[2:])
        if user is not None and user.name in self.settings.users:
            return True
        if not self.settings.namespaces:
            return False
        for name in names_in(spec, args):
            namespace = spaces.of_channel(name)
            if namespace is not None and self._grants.cover(namespace):
                return True
        return False


def names_in(spec: CommandSpec, args: Sequence[bytes]) -> list[bytes]:
    """The keys and channels of a request; none where it does not tell them."""
    try:
        return [args[at] for at in (*key_indices(spec, args), *channels(spec, args))]
    except (GateError, IndexError):  # a wrong request, which nobody has looked at yet
        return []
