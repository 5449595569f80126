"""``gate.admin``: operators are served when no more clients are, ahead of them, and nobody else is served there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kvgate.config import parse
from kvgate.errors import ConfigurationError
from kvgate.lane.driver import MOST_ADMINS
from tests.server.processes import info
from tests.server.settings import namespaces, user
from tests.support.ports import free_port
from tests.support.resp import Closed, Resp
from tests.support.servers import Gate, Gates, wait_for

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n' + namespaces(default="local")
USERS = user("boss", "*", more='commands = ["+@all"]') + user("app", "*")


def operator(port: int) -> Resp:
    return Resp(("127.0.0.1", port), user="boss", password="boss-secret")


Full = tuple[Gate, int, Callable[[], None]]


@pytest.fixture(params=[1, 2])
def full(request: pytest.FixtureRequest, gates: Gates) -> Iterator[Full]:
    """A gate with room for three clients in each worker; the port for operators; fills it."""
    workers, port = request.param, free_port()
    gate = gates(LOCAL + USERS, gate=f'admin = "127.0.0.1:{port}"\nmax_clients = 3\nworkers = {workers}\n')
    with ExitStack() as stack:

        def refused() -> bool:
            client = stack.enter_context(Resp(gate.address))
            return str(client.ask("PING")).startswith("ERR max number")  # else NOAUTH

        yield gate, port, lambda: wait_for(refused, "the gate to be full")


def test_an_operator_comes_in_when_nobody_else_does(full: Full) -> None:
    gate, port, fill = full
    fill()
    with operator(port) as first, operator(port) as second:
        for client in (first, second):
            assert client.cmd("PING") == b"PONG"
            assert client.cmd("SET", "k", "v") == b"OK"
            assert client.cmd("GET", "k") == b"v"
            assert client.cmd("ACL", "WHOAMI") == b"boss"
        most = int(info(first, "clients")["maxclients"])
        assert info(first, "clients")["connected_clients"] == str(most), "counted apart"
        assert info(second)["admin_clients"] == "2"
        listeners = [row[row.index(b"listener") + 1] for row in first.cmd("GATE", "CLIENTS")]
        assert listeners.count(b"127.0.0.1:%d" % port) == 2
        assert first.cmd("CLIENT", "KILL", "TYPE", "normal") == most + 1, "the clients, and the other operator"
        with pytest.raises(Closed):
            second.ask("PING")
    with gate.client(user="app", password="app-secret") as client:
        assert client.cmd("PING") == b"PONG"


def test_others_can_do_nothing_there_but_log_in(full: Full) -> None:
    gate, port, _ = full
    with Resp(("127.0.0.1", port)) as client:
        assert str(client.ask("PING")).startswith("NOAUTH")
        assert client.cmd("AUTH", "app", "app-secret") == b"OK"
        for words in (["PING"], ["GET", "k"], ["INFO"], ["CLIENT", "LIST"], ["MULTI"], ["SUBSCRIBE", "c"]):
            assert str(client.ask(*words)) == (
                "NOPERM this address is for operators: the user's rules have to grant GATE RELOAD"
            )
        assert client.cmd("AUTH", "boss", "boss-secret") == b"OK"
        assert client.pipeline([["SET", "k", "1"]] * 50 + [["INCR", "k"]] * 50)[-1] == 51
        assert client.cmd("AUTH", "app", "app-secret") == b"OK"
        assert str(client.ask("GET", "k")).startswith("NOPERM")
    with gate.client(user="app", password="app-secret") as client:
        assert client.cmd("GET", "k") == b"51"


def test_strangers_cannot_hold_all_places(gates: Gates) -> None:
    port = free_port()
    gate = gates(LOCAL + USERS, gate=f'admin = "127.0.0.1:{port}"\n')
    with ExitStack() as stack, operator(port) as boss:
        strangers = [stack.enter_context(Resp(("127.0.0.1", port))) for _ in range(MOST_ADMINS + 5)]
        assert str(strangers[-1].ask("PING")).startswith("NOAUTH")
        with operator(port) as second:
            assert second.cmd("PING") == b"PONG"
            assert boss.cmd("PING") == b"PONG"
            assert info(boss)["admin_clients"] == str(MOST_ADMINS)
        with pytest.raises(Closed):
            strangers[0].ask("PING")
    with ExitStack() as stack, gate.client(user="app", password="app-secret") as app:
        operators = [stack.enter_context(operator(port)) for _ in range(MOST_ADMINS)]
        with Resp(("127.0.0.1", port)) as late:
            assert late.read_all() == b"-ERR max number of clients reached\r\n"
        assert all(each.cmd("PING") == b"PONG" for each in operators)
        assert app.cmd("PING") == b"PONG"


def test_without_users_this_machine_operates_and_a_unix_socket_will_do(gates: Gates) -> None:
    gate = gates(LOCAL, gate='admin = "unix:admin.sock"\nmax_clients = 1\n')
    path = str(gate.directory / "admin.sock")
    with Resp(path) as boss, ExitStack() as stack:
        assert boss.cmd("PING") == b"PONG"
        wait_for(lambda: info(boss, "clients")["connected_clients"] == "0", "earlier connections to be gone")
        only = stack.enter_context(gate.client())
        assert only.cmd("PING") == b"PONG"
        assert len(boss.cmd("GATE", "CLIENTS")) == 2
        with Resp(gate.address) as late:
            assert late.read_all() == b"-ERR max number of clients reached\r\n"
    gate.stop()
    assert not (gate.directory / "admin.sock").exists()


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        ('admin = "nonsense"', "gate.admin"),
        ('admin = "127.0.0.1:6380"', "gate.admin"),
        ('admin = "0.0.0.0:6390"', "gate.admin"),
        ('admin = "tls:127.0.0.1:6390"', "gate.tls"),
    ],
)
def test_mistakes_are_named(lines: str, mistake: str) -> None:
    text = f'[gate]\nlisten = ["127.0.0.1:6380"]\n{lines}\n' + LOCAL
    with pytest.raises(ConfigurationError) as caught:
        parse(text.encode(), Path("/nowhere"))
    assert any(each.startswith(mistake) for each in caught.value.mistakes)
