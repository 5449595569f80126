"""Every command with keys, and whole sessions: the gate's reply bytes are those of a real server, in RESP2 and RESP3."""

from collections.abc import Iterator

import attrs
import pytest

from kvgate.commands.keys import key_indices
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import every_command, lookup
from kvgate.errors import GateError
from tests.server.conversations import EVERY, SESSIONS, Line, say
from tests.server.settings import Setting, namespaces, redis, serving, sharded, stores
from tests.support.resp import Closed, Resp
from tests.support.servers import NO_REDIS, RedisServer, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

CONFIGURATIONS = ("one store", "two shards", "two applications", "a store without RESP3", "limits that nothing breaks")
UNLIMITED = frozenset({b"EVAL", b"EVALSHA", b"FCALL", b"RESTORE"})
"""What could make keys of any type or name, and is refused where these are limited (RESTORE of no known type)."""
LIMITS = """
[namespaces]
default = "a"
[namespaces."Ads.P"]
backend = "a"
max_field = "1mb"
max_elements = 100000
max_reply = "64mb"
max_connections = 1000
forbidden = ["migrate"]
types = ["string", "hash", "list", "set", "zset", "stream"]
key_pattern = '(?s)Ads\\.P:.*'
"""


@attrs.frozen
class Pair:
    """A gate and a plain Redis that are asked the same."""

    setting: Setting
    plain: RedisServer
    refused: frozenset[bytes] = frozenset()
    """Commands that these settings refuse, with reason."""

    def flush(self) -> None:
        self.setting.flush()
        self.plain.cmd("FLUSHALL")


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with stores(3) as (plain, one, two):
        config = {
            "one store": redis("a", one) + namespaces(default="a"),
            "two shards": sharded("a", one, two) + namespaces(default="a"),
            "two applications": redis("a", one) + redis("b", two) + namespaces(Ads__="a", Bank_L="a", default="b"),
            "a store without RESP3": redis("a", one, "resp3 = false") + namespaces(default="a"),
            "limits that nothing breaks": sharded("a", one, two) + LIMITS,
        }[request.param]
        with serving(config, one, two) as setting:
            yield Pair(setting, plain, UNLIMITED if request.param.startswith("limits") else frozenset())


@pytest.fixture(autouse=True)
def _empty(pair: Pair) -> None:
    pair.flush()


def unlike(pair: Pair, requests: list[Line], proto: int) -> list[str]:
    """The requests that were answered differently, one after the other on one connection each."""
    with pair.plain.client(proto=proto) as plain, pair.setting.gate.client(proto=proto) as gate:
        asked = (request for request in requests if not request or request[0] not in pair.refused)
        return [text for request in asked for text in differences(plain, gate, request)]


def differences(plain: Resp, gate: Resp, request: Line) -> list[str]:
    plain.send(*request)
    gate.send(*request)
    wanted, got = answer(plain, request), answer(gate, request)
    if request[0].upper() == b"XINFO" and request[1].upper() == b"CONSUMERS":
        wanted, got = wanted[:40], got[:40]  # idle times follow
    if request[1:2] == (b"IDLETIME",):
        wanted, got = wanted[:1], got[:1]  # seconds, of which one may end between the two
    shown = b" ".join(request).decode("latin-1")
    return [] if wanted == got else [f"{shown}\n  redis: {wanted!r}\n  gate:  {got!r}"]


def answer(connection: Resp, request: Line) -> bytes:
    """The reply, or replies: SUBSCRIBE confirms each name."""
    names = len(request) - 1 if b"SUBSCRIBE" in request[0].upper() else 1
    try:
        return connection.read_raw(max(names, 1))
    except Closed:
        return b"<closed>"


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("group", EVERY)
def test_commands(pair: Pair, group: str, proto: int) -> None:
    found = unlike(pair, EVERY[group], proto)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("session", SESSIONS)
def test_sessions(pair: Pair, session: str, proto: int) -> None:
    found = unlike(pair, SESSIONS[session], proto)
    assert not found, "\n".join(found)


def spoken() -> dict[CommandSpec, list[Line]]:
    """The requests of the lists by command."""
    found: dict[CommandSpec, list[Line]] = {}
    for requests in EVERY.values():
        for request in requests:
            spec = lookup(request)
            if spec is not None:
                found.setdefault(spec, []).append(request)
    return found


def test_no_command_is_left_out() -> None:
    """Of those that reach a store by their keys; the transactions' own are in the sessions."""
    wanted = {
        spec.name
        for spec in every_command()
        if spec.keys
        and spec.action in (Action.FORWARD, Action.SPLIT, Action.OWN)
        and "PUBSUB" not in spec.group.upper()
        and spec.since != "0.1.0"  # no command of Redis: tests/versioned
    }
    assert wanted - {spec.name for spec in spoken()} == {"WATCH"}


@pytest.mark.parametrize("proto", [2, 3])
def test_wrong_numbers_of_arguments(pair: Pair, proto: int) -> None:
    requests: list[Line] = []
    for spec in spoken():
        name = tuple(spec.name.encode().split(b"|"))
        least = abs(spec.arity)
        requests += [(*name, *[b"Ads.P:{t}x"] * (count - len(name))) for count in range(len(name), least)]
        if spec.arity > 0:
            requests.append((*name, *[b"Ads.P:{t}x"] * (least + 1 - len(name))))
    assert len(requests) > 300
    found = unlike(pair, requests, proto)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("kind", ["SET @ v", "RPUSH @ v", "HSET @ f v"])
def test_wrong_types(pair: Pair, kind: str, proto: int) -> None:
    """Every request again, over keys that all hold one type."""
    requests: list[Line] = []
    for found_requests in spoken().values():
        for request in found_requests:
            if request[0] in (b"MEMORY", b"DUMP"):  # sizes and encodings are told elsewhere
                continue
            requests += [(b"DEL", *filling) for filling in [keys_of(request)] if filling]
            requests += [tuple(key if word == b"@" else word for word in kind_words(kind)) for key in keys_of(request)]
            requests.append(request)
    found = unlike(pair, requests, proto)
    assert not found, "\n".join(found)


def kind_words(kind: str) -> Line:
    return tuple(word.encode() for word in kind.split())


def keys_of(request: Line) -> list[bytes]:
    spec = lookup(request)
    assert spec is not None
    try:
        return sorted({request[index] for index in key_indices(spec, request)})
    except (GateError, IndexError):
        return []


@pytest.mark.parametrize("proto", [2, 3])
def test_missing_keys(pair: Pair, proto: int) -> None:
    """Every request again, each on an empty store."""
    with pair.plain.client(proto=proto) as plain, pair.setting.gate.client(proto=proto) as gate:
        found = []
        for requests in spoken().values():
            for request in requests:
                if request[0] in pair.refused:
                    continue
                keys = keys_of(request)
                if keys:
                    found += differences(plain, gate, (b"UNLINK", *keys))
                found += differences(plain, gate, request)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("proto", [2, 3])
def test_everything_in_one_transaction(pair: Pair, proto: int) -> None:
    """Inside MULTI each is queued, and EXEC's reply has the same bytes."""
    for group in EVERY:
        pair.flush()
        requests = [say("MULTI"), *[request for request in EVERY[group] if may_queue(request)], say("EXEC")]
        found = unlike(pair, requests, proto)
        assert not found, "\n".join(found)


def may_queue(request: Line) -> bool:
    """What Redis queues and the gate must refuse before it can be (its keys cannot be told) aborts the transaction there."""
    spec = lookup(request)
    if spec is None or request[:2] == say("XINFO CONSUMERS"):
        return False
    try:
        key_indices(spec, request)
    except GateError:
        return False
    return spec.capability != "pubsub"


def test_a_value_restored_from_its_dump(pair: Pair) -> None:
    with pair.setting.gate.client() as client:
        client.cmd("RPUSH", "Ads.P:{t}l", "a", "b")
        dump = client.cmd("DUMP", "Ads.P:{t}l")
        assert client.cmd("RESTORE", "Ads.P:{t}copy", 0, dump) == b"OK"
        assert client.cmd("LRANGE", "Ads.P:{t}copy", 0, -1) == [b"a", b"b"]
        assert client.raw_reply("RESTORE", "Ads.P:{t}copy", 0, dump) == b"-BUSYKEY Target key name already exists.\r\n"
