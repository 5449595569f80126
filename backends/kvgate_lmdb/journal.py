"""The journal of an embedded store: groups of writes, appended to a file and synced, before LMDB's file has them.

Two files take turns. While one is written to, LMDB takes over what the other one holds (kvgate_lmdb.recent); then that one is
written again from its beginning, over what it held: to sync bytes that the file has already costs half of what growing it
costs. Each group is a record with a number one above that of the record before, so what is left of earlier turns is known by
its numbers. LMDB's record
`keyspace.JOURNAL` says up to which number it has taken over.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from kvgate.errors import ConfigurationError
from kvgate_lmdb.syncing import Syncer

NAMES: Final = ("journal-0", "journal-1")
MAGIC: Final = b"kvJ1"
HEAD: Final = struct.Struct(">4sIQI")
"""`MAGIC`, bytes of the payload, number, CRC-32 of the number and the payload."""
ITEM: Final = struct.Struct(">HI")
"""Bytes of an engine key, and of its value or `GONE`; key and value follow."""
GONE: Final = 0xFFFFFFFF
Writes = Mapping[bytes, bytes | None]


def pack(number: int, writes: Writes) -> bytes:
    """One group's record."""
    parts = [b""]
    for key, value in writes.items():
        if value is None:
            parts += (ITEM.pack(len(key), GONE), key)
        else:
            parts += (ITEM.pack(len(key), len(value)), key, value)
    payload = b"".join(parts)
    return HEAD.pack(MAGIC, len(payload), number, _sum(number, payload)) + payload


def _sum(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, number & 0xFFFFFFFF)


def _unpack(payload: bytes) -> dict[bytes, bytes | None]:
    writes: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(payload):
        name, length = ITEM.unpack_from(payload, at)
        at += ITEM.size
        key = payload[at : at + name]
        at += name
        writes[key] = None if length == GONE else payload[at : at + length]
        at += 0 if length == GONE else length
    return writes


def _record(data: bytes, at: int) -> tuple[int, int] | None:
    """The number and the end of the whole record at `at`; None when there is none."""
    if len(data) - at < HEAD.size:
        return None
    magic, length, number, checked = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    if magic != MAGIC or end > len(data) or _sum(number, data[at + HEAD.size : end]) != checked:
        return None
    return number, end


def _begins(data: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """The records that follow one another from the beginning of a file: number, where the payload begins, where it ends. And
    the highest number that a whole record behind them has: what was left there by earlier turns is lower than the last of
    them, a higher one was acknowledged after a record that cannot be read any more."""
    found: list[tuple[int, int, int]] = []
    at = 0
    while (record := _record(data, at)) is not None and (not found or record[0] == found[-1][0] + 1):
        number, end = record
        found.append((number, at + HEAD.size, end))
        at = end
    highest = 0
    while (at := data.find(MAGIC, at)) >= 0:
        if (record := _record(data, at)) is not None:
            highest = max(highest, record[0])
        at += 1
    return found, highest


def read_through(path: Path, last: int) -> dict[bytes, bytes | None]:
    """What the records of one file up to number `last` come to.

    Raises:
        LookupError: it has no such record any more, or cannot be read up to there.
        OSError: it cannot be read at all.
    """
    data = path.read_bytes()
    writes: dict[bytes, bytes | None] = {}
    at, before = 0, 0
    while (record := _record(data, at)) is not None and (not before or record[0] == before + 1):
        before, end = record
        writes.update(_unpack(data[at + HEAD.size : end]))
        if before == last:
            return writes
        at = end
    raise LookupError(f"record {last} is not there")


def left_over(folder: Path, taken: int) -> Iterator[tuple[int, dict[bytes, bytes | None]]]:
    """The records with numbers above `taken`, in order: what a gate that was killed, or lost its power, had acknowledged.

    A record that is not whole at the end was being written then; nobody was told that it is there.

    Raises:
        ConfigurationError: one in between is missing, or damaged.
    """
    files: list[tuple[Path, bytes, list[tuple[int, int, int]]]] = []
    highest = 0
    for name in NAMES:
        path = folder / name
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            records, later = _begins(data)
            highest = max(highest, later)
            if records:
                files.append((path, data, records))
    last = taken
    for path, data, records in sorted(files, key=lambda file: file[2][0][0]):
        for number, start, end in records:
            if number <= last:
                continue
            if number != last + 1:
                raise _damaged(path, last + 1)
            yield number, _unpack(data[start:end])
            last = number
    if highest > last:
        raise _damaged(folder / NAMES[0], last + 1)


def _damaged(path: Path, number: int) -> ConfigurationError:
    mistake = (
        f"path: the journal beside {path} is damaged: record {number} cannot be read, later ones are there. Restore the"
        f" folder from a backup; or move {' and '.join(NAMES)} away, and what was written since that record is lost"
    )
    return ConfigurationError([mistake])


def exists(folder: Path) -> bool:
    """Whether there is a journal, whatever is in it."""
    return any((folder / name).exists() for name in NAMES)


def remove(folder: Path) -> None:
    """Take the files away: LMDB has all that they hold."""
    for name in NAMES:
        with suppress(FileNotFoundError):
            (folder / name).unlink()


class Journal:
    """The journal of an open store. Whoever uses it holds a lock."""

    def __init__(self, folder: Path, last: int, *, durable: bool) -> None:
        """Begin behind record `last`, all of which LMDB has; `durable`: records are on the disk when they were appended.

        Raises:
            OSError: the files cannot be made.
        """
        self._folder = folder
        self._durable = durable
        self._files = [os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in NAMES]
        if durable:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)  # the files' names
            finally:
                os.close(descriptor)
        self._active = 0
        self._at = self._departed = 0
        self._other = last  # the number of the last record in the file that is not written to
        self.last = last
        """The number of the last record."""
        self.failed = False
        """Whether the record behind the last one may be there, although nobody was told so: nothing is appended any more."""

    @property
    def size(self) -> int:
        """Bytes of the records in the file that is written to."""
        return self._at

    def append(self, writes: Writes) -> int:
        """Write a record and have it on the disk; its number.

        Raises:
            OSError: it may be there or not, see `failed`.
        """
        record = pack(self.last + 1, writes)
        descriptor = self._files[self._active]
        try:
            done = 0
            while done < len(record):
                done += os.pwrite(descriptor, record[done:] if done else record, self._at + done)
            if self._durable:
                os.fdatasync(descriptor)
        except OSError:
            self.failed = True
            raise
        self._at += len(record)
        self.last += 1
        return self.last

    def depart(self, syncer: Syncer, writes: Writes) -> None:
        """Have `syncer` do what `append` does; nothing else is appended until `arrive`."""
        record = pack(self.last + 1, writes)
        syncer.start(self._files[self._active], record, self._at, self._durable)
        self._departed = len(record)

    def arrive(self, error: int) -> int:
        """What `depart` began ended with this errno, 0 when all is well; the record's number. Raises OSError, as `append`."""
        if error:
            self.failed = True
            raise OSError(error, os.strerror(error))
        self._at += self._departed
        self.last += 1
        return self.last

    def turn(self, taken: int) -> str:
        """Write to the other file from now on, if LMDB has all that it holds, which is up to record `taken`; the name of the
        one that was written to, empty when that goes on."""
        if self._other > taken:
            return ""
        name = NAMES[self._active]
        self._active, self._at, self._other = 1 - self._active, 0, self.last
        return name

    def restart(self) -> None:
        """LMDB has everything: write from the beginning again."""
        self._at = 0
        self._other = self.last

    def renew(self) -> None:
        """As `restart`, after a failure: LMDB's mark is behind the record that may be there."""
        self.last += 1
        self.failed = False
        self.restart()

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._files:
            os.close(descriptor)
