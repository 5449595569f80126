"""The other ends of the gate's sockets: clients and stores of the fuzzer's third side."""

import os
import socket
from collections import deque
from typing import Final

import attrs

from kvgate.wire.request import RequestScanner
from tests.lane.world import Store

AT_ONCE: Final = 65536
"""Bytes sent, and received, in one step."""
APART: Final = 4
"""Replies of a store in one step of which each is a portion of its own, where they are to be."""
NOTHING: Final = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
"""What is sent with a portion that is to stay one: the kernel does not join what is behind a descriptor with what is before
it (unix(7), SCM_RIGHTS), and drops the descriptor when it is not asked for."""


@attrs.define(eq=False)
class Peer:
    """The other end of a socket of the gate."""

    sock: socket.socket
    store: Store | None = None
    """Whose replies it gives; None: it is a client."""
    apart: bool = False
    """Whether its replies are portions."""
    portions: deque[bytes] = attrs.field(factory=deque)
    """What is sent before `waiting`: each is received by itself."""
    waiting: bytearray = attrs.field(factory=bytearray)
    """What the kernel did not take yet."""
    got: bytearray = attrs.field(factory=bytearray)
    reads: bool = True
    ended: bool = False
    silent: bool = False
    """It has said that it will send no more."""
    scanner: RequestScanner = attrs.field(factory=RequestScanner)

    @property
    def sends(self) -> bool:
        """Whether it may say more."""
        return not self.ended and not self.silent

    def say(self, portion: bytes) -> None:
        """Send something that is received by itself, when it is this one's turn."""
        self.seal()
        self.portions.append(portion)

    def seal(self) -> None:
        """What comes now is received by itself."""
        if self.waiting:
            self.portions.append(bytes(self.waiting))
            self.waiting.clear()

    def pump(self) -> bool:
        """Send and receive what is possible now; whether anything was."""
        return self.send() | self._receive()

    def send(self) -> bool:
        """Send what is possible now; whether anything was."""
        if self.ended or not (self.portions or self.waiting):
            return False
        some = False
        try:
            while self.portions:
                sent = socket.send_fds(self.sock, [self.portions[0]], [NOTHING])
                rest, some = self.portions.popleft()[sent:], True
                if rest:
                    self.portions.appendleft(rest)
            if self.waiting:
                del self.waiting[: self.sock.send(self.waiting[:AT_ONCE])]
        except BlockingIOError:
            return some
        except OSError:
            self.portions.clear()
            self.waiting.clear()
        return True

    def _receive(self) -> bool:
        if not self.reads or self.ended:
            return False
        try:
            data = self.sock.recv(AT_ONCE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return True
        self.got += data
        pos, apart = 0, APART if self.apart else 0
        while self.store is not None and pos < len(data):
            pos = self.scanner.feed(data, pos)
            if self.scanner.args is None:
                continue
            self.waiting += self.store.execute(self.scanner.args)
            if apart:
                self.seal()
                apart -= 1
        return True

    def end(self) -> None:
        """Send no more."""
        if self.sends:
            self.silent = True
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the connection; what was not read makes it a reset."""
        self.ended = True
        self.sock.close()
