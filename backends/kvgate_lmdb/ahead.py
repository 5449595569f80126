"""Commands that are run before their commit begins: in trio's thread, over a snapshot and over what is being committed.

While the disk is busy with one group of writes, the next one is gathered and its commands are run already; what came of it
is only written then, to the journal, or to LMDB where there is none. That is done only if nobody else has written to LMDB in
between: `Recent` counts who does, and where other processes may, LMDB numbers its transactions. Otherwise the commands are run
again on the writer's thread (kvgate_lmdb.groups), and nobody has noticed.
"""

from collections.abc import Callable
from typing import Final

from kvgate.errors import Conflict
from kvgate.model import keyspace
from kvgate.model.kv import TooLong
from kvgate.model.meta import decode_counter, encode_counter
from kvgate.model.overlay import Snapshot
from kvgate.model.short import UNIT
from kvgate_lmdb.engine import Group, GroupTxn, LmdbEngine, Pages
from kvgate_lmdb.jobs import Job, Run, Write
from kvgate_lmdb.recent import Sight, keys_with_above, with_above
from kvgate_lmdb.syncing import Syncer

MOST_UNITS: Final = 768
"""What one client's commands may read and write here, about a millisecond of Python: a unit for each record, and one for each
`UNIT` bytes of it. What needs more is run on the thread."""
RANGE_UNITS: Final = 32
"""What it costs to look for a range, even where there is nothing."""
MOST_LAYERED: Final = 256
"""Records written before, in this group and the one under way, up to which a command may read ranges: each is looked at."""


class Ahead:
    """A group of writes that waits for its turn: a `kvgate.model.overlay.Snapshot`, and what `Group` is to one command.

    `before` is the group that is being committed; its writes are seen as if they were there already.
    """

    def __init__(
        self, engine: LmdbEngine, before: "Ahead | None", generations: dict[bytes, int], *, short: str, now: int
    ) -> None:
        """Stand on the present state, at `now` (Unix time in ms). `short`: why no write may grow the store, empty when it may.

        Raises:
            Conflict: somebody else has written since `before` began.
        """
        self.jobs: list[Job] = []
        self.writes: dict[bytes, bytes | None] = {}
        self.words = self.size = 0  # of the jobs' arguments
        self.units = 0
        self.short = short
        self.since = now
        self._kinds: set[int] = set()  # first bytes of the keys that commands wrote; runs write records of keys only
        self._engine = engine
        self._changes = engine.recent.changes
        self.is_journaled = engine.recent.journal is not None
        self._landed = 0  # the number that the journal gave it
        self._txn, layers = engine.look()
        self._sight: Snapshot = Sight(Pages(self._txn), layers) if layers else Pages(self._txn)
        self._get = self._sight.get
        self._below: dict[bytes, bytes | None] = {}
        self._left = MOST_UNITS
        self._undo: dict[bytes, tuple[bytes | None] | None] | None = None
        self._one = AheadTxn(self, self._count)
        self._one.generations = generations
        self._number = self._txn.id() + 1
        """LMDB's number of the transaction that is to hold the writes, where there is no journal."""
        if before is None:
            self.revision = decode_counter(self._get(keyspace.REVISION))
        else:
            if not self._stands_on(before):
                self.end()
                raise Conflict
            self.revision = before.revision
            self._below = before.writes

    def _stands_on(self, before: "Ahead") -> bool:
        """Whether nobody else has written since `before` began."""
        if self.is_journaled:
            return before.is_journaled and before._changes == self._changes
        seen, self._number = self._number, before._number + bool(before.writes)  # without any, LMDB does not count it
        return not before.is_journaled and before._number <= seen <= self._number

    def end(self) -> None:
        """Let the snapshot go. To be called once, at last: while it is referred to, it has a place among LMDB's readers."""
        self._txn.abort()
        del self._txn, self._sight, self._get, self._one

    # The snapshot that a command reads

    def get(self, key: bytes) -> bytes | None:
        """As `Snapshot.get`. Raises TooLong, as do the others."""
        for written in (self.writes, self._below):
            if key in written:
                value = written[key]
                break
        else:
            value = self._get(key)
        self.spend(1 if value is None else 1 + len(value) // UNIT)
        return value

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """As `Snapshot.range`."""
        written = self._written(start, end)
        page = self._sight.range(start, end, limit + len(written))
        self.spend(sum(1 + len(value) // UNIT for _, value in page))
        return with_above(page, written, limit)

    def range_keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """As `Snapshot.range_keys`."""
        written = self._written(start, end)
        page = self._sight.range_keys(start, end, limit + len(written))
        self.spend(len(page))
        return keys_with_above(page, written, limit)

    def _written(self, start: bytes, end: bytes) -> dict[bytes, bytes | None]:
        self.spend(RANGE_UNITS)
        if len(self._below) + len(self.writes) > MOST_LAYERED:
            raise TooLong
        return {key: value for key, value in {**self._below, **self.writes}.items() if start <= key < end}

    def spend(self, units: int) -> None:
        """Count what is read or written. Raises TooLong: that is too much for the present job."""
        self._left -= units
        if self._left < 0:
            raise TooLong

    # As `Group`

    def _count(self) -> int:
        self.revision += 1
        return self.revision

    def command(self) -> GroupTxn:
        """As `Group.command`: the same one each time."""
        self._one.writes.clear()
        return self._one

    def take(self, command: GroupTxn) -> None:
        """As `Group.take`."""
        self._kinds.update([key[0] for key in command.writes])
        if self._undo is not None:
            for key in command.writes:
                if key not in self._undo:
                    self._undo[key] = (self.writes[key],) if key in self.writes else None
        self.writes.update(command.writes)

    def drop(self, command: GroupTxn) -> None:
        """As `Group.drop`."""
        command.generations.clear()

    # Jobs

    def run(self, run: Run) -> bytes | None:
        """Run simple commands at once, all or none: their raw replies, joined. None: they have to be run one by one."""
        generations = self._one.generations
        while True:
            found = run.kind.take(self._get, self.writes, self._below, generations, self.revision, run.args)
            if found is None:
                return None
            if isinstance(found, bytes):  # a group that is not known yet
                own = self._look(keyspace.group_key(found))
                if own is None:
                    return None
                generations[found] = max(decode_counter(own), decode_counter(self._look(keyspace.STORE_GENERATION)))
                continue
            replies, units, self.revision = found
            self.units += units
            return replies

    def _look(self, key: bytes) -> bytes | None:
        for written in (self.writes, self._below):
            if key in written:
                return written[key]
        return self._get(key)

    def begin(self, job: Job) -> None:
        """From here on, what is taken is this job's."""
        alone = len(job.writes) == 1 and isinstance(job.writes[0], Write)  # it takes once, at its end
        self._undo = None if alone else {}
        self._left = MOST_UNITS

    def add(self, job: Job, units: int = 0) -> None:
        """The job that has run is part of the group, which has read and written so many `units` for it."""
        self.jobs.append(job)
        self.words += job.words
        self.size += job.size
        self.units += units

    @property
    def spent(self) -> int:
        """Units that the present job has read and written."""
        return MOST_UNITS - self._left

    def undo(self) -> None:
        """Forget what was taken since `begin`."""
        for key, before in (self._undo or {}).items():
            if before is None:
                del self.writes[key]
            else:
                (self.writes[key],) = before
        self._one.generations.clear()

    # The commit

    def seal(self) -> None:
        """Nothing more is to come: in trio's thread, before `land`."""
        if self.writes and self.is_journaled:
            self.writes[keyspace.REVISION] = encode_counter(self.revision)

    def land(self) -> bool:
        """Commit the writes, on the writer's thread; False: somebody else has written since, and nothing was done.

        Raises:
            lmdb.Error: nothing was written, or that is unknown, as for `Group.commit`.
            OSError: as `Recent.append`.
        """
        if not self.is_journaled:
            return self._engine.write(self._commit)
        if not self.writes:
            return self._engine.recent.changes == self._changes
        self._engine.recent.wait_for_room()
        return self._note(self._engine.recent.append(self.writes, self._changes))

    def land_at_once(self) -> bool:
        """As `land`, in trio's thread; False also where that would take longer."""
        if not self.writes or self._engine.recent.is_behind:
            return False
        return self._note(self._engine.recent.append_at_once(self.writes, self._changes))

    def depart(self, syncer: Syncer) -> bool:
        """Begin with what `land` does, by another thread; `arrive` follows. False as for `land_at_once`."""
        if not self.writes or self._engine.recent.is_behind:
            return False
        return self._engine.recent.depart(syncer, self.writes, self._changes)

    def arrive(self) -> bool:
        """Whether what departed is in the journal; False: ask again a moment later. Raises OSError, as `land`."""
        return self._note(self._engine.recent.arrive())

    def _note(self, number: int | None) -> bool:
        self._landed = number or 0
        return number is not None

    def _commit(self) -> bool:
        group = Group(self._engine.env)
        try:
            if group.number != self._number:
                return False
            if self.writes:
                group.put(self.writes, self.revision)
                group.commit()
        finally:
            group.abort()
        return True

    def publish(self) -> None:
        """Let readers see what the journal has. In trio's thread."""
        if self._landed:
            self._engine.recent.publish(self._landed, self.writes, size=self.size, kinds=self._kinds)


class AheadTxn(GroupTxn):
    """One command's transaction; used again by the next one."""

    def __init__(self, ahead: Ahead, next_revision: Callable[[], int]) -> None:
        """Stand on `ahead`."""
        super().__init__(ahead, next_revision, record=False)
        self._spend = ahead.spend

    def put(self, key: bytes, value: bytes) -> None:
        """As `KvTxn.put`. Raises TooLong."""
        self.writes[key] = value
        self._spend(1 + len(value) // UNIT)
