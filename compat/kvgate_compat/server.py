"""Generators of the commands about the server: commands, settings, users, logs. What they tell is read by its shape."""

from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.pools import key, value
from kvgate_compat.server_readings import SETTINGS
from kvgate_compat.words import Args, any_of, maybe, option, seq, some

_long = b"y" * 300
_word = st.sampled_from((b"nosuch", b"", b"x\r\ny", b"\xff", _long))
_number = st.sampled_from((b"0", b"1", b"5", b"-1", b"-2", b"x", b"", b"9223372036854775808"))
_commands = st.sampled_from(
    (
        *(
            b"get",
            b"SET",
            b"del",
            b"zunionstore",
            b"xreadgroup",
            b"sort",
            b"eval",
            b"config|get",
            b"CONFIG|GET",
            b"xgroup|create",
        ),
        *(b"bitfield", b"migrate", b"georadius", b"lmpop", b"object", b"select", b"script|load"),
        *(b"nosuch", b"", b"config|nosuch", b"get|x", b"\xff", b"config get"),
    )
)
_sound: SearchStrategy[Args] = st.one_of(
    seq(b"GET", key),
    seq(b"SET", key, value),
    seq(b"mset", some(seq(key, b"v"), most=2)),
    seq(b"ZUNIONSTORE", key, b"2", key, key),
    seq(b"ZUNION", b"2", key, key),
    seq(b"EVAL", b"return 1", st.sampled_from((b"0", b"1", b"2")), key, key),
    seq(b"XREAD", b"COUNT", b"1", b"STREAMS", key, key, b"0", b"0"),
    seq(b"xreadgroup", b"GROUP", b"g", b"c", b"streams", key, b">"),
    seq(b"GEORADIUS", key, b"0", b"0", b"1", b"km", b"STORE", key),
    seq(b"LMPOP", b"2", key, key, b"LEFT"),
    seq(b"OBJECT", b"ENCODING", key),
    seq(b"XGROUP", b"CREATE", key, b"g", b"$"),
    seq(b"BITFIELD", key, b"GET", b"u8", b"0"),
    seq(b"PING"),
    seq(b"GET"),
    seq(b"NOSUCH", key),
    seq(b"CONFIG", b"GET", b"x"),
)
_odd = st.one_of(
    seq(b"MSET", key, b"v", key),
    seq(b"ZUNION", st.sampled_from((b"1", b"9", b"0", b"x")), key, key),
    seq(b"EVAL", b"return 1", st.sampled_from((b"-1", b"9", b"x")), key, key),
)
_whole = st.one_of(_sound, _sound, _odd)
_user = st.sampled_from((b"default", b"default", b"nobody", b"", b"\xff"))
_event = st.sampled_from((b"nosuch", b"", b"x\r\ny", _long))

SERVER: Final[dict[str, SearchStrategy[Args]]] = {
    "ACL|CAT": maybe(st.sampled_from((b"read", b"STREAM", b"@read", b"nosuch", b"x\r\ny", _long))),
    "ACL|DRYRUN": seq(_user, _sound),
    "ACL|GENPASS": maybe(st.sampled_from((b"1", b"4", b"5", b"128", b"4096", b"0", b"-1", b"4097", b"x", b""))),
    "ACL|GETUSER": seq(b"default"),
    "ACL|HELP": seq(),
    "ACL|LIST": seq(),
    "ACL|USERS": seq(),
    "ACL|WHOAMI": seq(),
    "COMMAND": seq(),
    "COMMAND|COUNT": seq(),
    "COMMAND|DOCS": some(_commands, least=0, most=3),
    "COMMAND|GETKEYS": _whole,
    "COMMAND|GETKEYSANDFLAGS": _whole,
    "COMMAND|HELP": seq(),
    "COMMAND|INFO": some(_commands, least=0, most=3),
    "COMMAND|LIST": maybe(
        st.one_of(
            seq(option("FILTERBY"), option("ACLCAT"), st.sampled_from((b"read", b"STRING", b"@read", b"nosuch", b""))),
            seq(option("FILTERBY"), option("PATTERN"), st.sampled_from((b"*", b"g?t", b"X*", b"config|*", b"nosuch", b"["))),
            seq(option("FILTERBY"), option("MODULE"), _word),
            seq(option("FILTERBY"), option("JUNK"), _word),
            seq(option("JUNK"), option("PATTERN"), b"*"),
        )
    ),
    "CONFIG|GET": some(
        st.one_of(
            st.sampled_from(SETTINGS),
            st.sampled_from((b"MaxMemory", b"maxmemory-polic?", b"*", b"max*", b"nosuch", b"", b"[a-m]*", b"\xff")),
        ),
        most=3,
    ),
    "CONFIG|HELP": seq(),
    "INFO": some(
        option(
            "SERVER", "CLIENTS", "MEMORY", "STATS", "REPLICATION", "CPU", "CLUSTER", "KEYSPACE", "ALL", "EVERYTHING", "DEFAULT"
        ),
        least=0,
        most=2,
    ).flatmap(
        lambda words: st.one_of(st.just(words), seq(st.just(words), st.sampled_from((b"nosuch", b"modules", b"", b"cluster"))))
    ),
    "LATENCY|DOCTOR": seq(),
    "LATENCY|GRAPH": seq(_event),
    "LATENCY|HELP": seq(),
    "LATENCY|HISTOGRAM": some(_commands, least=0, most=2),
    "LATENCY|HISTORY": seq(_event),
    "LATENCY|LATEST": seq(),
    "LATENCY|RESET": some(_event, least=0, most=2),
    "MEMORY|HELP": seq(),
    "MEMORY|USAGE": seq(key, any_of(seq(option("SAMPLES"), _number), option("JUNK"), most=2)),
    "ROLE": seq(),
    "SLOWLOG|GET": maybe(_number),
    "SLOWLOG|HELP": seq(),
    "SLOWLOG|LEN": seq(),
    "SLOWLOG|RESET": seq(),
    "TIME": seq(),
}
"""Commands about the server that do not touch data."""
