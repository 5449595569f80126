"""Check, statistics, backup and compaction of real stores: beside a serving gate, after it, and on what is no store."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pytest

from kvgate.backend import Adapter, StoreTools
from kvgate.errors import ConfigurationError
from kvgate.model import keyspace
from kvgate.model.meta import StoreHeader, encode_header
from kvgate_lmdb import LmdbBackend, access, adapter, journal, tools
from kvgate_lmdb.access import ALONE, COMPANY
from tests.kvgate_lmdb import format1
from tests.kvgate_lmdb.store import running
from tests.support.resp import Closed
from tests.support.servers import ROOT, Gate, wait_for


def quiet(what: str, done: int, total: int) -> None:
    assert what
    assert done >= 0
    assert total >= 0


def good(path: Path) -> bool:
    found = list(tools.check(path, quiet))
    assert found == []
    return True


def store(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """``kvgate store …`` in a process of its own, as beside a gate."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}
    line = [sys.executable, "-m", "kvgate.cli.main", "store", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the kept store of format 1."""
    return Path(shutil.copytree(format1.FIXTURE, tmp_path / "store"))


def test_the_adapter_has_the_tools() -> None:
    found: Adapter = adapter
    assert isinstance(found, StoreTools)


# What was written once is read for ever


def test_the_kept_store_is_the_one_that_was_written() -> None:
    assert tools.has_store(format1.FIXTURE)
    assert [path.name for path in format1.FIXTURE.iterdir()] == ["data.mdb"], "tests open copies"


async def test_a_store_of_format_1_is_read_and_written(copied: Path) -> None:
    assert good(copied)
    async with running(copied, map_size=16 << 20) as opened:
        for args, reply in format1.READS:
            assert await opened.ask(*args) == reply, args
        assert len(await opened.keys()) == format1.KEYS
        assert await opened.ask(b"APPEND", b"big", b"x") == b":33025\r\n"
        assert await opened.ask(b"HSET", b"hash", b"f0", b"changed", b"new", b"v") == b":1\r\n"
        assert await opened.ask(b"DEL", format1.LONG) == b":1\r\n"
    assert good(copied)


def test_statistics_of_the_kept_store(copied: Path) -> None:
    found = tools.statistics(copied, quiet)
    assert found.figures["keys"] == format1.KEYS
    assert found.figures["expired_not_swept_keys"] == 1
    assert found.figures["flushed_not_swept_keys"] == 2
    assert found.figures["deleted_not_swept_values"] == 1
    assert found.figures["orders_for_the_sweeper"] == 3
    assert found.figures["file_bytes"] == (format1.FIXTURE / "data.mdb").stat().st_size
    assert found.figures["free_pages"] == 0
    assert {kind: keys for kind, (keys, _) in found.types.items()} == {"string": 9, "hash": 2}
    assert {group: keys for group, (keys, _) in found.groups.items()} == {b"": 8, b"Ads.Profile": 3}


# Beside a serving gate

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "data"\ndurability = "no"\n[namespaces]\ndefault = "local"\n'


@contextmanager
def load(gate: Gate) -> Iterator[None]:
    """Clients that always set two keys to the same, fill and empty a big hash, and let keys expire; until the end."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def write(name: int) -> None:
        try:
            with gate.client() as client:
                number = 0
                while not stop.is_set():
                    number += 1
                    both = b"%d-" % number + b"x" * (number % 70) * 1000
                    assert client.cmd("MSET", f"Ads.T:one{name}", both, f"other{name}", both) == b"OK"
                    client.cmd("HSET", "hash", *[f"{name}.{number % 3}.{at}" for at in range(400)])
                    client.cmd("SET", f"short{number % 50}", "v", "PX", 5)
                    if number % 20 == 0:
                        client.cmd("DEL", "hash")
        except (AssertionError, OSError, Closed) as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed, failed


async def test_a_backup_under_load_is_whole_and_of_one_moment(tmp_path: Path) -> None:
    with Gate(LOCAL) as gate, load(gate):
        data = gate.directory / "data"
        wait_for(lambda: gate.cmd("EXISTS", "Ads.T:one0", "Ads.T:one1", "Ads.T:one2") == 3, "the first writes")
        before = gate.cmd("GET", "Ads.T:one0")
        for number in range(3):
            done = store("backup", data, tmp_path / f"backup{number}")
            assert (done.returncode, done.stdout[:1]) == (0, "/"), done
            assert store("check", data).returncode == 0, "the check works beside a gate"
            assert store("stats", data).returncode == 0
        wait_for(lambda: gate.cmd("GET", "Ads.T:one0") != before, "writes to go on")
    numbers = []
    for number in range(3):
        backup = tmp_path / f"backup{number}"
        assert good(backup)
        async with running(backup, map_size=256 << 20) as opened:
            for name in range(3):
                one, other = await opened.ask(b"GET", b"Ads.T:one%d" % name), await opened.ask(b"GET", b"other%d" % name)
                assert one == other
            numbers.append(int(one.split(b"\n")[1].split(b"-")[0]))
    assert numbers == sorted(set(numbers)), "each is of another moment"
    assert not [name for name in os.listdir(tmp_path) if "partial" in name]


def test_what_was_acknowledged_is_seen_beside_a_gate(tmp_path: Path) -> None:
    """It may lie in the gate's journal and in its memory only."""
    with Gate(LOCAL) as gate:
        data = gate.directory / "data"
        for number in range(1, 4):
            wait_for((data / "journal-0").exists, "the gate to be alone again")
            for at in range(100):
                gate.cmd("SET", f"k{number}.{at}", "v")
            assert tools.statistics(data, quiet).figures["keys"] == 100 * number
        wait_for((data / "journal-0").exists, "the gate to be alone again")
        gate.cmd("SET", "last", "v")
        tools.back_up(data, tmp_path / "backup", quiet)
        assert not journal.exists(tmp_path / "backup")
        assert tools.statistics(tmp_path / "backup", quiet).figures["keys"] == 301
        assert good(data)
        assert gate.cmd("GET", "last") == b"v"


@pytest.mark.parametrize("tool", ["check", "stats", "compact", "backup"])
def test_the_journal_of_a_gate_that_was_killed_is_taken_over(tmp_path: Path, tool: str) -> None:
    gate = Gate(LOCAL, directory=tmp_path)
    data = tmp_path / "data"
    with gate:
        gate.cmd("SET", "k", "v")
        gate.cmd("MSET", *[word for number in range(5000) for word in (f"Ads.T:{number}", "v" * 50)])
        gate.kill()
    assert journal.exists(data)
    CALLS[tool](data, tmp_path / "target")
    assert not journal.exists(data)
    assert tools.statistics(data, quiet).figures["keys"] == 5001
    assert good(data)
    with gate:
        assert gate.cmd("GET", "Ads.T:4999") == b"v" * 50


def test_a_journal_that_is_damaged_is_said(copied: Path, tmp_path: Path) -> None:
    left = journal.Journal(copied, 0, durable=False)
    for _ in range(3):
        left.append({keyspace.PROBE: b"\x01"})
    left.close()
    with (copied / "journal-0").open("r+b") as file:
        file.write(b"x")
    for call in CALLS.values():
        with pytest.raises(ConfigurationError, match=r"journal beside .* is damaged: record 1 cannot be read"):
            call(copied, tmp_path / "target")
    assert journal.exists(copied)
    assert not (tmp_path / "target").exists()


def test_a_store_that_gives_no_locks_is_read_unless_it_has_a_journal(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is mounted to be read only."""

    def refused(_folder: Path) -> access.Access:
        raise OSError(errno.EROFS, "Read-only file system")

    (copied / ALONE).touch()
    monkeypatch.setattr(access, "Access", refused)
    assert good(copied)
    assert tools.statistics(copied, quiet).figures["keys"] == format1.KEYS
    assert tools.back_up(copied, tmp_path / "target", quiet)
    (copied / "journal-1").write_bytes(b"something")
    for call in CALLS.values():
        with pytest.raises(ConfigurationError, match="cannot use the locks of the store: Read-only file system"):
            call(copied, tmp_path / "other")


def test_compaction_wants_the_gate_stopped(tmp_path: Path) -> None:
    gate = Gate(LOCAL, directory=tmp_path)
    data = tmp_path / "data"
    with gate:
        for number in range(100):
            gate.cmd("SET", f"gone{number}", bytes(20_000))
        gate.cmd("SET", "stays", b"v" * 50_000)
        gate.cmd("DEL", *[f"gone{number}" for number in range(100)])
        size = (data / "data.mdb").stat().st_size
        done = store("compact", data)
        assert done.returncode == 2
        assert "stop it first" in done.stderr
        assert gate.cmd("STRLEN", "stays") == 50_000
        gate.kill()  # a process that was killed holds no lock
        assert gate.process is None
    (data / "compacting").mkdir()
    (data / "compacting" / "data.mdb").write_bytes(b"of a run that was killed")
    done = store("compact", data)
    assert done.returncode == 0, done
    assert (data / "data.mdb").stat().st_size < size / 4
    assert sorted(path.name for path in data.iterdir()) == sorted(["data.mdb", "lock.mdb", "sweeper.lock", ALONE, COMPANY])
    assert good(data)
    with gate:
        assert gate.cmd("GET", "stays") == b"v" * 50_000
        assert gate.cmd("SET", "stays", "w") == b"OK"
    assert good(data)


def test_a_gate_that_starts_during_a_compaction_waits(tmp_path: Path) -> None:
    gate = Gate(LOCAL, directory=tmp_path)
    data = tmp_path / "data"
    with gate:
        gate.cmd("SET", "k", "v")
    lock = (data / "lock.mdb").stat().st_ino

    def somebody_waits() -> bool:
        lines = Path("/proc/locks").read_text("ascii").splitlines()
        return any("->" in line and f":{lock} " in line for line in lines)

    starting = threading.Thread(target=gate.start)
    with tools._alone(data):
        starting.start()
        wait_for(somebody_waits, "the gate to wait for the lock")
        (data / "data.mdb").rename(tmp_path / "old")
        shutil.copyfile(tmp_path / "old", data / "data.mdb")
    starting.join()
    with gate.client() as client:
        assert client.cmd("GET", "k") == b"v"
        assert client.cmd("SET", "k", "new") == b"OK"
    gate.stop()
    gate.close()
    with lmdb.open(str(data), readonly=True, map_size=0) as env, env.begin() as txn:
        assert (txn.get(keyspace.meta_key(b"k")) or b"").endswith(b"new"), "it opened the new file"


# What cannot be done

Call = Callable[[Path, Path], Any]
CALLS: dict[str, Call] = {
    "check": lambda path, _target: list(tools.check(path, quiet)),
    "stats": lambda path, _target: tools.statistics(path, quiet),
    "compact": lambda path, _target: tools.compact(path, quiet),
    "backup": lambda path, target: tools.back_up(path, target, quiet),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_newer_store_is_refused_and_left_alone(call: Call, copied: Path, tmp_path: Path) -> None:
    with lmdb.open(str(copied), map_size=16 << 20) as env, env.begin(write=True) as txn:
        txn.put(keyspace.HEADER, encode_header(StoreHeader(3, 2, 0, b"i" * 16)))
    before = (copied / "data.mdb").read_bytes()
    with pytest.raises(ConfigurationError, match="newer kvgate"):
        call(copied, tmp_path / "target")
    assert (copied / "data.mdb").read_bytes() == before
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_newer_store_that_this_program_may_read_is_taken(call: Call, copied: Path, tmp_path: Path) -> None:
    with lmdb.open(str(copied), map_size=16 << 20) as env, env.begin(write=True) as txn:
        txn.put(keyspace.HEADER, encode_header(StoreHeader(3, 1, 0, b"i" * 16)))
    call(copied, tmp_path / "target")
    assert good(copied)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_other_files_are_refused(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    assert not tools.has_store(folder)
    (folder / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match="cannot open the store"):
        call(folder, tmp_path / "target")
    (folder / "data.mdb").unlink()
    with lmdb.open(str(folder)) as env, env.begin(write=True) as txn:
        txn.put(b"k", b"v")
    with pytest.raises(ConfigurationError, match="no store of kvgate in it"):
        call(folder, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_file_that_was_cut_short_is_refused(call: Call, copied: Path, tmp_path: Path) -> None:
    os.truncate(copied / "data.mdb", (copied / "data.mdb").stat().st_size - 4096)
    with pytest.raises(ConfigurationError, match="cut short"):
        call(copied, tmp_path / "target")


async def test_a_gate_does_not_open_such_a_file_either(copied: Path) -> None:
    os.truncate(copied / "data.mdb", 100_000)
    with pytest.raises(ConfigurationError, match="cut short"):
        await LmdbBackend("local", copied, map_size=16 << 20).run()


def test_a_backup_overwrites_nothing(copied: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(ConfigurationError, match="exists already; a backup goes"):
        tools.back_up(copied, target, quiet)
    target.rmdir()
    (tmp_path / "target.partial").mkdir()
    (tmp_path / "target.partial" / "data.mdb").write_bytes(b"another one's")
    with pytest.raises(ConfigurationError, match="is another backup running"):
        tools.back_up(copied, target, quiet)
    assert (tmp_path / "target.partial" / "data.mdb").read_bytes() == b"another one's"
    shutil.rmtree(tmp_path / "target.partial")
    assert tools.back_up(copied, target, quiet) == (target / "data.mdb").stat().st_size
    assert (target / "data.mdb").stat().st_mode & 0o777 == 0o600
    assert good(target)


def test_a_copy_that_fails_leaves_everything_as_it_was(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copied / "data.mdb").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.statvfs", lambda _path: os.statvfs_result((4096, 4096, 10, 10, 10, 0, 0, 0, 0, 255)))
        with pytest.raises(ConfigurationError, match=r"needs \d+ bytes, the disk has 40960 left"):
            tools.back_up(copied, tmp_path / "target", quiet)
        with pytest.raises(ConfigurationError, match="left"):
            tools.compact(copied, quiet)
    with monkeypatch.context() as patch:
        patch.setattr(tools, "_sync", lambda _folder: (_ for _ in ()).throw(OSError("the disk is away")))
        with pytest.raises(OSError, match="the disk is away"):
            tools.back_up(copied, tmp_path / "target", quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert sorted(path.name for path in copied.iterdir()) == sorted(["data.mdb", "lock.mdb", ALONE, COMPANY])
    assert (copied / "data.mdb").read_bytes() == before


def test_damage_is_said(copied: Path) -> None:
    with lmdb.open(str(copied), map_size=16 << 20) as env, env.begin(write=True) as txn:
        txn.delete(keyspace.group_key(b"Ads.Profile"))
    found = list(tools.check(copied, quiet))
    assert 'key "Ads.Profile:n": its group "Ads.Profile" has no record' in found
    done = store("check", copied)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{copied}: not good: 3 problems"
