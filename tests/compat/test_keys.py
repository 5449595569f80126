"""The pools of keys: what they stand for, and that a search meets exactly their keys."""

import pytest

from kvgate.routing.slots import crc32_slot, hash_text
from kvgate_compat.keys import ALL, NAMESPACE, NAMESPACES, PLAIN, SHARDS, TAG, Keys
from kvgate_compat.pair import Difference, Tally
from kvgate_compat.pools import KEYS
from kvgate_compat.search import Plan, search
from kvgate_compat.words import Key, Option, Payload, Request
from tests.support.servers import RedisServers


def test_a_request_is_put_on_other_keys() -> None:
    request = Request("RESTORE", (Option(b"RESTORE"), Key(b"b"), b"a", Payload(b"a", "cut")))
    moved = Request("RESTORE", (Option(b"RESTORE"), Key(b"y"), b"a", Payload(b"x", "cut")))
    assert Keys("few", (b"x", b"y")).put(request) == moved
    assert isinstance(Keys("few", (b"x", b"y")).put(request).args[1], Key)
    assert PLAIN.put(request) == request
    for pool in ALL:
        assert len(set(pool.names)) == len(pool.names) >= 2, pool.title
        assert {pool.key(key) for key in KEYS} <= set(pool.names)


def test_what_the_pools_stand_for() -> None:
    assert all(name.startswith(b"Ads.T:") for name in NAMESPACE.names)
    assert {name.partition(b":")[0] for name in NAMESPACES.names} >= {b"Ads.T", b"Ads.U", b"Shop.C", b"a"}
    by_crc32 = crc32_slot(1024)

    def slot(name: bytes) -> int:
        return by_crc32(hash_text(name))

    assert len({slot(name) for name in TAG.names}) == 1
    halves = [slot(name) // 512 for name in SHARDS.names]
    assert halves[:2] == [1, 0]
    assert 3 <= sum(halves) <= 5


@pytest.mark.parametrize("keys", [NAMESPACES, Keys("two", (b"x", b"y"))], ids=lambda keys: keys.title)
def test_a_search_on_other_keys(redis_servers: RedisServers, keys: Keys) -> None:
    odd = redis_servers(config=["--maxmemory-policy", "allkeys-lfu"]).url
    seen: list[Difference] = []
    wanted = Plan(("SET", "OBJECT|FREQ"), {}, transactions=True)
    search(odd, redis_servers().url, wanted, Tally(), proto=2, examples=20, first_seed=1, keys=keys, tell=seen.append)
    (difference,) = seen
    name = difference.dialogue[-1].split()[-1].encode()
    assert name in keys.names
