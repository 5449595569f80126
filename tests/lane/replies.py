"""Replies of stores, of every kind and oddness, for generated streams."""

from hypothesis import strategies as st

REPLY = st.sampled_from([
    *(b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$5\r\nab\r\nc\r\n", b"$-2\r\n", b"$05\r\nabcde\r\n"),
    *(b"$5000\r\n" + b"x" * 5000 + b"\r\n", b"+" + b"y" * 70000 + b"\r\n", b"$x\r\n", b"$12345678901\r\n", b"$\r\n", b"$\n"),
    *(b"$1%b\r\n" % (b"0" * 30), b"$-1%b\r\n" % (b"0" * 30)),
    *(b"-ERR no\r\n", b"-WRONGTYPE Operation\r\n", b"-\r\n", b"-READONLY You\r\n", b"-NOAUTH x\r\n", b"-NOPERM x\r\n"),
    *(b"-MASTERDOWN x\r\n", b"_\r\n", b"*-1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", b"%1\r\n+a\r\n,1.5\r\n", b"~0\r\n"),
    *(b"#t\r\n", b"(12\r\n", b"=5\r\ntxt:a\r\n", b">2\r\n+message\r\n+x\r\n", b"|1\r\n+a\r\n+b\r\n:7\r\n", b"?\r\n", b"\r\n"),
    b"*1\r\n?\r\n",
])  # fmt: skip

PART_REPLIES = {
    b"MGET": st.sampled_from([
        *(b"*2\r\n$1\r\na\r\n$-1\r\n", b"*2\r\n_\r\n$0\r\n\r\n", b"*1\r\n$3\r\nabc\r\n", b"*3\r\n$-1\r\n$-1\r\n$-1\r\n"),
        *(b"*2\r\n:1\r\n*1\r\n$-1\r\n", b"*2\r\n$1\r\na\r\n", b"*0\r\n", b"-ERR no\r\n"),
    ]),
    b"DEL": st.sampled_from([b":0\r\n", b":1\r\n", b":007\r\n", b":-3\r\n", b":99999999999\r\n", b"-ERR no\r\n"]),
    b"MSET": st.sampled_from([b"+OK\r\n", b"-ERR no\r\n", b"-OOM used\r\n"]),
}  # fmt: skip
"""Of each command that is cut, in the order of `Play.enqueue`'s: what a part of it may be answered, and what not."""
