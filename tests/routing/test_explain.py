"""Where a key goes, and why a command would be refused."""

from pathlib import Path

import pytest

from kvgate.commands.table import by_full_name
from kvgate.policy.users import User
from kvgate.routing.endpoints import parse_resp_store
from kvgate.routing.explain import NO_PERMISSION, UNAVAILABLE, UNSUPPORTED, explain, refused_commands
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate.routing.slots import crc32_slot
from tests.routing.stores import Embedded, Passing

ALL_DATA = frozenset({"string", "hash", "generic", "expire", "list", "script", "stream", "set", "zset"})
GROUPS = {"0-511": "redis://u:secret@127.0.0.1:7001", "512-1023": "redis://u:secret@127.0.0.1:7002"}
BACKENDS = {
    "profile": Passing("profile", parse_resp_store({"groups": GROUPS}, Path("/")), ALL_DATA),
    "cache": Passing("cache", parse_resp_store({"url": "redis://:secret@h:1/2"}, Path("/")), ALL_DATA),
    "local": Embedded("local", frozenset({"string"})),
}
NAMESPACES = Namespaces(
    Namespace(name=name, rule=name, backend=backend)
    for name, backend in {"Ads.Profile": "profile", "Ads.*": "cache", "Own.Data": "local"}.items()
)
ADS = User(name="ads", namespaces=("Ads.*",))
READER = User(name="reader", read_only=("Ads.*",))
NO_KEY = "NOPERM this user has no permissions to access one of the keys used as arguments"


def test_a_key_on_slots() -> None:
    slot = crc32_slot(1024)(b"tag")
    port = 7001 if slot < 512 else 7002
    assert explain(b"Ads.Profile:{tag}x", NAMESPACES, BACKENDS).pairs() == [
        ("key", "Ads.Profile:{tag}x"),
        ("namespace", "Ads.Profile"),
        ("rule", "Ads.Profile"),
        ("backend", "profile (redis)"),
        ("slot", f"{slot} of 1024"),
        ("upstream", f"redis://127.0.0.1:{port}/0"),
    ]


def test_keys_are_found_on_both_shards() -> None:
    upstreams = {explain(b"Ads.Profile:%d" % n, NAMESPACES, BACKENDS).upstream for n in range(50)}
    assert upstreams == {"redis://127.0.0.1:7001/0", "redis://127.0.0.1:7002/0"}


def test_a_key_on_one_store_and_in_the_gate_itself() -> None:
    assert explain(b"Ads.X\xff:1", NAMESPACES, BACKENDS).pairs()[-1] == ("upstream", "redis://h:1/2")
    assert explain(b"Own.Data:1", NAMESPACES, BACKENDS).pairs() == [
        ("key", "Own.Data:1"),
        ("namespace", "Own.Data"),
        ("rule", "Own.Data"),
        ("backend", "local (lmdb)"),
    ]


def test_a_key_without_a_namespace() -> None:
    found = explain(b"plain", NAMESPACES, BACKENDS)
    assert [name for name, _ in found.pairs()] == ["key", "refused"]
    assert found.refusal.startswith("NONAMESPACE ")


@pytest.mark.parametrize(
    ("key", "user", "command", "refusal"),
    [
        (b"Ads.X:1", ADS, None, ""),
        (b"Ads.X:1", ADS, "get", ""),
        (b"Own.Data:1", ADS, None, "NOPERM this user has no permissions to access one of the keys used as arguments"),
        (b"Own.Data:1", ADS, "get", "NOPERM this user has no permissions to access one of the keys used as arguments"),
        (b"Ads.X:1", ADS, "sort", "NOPERM this user has no permissions to run the 'sort' command"),
        (b"Ads.X:1", None, "sort", ""),
        (b"Ads.X:1", READER, None, ""),
        *((b"Ads.X:1", READER, command, "") for command in ("get", "copy", "sinterstore", "eval_ro", "xread")),
        *((b"Ads.X:1", READER, command, NO_KEY) for command in ("set", "getex", "del", "rename", "xreadgroup", "eval")),
        (
            b"Own.Data:1",
            None,
            "hget",
            "ERR command 'hget' is not supported by backend 'local' (lmdb); see 'kvgate commands --backend lmdb'",
        ),
        (b"Ads.X:1", None, "asking", "ERR This instance has cluster support disabled"),
    ],
)
def test_refusals(key: bytes, user: User | None, command: str | None, refusal: str) -> None:
    spec = by_full_name(command.encode()) if command else None
    assert (spec is None) is (command is None)
    assert explain(key, NAMESPACES, BACKENDS, user, spec).refusal == refusal


def test_a_command_that_is_never_forwarded_says_why() -> None:
    refusal = explain(b"Ads.X:1", NAMESPACES, BACKENDS, None, by_full_name(b"migrate")).refusal
    assert refusal.startswith("ERR command 'migrate' is not available through the gate: ")
    assert len(refusal) > 60


def test_all_refused_commands_by_reason() -> None:
    ads_x = NAMESPACES.of(b"Ads.X:1")
    own = NAMESPACES.of(b"Own.Data:1")
    assert ads_x is not None
    assert own is not None
    for_ads = refused_commands(ads_x, BACKENDS["cache"], ADS)
    assert {"sort", "sort_ro", "restore"} <= set(for_ads[NO_PERMISSION])
    assert "bitcount" in for_ads[UNSUPPORTED]
    assert "get" not in [name for names in for_ads.values() for name in names]
    for_all = refused_commands(own, BACKENDS["local"], None)
    assert NO_PERMISSION not in for_all
    assert "migrate" in for_all[UNAVAILABLE]
    assert "hget" in for_all[UNSUPPORTED]
    assert "getrange" not in for_all[UNSUPPORTED]
