"""Locks through gates: contenders, holders whose time is over, killed gates; redis-py's Lock; what is refused."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis as library
from redis.exceptions import LockError, LockNotOwnedError, ResponseError
from redis.lock import Lock

from kvgate.commands.scripts import LOCK_RELEASE
from tests.server.contenders import Contenders, prove
from tests.server.settings import ALL_IN_A, keys_on, namespaces, redis, serving, sharded, user
from tests.support.servers import NO_REDIS, Gate, Gates, RedisServer, RedisServers, redis_binary, wait_for
from tests.tikv.cluster import cluster

WITHOUT_LUA = ["lmdb", "tikv"]
KINDS = [*WITHOUT_LUA, "redis", "kvrocks"]
"""A redis-server stands in for KvRocks: what is seen is how its adapter speaks."""
NAME = "Bank.Locks:stock"

GateOf = Callable[[str], Gate]


@contextmanager
def gates_on(kind: str, folder: Path, number: int = 1) -> Iterator[list[Gate]]:
    """Gates before one new store of that kind."""
    with ExitStack() as stack:
        if kind == "tikv":
            found = stack.enter_context(cluster())
            pd = ", ".join(f'"{address}"' for address in found.pd)
            store = f'pd = [{pd}]\nprefix = "{found.prefix}"'
        elif kind == "lmdb":
            store = f'path = "{folder / "data"}"'
        elif redis_binary is None:
            pytest.skip(NO_REDIS)
        else:
            store = f'url = "{stack.enter_context(RedisServer()).url}"'
        versioned = '[namespaces."Bank.Report"]\nbackend = "a"\nversioned = true\n'
        config = f'[backends.a]\ntype = "{kind}"\n{store}\n{ALL_IN_A}{versioned}'
        yield [stack.enter_context(Gate(config)) for _ in range(number)]


@pytest.fixture(scope="module")
def gate_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateOf]:
    """One gate before each kind of store, started when it is first asked for."""
    with ExitStack() as stack:
        started: dict[str, Gate] = {}

        def find(kind: str) -> Gate:
            if kind not in started:
                (started[kind],) = stack.enter_context(gates_on(kind, tmp_path_factory.mktemp(kind)))
            return started[kind]

        yield find


@pytest.fixture(params=KINDS)
def gate(request: pytest.FixtureRequest, gate_of: GateOf) -> Gate:
    """One gate before each kind of store."""
    return gate_of(request.param)


@pytest.fixture(params=WITHOUT_LUA)
def gate_without_lua(request: pytest.FixtureRequest, gate_of: GateOf) -> Gate:
    """Where scripts are known or refused."""
    return gate_of(request.param)


@pytest.fixture
def client(gate: Gate) -> "Iterator[library.Redis]":
    """A client of redis-py, on an empty store."""
    with library.Redis(host=gate.host, port=gate.port) as client:
        client.flushdb()
        yield client


@pytest.mark.parametrize("kind", ["lmdb", "tikv", "redis"])
def test_never_two_holders_whatever_is_killed(kind: str, tmp_path: Path) -> None:
    with gates_on(kind, tmp_path, 2) as gates, Contenders(gates, NAME, 20) as contenders:
        contenders.go_on(25)
        gates[0].kill()
        contenders.go_on(15)
        gates[0].start()
        gates[1].kill()
        contenders.go_on(40)
    holds = contenders.holds
    prove(holds)
    assert contenders.refused > len(holds)
    assert sum(hold.unlocked == 1 for hold in holds) > 5
    assert sum(hold.unlocked in (0, -1) for hold in holds) > 5, "late holders were told"
    assert sum(not hold.unlock_asked for hold in holds) > 5, "some forgot it"


def test_never_two_holders_while_a_cluster_misbehaves() -> None:
    with ExitStack() as stack:
        found = stack.enter_context(cluster())
        config = f'[backends.a]\ntype = "tikv"\npd = ["{found.pd[0]}"]\nprefix = "{found.prefix}"\n{ALL_IN_A}'
        server, gates = found.faulty, [stack.enter_context(Gate(config)) for _ in range(2)]
        contenders = stack.enter_context(Contenders(gates, NAME, 20))
        for kind, method, rate in (
            ("lost_reply", "KvCommit", 0.3),
            ("lost_reply", "KvPrewrite", 0.3),
            ("not_leader", "", 0.1),
            ("unavailable", "KvCommit", 0.2),
            ("region_not_found", "KvPrewrite", 0.2),
        ):
            server.fault(kind, method, rate=rate)
            contenders.go_on(15)
            server.clear()
        contenders.go_on(10)
        assert sum(server.struck().values()) > 20
    prove(contenders.holds)


def test_a_lock_in_both_protocols(gate: Gate) -> None:
    for proto, null in ((2, b"$-1\r\n"), (3, b"_\r\n")):
        with gate.client(proto=proto) as client:
            client.cmd("DEL", NAME)
            taken = client.raw_reply("gate", "lock", NAME, "a", "px", 60_000)
            assert taken.startswith(b"*2\r\n$1\r\na\r\n:")
            assert client.raw_reply("GATE", "LOCK", NAME, "b", "PX", 60_000) == null
            assert client.raw_reply("GATE", "EXTEND", NAME, "b", "PX", 60_000) == b":0\r\n"
            assert client.raw_reply("GATE", "UNLOCK", NAME, "a") == b":1\r\n"
            assert client.raw_reply("GATE", "UNLOCK", NAME, "a") == b":-1\r\n"
            client.cmd("HSET", NAME, "f", "v")
            for words in (("LOCK", NAME, "a", "PX", 1), ("EXTEND", NAME, "a", "PX", 1), ("UNLOCK", NAME, "a")):
                assert client.raw_reply("GATE", *words).startswith(b"-WRONGTYPE ")
            assert client.raw_reply("GATE", "LOCK", NAME, "a", "EX", 1) == b"-ERR syntax error\r\n"
            assert client.raw_reply("GATE", "LOCK", NAME, "a") == (
                b"-ERR wrong number of arguments for 'gate|lock' command\r\n"
            )
            assert client.raw_reply("GATE", "EXTEND", NAME, "a", "PX", 0) == (
                b"-ERR invalid expire time in 'gate|extend' command\r\n"
            )


def test_fences_grow_in_pipelines_and_in_one_transaction(gate: Gate) -> None:
    with gate.client() as client:
        client.cmd("DEL", NAME)
        pair = [("GATE", "LOCK", NAME, "t", "PX", 60_000), ("GATE", "UNLOCK", NAME, "t")]
        replies = client.pipeline(pair * 10)
        assert client.pipeline([("MULTI",), *(pair * 10)]) == [b"OK", *([b"QUEUED"] * 20)]
        replies += client.cmd("EXEC")
        replies += client.pipeline(pair)
    assert replies[1::2] == [1] * 21
    fences = [reply[1] for reply in replies[::2]]
    assert fences == sorted(set(fences))


def test_help_lists_the_locks(gate: Gate) -> None:
    told = b"\n".join(gate.cmd("GATE", "HELP")).decode()
    for verb in ("LOCK", "EXTEND", "UNLOCK"):
        assert f"\n{verb}" in told


def test_a_resource_refuses_who_comes_too_late(gate: Gate) -> None:
    """What docs/locks.md tells to do; the stores of pass-through backends have versioned keys where it is said."""
    with gate.client() as client:
        client.cmd("DEL", NAME, "Bank.Report:1")
        first = client.cmd("GATE", "LOCK", NAME, "asleep", "PX", 1)
        wait_for(lambda: client.cmd("PTTL", NAME) == -2, "the lock to expire")
        second = client.cmd("GATE", "LOCK", NAME, "awake", "PX", 60_000)
        assert client.cmd("EXHSET", "Bank.Report:1", "total", "1200", "GT", second[1]) == 1
        late = client.raw_reply("EXHSET", "Bank.Report:1", "total", "900", "GT", first[1])
        assert late == b"-ERR update version is stale\r\n"
        assert client.cmd("EXHGETWITHVER", "Bank.Report:1", "total") == [b"1200", second[1]]


# ---------------------------------------------------------------------- redis-py


def test_the_lock_of_redis_py(client: "library.Redis") -> None:
    lock = client.lock(NAME, timeout=60)
    assert lock.acquire(blocking=False)
    other = client.lock(NAME, timeout=60)
    assert not other.acquire(blocking=False)
    assert lock.locked()
    assert lock.owned()
    assert not other.owned()
    assert lock.extend(60)
    assert 100_000 < client.pttl(NAME) <= 120_000
    assert lock.extend(60, replace_ttl=True)
    assert client.pttl(NAME) <= 60_000
    assert lock.extend(30)
    assert lock.reacquire()
    assert client.pttl(NAME) <= 60_000
    lock.release()
    with pytest.raises(LockError):
        lock.release()
    with other:
        assert other.owned()
    assert client.get(NAME) is None


def test_a_lock_of_redis_py_that_is_another_s_by_now(client: "library.Redis") -> None:
    late = client.lock(NAME, timeout=60)
    assert late.acquire()
    client.delete(NAME)
    for forget in (late.reacquire, lambda: late.extend(60), late.release):
        late.local.token = late.local.token or b"late"
        with client.lock(NAME, timeout=60) as lock:
            with pytest.raises(LockNotOwnedError):
                forget()
            assert lock.owned()
    client.hset(NAME, "f", "v")
    late.local.token = b"late"
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        late.release()


def test_who_waits_in_redis_py_gets_the_lock_when_it_is_given_back(gate: Gate, client: "library.Redis") -> None:
    got: list[str] = []
    waiting = threading.Event()

    def wait() -> None:
        with library.Redis(host=gate.host, port=gate.port) as own:
            lock = own.lock(NAME, timeout=60, sleep=0.005)
            if not lock.acquire(blocking=False):
                waiting.set()
            if lock.acquire(blocking=True, blocking_timeout=20):
                got.append("waiter")
                lock.release()

    lock = client.lock(NAME, timeout=60)
    assert lock.acquire()
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert waiting.wait(20)
    assert not got
    lock.release()
    thread.join(20)
    assert got == ["waiter"]


def test_a_lock_of_redis_py_that_expires_goes_to_who_waits(client: "library.Redis") -> None:
    assert client.lock(NAME, timeout=0.05).acquire()
    lock = client.lock(NAME, timeout=60, sleep=0.005)
    assert lock.acquire(blocking_timeout=20)
    lock.release()


def test_the_scripts_are_loaded_and_run_in_pipelines(client: "library.Redis") -> None:
    """redis-py asks SCRIPT EXISTS there first, and loads what is missing."""
    script = client.register_script(Lock.LUA_RELEASE_SCRIPT)
    client.set(NAME, "t")
    with client.pipeline(transaction=False) as pipe:
        pipe.get(NAME)
        script(keys=[NAME], args=["other"], client=pipe)
        script(keys=[NAME], args=["t"], client=pipe)
        assert pipe.execute() == [b"t", 0, 1]
    client.set(NAME, "t")
    with client.pipeline() as pipe:
        pipe.get(NAME)
        script(keys=[NAME], args=["t"], client=pipe)
        pipe.exists(NAME)
        assert pipe.execute() == [b"t", 1, 0]
    assert client.script_load(Lock.LUA_RELEASE_SCRIPT) == script.sha
    assert client.script_exists(script.sha.upper(), "0" * 40) == [True, False]
    client.set(NAME, "t")
    assert client.eval(Lock.LUA_RELEASE_SCRIPT, 1, NAME, "t") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("EVAL", "return 1", "1", NAME), "command 'eval' is not supported by backend 'a'"),
        (("EVALSHA", "0" * 40, "1", NAME), "command 'evalsha' is not supported by backend 'a'"),
        (("EVAL_RO", Lock.LUA_RELEASE_SCRIPT, "1", NAME, "t"), "command 'eval_ro' is not supported by backend 'a'"),
        (("EVAL", Lock.LUA_RELEASE_SCRIPT, "0", "t"), "command 'eval' is not supported by any backend"),
        (("SCRIPT", "LOAD", "return 1"), "command 'script load' is not supported by any backend"),
        (("SCRIPT", "FLUSH"), "command 'script flush' is not supported by any backend"),
    ],
)
def test_other_scripts_stay_refused(gate_without_lua: Gate, words: Sequence[str], told: str) -> None:
    with gate_without_lua.client() as client:
        assert told in client.raw_reply(*words).decode()
        client.cmd("MULTI")
        assert client.raw_reply(*words).startswith(b"-ERR ")


def test_the_scripts_reach_no_neighbour_on_the_same_store(gates: Gates) -> None:
    store = '[backends.a]\ntype = "lmdb"\npath = "$DIR/data"\n'
    spaces = namespaces(Ads_Locks="a", Bank_Locks="a")
    gate = gates(store + spaces + user("ads", "Ads.*") + user("bank", "Bank.*"))
    with gate.client(user="ads", password="ads-secret") as ads, gate.client(user="bank", password="bank-secret") as bank:
        assert bank.cmd("GATE", "LOCK", NAME, "t", "PX", 60_000)[0] == b"t"
        assert ads.cmd("GATE", "LOCK", "Ads.Locks:stock", "t", "PX", 60_000)[0] == b"t"
        for words in (
            ("EVAL", Lock.LUA_RELEASE_SCRIPT, 1, NAME, "t"),
            ("EVALSHA", LOCK_RELEASE, 2, "Ads.Locks:stock", NAME, "t"),
            ("GATE", "UNLOCK", NAME, "t"),
            ("GATE", "LOCK", NAME, "t", "PX", 1),
        ):
            assert ads.raw_reply(*words).startswith(b"-NOPERM "), words
        assert bank.cmd("GET", NAME) == b"t"
        assert ads.cmd("EVALSHA", LOCK_RELEASE, 1, "Ads.Locks:stock", "t") == 1


def test_the_scripts_run_inside_a_transaction_that_watches(gate: Gate) -> None:
    release = Lock.LUA_RELEASE_SCRIPT
    with gate.client() as client, gate.client() as other:
        client.cmd("SET", NAME, "t")
        for change in (False, True):
            client.cmd("WATCH", NAME)
            if change:
                other.cmd("SET", NAME, "u")
            client.cmd("MULTI")
            client.cmd("EVAL", release, 1, NAME, "t")
            client.cmd("SET", NAME, "t")
            assert client.cmd("EXEC") == (None if change else [1, b"OK"])
        assert client.cmd("EVAL", release, 1, NAME, "t") == 0
        assert client.cmd("GET", NAME) == b"u"


def test_a_lock_outlives_the_gate_and_expires_at_its_time(tmp_path: Path) -> None:
    with gates_on("lmdb", tmp_path) as (gate,):
        first = gate.cmd("GATE", "LOCK", NAME, "a", "PX", 60_000)
        gate.cmd("GATE", "LOCK", NAME + "2", "a", "PX", 50)
        gate.kill()
        gate.start()
        assert gate.cmd("GATE", "LOCK", NAME, "b", "PX", 60_000) is None
        wait_for(lambda: gate.cmd("GATE", "LOCK", NAME + "2", "b", "PX", 60_000), "the lock to expire")
        assert gate.cmd("GATE", "UNLOCK", NAME, "a") == 1
        assert gate.cmd("GATE", "LOCK", NAME, "b", "PX", 60_000)[1] > first[1] + 1


# ---------------------------------------------------------------------- Redis


def test_fences_on_redis_grow_whatever_it_forgets(redis_server: RedisServer) -> None:
    with serving(redis("a", redis_server) + ALL_IN_A) as setting:
        gate, fences = setting.gate, [0]

        def taken() -> bool:
            with gate.client() as client:
                reply = client.ask("GATE", "LOCK", NAME, "t", "PX", 60_000)
            if not isinstance(reply, list):
                return False  # TRYAGAIN: the gate connects to it again
            fences.append(reply[1])
            return True

        for forget in (
            lambda: redis_server.cmd("FLUSHALL"),
            lambda: redis_server.cmd("SCRIPT", "FLUSH"),
            lambda: gate.cmd("FLUSHDB"),
            redis_server.restart,
            lambda: redis_server.cmd("SET", b"\0kvgate:fence", "7"),  # as a replica that lags would have it
        ):
            wait_for(taken, "the lock")
            gate.cmd("GATE", "UNLOCK", NAME, "t")
            forget()
        wait_for(taken, "the lock")
        assert fences == sorted(set(fences))
        assert redis_server.cmd("TTL", b"\0kvgate:fence") == -1


def test_what_is_kept_on_redis_is_one_hidden_key(redis_server: RedisServer) -> None:
    with serving(redis("a", redis_server) + ALL_IN_A) as setting, setting.gate.client() as client:
        client.cmd("GATE", "LOCK", NAME, "t", "PX", 60_000)
        assert sorted(redis_server.cmd("KEYS", "*")) == [b"\0kvgate:fence", NAME.encode()]
        assert client.cmd("KEYS", "*") == [NAME.encode()]
        assert client.cmd("DBSIZE") == 1
        assert client.raw_reply("GET", b"\0kvgate:fence").startswith(b"-NOPERM ")
        assert client.cmd("GET", NAME) == b"t"
        client.cmd("GATE", "UNLOCK", NAME, "t")
        assert client.cmd("DBSIZE") == 0
        assert client.cmd("RANDOMKEY") is None


def test_each_command_is_one_request_to_redis(redis_server: RedisServer) -> None:
    with serving(redis("a", redis_server) + ALL_IN_A) as setting, setting.gate.client() as client:
        client.cmd("GATE", "LOCK", NAME, "t", "PX", 60_000)
        before = redis_server.calls("eval")
        for words in (("LOCK", NAME, "t", "PX", 9), ("EXTEND", NAME, "t", "PX", 60_000), ("UNLOCK", NAME, "t")):
            client.cmd("GATE", *words)
        assert client.raw_reply("GATE", "LOCK", NAME, "t", "EX", 9) == b"-ERR syntax error\r\n"
        assert redis_server.calls("eval") == before + 3


def test_locks_lie_where_their_names_lie(redis_servers: RedisServers) -> None:
    shards = [redis_servers(), redis_servers()]
    with serving(sharded("a", *shards) + ALL_IN_A) as setting, setting.gate.client() as client:
        for number, shard in enumerate(shards):
            (name,) = keys_on(number, 2, 1, "Bank.Locks:")
            assert client.cmd("GATE", "LOCK", name, "t", "PX", 60_000)[0] == b"t"
            assert shard.cmd("GET", name) == b"t"
            assert client.cmd("GATE", "UNLOCK", name, "t") == 1
        names = [keys_on(number, 2, 1, "Bank.Locks:")[0] for number in range(2)]
        client.cmd("MULTI")
        client.cmd("GATE", "LOCK", names[0], "t", "PX", 60_000)
        assert client.raw_reply("GATE", "LOCK", names[1], "t", "PX", 60_000).startswith(b"-CROSSSLOT ")
