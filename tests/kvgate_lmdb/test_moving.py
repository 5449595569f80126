"""When there is a process that moves the journal, and when it ends."""

from pathlib import Path

import pytest
import trio

from kvgate_lmdb import moving, recent
from tests.kvgate_lmdb.store import running, until
from tests.kvgate_lmdb.test_recovery import movers
from tests.support.servers import wait_for


@pytest.mark.journal
async def test_a_mover_that_is_not_needed_any_more_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "SMALL", 0)
    monkeypatch.setattr(moving, "IDLE", 0.1)
    monkeypatch.setattr(moving, "LOOK", 0.05)
    monkeypatch.setattr(recent, "MOST_RECORDS", 4)
    async with running(tmp_path) as store:
        for turn in range(2):
            for number in range(20):
                assert await store.ask(b"SET", b"k%d" % number, b"%d" % turn) == b"+OK\r\n"
            await until(lambda: store.backend._mover._process)
            await until(lambda: store.backend.engine.recent.is_empty)
            await until(lambda: not store.backend._mover._process)
            await trio.to_thread.run_sync(wait_for, lambda: not movers(tmp_path), "the process to be gone")
            assert await store.ask(b"GET", b"k19") == b"$1\r\n%d\r\n" % turn


@pytest.mark.journal
async def test_few_records_need_no_mover(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        for number in range(20):
            await store.ask(b"SET", b"k%d" % number, b"v")
        await until(lambda: store.backend.engine.recent.is_empty)  # by itself, within a second
        assert store.backend._mover._process is None
        with store.backend.engine.env.begin() as txn:
            assert txn.stat()["entries"] > 20
