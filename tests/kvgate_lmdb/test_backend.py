"""The backend's own behaviour: the two ways of a command, groups, deadlines, listing, options."""

import random
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from kvgate.backend import Backend, InPlace, Listing, PassThrough, View
from kvgate.commands.scripts import KNOWN_SCRIPTS, claim
from kvgate.commands.table import TABLE, by_full_name, supports
from kvgate.errors import ConfigurationError, GateError
from kvgate.model import keyspace
from kvgate.model.handlers import HANDLERS
from kvgate.wire.reply import OK, Error, encode
from kvgate_lmdb import LmdbBackend, adapter, backend, engine, groups
from tests.kvgate_lmdb.store import ALL, Clock, command, context, running, until


def test_it_offers_what_the_gate_looks_for(tmp_path: Path) -> None:
    store: Backend = LmdbBackend("local", tmp_path)
    assert isinstance(store, InPlace)
    assert isinstance(store, Listing)
    assert not isinstance(store, PassThrough)
    for handled in HANDLERS:
        spec = by_full_name(handled.encode())
        if handled in map(claim, KNOWN_SCRIPTS):
            assert handled in store.capabilities
            continue
        assert spec is not None, handled
        assert supports(spec, store.capabilities), handled
    for name in (b"SCAN", b"KEYS", b"DBSIZE", b"RANDOMKEY", b"FLUSHDB"):
        assert supports(TABLE[name], store.capabilities), name
    for name in (b"LPUSH", b"EVAL", b"SADD"):
        assert not supports(TABLE[name], store.capabilities), name


async def test_reads_run_in_place_and_writes_do_not(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        assert store.backend.execute_now(command(b"SET", b"k", b"v"), context()) is None
        assert store.backend.execute_now(command(b"GETEX", b"k"), context()) is None
        assert store.backend.execute_now(command(b"GET", b"k"), context(2)) == b"$-1\r\n"
        assert store.backend.execute_now(command(b"GET", b"k"), context(3)) == b"_\r\n"
        assert await store.backend.execute([command(b"SET", b"k", b"v")], context()) == [OK]
        assert store.backend.execute_now(command(b"GET", b"k"), context()) == encode(b"v")
        assert store.backend.execute_now(command(b"LLEN", b"k"), context()) is None
        (reply,) = await store.backend.execute([command(b"LLEN", b"k")], context())
        assert isinstance(reply, Error)
        assert reply.text.startswith(b"ERR command 'llen' is not supported by backend 'local' (lmdb)")


async def test_long_reads_leave_the_lane(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        few, many = [b"k%d" % i for i in range(100)], [b"k%d" % i for i in range(300)]
        await store.ask(b"MSET", *(word for key in many for word in (key, key)))
        await store.ask(b"SET", b"big", bytes(16 << 20))
        assert store.backend.execute_now(command(b"MGET", *few), context()) == few
        assert store.backend.execute_now(command(b"MGET", *many), context()) is None
        assert await store.backend.execute([command(b"MGET", *many)], context()) == [encode([*many])]
        assert store.backend.execute_now(command(b"GET", b"big"), context()) is None
        assert await store.backend.execute([command(b"GET", b"big")], context()) == [encode(bytes(16 << 20))]


async def test_commands_that_arrive_together_share_a_commit_and_keep_their_order(tmp_path: Path) -> None:
    async with running(tmp_path, durable=True) as store:
        replies: list[bytes] = []

        async def client() -> None:
            replies.append(await store.ask(b"INCR", b"n"))

        before = store.backend.engine.env.info()["last_txnid"]
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(client)
        assert sorted(int(reply[1:]) for reply in replies) == list(range(1, 101))
        assert store.backend.engine.env.info()["last_txnid"] - before <= 10
        assert await store.pipeline([(b"SET", b"a", b"1"), (b"INCR", b"a"), (b"LPUSH", b"x", b"y")]) != []
        mixed = await store.pipeline([(b"SET", b"a", b"1"), (b"INCR", b"a"), (b"GET", b"a"), (b"DEL", b"a"), (b"GET", b"a")])
        assert mixed == [b"+OK\r\n", b":2\r\n", b"$1\r\n2\r\n", b":1\r\n", b"$-1\r\n"]


async def test_an_error_undoes_its_own_command_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        commands = [(b"SET", b"a", b"x"), (b"INCR", b"a"), (b"MSET", b"b", b"1", b"c"), (b"SET", b"d", b"1")]
        replies = await store.pipeline(commands)
        assert [reply[:4] for reply in replies] == [b"+OK\r", b"-ERR", b"-ERR", b"+OK\r"]
        assert sorted(await store.keys()) == [b"a", b"d"]


async def test_a_handlers_bug_is_an_error_reply_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(tx: Any, args: list[bytes]) -> None:
        await tx.put_string(b"half", b"done")
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, "SETNX", broken)
    async with running(tmp_path) as store:
        replies = await store.pipeline([(b"SET", b"a", b"1"), (b"SETNX", b"b", b"2"), (b"SET", b"c", b"3")])
        assert replies[1].startswith(b"-ERR internal error")
        assert sorted(await store.keys()) == [b"a", b"c"]
    assert "ZeroDivisionError" in caplog.text


async def test_expired_keys_vanish_at_their_millisecond_and_are_swept(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as store:
        await store.ask(b"SET", b"k", bytes(100_000), b"PX", b"500")
        await store.ask(b"SET", b"Ads.T:stays", b"v", b"PX", b"10000000")
        clock.now += 499
        assert await store.ask(b"PTTL", b"k") == b":1\r\n"
        clock.now += 1
        assert await store.ask(b"GET", b"k") == b"$-1\r\n"
        assert await store.backend.size(ALL, context()) == 1
        await until(lambda: store.backend.swept and not [key for key in records(store.backend) if key[:1] in b"DQ"])
        assert sorted(key[:1] for key in records(store.backend)) == sorted([b"G", b"G", b"M", b"S", b"S", b"X"])


def records(store: LmdbBackend) -> list[bytes]:
    with store.engine.env.begin() as txn, txn.cursor() as cursor:
        return [key for key in cursor.iternext(keys=True, values=False) if key != keyspace.JOURNAL]


async def test_flushes_and_views(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        for key in (b"Ads.T:1", b"Ads.T:2", b"Ads.U:1", b"plain", b"other:1"):
            await store.ask(b"SET", key, b"v")
        ads = View(has=lambda key: key.startswith(b"Ads.T:"), everything=False, prefixes=(b"Ads.T:",))
        assert sorted(await store.keys(ads)) == [b"Ads.T:1", b"Ads.T:2"]
        assert await store.backend.size(ads, context()) == 2
        assert await store.backend.random_key(ads, context()) in (b"Ads.T:1", b"Ads.T:2")
        assert sorted(await store.keys(match=b"*:1", kind=b"string")) == [b"Ads.T:1", b"Ads.U:1", b"other:1"]
        await store.backend.flush(ads, context())
        assert await store.ask(b"GET", b"Ads.T:1") == b"$-1\r\n"
        assert sorted(await store.keys()) == [b"Ads.U:1", b"other:1", b"plain"]
        await store.backend.flush(ALL, context())
        assert await store.keys() == []
        assert await store.ask(b"SETNX", b"plain", b"again") == b":1\r\n"
        await until(lambda: len([key for key in records(store.backend) if key[:1] in b"MQ"]) == 1)
        assert await store.ask(b"GET", b"plain") == b"$5\r\nagain\r\n"


async def test_a_scan_while_others_write(tmp_path: Path) -> None:
    dice = random.Random(5)
    async with running(tmp_path) as store:
        stay = {b"s%d" % i for i in range(300)}
        await store.ask(b"MSET", *(word for key in stay for word in (key, b"v")))
        cursor, found = 0, set()
        while True:
            cursor, page = await store.backend.scan(0, cursor, count=20, match=None, kind=None, view=ALL, call=context())
            found |= set(page)
            assert cursor < 2**41
            if not cursor:
                break
            await store.ask(b"SET", b"x%d" % dice.randrange(10_000), b"v")
        assert stay <= found


@pytest.mark.direct
async def test_deadlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    begin = groups.WriteGroups._begin

    def noted(self: groups.WriteGroups, job: Any) -> bool:
        taken.append(begin(self, job))
        return taken[-1]

    monkeypatch.setattr(groups.WriteGroups, "_begin", noted)
    async with running(tmp_path) as store, trio.open_nursery() as nursery:
        hold, held = trio.Event(), trio.Event()
        token = trio.lowlevel.current_trio_token()

        def lock() -> None:
            with store.backend.engine.env.begin(write=True):
                token.run_sync_soon(held.set)
                trio.from_thread.run(hold.wait)

        nursery.start_soon(trio.to_thread.run_sync, lock)
        await held.wait()
        begun: list[Any] = []

        async def first() -> None:
            begun.extend(await store.backend.execute([command(b"SET", b"a", b"1")], context(seconds=1.5)))

        nursery.start_soon(first)
        await until(lambda: taken)
        (second,) = await store.backend.execute([command(b"SET", b"b", b"1")], context(seconds=0.1))
        assert isinstance(second, Error)
        assert second.text.startswith(b"TRYAGAIN")
        await until(lambda: begun)
        assert begun[0].text.startswith(b"INDOUBT")
        hold.set()
        assert await store.ask(b"GET", b"b") == b"$-1\r\n"
        await store.ask(b"SET", b"c", b"1")
        assert sorted(await store.keys()) == [b"a", b"c"]  # the one in doubt was executed, the other one never


async def test_a_client_that_leaves_does_not_take_its_write_along(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.ask, b"SET", b"left", b"v")
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                scope.cancel()
        await store.ask(b"SET", b"stayed", b"v")
        assert sorted(await store.keys()) == [b"left", b"stayed"]


@pytest.mark.direct
async def test_a_commit_that_breaks_the_environment_is_in_doubt_and_the_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"v")
        with monkeypatch.context() as patch:

            def fail(group: engine.Group) -> None:
                raise lmdb.DiskError("input/output error")

            patch.setattr(engine.Group, "commit", fail)
            patch.setattr(engine.LmdbEngine, "broken", staticmethod(lambda _env: True))
            reply = await store.ask(b"SET", b"k", b"lost")
        assert reply.startswith(b"-INDOUBT")
        assert str(tmp_path).encode() in reply
        assert await store.ask(b"GET", b"k") == b"$1\r\nv\r\n"
        assert await store.ask(b"SET", b"k", b"w") == b"+OK\r\n"


@pytest.mark.direct
async def test_a_store_that_cannot_be_opened_again_is_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as store:
        await store.ask(b"SET", b"k", b"v")
        with monkeypatch.context() as patch:

            def fail(*_args: object, **_options: object) -> None:
                raise ConfigurationError(["path: the disk is away"])

            patch.setattr(engine, "open_environment", fail)
            patch.setattr(engine.LmdbEngine, "broken", staticmethod(lambda _env: True))
            patch.setattr(engine.Group, "commit", lambda _self: lmdb.open("/nowhere", create=False))
            assert (await store.ask(b"SET", b"k", b"lost")).startswith(b"-INDOUBT")
            assert (await store.ask(b"GET", b"k")).startswith(b"-TRYAGAIN")
            assert (await store.ask(b"SET", b"k", b"lost")).startswith(b"-TRYAGAIN")
            assert not store.backend.statistics().up
        await until(lambda: store.backend.statistics().up)
        assert await store.ask(b"GET", b"k") == b"$1\r\nv\r\n"


async def test_before_and_after_its_run(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        assert store.backend.statistics().up
    assert not store.backend.statistics().up
    (reply,) = await store.backend.execute([command(b"SET", b"k", b"v")], context())
    assert isinstance(reply, Error)
    assert reply.text.startswith(b"TRYAGAIN")
    now = store.backend.execute_now(command(b"GET", b"k"), context())
    assert isinstance(now, Error)
    assert now.text.startswith(b"TRYAGAIN")


async def test_statistics_and_the_commit_time(tmp_path: Path) -> None:
    async with running(tmp_path, durable=True) as store:
        await store.ask(b"SET", b"k", b"v")
        seconds = await store.backend.measure_commit()
        assert 0 < seconds < 10
        figures = store.backend.statistics().figures
        assert figures["durability"] == "always"
        assert figures["write_groups"] == 6  # with those that were measured
        assert figures["write_commands"] == 6
        assert int(figures["records"]) + int(figures["journal_records"]) >= 4


async def test_a_flush_that_cannot_be_written_raises(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        pass
    with pytest.raises(GateError, match="TRYAGAIN"):
        await store.backend.flush(ALL, context())


def test_options(tmp_path: Path) -> None:
    made = adapter.prepare("local", {"path": "data", "durability": "no", "map_size": "1gb", "single_gate": True}, tmp_path)
    assert (made.path, made.durability, made.engine.map_size, made.single_gate) == (tmp_path / "data", "no", 1 << 30, True)
    made = adapter.prepare("local", {"path": "/abs"}, tmp_path)
    assert (made.path, made.durability, made.single_gate, made.type) == (Path("/abs"), "always", False, "lmdb")
    assert not (tmp_path / "data").exists()
    with pytest.raises(ConfigurationError) as caught:
        adapter.prepare("local", {"durability": "maybe", "map_size": 5, "single_gate": 1, "pth": "x"}, tmp_path)
    wrong = [mistake.partition(":")[0] for mistake in caught.value.mistakes]
    assert wrong == ["path", "durability", "map_size", "single_gate", "pth"]
    assert adapter.capabilities == backend.CAPABILITIES
    assert adapter.defaults["max_value"] == 16 << 20
