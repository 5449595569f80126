"""Generators of the script and function commands: small pools of scripts and libraries that touch only keys they are given."""

import hashlib
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.pools import key, value
from kvgate_compat.words import Args, FunctionsPayload, any_of, maybe, option, seq, some

SCRIPTS: Final[tuple[bytes, ...]] = (
    b"return redis.call('set', KEYS[1], ARGV[1] or 'v')",
    b"return redis.call('get', KEYS[1])",
    b"return redis.call('incr', KEYS[1])",
    b"return redis.call('hget', KEYS[1], 'f')",
    b"return redis.call('hset', KEYS[1], 'f', ARGV[1] or '1')",
    b"return {KEYS[1], ARGV[1], #KEYS, #ARGV}",
    b"return {1, 'a', {2, {3}}, nil, 4}",  # an array ends at its first nil
    b"return {1.9, -1.9, false, true}",
    b"return nil",
    b"return 3.99",
    b"return false",
    b"return ''",
    b"return redis.status_reply('FINE')",
    b"return redis.error_reply('MY error')",
    b"return {err = 'ERR table', ok = 'no'}",
    b"return {ok = 'Table'}",
    b"return redis.call('nosuchcommand')",
    b"return redis.call('get')",
    b"return redis.pcall('lpush', KEYS[1], 'x')",
    b"local found = redis.pcall('incr', KEYS[1]); return type(found) == 'table' and found.err or found",
    b"redis.setresp(3); return redis.call('zscore', KEYS[1], 'a')",
    b"redis.setresp(3); return redis.call('zrange', KEYS[1], '0', '-1', 'withscores')",
    b"redis.setresp(3); return {double = 2.5}",
    b"redis.setresp(3); return {map = {a = 1}}",
    b"redis.setresp(3); return {set = {a = true}}",
    b"redis.setresp(3); return {big_number = '12345678901234567890'}",
    b"redis.setresp(3); return {verbatim_string = {format = 'txt', string = 'abc'}}",
    b"redis.setresp(3); return true",
    b"redis.setresp(4)",
    b"return cjson.encode({1, 'a', {b = 2}})",
    b"return cjson.decode(ARGV[1] or 'null')",
    b"return redis.sha1hex(ARGV[1] or '')",
    b"return tostring(2^53) .. ' ' .. tonumber('0x10')",
    b"return redis.call('rename', KEYS[1], KEYS[2])",
    b"for at = 1, #KEYS do redis.call('del', KEYS[at]) end; return #KEYS",
    b"for at = 1, #KEYS do redis.call('set', KEYS[at], at) end; error('half done')",
    b"return redis.call('blpop', KEYS[1], '0')",  # does not wait in a script
    b"return redis.call('subscribe', 'c')",
    b"return redis.call('multi')",
    b"unknown_variable = 1",
    b"return undefined_variable",
    b"return return",
    b"",
    b"#!lua\nreturn redis.call('get', KEYS[1])",
    b"#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])",
    b"#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 'v')",
    b"#!lua flags=allow-oom,no-cluster\nreturn redis.call('set', KEYS[1], 'v')",
    b"#!lua flags=junk\nreturn 1",
    b"#!lua name=x\nreturn 1",
    b"#!nosuch\nreturn 1",
    b"#!lua",
)
_script = st.integers(0, 10 + len(SCRIPTS)).map(lambda at: SCRIPTS[at % len(SCRIPTS)])


def _sha(script: bytes) -> bytes:
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()


_shas = _script.map(_sha)
_no_sha = st.sampled_from((b"f" * 40, b"short", b"", b"F" * 40, b"x" * 41, b"\xff" * 40))
_sha_of = st.one_of(_shas, _shas, _shas.map(bytes.upper), _no_sha)


def _numbered(keys: "list[bytes]", wrong: "bytes | None") -> Args:
    return [b"%d" % len(keys) if wrong is None else wrong, *keys]


_no_count = st.sampled_from((b"0", b"1", b"-1", b"9", b"x", b"", b"1.5", b"9223372036854775807", b"9223372036854775808"))
_keys = st.builds(_numbered, st.lists(key, min_size=1, max_size=3), st.one_of(*[st.none()] * 9, _no_count))
_none = st.sampled_from([[b"0"]])
_words: SearchStrategy[Args] = st.one_of(st.just([]), some(value, most=2))
_given = seq(st.one_of(_keys, _keys, _keys, _none), _words)
_sync = maybe(option("ASYNC", "SYNC", "JUNK"))

_FIRST: Final = (
    b"redis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1] or 'v') end)\n"
    b"redis.register_function{function_name='look', callback=function(keys, args)"
    b" return redis.call('get', keys[1]) end, flags={'no-writes'}, description='reads'}"
)
_SECOND: Final = (
    b"redis.register_function{function_name='lie', callback=function(keys, args)"
    b" return redis.call('set', keys[1], 'x') end, flags={'no-writes', 'allow-stale'}}"
)
LIBRARIES: Final[tuple[bytes, ...]] = (
    b"#!lua name=first\n" + _FIRST,
    b"#!lua name=first\n" + _FIRST + b"\n" + _SECOND,
    b"#!lua name=second\n" + _SECOND,
    b"#!lua name=rival\n" + _FIRST,  # the same functions
    b"#!LUA name=Case\nredis.register_function('Put', function(keys, args) return {keys, args} end)",
    b"#!lua name=first\nreturn",
    b"#!lua name=bad-name\n" + _SECOND,
    b"#!lua\n" + _SECOND,
    b"#!lua name=a name=b\n" + _SECOND,
    b"#!lua junk=1 name=a\n" + _SECOND,
    b"#!nosuch name=a\n" + _SECOND,
    b"#!lua name=broken\nredis.register_function(",
    b"#!lua name=calls\nreturn redis.call('get', 'a')",
    b"#!lua name=twice\n" + _SECOND + b"\n" + _SECOND,
    b"no header",
    b"",
)
_library = st.integers(0, 9 + len(LIBRARIES)).map(lambda at: LIBRARIES[at % 4] if at >= len(LIBRARIES) else LIBRARIES[at])
_name = st.sampled_from((b"first", b"second", b"rival", b"case", b"Case", b"FIRST", b"", b"nosuch", b"\xff"))
_function = st.sampled_from((b"put", b"look", b"put", b"look", b"lie", b"Put", b"PUT", b"", b"nosuch"))
_damage = st.sampled_from(("",) * 4 + ("flip", "cut", "empty"))

SCRIPTING: dict[str, SearchStrategy[Args]] = {
    "EVAL": seq(_script, _given),
    "EVALSHA": seq(_sha_of, _given),
    "EVALSHA_RO": seq(_sha_of, _given),
    "EVAL_RO": seq(_script, _given),
    "FCALL": seq(_function, _given),
    "FCALL_RO": seq(_function, _given),
    "FUNCTION|DELETE": seq(_name),
    "FUNCTION|DUMP": seq(),
    "FUNCTION|FLUSH": _sync,
    "FUNCTION|HELP": seq(),
    "FUNCTION|LIST": any_of(
        seq(option("LIBRARYNAME"), st.sampled_from((b"first", b"*", b"F*", b"s?cond", b"[", b"", b"nosuch"))),
        option("WITHCODE"),
        most=3,
    ),
    "FUNCTION|LOAD": seq(maybe(option("REPLACE", "REPLACE", "REPLACE", "JUNK")), _library),
    "FUNCTION|RESTORE": seq(st.builds(FunctionsPayload, _damage), maybe(option("FLUSH", "APPEND", "REPLACE", "JUNK"))),
    "FUNCTION|STATS": seq(),
    "SCRIPT|EXISTS": some(_sha_of),
    "SCRIPT|FLUSH": _sync,
    "SCRIPT|HELP": seq(),
    "SCRIPT|LOAD": seq(_script),
}
