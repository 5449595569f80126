"""Reloads that would look for existing keys elsewhere: refused, or accepted; who is in the middle of something then."""

import time
from contextlib import ExitStack
from functools import partial

import pytest

from tests.server.processes import one_on_each, served_by
from tests.server.reloads import (
    BOTH,
    redis,
    refused,
    refused_later,
    reload,
    rules,
    user,
    whole,
)
from tests.support.relay import Relay
from tests.support.resp import Resp, frame
from tests.support.servers import Gates, RedisServer, RedisServers, wait_for


def sharded(urls: list[str], slots: int = 1024, *, backwards: bool = False) -> str:
    step = slots // len(urls)
    groups = [f'"{at * step}-{at * step + step - 1}" = "{url}"\n' for at, url in enumerate(urls)]
    if backwards:
        groups.reverse()
    return f'[backends.a]\ntype = "redis"\nslots = {slots}\n[backends.a.groups]\n{"".join(groups)}'


def test_moves_are_refused_with_the_list_and_taken_when_accepted(gates: Gates, redis_servers: RedisServers) -> None:
    one, two = redis_servers(), redis_servers()
    both = redis("a", one.url) + redis("b", two.url)
    before = both + rules(**{"A_T": "a", "B_*": "a", "default": "a"})
    moves = {
        both + rules(**{"A_T": "b", "B_*": "a", "default": "a"}): ["A.T: backend a -> backend b"],
        both + rules(**{"A_T": "a", "B_*": "b", "default": "b"}): [
            "B.*: backend a -> backend b", "default: backend a -> backend b"],
        both + rules(**{"A_T": "a", "B_*": "a", "B_X": "b", "C_*": "b", "default": "a"}): [
            "B.X: backend a -> backend b", "C.*: backend a -> backend b"],
        both + rules(**{"B_*": "a", "default": "b", "A_*": "a", "A_T": "a"}): ["default: backend a -> backend b"],
        both + rules(A_T="a", B_X="a"): ["B.*: backend a -> served no more", "default: backend a -> served no more"],
        redis("a", two.url) + redis("b", one.url) + rules(**{"A_T": "a", "B_*": "b", "default": "b"}): [
            "A.T: backend a -> backend a in another place"],
        redis("a", one.url + "/1") + rules(**{"A_T": "a", "B_*": "a", "default": "a"}): [
            f"{name}: backend a -> backend a in another place" for name in ("A.T", "B.*", "default")],
        sharded([one.url, two.url]) + rules(**{"A_T": "a", "B_*": "a", "default": "a"}): [
            f"{name}: backend a -> backend a in another place" for name in ("A.T", "B.*", "default")],
    }  # fmt: skip
    gate = gates(before)
    with gate.client() as client:
        for config, expected in moves.items():
            gate.write_config(config)
            told = refused(client, "GATE", "RELOAD")
            names = sorted(move.partition(":")[0] for move in expected)
            assert told == (
                "ERR keys that exist would be looked for elsewhere: " + "; ".join(expected)
                + f"; move the data first, then say accept_moves = {names}"
            )  # fmt: skip
            shown = refused(client, "GATE", "RELOAD", "DRYRUN")
            assert shown == told
            if len(names) > 1:
                gate.write_config(f"accept_moves = {names[:1]}\n" + whole(config))
                assert f"accept_moves = {names[1:]}" in refused(client, "GATE", "RELOAD")
            gate.write_config(f"accept_moves = {names}\n" + whole(config))
            assert client.cmd("GATE", "RELOAD") == b"OK"
            back = f'accept_moves = ["A.T", "B.*", "B.X", "C.*", "A.*", "default"]\n{whole(before)}'
            gate.write_config(back)
            assert client.cmd("GATE", "RELOAD") == b"OK"


@pytest.mark.parametrize("slots", [2048, 512])
def test_other_slots_are_a_move_and_another_order_of_the_groups_is_none(
    gates: Gates, redis_servers: RedisServers, slots: int
) -> None:
    urls = [redis_servers().url, redis_servers().url]
    gate = gates(sharded(urls) + rules(A_T="a"))
    with gate.client() as client:
        for number in range(100):
            client.cmd("SET", f"A.T:{number}", number)
        gate.write_config(sharded(urls, backwards=True) + rules(A_T="a"))
        assert client.cmd("GATE", "RELOAD") == b"OK"
        assert client.cmd("MGET", *(f"A.T:{n}" for n in range(100))) == [b"%d" % n for n in range(100)]
        gate.write_config(sharded(urls, slots) + rules(A_T="a"))
        assert "A.T: backend a -> backend a in another place" in refused(client, "GATE", "RELOAD")


def test_a_namespace_that_nobody_could_use_is_no_move(gates: Gates, redis_servers: RedisServers) -> None:
    one, two = redis_servers(), redis_servers()
    gate = gates(redis("a", one.url) + rules(A_T="a"))
    reload(gate, redis("a", one.url) + redis("b", two.url) + rules(A_T="a", B_T="b", default="b"))
    assert gate.cmd("SET", "B.T:x", "1") == b"OK"
    assert two.cmd("GET", "B.T:x") == b"1"


MOVE = 'accept_moves = ["A.T"]\n'


@pytest.fixture
def stores(redis_servers: RedisServers) -> tuple[RedisServer, RedisServer]:
    return redis_servers(), redis_servers()


def before_and_after(stores: tuple[RedisServer, RedisServer], gate: str = "") -> tuple[str, str]:
    """A.T moves from the first store to the second; B.T lies on the first, C.T on the second, always."""
    both = redis("a", stores[0].url) + redis("b", stores[1].url)
    head = f'[gate]\nlisten = ["127.0.0.1:$PORT"]\ndrain_unready = "0s"\n{gate}'
    return head + both + rules(A_T="a", B_T="a", C_T="b"), MOVE + head + both + rules(A_T="b", B_T="a", C_T="b")


@BOTH
def test_commands_under_way_finish_where_they_began_and_new_ones_wait_for_them(
    gates: Gates, stores: tuple[RedisServer, RedisServer], workers: int
) -> None:
    first, second = stores
    with Relay(first.address) as relay, ExitStack() as stack:
        before, after = (
            config.replace(first.url, relay.url)
            for config in before_and_after(stores, f"workers = {workers}\ncommand_timeout = '30s'\nshared_connections = 1\n")
        )  # one line: what waits for a connection would be under way, too
        gate = gates(before)

        def client() -> Resp:
            return stack.enter_context(gate.client(timeout=30))

        under_way, unmoved, asking = client(), client(), client()
        neighbours = one_on_each(gate, workers)
        for each in neighbours.values():
            stack.callback(each.close)
        for each in (under_way, unmoved, asking, *neighbours.values()):
            each.pipeline([("SET", "A.T:x", "old"), ("GET", "B.T:x"), ("GET", "C.T:x")])
        relay.stall("down")
        under_way.send("APPEND", "A.T:x", "+")
        wait_for(lambda: b"APPEND" in relay.record["up"], "the command to be under way")
        gate.write_config(after)
        asking.send("GATE", "RELOAD")
        waiting: list[Resp] = []
        sent: list[Resp] = []  # by whom, for each write of a neighbour

        def held_back() -> bool:
            """Whether a write to a key that moves stays in the gate, while those of a client of the same worker to the same
            store's other keys go on: the second of them was read when the first was sent, and so was what came before it."""
            number = len(waiting)
            waiting.append(client())
            neighbour = neighbours[served_by(waiting[-1])]
            waiting[-1].send("SET", f"A.T:new{number}", number)
            assert waiting[-1].silent(0.02)
            for key in (b"B.T:first%d." % number, b"B.T:second%d." % number):
                neighbour.send("SET", key, number)
                sent.append(neighbour)
                wait_for(partial(relay.record["up"].count, key), "the neighbour's command")
            return b"A.T:new%d" % number not in relay.record["up"]

        wait_for(held_back, "new commands to be held back", 10.0)
        assert unmoved.cmd("SET", "C.T:x", "unmoved") == b"OK"
        assert asking.silent(0.02)
        relay.flow()
        assert under_way.read() == 4
        assert [each.read() for each in waiting] == [b"OK"] * len(waiting)
        assert [each.read() for each in sent] == [b"OK"] * len(sent)
        assert asking.read_one() == b"+OK\r\n"
        last = f"A.T:new{len(waiting) - 1}"
        assert first.cmd("MGET", "A.T:x", last) == [b"old+", None]
        assert second.cmd("MGET", "A.T:x", last) == [None, str(len(waiting) - 1).encode()]


def test_a_store_that_does_not_answer_delays_a_move_for_the_time_of_a_command(
    gates: Gates, stores: tuple[RedisServer, RedisServer]
) -> None:
    before, after = before_and_after(stores)
    gate = gates(before)
    with gate.client() as stuck, gate.client() as other, gate.client() as asking:
        stuck.cmd("SET", "A.T:x", "1")
        stores[0].pause()
        stuck.send("SET", "A.T:x", "2")
        gate.write_config(after)
        begun = time.monotonic()
        asking.send("GATE", "RELOAD")
        assert asking.read_one() == b"+OK\r\n"
        assert 1.0 < time.monotonic() - begun < 4
        assert other.cmd("SET", "A.T:x", "3") == b"OK"
        assert refused_later(stuck).startswith("INDOUBT")
        stores[0].resume()
        assert stuck.cmd("GET", "A.T:x") == b"3"


def test_who_asks_for_a_reload_and_leaves_does_not_stop_it(gates: Gates, stores: tuple[RedisServer, RedisServer]) -> None:
    before, after = before_and_after(stores)
    gate = gates(before)
    with gate.client() as stuck, gate.client() as other:
        stuck.cmd("SET", "A.T:x", "1")
        stores[0].pause()
        stuck.send("SET", "A.T:x", "2")
        gate.write_config(after)
        asking = gate.client()
        asking.send("GATE", "RELOAD")
        wait_for(lambda: b"cmd=gate|reload" in other.cmd("CLIENT", "LIST"), "the reload to begin")
        asking.close()
        assert other.cmd("SET", "C.T:x", "1") == b"OK"
        wait_for(lambda: "reloaded" in gate.log, "the end of the reload")
        assert other.cmd("SET", "A.T:x", "3") == b"OK"
        assert stores[1].cmd("GET", "A.T:x") == b"3"
        assert stuck.read() is not None
        stores[0].resume()


@BOTH
def test_open_transactions_on_what_moved_do_not_happen(
    gates: Gates, stores: tuple[RedisServer, RedisServer], workers: int
) -> None:
    before, after = before_and_after(stores, f"workers = {workers}\n")
    gate = gates(before)
    names = ("queued", "mixed", "watched", "watching", "unmoved", "elsewhere", "begun")
    clients = {name: gate.client() for name in names}
    begin: dict[str, list[tuple[str, ...]]] = {
        "queued": [("MULTI",), ("SET", "A.T:x", "1")],
        "mixed": [("MULTI",), ("SET", "B.T:x", "1"), ("SET", "A.T:x", "1")],
        "watched": [("WATCH", "A.T:x"), ("MULTI",), ("SET", "A.T:x", "1")],
        "watching": [("WATCH", "A.T:x")],
        "unmoved": [("MULTI",), ("SET", "B.T:u", "1")],
        "elsewhere": [("WATCH", "C.T:x"), ("MULTI",), ("SET", "C.T:x", "1")],
        "begun": [("MULTI",)],
    }
    for name, commands in begin.items():
        for command in commands:
            assert clients[name].ask(*command) in (b"OK", b"QUEUED")
    reload(gate, after)
    assert refused(clients["queued"], "EXEC").startswith("EXECABORT")
    assert refused(clients["mixed"], "EXEC").startswith("EXECABORT")
    assert clients["watched"].cmd("EXEC") is None
    assert clients["watching"].cmd("MULTI") == b"OK"
    assert clients["watching"].cmd("SET", "A.T:x", "2") == b"QUEUED"
    assert clients["watching"].cmd("EXEC") is None
    assert clients["unmoved"].cmd("EXEC") == [b"OK"]
    assert clients["elsewhere"].cmd("EXEC") == [b"OK"]
    assert clients["begun"].cmd("SET", "A.T:x", "3") == b"QUEUED"
    assert clients["begun"].cmd("EXEC") == [b"OK"]
    assert stores[0].cmd("MGET", "A.T:x", "B.T:x") == [None, None]
    assert stores[1].cmd("GET", "A.T:x") == b"3"
    for name in ("queued", "watched", "watching"):
        client = clients[name]
        assert client.pipeline([("WATCH", "A.T:x"), ("MULTI",), ("SET", "A.T:x", name), ("EXEC",)])[-1] == [b"OK"]
    for client in clients.values():
        client.close()


def test_a_queued_command_that_the_user_lost_is_not_executed(gates: Gates, redis_server: RedisServer) -> None:
    base = redis("a", redis_server.url) + rules(A_T="a") + user("admin")
    gate = gates(base + user("app"))
    for change in ({"commands": '["+@all", "-set"]'}, {"namespaces": '["B.T"]'}):
        reload(gate, base + user("app"), user="admin", password="secret")
        with gate.client(user="app", password="secret") as client:
            client.cmd("MULTI")
            assert client.cmd("SET", "A.T:x", "1") == b"QUEUED"
            reload(gate, base + user("app", **change), user="admin", password="secret")
            assert refused(client, "EXEC").startswith("EXECABORT")
            assert redis_server.cmd("EXISTS", "A.T:x") == 0


def test_who_waits_or_listens_where_nothing_will_come_any_more_is_told(
    gates: Gates, stores: tuple[RedisServer, RedisServer]
) -> None:
    before, after = before_and_after(stores)
    gate = gates(before)
    names = ("pop", "read", "other", "subscriber", "other_subscriber", "pattern")
    clients = {name: gate.client() for name in names}
    clients["pop"].send("BLPOP", "A.T:list", "0")
    clients["read"].send("XREAD", "BLOCK", "0", "STREAMS", "A.T:stream", "$")
    clients["other"].send("BLPOP", "B.T:list", "0")
    clients["subscriber"].cmd("SUBSCRIBE", "A.T:channel")
    clients["other_subscriber"].cmd("SUBSCRIBE", "B.T:channel")
    clients["pattern"].cmd("PSUBSCRIBE", "A.T:*")
    wait_for(lambda: stores[0].cmd("CLIENT", "LIST").count(b"name=kvgate-own") >= 6, "all of them to wait")
    reload(gate, after)
    for name in ("pop", "read"):
        assert refused_later(clients[name]).startswith("TRYAGAIN not executed, may be sent again: the namespace was moved")
    assert clients["subscriber"].read_all() == b""
    assert clients["pattern"].read_all() == b""
    with gate.client() as client:
        client.cmd("RPUSH", "B.T:list", "1")
        client.cmd("PUBLISH", "B.T:channel", "hello")
        clients["pop"].send("BLPOP", "A.T:list", "0")
        wait_for(lambda: b"cmd=blpop" in stores[1].cmd("CLIENT", "LIST"), "it to wait on the new store")
        client.cmd("RPUSH", "A.T:list", "2")
    assert clients["other"].read() == [b"B.T:list", b"1"]
    assert clients["other_subscriber"].read() == [b"message", b"B.T:channel", b"hello"]
    assert clients["pop"].read() == [b"A.T:list", b"2"]
    for client in clients.values():
        client.close()


def test_a_pipeline_across_a_reload_is_answered_whole_and_in_order(
    gates: Gates, stores: tuple[RedisServer, RedisServer]
) -> None:
    before, after = before_and_after(stores)
    gate = gates(before)
    with gate.client(timeout=20) as client, gate.client() as other:
        gate.write_config(after)
        other.send("GATE", "RELOAD")
        client.send_raw(b"".join(frame("SET", f"{name}.T:{n}", n) + frame("ECHO", n) for n in range(5000) for name in "ABC"))
        got = client.read_raw(30_000)
        assert got == b"".join(b"+OK\r\n$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(5000) for _ in "ABC")
        assert other.read_one() == b"+OK\r\n"
        assert client.cmd("MGET", *(f"B.T:{n}" for n in range(5000))) == [b"%d" % n for n in range(5000)]
        here, there = stores[0].cmd("KEYS", "A.T:*"), stores[1].cmd("KEYS", "A.T:*")
    assert len(here) + len(there) == 5000
