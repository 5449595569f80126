"""The files of the journal: what was appended is read again, in order, whatever happened to the end of it."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.errors import ConfigurationError
from kvgate_lmdb import journal
from kvgate_lmdb.journal import NAMES, Journal, left_over, read_through

Group = dict[bytes, bytes | None]
Records = list[tuple[int, Group]]

KEYS = st.binary(min_size=1, max_size=12) | st.sampled_from([b"k", b"D" * 511])
VALUES = st.none() | st.binary(max_size=40) | st.sampled_from([journal.MAGIC * 3, bytes(5000)])
GROUPS = st.dictionaries(KEYS, VALUES, max_size=5)


def read(folder: Path, taken: int = 0) -> Records:
    return list(left_over(folder, taken))


def written(folder: Path, groups: Sequence[Group], last: int = 0) -> Records:
    """Appended to a journal that is left open, as by a process that is killed."""
    made = Journal(folder, last, durable=False)
    records = [(made.append(group), group) for group in groups]
    made.close()
    return records


@settings(max_examples=60)
@given(st.lists(GROUPS, max_size=6), st.integers(0, 2**63), st.booleans())
def test_what_was_appended_is_read(groups: list[Group], last: int, durable: bool) -> None:
    with TemporaryDirectory() as name:
        made = Journal(Path(name), last, durable=durable)
        records = [(made.append(group), group) for group in groups]
        assert records == [(last + at, group) for at, group in enumerate(groups, 1)]
        assert read(Path(name), last) == records
        assert made.size == (Path(name) / NAMES[0]).stat().st_size
        made.close()


STEPS = st.lists(st.one_of(GROUPS, st.sampled_from(["turn", "moved", "restart", "renew", "reopen"])), max_size=25)


@settings(max_examples=150)
@given(STEPS)
def test_what_is_not_taken_is_read_however_the_files_take_turns(steps: list[Group | str]) -> None:
    """`moved`: LMDB has what was turned away from; a restart: it has everything."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        made, taken, turned, records = Journal(folder, 0, durable=False), 0, 0, Records()
        for step in steps:
            if isinstance(step, dict):
                records.append((made.append(step), step))
            elif step == "turn":
                before = made.last
                if file := made.turn(taken):
                    turned = before
                    own = [(number, group) for number, group in records if number <= turned]
                    if own:
                        whole: Group = {}
                        for _, group in own:
                            whole.update(group)
                        assert read_through(folder / file, turned) == whole
                else:
                    assert turned > taken
            elif step == "moved":
                taken = max(taken, turned)
            elif step == "reopen":  # everything was taken, and another process begins behind it
                taken = made.last
                made.close()
                made = Journal(folder, taken, durable=False)
            else:
                taken = made.last + (step == "renew")
                made.failed = step == "renew"
                getattr(made, step)()
            records = [(number, group) for number, group in records if number > taken]
            assert read(folder, taken) == records
        made.close()


THREE: list[Group] = [{b"a": b"1" * 30, b"gone": None}, {b"b": b"2", b"a": b""}, {b"c": b"3" * 20}]


def test_a_file_that_ends_anywhere_has_all_records_before(tmp_path: Path) -> None:
    records = written(tmp_path, THREE)
    whole = (tmp_path / NAMES[0]).read_bytes()
    ends = [len(journal.pack(1, group, bytes(journal.SALT))) for group in THREE]
    for length in range(len(whole)):
        (tmp_path / NAMES[0]).write_bytes(whole[:length])
        complete = sum(length >= sum(ends[: at + 1]) for at in range(3))
        assert read(tmp_path) == records[:complete], length


def damaged(folder: Path, name: str, records: Records, taken: int) -> list[int]:
    """With each byte of a file damaged in several ways: nothing is wrong, and no record that is followed by another one is
    lost silently. How many records were read, where it was not refused."""
    whole, counts = (folder / name).read_bytes(), []
    for at in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
            try:
                found = read(folder, taken)
            except ConfigurationError:
                continue
            assert found == records[: len(found)], (at, change)
            assert len(found) >= len(records) - 1, (at, change)
            counts.append(len(found))
    (folder / name).write_bytes(whole)
    assert read(folder, taken) == records
    return counts


def test_a_damaged_byte_is_the_end_or_refused(tmp_path: Path) -> None:
    records = written(tmp_path, THREE)
    counts = damaged(tmp_path, NAMES[0], records, 0)
    assert set(counts) == {2}, "only the last one may count as not written"


def test_a_damaged_byte_among_what_earlier_turns_left_behind(tmp_path: Path) -> None:
    made = Journal(tmp_path, 0, durable=False)
    for group in (*THREE, *THREE):
        made.append(group)
    made.restart()
    records = [(made.append(group), group) for group in THREE[:2]]
    assert made.turn(6) == NAMES[0]
    records.append((made.append(THREE[2]), THREE[2]))
    made.close()
    assert read(tmp_path, 6) == records
    counts = damaged(tmp_path, NAMES[0], records, 6)
    assert set(counts) == {3}, "in the file that is not written to no record may be missing"
    assert set(damaged(tmp_path, NAMES[1], records, 6)) == {2}


def test_a_record_that_was_being_written_over_older_ones_is_none(tmp_path: Path) -> None:
    """Cut anywhere, with what an earlier turn left behind it."""
    made = Journal(tmp_path, 0, durable=False)
    for number in range(40):
        made.append({b"old": b"%d" % number})
    made.restart()
    group: Group = {b"new": b"first"}
    records = [(made.append(group), group)]
    before = (tmp_path / NAMES[0]).read_bytes()
    at = made.size
    group = {b"new": b"second" * 20}
    records.append((made.append(group), group))
    after = (tmp_path / NAMES[0]).read_bytes()
    for length in range(at, made.size):
        (tmp_path / NAMES[0]).write_bytes(after[:length] + before[length:])
        assert read(tmp_path, 40) == records[:1]
    (tmp_path / NAMES[0]).write_bytes(after)
    assert read(tmp_path, 40) == records
    made.close()


def forged(salt: bytes) -> bytes:
    """What a client might write: records with many numbers."""
    return b"".join(journal.pack(number, {b"Gforged": b"x"}, salt) for number in range(1, 60))


def test_what_clients_write_is_no_record(tmp_path: Path) -> None:
    """Neither one to be replayed, nor a sign of damage, wherever it comes to lie."""
    made = Journal(tmp_path, 0, durable=False)
    for _ in range(3):
        made.append({b"value": forged(bytes(journal.SALT)) * 10})
    made.restart()
    for _ in range(3):
        made.append({b"value": b"short"})
    end = made.size
    made.close()
    whole = bytearray((tmp_path / NAMES[0]).read_bytes())
    for shift in range(len(journal.pack(1, {b"Gforged": b"x"}, bytes(journal.SALT)))):
        moved = whole[:end] + whole[end + shift :]
        (tmp_path / NAMES[0]).write_bytes(moved)
        assert [number for number, _ in read(tmp_path, 3)] == [4, 5, 6]


def test_many_marks_in_a_value_take_no_long_time(tmp_path: Path) -> None:
    """Each might be the beginning of a long record."""
    mark = journal.HEAD.pack(journal.MAGIC, 1 << 20, 7, bytes(journal.SALT))
    made = Journal(tmp_path, 0, durable=False)
    made.append({b"value": mark * 400_000})
    made.restart()
    made.append({b"k": b"v"})
    made.close()
    assert read(tmp_path, 1) == [(2, {b"k": b"v"})]


def test_a_file_that_is_missing_or_of_another_time_is_refused(tmp_path: Path) -> None:
    made = Journal(tmp_path, 0, durable=False)
    made.append(THREE[0])
    assert made.turn(0) == NAMES[0]
    made.append(THREE[1])
    assert made.turn(0) == ""
    made.append(THREE[2])
    made.close()
    assert len(read(tmp_path)) == 3
    (tmp_path / NAMES[0]).rename(tmp_path / "away")
    with pytest.raises(ConfigurationError, match="record 1 cannot be read"):
        read(tmp_path)
    assert len(read(tmp_path, 1)) == 2, "LMDB has the record that is away"
    (tmp_path / "away").rename(tmp_path / NAMES[0])
    (tmp_path / NAMES[1]).unlink()
    assert len(read(tmp_path)) == 1, "nothing says that there was more"


def test_another_store_s_data_are_no_way_back(tmp_path: Path) -> None:
    """An older copy of the store's file beside the journal of now."""
    written(tmp_path, THREE, last=100)
    with pytest.raises(ConfigurationError, match="record 51 cannot be read, later ones are there"):
        read(tmp_path, 50)
    assert read(tmp_path, 200) == []


def test_what_a_file_holds_is_read_up_to_a_number(tmp_path: Path) -> None:
    written(tmp_path, THREE)
    path = tmp_path / NAMES[0]
    assert read_through(path, 2) == {b"a": b"", b"gone": None, b"b": b"2"}
    for missing in (0, 4):
        with pytest.raises(LookupError):
            read_through(path, missing)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LookupError):
        read_through(path, 3)
    with pytest.raises(FileNotFoundError):
        read_through(tmp_path / "none", 1)


Fail = Callable[..., int]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_record_that_could_not_be_written_is_never_replayed(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be there, or a part of it; what comes behind it is."""
    made = Journal(tmp_path, 0, durable=True)
    made.append(THREE[0])
    real: Fail = getattr(os, call)

    def fail(descriptor: int, *rest: object) -> int:
        if rest and isinstance(rest[0], bytes) and len(rest[0]) > 10:
            return real(descriptor, rest[0][:10], *rest[1:])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            made.append({b"doubtful": b"x" * (5 if call == "pwrite" else 50)})
    assert made.failed
    assert made.last == 1
    made.renew()
    records = [(made.append(group), group) for group in THREE]
    assert records[0][0] == 3
    assert read(tmp_path, 2) == records
    made.close()


def test_files_give_back_what_a_long_time_without_room_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LONG", 4096)
    made = Journal(tmp_path, 0, durable=False)
    for _ in range(10):
        made.append({b"k": bytes(1000)})
    assert (tmp_path / NAMES[0]).stat().st_size > 10_000
    made.turn(10)
    assert (tmp_path / NAMES[0]).stat().st_size > 10_000, "LMDB does not have it yet"
    made.append({b"k": b"v"})
    made.turn(10)
    assert (tmp_path / NAMES[0]).stat().st_size == 4096
    assert made.append({b"k": b"w"}) == 12
    assert read(tmp_path, 10) == [(11, {b"k": b"v"}), (12, {b"k": b"w"})]
    made.close()


def test_no_file_is_left_open_when_they_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="Input/output"):
        Journal(tmp_path, 0, durable=True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_whether_there_is_one_and_to_remove_it(tmp_path: Path) -> None:
    assert not journal.exists(tmp_path)
    written(tmp_path, [])
    assert journal.exists(tmp_path)
    assert (tmp_path / NAMES[0]).stat().st_mode & 0o777 == 0o600
    (tmp_path / NAMES[0]).unlink()
    assert journal.exists(tmp_path)
    journal.remove(tmp_path)
    assert not journal.exists(tmp_path)
    journal.remove(tmp_path)
    shutil.rmtree(tmp_path)
