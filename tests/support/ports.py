"""Free TCP ports for the programs that tests start: taken below the kernel's ephemeral range and locked between processes."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

FIRST, LAST = 20000, 31999
"""Below Linux' ephemeral ports (32768 and up), so that no outgoing connection takes one between look and bind."""
NEVER = frozenset({6379, 6380})
"""Redis' own port and the gate's default: a developer's server may be there."""

_held: list[int] = []


def _lock(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"kvgate-test-ports.{os.getuid()}"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _held.append(descriptor)  # kept until this process ends: the port is ours for as long, also across restarts
    return True


def _free(port: int) -> bool:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                if family is socket.AF_INET:
                    return False  # a machine without IPv6 fails the other one, which says nothing about the port
    return True


def free_port() -> int:
    """A port that nothing listens on and that no other test process gets while this one lives."""
    for _ in range(1000):
        port = random.randint(FIRST, LAST)
        if port not in NEVER and _lock(port):
            if _free(port):
                return port
            os.close(_held.pop())
    msg = f"no free port between {FIRST} and {LAST}"
    raise RuntimeError(msg)
