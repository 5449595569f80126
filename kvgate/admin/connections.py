"""GATE CLIENTS and GATE UPSTREAMS: every connection of clients, and every shared connection to stores, over all workers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kvgate.admin.client_line import kind
from kvgate.admin.common import name_of, parts_of, session_of, text
from kvgate.commands.keys import integer
from kvgate.errors import NOT_AN_INTEGER, GateError, syntax_error
from kvgate.lane.client import Client
from kvgate.lane.upstream import Shard, State, Upstream
from kvgate.policy.users import User
from kvgate.server.site import Answer, Collect, Site
from kvgate.wire.reply import Map, Reply

USUAL: Final = 100
MOST: Final = 100_000

Fields = dict[str, str | int | None]
"""One connection: what is told of it, in order; texts carry bytes of a client as surrogates."""


# Clients.


def _options(words: Sequence[bytes]) -> tuple[str, int]:
    """``USER name`` (empty: all) and ``LIMIT n``."""
    name, limit = "", USUAL
    for at in range(0, len(words), 2):
        if at + 1 == len(words):
            raise syntax_error()
        word, value = words[at].upper(), words[at + 1]
        if word == b"USER":
            name = text(value)
        elif word == b"LIMIT":
            number = integer(value)
            if number is None or number < 1:
                raise GateError(NOT_AN_INTEGER)
            limit = min(number, MOST)
        else:
            raise syntax_error()
    return name, limit


def collect_clients(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """This process' clients by id: as many as are asked for."""
    del user
    name, limit = _options(args[2:])
    found: list[Fields] = []
    for client in site.driver.clients.values():
        if len(found) >= limit:
            break
        if not name or name_of(session_of(client)) == name:
            found.append(_client(site, client, now))
    return found


def _client(site: Site, client: Client, now: float) -> Fields:
    session = session_of(client)
    age = max(0, int(now - client.since))
    last = client.queue[-1].account if client.queue else None
    return {
        "id": client.id,
        "worker": site.number,
        "user": "" if session.user is None else session.user.name,
        "name": session.name.decode("utf-8", "surrogateescape"),
        "address": session.address,
        "listener": session.listener,
        "database": session.database,
        "protocol": session.proto,
        "kind": "blocked" if session.blocked else kind(client),
        "age": age,
        "idle": max(0, int(now - client.last_fed)) if client.last_fed else age,
        "in_flight": client.inflight,
        "in_flight_bytes": client.inflight_bytes,
        "waiting_bytes": client.backlog_size,
        "unread_bytes": client.out_size + client.held,
        "bytes_in": client.received,
        "bytes_out": client.sent,
        "last_command": session.last_command if last is None else last.command,
    }


def _clients(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """``GATE CLIENTS [USER name] [LIMIT n]``: a map for each, by id."""
    _, limit = _options(args[2:])
    found = [each for part in parts_of(site, client, args, now, collect_clients) for each in part]
    found.sort(key=lambda each: int(each["id"]))
    return [_map(each) for each in found[:limit]]


# Upstreams.


def collect_upstreams(site: Site, user: User, args: list[bytes], now: float) -> Any:
    """This process' shared connections: backend, shard, line."""
    del user
    wanted = text(args[2]) if len(args) > 2 else ""
    found: list[Fields] = []
    for name, shards in site.places.shards.items():
        if wanted in ("", name):
            figures = site.backends[name].statistics().figures
            for shard in shards:
                found += [_upstream(site, figures, shard, up, now) for up in shard.lines]
    return found


def _upstream(site: Site, figures: Mapping[str, Any], shard: Shard, up: Upstream, now: float) -> Fields:
    own, idle = figures.get("own_connections"), figures.get("own_connections_idle")
    oldest = up.fifo[0] if up.fifo else None
    return {
        "backend": shard.name,
        "shard": shard.index,
        "connection": up.name.split("/", 2)[2],
        "worker": site.number,
        "address": shard.endpoint.url,
        "state": up.state.value,
        "since": max(0, int(now - up.since)) if up.state is State.UP else None,
        "in_flight": sum(slot.want for slot in up.fifo),
        "queued_bytes": up.queued - up.sent,
        "oldest_ms": None if oldest is None else max(0, int((now - oldest.started) * 1000)),
        "connections_made": up.made[0],
        "last_error": up.why_down or up.last_error,
        "own_in_use": own - idle if isinstance(own, int) and isinstance(idle, int) else None,
        "own_idle": idle if isinstance(idle, int) else None,
    }


def _upstreams(site: Site, client: Client, args: list[bytes], now: float) -> Reply:
    """``GATE UPSTREAMS [backend]``: a map for each connection of each worker."""
    if len(args) > 3:
        raise syntax_error()
    found = [each for part in parts_of(site, client, args, now, collect_upstreams) for each in part]
    found.sort(key=lambda each: (each["backend"], each["shard"], each["connection"], each["worker"]))
    return [_map(each) for each in found]


def _map(fields: Fields) -> Reply:
    pairs: list[tuple[Reply, Reply]] = []
    for name, value in fields.items():
        shown: Reply = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        pairs.append((name.encode(), shown))
    return Map(pairs)


ANSWERS: Final[dict[str, Answer]] = {"GATE|CLIENTS": _clients, "GATE|UPSTREAMS": _upstreams}
PARTS: Final[dict[str, Collect]] = {"GATE|CLIENTS": collect_clients, "GATE|UPSTREAMS": collect_upstreams}
