"""The model answers as a real Redis does."""

import random

import pytest

from tests.linearizability.clients import told
from tests.linearizability.history import Operation
from tests.linearizability.redis_model import DOES, Model
from tests.support.servers import RedisServer

WORDS = """GET s|SET s 1|SET s two|SET s 3 GET|DEL s|GET n|INCR n|SET n 41|DEL n|HSET h f 1|HSET h g 2|HGET h f|HGET h x|
    HLEN h|HGETALL h|HINCRBY h c 1|HINCRBY h f 1|HDEL h f|HDEL h x|HDEL h g|DEL h""".split("|")  # noqa: SIM905 - readable so


@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_redis_does(module_redis: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    model = Model([b"s", b"n", b"h"])
    state = model.initial
    used = set()
    with module_redis.client() as client:
        client.cmd("FLUSHDB")
        for at in range(400):
            words = tuple(chance.choice(WORDS).encode().split())
            used.add(words[0])
            reply = told(words, client.ask(*words))
            after = model.step(state, Operation(0, (words,), at, at, (reply,)))
            assert after is not None, (words, reply, state)
            state = after
    assert used == set(DOES)
