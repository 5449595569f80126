"""The request scanner beside a real Redis: the same replies to the same bytes, well formed or not, and the same end."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvgate.errors import NO_AUTH, GateError, unknown_command, wrong_arity
from kvgate.wire.reply import encode
from kvgate.wire.request import BULK_LIMIT, LINE_LIMIT, RequestScanner, encode_request
from tests.support.resp import Closed, Resp
from tests.support.servers import NO_REDIS, RedisServer, redis_binary
from tests.wire.feeding import Scanned, bytewise, scan

PING = encode_request([b"PING"])


def _answer(args: list[bytes]) -> bytes:
    """What Redis answers to the few commands that these tests send."""
    if not args:
        return b""
    name = args[0].lower()
    if name == b"ping" and len(args) <= 2:
        return encode(args[1]) if len(args) == 2 else b"+PONG\r\n"
    if name == b"echo" and len(args) == 2:
        return encode(args[1])
    if name in (b"ping", b"echo"):
        return wrong_arity(name.decode()).reply
    if args[:3] == [b"EVAL", b"return ARGV", b"0"]:
        return encode([*args[3:]])
    return unknown_command(args).reply


def _replies(scanned: Scanned) -> bytes:
    return b"".join(_answer(request.args) for request in scanned.requests) + scanned.error


def _exchange(client: Resp, data: bytes, scanned: Scanned) -> tuple[bytes, bool]:
    """Send `data` to Redis; all that it answers, and whether it closed the connection by itself.

    Where the scanner says that the connection lives and stands between two requests, a PING must get through; where it
    waits for more, the end of what is sent shows that Redis had nothing to complain of.
    """
    with contextlib.suppress(ConnectionError):  # Redis may close before it has read all
        client.send_raw(data)
        if scanned.idle:
            client.send_raw(PING)
            wanted = _replies(scanned) + b"+PONG\r\n"
            got = b""
            with contextlib.suppress(Closed):
                while len(got) < len(wanted):
                    got += client.read_one()
                assert got.endswith(b"+PONG\r\n"), got
                return got.removesuffix(b"+PONG\r\n"), False
        elif not scanned.error:
            client.half_close()
            return client.read_all(), False
    return client.read_all(), True


def check(server: RedisServer, data: bytes) -> None:
    """Redis answers `data` as the scanner and `_answer` do, and closes when the scanner says so."""
    scanned = scan([data])
    assert scan(bytewise(data)) == scanned
    with server.client() as client:
        assert _exchange(client, data, scanned) == (_replies(scanned), bool(scanned.error))


LENGTHS = [b"", b"-", b"+1", b"01", b"001", b"04", b"-0", b"-01", b" 1", b"1 ", b"1a", b"a", b"0x1", b"1e0", b"$1", b"*1"]
HUGE = [b"2147483648", b"4294967297", b"9223372036854775807", b"9223372036854775808", b"18446744073709551617", b"9" * 40]
NEGATIVE = [b"-1", b"-2", b"-2147483649", b"-9223372036854775808", b"-9223372036854775809"]

MALFORMED = [
    # counts of arguments
    *(b"*" + text + b"\r\n" + PING for text in (*LENGTHS, *HUGE, *NEGATIVE)),
    b"*2147483647\r\n",
    b"*1048577\r\n$4\r\nPING\r\n",
    # lengths of arguments
    *(b"*1\r\n$" + text + b"\r\nPING\r\n" for text in (*LENGTHS, *HUGE, *NEGATIVE)),
    b"*1\r\n$%d\r\nPING\r\n" % BULK_LIMIT,
    b"*1\r\n$%d\r\nPING\r\n" % (BULK_LIMIT + 1),
    b"*2\r\n$4\r\nECHO\r\n$03\r\nabc\r\n",
    # what Redis swallows
    b"*0\r\n*0\r\n" + PING,
    b"*-1\r\n" + PING,
    b"\r\n\n\r\n \r\n\t\n" + PING,
    b"*0\r\n*-1\r\n\r\nPING\r\n",
    # something else than $
    *(b"*1\r\n" + bytes([byte]) + b"\r\n" for byte in range(1, 256)),
    b"*1\r\n\r\n",
    b"*1\r\n\n\r\n",
    b"*1\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n:1\r\n",
    b"*2\r\n$4\r\nECHO\r\n*1\r\n$1\r\na\r\n",
    b"*1\r\n$4\r\nPINGS\r\n" + PING,
    b"*1\r\n$4\r\nPIN\r\n" + PING,
    # ends of lines: the byte behind a CR is skipped, and so are the two bytes behind a value
    b"*1\rx$4\rxPINGxx" + PING,
    b"*1\r\r$4\r\rPING\r\r" + PING,
    b"*1\r\n$4\r\nPING\n\n" + PING,
    b"*1\n$4\nPING\n",
    b"*1\r\n$4\nPING\r\n",
    b"*1\r$4\r\nPING\r\n",
    b"*1\r\n$4\rPING\r\n" + PING,
    b"\r*1\r\n$4\r\nPING\r\n",
    b"\n*1\r\n$4\r\nPING\r\n",
    # NUL: no end of a line is seen behind it
    b"*1\x00\r\n$4\r\nPING\r\n",
    b"*\x001\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\x00\r\nPING\r\n",
    b"*1\r\n\x00$4\r\nPING\r\n",
    b"PI\x00NG\r\nPING\r\n",
    b"\x00\r\nPING\r\n",
    b"PING\x00\r\n" + PING,
    b"PING\r\n\x00",
    b'ECHO "a\x00b"\r\nPING\r\n',
    b"*2\r\n$4\r\nECHO\r\n$3\r\na\x00b\r\n",
    # lines without an end
    b"x" * LINE_LIMIT,
    b"x" * (LINE_LIMIT + 1),
    b"x" * (LINE_LIMIT - 5) + b"\r\n",
    b"ECHO " + b"x" * (LINE_LIMIT - 5) + b"\n" + PING,
    b"\x00" * LINE_LIMIT,
    b"\x00" * (LINE_LIMIT + 1),
    b"a\x00\r\n" + PING * 5000,
    b"a\x00\r\n" + b"x" * (LINE_LIMIT - 4),
    b"a\x00\r\n" + b"x" * (LINE_LIMIT - 3),
    b"*1\x00\r\n" + b"x" * (LINE_LIMIT - 5),
    b"*1\x00\r\n" + b"x" * (LINE_LIMIT - 4),
    b"*1\r\n$4\x00\r\n" + b"\rx" * (LINE_LIMIT // 2 - 3) + b"x",
    b"*1\r\n$4\x00\r\n" + b"\rx" * (LINE_LIMIT // 2 - 3) + b"xx",
    b"*" + b"1" * (LINE_LIMIT - 1),
    b"*" + b"1" * LINE_LIMIT,
    b"*" + b"1" * (LINE_LIMIT - 1) + b"\r\n",
    b"*1\x00\r\n" + PING * 5000,
    b"*1\r\n$" + b"1" * (LINE_LIMIT - 1),
    b"*1\r\n$" + b"1" * LINE_LIMIT,
    b"*1\r\n" + b"x" * LINE_LIMIT,
    b"*1\r\n" + b"x" * (LINE_LIMIT + 1),
    b"*1\r\n$4\x00\r\n" + PING * 5000,
    # inline commands
    b"PING\n",
    b"PING\r\r\n",
    b"  PING  \r\n",
    b"ping\thello\r\n",
    b"ECHO a\x0bb\r\n",
    b"ECHO a\x0cb\r\n",
    b"ECHO \x0ba\x0c\r\n",
    b"\x0b\x0c\r\n" + PING,
    b"ECHO a\r b\n",
    b'""\r\n' + PING,
    b"''\r\n" + PING,
    b'ECHO ""\r\n',
    b'ECHO "a b"\r\n',
    b"ECHO 'a b'\r\n",
    b'ECHO a"b c"\r\n',
    b"ECHO 'it\\'s'\r\n",
    b"ECHO 'a\\n\"b'\r\n",
    b'ECHO "\\n\\r\\t\\b\\a\\q\\"\\\\\\x41\\x4g\\xZZ\\x4"\r\n',
    b'ECHO "\\x00"\r\n',
    b"ECHO \\x41\\n\r\n",
    b'ECHO "a"\x0b\r\n',
    b'ECHO "a"b\r\n',
    b"ECHO 'a'b\r\n",
    b'ECHO "a""b"\r\n',
    b'ECHO "a\r\n',
    b"ECHO 'a\r\n",
    b'ECHO "a\\"\r\n',
    b"ECHO 'a\\'\r\n",
    b'ECHO "a\\\r\n',
    b'"\r\n',
    b'"PING"\r\n',
    b'"\\x50ING"\r\n',
    b"ECHO \xff\xfe\r\n",
    b"*\r\n",
    b"$4\r\nPING\r\n",
    b"ECHO $4\r\n",
    b"ECHO *1\r\n",
    # an unknown command, shown back
    encode_request([b"nosuch", b"a", b"b c"]),
    encode_request([b""]),
    b"no\xffsuch \xfe\r\n",
]


@pytest.mark.parametrize("data", [pytest.param(data, id=repr(data[:24])[2:-1] + f"-{len(data)}") for data in MALFORMED])
def test_redis_answers_and_closes_as_the_scanner_says(module_redis: RedisServer, data: bytes) -> None:
    check(module_redis, data)


def test_a_line_far_over_the_limit_ends_the_connection(module_redis: RedisServer) -> None:
    for start, what in ((b"ECHO ", b"inline request"), (b"*", b"mbulk count string"), (b"*1\r\n$", b"bulk count string")):
        data = start + b"1" * 1_000_000 + b"\r\n" + PING
        scanned = scan([data])
        assert scanned == Scanned([], b"-ERR Protocol error: too big " + what + b"\r\n", idle=False)
        with module_redis.client() as client:
            assert _exchange(client, data, scanned) == (scanned.error, True)


letters = st.sampled_from([bytes([byte]) for byte in b" \t\v\f\r\"'\\\\xnrtbaq05Ff*$\x01\x80\xff"])
words = st.sampled_from([b'"a"', b"'a'", b"\\x41", b'" "', b" '"])
lines = st.lists(st.one_of(letters, letters, words), max_size=24).map(b"".join)
any_lines = st.binary(max_size=40).map(lambda line: line.replace(b"\x00", b"").replace(b"\n", b""))


@settings(max_examples=500, deadline=None)
@given(st.one_of(lines, any_lines))
@example(b'"\\')
@example(b'"a" "" \'\'')
def test_redis_splits_inline_commands_alike(module_redis: RedisServer, line: bytes) -> None:
    check(module_redis, b'EVAL "return ARGV" 0 ' + line + b"\r\n")


pieces = [b"*", b"$", b"1", b"4", b"0", b"-", b"\r", b"\n", b" ", b"a", b'"', b"'", b"\\"]
headers = [b"*1\r\n", b"*2\r\n", b"*0\r\n", b"*-1\r\n", b"$4\r\n", b"$1\r\n", b"$0\r\n", b"\r\n"]
tokens = st.sampled_from([*pieces, *headers, b"PING\r\n", b"ECHO\r\n", b"a\r\n", PING, encode_request([b"ECHO", b"*1\r\n"])])


@settings(max_examples=500, deadline=None)
@given(st.lists(tokens, max_size=10).map(b"".join))
def test_redis_reads_any_stream_alike(module_redis: RedisServer, data: bytes) -> None:
    check(module_redis, data)


@pytest.fixture(scope="module")
def locked_redis() -> Iterator[RedisServer]:
    """A server that wants a password."""
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with RedisServer(password="secret") as server:
        yield server


@pytest.mark.parametrize(
    "data",
    [
        b"*10\r\n",
        b"*11\r\n",
        b"*2147483648\r\n",
        b"*1\r\n$16384\r\n",
        b"*1\r\n$16385\r\n",
        b"*1\r\n$%d\r\n" % (BULK_LIMIT + 1),
        encode_request([b"PING"] * 10),
        encode_request([b"PING"] * 11),
        encode_request([b"ECHO", b"x" * 16384]),
        encode_request([b"ECHO", b"x" * 16385]),
        PING + b"*11\r\n",
        b"PING a b c d e f g h i j k\r\n",
        b"*1\r\n$01\r\n",
        b"x" * (LINE_LIMIT + 1),
    ],
    ids=lambda data: repr(data[:24])[2:-1] + f"-{len(data)}",
)
def test_limits_before_authentication(locked_redis: RedisServer, data: bytes) -> None:
    scanned = scan([data], RequestScanner(authenticated=False))
    wanted = GateError(NO_AUTH).reply * len(scanned.requests) + scanned.error
    with Resp(locked_redis.address) as client:
        with contextlib.suppress(ConnectionError):
            client.send_raw(data)
            if not scanned.error:
                client.half_close()
        assert client.read_all() == wanted
