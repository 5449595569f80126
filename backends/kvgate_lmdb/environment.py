"""Opening an LMDB file as kvgate uses it: a huge sparse map, durability, the header, room that is left."""

import os
import time
from pathlib import Path
from typing import Final

import lmdb

from kvgate.errors import ConfigurationError
from kvgate.model import keyspace
from kvgate.model.meta import StoreHeader, decode_header, encode_header

LARGEST_MAP: Final = 1 << 40
"""1 TiB of addresses, not of disk: the file grows as data come. Halved until the machine agrees."""
SMALLEST_MAP: Final = 1 << 30
MAX_READERS: Final = 1022
"""Snapshots open at one moment over all processes; each worker keeps a few. 64 bytes each in the lock file."""
RESERVE: Final = 64 << 20
"""Bytes of disk, and of the map, that only deletes may use: LMDB copies pages also to delete."""
SPARE_SNAPSHOTS: Final = 4  # kept for reuse: renewing one costs a tenth of beginning one


def open_environment(path: Path, *, durable: bool, map_size: int) -> lmdb.Environment:
    """Open (or make) the store in the folder `path`; `map_size` 0 takes as much as the machine lets.

    Raises:
        ConfigurationError: the path cannot be used, or holds a store of a newer format.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = _open(path, durable=durable, map_size=map_size)
    except (OSError, lmdb.Error) as error:
        raise ConfigurationError([f"path: cannot open the store in {path}: {error}"]) from error
    try:
        check_size(env, path)
        env.reader_check()  # slots of processes that died without giving them back
        _check_header(env, path)
    except BaseException:
        env.close()
        raise
    return env


def _open(path: Path, *, durable: bool, map_size: int) -> lmdb.Environment:
    size = map_size or LARGEST_MAP
    while True:
        try:
            return lmdb.open(
                str(path),
                map_size=size,
                sync=durable,
                metasync=durable,
                mode=0o600,
                readahead=False,  # values are looked up one by one; reading ahead evicts what is hot
                max_readers=MAX_READERS,
                max_spare_txns=SPARE_SNAPSHOTS,
            )
        except (lmdb.MemoryError, MemoryError):  # address space is limited (ulimit -v, a container)
            if map_size or size <= SMALLEST_MAP:
                raise
            size //= 2


def _check_header(env: lmdb.Environment, path: Path) -> None:
    with env.begin() as txn:
        raw = txn.get(keyspace.HEADER)
    if raw is None:
        with env.begin(write=True) as txn:
            if txn.get(keyspace.HEADER) is None:  # another process may have been faster
                now = time.time_ns() // 1_000_000
                header = StoreHeader(keyspace.FORMAT, keyspace.FORMAT, now, os.urandom(16))
                txn.put(keyspace.HEADER, encode_header(header))
        return
    check_format(raw, path)


def check_size(env: lmdb.Environment, path: Path) -> None:
    """Refuse a file that was cut short: whoever read its missing pages would be killed by SIGBUS.

    Raises:
        ConfigurationError: it is shorter than the pages in use. (Free pages at its end need not be there.)
    """
    stat = env.stat()
    used = stat["psize"] * (2 + stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
    size = (path / "data.mdb").stat().st_size
    if 0 < size < used:
        raise ConfigurationError([f"path: the store in {path} was cut short: {size} bytes are there, {used} in use"])


def check_format(raw: bytes, path: Path) -> StoreHeader:
    """The header of the store in `path`, from its bytes.

    Raises:
        ConfigurationError: it is of a newer format than this program can read.
    """
    header = decode_header(raw)
    if header.oldest > keyspace.FORMAT:
        mistake = (
            f"path: the store in {path} was written by a newer kvgate (format {header.format}, readable from format"
            f" {header.oldest} on; this version knows {keyspace.FORMAT}): upgrade kvgate, nothing was changed"
        )
        raise ConfigurationError([mistake])
    return header


def free_bytes(env: lmdb.Environment, path: Path) -> tuple[int, int]:
    """Bytes left on the disk, and in the map, pages of deleted data included."""
    disk = os.statvfs(path)
    stat, size = env.stat(), env.info()["map_size"]
    used = stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
    return disk.f_bavail * disk.f_frsize, size - used


def nearly_full(env: lmdb.Environment, path: Path, waiting: int = 0) -> str:
    """What is short, in words for the client; empty while there is room for more than deletes, and for so many bytes that are
    acknowledged and that LMDB does not have yet."""
    on_disk, in_map = free_bytes(env, path)
    size = env.info()["map_size"]
    if on_disk < RESERVE + waiting:
        return f"only {on_disk >> 20} MiB are free on the disk of {path}; free space there, or delete keys"
    if in_map < min(RESERVE, size // 8) + waiting:
        return f"its map of {size} bytes is nearly used up; raise map_size of the backend, or delete keys"
    return ""
