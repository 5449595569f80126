"""A gate in one piece but without its tasks: the real dispatcher, lane and driver, with clients on real sockets."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kvgate.config import parse, prepare_backends
from kvgate.lane.client import Client
from kvgate.lane.driver import Driver, Listener, Transport
from kvgate.policy.passwords import hash_password
from kvgate.server.dispatch import Dispatcher
from tests.support.resp import Arg, frame, to_bytes

SECRETS = {"ads": "ads-key", "bank": "bank-key", "boss": "boss-key", "auditor": "auditor-key"}
CONFIG = """
[gate]
listen = ["127.0.0.1:6380", "unix:gate.sock"]
[backends.cache]
type = "redis"
url = "redis://127.0.0.1:1/0"
[backends.vault]
type = "redis"
url = "redis://127.0.0.1:2/0"
[backends.spread]
type = "redis"
slots = 4
[backends.spread.groups]
"0-1" = "redis://127.0.0.1:3"
"2-3" = "redis://127.0.0.1:4"
[namespaces]
"Ads.*" = "cache"
"Bank.Ledger" = "vault"
"Bank.Wide" = "spread"
[users.ads]
password_sha256 = ["$ads"]
namespaces = ["Ads.*"]
networks = ["127.0.0.1"]
[users.bank]
password_sha256 = ["$bank"]
namespaces = ["Bank.*"]
commands = ["+@all", "-config|get"]
[users.boss]
password_sha256 = ["$boss"]
namespaces = ["*"]
commands = ["+@all"]
[users.auditor]
password_sha256 = ["$auditor"]
namespaces = ["Ads.Log"]
read_only = ["Bank.*", "default"]
"""


for name, secret in SECRETS.items():
    CONFIG = CONFIG.replace(f"${name}", hash_password(secret.encode()))
OPEN_CONFIG = CONFIG[: CONFIG.index("[users.ads]")]
"""Without users: whoever comes from this machine may do everything."""


class Room:
    """What one test needs of a gate. `join` and `ask` are synchronous: nothing here waits for a store."""

    def __init__(self, stack: ExitStack, text: str) -> None:
        """Prepare the gate of a configuration; no store is connected to."""
        configuration = parse(text.encode(), Path("/nowhere"), path=Path("/nowhere/kvgate.toml"))
        self.site = Dispatcher(configuration, prepare_backends(configuration))
        self.driver = self.site.driver = Driver(self.site.lane, self.site.welcome)
        self._stack = stack
        self._server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._server.setblocking(False)

    def join(self, user: str = "", proto: int = 2) -> Client:
        """A new client; with `user` one that has logged in."""
        far = self._stack.enter_context(socket.create_connection(self._server.getsockname()))
        self._server.settimeout(5)
        near = self._stack.enter_context(self._server.accept()[0])
        transport = Transport(near, lambda _transport: None, None)
        transport.address = f"127.0.0.1:{far.getsockname()[1]}"
        client = self.site.welcome(transport, "127.0.0.1", Listener("127.0.0.1:6380"))
        assert isinstance(client, Client)
        transport.owner = self.driver.clients[client.id] = client
        if user:
            hello = self.ask(client, "HELLO", proto, "AUTH", user, SECRETS[user])
            assert not hello.startswith(b"-"), hello
        return client

    def ask(self, client: Client, *args: Arg, now: float | None = None) -> bytes:
        """One request; the exact bytes of the reply, empty when there is none."""
        words = [to_bytes(arg) for arg in args]
        self.site.request(client, words, frame(*args), time.monotonic() if now is None else now)
        raw = b"".join(client.out)
        client.out.clear()
        return raw


@contextmanager
def open_room(text: str) -> Iterator[Room]:
    """A gate that is gone at the end, with all of its sockets."""
    with ExitStack() as stack:
        room = Room(stack, text)
        try:
            yield room
        finally:
            for client in list(room.driver.clients.values()):
                room.driver.close_client(client)
