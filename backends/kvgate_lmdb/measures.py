"""The figures of an embedded store that /metrics shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvgate.backend import Measure
from kvgate_lmdb.environment import free_bytes

if TYPE_CHECKING:
    from kvgate_lmdb.backend import LmdbBackend
    from kvgate_lmdb.groups import WriteGroups


def measures(backend: "LmdbBackend", groups: "WriteGroups") -> Sequence[Measure]:
    """Of an open store; cheap. What belongs to the file is the same in all workers."""
    env, recent = backend.engine.env, backend.engine.recent
    info, stat = env.info(), env.stat()

    def of_file(name: str, help_: str, value: float) -> Measure:
        return Measure(name, help_, value, "gauge", "max")

    try:
        on_disk, in_map = free_bytes(env, backend.path)
    except OSError:  # its folder is away: the backend finds out by itself
        room: tuple[Measure, ...] = ()
    else:
        room = (
            of_file("lmdb_map_free_bytes", "What is left of the map, pages of deleted data included.", in_map),
            of_file("lmdb_disk_free_bytes", "What is left on the store's disk.", on_disk),
        )
    return (
        *room,
        of_file("lmdb_file_bytes", "Size of the store's file.", (info["last_pgno"] + 1) * stat["psize"]),
        of_file("lmdb_map_bytes", "The most that the store may grow to.", info["map_size"]),
        of_file("lmdb_records", "Records in the store's file; a large key has several.", stat["entries"]),
        of_file("lmdb_readers", "Places for readers that were taken so far, of all processes.", info["num_readers"]),
        of_file("lmdb_readers_limit", "Places for readers that there are.", info["max_readers"]),
        of_file("lmdb_journal", "1 while writes go to the journal: no other process uses the store.", bool(recent.journal)),
        of_file("lmdb_journal_records", "Records in the journal that the store's file does not have yet.", recent.records),
        Measure("lmdb_write_groups", "Groups of writes that were committed.", groups.groups),
        Measure("lmdb_write_commands", "Commands in those groups, five to measure a commit among them.", groups.commands),
        Measure(
            "lmdb_commit_seconds",
            "Time of a group of writes until it is on the disk: its record in the journal, or its commit.",
            groups.times.vector(),
            "histogram",
        ),
        Measure("lmdb_swept_records", "Records of expired and deleted keys that were removed.", backend.swept),
    )
