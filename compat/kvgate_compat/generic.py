"""Generators of the commands on keys of any type, of expiry and listing, and of what makes keys of other types."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat import pools
from kvgate_compat.pools import at_milliseconds, at_seconds, key, milliseconds, seconds
from kvgate_compat.words import Args, any_of, maybe, option, seq, some

_condition = option("NX", "XX", "GT", "LT")
_conditions = st.one_of(maybe(_condition), maybe(_condition), any_of(_condition, _condition, option("JUNK"), most=3))
_index = st.sampled_from((b"0", b"1", b"-1", b"2", b"100", b"x", b""))
_types = option("STRING", "HASH", "LIST", "SET", "ZSET", "STREAM", "NONE")
_by = st.sampled_from((b"nosort", b"*", b"Ads.T:*", b"a->f", b"*->f", b"#"))
_sorting = any_of(
    option("ASC", "DESC"),
    option("ALPHA"),
    seq(option("LIMIT"), _index, _index),
    seq(option("BY"), _by),
    seq(option("GET"), _by),
)

GENERIC: dict[str, SearchStrategy[Args]] = {
    "COPY": seq(key, key, any_of(option("REPLACE"), option("JUNK"), most=2)),
    "DEL": some(key),
    "DUMP": seq(key),
    "EXISTS": some(key),
    "EXPIRE": seq(key, seconds, _conditions),
    "EXPIREAT": seq(key, at_seconds, _conditions),
    "EXPIRETIME": seq(key),
    "KEYS": seq(pools.pattern),
    "OBJECT|ENCODING": seq(key),
    "OBJECT|FREQ": seq(key),
    "OBJECT|HELP": seq(),
    "OBJECT|IDLETIME": seq(key),
    "OBJECT|REFCOUNT": seq(key),
    "PERSIST": seq(key),
    "PEXPIRE": seq(key, milliseconds, _conditions),
    "PEXPIREAT": seq(key, at_milliseconds, _conditions),
    "PEXPIRETIME": seq(key),
    "PTTL": seq(key),
    "RANDOMKEY": seq(),
    "RENAME": seq(key, key),
    "RENAMENX": seq(key, key),
    "RESTORE": seq(
        key,
        st.one_of(st.just(b"0"), milliseconds),
        pools.payload,
        any_of(
            option("REPLACE"),
            option("ABSTTL"),
            seq(option("IDLETIME"), st.sampled_from((b"0", b"100", b"-1", b"x"))),
            seq(option("FREQ"), st.sampled_from((b"0", b"255", b"256", b"-1", b"x"))),
        ),
    ),
    "SCAN": seq(
        pools.cursor,
        any_of(seq(option("MATCH"), pools.pattern), seq(option("COUNT"), pools.count), seq(option("TYPE"), _types), most=3),
    ),
    "SORT": seq(key, _sorting, maybe(seq(option("STORE"), key))),
    "SORT_RO": seq(key, _sorting),
    "TOUCH": some(key),
    "TTL": seq(key),
    "TYPE": seq(key),
    "UNLINK": some(key),
}

_sync = maybe(option("ASYNC", "SYNC", "JUNK"))
KEYSPACE: dict[str, SearchStrategy[Args]] = {"DBSIZE": seq(), "FLUSHALL": _sync, "FLUSHDB": _sync}
"""Commands on all keys that the table has among the server's."""
