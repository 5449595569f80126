"""What a user at home has learned goes by the lane, as for everybody; with the real dispatcher, and no store."""

import time
from collections.abc import Iterator

import pytest

from kvgate.lane.client import Client
from kvgate.policy.passwords import hash_password
from tests.admin.rooms import CONFIG, SECRETS, Room, open_room
from tests.support.resp import frame

HOME = f"""
[users.home]
password_sha256 = ["{hash_password(b"home-key")}"]
databases = {{ 0 = "Ads.Cache", 1 = "Bank.Wide", 2 = "Ads.Cache" }}
"""


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setitem(SECRETS, "home", "home-key")
    with open_room(CONFIG + HOME) as room:
        yield room


def feed(room: Room, client: Client, *requests: tuple[str, ...]) -> int:
    """Send them in one portion; how many the dispatcher was asked about."""
    before = room.site.commands
    room.site.lane.feed(client, b"".join(frame(*request) for request in requests), time.monotonic())
    return room.site.commands - before


def sent(room: Room, backend: str) -> list[bytes]:
    """What waits to be sent to the backend's stores."""
    shards = room.site.places.shards[backend]
    return [b"".join(up.out) for shard in shards for up in shard.lines if up.out]


def test_learned_commands_are_taken_by_the_lane(room: Room) -> None:
    client = room.join("home")
    assert feed(room, client, ("SET", "k", "v"), ("GET", "k")) == 2
    assert feed(room, client, ("SET", "k", "v"), ("GET", "k"), ("GET", "another"), ("GET", "Bank.Ledger:k")) == 0
    whole = [("SET", "k", "v"), ("GET", "k")] * 2 + [("GET", "another"), ("GET", "Bank.Ledger:k")]
    assert sent(room, "cache") == [b"".join(frame(name, f"Ads.Cache:{key}", *more) for name, key, *more in whole)]


def test_another_client_and_another_database_of_the_same_namespace(room: Room) -> None:
    assert feed(room, room.join("home"), ("SET", "k", "v")) == 1
    client = room.join("home")
    assert room.ask(client, "SELECT", 2) == b"+OK\r\n"
    assert feed(room, client, ("SET", "k", "v"), ("SET", "k2", "v")) == 0


def test_another_namespace_is_learned_by_itself(room: Room) -> None:
    client = room.join("home")
    feed(room, client, ("SET", "k", "v"))
    assert feed(room, client, ("SELECT", "1"), ("SET", "k", "v"), ("SET", "k", "v"), ("SELECT", "0"), ("SET", "k", "v")) == 3
    assert len(sent(room, "cache")) == 1
    assert sent(room, "spread") == [frame("SET", "Bank.Wide:k", "v") * 2]


def test_slots_are_those_of_whole_keys(room: Room) -> None:
    """In the lane and above it."""
    client = room.join("home")
    feed(room, client, ("SELECT", "1"), ("SET", "k", "v"))
    keys = [f"k{number}" for number in range(20)]
    assert feed(room, client, *(("SET", key, "v") for key in keys)) == 0
    places = room.site.places
    namespace = places.namespaces.of(b"Bank.Wide:")
    assert namespace is not None
    for key in keys:
        shard = places.place(namespace, f"Bank.Wide:{key}".encode()).shard
        assert shard is not None
        assert frame("SET", f"Bank.Wide:{key}", "v") in b"".join(b"".join(up.out) for up in shard.lines)


@pytest.mark.parametrize("request_", [("XPENDING", "x", "g"), ("XCLAIM", "x", "g", "c", "0", "1-1")])
def test_what_names_keys_is_not_learned(room: Room, request_: tuple[str, ...]) -> None:
    client = room.join("home")
    assert feed(room, client, request_, request_, ("XLEN", "x"), ("XLEN", "x")) == 3


def test_others_routes_are_their_own(room: Room) -> None:
    home, ads = room.join("home"), room.join("ads")
    feed(room, home, ("SET", "k", "v"))
    assert feed(room, ads, ("SET", "Ads.Cache:k", "v")) == 1
    assert feed(room, ads, ("SET", "Ads.Cache:k", "v"), ("SET", "Ads.Cache:k2", "v")) == 0
    assert feed(room, ads, ("SET", "k", "v")) == 1
    assert b"".join(ads.out) == b"", "NOPERM waits behind what the store has not answered"
