"""The store of format 1 in ``format1/data.mdb``: how it was written, once, and what has to be read from it for ever.

``python -m tests.kvgate_lmdb.format1 FOLDER`` writes such a store anew. The file that is kept is never written again: a test
opens a copy. Values and times are fixed; ids of values and of the store were drawn.
"""

import sys
import tempfile
from pathlib import Path

from kvgate.model import listing
from kvgate.model.handlers import HANDLERS
from kvgate.model.transaction import Handler, Transaction
from kvgate.wire.reply import OK, Error, Reply
from kvgate_lmdb.engine import Group, LmdbEngine
from kvgate_lmdb.running import run_handler
from tests.kvgate_lmdb.store import ALL
from tests.model.world import only

FIXTURE = Path(__file__).with_name("format1")
WRITTEN = 1_795_000_000_000
"""The clock at that time: November 2026."""
FAR = b"9999999999999"
"""The year 2286, in ms: what expires then is there until then."""
TEXT = bytes(range(256)) * 129
"""33,024 bytes: two chunks."""
LONG = b"Ads.Profile:" + b"k" * 500
FIELD = b"f" * 401

BEFORE_A_FLUSH: list[list[bytes]] = [[b"SET", b"flushed", b"v"], [b"SET", b"again", b"old"], [b"HSET", b"Ads.T:h", b"f", b"v"]]
COMMANDS: list[list[bytes]] = [
    [b"SET", b"plain", b"v"],
    [b"SET", b"", b""],
    [b"SET", b"\x00\xff\r\n", b"\x00\xff"],
    [b"SET", b"big", TEXT],
    [b"SETBIT", b"sparse", b"800000", b"1"],
    [b"SET", b"Ads.Profile:user:1", b"v", b"PXAT", FAR],
    [b"SET", b"again", b"new"],
    [b"SET", LONG, TEXT, b"PXAT", FAR],
    [b"HSET", b"small", b"f", b"v", b"", b"", b"\x00", b"1"],
    [b"HSET", b"hash", *[word for number in range(200) for word in (b"f%d" % number, b"%d" % number)]],
    [b"HSET", b"hash", FIELD, TEXT, b"", b""],
    [b"SET", b"expired", TEXT, b"PXAT", b"%d" % (WRITTEN + 1)],
    [b"SET", b"deleted", TEXT],
    [b"DEL", b"deleted"],
    [b"INCR", b"n"],
    [b"RENAME", b"n", b"Ads.Profile:n"],
]
READS: list[tuple[list[bytes], bytes]] = [
    ([b"GET", b"plain"], b"$1\r\nv\r\n"),
    ([b"GET", b""], b"$0\r\n\r\n"),
    ([b"GET", b"\x00\xff\r\n"], b"$2\r\n\x00\xff\r\n"),
    ([b"GET", b"big"], b"$33024\r\n" + TEXT + b"\r\n"),
    ([b"GETRANGE", b"sparse", b"0", b"0"], b"$1\r\n\x00\r\n"),
    ([b"STRLEN", b"sparse"], b":100001\r\n"),
    ([b"BITCOUNT", b"sparse"], b":1\r\n"),
    ([b"PEXPIRETIME", b"Ads.Profile:user:1"], b":" + FAR + b"\r\n"),
    ([b"GET", b"again"], b"$3\r\nnew\r\n"),
    ([b"GET", b"flushed"], b"$-1\r\n"),
    ([b"TYPE", b"Ads.T:h"], b"+none\r\n"),
    ([b"GET", LONG], b"$33024\r\n" + TEXT + b"\r\n"),
    ([b"PEXPIRETIME", LONG], b":" + FAR + b"\r\n"),
    ([b"HGETALL", b"small"], b"*6\r\n$1\r\nf\r\n$1\r\nv\r\n$0\r\n\r\n$0\r\n\r\n$1\r\n\x00\r\n$1\r\n1\r\n"),
    ([b"HLEN", b"hash"], b":202\r\n"),
    ([b"HMGET", b"hash", b"f0", b"f199", b"f200", b""], b"*4\r\n$1\r\n0\r\n$3\r\n199\r\n$-1\r\n$0\r\n\r\n"),
    ([b"HGET", b"hash", FIELD], b"$33024\r\n" + TEXT + b"\r\n"),
    ([b"EXISTS", b"expired", b"deleted", b"n"], b":0\r\n"),
    ([b"GET", b"Ads.Profile:n"], b"$1\r\n1\r\n"),
]
KEYS = 11


async def _flush(tx: Transaction, args: list[bytes]) -> Reply:
    """Everything, and then one group by itself, so that there is an order of each kind."""
    del args
    await listing.flush(tx, ALL)
    await listing.flush(tx, only(b"Ads.T"))
    return OK


def write(folder: Path) -> None:
    """Write it into `folder`, which is made; nothing is swept."""
    handlers: dict[str, Handler] = {**HANDLERS, "FLUSH": _flush}
    with tempfile.TemporaryDirectory() as temporary:
        engine = LmdbEngine(Path(temporary) / "store", map_size=16 << 20, clock=lambda: WRITTEN)
        engine.open()
        group = Group(engine.env)
        for command in (*BEFORE_A_FLUSH, [b"FLUSH"], *COMMANDS):
            txn = group.command()
            reply = run_handler(handlers[command[0].decode()], Transaction(txn, WRITTEN), command)
            if isinstance(reply, Error):
                raise ValueError(command, reply)
            group.take(txn)
        group.commit()
        folder.mkdir()
        engine.env.copy(str(folder), compact=True)
        engine.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
