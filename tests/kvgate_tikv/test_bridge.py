"""The bridge to the native client: deadlines, cancellations, errors, panics, and what becomes of what nobody waits for."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import trio

from kvgate.errors import Conflict
from kvgate_tikv import bridge, calls
from kvgate_tikv.bridge import Client, OutcomeUnknown, Unavailable, connect, told_of_commit
from kvgate_tikv.calls import LoopThread, Runner, Shim, open_runner, wait
from tests.kvgate_tikv.gates import until
from tests.tikv.cluster import Cluster


@pytest.fixture(params=[False, True], ids=["shim", "thread"])
async def client(tikv: Cluster, request: pytest.FixtureRequest) -> Client:
    return await connect(tikv.pd, 0.5, thread=request.param)


async def write(client: Client, writes: dict[bytes, bytes | None]) -> int:
    txn = await client.begin()
    return await txn.commit(writes)


async def read(client: Client, key: bytes) -> bytes | None:
    return await client.snapshot(await client.current_timestamp()).get(key)


async def patiently(client: Client, key: bytes) -> bytes | None:
    """Read until there is an answer."""
    found: list[bytes | None] = []

    async def answered() -> bool:
        try:
            found.append(await read(client, key))
        except Unavailable:
            return False
        return True

    await until(answered)
    return found[0]


async def test_a_commit_has_a_timestamp_between_those_around_it(client: Client, tikv: Cluster) -> None:
    key = tikv.prefix.encode()
    before = await client.current_timestamp()
    committed = await write(client, {key: b"1", key + b"2": b"2"})
    assert before < committed < await client.current_timestamp()
    assert await client.snapshot(committed - 1).get(key) is None
    assert await client.snapshot(committed).batch_get([key, key + b"2", key + b"3"]) == {key: b"1", key + b"2": b"2"}
    await write(client, {key: None})
    assert await read(client, key) is None


async def test_conflicts_leave_no_locks(client: Client, tikv: Cluster) -> None:
    key = tikv.prefix.encode()
    late = await client.begin()
    assert await late.get(key) is None
    await write(client, {key: b"1"})
    with pytest.raises(Conflict):
        await late.commit({key: b"2", key + b"other": b"2"})
    await late.rollback()
    with trio.fail_after(1.0):  # a lock would stand for 3 s
        assert await read(client, key + b"other") is None
        assert await read(client, key) == b"1"


async def test_nothing_written_costs_no_call(client: Client, tikv: Cluster) -> None:
    server = tikv.faulty
    txn = await client.begin()
    before = server.calls()
    await txn.rollback()
    await txn.rollback()
    assert await (await client.begin()).commit({}) == 0
    assert {**server.calls(), "Tso": 0} == {**before, "Tso": 0}


async def test_a_silent_placement_driver_is_waited_for_a_limited_time(
    client: Client, tikv: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "CALL_LIMIT", 0.2)
    tikv.faulty.pause_pd()
    with pytest.raises(Unavailable, match="did not answer in time"):
        await client.current_timestamp()
    with pytest.raises(Unavailable, match="did not answer in time"):
        await client.begin()
    tikv.faulty.resume_pd()
    monkeypatch.undo()
    assert await client.current_timestamp()


async def test_a_transaction_that_comes_too_late_is_rolled_back(
    client: Client, tikv: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropped open it would panic, which the interpreter shows as an unraisable exception: an error in these tests."""
    tikv.faulty.pause_pd()
    with trio.move_on_after(0.1):
        await client.begin()
    tikv.faulty.resume_pd()
    assert await client.current_timestamp()  # answered after the other one

    async def begin_and_end() -> None:
        await (await client.begin()).rollback()

    for _ in range(50):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(begin_and_end)
                await trio.lowlevel.checkpoint()
                scope.cancel()
    assert await client.current_timestamp()
    gc.collect()


async def test_a_result_that_came_together_with_the_cancellation_is_not_lost() -> None:
    late: list[object] = []

    class Ready:
        name = "ready"

        def start(self, make: Callable[[], Any], finished: calls.Finished) -> Callable[[], None]:
            scope.cancel()
            finished(make(), None)
            return lambda: None

    with trio.CancelScope() as scope:
        await wait(Ready(), lambda: "open", 1.0, late.append)
    assert late == ["open"]


async def test_a_cancelled_commit_is_committed(client: Client, tikv: Cluster) -> None:
    key = tikv.prefix.encode()
    tikv.faulty.fault("delay", "KvPrewrite", count=1, ms=200, key=key)
    txn = await client.begin()
    with trio.move_on_after(0.05):
        await txn.commit({key: b"1"})
    assert await read(client, key) == b"1"


async def test_a_commit_beyond_its_limit_goes_on(client: Client, tikv: Cluster) -> None:
    key = tikv.prefix.encode()
    tikv.faulty.fault("delay", "KvPrewrite", count=1, ms=300, key=key)
    txn = await client.begin()
    with pytest.raises(OutcomeUnknown) as unknown:
        await txn.commit({key: b"1"}, 0.05)
    assert not unknown.value.ended
    await until(lambda: read(client, key))


@pytest.mark.parametrize(("kind", "done"), [("lost_reply", True), ("unavailable", False)])
async def test_a_commit_without_an_answer_is_unknown(client: Client, tikv: Cluster, kind: str, done: bool) -> None:
    """Without a mark; the lock of what was not committed stands for 3 s."""
    key = tikv.prefix.encode()
    tikv.faulty.fault(kind, "KvCommit")
    txn = await client.begin()
    with pytest.raises(OutcomeUnknown, match="ordered fault") as unknown:
        await txn.commit({key: b"1"}, 10.0)
    assert unknown.value.ended
    tikv.faulty.clear()
    assert (await patiently(client, key) is not None) is done


@pytest.mark.parametrize(("kind", "done"), [("lost_reply", True), ("unavailable", False)])
async def test_a_mark_decides_about_a_commit_without_an_answer(client: Client, tikv: Cluster, kind: str, done: bool) -> None:
    key, mark = tikv.prefix.encode(), tikv.prefix.encode()
    tikv.faulty.fault(kind, "KvCommit", key=mark)  # the primary's commit; the other record's goes in the background
    txn = await client.begin()
    try:
        await txn.commit({key: b"1", mark: b"1"}, 10.0, mark=mark, before={mark: None})
        assert done
    except Unavailable:
        assert not done
    assert txn.trouble
    tikv.faulty.clear()
    assert await patiently(client, key) == (b"1" if done else None)


@pytest.mark.parametrize("down", ["mark", "other", "third"])
async def test_what_the_client_library_leaves_out_is_written(tikv: Cluster, down: str) -> None:
    """A new client that cannot reach the store of one region leaves its records out, and says that all is committed: whether
    the primary is among them or not. What it says is not believed; what is missing is written when the store is back."""
    server, prefix = tikv.faulty, tikv.prefix.encode()
    keys = {name: prefix + name.encode() for name in ("mark", "other", "third")}
    for key in keys.values():
        server.split(key)
    server.split(prefix + b"~")
    place = {bytes.fromhex(region["start"]): region["leader"] for region in server.regions()}
    while len({place[key] for key in keys.values()}) < 3:  # each on a store of its own
        for key, leader in zip(keys.values(), (1, 2, 3), strict=True):
            place[key] = place[key] if place[key] == leader else server.transfer(key)
    store = place[keys[down]] - 1
    client = await connect(tikv.pd, 0.5)
    before = server.calls().get("KvCommit", 0)
    server.down(store)
    writes = {keys["mark"]: b"1", keys["other"]: b"2", keys["third"]: b"3"}
    results: list[object] = []

    async def commit() -> None:
        txn = await client.begin()
        try:
            results.append(await txn.commit(writes, 15.0, mark=keys["mark"], before={keys["mark"]: None}))
        except Unavailable:
            results.append("not committed")
        results.append(txn.trouble)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit)
            await until(lambda: server.calls().get("KvCommit", 0) > before)  # the prewrite is over
            server.up(store)
    finally:
        server.up(store)
    found = {key: await patiently(client, key) for key in writes}
    assert found == writes
    assert isinstance(results[0], int)
    assert results[1] == "a part was left out"


async def test_what_is_left_out_and_written_by_another_since_is_said(client: Client, tikv: Cluster) -> None:
    prefix = tikv.prefix.encode()
    mark, key = prefix + b"mark", prefix + b"key"
    await write(client, {key: b"old"})
    timestamp = await write(client, {mark: b"1"})  # as if a commit had left the other record out
    await write(client, {key: b"another's"})
    txn = await client.begin()
    commit = bridge._Commit({mark: b"1", key: b"ours"}, timestamp, mark, {})
    with pytest.raises(OutcomeUnknown, match="torn"):
        await txn._settle(commit, trio.current_time() + 5)
    await txn.rollback()
    assert await read(client, key) == b"another's"


@pytest.mark.parametrize("kind", ["not_leader", "epoch_not_match", "region_not_found", "unavailable", "lost_reply"])
@pytest.mark.parametrize("method", ["KvGet", "KvPrewrite", "KvCommit"])
async def test_single_faults_are_not_seen(client: Client, tikv: Cluster, kind: str, method: str) -> None:
    key = tikv.prefix.encode()
    tikv.faulty.fault(kind, method, count=1)
    await write(client, {key: b"1"})
    assert await read(client, key) == b"1"
    assert tikv.faulty.struck()[f"{method} {kind}"]


async def test_a_busy_server_is_said(client: Client, tikv: Cluster) -> None:
    """The native client does not try again by itself."""
    tikv.faulty.fault("server_is_busy", "KvGet", count=1)
    with pytest.raises(Unavailable, match="server_is_busy"):
        await read(client, b"any")


async def test_splits_and_moves_are_followed(client: Client, tikv: Cluster) -> None:
    prefix = tikv.prefix.encode()
    keys = [prefix + b"%d" % number for number in range(10)]
    await write(client, dict.fromkeys(keys, b"1"))
    for key in keys[::3]:
        assert tikv.faulty.split(key)
        tikv.faulty.transfer(key)
        await write(client, dict.fromkeys(keys, b"2"))
    snapshot = client.snapshot(await client.current_timestamp())
    assert await snapshot.scan_keys(prefix, prefix + b"~", 99) == keys
    assert [key for key, _ in await snapshot.scan(prefix, prefix + b"~", 4)] == keys[:4]


async def test_a_panic_is_an_error_like_others(client: Client) -> None:
    with pytest.raises(Unavailable, match="panicked"):
        await client.snapshot(2**64 - 1).get(b"k")
    assert await client.current_timestamp()


async def test_the_cluster_comes_back(tikv: Cluster) -> None:
    """The placement driver's stream breaks with the server; the native client makes a new one."""
    client = await connect(tikv.pd, 0.5)
    key = tikv.prefix.encode()
    await write(client, {key: b"1"})
    tikv.faulty.kill()
    with pytest.raises(Unavailable):
        await client.current_timestamp()
    tikv.faulty.start()
    assert await patiently(client, key) == b"1"


async def test_no_placement_driver() -> None:
    with pytest.raises(Unavailable, match="failed to respond"):
        await connect(["127.0.0.1:1"], 0.2)


def test_errors_of_commits_that_are_certain() -> None:
    """As the native client words them."""
    fields = "locked: None, conflict: None, already_exist: None, txn_not_found: None"
    for before, after in (("conflict: None", "conflict: Some(WriteConflict {"), ("found: None", "found: Some(TxnNotFound {")):
        assert isinstance(told_of_commit(Exception(fields.replace(before, after))), Conflict)
    assert isinstance(told_of_commit(Exception("Failed to resolve lock")), Unavailable)
    for text in (fields, "Region error: Error { not_leader: Some(…", "gRPC api error: status: Cancelled", "rust future"):
        wrong = told_of_commit(Exception(text))
        assert isinstance(wrong, OutcomeUnknown)
        assert wrong.ended


class Native:
    """Stands for the native module's futures: asks the running loop for `asked` beside what the shim has."""

    def __init__(self, asked: str = "") -> None:
        self.asked = asked

    def __call__(self) -> Any:
        import asyncio  # noqa: PLC0415 - as the native side does

        loop = asyncio.get_running_loop()
        if self.asked:
            getattr(loop, self.asked)()
        future = loop.create_future()
        loop.call_soon_threadsafe(future.set_exception, ValueError("as asked for"))
        return future


@pytest.mark.parametrize(("asked", "kind"), [("", Shim), ("time", LoopThread)])
async def test_the_shim_is_tried_before_it_is_relied_on(asked: str, kind: type[Runner]) -> None:
    runner = await open_runner(Native(asked))
    assert isinstance(runner, kind)
    with pytest.raises(ValueError, match="as asked for"):
        await wait(runner, Native(asked), 5.0)


async def test_a_shim_that_never_answers_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SELF_TEST", 0.05)
    monkeypatch.setattr(Shim, "call_soon_threadsafe", lambda *_args, **_options: None)
    runner = await open_runner(Native())
    assert isinstance(runner, LoopThread)


async def test_a_cancelled_read_is_cancelled_natively(client: Client, tikv: Cluster) -> None:
    """The server hears of it, instead of answering into the void."""
    before = tikv.faulty.struck().get("KvGet delay", 0)
    tikv.faulty.fault("delay", "KvGet", count=1, ms=60_000)
    with trio.move_on_after(0.1):
        await read(client, tikv.prefix.encode())
    await until(lambda: tikv.faulty.struck().get("KvGet delay", 0) > before)
    assert await read(client, tikv.prefix.encode()) is None
