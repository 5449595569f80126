"""Namespaces that a user may only read: no command of the table changes a key there, on stores of both kinds."""

from collections.abc import Iterator

import pytest

from kvgate.commands.keys import key_indices, written_keys
from kvgate.commands.table import lookup
from kvgate.errors import GateError
from tests.server.conversations import EVERY, Line
from tests.server.settings import Setting, namespaces, redis, serving, stores, user
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

NO_KEY = b"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"
NO_CHANNEL = b"-NOPERM this user has no permissions to access one of the channels used as arguments\r\n"
NO_SCRIPT = b"-NOPERM a script could write"
OWN, KEPT = b"Ads.P:", {"redis": b"Bank.L:", "lmdb": b"Bank.E:"}
HOME = 'databases = { 0 = "Ads.P", 1 = "Bank.L", 2 = "Bank.E" }\ncommands = ["+@all"]'
BOTH = pytest.mark.parametrize("kind", ["redis", "lmdb"])


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(2) as (one, two):
        config = (
            redis("a", one)
            + redis("b", two)
            + '[backends.e]\ntype = "lmdb"\npath = "$DIR/data"\ndurability = "no"\n'
            + namespaces(Ads_P="a", Ads_E="e", Ads_Alone="b", Bank_L="a", Bank_E="e", Bank__="a")
            + user("ads", "Ads.*", more='read_only = ["Bank.*"]\ncommands = ["+@all"]')
            + user("reader", more='read_only = ["*"]\ncommands = ["+@all"]')
            + user("mixed", "*", more='read_only = ["Bank.L", "Ads.E"]\ncommands = ["+@all"]')
            + user("home", "Ads.P", more='read_only = ["Bank.L", "Bank.E"]\n' + HOME)
            + user("boss", "*", more='commands = ["+@all"]')
        )
        with serving(config, one, two) as setting:
            yield setting


@pytest.fixture(autouse=True)
def _empty(setting: Setting) -> None:
    setting.flush()
    with login(setting, "boss") as boss:
        assert boss.cmd("FLUSHALL") == b"OK"


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


def requests() -> Iterator[tuple[Line, tuple[int, ...]]]:
    """All lines of the conversations that name keys, with the keys' places."""
    for lines in EVERY.values():
        for request in lines:
            spec = lookup(request)
            try:
                found = () if spec is None else key_indices(spec, request)
            except (GateError, IndexError):
                continue
            if found and b"BLOCK" not in request and not (request[0].startswith(b"B") and not request[0].startswith(b"BIT")):
                yield request, found


def placed(request: Line, chosen: tuple[int, ...], prefix: bytes) -> Line:
    """The request with the chosen keys in another namespace."""
    return tuple(word.replace(OWN, prefix, 1) if at in chosen else word for at, word in enumerate(request))


def contents(boss: Resp) -> dict[bytes, object]:
    """Everything in the namespaces that are to be kept, expiries included."""
    keys = sorted(boss.cmd("KEYS", "Bank.*"))
    told = boss.pipeline([(command, key) for key in keys for command in ("DUMP", "PEXPIRETIME")])
    return dict(zip(keys, zip(told[::2], told[1::2], strict=True), strict=True))


@BOTH
def test_no_command_changes_a_key_there(setting: Setting, kind: str) -> None:
    """The owner runs each request on those keys first, so that they hold what the request is about."""
    prefix = KEPT[kind]
    own = {"redis": OWN, "lmdb": b"Ads.E:"}[kind]
    refused = allowed = 0
    with login(setting, "boss") as boss, login(setting, "ads") as ads:
        for request, found in requests():
            spec = lookup(request)
            assert spec is not None
            usual = placed(request, found, own)
            if b"is not supported by backend" in ads.raw_reply(*usual):
                continue
            ads.ask(*usual)  # twice, so that the lane knows it where the user may write
            boss.ask(*placed(request, found, prefix))
            after = contents(boss)
            for chosen in {found, *((at,) for at in found)}:
                mixed = tuple(
                    word.replace(OWN, prefix if at in chosen else own, 1) if at in found else word
                    for at, word in enumerate(request)
                )
                before = after
                raw = ads.raw_reply(*mixed)
                after = contents(boss)
                assert after == before, (mixed, raw)
                if raw == NO_KEY:
                    refused += 1
                    assert not spec.readonly, mixed
                else:
                    allowed += 1
                    assert not written_keys(spec, request) & set(chosen), (mixed, raw)
    least = {"redis": 230, "lmdb": 80}[kind]
    assert min(refused, allowed) >= least


@pytest.mark.parametrize(
    "words",
    [
        "SORT Bank.L:{t}l STORE Bank.L:{t}d",
        "SORT Bank.L:{t}l STORE\0 Bank.L:{t}d",
        "COPY Ads.P:{t}a Bank.L:{t}a",
        "GETEX Bank.L:{t}a",
        "GETDEL Bank.L:{t}a",
        "LMOVE Bank.L:{t}l Ads.P:{t}l LEFT LEFT",
        "LMOVE Ads.P:{t}l Bank.L:{t}l LEFT LEFT",
        "SMOVE Bank.L:{t}s Ads.P:{t}s x",
        "RENAME Bank.L:{t}a Ads.P:{t}a",
        "BITOP NOT Bank.L:{t}a Ads.P:{t}a",
        "BITFIELD Bank.L:{t}a SET u8 0 1",
        "BITFIELD Bank.L:{t}a GET u8 0 SET\0 u8 0 1",
        "XREADGROUP GROUP g c STREAMS Bank.L:{t}x >",
        "GEORADIUS Bank.L:{t}g 1 1 1 km STORE\0 Bank.L:{t}d",
        "EVAL return(1) 1 Bank.L:{t}a",
        "BLPOP Ads.P:{t}none Bank.L:{t}l 0",
        "BLMOVE Bank.L:{t}l Ads.P:{t}l LEFT LEFT 0",
        "GATE LOCK Bank.L:{t}lock me PX 10",
        "MSET Ads.P:{t}a 1 Bank.L:{t}a 1",
        "DEL Ads.P:{t}a Bank.L:{t}a Ads.E:a",
        "PFMERGE Bank.L:{t}p Ads.P:{t}p",
        "PERSIST Bank.L:{t}a",
    ],
)
def test_writes_are_refused_in_multi_too(setting: Setting, words: str) -> None:
    with login(setting, "ads") as ads:
        args = words.split(" ")
        assert ads.raw_reply(*args) == NO_KEY
        assert ads.cmd("MULTI") == b"OK"
        assert ads.raw_reply(*args) == NO_KEY
        assert ads.raw_reply("EXEC").startswith(b"-EXECABORT")


@pytest.mark.parametrize(
    "words",
    [
        "SORT Bank.L:{t}l",
        "SORT Bank.L:{t}l STORE Ads.P:{t}d",
        "COPY Bank.L:{t}l Ads.P:{t}copy REPLACE",
        "BITOP NOT Ads.P:{t}b Bank.L:{t}a",
        "BITFIELD Bank.L:{t}a GET u8 0",
        "SINTERSTORE Ads.P:{t}d Bank.L:{t}s",
        "PFCOUNT Bank.L:{t}p",
        "PFMERGE Ads.P:{t}p Bank.L:{t}p",
        "GEORADIUS Bank.L:{t}g 1 1 1 km",
        "EVAL_RO return(redis.call('get',KEYS[1])) 1 Bank.L:{t}a",
        "MGET Ads.P:{t}a Bank.L:{t}a Bank.E:a",
        "WATCH Bank.L:{t}a",
        "XREAD STREAMS Bank.L:{t}x 0",
    ],
)
def test_reads_are_allowed(setting: Setting, words: str) -> None:
    with login(setting, "boss") as boss, login(setting, "ads") as ads:
        boss.cmd("RPUSH", "Bank.L:{t}l", "1", "2")
        boss.cmd("SET", "Bank.L:{t}a", "x")
        boss.cmd("SADD", "Bank.L:{t}s", "m")
        boss.cmd("PFADD", "Bank.L:{t}p", "m")
        before = contents(boss)
        ads.cmd(*words.split())
        if words.startswith("PFCOUNT"):  # Redis keeps the number it counted inside
            return
        assert contents(boss) == before


@pytest.mark.parametrize("proto", [2, 3])
def test_the_lane_does_not_share_what_it_learned_elsewhere(setting: Setting, proto: int) -> None:
    """Also the other way round: BITFIELD with as many arguments reads once, and then writes."""
    with login(setting, "ads", proto) as ads, login(setting, "boss") as boss:
        for key in ("Ads.P:1", "Ads.E:1"):
            assert ads.pipeline([("SET", key, "x")] * 50) == [b"OK"] * 50
        for key in ("Bank.L:1", "Bank.E:1", "Bank.Other:1"):
            assert ads.cmd("GET", key) is None
            assert ads.raw_reply("SET", key, "x") == NO_KEY
            raws = ads.pipeline([("GET", "Ads.P:1"), ("GET", key), ("SET", "Ads.P:1", "x"), ("GET", key), ("GET", key)])
            assert raws == [b"x", None, b"OK", None, None]
            assert ads.raw_reply("SET", key, "x") == NO_KEY
            for _ in range(3):
                assert ads.cmd("BITFIELD", key, *["GET", "u8", "0"] * 4) == [0, 0, 0, 0]
            assert ads.raw_reply("BITFIELD", key, *["SET", "u8", "0", "1"] * 3) == NO_KEY
            assert boss.cmd("EXISTS", key) == 0


def test_read_only_wins_over_what_else_is_granted(setting: Setting) -> None:
    with login(setting, "mixed") as mixed, login(setting, "reader") as reader:
        assert mixed.cmd("SET", "Bank.Other:1", "x") == b"OK"
        assert mixed.cmd("SET", "Ads.P:1", "x") == b"OK"
        assert mixed.raw_reply("SET", "Bank.L:1", "x") == NO_KEY
        assert mixed.raw_reply("SET", "Ads.E:1", "x") == NO_KEY
        assert reader.cmd("GET", "Ads.P:1") == b"x"
        assert sorted(reader.cmd("KEYS", "*")) == [b"Ads.P:1", b"Bank.Other:1"]
        assert reader.raw_reply("SET", "Ads.P:1", "y") == NO_KEY


@pytest.mark.parametrize("flush", ["FLUSHDB", "FLUSHALL"])
def test_flushing_leaves_it_alone(setting: Setting, flush: str) -> None:
    keys = ["Ads.P:1", "Ads.E:1", "Ads.Alone:1", "Bank.L:1", "Bank.E:1", "Bank.Other:1"]
    kept = {"ads": {b"Bank.L:1", b"Bank.E:1", b"Bank.Other:1"}, "mixed": {b"Bank.L:1", b"Ads.E:1"}}
    with login(setting, "boss") as boss:
        for name, left in kept.items():
            boss.pipeline([("SET", key, "x") for key in keys])
            with login(setting, name) as client:
                assert client.cmd(flush) == b"OK"
            assert set(boss.cmd("KEYS", "*")) == left
        with login(setting, "reader") as reader:
            lower = flush.lower().encode()
            assert reader.raw_reply(flush) == b"-NOPERM this user has no permissions to run the '%b' command\r\n" % lower
        assert set(boss.cmd("KEYS", "*")) == kept["mixed"]


def test_channels_may_be_heard_and_not_spoken_to(setting: Setting) -> None:
    with login(setting, "ads") as ads, login(setting, "boss") as boss, login(setting, "ads") as speaker:
        ads.cmd("SUBSCRIBE", "Bank.L:c")
        boss.cmd("PUBLISH", "Bank.L:c", "hello")
        assert ads.read() == [b"message", b"Bank.L:c", b"hello"]
        assert speaker.raw_reply("PUBLISH", "Bank.L:c", "no") == NO_CHANNEL
        assert speaker.raw_reply("SPUBLISH", "Bank.L:c", "no") == NO_CHANNEL
        assert speaker.cmd("PUBLISH", "Ads.P:c", "yes") == 0
        assert ads.silent()


def test_scripts_that_could_write_beside(setting: Setting) -> None:
    writes = "return redis.call('set', 'Bank.L:x', 'x')"
    with login(setting, "ads") as ads, login(setting, "reader") as reader, login(setting, "boss") as boss:
        for words in (("EVAL", writes, 1, "Ads.P:1"), ("EVAL", "return 1", 1, "Ads.P:1"), ("FCALL", "f", 1, "Ads.P:1")):
            assert ads.raw_reply(*words).startswith(NO_SCRIPT), words
        for words in (("EVAL", "return 1", 1, "Ads.P:1"), ("FCALL", "f", 1, "Ads.P:1")):
            assert reader.raw_reply(*words) == NO_KEY
        assert b"-" in ads.raw_reply("EVAL_RO", writes, 1, "Ads.P:1")
        assert reader.cmd("EVAL_RO", "return redis.call('get', KEYS[1])", 1, "Ads.P:1") is None
        assert ads.cmd("EVAL", "return 1", 1, "Ads.Alone:1") == 1  # nobody else's there
        for container in ("SCRIPT", "FUNCTION"):
            assert b"other applications use the same store" in ads.raw_reply(container, "FLUSH")
            assert b"other applications use the same store" in reader.raw_reply(container, "FLUSH")
            assert boss.cmd(container, "FLUSH") == b"OK"
        assert boss.cmd("EXISTS", "Bank.L:x") == 0


@pytest.mark.parametrize("database", [1, 2])
def test_a_database_may_be_read_only(setting: Setting, database: int) -> None:
    whole = {1: "Bank.L:x", 2: "Bank.E:x"}[database]
    with login(setting, "home") as home, login(setting, "boss") as boss:
        boss.cmd("SET", whole, "kept")
        assert home.pipeline([("SET", "x", "1"), ("GET", "x")] * 50)[-1] == b"1"
        assert home.cmd("SELECT", database) == b"OK"
        for _ in range(3):
            assert home.cmd("GET", "x") == b"kept"
            assert home.raw_reply("SET", "x", "1") == NO_KEY
            assert home.raw_reply("DEL", "x") == NO_KEY
        assert home.cmd("KEYS", "*") == [b"x"]
        assert home.raw_reply("FLUSHDB").startswith(b"-NOPERM")
        assert home.cmd("ACL", "DRYRUN", "home", "GET", "x") == b"OK"
        assert home.cmd("ACL", "DRYRUN", "home", "SET", "x", "1") == b"This user has no permissions to access the 'x' key"
        assert home.cmd("FLUSHALL") == b"OK"
        assert boss.cmd("GET", whole) == b"kept"
        assert boss.cmd("EXISTS", "Ads.P:x") == 0
        assert home.cmd("SELECT", 0) == b"OK"
        assert home.cmd("SET", "x", "1") == b"OK"
