"""What tests of several workers see from outside: the processes of a gate, and which of them serves a connection."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.resp import Resp
from tests.support.servers import Gate, wait_for


def children(pid: int) -> list[int]:
    """The process' living children."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] != "Z":
                    found.append(int(entry))
    return sorted(found)


def alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def served_by(client: Resp) -> int:
    """The worker's process id."""
    return int(info(client, "server")["process_id"])


def info(client: Resp, section: str = "gate") -> dict[str, str]:
    """The fields of one section of INFO."""
    lines = client.cmd("INFO", section).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def one_on_each(gate: Gate, count: int, **options: str) -> "dict[int, Resp]":
    """A connection to each of `count` workers, by process id; to be closed by the caller."""
    found: dict[int, Resp] = {}
    spare: list[Resp] = []

    def have_all() -> bool:
        client = gate.client(**options)  # type: ignore[arg-type]  # user and password
        known = found.setdefault(served_by(client), client)
        if known is not client:
            spare.append(client)
        return len(found) == count

    wait_for(have_all, f"a connection to each of {count} workers")
    for client in spare:
        client.close()
    return found


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does nothing inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
