"""Processes of a run: starting and ending them, and what they cost in processor time and memory, summed over their tree."""

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PORTS = range(20_000, 32_000)  # below Linux' ephemeral ports, which the clients of the run take by the thousand


class BenchError(Exception):
    """The run cannot go on, or a figure would be wrong; the text says why."""


class NotAvailable(BenchError):  # noqa: N818 - said of a peer, in the report, and no end of the run
    """This peer cannot be measured here; the others can."""


@attrs.frozen(slots=True)
class Memory:
    """Memory of a process tree in bytes: proportional set size (shared pages divided), and resident set size."""

    pss: int
    rss: int


def raise_file_limit() -> int:
    """Raise this process' soft limit of open files to the hard one; children inherit it. Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on, far from 6379 and 6380, where a developer's servers may be."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (proc(5) counts it as field 3); None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold anything, brackets too


def tree(root: int) -> list[int]:
    """`root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat_fields(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time that the tree has used so far, ended and awaited children included, in steps of one tick.

    Source: utime, stime, cutime and cstime of proc(5); they count all threads.
    """
    ticks = 0
    for pid in tree(root):
        if fields := _stat_fields(pid):
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS_PER_SECOND


def memory(root: int) -> Memory:
    """Memory of the tree now, from smaps_rollup. Sockets' buffers are the kernel's and not in it."""
    pss = rss = 0
    for pid in tree(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                name, _, rest = line.partition(":")
                if name == "Pss":
                    pss += int(rest.split()[0]) * 1024
                elif name == "Rss":
                    rss += int(rest.split()[0]) * 1024
    return Memory(pss, rss)


def reset_peak(root: int) -> None:
    """Let `peak_rss` begin anew for each process of the tree (clear_refs of proc(5))."""
    for pid in tree(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def peak_rss(root: int) -> int:
    """The sum of each process' highest resident set since its start or `reset_peak`, bytes (VmHWM of proc(5))."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
    return total


@attrs.frozen(slots=True)
class Started:
    """A server process of the run, with the file that its output goes to."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        """Root of its process tree, and its process group."""
        return self.process.pid

    def complaint(self) -> str:
        """The last lines of its output, for an error."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " / ".join(line.strip() for line in lines[-2:]) or "no output"


@contextlib.contextmanager
def started(name: str, command: Sequence[str], folder: Path) -> Iterator[Started]:
    """Run `command` in `folder` as a process group of its own; it is ended with the context.

    Raises:
        NotAvailable: the program is not there.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            raise NotAvailable(f"{name}: {command[0]} does not start: {error}") from error
    try:
        yield Started(name, process, log)
    finally:
        _end(process)


def _group_lives(group: int) -> bool:
    """Whether any process of the group is more than a zombie; the parent of orphans may take its time to reap them."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat_fields(int(entry))) and int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def _signal_group(process: "subprocess.Popen[bytes]", sign: signal.Signals, patience: float) -> bool:
    """Signal the group; whether all of it has ended within `patience` seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sign)
    end = time.perf_counter() + patience
    while _group_lives(process.pid):
        if time.perf_counter() > end:
            return False
        time.sleep(0.005)
    process.wait()
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask, wait a moment, then kill the group: nothing here has data to keep."""
    if not _signal_group(process, signal.SIGTERM, 1.0):
        _signal_group(process, signal.SIGKILL, 10.0)


def kill(server: Started) -> None:
    """End its whole process group at once and wait for it."""
    _signal_group(server.process, signal.SIGKILL, 10.0)


def wait_for(ready: Callable[[], bool], server: Started, seconds: float = 20.0, pause: float = 0.002) -> float:
    """Wait until `ready()`; the seconds it took from the call.

    Raises:
        NotAvailable: the process ended first, or the time is over; with the last lines of its output.
    """
    begin = time.perf_counter()
    while not ready():
        if server.process.poll() is not None:
            raise NotAvailable(f"{server.name} ended with status {server.process.returncode}: {server.complaint()}")
        if time.perf_counter() - begin > seconds:
            raise NotAvailable(f"{server.name} does not answer after {seconds:g} s: {server.complaint()}")
        time.sleep(pause)
    return time.perf_counter() - begin
