"""Moving what the journal has to LMDB's file; and the process that does so beside a busy gate.

It is a process, since LMDB's puts hold the interpreter's lock: as a thread of the gate it and the lane would wait for one
another all the time. The gate writes a line for each file that it has turned away from, ``FILE NUMBER`` (its last record's),
and reads one when that is in LMDB's file: ``NUMBER``, or ``- WHY`` when it could not be done, behind a dot for each portion
that was moved. Each portion is a transaction, which comes to nothing if LMDB has the record `NUMBER` already: then somebody
has settled, the gate itself, or another one that has found the journal after this gate was killed, and newer writes may lie
there.

Its arguments are ``FOLDER MAP_SIZE always|no``.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Final

import lmdb

from kvgate.model import keyspace
from kvgate.model.meta import decode_counter, encode_counter
from kvgate_lmdb.journal import Writes, read_through

PORTION: Final = 4096
"""Records moved in one transaction of LMDB."""


Records = Sequence[tuple[bytes, bytes | None]]


def in_order(writes: Writes) -> Records:
    """Keys with their values, None where they are gone: sorted, since neighbours share LMDB's pages."""
    return sorted(writes.items(), key=itemgetter(0))


def put_records(txn: "lmdb.Transaction[bytes]", records: Records) -> None:
    """Put and delete records, which are `in_order`."""
    with txn.cursor() as cursor:
        cursor.putmulti([(key, value) for key, value in records if value is not None])
    for key, value in records:
        if value is None:
            txn.delete(key)


def move(env: lmdb.Environment, writes: Writes, last: int, step: Callable[[], object] = lambda: None) -> bool:
    """Put the records of the journal up to number `last` into LMDB's file, in portions between which others may write; False:
    others have done so meanwhile. `step` is called after each portion.

    Raises:
        lmdb.Error: LMDB could not take them all.
    """
    records = in_order(writes)
    for at in range(0, len(records), PORTION):
        with env.begin(write=True) as txn:
            if decode_counter(txn.get(keyspace.JOURNAL)) >= last:
                return False
            put_records(txn, records[at : at + PORTION])
            if at + PORTION >= len(records):
                txn.put(keyspace.JOURNAL, encode_counter(last))
        step()
    return True


def main(folder: str, map_size: str, durability: str) -> None:
    """Do what the gate says, until it says no more."""
    durable = durability == "always"
    env = lmdb.open(folder, map_size=int(map_size), sync=durable, metasync=durable, create=False, readahead=False, mode=0o600)
    for line in sys.stdin:
        name, number = line.split()
        try:
            records = read_through(Path(folder) / name, int(number))
            move(env, records, int(number), partial(_say, "."))
        except (lmdb.Error, OSError, LookupError) as error:
            number = f"- {error}"
        records = {}
        _say(f"{number}\n")


def _say(what: str) -> None:
    with suppress(BrokenPipeError):  # the gate was killed: what was begun is done, unless another one takes over
        os.write(sys.stdout.fileno(), what.encode())
