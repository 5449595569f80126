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

_taken: set[int] = set()
_locks: list[int] = []
"""One descriptor for all of them: a thousand more would be too many for select()."""


def _lock(port: int) -> bool:
    """Keep it until this process ends: then it is ours for as long, also across restarts of what listens there."""
    if port in _taken:
        return False
    if not _locks:
        path = Path(tempfile.gettempdir()) / f"kvgate-test-ports.{os.getuid()}.lock"
        _locks.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        fcntl.lockf(_locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)
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
        if port not in NEVER and _lock(port) and _free(port):
            return port
    msg = f"no free port between {FIRST} and {LAST}"
    raise RuntimeError(msg)
