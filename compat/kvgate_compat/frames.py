"""Generators of odd bytes on the wire: requests in every form that Redis takes, and such as it closes the connection for."""

from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.connection import encode
from kvgate_compat.dialogue import quoted
from kvgate_compat.keys import Keys
from kvgate_compat.steps import Raw

_EMPTY: Final = (b"\r\n", b"\n", b"  \r\n", b"*0\r\n", b"*-1\r\n", b"*-7\r\n", b"\t\n")
"""What is no command, and has no answer."""
_EMPTY_KEY: Final = b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
_REFUSED: Final = (
    *(b"PING a b c\r\n", b"GET\r\n", b"nosuch\r\n", b'""\r\n', b'"P\\x49NG"\r\n', b"'ping'\r\n"),
    *(b"*1\r\n$0\r\n\r\n", b"*1\r\n$4\r\nPI\r\n\r\n", _EMPTY_KEY, b"PING\n"),
)
_LINE: Final = 65_536  # bytes without an end of line that Redis keeps
FATAL: Final = (
    *(b"*x\r\n", b"*\r\n", b"* 1\r\n", b"*1 \r\n", b"*+1\r\n", b"*01\r\n", b"*1.0\r\n", b"*2147483648\r\n"),
    *(
        b"*9223372036854775808\r\n",
        b"*1\r\nx\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\n\r\n",
        b"*2\r\n$3\r\nGET\r\n*1\r\n",
        b"*1\r\nPING\r\n",
    ),
    *(
        b"*1\r\n$\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$ 4\r\n",
        b"*1\r\n$04\r\n",
        b"*1\r\n$+4\r\n",
        b"*1\r\n\xff\r\n",
    ),
    *(
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$9223372036854775807\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*2\r\n$3\r\nGET\r\n$-1\r\n",
    ),
    *(b'GET "a\r\n', b"GET 'a\r\n", b'GET "a"b\r\n', b"GET 'a'b\r\n", b'"\r\n', b'GET "a\\\r\n'),
    *(b"*" + b"1" * _LINE, b"*1\r\n$" + b"1" * _LINE, b"x" * (_LINE + 1)),
)
"""Each is complete at its last byte, and not before: what came behind might never be read."""

_cuts = st.one_of(st.just([]), st.lists(st.integers(1, 999), max_size=4)).map(tuple)
cuts: SearchStrategy[tuple[int, ...]] = st.one_of(st.just(()), _cuts)
"""Where bytes are cut into pieces; often nowhere."""


@st.composite
def raw(draw: st.DrawFn, keys: Keys, together: Sequence[Sequence[bytes]], *, transactions: bool) -> Raw:
    """A stream of requests, some in odd forms, at whose end the connection stays open, or must be closed. One with a
    transaction has keys of one of `together` only: such as may stand in one."""
    transactions = transactions and draw(st.booleans())
    names = draw(st.sampled_from(together)) if transactions else keys.names
    key = st.sampled_from(names)
    command = st.one_of(
        st.builds(lambda name: [b"GET", name], key),
        st.builds(lambda name: [b"INCR", name], key),
        st.builds(lambda name, value: [b"APPEND", name, value], key, st.sampled_from((b"", b"a\r\n", b"1", b"\x00\xff"))),
        st.builds(lambda name: [b"SET", name, b"1"], key),
        st.just([b"PING"]),
        st.sampled_from([[b"MULTI"], [b"EXEC"]] if transactions else [[b"PING"]]),
    )
    frame = st.one_of(
        command.map(encode),
        command.map(encode),
        command.map(_inline),
        st.sampled_from(_EMPTY),
        st.sampled_from([each for each in _REFUSED if b"" in names or each != _EMPTY_KEY]),
    )
    frames = draw(st.lists(frame, min_size=1, max_size=6))
    ends = draw(st.booleans())
    if ends:
        frames.append(draw(st.sampled_from(FATAL)))
    return Raw(tuple(frames), ends, draw(cuts))


def _inline(args: "list[bytes]") -> bytes:
    return " ".join(map(quoted, args)).encode("ascii") + b"\r\n"
