"""Small colliding pools of keys, fields, values, numbers and times: where stores of the Redis protocol tend to differ."""

from typing import Final

from hypothesis import strategies as st

from kvgate_compat.words import Key, Payload, Span

INT64_MAX: Final = 2**63 - 1
CHUNK: Final = 32_640  # the gate's engines cut longer strings there

KEYS: Final[tuple[bytes, ...]] = (
    b"a",
    b"b",
    b"Ads.T:a",
    b"Ads.T:b",
    b"n",
    b"",
    b"\x00\xff\r\n\"'",
    b"Ads.U:" + b"k" * 500,  # longer than an engine's keys
)
"""What the generators draw; `kvgate_compat.keys` has others to put in their place."""
FIELDS: Final[tuple[bytes, ...]] = (b"f", b"g", b"h", b"", b"1", b"\x00\xff\r\n", b"f" * 400, b"f" * 401, b"f" * 402 + b"g")
TEXTS: Final[tuple[bytes, ...]] = (
    b"v",
    b"",
    b"abc",
    b"hello world",
    b"\x00",
    bytes(range(256)),
    b"x" * 64,
    b"x" * 65,  # listpacks end here
    b"y" * 3000,  # two of them, and a small hash is none any more
    b"z" * CHUNK,
    bytes(range(1, 251)) * 280,  # three chunks, none like the other
)
INTEGERS: Final[tuple[bytes, ...]] = (
    b"0",
    b"1",
    b"-1",
    b"10",
    b"-5",
    b"%d" % INT64_MAX,
    b"%d" % -(2**63),
    b"%d" % (INT64_MAX - 1),
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551615",
    b"007",
    b"-0",
    b"+1",
    b" 1",
    b"1 ",
    b"1\x00",
    b"",
    b"1.0",
    b"1e3",
    b"0x10",
    b"x",
)
FLOATS: Final[tuple[bytes, ...]] = (
    b"0",
    b"1",
    b"0.1",
    b"-0.5",
    b"3.0e3",
    b"10.50",
    b"1e-17",
    b"5e-324",
    b"3.3333333333333333333333",
    b"9007199254740993",
    b"9223372036854775807",
    b"18446744073709551615",
    b"18446744073709551616",
    b"123456789012345678901234567890",
    b"1e17",
    b"1e308",
    b"1e309",
    b"-1e400",
    b"1.18973149535723176502e+4932",
    b"1e4933",
    b"3.64519953188247460253e-4951",
    b"1e-4952",
    b"inf",
    b"-Infinity",
    b"nan",
    b"0x1p3",
    b".5",
    b"5.",
    b"1.",
    b"+1",
    b"-0",
    b" 1",
    b"1 ",
    b"1\x00",
    b"",
    b"1,5",
    b"1e",
    b"abc",
)
OFFSETS: Final[tuple[bytes, ...]] = (
    *(b"0", b"1", b"-1", b"2", b"-2", b"5", b"-5", b"100", b"-100", b"1000"),
    *(b"%d" % CHUNK, b"%d" % (CHUNK - 1), b"%d" % (CHUNK + 1), b"-%d" % CHUNK, b"70000", b"100000"),
    *(b"%d" % INT64_MAX, b"%d" % -(2**63), b"9223372036854775808", b"2147483648", b"4294967296"),
    *(b"", b"x", b"1.5", b" 0", b"01", b"-0"),
)
"""For reads, where a far one costs nothing."""
PLACES: Final[tuple[bytes, ...]] = (
    *(b"0", b"1", b"2", b"5", b"100", b"%d" % (CHUNK - 1), b"%d" % CHUNK, b"%d" % (CHUNK + 1), b"100000"),
    *(b"-1", b"536870912", b"%d" % INT64_MAX, b"9223372036854775808", b"", b"x", b"01"),
)
"""For SETRANGE: Redis makes all bytes up to there, so the far ones are beyond its limit of 512 MB."""
BITS: Final[tuple[bytes, ...]] = (
    *(b"0", b"1", b"7", b"8", b"9", b"63", b"100", b"%d" % (CHUNK * 8 - 1), b"%d" % (CHUNK * 8), b"800000"),
    *(b"-1", b"4294967296", b"%d" % INT64_MAX, b"9223372036854775808", b"", b"x", b"01"),
)
"""For SETBIT and GETBIT: as `PLACES`, in bits."""

FAR: Final = 4_102_444_800
"""The year 2100 in seconds: an absolute time that no run comes near."""
_ODD_TIMES: Final[tuple[bytes, ...]] = (
    *(b"0", b"-1", b"%d" % -(2**63), b"%d" % INT64_MAX, b"9223372036854775808", b"9223372036854775", b"9223372036854776"),
    *(b"-9223372036854775", b"-9223372036854776", b"x", b"", b"1.5", b" 5000", b"05000", b"+5000"),
)
"""Past, too far, or no number: none lets a key expire during the run."""



def _one_of(pool: "tuple[bytes, ...]", often: int = 0) -> "st.SearchStrategy[bytes]":
    """By number: hypothesis writes out what it samples from, and some of this is long. The first two are drawn about `often`
    times more than the others, so that commands meet what others left."""
    return st.sampled_from((*(0, 1) * often, *range(len(pool)))).map(pool.__getitem__)


key = _one_of(KEYS, 4).map(Key)
field = _one_of(FIELDS, 4)
sound_integer = st.one_of(
    st.sampled_from((b"0", b"1", b"-1", b"10", b"-5", b"100", b"%d" % INT64_MAX, b"%d" % -(2**63))),
    st.integers(-(2**63), INT64_MAX).map(lambda number: b"%d" % number),
)
integer = st.one_of(sound_integer, st.sampled_from(INTEGERS))
number = st.one_of(
    st.sampled_from(FLOATS),
    st.sampled_from(INTEGERS),
    st.decimals(-(10**20), 10**20, places=6).map(lambda value: str(value).encode()),
)
value = st.one_of(_one_of(TEXTS), _one_of(TEXTS), sound_integer, st.sampled_from(INTEGERS), st.sampled_from(FLOATS))
offset = st.one_of(st.sampled_from(OFFSETS[:10]), st.sampled_from(OFFSETS))
place = st.sampled_from(PLACES)
bit_place = st.sampled_from(BITS)
bit = st.sampled_from((b"0", b"1", b"0", b"1", b"2", b"-1", b"", b"x", b"01"))

_BASES: Final = (10_000, 20_000, 500_000)


def _times(unit: int) -> "st.SearchStrategy[bytes | Span]":
    spans: list[bytes | Span] = [Span(base, unit) for base in _BASES]
    return st.one_of(st.sampled_from(spans), st.sampled_from(_ODD_TIMES), st.just(b"%d" % (FAR * unit)))


def _moments(unit: int) -> "st.SearchStrategy[bytes]":
    near = [b"%d" % ((FAR + more) * unit) for more in (0, 1, 1000)]
    return st.one_of(st.sampled_from(near), st.just(b"1"), st.sampled_from(_ODD_TIMES))


seconds, milliseconds = _times(1), _times(1000)
at_seconds, at_milliseconds = _moments(1), _moments(1000)

pattern = st.sampled_from(
    (
        *(b"*", b"a", b"?", b"Ads.T:*", b"Ads.?:[ab]", b"[^a]", b"[a-z]", b"*k", b"\\a"),
        *(b"[", b"", b"f*", b"\x00*", b"h[a-", b"nothing"),
    )
)
count = st.sampled_from((b"1", b"2", b"10", b"100", b"1000", b"0", b"-1", b"x", b"", b"9223372036854775808"))
cursor = st.sampled_from((b"0",) * 8 + (b"", b"x", b" 0", b"0x", b"99999999999999999999999"))
"""Only the beginning and what is refused: a cursor has a meaning for the server alone that made it."""
payload = st.builds(Payload, key, st.sampled_from(("",) * 6 + ("flip", "cut", "empty")))
