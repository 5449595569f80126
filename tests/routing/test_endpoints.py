"""Store URLs and the options of a RESP store."""

from pathlib import Path
from typing import Any

import pytest

from kvgate.backend import Endpoint
from kvgate.errors import ConfigurationError
from kvgate.routing.endpoints import parse_resp_store, parse_url

BASE = Path("/etc/kvgate")
TWO = {"0-511": "redis://127.0.0.1:7001", "512-1023": "redis://127.0.0.1:7002"}


def mistakes_of(options: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_resp_store(options, BASE)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("redis://h", Endpoint("redis://h:6379/0", "h", 6379)),
        ("redis://h:1/", Endpoint("redis://h:1/0", "h", 1)),
        ("redis://h:1/3", Endpoint("redis://h:1/3", "h", 1, database=3)),
        ("redis://h?db=3", Endpoint("redis://h:6379/3", "h", 6379, database=3)),
        ("rediss://h:1", Endpoint("rediss://h:1/0", "h", 1, tls=True)),
        ("redis://[::1]:7/2", Endpoint("redis://[::1]:7/2", "::1", 7, database=2)),
        ("redis://u:p@h:1", Endpoint("redis://h:1/0", "h", 1, user="u", password="p")),
        ("redis://:p@h:1", Endpoint("redis://h:1/0", "h", 1, password="p")),
        ("redis://u%40x:p%2F%3A%25@h:1", Endpoint("redis://h:1/0", "h", 1, user="u@x", password="p/:%")),
        ("unix:///run/redis.sock", Endpoint("unix:///run/redis.sock", path="/run/redis.sock")),
        (
            "unix://u:p@/run/a%20b.sock?db=2",
            Endpoint("unix:///run/a%20b.sock?db=2", path="/run/a b.sock", database=2, user="u", password="p"),
        ),
    ],
)
def test_urls(url: str, endpoint: Endpoint) -> None:
    assert parse_url(url) == endpoint
    assert endpoint.password == "" or endpoint.password not in endpoint.url


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "no scheme"),
        ("127.0.0.1:6379", "no scheme"),
        ("http://h", '"http://" is unknown'),
        ("redis://", "no host"),
        ("redis:///1", "no host"),
        ("redis://h:x", "no URL"),
        ("redis://h:65536", "no URL"),
        ("redis://h:0", "port 0"),
        ("redis://[::1", "no URL"),
        ("redis://h/x", "must be a number"),
        ("redis://h/1?db=2", "twice"),
        ("redis://h?timeout=3", '"\\?timeout=" is unknown'),
        ("redis://h#x", "%23"),
        ("unix://run/redis.sock", "absolute"),
        ("unix://", "absolute"),
    ],
)
def test_no_urls(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_url(url)


@pytest.mark.parametrize("url", ["redis://u:hunter2@h:x", "redis://u:hunter2@h/x", "http://u:hunter2@h", "redis://u:hunter2@"])
def test_mistakes_do_not_quote_passwords(url: str) -> None:
    assert not any("hunter2" in mistake for mistake in mistakes_of({"url": url}))


def test_one_url_is_one_shard() -> None:
    topology = parse_resp_store({"url": "redis://h:1", "password": "p", "user": "u"}, BASE)
    assert topology.shards == (Endpoint("redis://h:1/0", "h", 1, user="u", password="p"),)
    assert topology.slots == (0,)


def test_files_are_relative_to_the_configuration() -> None:
    topology = parse_resp_store(
        {
            "url": "rediss://h:1",
            "password_file": "store.password",
            "tls_ca": "/abs/ca.pem",
            "tls_cert": "c.pem",
            "tls_key": "k.pem",
            "tls_server_name": "store",
        },
        BASE,
    )
    endpoint = topology.shards[0]
    assert endpoint.password_file == BASE / "store.password"
    assert endpoint.tls_ca == Path("/abs/ca.pem")
    assert (endpoint.tls_cert, endpoint.tls_key) == (BASE / "c.pem", BASE / "k.pem")
    assert endpoint.tls_server_name == "store"


def test_groups_are_spread_over_the_slots() -> None:
    topology = parse_resp_store({"groups": TWO, "user": "u"}, BASE)
    assert [shard.port for shard in topology.shards] == [7001, 7002]
    assert [shard.user for shard in topology.shards] == ["u", "u"]
    assert topology.slots == (0,) * 512 + (1,) * 512
    assert topology.slot_of(b"123456789") == 0xCBF43926 % 1024


def test_slots_are_configurable_and_a_master_may_have_two_ranges() -> None:
    groups = {"0": "redis://a", "1": "redis://b", "2-3": "redis://a"}
    topology = parse_resp_store({"groups": groups, "slots": 4, "hash": "crc32"}, BASE)
    assert len(topology.shards) == 2
    assert topology.slots == (0, 1, 0, 0)


def test_one_master_for_all_slots_is_one_shard() -> None:
    topology = parse_resp_store({"groups": {"0-1023": "redis://a"}}, BASE)
    assert topology.slots == (0,)


def test_rename_is_kept_in_upper_case() -> None:
    assert parse_resp_store({"url": "redis://h", "rename": {"flushall": "x-Flush"}}, BASE).rename == {"FLUSHALL": "x-Flush"}


def test_an_adapter_s_own_keys_are_left_to_it() -> None:
    topology = parse_resp_store({"url": "redis://h", "mine": 1}, BASE, extra=("mine",), resp3=False)
    assert not topology.shards[0].resp3


def test_every_mistake_of_a_table_is_told_at_once() -> None:
    assert mistakes_of(
        {
            "urll": "redis://h",
            "slots": 0,
            "hash": "crc16",
            "groups": {"0-9": "redis://a", "5-x": "redis://b", "900-1023": 7},
            "tls_cert": "c.pem",
            "rename": {"FLUSHAL": "x", "GET": "", "CONFIG|SET": "y"},
        }
    ) == [
        "tls_cert: tls_cert and tls_key go together",
        'rename.FLUSHAL: there is no such command (did you mean "FLUSHALL"?)',
        "rename.GET: must be the command's name on the store, in quotes, without spaces",
        'rename."CONFIG|SET": Redis renames whole commands only, no subcommands',
        'hash: "crc16" is none of crc32 (did you mean "crc32"?)',
        "slots: must be a whole number of at least 1, at most 65536",
        "groups.0-9: tls_… options need TLS: write rediss://",
        "groups.5-x: tls_… options need TLS: write rediss://",
        'groups.900-1023: must be a URL in quotes: "redis://host:port/db"',
        'groups.5-x: a slot range is written "0-511", or "7" for one slot',
        "groups: no group has slots 10-899",
        'urll: unknown key (did you mean "url"?)',
    ]


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ({}, 'needs url = "redis://host:port/db", or [….groups] with slot ranges'),
        ({"groups": {}}, 'groups: no group has slots 0-1023: "0-1023" = "redis://host:port"'),
        ({"groups": 3}, "groups: must be a table: [groups]"),
        ({"url": 3}, 'url: must be a URL in quotes: "redis://host:port/db"'),
        ({"url": "redis://h", "slots": 4}, "slots: belongs to a backend with [….groups]; this one has a url"),
        ({"url": "redis://h", "groups": TWO}, "groups: belongs to a backend with [….groups]; this one has a url"),
        (
            {"url": "redis://:a@h", "password_file": "x"},
            "url: the URL has a password, and there is a password_file: keep one of them",
        ),
        (
            {"url": "redis://u:a@h", "user": "v"},
            "url: the URL has a user, and the option user says another: keep one of them",
        ),
        (
            {"url": "redis://h", "password": "a", "password_file": "x"},
            "password: given together with password_file: keep one of them",
        ),
        ({"url": "redis://h", "tls_ca": "x"}, "url: tls_… options need TLS: write rediss://"),
        ({"url": "rediss://h", "tls_key": "x"}, "tls_key: tls_cert and tls_key go together"),
        ({"url": "redis://h", "pasword": "x"}, 'pasword: unknown key (did you mean "password"?)'),
    ],
)
def test_single_mistakes(options: dict[str, Any], mistake: str) -> None:
    assert mistakes_of(options) == [mistake]


def test_overlaps_and_gaps_name_the_ranges() -> None:
    groups = {"0-600": "redis://a", "512-1000": "redis://b"}
    assert mistakes_of({"groups": groups}) == [
        'groups.512-1000: slots 512-600 are in "0-600" too',
        "groups: no group has slots 1001-1023",
    ]
