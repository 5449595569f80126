"""Generators of the commands about the client's own connection, and about other connections.

Those of `ALONE` change the connection, so they are tried in an `Aside` (`kvgate_compat.steps`), on one that is then closed.
"""

from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.pools import integer
from kvgate_compat.words import Args, Still, any_of, maybe, option, seq, some

_text = st.sampled_from((b"a b", b"", b"\x00\xff\r\n", b"y" * 300))
_name = st.sampled_from((b"me", b"", b"a b", b"a\nb", b"\x7f", b"\xff", b"a\x00", b"!~", b"n" * 300))
_nobody = st.sampled_from((b"999999999", b"0", b"-1", b"x", b"", b" 1", b"01", b"9223372036854775808"))
"""Numbers of no connection. Those of real ones are each server's own."""
_types = option("MASTER", "REPLICA", "SLAVE", "JUNK")
_nowhere = st.sampled_from((b"1.2.3.4:5", b"127.0.0.1:0", b"[::1]:0", b"", b"x"))
_user = st.sampled_from((b"nobody", b"a\r\n\x00b", b""))
_filters = any_of(
    seq(option("ID"), _nobody),
    seq(option("TYPE"), _types),
    seq(option("ADDR"), _nowhere),
    seq(option("LADDR"), _nowhere),
    seq(option("USER"), _user),
    seq(option("JUNK"), _nowhere),
    most=2,
)
_others = seq(option("TYPE"), st.one_of(option("PUBSUB"), seq(option("NORMAL"), option("ID"), b"999999999")))
_skip = seq(option("SKIPME"), st.sampled_from((b"yes", b"NO", b"maybe", b"")))
_login = seq(option("AUTH"), st.sampled_from((b"default", b"default", b"default", b"")), _text)
_hello = st.one_of(
    seq(st.sampled_from((b"2", b"3")), any_of(seq(option("SETNAME"), _name), _login, option("JUNK"), most=2)),
    maybe(st.sampled_from((b"2", b"3", b"1", b"4", b"-1", b"03", b" 3", b"3.0", b"", b"x", b"9223372036854775808"))),
    seq(st.sampled_from((b"2", b"3")), option("AUTH", "SETNAME")),
)
_pause = st.sampled_from([Still(text) for text in (b"0", b"1", b"2", b"-1", b"x", b"", b"1.5", b"9223372036854775808")])
_library = st.sampled_from((b"lib", b"1.0", b"", b"a b", b"\xff"))

CLIENTS: Final[dict[str, SearchStrategy[Args]]] = {
    "AUTH": st.one_of(seq(_text), seq(b"default", _text), seq(b"a", b"b", b"c")),
    "CLIENT|GETNAME": seq(),
    "CLIENT|HELP": seq(),
    "CLIENT|ID": seq(),
    "CLIENT|INFO": seq(),
    "CLIENT|KILL": st.one_of(seq(_nowhere), seq(_filters, maybe(_skip)), _others),
    "CLIENT|LIST": st.one_of(
        seq(),
        seq(option("TYPE"), st.one_of(_types, option("PUBSUB"))),
        seq(option("TYPE"), option("NORMAL")),
        seq(option("ID"), some(_nobody, least=0, most=3)),
        seq(option("JUNK"), _nobody),
    ),
    "CLIENT|NO-EVICT": option("ON", "OFF", "JUNK"),
    "CLIENT|PAUSE": seq(_pause, maybe(option("WRITE", "ALL", "JUNK"))),
    "CLIENT|REPLY": option("ON", "OFF", "SKIP", "JUNK"),
    "CLIENT|SETINFO": seq(option("LIB-NAME", "LIB-VER", "JUNK"), _library),
    "CLIENT|SETNAME": seq(_name),
    "CLIENT|UNBLOCK": seq(_nobody, maybe(option("TIMEOUT", "ERROR", "JUNK"))),
    "CLIENT|UNPAUSE": seq(),
    "ECHO": seq(_text),
    "HELLO": _hello,
    "PING": maybe(_text),
    "RESET": seq(),
    "SELECT": seq(st.one_of(st.sampled_from((b"0", b"1", b"16000", b"-1", b"2147483648", b"")), integer)),
}

ALONE: Final = ("AUTH", "CLIENT|NO-EVICT", "CLIENT|REPLY", "CLIENT|SETNAME", "HELLO", "RESET", "SELECT")
"""Commands that change the connection."""
LOGINS: Final = frozenset(
    ("AUTH", "HELLO", "RESET", "ACL|DRYRUN", "ACL|GETUSER", "ACL|LIST", "ACL|USERS", "ACL|WHOAMI")
)
"""Commands that change who the user is, or tell it."""
BESIDE: Final = ("CLIENT|GETNAME", "CLIENT|ID", "CLIENT|INFO", "CLIENT|LIST", "ECHO", "PING", "ACL|WHOAMI", "GET", "SET")
"""What shows, on the same connection, what they have changed."""
