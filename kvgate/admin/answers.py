"""All commands that the gate answers itself and at once, by the name of their row in the command table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kvgate.admin import (
    acl,
    client,
    command,
    commandstats,
    connection,
    connections,
    diagnostics,
    gate,
    help,  # noqa: A004 - a module
    hotkeys,
    info,
    latency,
    namespaces,
    settings,
    slowlog,
)
from kvgate.server.site import Answer, Collect

ANSWERS: Final[Mapping[str, Answer]] = MappingProxyType(
    {
        **connection.ANSWERS,
        **client.ANSWERS,
        **acl.ANSWERS,
        **command.ANSWERS,
        **settings.ANSWERS,
        **info.ANSWERS,
        **commandstats.ANSWERS,
        **connections.ANSWERS,
        **diagnostics.ANSWERS,
        **hotkeys.ANSWERS,
        **latency.ANSWERS,
        **namespaces.ANSWERS,
        **slowlog.ANSWERS,
        **gate.ANSWERS,
        **help.ANSWERS,
    }
)
"""What else has `Action.GATE` asks the stores or changes a transaction: see kvgate.server."""
PARTS: Final[Mapping[str, Collect]] = MappingProxyType(
    {
        **commandstats.PARTS,
        **connections.PARTS,
        **hotkeys.PARTS,
        **info.PARTS,
        **latency.PARTS,
        **namespaces.PARTS,
        **slowlog.PARTS,
    }
)
"""Of commands that tell of all processes: what each of them collects for the one that is asked."""
