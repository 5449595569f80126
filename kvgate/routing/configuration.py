"""A whole configuration as values: what the server, the reload and the command line share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from kvgate.policy.audit import AuditSettings
from kvgate.policy.rates import NO_SHARING, RateSettings
from kvgate.policy.settings import GateSettings
from kvgate.policy.users import Users
from kvgate.routing.namespaces import Namespaces


@attrs.frozen(slots=True)
class BackendSettings:
    """One ``[backends.NAME]`` table."""

    name: str
    type: str
    options: Mapping[str, Any] = attrs.field(repr=False)
    """All but ``type``, as TOML gave it; its adapter checks it. Kept out of repr: it may hold a password."""


@attrs.frozen(slots=True)
class Configuration:
    """A file that was read and found without mistakes. See kvgate.config for reading one."""

    gate: GateSettings
    backends: Mapping[str, BackendSettings]
    namespaces: Namespaces
    users: Users
    base: Path
    """The folder that paths in it are relative to."""
    sha256: str
    """Of the file's bytes, hex."""
    path: Path | None = None
    """None: the default configuration."""
    warnings: tuple[str, ...] = ()
    """What can be served but is probably not meant, with key paths."""
    audit: AuditSettings | None = None
    """What is written to the audit log; None: there is none."""
    rates: RateSettings = NO_SHARING
    accept_moves: frozenset[str] = frozenset()
    """Namespaces whose keys a reload may look for elsewhere: their data were moved, or are not wanted."""
