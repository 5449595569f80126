"""The thread in C that writes and syncs the journal: what it did, what went wrong, and when it ends."""

import errno
import gc
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvgate_lmdb import syncing
from kvgate_lmdb.syncing import Syncer
from tests.support.servers import wait_for

pytestmark = pytest.mark.skipif(not syncing.WANTED, reason="the extension in C was not built, or is not wanted")


@pytest.fixture
def notify() -> Iterator[int]:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def syncer(notify: int) -> Iterator[Syncer]:
    made = syncing.made(notify)
    assert made is not None
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("sync", [True, False])
def test_what_was_started_is_in_the_file_and_told(syncer: Syncer, notify: int, file: int, sync: bool) -> None:
    for number in range(100):
        data = b"%06d" % number
        syncer.start(file, data, 6 * number, sync)
        assert select.select([notify], [], [], 10) == ([notify], [], [])
        assert os.eventfd_read(notify) == 1
        assert syncer.result() == 0
        assert os.pread(file, 6, 6 * number) == data
    large = os.urandom(5 << 20)
    syncer.start(file, large, 3, sync)
    del data
    assert syncer.result() == 0
    assert os.pread(file, len(large), 3) == large


def test_an_error_is_its_errno_and_the_next_one_goes_on(syncer: Syncer, file: int, tmp_path: Path) -> None:
    syncer.start(-1, b"x", 0, True)
    assert syncer.result() == errno.EBADF
    reading = os.open(tmp_path / "file", os.O_RDONLY)
    syncer.start(reading, b"x", 0, True)
    assert syncer.result() == errno.EBADF
    os.close(reading)
    read, write = os.pipe()
    syncer.start(write, b"x", 0, True)
    assert syncer.result() == errno.ESPIPE
    os.close(read)
    os.close(write)
    syncer.start(file, b"y", 0, True)
    assert syncer.result() == 0


def test_one_thing_at_a_time(syncer: Syncer, file: int) -> None:
    with pytest.raises(RuntimeError, match="nothing was started"):
        syncer.result()
    syncer.start(file, b"x", 0, True)
    with pytest.raises(RuntimeError, match="under way"):  # also when it is done, until its result was asked for
        syncer.start(file, b"y", 0, True)
    assert syncer.result() == 0
    for wrong in ((file, "text", 0, True), (file, b"x"), ("file", b"x", 0, True)):
        with pytest.raises(TypeError):
            syncer.start(*wrong)


def test_it_ends_with_what_was_started(notify: int, file: int) -> None:
    threads = len(os.listdir("/proc/self/task"))
    made = syncing.made(notify)
    assert made is not None
    assert len(os.listdir("/proc/self/task")) == threads + 1
    made.start(file, b"last words", 0, True)
    made.close()
    made.close()
    assert os.pread(file, 10, 0) == b"last words"
    wait_for(lambda: len(os.listdir("/proc/self/task")) == threads, "its thread to be gone")
    with pytest.raises(RuntimeError, match="closed"):
        made.start(file, b"x", 0, True)
    del made
    other = syncing.made(notify)
    assert other is not None
    other.start(file, b"nobody waits", 0, False)
    del other  # without a close
    gc.collect()
    assert os.pread(file, 12, 0) == b"nobody waits"


def test_it_takes_no_signals_from_the_threads_of_python(notify: int) -> None:
    before = set(os.listdir("/proc/self/task"))
    made = syncing.made(notify)
    assert made is not None
    (own,) = set(os.listdir("/proc/self/task")) - before
    (blocked,) = [line for line in Path(f"/proc/self/task/{own}/status").read_text("ascii").splitlines() if "SigBlk" in line]
    assert int(blocked.split()[1], 16) & 1 << signal.SIGTERM - 1
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    made.close()
