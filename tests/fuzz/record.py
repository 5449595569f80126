"""Records the conversations of tests/fuzz/traffic: ``python -m tests.fuzz.record`` (with redis-server and redis-benchmark).

Each is what one connection said to a real Redis and what came back: redis-benchmark's usual commands, without a pipeline
and with one, small and larger values, and redis-py's transactions in RESP3. They are short: the fuzzer makes long ones.
"""

import selectors
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any, Final

import redis

from tests.fuzz.seeds import TRAFFIC
from tests.support.servers import RedisServer

RUNS: Final[dict[str, tuple[str, ...]]] = {
    "set": ("-n", "6", "-d", "430", "-r", "50", "-t", "set"),
    "get-pipeline": ("-n", "32", "-P", "16", "-r", "50", "GET", "A.b:__rand_int__"),
    "get": ("-n", "8", "-P", "4", "-r", "2", "-t", "get"),
    "set-pipeline": ("-n", "48", "-P", "16", "-r", "50", "SET", "A.b:__rand_int__", "value"),
    "incr": ("-n", "16", "-P", "8", "-t", "incr"),
    "mset": ("-n", "8", "-P", "4", "-d", "20", "-r", "50", "-t", "mset"),
    "hset": ("-n", "16", "-P", "8", "-d", "20", "-r", "50", "-t", "hset"),
    "lpush": ("-n", "16", "-P", "8", "-t", "lpush"),
    "lrange": ("-n", "4", "LRANGE", "mylist", "0", "20"),
    "ping": ("-n", "8", "-P", "4", "-t", "ping_inline"),
}
"""Conversation → redis-benchmark's arguments."""


class Listening:
    """Passes one connection on to a server at a time, and keeps what goes over it."""

    def __init__(self, target: tuple[str, int]) -> None:
        """Listen on a free port."""
        self.conversations: list[tuple[bytearray, bytearray]] = []
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            near, _ = self._server.accept()
            threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        said: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.conversations.append(said)
        with near, socket.create_connection(self._target) as far, selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, (far, said[0]))
            selector.register(far, selectors.EVENT_READ, (near, said[1]))
            while True:
                for key, _ in selector.select():
                    other, kept = key.data
                    sock: Any = key.fileobj
                    data = sock.recv(65536)
                    if not data:
                        return
                    kept += data
                    other.sendall(data)


def main() -> None:
    """Write every conversation."""
    TRAFFIC.mkdir(exist_ok=True)
    with RedisServer() as server:
        address = server.address
        assert isinstance(address, tuple)
        for name, arguments in RUNS.items():
            line = ["redis-benchmark", "-c", "1", "-q", *arguments]
            _record(name, address, lambda port, line=line: _benchmark(line, port))  # type: ignore[misc]  # mypy: no type of a default
        _record("transactions", address, _transactions)


def _record(name: str, address: tuple[str, int], talk: Callable[[int], None]) -> None:
    listening = Listening(address)
    talk(listening.port)
    requests, replies = max(listening.conversations, key=lambda said: len(said[0]) + len(said[1]))
    (TRAFFIC / f"{name}.requests").write_bytes(requests)
    (TRAFFIC / f"{name}.replies").write_bytes(replies)
    print(f"{name}: {len(requests)} bytes of requests, {len(replies)} of replies")


def _benchmark(line: list[str], port: int) -> None:
    subprocess.run([line[0], "-p", str(port), *line[1:]], check=True, stdout=subprocess.DEVNULL)


def _transactions(port: int) -> None:
    with redis.Redis(port=port, protocol=3, single_connection_client=True) as client:
        for number in range(3):
            with client.pipeline(transaction=number != 1) as pipeline:
                pipeline.set("A.b:1", "v" * number).get("A.b:1").append("N.o:1", "w").mget("A.b:1", "N.o:1", "O.d:1")
                pipeline.execute()
        client.get("A.b:none")


if __name__ == "__main__":
    main()
