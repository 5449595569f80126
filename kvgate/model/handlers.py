"""Every command that the model can do, by name: what an engine's backend serves."""

from typing import Final

from kvgate.model.expire import EXPIRY
from kvgate.model.generic import GENERIC
from kvgate.model.hashes import HASHES
from kvgate.model.strings import STRINGS
from kvgate.model.transaction import Handler

HANDLERS: Final[dict[str, Handler]] = {
    name: handler for table in (STRINGS, GENERIC, EXPIRY, HASHES) for name, handler in table
}
"""By the command table's names: upper case."""
