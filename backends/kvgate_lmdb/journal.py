"""The journal of an embedded store: groups of writes, appended to a file and synced, before LMDB's file has them.

Two files take turns. While one is written to, LMDB takes over what the other one holds (kvgate_lmdb.recent); then that one is
written again from its beginning, over what it held: to sync bytes that the file has already costs half of what growing it
costs. Each group is a record with a number one above that of the record before, so what is left of earlier turns is known by
its numbers. LMDB's record `keyspace.JOURNAL` says up to which number it has taken over. What clients write lies in records,
and may look like records: the true ones have a random salt in common that nobody else knows.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from kvgate.errors import ConfigurationError
from kvgate_lmdb.syncing import Syncer

NAMES: Final = ("journal-0", "journal-1")
MAGIC: Final = b"kvJ1"
HEAD: Final = struct.Struct(">4sIQ8s")
"""`MAGIC`, bytes of the payload, number, salt."""
SUM: Final = struct.Struct(">I")
"""CRC-32 of the head and the payload; between the two."""
START: Final = HEAD.size + SUM.size
SALT: Final = 8
LONG: Final = 64 << 20
"""Bytes above which a file gives back what it has no use for any more."""
ITEM: Final = struct.Struct(">HI")
"""Bytes of an engine key, and of its value or `GONE`; key and value follow."""
GONE: Final = 0xFFFFFFFF
Writes = Mapping[bytes, bytes | None]


def pack(number: int, writes: Writes, salt: bytes) -> bytes:
    """One group's record."""
    parts: list[bytes] = []
    for key, value in writes.items():
        if value is None:
            parts += (ITEM.pack(len(key), GONE), key)
        else:
            parts += (ITEM.pack(len(key), len(value)), key, value)
    payload = b"".join(parts)
    head = HEAD.pack(MAGIC, len(payload), number, salt)
    return b"".join((head, SUM.pack(zlib.crc32(payload, zlib.crc32(head))), payload))


def _unpack(data: bytes, record: "_Record", writes: dict[bytes, bytes | None]) -> None:
    """Put what a record of the file says over `writes`."""
    at, end, unpack, head = record.start, record.end, ITEM.unpack_from, ITEM.size
    while at < end:
        name, length = unpack(data, at)
        start = at + head
        at = start + name
        if length == GONE:
            writes[data[start:at]] = None
        else:
            writes[data[start:at]] = data[at : at + length]
            at += length


class _Record(NamedTuple):
    """A whole record of a file: its payload lies from `start` to `end`."""

    number: int
    salt: bytes
    start: int
    end: int


def _record(data: bytes, at: int, salts: AbstractSet[bytes] = frozenset()) -> _Record | None:
    """The whole record at `at`; None when there is none, or none with one of `salts` where there are such."""
    if len(data) - at < START:
        return None
    magic, length, number, salt = HEAD.unpack_from(data, at)
    start, end = at + START, at + START + length
    if magic != MAGIC or end > len(data) or (salts and salt not in salts):
        return None
    (checked,) = SUM.unpack_from(data, at + HEAD.size)
    if zlib.crc32(memoryview(data)[start:end], zlib.crc32(data[at : at + HEAD.size])) != checked:
        return None
    return _Record(number, salt, start, end)


def _chain(data: bytes) -> list[_Record]:
    """The records that follow one another from the beginning of a file."""
    found: list[_Record] = []
    at = 0
    while (record := _record(data, at)) is not None:
        if found and (record.number != found[-1].number + 1 or record.salt != found[-1].salt):
            break
        found.append(record)
        at = record.end
    return found


def _highest(data: bytes, at: int, salts: AbstractSet[bytes]) -> int:
    """The highest number of whole records from `at` on; `salts`: see `_record`."""
    highest = 0
    while (at := data.find(MAGIC, at)) >= 0:
        if (record := _record(data, at, salts)) is not None:
            highest = max(highest, record.number)
        at += 1
    return highest


def read_through(path: Path, last: int) -> dict[bytes, bytes | None]:
    """What the records of one file up to number `last` come to.

    Raises:
        LookupError: it has no such record any more, or cannot be read up to there.
        OSError: it cannot be read at all.
    """
    data = path.read_bytes()
    writes: dict[bytes, bytes | None] = {}
    for record in _chain(data):
        _unpack(data, record, writes)
        if record.number == last:
            return writes
    raise LookupError(f"record {last} is not there")


def left_over(folder: Path, taken: int) -> Iterator[tuple[int, dict[bytes, bytes | None]]]:
    """The records with numbers above `taken`, in order: what a gate that was killed, or lost its power, had acknowledged.

    A record that is not whole at the end was being written then; nobody was told that it is there.

    Raises:
        ConfigurationError: one in between is missing, or damaged.
    """
    files: list[tuple[Path, bytes, list[_Record]]] = []
    for name in NAMES:
        path = folder / name
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            files.append((path, data, _chain(data)))
    last = taken
    for path, data, records in sorted(files, key=lambda file: file[2][0].number if file[2] else 0):
        for record in records:
            if record.number <= last:
                continue
            if record.number != last + 1:
                raise _damaged(path, last + 1)
            writes: dict[bytes, bytes | None] = {}
            _unpack(data, record, writes)
            yield record.number, writes
            last = record.number
    # What earlier turns left behind that is lower; a higher number was acknowledged after one that cannot be read
    salts = {data[HEAD.size - SALT : HEAD.size] for _, data, _ in files if len(data) >= START}
    ends = [(path, data, records[-1].end if records else 0) for path, data, records in files]
    if not any(records or _highest(data, 0, salts) for _, data, records in files):
        salts = set()  # the salt itself may be damaged
    for path, data, end in ends:
        if _highest(data, end, salts) > last:
            raise _damaged(path, last + 1)


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
        self._salt = os.urandom(SALT)
        self._files: list[int] = []
        try:
            for name in NAMES:
                self._files.append(os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            if durable:
                self._files.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                os.fsync(self._files[-1])  # the files' names
                os.close(self._files.pop())
        except OSError:
            self.close()
            raise
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
        record = pack(self.last + 1, writes, self._salt)
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
        record = pack(self.last + 1, writes, self._salt)
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
        self._shorten()
        return name

    def restart(self) -> None:
        """LMDB has everything: write from the beginning again."""
        self._at = 0
        self._other = self.last
        self._shorten()

    def _shorten(self) -> None:
        """LMDB has all that the file holds: after a time in which it could take nothing that may be much."""
        with suppress(OSError):
            descriptor = self._files[self._active]
            if os.fstat(descriptor).st_size > LONG:
                os.ftruncate(descriptor, LONG)

    def renew(self) -> None:
        """As `restart`, after a failure: LMDB's mark is behind the record that may be there."""
        self.last += 1
        self.failed = False
        self.restart()

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())
