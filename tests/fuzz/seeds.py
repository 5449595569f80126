"""What the fuzzer begins with: programs made of what hypothesis makes in tests/lane, and of recorded traffic."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kvgate.wire.request import encode_request
from tests.fuzz.program import EVENTS
from tests.fuzz.sockets import EVENTS_ON_SOCKETS
from tests.lane.replies import PART_REPLIES, REPLY
from tests.lane.test_machine import streams
from tests.wire.feeding import at_cuts, bytewise

TRAFFIC: Final = Path(__file__).with_name("traffic")
"""``NAME.requests`` and ``NAME.replies``, as they went over one connection (tests/fuzz/record.py)."""
KEPT: Final = Path(__file__).with_name("found")
"""A folder for each side, with inputs that once found something."""
CUT: Final = b"\xff|\0"

_GENERATED: Final = settings(
    derandomize=True, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)

_LETTERS: Final = dict.fromkeys(EVENTS + EVENTS_ON_SOCKETS)

WORDS: Final = (
    *(b"\r\n", b"\r\n$", b"*1\r\n", b"*2\r\n", b"*3\r\n", b"*2\r\n$3\r\nGET\r\n", b"*3\r\n$3\r\nSET\r\n", b"*4\r\n"),
    *(b"$1\r\nv\r\n", b"$5\r\nA.b:1\r\n", b"$5\r\nN.o:1\r\n", b"$5\r\nO.d:1\r\n", b"$6\r\nEx.h:1\r\n", b"$5\r\nM.x:1\r\n"),
    *(b"$4\r\nIFEQ\r\n", b"$4\r\nifeq\r\n", b"$4096\r\n", b"$04\r\n", b"$3\r\n:{}\r\n", b"$-1\r\n", b"$0\r\n\r\n"),
    *(b"MULTI\r\n", b"EXEC\r\n", b"DISCARD\r\n", b"SELECT 1\r\n", b"SELECT 2\r\n", b"SELECT 0\r\n", b"HELLO 3\r\n"),
    *(b"OFF\r\n", b"ON\r\n", b"QUIT\r\n", b"POST\r\n", b"PUSH x\r\n", b"APPEND", b"STRLEN", b"HSET", b"HGET", b"MGET"),
    *(b"CONV", b"SLOW", b"TASK", b"MSET", b"DEL", b"EXISTS", b"UNLINK", b"TOUCH", b"IFEQ"),
    *(b"+OK\r\n", b":1\r\n", b"_\r\n", b"*-1\r\n", b"-ERR no\r\n", b"-NOAUTH x\r\n", b"-NOPERM x\r\n", b"-READONLY You\r\n"),
    *(b"-MASTERDOWN x\r\n", b">2\r\n+message\r\n+x\r\n", b"%1\r\n", b"~0\r\n", b"|1\r\n", b"=5\r\ntxt:a\r\n", b"#t\r\n"),
    *(b"\xff%b\0" % letter.encode() for letter in _LETTERS),
    *(b"\xff%b\x10" % letter.encode() for letter in _LETTERS),
)
"""libFuzzer's dictionary: what stands in programs of both sides."""


def dictionary() -> str:
    """`WORDS` as libFuzzer reads them."""
    return "".join('"' + "".join(rf"\x{byte:02x}" for byte in word) + '"\n' for word in WORDS)


def programs(side: str, examples: int = 200) -> Iterator[bytes]:
    """Made, recorded and kept ones, the same in each run: `examples` of hypothesis."""
    if side == "short":
        from tests.fuzz.short import short_programs  # noqa: PLC0415 - the other sides would wait for what it imports

        yield from short_programs()
        yield from kept(side)
        return
    yield from (upstream_programs if side == "upstream" else client_programs)(examples)
    yield from _replies_in_pieces() if side == "upstream" else _written()
    if side == "sockets":
        yield from in_company()
    yield from traffic(side)
    yield from kept(side)


def _replies_in_pieces() -> Iterator[bytes]:
    """The usual replies, cut at every byte."""
    replies = b"$5\r\nab\r\nc\r\n+OK\r\n$-1\r\n:1\r\n$0\r\n\r\n-ERR no\r\n_\r\n*2\r\n$1\r\na\r\n:2\r\n"
    for commands in (b"\xffq\4" * 2, b"\xffq\0\xffq\x18\xffq\x21" * 4):
        yield b"\0\0\0\0" + commands + CUT.join(bytewise(replies))
        for cut in range(1, len(replies)):
            yield b"\0\0\0\0" + commands + replies[:cut] + CUT + replies[cut:]


def _written() -> Iterator[bytes]:
    """Runs of commands on every kind of namespace, and tags in keys; a word that is looked for."""
    for key in (b"A.b:1", b"N.o:1", b"O.d:1", b"Ex.h:1", b"M.x:1", b"Ab.c:1", b"plain", b"A.b:{t}1", b"O.d:{t}x"):
        run = b"".join(
            encode_request([name, key, *more])
            for name, more in ((b"SET", [b"v"]), (b"GET", []), (b"APPEND", [b"w"]), (b"HSET", [b"f", b"v"]), (b"STRLEN", []))
            for _ in range(3)
        )
        several = [key + b"%d" % number for number in range(7)]
        for some in (several[:2], several[:3], several):
            run += b"".join(encode_request([name, *some]) * 2 for name in (b"MGET", b"DEL", b"EXISTS"))
            run += encode_request([b"MSET", *(word for each in some for word in (each, b"v"))]) * 2
        yield b"\1\0\0\0" + run + CUT + run
        yield b"\1\x40\0\0" + run + b"\xffk\0" + run
        yield b"\1\0\x03\0" + run.replace(key, b"x" * len(key)) + run
        yield b"\1\2\x01\0" + run + b"\xffd\5\xffD\0\xffC\1" + run + b"\xffD\4" + run
        for word in (b"IFEQ", b"ifeq", b"IFXX"):
            ask = encode_request([b"SET", key, b"v", word, b"x"])
            yield b"\1\x20\0\0" + ask * 3 + encode_request([b"SET", key, word]) * 2
    run = encode_request([b"SET", b"A.b:1", b"v"]) * 2 + encode_request([b"GET", b"Ex.h:1"])
    yield b"\1\0\0\0" + CUT.join(bytewise(run))
    mixed = encode_request([b"MGET", b"plain", b"foo:1", b"bar:2", b"x{y}:3"]) * 3
    yield b"\1\0\0\0" + mixed + encode_request([b"MGET", b"plain", b"A.b:1"]) * 2
    yield b"\1\0\0\0" + mixed + b"\xffd\xff\xffD\0" + mixed + b"\xffC\1" + mixed + b"\xffD\4\xffD\0" + mixed
    for size in range(2, 5):  # keys, of which three bytes are allowed
        yield b"\x11\0\0\0" + b"".join(encode_request([name, b"k" * size]) * 2 for name in (b"STRLEN", b"GET"))
    for size in range(38, 41):  # requests, of which those up to 70 bytes take the short way
        yield b"\x41\0\0\0" + encode_request([b"SET", b"A.b:1", b"x" * size]) * 3


def in_company() -> Iterator[bytes]:
    """Several clients and stores that say something before the gate looks, which it does once or more often in a row."""
    read, write = encode_request([b"GET", b"A.b:1"]), encode_request([b"SET", b"A.b:2", b"v" * 40])
    both = read * 3 + write
    around = b"".join(both + b"\xff+%c" % (client % 4) for client in range(1, 5))
    cut = b"\xff+\0".join(bytewise(write))
    asked = [b"SET", b"Ex.h:1", b"v"], [b"GET", b"Ex.h:1"], [b"SET", b"k", b"v" * 80], [b"MGET", b"plain", b"A.b:1", b"A.b:2"]
    here = b"".join(map(encode_request, asked))
    for number in (1, 3, 6, 11, 14):  # looks in a row, one socket at a time, replies apart
        four = bytes([number << 1 & 31])
        yield b"\1\0\0" + four + around * 3 + b"\xff+\1PING\r\n\xff+\1" + cut + b"\xff+\2" + read + b"\xffX\0" + both
        # small buffers; a client and a store that do not read; a store that ends with requests unread
        slow = b"\xfft\2\xfft\x40" + (read + write + b"\xff+\1") * 30 + around + b"\xffC\0"
        yield b"\1\x10\0" + four + slow + b"\xffD\0" + around + b"\xfft\3\xfft\x41\xffC\0" + both
        fails = b"".join(b"\xffF%c" % kind + around + b"\xff+%c" % (kind % 4) + here for kind in range(number % 3, 9, 3))
        yield b"\x41\2\x09" + four + fails + b"\xffX\1\xff+\2" + around + b"\xff+\x80\xffX\0\xffC\0\xff+\0" + here
        for what in (number % 6, number % 6 + 6, number * 5 % 96):
            later = around + b"\xff+\0ECHO\r\n" + around + b"\xffe\2\xffC\0" + around
            yield b"\1\0\0" + four + around + b"\xffM%c" % what + later
    many, large = encode_request([b"MGET", b"A.b:1", b"A.b:2", b"A.b:3"]), encode_request([b"SET", b"A.b:1", b"x" * 5000])
    for four in (b"\0", b"\4", b"\6"):
        for two in (b"\0", b"\x10"):  # more pieces for one store than one send takes
            yield b"\0" + two + b"\0" + four + (read + write) * 80 + b"\xff+\1" + (write + read) * 80
        yield b"\1\0\0" + four + (many + b"\xff+\1" + write + b"\xff+\0") * 3 + many
        yield b"\1\0\0" + four + large * 2 + b"\xffr\x08\xff+\1" + both + b"\xff+\0" + read * 400
        yield b"\1\0\0" + four + large + b"\xfft\0" + read + b"\xffr\x80\xff+\1" + both + b"\xff+\0" + read + b"\xfft\1" + both


def kept(side: str) -> Iterator[bytes]:
    """Inputs that once found something."""
    for path in sorted((KEPT / side).glob("*")):
        yield path.read_bytes()


def traffic(side: str) -> Iterator[bytes]:
    """Programs of recorded conversations: whole, and in portions; none of a side without conversations."""
    if side == "short":
        return
    for path in sorted(TRAFFIC.glob("*.requests")):
        requests, replies = path.read_bytes(), path.with_suffix(".replies").read_bytes()
        if side != "upstream":
            setups = (b"\1\0\0\0", b"\1\x32\0\0", b"\2\x40\1\0", b"\1\0\x1f\0")
            for setup in setups[: 2 if side == "sockets" else 4]:
                yield setup + requests
                yield setup + CUT.join(at_cuts(requests, range(0, len(requests), 997))) + b"\xffd\xff"
        else:
            for setup in (b"\0\0\0\0", b"\0\x10\0\0", b"\0\2\0\0"):
                yield setup + b"\xffc\0" + requests + b"\xffu\0" + replies
                yield setup + b"\xffc\0" + requests + b"\xffu\0" + CUT.join(at_cuts(replies, range(0, len(replies), 131)))


def client_programs(examples: int) -> list[bytes]:
    """The streams of requests of tests/lane."""
    found: list[bytes] = []

    @settings(_GENERATED, max_examples=examples)
    @given(setup=st.binary(min_size=4, max_size=4), stream=streams(), cuts=st.lists(st.integers(0, 400), max_size=6))
    def make(setup: bytes, stream: bytes, cuts: list[int]) -> None:
        found.append(setup + CUT.join(at_cuts(stream, cuts)))

    make()
    return found


def upstream_programs(examples: int) -> list[bytes]:
    """The replies of tests/lane, behind commands of all kinds."""
    found: list[bytes] = []

    @settings(_GENERATED, max_examples=examples)
    @given(
        setup=st.binary(min_size=4, max_size=4),
        commands=st.lists(st.integers(0, 79), max_size=8),
        replies=st.lists(REPLY, max_size=12),
        cuts=st.lists(st.integers(0, 6000), max_size=5),
    )
    def make(setup: bytes, commands: list[int], replies: list[bytes], cuts: list[int]) -> None:
        queued = b"".join(b"\xffq%c" % command for command in commands)
        found.append(setup + queued + CUT.join(at_cuts(b"".join(replies), cuts)))

    @settings(_GENERATED, max_examples=examples // 2)
    @given(data=st.data(), commands=st.lists(st.sampled_from(sorted(PART_REPLIES)), min_size=1, max_size=4))
    def make_parts(data: st.DataObject, commands: list[bytes]) -> None:
        queued = b"".join(b"\xffq%c" % (4 * (16 + list(PART_REPLIES).index(command))) for command in commands)
        halves = [b"".join(data.draw(PART_REPLIES[command] | REPLY) for command in commands) for _ in range(2)]
        found.append(b"\1\0\0\0" + 2 * queued + b"\xffu\0%b\xffu\1%b" % (halves[0], halves[1]))

    make()
    make_parts()
    return found

