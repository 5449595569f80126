"""A thousand clients in one thread, each of which sends its next command when the last one is answered."""

import select
import socket
import threading
import time
from types import TracebackType
from typing import Self

import attrs

from tests.support.resp import frame
from tests.support.servers import wait_for


@attrs.define
class _Member:
    sock: socket.socket
    request: bytes
    sent: float = 0.0
    got: bytes = b""


class Crowd:
    """SETs of keys of one namespace, all the time, on many connections; keeps when each was answered and how long it took."""

    def __init__(self, address: tuple[str, int], namespace: str, connections: int) -> None:
        """Connect."""
        self.answers: list[tuple[float, float]] = []
        """Time on the monotonic clock, and seconds that the answer took."""
        self.others: list[bytes] = []
        """Replies other than OK, and ends of connections."""
        self._members: dict[int, _Member] = {}
        self._epoll = select.epoll()
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        for number in range(connections):
            sock = socket.create_connection(address, timeout=20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._members[sock.fileno()] = _Member(sock, frame("SET", f"{namespace}:{number}", "v" * 100))
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the last answers, and end."""
        self._ending = True
        self._thread.join(30)
        for member in self._members.values():
            member.sock.close()
        self._epoll.close()
        assert not self._thread.is_alive(), "answers are missing"

    def goes_on(self, answers: int) -> None:
        """Wait until so many more answers have come."""
        last = len(self.answers) + answers
        wait_for(lambda: len(self.answers) >= last or self.others, "the crowd", 60)

    def slowest(self, begin: float, end: float) -> float:
        """Of the answers that came in that time."""
        return max((took for at, took in list(self.answers) if begin <= at <= end), default=0.0)

    def _run(self) -> None:
        for member in self._members.values():
            self._send(member)
        waiting = len(self._members)
        while waiting:
            for descriptor, _ in self._epoll.poll(20) or [(-1, 0)]:
                if descriptor < 0:
                    self.others.append(b"nothing for 20 s")
                    return
                waiting -= self._take(self._members[descriptor])

    @staticmethod
    def _send(member: _Member) -> None:
        member.sent = time.monotonic()
        member.sock.sendall(member.request)

    def _take(self, member: _Member) -> int:
        """1 when this one has had its last answer."""
        try:
            data = member.sock.recv(4096)
        except OSError:
            data = b""
        member.got += data
        if data and not member.got.endswith(b"\n"):
            return 0
        now = time.monotonic()
        self.answers.append((now, now - member.sent))
        if member.got != b"+OK\r\n":
            self.others.append(member.got)
        member.got = b""
        if not data or self._ending:
            self._epoll.unregister(member.sock.fileno())
            return 1
        self._send(member)
        return 0
