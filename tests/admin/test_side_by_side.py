"""A gate and a real redis-server are asked the same, in RESP2 and RESP3: what the gate answers itself is the same bytes."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kvgate.policy.passwords import hash_password
from tests.support.resp import Arg, Closed, Resp
from tests.support.servers import Gate, Gates, RedisServer, RedisServers

LONG = "y" * 300
Script = Sequence[Sequence[Arg]]

SAME: dict[str, Script] = {
    "ping": [["PING"], ["ping", "a b"], ["PING", ""], ["PING", "a", "b"], ["ECHO", ""], ["ECHO", b"\0\xff"], ["ECHO"]],
    "select": [
        ["SELECT", word]
        for word in ("0", "16000", "-1", "abc", "1.5", "01", " 1", "+1", "", "2147483648", "-2147483649", "9" * 20, b"\xff")
    ],
    "auth without passwords": [["AUTH", "x"], ["AUTH", "default", "x"], ["AUTH", "a", "b", "c"], ["AUTH"], ["ACL", "WHOAMI"]],
    "auth as nobody": [["AUTH", "nobody", "x"], ["ACL", "WHOAMI"]],
    "hello": [
        *(["HELLO", word] for word in ("abc", "1", "4", "-1", "03", " 3", "3.0", "", "9" * 20)),
        ["HELLO", "2", "FOO"],
        ["HELLO", "2", "AUTH", "a"],
        ["HELLO", "2", "SETNAME"],
        ["HELLO", "2", "SETNAME", "a b"],
        ["HELLO", "3", "SETNAME", "z", "FOO\r\nbar"],
        ["CLIENT", "GETNAME"],
        ["HELLO", "2", LONG],
        ["HELLO", "2", b"FO\0O"],
        ["HELLO", "3", "setname", "q", "auth", "default", "x"],
        ["PING"],
        ["CLIENT", "GETNAME"],
        ["HELLO", "2", "SETNAME", "n", "SETNAME", ""],
        ["CLIENT", "GETNAME"],
    ],
    "names": [
        *(["CLIENT", "SETNAME", name] for name in ("a b", "a\nb", "\x7f", b"\xff", b"a\0", "!", "~", "ok")),
        ["CLIENT", "GETNAME"],
        ["CLIENT", "SETNAME", ""],
        ["CLIENT", "GETNAME"],
        ["CLIENT", "SETNAME"],
    ],
    "client list": [
        ["CLIENT", "LIST", "TYPE", "pubsub"],
        ["CLIENT", "LIST", "type", "MASTER"],
        ["CLIENT", "LIST", "TYPE", "replica"],
        ["CLIENT", "LIST", "TYPE", "slave"],
        ["CLIENT", "LIST", "TYPE", "foo\r\nbar"],
        ["CLIENT", "LIST", "TYPE", LONG],
        ["CLIENT", "LIST", "TYPE"],
        ["CLIENT", "LIST", "ID"],
        *(["CLIENT", "LIST", "ID", word] for word in ("x", "0", "-1", " 1", "+1", "01", "9" * 20, "999999999")),
        ["CLIENT", "LIST", "ID", "999999999", "x"],
        ["CLIENT", "LIST", "FOO"],
        ["CLIENT", "LIST", "TYPE", "normal", "ID", "3"],
    ],
    "client kill": [
        ["CLIENT", "KILL", "1.2.3.4:5"],
        *(["CLIENT", "KILL", "ID", word] for word in ("x", "0", "-1", "", "9" * 20, "999999999")),
        ["CLIENT", "KILL", "ID"],
        ["CLIENT", "KILL"],
        ["CLIENT", "KILL", "TYPE", "foo"],
        ["CLIENT", "KILL", "type", "PubSub"],
        ["CLIENT", "KILL", "TYPE", "master", "ADDR", "1.2.3.4:5", "LADDR", "1.2.3.4:6", "USER", "default", "SKIPME", "NO"],
        ["CLIENT", "KILL", "USER", "nobody"],
        ["CLIENT", "KILL", "USER", b"a\r\n\0b"],
        ["CLIENT", "KILL", "SKIPME", "maybe"],
        ["CLIENT", "KILL", "FOO", "bar"],
        ["CLIENT", "KILL", "MAXAGE", "5"],
        ["CLIENT", "KILL", "ID", "1", "USER"],
        ["CLIENT", "KILL", "ID", "x", "FOO", "bar"],
        ["CLIENT", "KILL", "FOO", "bar", "ID", "x"],
    ],
    "client, the rest": [
        ["CLIENT"],
        ["CLIENT", "FOO"],
        ["CLIENT", LONG],
        ["CLIENT", "HELP", "x"],
        ["CLIENT", "ID", "x"],
        ["CLIENT", "NO-EVICT", "on"],
        ["CLIENT", "NO-EVICT", "OFF"],
        ["CLIENT", "NO-EVICT", "x"],
        ["CLIENT", "REPLY", "x"],
        ["CLIENT", "REPLY", "on"],
        *(["CLIENT", "PAUSE", word] for word in ("x", "-1", "", "1.5", "9" * 20, str(2**63 - 1))),
        ["CLIENT", "PAUSE", "x", "FOO"],
        ["CLIENT", "PAUSE", "-1", "WRITE"],
        ["CLIENT", "PAUSE", "1", "ALL", "x"],
        ["CLIENT", "pause", "1", "x", "y"],
        ["CLIENT", "UNPAUSE"],
        *(["CLIENT", "UNBLOCK", word] for word in ("x", "-1", "999999999", "9" * 20)),
        ["CLIENT", "UNBLOCK", "x", "FOO"],
        ["CLIENT", "UNBLOCK", "999999999", "error"],
        ["CLIENT", "UNBLOCK", "999999999", "TIMEOUT", "x"],
        ["CLIENT", "MAINT_NOTIFICATIONS", "ON"],
    ],
    "acl": [
        ["ACL", "WHOAMI"],
        ["ACL", "CAT", "@read"],
        ["ACL", "CAT", "x\r\ny"],
        ["ACL", "CAT", LONG],
        ["ACL", "cat", "x", "y"],
        *(["ACL", "GENPASS", word] for word in ("0", "-1", "4097", "x", "")),
        ["ACL", "GENPASS", "1", "2"],
        ["ACL", "FOO"],
    ],
    "config get": [
        ["CONFIG", "GET", "save"],
        ["CONFIG", "GET", "appendonly"],
        ["CONFIG", "GET", "MaxMemory"],
        ["CONFIG", "GET", "maxmemory-polic?"],
        ["CONFIG", "GET", "nosuch"],
        ["CONFIG", "GET", "proto-max-bulk-l*", "nosuch"],
        ["CONFIG", "GET"],
    ],
    "logs that hold nothing": [
        ["SLOWLOG", "LEN"],
        ["SLOWLOG", "RESET"],
        *(["SLOWLOG", "GET", word] for word in ("0", "-1", "5", "-2", "x", "9" * 20)),
        ["SLOWLOG", "GET", "1", "2"],
        ["LATENCY", "LATEST"],
        ["LATENCY", "HISTORY", "command"],
        ["LATENCY", "GRAPH", b"x\r\ny\0z"],
        ["LATENCY", "GRAPH", LONG],
        ["LATENCY", "RESET"],
        ["LATENCY", "RESET", "a", "b"],
        ["LATENCY", "HISTOGRAM", "nosuch"],
        ["LATENCY", "HISTORY"],
        ["ROLE"],
        ["ROLE", "x"],
        ["TIME", "x"],
    ],
    "info": [["INFO", "nosuch"], ["INFO", "cluster"], ["INFO", "CLUSTER", "keyspace"], ["INFO", "modules"]],
    "reset inside a transaction": [["MULTI"], ["PING"], ["RESET"], ["EXEC"], ["CLIENT", "GETNAME"]],
    "reset": [["CLIENT", "SETNAME", "x"], ["HELLO", "3"], ["RESET"], ["CLIENT", "GETNAME"], ["RESET", "x"]],
    "quit": [["PING"], ["QUIT"]],
    "quit with words": [["QUIT", "now"]],
}


@pytest.fixture(scope="module")
def gate(module_redis: RedisServer) -> Iterator[Gate]:
    """A gate with one store and no users."""
    with Gate(_store(module_redis), gate=PATIENT) as running:
        yield running


PATIENT = 'wrong_password_first = "0s"\nwrong_password_longest = "0s"'
"""One wrong password after the other is what is compared here."""


def _store(server: RedisServer) -> str:
    return f'[backends.store]\ntype = "redis"\nurl = "{server.url}"\n[namespaces]\ndefault = "store"\n'


def _answers(client: Resp, script: Script) -> list[bytes]:
    """Raw replies; the end of the connection as ``closed``, numbers of clients as ``id``."""
    raws = []
    for words in script:
        client.send(*words)
        try:
            raws.append(re.sub(rb"(\$2\r\nid\r\n):\d+", rb"\1:id", client.read_one()))
        except Closed:
            raws.append(b"closed")
    if script[-1][0] == "QUIT":
        raws.append(client.read_all())
    return raws


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("name", SAME)
def test_the_same_answers(gate: Gate, module_redis: RedisServer, name: str, proto: int) -> None:
    with gate.client(proto=proto) as ours, module_redis.client(proto=proto) as theirs:
        assert list(zip(SAME[name], _answers(ours, SAME[name]), strict=False)) == list(
            zip(SAME[name], _answers(theirs, SAME[name]), strict=False)
        )


@pytest.fixture
def guarded(redis_servers: RedisServers, gates: Gates) -> tuple[Gate, RedisServer]:
    """A gate and a server that both ask for a password: of default, and of bob."""
    server = redis_servers(password="pw", config=["--user", "bob", "on", ">bp", "~*", "&*", "+@all"])
    user = '[users.{}]\npassword_sha256 = ["{}"]\nnamespaces = ["*"]\ncommands = ["+@all"]\n'
    users = user.format("default", hash_password(b"pw")) + user.format("bob", hash_password(b"bp"))
    return gates(_store(server) + users, gate=PATIENT), server


GUARDED: dict[str, Script] = {
    "before": [
        ["PING"],
        ["NOSUCH"],
        ["GET"],
        ["CLIENT", "NOSUCH"],
        ["HELLO"],
        ["HELLO", "3"],
        ["HELLO", "x"],
        ["HELLO", "9"],
        ["HELLO", "3", "FOO"],
        ["HELLO", "3", "SETNAME", "a b"],
        ["HELLO", "3", "AUTH", "default", "bad", "FOO"],
        ["HELLO", "3", "SETNAME", "q", "AUTH", "default", "bad"],
        ["AUTH"],
        ["AUTH", "a", "b", "c"],
        ["AUTH", "bad"],
        ["RESET"],
        ["PING"],
    ],
    "names stay": [["HELLO", "3", "SETNAME", "q", "AUTH", "default", "bad"], ["AUTH", "pw"], ["CLIENT", "GETNAME"]],
    "half a hello": [["HELLO", "3", "AUTH", "default", "pw", "FOO"], ["PING"], ["CLIENT", "GETNAME"]],
    "who": [
        ["AUTH", "pw"],
        ["ACL", "WHOAMI"],
        ["AUTH", "bob", "bad"],
        ["ACL", "WHOAMI"],
        ["HELLO", "3", "AUTH", "bob", "bp", "AUTH", "default", "bad"],
        ["ACL", "WHOAMI"],
        ["CLIENT", "GETNAME"],
        ["HELLO", "3", "AUTH", "bob", "bp", "SETNAME", "n"],
        ["CLIENT", "KILL", "USER", "bob"],
        ["RESET"],
        ["PING"],
    ],
    "quit": [["QUIT"]],
}


@pytest.mark.parametrize("name", GUARDED)
def test_the_same_answers_with_passwords(guarded: tuple[Gate, RedisServer], name: str) -> None:
    gate, server = guarded
    with Resp(gate.address) as ours, Resp(server.address) as theirs:
        assert list(zip(GUARDED[name], _answers(ours, GUARDED[name]), strict=False)) == list(
            zip(GUARDED[name], _answers(theirs, GUARDED[name]), strict=False)
        )


REPLY_MODES = [
    b"CLIENT REPLY FOO\r\nCLIENT REPLY OFF\r\nCLIENT REPLY FOO\r\nPING\r\nCLIENT REPLY SKIP\r\nPING\r\nCLIENT REPLY ON\r\n",
    b"CLIENT REPLY SKIP\r\nPING\r\nECHO 2\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nECHO 3\r\n",
    b"CLIENT REPLY OFF\r\nHELLO 2\r\nRESET\r\nPING\r\n",
    b"CLIENT REPLY SKIP\r\nRESET\r\nPING\r\n",
    b"CLIENT REPLY SKIP\r\nSET k v\r\nGET k\r\n",
    b"CLIENT REPLY OFF\r\nSET k w\r\nNOSUCH\r\nCLIENT REPLY ON\r\nGET k\r\n",
    b"PING\r\nQUIT\r\nPING\r\n",
]


@pytest.mark.parametrize("text", REPLY_MODES)
def test_the_same_silence(gate: Gate, module_redis: RedisServer, text: bytes) -> None:
    told = []
    for program in (gate, module_redis):
        with program.client() as client:
            client.send_raw(text + (b"" if b"QUIT" in text else b"ECHO last\r\nQUIT\r\n"))
            told.append(client.read_all())
    assert told[0] == told[1]


@pytest.mark.parametrize("proto", [2, 3])
def test_lines_of_clients_have_the_fields_of_redis(gate: Gate, module_redis: RedisServer, proto: int) -> None:
    names = []
    for program in (gate, module_redis):
        with program.client(proto=proto) as client:
            client.cmd("CLIENT", "SETNAME", "me")
            (line,) = [line for line in client.cmd("CLIENT", "LIST").splitlines() if b" name=me " in _text(line)]
            names.append([field.partition(b"=")[0] for field in _text(line).split()])
            assert client.raw_reply("CLIENT", "INFO")[:1] == (b"=" if proto == 3 else b"$")
    assert names[0] == [*names[1], b"lib-name", b"lib-ver"]


def _text(line: bytes | str) -> bytes:
    return line.encode() if isinstance(line, str) else line


def test_a_client_that_kills_itself_is_told_so_and_nothing_more(gate: Gate, module_redis: RedisServer) -> None:
    for program in (gate, module_redis):
        with program.client() as client:
            own = client.cmd("CLIENT", "ID")
            client.send_raw(b"PING\r\nCLIENT KILL ID %d SKIPME no\r\nPING\r\nPING\r\n" % own)
            assert client.read_all() == b"+PONG\r\n:1\r\n"


def test_a_client_that_kills_itself_gets_its_reply(gate: Gate, module_redis: RedisServer) -> None:
    for program in (gate, module_redis):
        with program.client() as client:
            client.send("CLIENT", "KILL", "ID", client.cmd("CLIENT", "ID"), "SKIPME", "no")
            assert client.read_all() == b":1\r\n"
        with program.client() as client:
            client.send("CLIENT", "KILL", "{}:{}".format(*client.sock.getsockname()))
            assert client.read_all() == b"+OK\r\n"


def test_a_killed_client_is_gone_at_once(gate: Gate, module_redis: RedisServer) -> None:
    for program in (gate, module_redis):
        with program.client() as client, program.client() as other:
            address = "{}:{}".format(*other.sock.getsockname())
            assert client.raw_reply("CLIENT", "KILL", address) == b"+OK\r\n"
            assert other.read_all() == b""
            assert client.raw_reply("CLIENT", "KILL", address) == b"-ERR No such client\r\n"


def test_an_unblocked_client_goes_on(gate: Gate, module_redis: RedisServer) -> None:
    expected = {"TIMEOUT": b"*-1\r\n", "ERROR": b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"}
    for program in (gate, module_redis):
        with program.client() as client, program.client() as blocked:
            ident = blocked.cmd("CLIENT", "ID")
            for how, raw in expected.items():
                blocked.send("BLPOP", "Some.List:1", 0)
                while client.cmd("CLIENT", "UNBLOCK", ident, how) == 0:
                    client.cmd("PING")  # until it is blocked
                assert blocked.read_one() == raw
            assert blocked.cmd("PING") == b"PONG"


def test_a_pause_may_be_over_at_once(module_redis: RedisServer) -> None:
    with Gate(_store(module_redis)) as gate, gate.client() as client:
        assert client.cmd("CLIENT", "PAUSE", 0) == b"OK"
        assert client.cmd("SET", "Some.Other:1", "x") == b"OK"
        client.close()
        assert gate.stop() == 0  # and no traceback in its log


def test_a_pause_holds_commands_back_until_it_ends(gate: Gate) -> None:
    with gate.client() as client, gate.client() as other:
        client.cmd("CLIENT", "PAUSE", 60_000, "WRITE")
        assert other.cmd("GET", "Some.Key:1") is None
        other.send("SET", "Some.Key:1", "x")
        assert other.silent()
        assert b"paused:1" in client.cmd("INFO", "gate")
        assert client.cmd("CLIENT", "UNPAUSE") == b"OK"
        assert other.read_one() == b"+OK\r\n"
        assert client.cmd("DEL", "Some.Key:1") == 1


def test_a_unix_socket_is_shown_as_redis_shows_it(
    redis_servers: RedisServers, module_redis: RedisServer, gates: Gates, tmp_path: Path
) -> None:
    server = redis_servers(unix=True)
    path = str(tmp_path / "gate.sock")
    gates(f'[gate]\nlisten = ["127.0.0.1:$PORT", "unix:{path}"]\n{_store(module_redis)}')
    for address in (path, server.path):
        with Resp(address) as client, Resp(address) as other:
            fields = dict(field.split(b"=", 1) for field in client.cmd("CLIENT", "INFO").split())
            shown = {name: fields[name].decode() for name in (b"addr", b"laddr", b"flags")}
            assert shown == {b"addr": f"{address}:0", b"laddr": f"{address}:0", b"flags": "U"}
            assert client.raw_reply("CLIENT", "KILL", "ADDR", f"{address}:0") == b":1\r\n"
            assert other.read_all() == b""
            assert client.raw_reply("INFO", "server").count(b"\r\ntcp_port:0\r\n") == 1
