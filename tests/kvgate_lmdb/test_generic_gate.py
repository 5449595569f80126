"""Strings in parts, bits and generic commands through running gates: which reads stay in the lane, values that move."""

from pathlib import Path

import pytest

from kvgate.backend import View
from kvgate.model.meta import CHUNK
from kvgate_lmdb.backend import MAX_VALUE
from tests.kvgate_lmdb.store import command, context, running
from tests.support.resp import Resp
from tests.support.servers import Gates

BIG = bytes(range(256)) * 40_000


def test_values_move_from_gate_to_gate(gates: Gates) -> None:
    with Resp(gates().address) as source, Resp(gates().address) as target:
        source.cmd("SET", "s", BIG)
        source.cmd("HSET", "h", *(word for number in range(1000) for word in (f"f{number}", "v" * 50)))
        for key in ("s", "h"):
            payload = source.cmd("DUMP", key)
            assert target.cmd("RESTORE", key, 100_000, payload) == b"OK"
            assert b"BUSYKEY" in target.raw_reply("RESTORE", key, 0, payload)
            assert 90_000 < target.cmd("PTTL", key) <= 100_000
            assert target.raw_reply("OBJECT", "ENCODING", key) == source.raw_reply("OBJECT", "ENCODING", key)
        assert target.cmd("GET", "s") == BIG
        assert target.cmd("HLEN", "h") == 1000


def test_the_gate_serves_them_all_and_keeps_them(gates: Gates) -> None:
    gate = gates()
    with Resp(gate.address) as client:
        client.cmd("SETRANGE", "k", MAX_VALUE - 5, "hello")
        assert client.cmd("STRLEN", "k") == MAX_VALUE
        assert client.raw_reply("APPEND", "k", "!") == (
            b"-ERR string exceeds maximum allowed size (max_value of the backend: %d bytes)\r\n" % MAX_VALUE
        )
        assert client.cmd("COPY", "k", "c") == 1
        assert client.cmd("RENAME", "k", "Ads.T:moved") == b"OK"
        assert client.cmd("BITOP", "AND", "d", "c", "Ads.T:moved") == MAX_VALUE
        assert client.cmd("BITCOUNT", "d") == sum(byte.bit_count() for byte in b"hello")
        assert client.cmd("BITPOS", "d", 1) == 8 * (MAX_VALUE - 5) + 1
        assert client.cmd("GETRANGE", "d", -5, -1) == b"hello"
        assert client.cmd("LCS", "d", "none", "LEN") == 0
        assert sorted(client.cmd("SCAN", 0, "TYPE", "string", "COUNT", 100)[1]) == [b"Ads.T:moved", b"c", b"d"]
        client.cmd("MULTI")
        for each in (["APPEND", "t", "x"], ["SETBIT", "t", 0, 0], ["OBJECT", "ENCODING", "t"], ["RENAME", "t", "u"]):
            assert client.cmd(*each) == b"QUEUED"
        assert client.cmd("EXEC") == [1, 0, b"embstr", b"OK"]
    gate.stop()
    gate.start()
    with Resp(gate.address) as client:
        assert client.cmd("GETRANGE", "d", -5, -1) == b"hello"
        assert client.cmd("EXISTS", "k", "c", "d", "t", "u", "Ads.T:moved") == 4


@pytest.mark.parametrize(
    ("asked", "stays"),
    [
        ((b"GETRANGE", b"k", b"-10", b"-1"), True),
        ((b"GETBIT", b"k", b"80000000"), True),
        ((b"BITCOUNT", b"k", b"0", b"100"), True),
        ((b"BITPOS", b"k", b"1", b"10000", b"20000"), True),
        ((b"OBJECT", b"ENCODING", b"k"), True),
        ((b"LCS", b"a", b"b", b"IDX"), True),
        ((b"GETRANGE", b"k", b"0", b"-2"), False),
        ((b"BITCOUNT", b"k"), False),
        ((b"BITPOS", b"k", b"0", b"0", b"-1"), False),
        ((b"DUMP", b"k"), False),
        ((b"MGET", b"a", b"long", b"b"), True),
        ((b"MGET", *[b"long"] * 100), True),
        ((b"MGET", b"a", *[b"longer"] * 65), False),
        ((b"LCS", b"a", b"long"), False),
    ],
)
async def test_reads_run_in_the_lane_or_beside_it(tmp_path: Path, asked: tuple[bytes, ...], stays: bool) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"MSET", b"k", BIG, b"a", b"ohmytext", b"b", b"mynewtext")
        await store.ask(b"MSET", b"long", bytes(CHUNK), b"longer", bytes(2 * CHUNK))
        found = store.backend.execute_now(command(*asked), context())
        assert (found is not None) == stays
        (reply,) = await store.backend.execute([command(*asked)], context())
        assert reply[:1] != b"-" if isinstance(reply, bytes) else reply is not None


async def test_scan_knows_types(tmp_path: Path) -> None:
    view = View(has=lambda _key: True, everything=True)
    async with running(tmp_path) as store:
        for number in range(30):
            await store.ask(b"SET", b"s%d" % number, b"v")
            await store.ask(b"HSET", b"h%d" % number, b"f", b"v")
        assert sorted(await store.keys(view, kind=b"hash")) == sorted(b"h%d" % number for number in range(30))
        assert sorted(await store.keys(view, kind=b"STRING")) == sorted(b"s%d" % number for number in range(30))
        assert await store.keys(view, kind=b"list") == []
        assert await store.keys(view, kind=b"string", match=b"h*") == []


def test_what_one_namespace_has_taught_the_lane_serves_another_on_the_same_store(gates: Gates) -> None:
    config = """
[backends.local]
type = "lmdb"
path = "$DIR/data"

[namespaces]
"Bank.Ledger" = "local"
"Bank.Audit" = "local"
default = "local"
"""
    with Resp(gates(config).address) as client:
        for turn in range(3):
            for key in ("Bank.Ledger:k", "Bank.Audit:k", "k"):
                assert client.cmd("SET", key, turn) == b"OK"
                assert client.cmd("GET", key) == b"%d" % turn
                assert client.pipeline([["INCR", key], ["GET", key]]) == [turn + 1, b"%d" % (turn + 1)]
