"""A test that runs alone waits for those that run, and holds off those that come."""

import fcntl
import tempfile
import threading
from pathlib import Path

import pytest

from tests.support import alone
from tests.support.servers import wait_for


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "x")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def somebody_waits(folder: Path) -> bool:
    with (folder / "kvgate-tests-x.door").open("w") as door:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_who_is_alone_waits_for_others_and_they_for_it(folder: Path) -> None:
    order: list[str] = []

    def take(name: str, *, by_itself: bool) -> None:
        with alone.turn(alone=by_itself):
            order.append(name)

    first = threading.Thread(target=take, args=("alone",), kwargs={"by_itself": True})
    second = threading.Thread(target=take, args=("later",), kwargs={"by_itself": False})
    with alone.turn(alone=False):
        take("beside", by_itself=False)
        first.start()
        wait_for(lambda: somebody_waits(folder), "the one that wants to be alone")
        second.start()
        order.append("still here")
    first.join(10)
    second.join(10)
    assert order == ["beside", "still here", "alone", "later"]
    alone.clear()
    assert list(folder.iterdir()) == []


def test_one_process_needs_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with alone.turn(alone=True), alone.turn(alone=True):
        pass
    alone.clear()
    assert list(tmp_path.iterdir()) == []
