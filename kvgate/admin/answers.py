"""All commands that the gate answers itself and at once, by the name of their row in the command table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kvgate.admin import acl, client, command, connection, diagnostics, gate, help, info, settings  # noqa: A004 - a module
from kvgate.server.site import Answer

ANSWERS: Final[Mapping[str, Answer]] = MappingProxyType(
    {
        **connection.ANSWERS,
        **client.ANSWERS,
        **acl.ANSWERS,
        **command.ANSWERS,
        **settings.ANSWERS,
        **info.ANSWERS,
        **diagnostics.ANSWERS,
        **gate.ANSWERS,
        **help.ANSWERS,
    }
)
"""What else has `Action.GATE` asks the stores or changes a transaction: see kvgate.server."""
