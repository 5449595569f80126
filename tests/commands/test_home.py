"""Home namespaces as bytes: what becomes whole in a request, and what is taken off a reply."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgate.commands.home import REPLIES, Home, spliced
from kvgate.commands.keys import channels, key_indices
from kvgate.commands.spec import Action
from kvgate.commands.table import by_full_name, every_command, resolve
from kvgate.errors import GateError
from kvgate.wire.glob import glob_matcher
from kvgate.wire.reply import Map, Raw, encode
from kvgate.wire.request import encode_request
from tests.server.conversations import EVERY

HOME = Home(b"Ads.Cache:", 3, 1)


def request(*words: str) -> list[bytes]:
    """What the store is sent; the frame says the same as the arguments."""
    said = [word.encode() for word in words]
    args, frame = HOME.request(resolve(said), said, encode_request(said))
    assert frame == encode_request(args)
    return args


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ("GET k", "GET Ads.Cache:k"),
        ("MSET a b c d", "MSET Ads.Cache:a b Ads.Cache:c d"),
        ("SET Ads.Session:1 Ads.Session:1", "SET Ads.Cache:Ads.Session:1 Ads.Session:1"),
        ("SORT l BY w_* GET # GET v_*->f GET plain", "SORT Ads.Cache:l BY Ads.Cache:w_* GET # GET Ads.Cache:v_*->f GET plain"),
        ("SORT l STORE d", "SORT Ads.Cache:l STORE Ads.Cache:d"),
        ("SORT l BY nosort", "SORT Ads.Cache:l BY nosort"),
        ("GEORADIUS g 0 0 1 km STORE a STOREDIST b", "GEORADIUS Ads.Cache:g 0 0 1 km STORE Ads.Cache:a STOREDIST Ads.Cache:b"),
        ("XREAD COUNT 1 STREAMS a b 0 0", "XREAD COUNT 1 STREAMS Ads.Cache:a Ads.Cache:b 0 0"),
        ("EVAL s 2 a b c", "EVAL s 2 Ads.Cache:a Ads.Cache:b c"),
        ("BITOP AND d a b", "BITOP AND Ads.Cache:d Ads.Cache:a Ads.Cache:b"),
        ("OBJECT ENCODING k", "OBJECT ENCODING Ads.Cache:k"),
        ("PUBLISH c k", "PUBLISH Ads.Cache:c k"),
        ("SUBSCRIBE a __keyspace@3__:k", "SUBSCRIBE Ads.Cache:a __keyspace@1__:Ads.Cache:k"),
        ("SUBSCRIBE __keyspace@0__:k", "SUBSCRIBE Ads.Cache:__keyspace@0__:k"),
        ("PUBSUB NUMSUB a b", "PUBSUB NUMSUB Ads.Cache:a Ads.Cache:b"),
        ("GATE LOCK k me PX 1", "GATE LOCK Ads.Cache:k me PX 1"),
        ("PSUBSCRIBE a*", "PSUBSCRIBE a*"),
        ("COMMAND GETKEYS GET k", "COMMAND GETKEYS GET k"),
        ("MIGRATE h 1 k 0 1", "MIGRATE h 1 k 0 1"),  # refused in any case
        ("PING", "PING"),
    ],
)
def test_what_becomes_whole(words: str, whole: str) -> None:
    assert request(*words.split()) == [word.encode() for word in whole.split()]


def test_every_key_of_every_request_becomes_whole() -> None:
    for said in (list(request) for requests in EVERY.values() for request in requests):
        try:
            spec = resolve(said)
            args, frame = HOME.request(spec, said, encode_request(said))
        except GateError:
            continue
        assert frame == encode_request(args)
        places = {*key_indices(spec, args), *channels(spec, args)}
        assert places == {*key_indices(spec, said), *channels(spec, said)}, "the arguments mean the same as before"
        assert all(args[at] == HOME.prefix + said[at] for at in places)
        assert all(args[at] == said[at] or b"*" in said[at] for at in range(len(said)) if at not in places)


@given(st.lists(st.tuples(st.binary(max_size=12), st.one_of(st.none(), st.binary(max_size=12))), min_size=1, max_size=8))
def test_spliced_is_what_encoding_anew_would_give(pairs: "list[tuple[bytes, bytes | None]]") -> None:
    args = [old for old, _ in pairs]
    changed = {at: new for at, (_, new) in enumerate(pairs) if new is not None}
    wanted = encode_request([changed.get(at, old) for at, old in enumerate(args)])
    assert spliced(encode_request(args), args, changed) == wanted


CHANNELS = st.one_of(
    st.text("ab:*@_03", max_size=6).map(str.encode),
    st.sampled_from([b"__keyspace@3__:k", b"__keyspace@1__:k", b"__keyevent@3__:set", b"__keyspace@3__:", b"Ads.Cache:k"]),
)


@given(CHANNELS)
def test_a_channel_comes_back_as_it_was_said(channel: bytes) -> None:
    assert HOME.said(HOME.whole(channel)) == channel


@pytest.mark.parametrize(
    "channel",
    [b"k", b"Ads.Cache2:k", b"__keyspace@1__:k", b"__keyspace@1__:Ads.C:k", b"__keyspace@3__:Ads.Cache:k", b"__keyevent@3__:"],
)
def test_channels_of_others_are_not_said(channel: bytes) -> None:
    assert HOME.said(channel) is None


@given(st.text("a*?[]^-_:@3keyspacvnt\\", max_size=14).map(str.encode), CHANNELS)
def test_the_stores_patterns_find_every_channel_that_is_meant(pattern: bytes, channel: bytes) -> None:
    """And, among the channels of the database themselves, no other."""
    meant = glob_matcher(pattern)(channel)
    whole = HOME.whole(channel)
    found = [each for each in HOME.patterns(pattern) if glob_matcher(each)(whole)]
    if meant:
        assert len(found) == 1, "it comes once"
    elif whole.startswith(HOME.prefix):
        assert not found


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("news.*", ["Ads.Cache:news.*"]),
        ("__keyspace@3__:a*", ["Ads.Cache:__keyspace@3__:a*", "__keyspace@1__:Ads.Cache:a*"]),
        ("__keyevent@*__:expired", ["Ads.Cache:__keyevent@*__:expired", "__keyevent@1__:*"]),
        ("__key*__:*", ["Ads.Cache:__key*__:*", "__keyspace@1__:Ads.Cache:*", "__keyevent@1__:*"]),
        ("__keyspace@0__:*", ["Ads.Cache:__keyspace@0__:*"]),
    ],
)
def test_the_stores_patterns(pattern: str, wanted: list[str]) -> None:
    assert [each.decode() for each in HOME.patterns(pattern.encode())] == wanted


def reply(name: str, raw: bytes) -> bytes:
    spec = by_full_name(name.encode())
    assert spec is not None
    return HOME.reply(spec, raw)


@pytest.mark.parametrize("proto", [2, 3])
def test_keys_are_taken_off_replies_and_values_are_not(proto: int) -> None:
    whole, plain = b"Ads.Cache:k", b"k"
    assert reply("BLPOP", encode([whole, whole], proto)) == encode([plain, whole], proto)
    assert reply("ZMPOP", encode([whole, [[whole, b"1"]]], proto)) == encode([plain, [[whole, b"1"]]], proto)
    assert reply("GET", encode(whole, proto)) == encode(whole, proto)
    entries: Any = [[b"1-1", [whole, whole]]]

    def streams(*keys: bytes) -> Raw:
        of_each: Any = [[key, entries] for key in keys]
        return encode(of_each, 2) if proto == 2 else encode(Map([(key, entries) for key in keys]), 3)

    assert reply("XREAD", streams(whole, b"Ads.Cache:other")) == streams(plain, b"other")


@pytest.mark.parametrize("raw", [b"*-1\r\n", b"_\r\n", b"$-1\r\n", b"*0\r\n", b"%0\r\n", b"-ERR syntax error\r\n"])
@pytest.mark.parametrize("name", REPLIES)
def test_what_holds_no_key_stays(name: str, raw: bytes) -> None:
    assert reply(name, raw) == raw


def test_errors_name_the_key_as_it_was_said() -> None:
    raw = b"-NOGROUP No such key 'Ads.Cache:k' or consumer group 'Ads.Cache:g' in XREADGROUP with GROUP option\r\n"
    assert reply("XREADGROUP", raw) == raw.replace(b"'Ads.Cache:k'", b"'k'")
    raw = b"-NOGROUP No such consumer group 'Ads.Cache:g' for key name 'Ads.Cache:k'\r\n"
    assert reply("XGROUP|DESTROY", raw) == raw.replace(b"'Ads.Cache:k'", b"'k'")


def test_rules_are_about_commands_that_reach_stores_by_their_keys() -> None:
    known = {spec.name for spec in every_command() if spec.keys and spec.action is not Action.REFUSE}
    assert set(REPLIES) <= known
