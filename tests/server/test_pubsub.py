"""Channels over real stores: order, isolation, patterns over several stores, what subscribed clients may do."""

import threading
from collections.abc import Iterator

import pytest

from tests.server.settings import ALL_IN_A, Setting, keys_on, namespaces, redis, serving, sharded, stores, user
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, Gates, RedisServer, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(3, config=["--notify-keyspace-events", "KEA"]) as (one, two, three):
        config = (
            "[gate]\nlisten = ['127.0.0.1:$PORT']\ncommand_timeout = '20s'\n"  # a store is paused below
            + sharded("a", one, two)
            + redis("b", three)
            + namespaces(Ads__="a", Bank_L="a", default="b")
            + user("ads", "Ads.*")
            + user("bank", "Bank.*")
            + user("both", "Ads.*", "default")
            + user("boss", "*", more='commands = ["+@all"]')
        )
        with serving(config, one, two, three) as setting:
            yield setting


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


@pytest.mark.parametrize("proto", [2, 3])
def test_only_own_messages_arrive(setting: Setting, proto: int) -> None:
    (one,), (two,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    with login(setting, "ads", proto) as ads, login(setting, "bank") as bank, login(setting, "boss") as boss:
        ads.cmd("PSUBSCRIBE", "*")
        bank.cmd("PUBLISH", "Bank.L:1", "secret")
        boss.cmd("PUBLISH", "elsewhere", "secret")
        for channel in (one, two):
            assert boss.cmd("PUBLISH", channel, "hello") == 1
        got = sorted(ads.read()[1:] for _ in range(2))
        assert got == sorted([[b"*", channel.encode(), b"hello"] for channel in (one, two)])
        assert ads.silent()


@pytest.mark.parametrize("proto", [2, 3])
def test_a_pattern_over_two_stores(setting: Setting, proto: int) -> None:
    with login(setting, "both", proto) as both, login(setting, "boss") as boss:
        assert both.cmd("PSUBSCRIBE", "*")[2] == 1
        assert both.cmd("SUBSCRIBE", "elsewhere")[2] == 2
        boss.cmd("PUBLISH", "Ads.P:1", "a")
        assert both.read() == [b"pmessage", b"*", b"Ads.P:1", b"a"]
        boss.cmd("PUBLISH", "elsewhere", "b")
        got = sorted([both.read(), both.read()])
        assert got == [[b"message", b"elsewhere", b"b"], [b"pmessage", b"*", b"elsewhere", b"b"]]
        assert both.cmd("PUNSUBSCRIBE", "*") == [b"punsubscribe", b"*", 1]
        boss.cmd("PUBLISH", "Ads.P:1", "c")
        assert both.silent()


def test_keyspace_notifications(setting: Setting) -> None:
    (one,), (two,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    with login(setting, "ads") as ads, login(setting, "boss") as boss, login(setting, "bank") as bank:
        ads.cmd("PSUBSCRIBE", "__keyspace@0__:*")
        boss.cmd("SUBSCRIBE", "__keyevent@0__:set")
        bank.cmd("SET", "Bank.L:1", "secret")
        boss_heard = {boss.read()[2]}
        with login(setting, "boss") as writer:
            writer.cmd("SET", one, "x")
            writer.cmd("SET", two, "x")
        boss_heard |= {boss.read()[2], boss.read()[2]}
        assert boss_heard == {b"Bank.L:1", one.encode(), two.encode()}
        assert {ads.read()[2] for _ in range(2)} == {b"__keyspace@0__:" + key.encode() for key in (one, two)}
        assert ads.silent()


def test_what_is_counted(setting: Setting) -> None:
    with login(setting, "ads") as ads, login(setting, "ads") as second, login(setting, "bank") as bank:
        ads.cmd("SUBSCRIBE", "Ads.P:1")
        second.cmd("SUBSCRIBE", "Ads.P:1")
        bank.cmd("SUBSCRIBE", "Bank.L:1")
        with login(setting, "ads") as asking:
            assert asking.cmd("PUBSUB", "CHANNELS") == [b"Ads.P:1"]
            assert asking.cmd("PUBSUB", "CHANNELS", "Bank*") == []
            counted = asking.cmd("PUBSUB", "NUMSUB", "Ads.P:1", "Bank.L:1", "Ads.P:1")
            assert counted == [b"Ads.P:1", 2, b"Bank.L:1", 0, b"Ads.P:1", 2]
            assert asking.raw_reply("PUBSUB", "NUMPAT").startswith(b"-ERR command 'pubsub|numpat' is not available")
            second.send("PSUBSCRIBE", "Ads.P:*")
            assert second.read() == [b"psubscribe", b"Ads.P:*", 2]
        with login(setting, "boss") as boss:
            assert boss.cmd("PUBSUB", "NUMPAT") == 1  # although it is listened to on two shards
            assert sorted(boss.cmd("PUBSUB", "CHANNELS")) == [b"Ads.P:1", b"Bank.L:1"]


@pytest.mark.parametrize("proto", [2, 3])
def test_no_message_before_its_confirmation(setting: Setting, proto: int) -> None:
    """Another client floods the channels and patterns all the while."""
    (one,), (two,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    stop = threading.Event()

    def flood() -> None:
        with login(setting, "boss") as boss:
            while not stop.is_set():
                boss.pipeline([("PUBLISH", channel, "x" * 50) for channel in (one, two)] * 50)

    publisher = threading.Thread(target=flood)
    publisher.start()
    try:
        with login(setting, "ads", proto) as ads:
            for _ in range(30):
                known: set[bytes] = set()
                heard = 0
                for kind, name in (("SUBSCRIBE", one), ("PSUBSCRIBE", "Ads.*"), ("SUBSCRIBE", two)):
                    ads.send(kind, name)
                    while True:
                        got = ads.read()
                        if got[0] == kind.lower().encode():
                            assert got[1] == name.encode()
                            known.add(got[1])
                            break
                        assert got[1] in known, got
                        heard += 1
                while heard < 20:
                    assert ads.read()[1] in known
                    heard += 1
                ads.send("UNSUBSCRIBE")
                ads.send("PUNSUBSCRIBE")
                ended = 0
                while ended < 3:
                    ended += ads.read()[0] in (b"unsubscribe", b"punsubscribe")
                assert ads.cmd("PING") == b"PONG"
    finally:
        stop.set()
        publisher.join()


@pytest.mark.parametrize("proto", [2, 3])
def test_a_pattern_is_confirmed_when_every_shard_has_it(setting: Setting, proto: int) -> None:
    """One shard answers late: what is published to it after the confirmation is heard, what the other says before it waits."""
    (one, known), (other,) = keys_on(0, 2, 2), keys_on(1, 2, 1)
    first, late, _ = setting.stores
    with login(setting, "ads", proto) as ads:
        for channel in (known, other):  # both feeds are there
            ads.cmd("SUBSCRIBE", channel)
        late.pause()
        try:
            ads.send("PSUBSCRIBE", "Ads.*")
            wait_for(lambda: first.cmd("PUBSUB", "NUMPAT") == 1, "one shard to know the pattern")
            assert first.cmd("PUBLISH", one, "early") == 1
            assert first.cmd("PUBLISH", known, "known") == 2
            assert ads.read() == [b"message", known.encode(), b"known"]  # its own name is long confirmed
            assert ads.silent()
        finally:
            late.resume()
        assert ads.read() == [b"psubscribe", b"Ads.*", 3]
        assert late.cmd("PUBSUB", "NUMPAT") == 1
        early = [(ads.read(), channel, said) for channel, said in ((one, b"early"), (known, b"known"))]
        assert [got for got, *_ in early] == [[b"pmessage", b"Ads.*", channel.encode(), said] for _, channel, said in early]
        assert first.cmd("PUBLISH", one, "later") == 1
        assert ads.read() == [b"pmessage", b"Ads.*", one.encode(), b"later"]


def late_shard(first: RedisServer, second: RedisServer, gate: str) -> str:
    """The configuration of two shards, one of which will be paused."""
    return f"[gate]\nlisten = ['127.0.0.1:$PORT']\n{gate}\n" + sharded("a", first, second) + namespaces(Ads__="a")


def test_messages_that_wait_for_a_confirmation_are_limited(gates: Gates) -> None:
    """They count as what the client has not read."""
    (one,), (other,) = keys_on(0, 2, 1), keys_on(1, 2, 1)
    with stores(2) as (first, late):
        limits = "command_timeout = '20s'\npubsub_output_soft = '1mb'\npubsub_output_hard = '1mb'\noutput_soft = '1mb'"
        gate = gates(late_shard(first, late, limits))
        with gate.client() as client:
            for channel in (one, other):
                client.cmd("SUBSCRIBE", channel)
            late.pause()
            try:
                client.send("PSUBSCRIBE", "Ads.*")
                wait_for(lambda: first.cmd("PUBSUB", "NUMPAT") == 1, "one shard to know the pattern")
                client.sock.settimeout(20)
                for _ in range(80):
                    first.cmd("PUBLISH", f"{one}x", "x" * 50_000)
                assert client.read_all() == b""
            finally:
                late.resume()


def test_a_pattern_that_is_had_and_is_not_confirmed_again_closes_the_client(gates: Gates) -> None:
    """It would believe that it listens, and hear nothing."""
    with stores(2) as (first, late):
        gate = gates(late_shard(first, late, "command_timeout = '1s'"))
        with gate.client() as client:
            client.cmd("PSUBSCRIBE", "Ads.*")
            late.pause()
            try:
                client.send("PSUBSCRIBE", "Ads.*")
                assert client.read_all() == b""
            finally:
                late.resume()


@pytest.mark.parametrize("proto", [2, 3])
def test_a_pattern_that_one_shard_refuses_leaves_other_names(gates: Gates, proto: int) -> None:
    (one, two) = keys_on(0, 2, 2)
    with stores(2) as (first, second):
        for store, channels in ((first, "&*"), (second, "&Other.*")):
            store.cmd("ACL", "SETUSER", "gate", "on", ">word", "~*", channels, "+@all")
        gate = gates((sharded("a", first, second) + namespaces(Ads__="a")).replace("redis://", "redis://gate:word@"))
        with gate.client(proto=proto) as client:
            client.cmd("SUBSCRIBE", one)
            for _ in range(3):
                assert client.raw_reply("PSUBSCRIBE", "Ads.P:*").startswith(b"-ERR upstream refused the gate: NOPERM ")
                wait_for(lambda: first.cmd("PUBSUB", "NUMPAT") == 0, "the shard that had it to be told")
                assert first.cmd("PUBLISH", two, "unheard") == 0
                assert first.cmd("PUBLISH", one, "hello") == 1
                assert client.read() == [b"message", one.encode(), b"hello"]
            assert client.cmd("SUBSCRIBE", two) == [b"subscribe", two.encode(), 2]
            assert first.cmd("PUBLISH", two, "hello") == 1
            assert client.read() == [b"message", two.encode(), b"hello"]


def test_a_pattern_that_one_shard_refuses_is_not_had(gates: Gates) -> None:
    """The other shard has confirmed it: nothing that it says of it may arrive."""
    (one,) = keys_on(0, 2, 1)
    with stores(2) as (first, second):
        for store, channels in ((first, "&*"), (second, "&Other.*")):
            store.cmd("ACL", "SETUSER", "gate", "on", ">word", "~*", channels, "+@all")
        config = sharded("a", first, second).replace("redis://", "redis://gate:word@")
        gate = gates(config + namespaces(Ads__="a"))
        with gate.client() as client:
            assert client.raw_reply("PSUBSCRIBE", "Ads.P:*").startswith(b"-ERR upstream refused the gate: NOPERM ")
            wait_for(lambda: first.cmd("PUBSUB", "NUMPAT") == 0, "the shard that had it to be left")
            assert first.cmd("PUBLISH", one, "hello") == 0
            assert client.cmd("SUBSCRIBE", one) == [b"subscribe", one.encode(), 1]


def test_pushes_between_whole_replies(setting: Setting) -> None:
    """A RESP3 client reads large values while messages come."""
    stop = threading.Event()

    def flood() -> None:
        with login(setting, "boss") as boss:
            while not stop.is_set():
                boss.pipeline([("PUBLISH", "Ads.P:c", "x" * 100)] * 20)

    with login(setting, "ads", 3) as ads:
        value = b"v" * 3_000_000
        ads.cmd("SET", "Ads.P:big", value)
        ads.cmd("SUBSCRIBE", "Ads.P:c")
        publisher = threading.Thread(target=flood)
        publisher.start()
        try:
            messages = values = 0
            for _ in range(5):
                ads.send("GET", "Ads.P:big")
                while (got := ads.read()) != value:
                    assert got == [b"message", b"Ads.P:c", b"x" * 100]
                    messages += 1
                values += 1
            assert values == 5
            assert messages > 0
        finally:
            stop.set()
            publisher.join()


def test_resp3_clients_work_on_while_subscribed(setting: Setting) -> None:
    with login(setting, "ads", 3) as ads, login(setting, "boss") as boss:
        assert ads.raw_reply("SUBSCRIBE", "Ads.P:c") == b">3\r\n$9\r\nsubscribe\r\n$7\r\nAds.P:c\r\n:1\r\n"
        assert ads.cmd("SET", "Ads.P:1", "v") == b"OK"
        assert ads.cmd("MGET", *keys_on(0, 2, 1), *keys_on(1, 2, 1)) is not None
        boss.cmd("PUBLISH", "Ads.P:c", "m")
        assert ads.read_one() == b">3\r\n$7\r\nmessage\r\n$7\r\nAds.P:c\r\n$1\r\nm\r\n"
        assert ads.cmd("PING") == b"PONG"
        assert ads.raw_reply("UNSUBSCRIBE") == b">3\r\n$11\r\nunsubscribe\r\n$7\r\nAds.P:c\r\n:0\r\n"


def test_a_feed_is_closed_with_its_last_name(setting: Setting) -> None:
    before = subscribers(setting)
    with login(setting, "ads") as ads:
        ads.cmd("SUBSCRIBE", "Ads.P:c")
        ads.cmd("PSUBSCRIBE", "Ads.P:*")
        assert subscribers(setting) > before
        ads.pipeline([("UNSUBSCRIBE",), ("PUNSUBSCRIBE",)])
        wait_for(lambda: subscribers(setting) == before, "the feeds to be closed")
        ads.cmd("SUBSCRIBE", "Ads.P:c")
    wait_for(lambda: subscribers(setting) == before, "the feed of who left to be closed")


def subscribers(setting: Setting) -> int:
    listed = [line for store in setting.stores for line in store.cmd("CLIENT", "LIST", "TYPE", "pubsub").splitlines()]
    return len(listed)


def test_reset_while_messages_pour_in(setting: Setting) -> None:
    """Nothing of the old subscription arrives behind +RESET, and the connection lives."""
    stop = threading.Event()

    def flood() -> None:
        with login(setting, "boss") as boss:
            while not stop.is_set():
                boss.pipeline([("PUBLISH", "elsewhere", "x")] * 50)

    publisher = threading.Thread(target=flood)
    publisher.start()
    try:
        with login(setting, "both") as both:
            for _ in range(50):
                both.cmd("SUBSCRIBE", "elsewhere")
                both.send("RESET")
                while (got := both.read()) != b"RESET":
                    assert got[0] == b"message"
                assert both.cmd("AUTH", "both", "both-secret") == b"OK"
                assert both.cmd("PING") == b"PONG"
    finally:
        stop.set()
        publisher.join()


def test_monitor_shows_all_stores_to_who_sees_all(setting: Setting) -> None:
    with login(setting, "boss") as boss, login(setting, "boss") as writer:
        assert boss.cmd("MONITOR") == b"OK"
        for key in ("elsewhere", *keys_on(0, 2, 1), *keys_on(1, 2, 1)):
            writer.cmd("SET", key, "seen")
            while f'"{key}" "seen"'.encode() not in boss.read_one():
                pass
        boss.send("RESET")
        while boss.read_one() != b"+RESET\r\n":
            pass
        assert boss.raw_reply("GET", "elsewhere") == b"-NOAUTH Authentication required.\r\n"


def test_a_store_that_ends_closes_its_subscribers() -> None:
    with stores(1) as (one,), serving(redis("a", one) + ALL_IN_A, one) as setting, setting.gate.client() as client:
        client.cmd("SUBSCRIBE", "c")
        one.kill()
        assert client.read_all() == b""


@pytest.mark.parametrize("proto", [2, 3])
def test_a_store_that_refuses_the_gate_a_channel(gates: Gates, redis_server: RedisServer, proto: int) -> None:
    redis_server.cmd("ACL", "SETUSER", "gate", "on", ">word", "~*", "&Ads.*", "+@all")
    url = redis_server.url.replace("redis://", "redis://gate:word@")
    gate = gates(f'[backends.a]\ntype = "redis"\nurl = "{url}"\n[namespaces]\n"Ads.*" = "a"\n')
    with gate.client(proto=proto) as client:
        refused = client.raw_reply("PSUBSCRIBE", "Ads.P:x")  # Redis compares a pattern by its letters
        assert refused.startswith(b"-ERR upstream refused the gate: NOPERM ")
        assert client.cmd("SUBSCRIBE", "Ads.P:x") == [b"subscribe", b"Ads.P:x", 1]
        assert redis_server.cmd("PUBLISH", "Ads.P:x", "hello") == 1
        assert client.read()[-1] == b"hello"
