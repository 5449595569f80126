"""One line of CLIENT LIST: the fields and their order are Redis 7.0's, with 7.2's ``lib-name`` and ``lib-ver`` at the end.

What the gate does not have is 0: it keeps no reply buffers of fixed size, and does not count single objects.
"""

import contextlib
import time
from collections.abc import Iterable

from kvgate.admin.common import is_subscribed, name_of, session_of
from kvgate.lane.client import Client
from kvgate.server.session import Session


def kind(client: Client) -> str:
    """Redis' type of the client: ``normal`` or ``pubsub``. The gate has no replicas and no master."""
    return "pubsub" if is_subscribed(session_of(client)) else "normal"


def local_address(client: Client) -> str:
    """The gate's end of the connection, as ``addr`` writes the other one; empty once it is closed."""
    if _is_unix(client):
        return session_of(client).address
    with contextlib.suppress(OSError):
        host, port = client.transport.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ""


def lines(clients: Iterable[Client], now: float) -> bytes:
    """One line for each, its end included; `now` is the lane's clock."""
    return b"".join(line(client, now) + b"\n" for client in clients)


def line(client: Client, now: float) -> bytes:
    """The client's line, without its end."""
    session = session_of(client)
    return b" ".join(b"%b=%b" % (name.encode(), _bytes(value)) for name, value in _fields(client, session, now))


def _bytes(value: str | int | bytes) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def _fields(client: Client, session: Session, now: float) -> list[tuple[str, str | int | bytes]]:
    age = max(0, int(time.time() - session.created))
    subscribed, patterns, shard_channels = _subscribed(session)
    multi = session.multi
    queued = 0 if multi is None else multi.size
    waiting = sum(map(len, client.out))
    return [
        ("id", client.id),
        ("addr", session.address),
        ("laddr", local_address(client)),
        ("fd", client.transport.fd),
        ("name", session.name),
        ("age", age),
        ("idle", max(0, int(now - client.last_fed)) if client.last_fed else age),
        ("flags", _flags(client, session)),
        ("db", session.database),
        ("sub", subscribed),
        ("psub", patterns),
        ("ssub", shard_channels),
        ("multi", -1 if multi is None else len(multi.commands)),
        ("qbuf", client.backlog_size),
        ("qbuf-free", 0),
        ("argv-mem", client.inflight_bytes),
        ("multi-mem", queued),
        ("rbs", 0),
        ("rbp", 0),
        ("obl", waiting),
        ("oll", len(client.transport.behind)),
        ("omem", client.out_size),
        ("tot-mem", client.backlog_size + client.inflight_bytes + queued + waiting + client.out_size),
        ("events", _events(client)),
        ("cmd", session.last_command or "NULL"),
        ("user", name_of(session)),
        ("redir", -1),
        ("resp", session.proto),
        ("lib-name", session.lib_name),
        ("lib-ver", session.lib_ver),
    ]


def _subscribed(session: Session) -> tuple[int, int, int]:
    subscriptions = session.subscriptions
    if subscriptions is None:
        return 0, 0, 0
    return len(subscriptions.channels), len(subscriptions.patterns), len(subscriptions.shard_channels)


def _is_unix(client: Client) -> bool:
    return not session_of(client).host


def _flags(client: Client, session: Session) -> str:
    """Redis' letters in Redis' order; what the gate cannot know (``d``: a watched key has changed) is left out."""
    letters = (
        ("O", session.subscriptions is not None and session.subscriptions.monitor),
        ("P", is_subscribed(session)),
        ("x", session.multi is not None),
        ("b", session.blocked),
        ("c", client.closing or client.eof),
        ("U", _is_unix(client)),
        ("e", session.no_evict),
    )
    return "".join(letter for letter, applies in letters if applies) or "N"


def _events(client: Client) -> str:
    """What the lane waits for: more from it (``r``), or that it takes more (``w``)."""
    transport = client.transport
    reading = not transport.paused and not client.eof
    return ("r" if reading else "") + ("w" if transport.want_out else "")
