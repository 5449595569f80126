"""Logging in with scrypt hashes: on threads, a few at a time, in the client's order, and not at all after wrong passwords."""

import hashlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
import trio.testing

from kvgate.errors import GateError
from kvgate.policy.passwords import Backoff
from kvgate.policy.scrypt import Scrypt
from kvgate.policy.users import Attempt, User, Users, WrongPasswordError
from kvgate.server.logins import AT_ONCE, Hashing
from tests.server.reloads import refused, reload
from tests.server.settings import user
from tests.support.resp import Resp
from tests.support.servers import Gate, Gates, wait_for

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher

WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
BACKENDS = '[backends.e]\ntype = "lmdb"\npath = "$DIR/data"\ndurability = "no"\n[namespaces]\n"Ads.P" = "e"\n'
PATIENT = 'wrong_password_first = "60s"\nwrong_password_longest = "60s"\n'


def scrypt(password: str) -> str:
    """A cheap hash: 16 MiB."""
    salt = hashlib.sha256(password.encode()).digest()[:16]
    return Scrypt(14, 8, 1, salt, hashlib.scrypt(password.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=32)).text


def slow(name: str, *passwords: str, more: str = 'namespaces = ["Ads.*"]') -> str:
    """One ``[users.NAME]`` with scrypt hashes."""
    hashes = ", ".join(f'"{scrypt(password)}"' for password in passwords)
    return f"[users.{name}]\npassword_scrypt = [{hashes}]\n{more}\n"


LEAVING = [f"left{number}" for number in range(6)]


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    """A wrong password keeps a user out for as long as the tests run, so that each test has users of its own."""
    config = BACKENDS + user("ads", "Ads.*") + user("plain") + user("admin", more='commands = ["+@all"]')
    config += "".join(slow(name, "secret") for name in ("slow", "tried", "failed", "many", *LEAVING))
    with Gate(config, gate=PATIENT) as running:
        yield running


@pytest.mark.parametrize("proto", [2, 3])
def test_auth_and_hello(gate: Gate, proto: int) -> None:
    with gate.client() as client:
        assert client.raw_reply("GET", "Ads.P:1").startswith(b"-NOAUTH")
        if proto == 2:
            assert client.cmd("AUTH", "slow", "secret") == b"OK"
        else:
            assert client.raw_reply("HELLO", 3, "AUTH", "slow", "secret", "SETNAME", "me").startswith(b"%7\r\n")
            assert client.cmd("CLIENT", "GETNAME") == b"me"
        assert client.cmd("ACL", "WHOAMI") == b"slow"
        assert client.cmd("SET", "Ads.P:1", "x") == b"OK"
        assert client.raw_reply("RESET") == b"+RESET\r\n"
        assert client.raw_reply("GET", "Ads.P:1").startswith(b"-NOAUTH")
    with gate.client() as client:
        assert client.raw_reply("HELLO", proto, "AUTH", "ads", "ads-secret", "AUTH", "slow", "secret")[:1] in b"*%"
        assert client.cmd("ACL", "WHOAMI") == b"slow"


def test_what_is_sent_behind_auth_waits_for_it(gate: Gate) -> None:
    with gate.client() as client:
        client.send("AUTH", "ads", "ads-secret")
        client.send("SET", "Ads.P:1", "x")
        client.send("AUTH", "slow", "secret")
        for _ in range(100):
            client.send("ACL", "WHOAMI")
        client.send("GET", "Ads.P:1")
        client.send("AUTH", "ads", "ads-secret")
        client.send("ACL", "WHOAMI")
        replies = [client.read() for _ in range(106)]
    assert replies == [b"OK", b"OK", b"OK", *[b"slow"] * 100, b"x", b"OK", b"ads"]


@pytest.mark.parametrize("name", ["tried", "plain", "nobody"])
def test_a_wrong_password_is_refused_and_then_not_looked_at(gate: Gate, name: str) -> None:
    with gate.client() as client, gate.client(user="ads", password="ads-secret") as other:
        assert client.raw_reply("AUTH", name, "wrong") == WRONG
        assert client.raw_reply("AUTH", name, "wrong").startswith(b"-THROTTLED retry after")
        assert client.raw_reply("HELLO", 3, "AUTH", name, "secret").startswith(b"-THROTTLED")
        assert client.raw_reply("PING").startswith(b"-NOAUTH")
        assert other.cmd("PING") == b"PONG"


def test_a_failed_auth_leaves_the_client_who_it_was(gate: Gate) -> None:
    with gate.client(user="ads", password="ads-secret") as client:
        assert client.raw_reply("AUTH", "failed", "wrong") == WRONG
        assert client.cmd("ACL", "WHOAMI") == b"ads"
        assert client.raw_reply("HELLO", 3, "SETNAME", "kept", "AUTH", "failed", "secret").startswith(b"-THROTTLED")
        assert client.cmd("CLIENT", "GETNAME") == b"kept"
        assert client.cmd("CLIENT", "REPLY", "ON") == b"OK"


def test_many_at_once(gate: Gate) -> None:
    """Right ones of one user are all answered OK; of wrong ones one is hashed, and the others are told to wait."""
    clients = [gate.client() for _ in range(40)]
    for client in clients:
        client.send("AUTH", "many", "secret")
    assert [client.read_raw(1) for client in clients] == [b"+OK\r\n"] * 40
    for client in clients:
        client.send("AUTH", "many", "wrong")
    raws = [client.read_raw(1) for client in clients]
    assert 1 <= raws.count(WRONG) <= AT_ONCE
    assert all(raw == WRONG or raw.startswith(b"-THROTTLED") for raw in raws)
    for client in clients:
        client.close()


def test_clients_that_leave_while_they_wait(gate: Gate) -> None:
    for name in LEAVING:
        with gate.client() as client:
            client.send("AUTH", name, "wrong")
    with gate.client(user="ads", password="ads-secret") as client:
        assert client.cmd("PING") == b"PONG"
        wait_for(lambda: b"connected_clients:1\r\n" in client.cmd("INFO", "clients"), "the others to be gone")


@pytest.mark.parametrize("workers", [2])
def test_a_password_is_rotated_without_a_moment_without_one(gates: Gates, workers: int) -> None:
    """From SHA-256 to scrypt to the next one: at each step what the clients have works, and afterwards what was is gone."""
    admin = {"user": "admin", "password": "admin-secret"}
    base = BACKENDS + user("admin", more='commands = ["+@all"]')
    sha256 = hashlib.sha256(b"first").hexdigest()
    steps = [
        (f'[users.app]\npassword_sha256 = ["{sha256}"]\n', ["first"], ["second", "third"]),
        (
            f'[users.app]\npassword_sha256 = ["{sha256}"]\npassword_scrypt = ["{scrypt("second")}"]\n',
            ["first", "second"],
            ["third"],
        ),
        (slow("app", "second", more=""), ["second"], ["first", "third"]),
        (slow("app", "second", "third", more=""), ["second", "third"], ["first"]),
        (slow("app", "third", more=""), ["third"], ["first", "second"]),
    ]
    gate = gates(
        base + steps[0][0], gate=f'workers = {workers}\nwrong_password_first = "1ms"\nwrong_password_longest = "1ms"\n'
    )
    with gate.client(user="app", password="first") as from_the_beginning:
        for config, right, wrong in steps:
            reload(gate, base + config, **admin)
            for password in right:
                for _ in range(2 * workers):
                    gate.client(user="app", password=password).close()
            for password in wrong:
                with gate.client() as client:
                    assert until_looked_at(client, "AUTH", "app", password).startswith("WRONGPASS")
        assert from_the_beginning.cmd("ACL", "WHOAMI") == b"app"


def until_looked_at(client: Resp, *command: str) -> str:
    """The error, once there is no wait in force."""
    errors: list[str] = []

    def looked_at() -> bool:
        errors.append(refused(client, *command))
        return not errors[-1].startswith("THROTTLED")

    wait_for(looked_at, "the password to be looked at")
    return errors[-1]


def test_a_password_taken_away_is_not_remembered(gates: Gates) -> None:
    base = BACKENDS + user("admin", more='commands = ["+@all"]')
    gate = gates(base + slow("app", "one", "two"))
    gate.client(user="app", password="one").close()
    gate.client(user="app", password="two").close()
    reload(gate, base + slow("app", "two"), user="admin", password="admin-secret")
    gate.client(user="app", password="two").close()
    with gate.client() as client:
        assert client.raw_reply("AUTH", "app", "one") == WRONG
    reload(gate, base, user="admin", password="admin-secret")
    with gate.client() as client:
        assert client.raw_reply("AUTH", "app", "two") == WRONG


# ---------------------------------------------------------------------- `Hashing` by itself


@attrs.frozen(slots=True)
class Waiting(Scrypt):
    """Is compared for as long as the test wants."""

    started: list[int] = attrs.field(factory=list, kw_only=True)
    go_on: threading.Event = attrs.field(factory=threading.Event, kw_only=True)

    def matches(self, password: bytes) -> bool:
        self.started.append(1)
        assert self.go_on.wait(10)
        return password == b"right"

    async def busy(self) -> None:
        """Return when as many threads are in here as may be."""
        with trio.fail_after(10):
            while len(self.started) < AT_ONCE:
                await trio.lowlevel.checkpoint()

    def decoy(self) -> "Waiting":
        return self


def room(known: Waiting, *names: str, timeout: float = 5.0) -> "Dispatcher":
    users = Users([User(name=name, password_scrypt=(known,)) for name in names], Backoff(first=60.0, longest=60.0))
    configuration = SimpleNamespace(users=users, gate=SimpleNamespace(command_timeout=timeout))
    return cast("Dispatcher", SimpleNamespace(configuration=configuration))


async def test_a_few_at_a_time_and_the_loop_goes_on() -> None:
    known = Waiting(14, 8, 1, b"salt", b"")
    gate, hashing = room(known, "a", "b", "c", "d"), Hashing()
    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(hashing.check, gate, Attempt(name, b"right", ""))
        await known.busy()  # the loop runs while the threads hash
        await trio.testing.wait_all_tasks_blocked()
        assert len(known.started) == AT_ONCE
        known.go_on.set()
    assert len(known.started) == AT_ONCE  # who waited found it remembered: it is the same hash


async def test_of_many_wrong_ones_those_behind_are_not_hashed() -> None:
    known = Waiting(14, 8, 1, b"salt", b"")
    known.go_on.set()
    gate, hashing, outcomes = room(known, "a"), Hashing(), list[str]()

    async def attempt() -> None:
        try:
            await hashing.check(gate, Attempt("a", b"wrong", ""))
        except WrongPasswordError:
            outcomes.append("wrong")
        except GateError as error:
            outcomes.append(error.code)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(attempt)
    assert len(known.started) <= AT_ONCE
    assert outcomes.count("wrong") == len(known.started)
    assert outcomes.count("THROTTLED") == 50 - len(known.started)


async def test_who_waits_too_long_is_told_so_and_the_turn_is_free_again() -> None:
    known = Waiting(14, 8, 1, b"salt", b"")
    gate, hashing = room(known, "a", "b", "c", timeout=0.05), Hashing()
    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(hashing.check, gate, Attempt(name, b"right", ""))
        await known.busy()
        with pytest.raises(GateError, match=r"^THROTTLED retry after 50 ms$"):
            await hashing.check(gate, Attempt("c", b"other", ""))
        assert len(known.started) == AT_ONCE
        known.go_on.set()
    with pytest.raises(WrongPasswordError):
        await hashing.check(gate, Attempt("c", b"other", ""))
