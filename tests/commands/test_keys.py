"""Where keys and channels are, against COMMAND GETKEYS of a real server and against what commands really touch."""

from typing import Any

import hiredis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgate.commands.keys import (
    channel_patterns,
    channels,
    fixed_keys,
    hidden_patterns,
    integer,
    key_indices,
    keys_with_flags,
    needs_own_connection,
    only_writes,
    written_keys,
)
from kvgate.commands.spec import CommandSpec, Keys
from kvgate.commands.table import by_full_name, every_command, resolve
from kvgate.errors import GateError
from tests.support.additions import NOT_IN_REDIS
from tests.support.resp import Resp
from tests.support.servers import RedisServer

Args = list[bytes]


def split(text: str) -> Args:
    """Words of a request; ``''`` is an empty argument."""
    return [b"" if word == "''" else word.encode() for word in text.split()]


def ours(args: Args) -> Args:
    return [args[index] for index in key_indices(resolve(args), args)]


def redis_says(server: RedisServer, args: Args) -> Any:
    with Resp(server.address) as client:
        return client.ask("COMMAND", "GETKEYS", *args)


ALL_KINDS = """
APPEND a v | BITCOUNT a 0 1 | BITFIELD a GET u8 0 | BITFIELD_RO a GET u8 0 | BITOP AND d a b c | BITPOS a 1
COPY a b REPLACE | DEL a | DEL a b c | UNLINK a b | EXISTS a b a | TOUCH a b | WATCH a b | MGET a b c | MSET a 1 b 2
MSETNX a 1 b 2 c 3 | DUMP a | RESTORE a 0 x REPLACE | RESTORE-ASKING a 0 x | EXPIRE a 1 NX | RENAME a b | RENAMENX a b
MOVE a 1 | TYPE a | OBJECT ENCODING a | object freq a | MEMORY USAGE a SAMPLES 0 | PFADD a x y | PFCOUNT a b c
PFMERGE d a b | PFDEBUG ENCODING a | GEOADD a 1 1 m | GEODIST a m n | GEORADIUS a 1 1 1 m
GEORADIUS a 1 1 1 m STORE d | GEORADIUS a 1 1 1 m COUNT 1 ASC storedist d | GEORADIUS a 1 1 1 m STORE d STOREDIST e
GEORADIUSBYMEMBER a m 1 km | GEORADIUSBYMEMBER a m 1 km STORE d | GEORADIUSBYMEMBER a STORE 1 km WITHDIST STOREDIST d
GEORADIUS_RO a 1 1 1 m | GEORADIUSBYMEMBER_RO a m 1 m | GEOSEARCH a FROMMEMBER m BYRADIUS 1 m
GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m | HSET a f v | HDEL a f g | HMGET a f g | HSCAN a 0 | BLPOP a b c 0
BRPOP a 0 | BRPOPLPUSH a b 0 | BLMOVE a b LEFT RIGHT 0 | LMOVE a b LEFT LEFT | LMPOP 1 a LEFT
LMPOP 2 a b RIGHT COUNT 3 | BLMPOP 0 2 a b LEFT | RPOPLPUSH a b | LINSERT a BEFORE x y | SMOVE a b m | SDIFF a b
SDIFFSTORE d a b | SINTERCARD 2 a b LIMIT 1 | SINTERSTORE d a | SUNION a | SUNIONSTORE d a b | BZPOPMIN a b 0
BZMPOP 0 1 a MIN | ZMPOP 2 a b MAX | ZUNION 2 a b WEIGHTS 1 2 | ZINTER 1 a WITHSCORES | ZDIFF 2 a b
ZINTERCARD 2 a b LIMIT 4 | ZUNIONSTORE d 2 a b AGGREGATE MAX | ZINTERSTORE d 1 a | ZDIFFSTORE d 2 a b
ZRANGESTORE d a 0 1 | ZRANGE a 0 1 | XADD a * f v | XREAD STREAMS a 0 | XREAD COUNT 2 BLOCK 0 STREAMS a b 0 $
xread streams STREAMS 0 | XREADGROUP GROUP g c STREAMS a > | XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b > 0
XREADGROUP GROUP STREAMS STREAMS STREAMS a > | XGROUP CREATE a g $ MKSTREAM | XINFO STREAM a FULL | XGROUP destroy a g
XCLAIM a g c 0 1-1 | LCS a b LEN | SORT a | SORT a LIMIT 0 1 ALPHA DESC | SORT a BY w_* GET # GET x_*->f STORE d
SORT a STORE d BY nosort | SORT a STORE d STORE e | SORT a LIMIT STORE d STORE e | sort a by store store d
SORT a GET store STORE d | SORT_RO a BY w_* GET x_* | EVAL s 0 | EVAL s 0 x | EVAL s 1 a x | EVAL s 2 a b
EVALSHA h 1 a | EVAL_RO s 1 a | EVALSHA_RO h 2 a b x | FCALL f 1 a | FCALL_RO f 2 a b x y | MIGRATE h 1 a 0 1
MIGRATE h 1 '' 0 1 COPY KEYS a b | MIGRATE h 1 '' 0 1 AUTH KEYS KEYS a b
MIGRATE h 1 '' 0 1 REPLACE AUTH2 KEYS KEYS KEYS a | SET a v GET | SET a v EX 1
SINTER a b | BZPOPMAX a b 0
"""

RICH = [split(text) for line in ALL_KINDS.strip().splitlines() for text in line.split("|")]


@pytest.mark.parametrize("args", RICH, ids=lambda args: b" ".join(args).decode())
def test_keys_are_those_of_getkeys(args: Args, module_redis: RedisServer) -> None:
    assert sorted(ours(args)) == sorted(redis_says(module_redis, args))


def test_the_list_above_covers_every_rule() -> None:
    """Commands whose keys are not simply at a fixed place are all in it."""
    tried = {resolve(args).name for args in RICH}
    wanted = {spec.name for spec in every_command() if fixed_keys(spec) is None}
    assert wanted - tried == set()


def least_request(spec: CommandSpec, extra: int) -> Args:
    """A request with every argument different, which has the wanted number of keys where they are counted."""
    name: Args = spec.name.encode().split(b"|")
    args = [*name, *(b"arg%d" % n for n in range(abs(spec.arity) - len(name) + (extra if spec.arity < 0 else 0)))]
    for place in spec.keys:
        if place.keynum >= 0:
            args[place.index] = b"1"
            args.extend([b"more1", b"more2"])
    return args


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(spec.name for spec in every_command() if spec.name not in ("XREAD", "XREADGROUP", "COPY"))),
    extra=st.integers(0, 5),
)
def test_every_command_agrees_with_getkeys(name: str, extra: int, module_redis: RedisServer) -> None:
    spec = by_full_name(name.encode())
    assert spec is not None
    if name in NOT_IN_REDIS or spec.subcommands:
        return  # Redis has no such command, or it is a container
    args = least_request(spec, max(extra, name == "PFMERGE"))  # see test_a_run_of_keys_may_be_empty
    if name in ("MSET", "MSETNX") and len(args) % 2 == 0:
        args.append(b"value")
    said = redis_says(module_redis, args if len(args) > 1 else [*args, b"x"])  # it takes no command of one word
    if isinstance(said, hiredis.ReplyError):
        assert str(said) == "ERR The command has no key arguments"
        assert key_indices(spec, args) == ()
    else:
        assert sorted(ours(args)) == sorted(said)


words = st.integers(0, 9999).map(lambda n: b"w%d" % n)


def any_case(word: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from([word, word.lower(), word.capitalize()])


def option(word: bytes, *values: st.SearchStrategy[bytes]) -> st.SearchStrategy[Args]:
    return st.tuples(any_case(word), *values).map(list)


def joined(parts: list[Args]) -> Args:
    return [arg for part in parts for arg in part]


numbers = st.integers(0, 99).map(lambda n: b"%d" % n)
sort_options = st.lists(
    st.one_of(
        option(b"BY", words),
        option(b"GET", words),
        option(b"STORE", words),
        option(b"LIMIT", numbers, numbers),
        option(b"ASC"),
        option(b"DESC"),
        option(b"ALPHA"),
    ),
    max_size=6,
).map(joined)
read_options = st.lists(st.one_of(option(b"COUNT", numbers), option(b"BLOCK", numbers)), max_size=3).map(joined)
streams = st.lists(words, min_size=1, max_size=4).map(lambda keys: [b"streams", *keys, *[b"0"] * len(keys)])
radius_options = st.tuples(
    st.lists(st.one_of(option(b"WITHDIST"), option(b"COUNT", numbers), option(b"DESC")), max_size=3).map(joined),
    st.one_of(st.just([]), option(b"STORE", words)),
    st.one_of(st.just([]), option(b"STOREDIST", words)),
).flatmap(lambda parts: st.permutations([part for part in parts if part]).map(joined))
counted = st.tuples(st.lists(words, min_size=1, max_size=5), st.lists(words, max_size=3)).map(
    lambda both: [b"%d" % len(both[0]), *both[0], b"LEFT", *both[1]]
)
request = st.one_of(
    sort_options.map(lambda o: [b"SORT", b"key", *o]),
    st.tuples(read_options, streams).map(lambda p: [b"XREAD", *p[0], *p[1]]),
    st.tuples(words, words, read_options, streams).map(lambda p: [b"XREADGROUP", b"GROUP", p[0], p[1], *p[2], *p[3]]),
    radius_options.map(lambda o: [b"GEORADIUS", b"key", b"1", b"2", b"3", b"km", *o]),
    radius_options.map(lambda o: [b"GEORADIUSBYMEMBER", b"key", b"m", b"3", b"km", *o]),
    counted.flatmap(
        lambda c: st.sampled_from(
            [[b"EVAL", b"s", *c], [b"FCALL", b"s", *c], [b"LMPOP", *c], [b"BZMPOP", b"0", *c], [b"ZUNIONSTORE", b"d", *c]]
        )
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(args=request)
def test_options_in_any_order_agree_with_getkeys(args: Args, module_redis: RedisServer) -> None:
    said = redis_says(module_redis, args)
    assert sorted(ours(args)) == sorted(said)


SHOWN = """
SET a v | SET a v GET | SET a get | BITFIELD a | BITFIELD a GET u8 0 | BITFIELD a GET u8 0 INCRBY u8 0 1
BITFIELD a OVERFLOW SAT SET u8 0 1 | SORT a STORE d | ZUNIONSTORE d 2 a b | GEORADIUS a 1 1 1 m STORE d | COPY a b
EVAL_RO s 1 a | XREAD STREAMS a 0 | DEL a b | PFMERGE d a
"""


@pytest.mark.parametrize("text", [text.strip() for line in SHOWN.strip().splitlines() for text in line.split("|")])
def test_what_is_done_to_keys_is_what_redis_says(text: str, module_redis: RedisServer) -> None:
    args = split(text)
    with Resp(module_redis.address) as client:
        said = client.cmd("COMMAND", "GETKEYSANDFLAGS", *args)
    found = keys_with_flags(resolve(args), args)
    assert sorted((args[index], sorted(flags)) for index, flags in found) == sorted(
        (key, sorted(flag.decode() for flag in flags)) for key, flags in said
    )


def test_a_run_of_keys_may_be_empty() -> None:
    """PFMERGE without sources is a right command, though COMMAND GETKEYS of Redis 7.0 calls it invalid."""
    assert ours(split("PFMERGE d")) == [b"d"]


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        ("SORT a STORE GET STORE d", [b"a", b"d"]),
        ("GEORADIUS g 0 0 10 m STORE c STORE d", [b"g", b"c", b"d"]),
        ("XREADGROUP NOACK GROUP g STREAMS STREAMS d >", [b"d"]),
    ],
)
def test_where_getkeys_is_deceived_the_real_keys_are_found(text: str, touched: Args, module_redis: RedisServer) -> None:
    args = split(text)
    assert ours(args) == touched
    with Resp(module_redis.address) as client:
        client.cmd("FLUSHALL")
        client.cmd("RPUSH", "a", "1")
        client.cmd("GEOADD", "g", "0", "0", "m")
        if args[0].startswith(b"X"):
            client.cmd("XGROUP", "CREATE", "d", "g", "$", "MKSTREAM")
            client.cmd("XADD", "d", "*", "f", "v")
        assert sorted(client.cmd("COMMAND", "GETKEYS", *args)) != sorted(touched)
        client.cmd(*args)
        assert client.cmd("EXISTS", "d") == 1  # d is what it really worked on
        if args[0].startswith(b"X"):
            assert client.cmd("XINFO", "CONSUMERS", "d", "g")[0][1] == b"STREAMS"


WRONG = """
EVAL s x | EVAL s -1 a | EVAL s 3 a | EVAL s 01 a | EVAL s +1 a | EVAL s 99999999999999999999 a
EVAL s 9223372036854775807 a | EVAL_RO s x | EVALSHA abc x | EVALSHA abc 7
EVALSHA aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa x | EVALSHA_RO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -1
EVALSHA aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 4 a | FCALL f x | FCALL f -1 | FCALL f 4 a | FCALL_RO f x a
FCALL_RO f 2 a | ZUNION x a | ZUNION 0 a | ZUNION -1 a | ZUNION 3 a b | ZINTER 0 a | ZINTER 5 a | ZDIFF 0 a
ZDIFF x a | ZUNIONSTORE d 0 a | ZUNIONSTORE d x a | ZUNIONSTORE d 5 a | ZINTERSTORE d 0 a | ZDIFFSTORE d 7 a
ZINTERCARD 0 a | ZINTERCARD 5 a | ZINTERCARD x a | SINTERCARD 0 a | SINTERCARD x a | SINTERCARD 5 a | SINTERCARD -1 a
LMPOP 0 a LEFT | LMPOP x a LEFT | LMPOP 5 a LEFT | LMPOP 2 a LEFT | LMPOP 9223372036854775807 a LEFT
LMPOP 9223372036854775808 a LEFT | BLMPOP 0 0 a LEFT | BLMPOP x 0 a LEFT | BLMPOP x 9 a LEFT | BLMPOP 0 2 a LEFT
ZMPOP 0 a MIN | ZMPOP 9 a MIN | BZMPOP 0 0 a MIN | BZMPOP 0 9 a MIN | XREAD STREAMS a b c | XREAD FOO a b
XREAD COUNT x STREAMS a 0 | XREAD COUNT 1 BLOCK x STREAMS a 0 | XREAD BLOCK -1 STREAMS a 0 | XREAD BLOCK x STREAMS
XREAD COUNT 1 COUNT | XREAD COUNT STREAMS a 0 | XREAD NOACK STREAMS a 0 | XREAD COUNT 1 BLOCK 0
XREAD GROUP g c STREAMS a 0 | XREAD a b STREAMS | XREADGROUP GROUP g c STREAMS a b c
XREADGROUP FOO g c STREAMS a b c | XREADGROUP GROUP g c COUNT 1 NOACK a | XREADGROUP GROUP g GROUP g c a 0
XREADGROUP COUNT x NOACK STREAMS a b c | MSET a 1 b | MSETNX a 1 b | COPY a b DB x | COPY a b DB 99 | COPY a b DB -1
COPY a b REPLACE DB 99
"""


@pytest.mark.parametrize("text", [text.strip() for line in WRONG.strip().splitlines() for text in line.split("|")])
def test_errors_where_keys_cannot_be_told_are_redis_own(text: str, module_redis: RedisServer) -> None:
    args = split(text)
    with Resp(module_redis.address) as client:
        client.cmd("FUNCTION", "LOAD", "REPLACE", "#!lua name=l\nredis.register_function('f', function() return 1 end)")
        said = client.raw_reply(*args)
    with pytest.raises(GateError) as raised:
        key_indices(resolve(args), args)
    assert raised.value.reply == said


@pytest.mark.parametrize("text", ["COPY a b DB 3", "COPY a b DB 0", "COPY a b REPLACE DB 1"])
def test_copy_cannot_leave_the_one_database(text: str) -> None:
    args = split(text)
    with pytest.raises(GateError, match=r"DB index is out of range|the gate has one database"):
        key_indices(resolve(args), args)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("SORT a", []),
        ("SORT a BY nosort GET # GET plain", []),
        ("SORT a by w_* get x_*->f LIMIT 0 GET STORE d", [b"w_*", b"x_*->f"]),
        ("SORT_RO a GET *", [b"*"]),
        ("SORT a GET f->*", [b"f->*"]),
        ("SORT a LIMIT BY x_* GET y_*", [b"y_*"]),
        ("GET a", []),
    ],
)
def test_patterns_of_sort(text: str, patterns: Args) -> None:
    args = split(text)
    assert [args[index] for index in hidden_patterns(resolve(args), args)] == patterns


@pytest.mark.parametrize(
    ("text", "names", "patterns"),
    [
        ("PUBLISH c m", [b"c"], []),
        ("SPUBLISH c m", [b"c"], []),
        ("SUBSCRIBE c d", [b"c", b"d"], []),
        ("ssubscribe c", [b"c"], []),
        ("UNSUBSCRIBE", [], []),
        ("SUNSUBSCRIBE c d", [b"c", b"d"], []),
        ("PSUBSCRIBE p* q*", [], [b"p*", b"q*"]),
        ("PUNSUBSCRIBE p*", [], [b"p*"]),
        ("PUBSUB NUMSUB c d", [b"c", b"d"], []),
        ("PUBSUB SHARDNUMSUB c", [b"c"], []),
        ("PUBSUB CHANNELS", [], []),
        ("PUBSUB CHANNELS p*", [], [b"p*"]),
        ("PUBSUB SHARDCHANNELS p*", [], [b"p*"]),
        ("GET c", [], []),
    ],
)
def test_channels_and_their_patterns(text: str, names: Args, patterns: Args) -> None:
    args = split(text)
    spec = resolve(args)
    assert [args[index] for index in channels(spec, args)] == names
    assert [args[index] for index in channel_patterns(spec, args)] == patterns
    assert key_indices(spec, args) == ((1,) if args[0] == b"GET" else ())


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("XREAD STREAMS a 0", False),
        ("XREAD COUNT 1 BLOCK 0 STREAMS a 0", True),
        ("XREADGROUP GROUP BLOCK c STREAMS a >", False),
        ("XREADGROUP GROUP g c block 5 STREAMS a >", True),
        ("BLPOP a 0", True),
        ("SUBSCRIBE c", True),
        ("GET a", False),
        ("SUNION a b", False),
    ],
)
def test_what_needs_a_connection_of_its_own(text: str, *, own: bool) -> None:
    args = split(text)
    assert needs_own_connection(resolve(args), args) is own


def test_fixed_keys_lie_within_the_shortest_request() -> None:
    for spec in every_command():
        assert all(index < abs(spec.arity) for index in fixed_keys(spec) or ())


def test_a_command_learned_from_a_store_is_read_by_its_specifications() -> None:
    """Not in the table, so nothing is known of it but what its row says."""
    template = by_full_name(b"GET")
    assert template is not None

    def learned(*keys: Keys) -> CommandSpec:
        return CommandSpec(
            name="NEW", arity=-2, flags=frozenset(), categories=frozenset(), keys=keys, action=template.action,
            merge=template.merge, capability="string", group="string", since="9.0.0", summary="New",
        )  # fmt: skip

    args = split("NEW 2 a b KEYS c d STREAMS e f g h")
    assert key_indices(learned(Keys(index=2, last=1)), args) == (2, 3)
    assert key_indices(learned(Keys(index=1, keynum=0, first=1)), args) == (2, 3)
    assert key_indices(learned(Keys(keyword=b"STREAMS", start=1, last=-1, limit=2)), args) == (8, 9)
    assert key_indices(learned(Keys(keyword=b"KEYS", start=-2, last=1)), args) == (5, 6)
    assert key_indices(learned(Keys(keyword=b"NOTHING", start=1, last=1)), args) == ()
    assert key_indices(learned(Keys(unknown=True), Keys(index=20)), args) == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"0", 0), (b"-1", -1), (b"9223372036854775807", 2**63 - 1), (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775808", None), (b"-0", None), (b"01", None), (b"+1", None), (b" 1", None), (b"1 ", None), (b"", None),
        (b"1\n", None), (b"1_0", None), ("١".encode(), None),
    ],
)  # fmt: skip
def test_integers_are_read_as_redis_reads_them(text: bytes, number: int | None) -> None:
    assert integer(text) == number


# A word ends at a NUL: Redis compares options as C strings.


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        ([b"SORT", b"l", b"STORE\0", b"d"], [b"l", b"d"]),
        ([b"SORT", b"l", b"LIMIT\0x", b"0", b"1", b"sTore\0yz", b"d"], [b"l", b"d"]),
        ([b"GEORADIUS", b"g", b"1", b"1", b"10", b"km", b"STORE\0", b"d"], [b"g", b"d"]),
        ([b"GEORADIUSBYMEMBER", b"g", b"a", b"10", b"km", b"STOREDIST\0", b"d"], [b"g", b"d"]),
    ],
)
def test_options_that_end_at_a_nul_name_keys_too(args: Args, keys: Args, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.cmd("RPUSH", "l", "1")
        client.cmd("GEOADD", "g", "1", "1", "a")
        client.cmd(*args)
        assert client.cmd("EXISTS", "d") == 1
    assert ours(args) == keys


def test_nul_words_of_other_commands(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.cmd("SET", "a", "x")
        assert client.cmd("COPY", "a", "a", b"DB\0", "1") == 1
        assert client.cmd("BITFIELD", "b", b"SET\0x", "u8", "0", "1") == [0]
        assert client.cmd("EXISTS", "b") == 1
    copy = [b"COPY", b"a", b"a", b"REPLACE\0", b"DB\0", b"1"]
    with pytest.raises(GateError, match="out of range"):
        key_indices(resolve(copy), copy)
    field = [b"BITFIELD", b"b", b"GET", b"u8", b"0", b"SET\0x", b"u8", b"0", b"1"]
    assert written_keys(resolve(field), field) == {1}
    stream = [b"XREAD", b"BLOCK\0", b"0", b"STREAMS\0", b"s", b"0"]
    assert needs_own_connection(resolve(stream), stream)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("GET a", set()),
        ("SET a x", {1}),
        ("SET a x GET", {1}),
        ("GETEX a", {1}),
        ("COPY a b", {2}),
        ("RENAME a b", {1, 2}),
        ("LMOVE a b LEFT LEFT", {1, 2}),
        ("SINTERSTORE d a b", {1}),
        ("ZUNIONSTORE d 2 a b", {1}),
        ("BITOP NOT d a", {2}),
        ("BITFIELD a GET u8 0", set()),
        ("BITFIELD a OVERFLOW SAT INCRBY u8 0 1", {1}),
        ("SORT a", set()),
        ("SORT a STORE d", {3}),
        ("SORT a STORE a", {3}),
        ("GEORADIUS a 1 1 1 m", set()),
        ("GEORADIUS a 1 1 1 m STORE d", {7}),
        ("PFCOUNT a b", set()),
        ("PFMERGE d a", {1}),
        ("XREADGROUP GROUP g c STREAMS a b > >", {5, 6}),
        ("XREAD STREAMS a 0", set()),
        ("EVAL s 1 a", {3}),
        ("EVAL_RO s 1 a", set()),
        ("EVAL s 0", set()),
        ("MSET a 1 b 2", {1, 3}),
        ("GATE LOCK a t PX 1", {2}),
    ],
)
def test_which_keys_a_request_changes(text: str, written: set[int]) -> None:
    args = split(text)
    spec = resolve(args)
    assert written_keys(spec, args) == written
    if only_writes(spec):
        assert written == set(key_indices(spec, args))


def test_every_write_changes_a_key() -> None:
    """Rows that flag none of their keys as changed count as changing all; only PFCOUNT writes under a read's flags."""
    unflagged = {
        spec.name
        for spec in every_command()
        if spec.keys and spec.write and not any({"insert", "update", "delete"} & place.flags for place in spec.keys)
    }
    assert unflagged == {"PFDEBUG", "XREADGROUP"}
