"""Every command that the model can do, by name: what an engine's backend serves."""

from typing import Final

from kvgate.model.bits import BITS
from kvgate.model.bits_field import BIT_FIELDS
from kvgate.model.conditional import CONDITIONALS
from kvgate.model.dump import DUMPS
from kvgate.model.exhash_writes import EXHASH_WRITES
from kvgate.model.exhashes import EXHASH_READS
from kvgate.model.expire import EXPIRY
from kvgate.model.exstrings import EXSTRINGS
from kvgate.model.generic import GENERIC
from kvgate.model.generic_object import OBJECTS
from kvgate.model.hashes import HASHES
from kvgate.model.locks import LOCKS
from kvgate.model.strings import STRINGS
from kvgate.model.strings_lcs import STRINGS_LCS
from kvgate.model.strings_ranges import STRING_RANGES
from kvgate.model.transaction import Handler

_TABLES: Final = (
    STRINGS,
    STRING_RANGES,
    STRINGS_LCS,
    BITS,
    BIT_FIELDS,
    GENERIC,
    OBJECTS,
    DUMPS,
    EXPIRY,
    HASHES,
    LOCKS,
    EXSTRINGS,
    EXHASH_READS,
    EXHASH_WRITES,
    CONDITIONALS,
)

HANDLERS: Final[dict[str, Handler]] = {name: handler for table in _TABLES for name, handler in table}
"""By the command table's names, upper case; known scripts by those of `kvgate.commands.scripts.claim`."""
