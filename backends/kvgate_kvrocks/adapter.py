"""What the entry point of the KvRocks adapter names, and what KvRocks lacks or does in its own way.

Facts from the KvRocks documentation (supported commands, as of 2.15) and its behaviour as described there.
"""

from types import MappingProxyType
from typing import Final

from kvgate.wire.request import BULK_LIMIT
from kvgate_kvrocks.cursors import StoredCursors
from kvgate_redis.adapter import CAPABILITIES as REDIS
from kvgate_redis.adapter import RespAdapter
from kvgate_redis.backend import MAX_VALUE
from kvgate_redis.dialect import Dialect

LACKING: Final = (
    "BRPOPLPUSH",  # BLMOVE does the same
    "FUNCTION|DUMP",
    "FUNCTION|KILL",
    "FUNCTION|RESTORE",
    "FUNCTION|STATS",
    "OBJECT|ENCODING",  # its OBJECT has DUMP alone, which Redis has not
    "OBJECT|FREQ",
    "OBJECT|IDLETIME",
    "OBJECT|REFCOUNT",
    "SCRIPT|KILL",
    "SPUBLISH",
    "TOUCH",
)
"""Commands that KvRocks does not have although it has their kind."""

CAPABILITIES: Final = REDIS | {f"-{name}" for name in LACKING}

adapter: Final = RespAdapter(
    Dialect(
        "kvrocks",
        CAPABILITIES,
        StoredCursors(),
        users=False,  # AUTH has one argument: the token of a namespace, or requirepass
        counts=False,  # DBSIZE is what the last `DBSIZE SCAN` counted, 0 before the first
        globs=False,  # older ones take a prefix and a star only, newer ones scan the whole store for any other pattern
        scan_types=frozenset({b"string", b"hash", b"list", b"set", b"zset", b"stream"}),  # others: an error
        flush=(b"FLUSHDB",),  # of the token's namespace; it has no ASYNC
    ),
    resp3=False,  # answers HELLO 3 with proto 2 unless it is configured (resp3-enabled)
    defaults=MappingProxyType({"max_value": MAX_VALUE, "largest_value": BULK_LIMIT}),
)
"""KvRocks; the token of its namespace is the `password`, or in `password_file`."""
