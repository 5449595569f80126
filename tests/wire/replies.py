"""Hypothesis strategies of reply values and of raw replies, RESP3 and what Redis never sends included."""

from hypothesis import strategies as st

from kvgate.wire.reply import BigNumber, Boolean, Double, Error, Map, Push, Reply, SetOf, Simple, Verbatim

MISLEADING = [b"", b"\r\n", b"\n", b"$3\r\nfoo\r\n", b"$3\r\nfoo", b"*2\r\n", b"+OK\r\n", b"\r\n$1\r\na", b"$-1\r\n"]
lengths = st.sampled_from([9, 10, 99, 100])  # where a header grows by a digit
texts = st.one_of(st.binary(max_size=12), st.sampled_from(MISLEADING), lengths.map(lambda length: b"x" * length))
line_texts = st.binary(max_size=12).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
integers = st.integers(-(2**63), 2**63 - 1)

_scalars: "st.SearchStrategy[Reply]" = st.one_of(
    st.none(),
    integers,
    texts,
    line_texts.map(Simple),
    line_texts.map(Error),
    st.sampled_from([b"0", b"-1.5", b"3.141", b"1e+300", b"inf", b"-inf"]).map(Double),
    st.booleans().map(Boolean),
    st.integers().map(lambda number: BigNumber(b"%d" % number)),
    texts.map(Verbatim),
)


def _aggregates(inner: "st.SearchStrategy[Reply]") -> "st.SearchStrategy[Reply]":
    some = st.lists(inner, max_size=5)
    pairs = st.lists(st.tuples(texts, inner), max_size=4)
    return st.one_of(some, some.map(SetOf), some.map(Push), pairs.map(lambda made: Map([*dict(made).items()])))


values: "st.SearchStrategy[Reply]" = st.recursive(_scalars, _aggregates, max_leaves=20)
"""Replies that `decode` gives back equal from their RESP3 form."""


def bulk(text: bytes, sigil: bytes = b"$") -> bytes:
    """A string with its length in front."""
    return b"%b%d\r\n%b\r\n" % (sigil, len(text), text)


def array(items: list[bytes], sigil: bytes = b"*") -> bytes:
    """An aggregate of raw replies."""
    return b"%b%d\r\n%b" % (sigil, len(items), b"".join(items))


def _raw_aggregates(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    some, pairs = st.lists(inner, max_size=5), st.lists(st.tuples(inner, inner).map(b"".join), max_size=3)
    return st.one_of(
        st.tuples(some, st.sampled_from([b"*", b"~", b">"])).map(lambda made: array(*made)),
        pairs.map(lambda made: array(made, b"%")),
        st.tuples(pairs, inner).map(lambda made: array(made[0], b"|") + made[1]),
    )


_raw_scalars = st.one_of(
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"=-1\r\n", b"#t\r\n", b",1.5\r\n", b"(123\r\n"]),
    integers.map(lambda number: b":%d\r\n" % number),
    st.tuples(st.sampled_from([b"+", b"-"]), line_texts).map(lambda made: b"%b%b\r\n" % made),
    texts.map(bulk),
    texts.map(lambda text: bulk(b"txt:" + text, b"=")),
    texts.map(lambda text: bulk(text, b"!")),
    st.tuples(st.binary(max_size=12).map(bulk), st.integers(7, 20)).map(lambda run: array([run[0]] * run[1])),
)
raw_replies = st.recursive(_raw_scalars, _raw_aggregates, max_leaves=12)
"""Whole replies of every kind, as bytes: attributes, runs of equal values, lengths of one to three digits."""
