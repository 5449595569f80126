"""Accounting of process trees: time and memory of children count too."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.process import (
    TICKS_PER_SECOND,
    NotAvailable,
    cpu_seconds,
    memory,
    peak_rss,
    reset_peak,
    started,
    tree,
    wait_for,
)

# A parent whose child has used half a second of processor time and holds 32 MB; both wait for their standard input.
CHILD = (
    "import sys, time\nheld = b'x' * (32 << 20)\n"
    "while time.process_time() < 0.5: pass\nprint('spent', flush=True)\nsys.stdin.readline()"
)
PARENT = (
    f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CHILD!r}], check=True)\n"
    "print('reaped', flush=True)\nsys.stdin.readline()"
)


@pytest.fixture
def family() -> "Iterator[subprocess.Popen[str]]":
    """The parent; its child has printed ``spent``."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "spent\n"
        try:
            yield parent
        finally:
            with contextlib.suppress(BrokenPipeError):
                parent.communicate("\n\n")


def test_a_childs_time_and_memory_count(family: "subprocess.Popen[str]") -> None:
    assert len(tree(family.pid)) == 2
    assert cpu_seconds(family.pid) >= 0.5 - 2 / TICKS_PER_SECOND
    held = memory(family.pid)
    assert held.rss >= held.pss >= 32 << 20


def test_the_time_of_a_child_that_ended_is_kept(family: "subprocess.Popen[str]") -> None:
    assert family.stdin is not None
    assert family.stdout is not None
    family.stdin.write("\n")
    family.stdin.flush()
    assert family.stdout.readline() == "reaped\n"
    assert tree(family.pid) == [family.pid]
    assert cpu_seconds(family.pid) >= 0.5 - 2 / TICKS_PER_SECOND


def test_a_process_that_is_gone_costs_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert cpu_seconds(gone.pid) == 0.0
    assert memory(gone.pid).pss == 0


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such store')"]
    ended = pytest.raises(NotAvailable, match=r"broken ended with status 1: no such store")
    with started("broken", command, tmp_path) as server, ended:
        wait_for(lambda: False, server)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="does not start"), started("none", ["/nonexistent/program"], tmp_path):
        pass


def test_the_whole_group_ends_with_the_context(tmp_path: Path) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\nsignal.pause()"
    script = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {deaf!r}]).wait()"
    with started("parent", [sys.executable, "-c", script], tmp_path) as server:
        wait_for(lambda: server.log.read_text() == "deaf\n", server)
        members = tree(server.pid)
    assert len(members) == 2
    assert server.process.returncode is not None
    for pid in members:  # gone, or a zombie that has no command line any more
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            assert Path(f"/proc/{pid}/cmdline").read_bytes() == b""


# Takes and gives back 64 MB, then waits; told by a line, ends.
BURST = "import sys\nheld = b'x' * (64 << 20)\ndel held\nprint('gone', flush=True)\nsys.stdin.readline()"


def test_the_peak_of_memory_begins_anew() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", BURST], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "gone\n"
        assert peak_rss(process.pid) >= 64 << 20
        assert memory(process.pid).rss < 64 << 20
        reset_peak(process.pid)
        assert peak_rss(process.pid) < 64 << 20
        process.communicate("\n")
