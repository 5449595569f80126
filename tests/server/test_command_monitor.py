"""MONITOR: each user is shown its own commands' lines, exactly those, from all workers, and never more than fit."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from tests.server.processes import one_on_each
from tests.server.settings import Setting, keys_on, namespaces, redis, serving, sharded, stores, user
from tests.support.resp import Resp, frame
from tests.support.servers import NO_REDIS, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n'
ALL = 'commands = ["+@all"]'
LINE = re.compile(rb"\+(\d{10}\.\d{6}) \[(\d+) ([^\]]*)\] (.*)\r\n", re.DOTALL)


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(3) as (one, two, three):
        config = (
            sharded("a", one, two)
            + redis("b", three)
            + LOCAL
            + namespaces(Ads__="a", Bank_L="a", Ads_One="b", Bank_One="b", Ver_T="b", Loc_T="local", default="b")
            + user("ads", "Ads.*", more=ALL)
            + user("ads2", "Ads.*", "Loc.T", more=ALL)
            + user("bank", "Bank.*", "Ads.Shared", more=ALL)
            + user("plain", "Ads.*")
            + user("reader", more=f'read_only = ["Ads.*"]\n{ALL}')
            + user("boss", "*", more=ALL)
        )
        with serving(config, one, two, three) as setting:
            yield setting


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


@contextlib.contextmanager
def monitoring(setting: Setting, name: str, *words: str, proto: int = 2) -> Iterator[Resp]:
    with login(setting, name, proto) as client:
        assert client.cmd(*(words or ("MONITOR",))) == b"OK"
        yield client


def until(watching: Resp, last: bytes) -> list[bytes]:
    """What follows the address of each line, up to that of a command that only this watcher's end can be."""
    found: list[bytes] = []
    while True:
        match = LINE.fullmatch(watching.read_one())
        assert match
        if match[4] == last:
            return found
        found.append(match[4])


@pytest.mark.parametrize("proto", [2, 3])
def test_nothing_of_a_neighbour_is_shown(setting: Setting, proto: int) -> None:
    foreign, own = keys_on(0, 2, 1, "Bank.L:")[0], keys_on(0, 2, 1, "Ads.P:")[0]
    with monitoring(setting, "ads", proto=proto) as watching, login(setting, "boss") as boss, login(setting, "bank") as bank:
        for client in (boss, bank):
            client.cmd("SET", foreign, "secret")
            client.cmd("GET", foreign)
            client.send_raw(frame("GET", foreign) * 20)
            for _ in range(20):
                client.read_one()
            client.cmd("PING", "secret")
            client.cmd("PUBLISH", "Bank.L:c", "secret")
            client.cmd("SCAN", "0", "MATCH", "Bank.L:secret*")
            client.cmd("GATE", "ROUTE", "Bank.L:secret")
        boss.cmd("MGET", own, foreign)
        boss.cmd("SORT", "Ads.One:l", "BY", "Bank.One:secret*")
        boss.cmd("SORT", "Ads.One:l", "STORE", "Bank.One:secret")
        boss.cmd("COPY", "Ads.One:l", "Bank.One:secret")
        boss.cmd("EVAL", "return 'secret'", 2, "Ads.One:l", "Bank.One:secret")
        boss.cmd("MULTI")
        boss.cmd("SET", foreign, "secret")
        boss.cmd("EXEC")
        boss.cmd("SET", own, "visible")
        boss.cmd("GET", own)
        seen = until(watching, b'"GET" "%b"' % own.encode())
        assert seen == [b'"SET" "%b" "visible"' % own.encode()]


def test_all_ways_of_a_command_are_shown_once(setting: Setting) -> None:
    """Forwarded in runs and one by one, split, queued, blocking, executed here, answered by the gate."""
    there, here = keys_on(0, 2, 1)[0], keys_on(1, 2, 1)[0]
    sent = [
        *[("SET", there, "v"), ("SET", there, "v")],  # looked at, then learned
        *[("GET", there)] * 50,
        *[("GET", here), ("SET", there, "w"), ("GET", here)],
        *[("MGET", there, here), ("DEL", there, here)],
        *[("RPUSH", "Ads.P:l", "x"), ("BLPOP", "Ads.P:l", "1")],
        *[("MULTI",), ("SET", there, "v"), ("GET", there), ("EXEC",)],
        *[("SET", "Loc.T:k", "v")] * 3,
        *[("GET", "Loc.T:k")] * 5,
        *[("PING",), ("ECHO", "done"), ("SCAN", "0", "MATCH", "nothing*"), ("DBSIZE",)],
        *[("PUBLISH", "Ads.P:c", "message")],
    ]
    with monitoring(setting, "ads2") as watching, login(setting, "ads2") as client:
        client.send_raw(b"".join(frame(*each) for each in sent))
        for _ in sent:
            client.read_one()
        client.cmd("ECHO", "end")
        wanted = [b" ".join(b'"%b"' % word.encode() for word in each) for each in sent]
        assert until(watching, b'"ECHO" "end"') == wanted
        for each in sent[:58]:
            client.cmd(*each)
        client.cmd("ECHO", "end")
        assert until(watching, b'"ECHO" "end"') == wanted[:58]
        for refused in (("GET",), ("NONSENSE",), ("GET", "Bank.L:x"), ("CONFIG", "GET", "*"), ("GET", "Ads.P:" + "k" * 10)):
            client.raw_reply(*refused)
        assert client.raw_reply("AUTH", "ads2", "wrong").startswith(b"-")
        client.cmd("ECHO", "end")
        assert until(watching, b'"ECHO" "end"') == [b'"GET" "Ads.P:kkkkkkkkkk"']


def test_versioned_commands_are_shown_as_they_came() -> None:
    with stores(1) as (one,):
        config = redis("a", one) + '[namespaces]\n[namespaces."Ver.T"]\nbackend = "a"\nversioned = true\n'
        with serving(config, one) as setting, setting.gate.client() as watching, setting.gate.client() as client:
            watching.cmd("MONITOR")
            for _ in range(3):
                client.cmd("EXSET", "Ver.T:k", "v")
                client.cmd("EXGET", "Ver.T:k")
            client.cmd("ECHO", "end")
            assert until(watching, b'"ECHO" "end"') == [b'"EXSET" "Ver.T:k" "v"', b'"EXGET" "Ver.T:k"'] * 3


def test_what_others_send_to_a_shared_namespace(setting: Setting) -> None:
    """Without where they are, and without their scripts."""
    with monitoring(setting, "ads") as watching, login(setting, "bank") as bank, login(setting, "boss") as boss:
        bank.cmd("SET", "Ads.Shared:k", "v")
        boss.cmd("EVAL", "return redis.call('get', 'Bank.L:secret')", "1", "Ads.Shared:k", "secret")
        boss.cmd("GET", "Ads.Shared:k")
        lines = [LINE.fullmatch(watching.read_one()) for _ in range(3)]
        assert [line and line[3] for line in lines] == [b"0.0.0.0:0"] * 3
        assert [line and line[4] for line in lines] == [
            b'"SET" "Ads.Shared:k" "v"', b'"EVAL" "(not shown)" "Ads.Shared:k"', b'"GET" "Ads.Shared:k"'
        ]  # fmt: skip
    with monitoring(setting, "ads") as watching, login(setting, "ads") as own:
        own.cmd("GET", "Ads.P:k")
        line = LINE.fullmatch(watching.read_one())
        assert line
        assert re.fullmatch(rb"127\.0\.0\.1:\d+", line[3])


def test_who_may_only_read_is_shown_the_writes_of_others(setting: Setting) -> None:
    with monitoring(setting, "reader") as watching, login(setting, "ads") as ads, login(setting, "bank") as bank:
        bank.cmd("SET", "Bank.L:k", "secret")
        ads.cmd("SET", "Ads.P:k", "v")
        ads.cmd("GET", "Ads.P:k")
        assert until(watching, b'"GET" "Ads.P:k"') == [b'"SET" "Ads.P:k" "v"']


def test_one_namespace_or_a_sample(setting: Setting) -> None:
    with login(setting, "ads") as client:
        with monitoring(setting, "ads", "GATE", "MONITOR", "Ads.Q") as watching:
            for key in ("Ads.P:1", "Ads.Q:1", "Ads.P:2"):
                client.cmd("GET", key)
            client.cmd("PING")
            client.cmd("GET", "Ads.Q:end")
            assert until(watching, b'"GET" "Ads.Q:end"') == [b'"GET" "Ads.Q:1"']
        with monitoring(setting, "ads", "GATE", "MONITOR", "Ads.*", "SAMPLE", "20") as watching:
            for _ in range(20):
                client.send_raw(frame("GET", "Ads.P:1") * 200)
                for _ in range(200):
                    client.read_one()
            client.close()
            found = 0
            while not watching.silent():
                watching.read_one()
                found += 1
            assert 120 <= found <= 290  # 200, give or take six deviations
        for wrong in (("Bank.L",), ("No.Such",), ("Ads.P", "Ads.Q"), ("SAMPLE", "0"), ("SAMPLE", "x")):
            with login(setting, "ads") as again:
                assert again.raw_reply("GATE", "MONITOR", *wrong).startswith(b"-"), wrong


def test_it_has_to_be_granted(setting: Setting) -> None:
    with login(setting, "plain") as plain:
        assert plain.raw_reply("MONITOR").startswith(b"-NOPERM")
        assert plain.raw_reply("GATE", "MONITOR", "Ads.P").startswith(b"-NOPERM")


def test_bytes_are_written_as_redis_does(setting: Setting) -> None:
    store = setting.stores[2]
    value = bytes(range(256)) + b'"\\'
    with store.client() as theirs, monitoring(setting, "boss") as ours, login(setting, "boss") as client:
        theirs.cmd("MONITOR")
        client.cmd("SET", b"bytes", value)
        told = LINE.fullmatch(ours.read_one())
        assert told
        while not (line := LINE.fullmatch(theirs.read_one())) or b'"bytes"' not in line[4]:
            pass
        assert told[4] == line[4]
        client.cmd("SET", "bytes", "x" * 5000)
        told = LINE.fullmatch(ours.read_one())
        assert told
        assert told[4] == b'"SET" "bytes" "%b... (3976 more bytes)"' % (b"x" * 1024)


def test_a_library_reads_it(setting: Setting) -> None:
    where: Any = {"host": setting.gate.host, "port": setting.gate.port, "username": "ads", "password": "ads-secret"}
    with redis_py.Redis(**where) as client, client.monitor() as monitor:
        client.set("Ads.P:k", "v")
        while (seen := monitor.next_command())["command"].startswith("CLIENT SETINFO"):
            pass
        assert (seen["command"], seen["client_address"], seen["db"]) == ("SET Ads.P:k v", "127.0.0.1", 0)


def test_what_is_too_much_is_dropped_and_counted() -> None:
    with stores(1) as (one,):
        config = redis("a", one) + namespaces(Ads_P="a", default="a")
        with serving(config, one, gate="monitor_lines = 100\n") as setting, setting.gate.client() as watching:
            watching.cmd("MONITOR")
            with setting.gate.client() as client:
                for _ in range(50):
                    client.send_raw(frame("GET", "Ads.P:k") * 1000)
                    for _ in range(1000):
                        client.read_one()
            shown = dropped = 0
            while not dropped:
                line = watching.read_one()
                shown += b'"GET"' in line
                match = re.fullmatch(rb'\+\S+ \[0 kvgate:0\] "DROPPED" "(\d+)"\r\n', line)
                dropped = int(match[1]) if match else 0
            assert 100 <= shown <= 1000
            assert dropped > 1000


def test_all_workers_are_watched() -> None:
    with stores(1) as (one,):
        config = redis("a", one) + namespaces(Ads_P="a", default="a") + user("ads", "Ads.P", more=ALL)
        config += user("bank", "default", more=ALL)
        with serving(config, one, gate="workers = 2\n") as setting:
            account = {"user": "ads", "password": "ads-secret"}
            writers = [*one_on_each(setting.gate, 2, **account).values()]
            with monitoring(setting, "ads") as watching:
                for writer in writers:
                    writer.cmd("CLIENT", "SETNAME", "x")
                numbers = iter(range(100_000))

                def both_seen(seen: set[int]) -> bool:
                    for at, writer in enumerate(writers):
                        writer.cmd("SET", f"Ads.P:{at}", next(numbers))
                    while not watching.silent():
                        line = LINE.fullmatch(watching.read_one())
                        assert line
                        match = re.match(rb'"SET" "Ads\.P:(\d)"', line[4])
                        if match:
                            seen.add(int(match[1]))
                    return seen == {0, 1}

                seen: set[int] = set()
                wait_for(lambda: both_seen(seen), "both workers' commands")
            for writer in writers:
                writer.close()
