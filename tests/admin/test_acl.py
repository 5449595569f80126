"""ACL WHOAMI, CAT and GENPASS, beyond what the comparison with a real server shows."""

import re

import pytest

from kvgate.commands.table import CATEGORIES, OWN_CATEGORIES, REDIS_CATEGORIES
from kvgate.lane.client import Client
from kvgate.policy.passwords import hash_password
from kvgate.wire.reply import Simple, decode
from tests.admin.rooms import SECRETS, Room
from tests.support.additions import NOT_IN_REDIS
from tests.support.servers import RedisServer

ADDED = {name.lower().encode() for name in NOT_IN_REDIS}


@pytest.mark.parametrize("category", [name[1:] for name in REDIS_CATEGORIES])
def test_a_category_holds_what_it_holds_in_redis(open_gate: Room, module_redis: RedisServer, category: str) -> None:
    told = decode(open_gate.ask(open_gate.join(), "ACL", "CAT", category))
    assert isinstance(told, list)
    assert {name for name in told if isinstance(name, bytes)} - ADDED == set(module_redis.cmd("ACL", "CAT", category))
    assert len(told) == len({bytes(name) for name in told if isinstance(name, bytes)})


def test_categories_are_those_of_redis_and_the_gates_own(open_gate: Room, module_redis: RedisServer) -> None:
    told = decode(open_gate.ask(open_gate.join(), "ACL", "CAT"))
    assert told == [*module_redis.cmd("ACL", "CAT"), *(name[1:].encode() for name in OWN_CATEGORIES)]
    assert told == [name[1:].encode() for name in CATEGORIES]
    assert b"script|flush" in open_gate.ask(open_gate.join(), "ACL", "CAT", "shared")


@pytest.mark.parametrize(
    ("bits", "digits"), [((), 64), ((1,), 1), ((4,), 1), ((5,), 2), ((256,), 64), ((4095,), 1024), ((4096,), 1024)]
)
def test_generated_passwords_have_the_length_asked_for(open_gate: Room, bits: tuple[int, ...], digits: int) -> None:
    client = open_gate.join()
    raw = open_gate.ask(client, "ACL", "GENPASS", *bits)
    assert re.fullmatch(rb"\$%d\r\n[0-9a-f]{%d}\r\n" % (digits, digits), raw)
    if digits >= 64:
        assert open_gate.ask(client, "ACL", "GENPASS", *bits) != raw


def test_everybody_may_know_the_own_name(room: Room) -> None:
    assert room.ask(room.join("bank"), "ACL", "WHOAMI") == b"$4\r\nbank\r\n"
    assert room.ask(room.join("bank"), "ACL", "USERS") == b"*1\r\n$4\r\nbank\r\n"
    assert room.ask(room.join("bank"), "ACL", "GETUSER", "ads").startswith(b"-NOPERM")


def test_changing_users_says_where_they_are(room: Room) -> None:
    boss = room.join("boss")
    for words in (("SETUSER", "x"), ("DELUSER", "x"), ("SAVE",), ("LOAD",)):
        raw = room.ask(boss, "ACL", *words)
        assert raw.startswith(b"-ERR command 'acl|%b' is not available" % words[0].lower().encode())
        assert b"users are kept in [users] of the gate's configuration" in raw
        assert b"GATE RELOAD" in raw
        assert room.ask(room.join("ads"), "ACL", *words).startswith(b"-NOPERM")


def told(room: Room, client: Client, *words: str) -> object:
    return plain(decode(room.ask(client, "ACL", *words)))


def plain(value: object) -> object:
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.text if isinstance(value, Simple) else value


AUDITED = b"&Ads.Log:* &Bank.*:* &default +@all -@dangerous"


def test_the_own_line_without_hashes(room: Room, open_gate: Room, module_redis: RedisServer) -> None:
    assert told(open_gate, open_gate.join(), "LIST") == module_redis.cmd("ACL", "LIST")
    for name, line in (
        ("ads", b"user ads on #hidden ~Ads.*:* resetchannels &Ads.*:* +@all -@dangerous"),
        ("bank", b"user bank on #hidden ~Bank.*:* resetchannels &Bank.*:* +@all -config|get"),
        ("boss", b"user boss on #hidden ~* &* +@all"),
        ("auditor", b"user auditor on #hidden ~Ads.Log:* %R~Bank.*:* %R~default resetchannels " + AUDITED),
    ):
        client = room.join(name)
        assert told(room, client, "LIST") == [line]
        assert told(room, client, "USERS") == [name.encode()]
        assert hash_password(SECRETS[name].encode()).encode() not in room.ask(client, "ACL", "GETUSER", name)


@pytest.mark.parametrize("proto", [2, 3])
def test_getuser_has_the_shape_of_redis(room: Room, module_redis: RedisServer, proto: int) -> None:
    rules = "on >auditor-key ~Ads.Log:* %R~Bank.*:* %R~default resetchannels &Ads.Log:* &Bank.*:* &default +@all -@dangerous"
    module_redis.cmd("ACL", "SETUSER", "auditor", *rules.split())
    with module_redis.client(proto=proto) as theirs:
        raw = theirs.raw_reply("ACL", "GETUSER", "auditor")
    digest = hash_password(b"auditor-key").encode()
    mine = room.ask(room.join("auditor", proto), "ACL", "GETUSER", "auditor")
    assert mine == raw.replace(b"$64\r\n" + digest, b"$6\r\nhidden")
    module_redis.cmd("ACL", "DELUSER", "auditor")


DRY_RUNS = [
    "GET Ads.Log:1",
    "SET Ads.Log:1 x",
    "get Bank.Ledger:1",
    "SET Bank.Ledger:1 x",
    "GET Other.X:1",
    "DEL Ads.Log:1 Bank.Ledger:1",
    "COPY Bank.Ledger:1 Ads.Log:1",
    "COPY Ads.Log:1 Bank.Ledger:1",
    "RENAME Bank.Ledger:1 Ads.Log:1",
    "SINTERSTORE Ads.Log:1 Bank.Ledger:1 Bank.Ledger:2",
    "SINTERSTORE Bank.Ledger:1 Ads.Log:1",
    "GETEX Bank.Ledger:1",
    "PFCOUNT Bank.Ledger:1",
    "BITFIELD Bank.Ledger:1 GET u8 0",
    "BITFIELD Bank.Ledger:1 SET u8 0 1",
    "EVAL x 1 Bank.Ledger:1",
    "EVAL_RO x 1 Bank.Ledger:1",
    "GEORADIUS Bank.Ledger:1 1 1 1 km",
    "GEORADIUS Bank.Ledger:1 1 1 1 km STORE Bank.Ledger:2",
    "SORT Bank.Ledger:1",
    "CONFIG SET a b",
    "SUBSCRIBE Ads.Log:c",
    "SUBSCRIBE Other.X:c",
    "PUBLISH Ads.Log:c x",
    "SET Ads.Log:1",
    "NOSUCH",
    "CONFIG",
    "CONFIG NOSUCH",
    "CLIENT|LIST",
    "XREAD STREAMS Bank.Ledger:1 0",
    "WAIT 0 0",
    "PING",
]


def test_a_dry_run_says_what_redis_says(room: Room, module_redis: RedisServer) -> None:
    rules = "on nopass ~Ads.Log:* %R~Bank.*:* resetchannels &Ads.Log:* &Bank.*:* +@all -@dangerous"
    module_redis.cmd("ACL", "SETUSER", "auditor", *rules.split())
    client = room.join("auditor")
    with module_redis.client() as theirs:
        for words in DRY_RUNS:
            raw = room.ask(client, "ACL", "DRYRUN", "auditor", *words.split())
            assert raw == theirs.raw_reply("ACL", "DRYRUN", "auditor", *words.split()), words
        boss = room.join("boss")
        for user in ("auditor", "nobody"):
            raw = room.ask(boss, "ACL", "DRYRUN", user, "GET", "Bank.Ledger:1")
            assert raw == theirs.raw_reply("ACL", "DRYRUN", user, "GET", "Bank.Ledger:1")
    module_redis.cmd("ACL", "DELUSER", "auditor")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("XREADGROUP GROUP g c STREAMS Bank.Ledger:1 >", "access the 'Bank.Ledger:1' key"),  # Redis lets it change the group
        ("PUBLISH Bank.Ledger:c x", "access the 'Bank.Ledger:c' channel"),  # Redis' channels have no read and write
        ("SORT_RO Ads.Log:1 BY Other.X:*", "run the 'sort_ro' command"),
        ("MOVE Ads.Log:1 1", "not available through the gate"),
    ],
)
def test_where_a_dry_run_is_stricter_than_redis(room: Room, words: str, why: str) -> None:
    assert why.encode() in room.ask(room.join("auditor"), "ACL", "DRYRUN", "auditor", *words.split())


def test_a_dry_run_looks_at_patterns_of_channels(room: Room) -> None:
    ads = room.join("ads")
    assert room.ask(ads, "ACL", "DRYRUN", "ads", "PSUBSCRIBE", "Ads.Log:*") == b"+OK\r\n"
    assert b"access the 'Bank.Ledger:*' channel" in room.ask(ads, "ACL", "DRYRUN", "ads", "PSUBSCRIBE", "Bank.Ledger:*")


def test_a_dry_run_of_others_has_to_be_granted(room: Room) -> None:
    for user in ("boss", "nobody"):
        raw = room.ask(room.join("auditor"), "ACL", "DRYRUN", user, "GET", "x")
        assert raw == b"-NOPERM this user has no permissions to run the 'acl|dryrun' command\r\n"
