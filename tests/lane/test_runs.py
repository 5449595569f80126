"""Runs of simple commands that the lane hands to a backend by one call: what is in them, their order, where they end."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvgate.lane import native
from kvgate.lane.client import Client
from kvgate.lane.machine import MOST_ABOVE
from kvgate.lane.slots import PendingRun
from kvgate.metrics.ledger import Account
from kvgate.policy.compiled import NO_COLON, Route, Toll
from kvgate.wire.request import encode_request
from tests.lane.twins import both, seen, slots
from tests.lane.world import World

HEADS = {
    b"*2\r\n$3\r\nGET": (0, True, True),
    b"*2\r\n$3\r\nget": (0, True, True),
    b"*3\r\n$3\r\nSET": (1, False, True),
    b"*4\r\n$4\r\nHSET": (2, False, True),
    b"*2\r\n$4\r\nINCR": (0, False, False),
    b"*3\r\n$6\r\nAPPEND": (1, False, False),
}
"""How requests begin → the arguments behind their key, whether they read, whether runs of them are taken."""


class Store(World):
    """A world with a backend that executes the commands of the namespace L."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[tuple[Any, ...]] = []
        self.stalls = ""  # the name of the command that has its client wait for its turn
        self.local_route = Route(
            None, {}, self.route.accounts, max_key=self.max_key, max_value=8192, tables=(), slot_of=len, local=self.local
        )
        for head, (more, readonly, runs) in HEADS.items():
            name = head[head.rfind(b"\n") + 1 :].decode()
            self.local_route.learn(head, more, readonly=readonly, spec=name, run=self.run if runs else None)
        self.routes[b"L"] = self.local_route
        self.routes[NO_COLON] = self.local_route

    def local(self, client: Client, spec: Any, args: list[bytes], frame: bytes, now: float, account: Any) -> None:
        self.seen.append(("one", client.id, spec, args, frame, now, account.command))
        self._answer(client, spec, 1)

    def run(
        self, client: Client, spec: Any, words: list[bytes], count: int, size: int, now: float, account: Any, rest: int
    ) -> None:
        self.seen.append(("run", client.id, spec, list(words), count, size, now, account.command, rest))
        words.clear()  # they are the function's to keep
        self._answer(client, spec, count)

    def _answer(self, client: Client, spec: Any, count: int) -> None:
        if spec == self.stalls:
            self.lane.alone(client, lambda: self.tasks.append(lambda: self.lane.done(client, b"+done\r\n" * count)))
        else:
            self.lane.reply(client, b"+%b\r\n" % spec.encode() * count)


def runs(store: Store) -> list[tuple[Any, ...]]:
    """What was seen: of runs the name, words and count, of others the arguments."""
    return [(each[2], each[3], each[4]) if each[0] == "run" else (each[2], each[3]) for each in store.seen]


def test_what_follows_one_another_is_one_run() -> None:
    store = Store()
    client = store.client()
    get, put = encode_request([b"GET", b"L:a"]), encode_request([b"SET", b"L:b", b"v"])
    field = encode_request([b"HSET", b"L:h", b"f", b"v"])
    small = encode_request([b"get", b"L:c"])
    store.feed(client, get * 3 + put + put + field + small + get)
    assert runs(store) == [
        ("GET", [b"L:a"] * 3, 3),
        ("SET", [b"L:b", b"v"] * 2, 2),
        ("HSET", [b"L:h", b"f", b"v"], 1),
        ("get", [b"L:c"], 1),
        ("GET", [b"L:a"], 1),
    ]
    assert [each[5] for each in store.seen] == [3 * len(get), 2 * len(put), len(field), len(small), len(get)]
    assert [each[7] for each in store.seen] == ["get", "set", "hset", "get", "get"]
    behind = (put * 2 + field + small + get, field + small + get, small + get, get, b"")
    assert [each[8] for each in store.seen] == [len(each) for each in behind]
    said = [b"GET"] * 3 + [b"SET"] * 2 + [b"HSET", b"get", b"GET"]
    assert store.said[client.id].raw == b"".join(b"+%b\r\n" % word for word in said)


def test_keys_of_one_route_are_one_run() -> None:
    store = Store()
    client = store.client()
    keys = [b"L:a", b"plain", b"L:bcd", b"another one"]
    store.feed(client, b"".join(encode_request([b"GET", key]) for key in keys))
    assert runs(store) == [("GET", keys, 4)]


def test_a_run_ends_before_whatever_else_comes() -> None:
    store = Store()
    client = store.client()
    put = encode_request([b"SET", b"L:a", b"v"])
    other = encode_request([b"INCR", b"L:n"])  # executed one by one
    asked = encode_request([b"PING"])  # above the lane
    far = encode_request([b"SET", b"t:k", b"v"])  # forwarded
    store.feed(client, far)
    store.run_to_the_end()
    before = len(store.said[client.id].raw)
    store.feed(client, put + other + put + asked + put + far + put + put)
    store.run_to_the_end()
    assert runs(store) == [
        ("SET", [b"L:a", b"v"], 1),
        ("INCR", [b"INCR", b"L:n"]),
        ("SET", [b"L:a", b"v"], 1),
        ("SET", [b"L:a", b"v"], 1),
        ("SET", [b"L:a", b"v"] * 2, 2),
    ]
    assert store.said[client.id].raw[before:] == (b"+SET\r\n+INCR\r\n+SET\r\n$4\r\nPING\r\n+SET\r\n+OK\r\n+SET\r\n+SET\r\n")


def test_a_run_has_no_more_than_others_wait_for() -> None:
    store = Store()
    client = store.client()
    get = encode_request([b"GET", b"L:a"])
    store.lane.feed(client, get * (2 * MOST_ABOVE + 5), store.now)
    assert [each[4] for each in store.seen] == [MOST_ABOVE]
    assert client.backlog_size == (MOST_ABOVE + 5) * len(get)
    store.settle()
    assert [each[4] for each in store.seen] == [MOST_ABOVE, MOST_ABOVE, 5]
    assert [each[8] for each in store.seen] == [len(get) * (MOST_ABOVE + 5), len(get) * 5, 0]
    assert store.said[client.id].raw == b"+GET\r\n" * (2 * MOST_ABOVE + 5)


@pytest.mark.parametrize("behind", [[b"SET", b"L:b", b"v"], [b"INCR", b"L:n"], [b"PING"], [b"SET", b"t:k", b"v"]])
def test_what_follows_a_run_that_stalls_its_client_waits(behind: list[bytes]) -> None:
    store = Store()
    client = store.client()
    store.feed(client, encode_request([b"SET", b"t:k", b"v"]))
    store.run_to_the_end()
    before = len(store.said[client.id].raw)
    store.stalls = "GET"
    store.feed(client, encode_request([b"GET", b"L:a"]) * 2 + encode_request(behind))
    assert runs(store) == [("GET", [b"L:a"] * 2, 2)]
    assert client.backlog_size == len(encode_request(behind))
    store.run_to_the_end()
    last = {b"INCR": b"+INCR\r\n", b"PING": b"$4\r\nPING\r\n"}.get(behind[0], b"+SET\r\n" if b"L:b" in behind else b"+OK\r\n")
    assert store.said[client.id].raw[before:] == b"+done\r\n+done\r\n" + last


def test_a_run_pays_for_each_of_its_commands() -> None:
    store = Store()
    client = store.client()
    get = encode_request([b"GET", b"L:a"])
    toll = Toll(3, 10_000)
    store.local_route.tolls = (None, toll)
    store.feed(client, get * 5)
    assert (toll.commands, toll.bytes) == (0, 10_000 - 3 * len(get))
    assert runs(store) == [("GET", [b"L:a"] * 3, 3)]
    assert store.asked == 1  # the next one is decided above, which teaches the lane another route here


def test_a_learned_command_without_runs_is_taken_one_by_one_again() -> None:
    store = Store()
    client = store.client()
    store.local_route.learn(b"*2\r\n$3\r\nGET", 0, readonly=True, spec="GET")
    store.feed(client, encode_request([b"GET", b"L:a"]) * 2)
    assert runs(store) == [("GET", [b"GET", b"L:a"])] * 2


def test_a_client_with_a_prefix_gives_whole_keys() -> None:
    store = Store()
    client = store.client()
    client.prefix = b"L:"
    frames = encode_request([b"SET", b"a", b"v"]) + encode_request([b"SET", b"bc", b"w"]) + encode_request([b"GET", b"a"])
    store.feed(client, frames)
    assert runs(store) == [("SET", [b"L:a", b"v", b"L:bc", b"w"], 2), ("GET", [b"L:a"], 1)]
    assert store.seen[1][5] == len(encode_request([b"GET", b"L:a"]))


@pytest.mark.skipif(not native.BUILT, reason="kvgate.lane._native is not built (no C compiler?)")
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_both_paths_gather_the_same(seed: int) -> None:
    found = []
    for in_c in (True, False):
        rng = random.Random(seed)
        store = Store(quick=rng.choice((60, 8192)))
        store.lane.in_c = in_c
        client = store.client()
        store.stalls = rng.choice(("", "", "GET", "HSET"))
        if rng.random() < 0.3:
            store.local_route.tolls = (Toll(rng.randrange(20), 1 << 20), Toll(20, rng.randrange(600)))
        if rng.random() < 0.2:
            client.depth = rng.randrange(1, 6)
        stream = b"".join(
            encode_request(request) * rng.choice((1, 1, 2, 7, 150 if rng.random() < 0.05 else 3))
            for request in (
                rng.choice(
                    (
                        [b"GET", b"L:a"], [b"get", b"plain"], [b"SET", b"L:k", bytes(rng.choice((0, 3, 80)))],
                        [b"HSET", b"L:h", b"f", b"v"], [b"PING"], [b"SET", b"t:k", b"v"], [b"TASK", b"x"], [b"GET", b"L:"],
                        [b"SLOW", b"x"], [b"INCR", b"L:n"],
                    )
                )
                for _ in range(rng.randrange(12))
            )
        )  # fmt: skip
        cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(4)))
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            if start < end:
                store.feed(client, stream[start:end])
        store.run_to_the_end()
        tolls = [(toll.commands, toll.bytes) for toll in store.local_route.tolls or () if toll is not None]
        found.append((store.seen, store.said[client.id].raw, store.asked, tolls, client.backlog_size, len(client.queue)))
    assert found[0] == found[1]


class Later(Store):
    """A world whose backend answers runs later."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.runs: list[PendingRun] = []
        self.counted: Account | None = None  # in whose place runs are counted

    def run(
        self, client: Client, spec: Any, words: list[bytes], count: int, size: int, now: float, account: Any, rest: int
    ) -> None:
        del spec, words, rest
        run = PendingRun(client, now, size, count, self.counted or account)
        self.lane.pending_run(client, run)
        self.runs.append(run)

    def answer(self, at: int) -> None:
        """Answer one of the runs that wait."""
        run = self.runs.pop(at)
        self.lane.answer(run, b"+%d\r\n" % run.count * run.count, self.now)


SET, GET, INCR = encode_request([b"SET", b"L:a", b"v"]), encode_request([b"GET", b"L:a"]), encode_request([b"INCR", b"L:n"])
FAR = encode_request([b"SET", b"t:k", b"v"])


def counters(account: Account) -> tuple[int, int, int, int, int]:
    return account.calls, account.errors, account.misses, account.bytes_in, account.bytes_out


def test_a_run_is_counted_as_all_of_its_commands_and_written_when_it_is_its_turn() -> None:
    store = Later()
    client = store.client()
    store.feed(client, SET * 3 + GET * 2)
    assert client.inflight == 5
    store.now += 0.5
    store.answer(1)
    store.settle()
    assert store.said[client.id].raw == b""
    assert client.held == 8
    store.answer(0)
    store.settle()
    assert store.said[client.id].raw == b"+3\r\n" * 3 + b"+2\r\n" * 2
    store.check_rest()
    accounts = {account.command: account for account in store.ledger if account.calls}
    assert counters(accounts["set"]) == (3, 0, 0, 3 * len(SET), 12)
    assert counters(accounts["get"]) == (2, 0, 0, 2 * len(GET), 8)
    assert accounts["set"].seconds == pytest.approx(1.5)
    assert sum(accounts["set"].buckets) == accounts["set"].buckets[19] == 3


def test_a_run_and_what_is_forwarded_are_answered_in_their_order() -> None:
    store = Later()
    client = store.client()
    store.feed(client, FAR)
    store.run_to_the_end()
    before = len(store.said[client.id].raw)
    store.feed(client, SET + FAR + SET + INCR)
    store.run_to_the_end()
    assert store.said[client.id].raw[before:] == b""
    store.answer(0)
    store.settle()
    assert store.said[client.id].raw[before:] == b"+1\r\n+OK\r\n"
    store.answer(0)
    store.settle()
    assert store.said[client.id].raw[before:] == b"+1\r\n+OK\r\n+1\r\n+INCR\r\n"
    store.check_rest()


def test_a_run_of_a_client_that_left_is_counted_only() -> None:
    store = Later()
    client = store.client()
    store.feed(client, SET * 2)
    store.leave(client)
    store.answer(0)
    store.settle()
    assert store.said[client.id].raw == b""
    (account,) = (account for account in store.ledger if account.calls)
    assert account.calls == 2
    store.check_rest()


def test_a_client_goes_on_after_its_last_run() -> None:
    """One waits to run a command alone, one to be closed, one has more to be looked at."""
    store = Later()
    alone, ended, more = store.client(), store.client(), store.client()
    store.feed(alone, SET + encode_request([b"SLOW", b"x"]))
    store.feed(ended, SET)
    store.lane.ended(ended)
    more.depth = 1
    store.feed(more, SET * 2)
    assert len(store.runs) == 3
    while store.runs:
        store.answer(0)
        store.settle()
    store.run_to_the_end()
    assert store.said[alone.id].raw == b"+1\r\n$6\r\nslow x\r\n"
    assert store.said[ended.id].closed
    assert store.said[more.id].raw == b"+1\r\n" * 2
    store.check_rest()


def test_a_run_that_is_followed_tells_its_own_account() -> None:
    class Followed(Account):
        def note(self, *numbers: Any, **named: Any) -> None:
            told.append(numbers)
            super().note(*numbers, **named)

    told: list[tuple[Any, ...]] = []
    store = Later()
    store.counted = Followed("T.x", "set", readonly=False)
    client = store.client()
    store.feed(client, SET * 2)
    store.answer(0)
    assert told == [(2, 0.0, 0, 0, 2 * len(SET), 8)]
    assert store.counted.calls == 2
    assert client.out == [b"+2\r\n" * 2]


@pytest.mark.skipif(not native.BUILT, reason="kvgate.lane._native is not built (no C compiler?)")
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_both_paths_answer_the_same(seed: int) -> None:
    looks: list[list[Any]] = []

    def run() -> World:
        rng = random.Random(seed)
        store = Later()
        store.feed(store.client(), FAR)  # the lane learns it
        store.run_to_the_end()
        clients = [store.client() for _ in range(2)]
        looks.append([])
        for _ in range(rng.randrange(1, 40)):
            client = rng.choice(clients)
            kind = rng.randrange(20)
            if kind < 9:
                words = rng.choice((SET, SET * 3, GET, FAR, INCR, encode_request([b"TASK", b"x"]), SET + FAR + GET + SET))
                store.feed(client, words)
            elif kind == 9:
                store.feed(client, encode_request([b"SLOW", b"x"]))
            elif kind == 10 and not client.closed:
                store.leave(client)
            elif kind == 11 and not client.closed:
                store.lane.ended(client)
                store.settle()
            elif kind == 12:
                store.run_to_the_end()
            elif store.runs:
                store.now += rng.choice((0.0, 0.001, 20.0))
                store.answer(rng.randrange(len(store.runs)))
                looks[-1].append([slots(client.queue) for client in clients])
                looks[-1].append(seen(store))
                store.settle()
        while store.runs:
            store.answer(rng.randrange(len(store.runs)))
            store.settle()
        store.run_to_the_end()
        while store.runs:  # of what a client sent behind a command that ran alone
            store.answer(0)
            store.settle()
            store.run_to_the_end()
        store.check_rest()
        return store

    both(run)
    assert looks[0] == looks[1]
