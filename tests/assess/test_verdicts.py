"""Verdicts on prefixes and commands that are made up, on the types of backend that are installed."""

import attrs
import pytest

from kvgate.assess.commands import CONDITION, FINE, LACKING, OPERATOR, REFUSED, UNKNOWN, Use, uses
from kvgate.assess.prefixes import Prefix, group
from kvgate.assess.sample import Key, Sample
from kvgate.assess.server import Calls, Server
from kvgate.assess.stores import Store, store_of
from kvgate.assess.verdicts import Verdict, helpless, hopeless, judge, size
from kvgate.config import adapter

STORES = {kind: store_of(adapter(kind)) for kind in ("redis", "kvrocks", "lmdb", "tikv")}
EVERY = list(STORES.values())
KB = 1024


def prefix(kind: str | None, *lengths: int, name: bytes = b"A.B:1") -> Prefix:
    keys = [Key(name, kind, None, -1, 100, length) for length in lengths]
    (found,) = group(Sample(0, len(keys), keys, whole=True, fair=True), b":", 1)
    return found


def verdict(found: Prefix, kind: str, used: "list[Use] | None" = None, seen: "dict[str, int] | None" = None) -> Verdict:
    return judge(found, STORES[kind], used or [], seen)


def used(*names: str, cluster: bool = False, stores: "list[Store] | None" = None) -> dict[str, Use]:
    server = Server(cluster=cluster, commands={name: Calls(5) for name in names})
    return {use.name: use for use in uses(server, EVERY if stores is None else stores, EVERY)}


@pytest.mark.parametrize("kind", ["list", "set", "zset", "stream"])
def test_types_that_the_engines_lack(kind: str) -> None:
    found = prefix(kind, 1, 2)
    assert [verdict(found, store).works for store in ("redis", "kvrocks", "lmdb", "tikv")] == ["yes", "yes", "no", "no"]
    assert "all of the keys" in verdict(found, "lmdb").reasons[0]


def test_a_module_s_type_works_nowhere() -> None:
    found = prefix("ReJSON-RL", 1)
    judged = [(found, [verdict(found, store) for store in STORES])]
    assert {one.works for one in judged[0][1]} == {"no"}
    assert helpless(judged) == [found]


def test_types_that_could_not_be_read() -> None:
    assert verdict(prefix(None, 1), "lmdb").works == "?"


def test_versioned_keys() -> None:
    for kind in ("exstrtype", "tairhash-"):
        found = prefix(kind, 1)
        (redis,) = verdict(found, "redis").reasons
        (lmdb,) = verdict(found, "lmdb").reasons
        assert "versioned = true" in redis
        assert "versioned = true" not in lmdb
        assert {verdict(found, store).works for store in STORES} == {"if"}


@pytest.mark.parametrize(
    ("length", "works"),
    [
        (128 * KB, {"redis": "yes", "kvrocks": "yes", "lmdb": "yes", "tikv": "yes"}),
        (128 * KB + 1, {"redis": "yes", "kvrocks": "yes", "lmdb": "yes", "tikv": "if"}),
        (1024 * KB, {"redis": "yes", "kvrocks": "yes", "lmdb": "yes", "tikv": "if"}),
        (1024 * KB + 1, {"redis": "yes", "kvrocks": "yes", "lmdb": "yes", "tikv": "no"}),
        (16384 * KB + 1, {"redis": "yes", "kvrocks": "yes", "lmdb": "no", "tikv": "no"}),
        (65536 * KB + 1, {"redis": "if", "kvrocks": "if", "lmdb": "no", "tikv": "no"}),
    ],
)
def test_long_strings(length: int, works: dict[str, str]) -> None:
    found = prefix("string", 10, 10, 10, length)
    assert {store: verdict(found, store).works for store in STORES} == works
    for store, word in works.items():
        if word != "yes":
            assert "25.0 % of the strings are longer" in verdict(found, store).reasons[0]


def test_huge_hashes_on_tikv() -> None:
    assert verdict(prefix("hash", 10_000), "tikv").works == "yes"
    assert "may be refused" in verdict(prefix("hash", 10_001), "tikv").reasons[0]
    assert "more than 100,000 are refused" in verdict(prefix("hash", 100_001), "tikv").reasons[0]
    assert verdict(prefix("hash", 100_001), "lmdb").works == "yes"


def test_commands_that_a_store_lacks() -> None:
    found = list(used("pfadd", "get", "geoadd").values())
    strings, hashes = prefix("string", 1), prefix("hash", 1)
    assert verdict(strings, "lmdb", found) == Verdict(
        "lmdb", "if", ("PFADD, which the server has run, is not used on these strings",)
    )
    assert verdict(hashes, "lmdb", found).works == "yes"
    assert verdict(strings, "redis", found).works == "yes"
    assert verdict(strings, "lmdb", found, {"get": 3}).works == "if"
    watched = verdict(strings, "lmdb", found, {"get": 3, "pfadd": 1})
    assert (watched.works, len(watched.reasons)) == ("no", 1)
    assert "PFADD" in watched.reasons[0]


def test_each_kind_of_command() -> None:
    found = used(
        "get", "hset", "ping", "config|set", "psync", "memory|usage", "replicaof",
        "client|tracking", "swapdb", "move", "migrate",
        "json.get", "lpush", "eval", "subscribe", "brpoplpush",
        "sinterstore", "mset", "sort", "blpop", "select", "keys", "flushall", "exec", "exhset",
        "cluster|slots", "config", "command",
    )  # fmt: skip
    by_status: dict[str, set[str]] = {}
    for use in found.values():
        by_status.setdefault(use.status, set()).add(use.name)
    assert by_status == {
        FINE: {"get", "hset", "ping", "cluster|slots", "command"},
        OPERATOR: {"config|set", "psync", "memory|usage", "replicaof"},
        REFUSED: {"client|tracking", "swapdb", "move", "migrate"},
        UNKNOWN: {"json.get"},
        LACKING: {"lpush", "eval", "subscribe", "brpoplpush", "sinterstore", "sort", "blpop"},
        CONDITION: {"mset", "select", "keys", "flushall", "exec", "exhset", "config"},
    }
    assert found["lpush"].lacking == ("lmdb", "tikv")
    assert found["lpush"].note == "Keep its keys on redis or kvrocks"
    assert "kvrocks" in found["brpoplpush"].lacking
    assert "allowed_scripts" in found["eval"].note
    assert "CROSSSLOT" in found["sinterstore"].note
    assert "Not atomic" in found["mset"].note
    assert '"+sort"' in found["sort"].note
    assert "own_connections" in found["blpop"].note
    assert "versioned = true" in found["exhset"].note
    assert found["client|tracking"].note == "client-side caching is not offered yet"
    assert {use.name for use in hopeless(list(found.values()), EVERY)} == by_status[REFUSED] | by_status[UNKNOWN]
    of_cluster = used("cluster|slots", "cluster|addslots", cluster=True)
    assert [use.status for use in of_cluster.values()] == [REFUSED, OPERATOR]


def test_one_type_only() -> None:
    lmdb = [STORES["lmdb"]]
    found = used("lpush", "get", stores=lmdb)
    assert (found["lpush"].status, found["lpush"].lacking) == (LACKING, ("lmdb",))
    assert found["lpush"].note == "Keep its keys on redis or kvrocks"
    assert [use.name for use in hopeless(list(found.values()), lmdb)] == ["lpush"]


def test_commands_that_only_failed_are_left_out() -> None:
    server = Server(commands={"lpush": Calls(0, failed=5), "get": Calls(1)})
    assert [use.name for use in uses(server, EVERY, EVERY)] == ["get"]


def test_another_adapter_s_limits_are_asked_for() -> None:
    tiny = attrs.evolve(STORES["redis"], type="tiny", max_value=None, largest_value=None)
    assert judge(prefix("string", 1 << 40), tiny, [], None).works == "yes"


def test_sizes_for_people() -> None:
    assert [size(number) for number in (0, 1023, 1024, 1536, 128 << 10, 150_000, 16 << 20, 1 << 50)] == [
        "0 B", "1023 B", "1 KB", "1.5 KB", "128 KB", "146 KB", "16 MB", "1024 TB",
    ]  # fmt: skip
