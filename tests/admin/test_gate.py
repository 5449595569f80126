"""GATE ROUTE and RELOAD."""

from kvgate.lane.client import Client
from kvgate.wire.reply import decode
from tests.admin.rooms import Room

NOPERM = b"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"


def _route(room: Room, client: Client, *words: str) -> dict[str, str]:
    told = decode(room.ask(client, "GATE", "ROUTE", *words))
    assert isinstance(told, list)
    texts = [item.decode() for item in told if isinstance(item, bytes)]
    assert len(texts) == len(told)
    return dict(zip(texts[::2], texts[1::2], strict=True))


def test_the_way_of_a_key(room: Room) -> None:
    told = _route(room, room.join("boss"), "Ads.Profile:1", "GET")
    assert told == {
        "key": "Ads.Profile:1",
        "namespace": "Ads.Profile",
        "rule": "Ads.*",
        "backend": "cache (redis)",
        "upstream": "redis://127.0.0.1:1/0",
    }


def test_keys_with_one_tag_have_one_slot(room: Room) -> None:
    bank = room.join("bank")
    one, other = (_route(room, bank, f"Bank.Wide:{{7}}:{name}", "SET") for name in ("a", "b"))
    assert one["slot"] == other["slot"]
    assert one["slot"].endswith(" of 4")
    assert one["upstream"] == f"redis://127.0.0.1:{3 if int(one['slot'][0]) < 2 else 4}/0"


def test_a_tenant_is_told_of_its_own_keys_only(room: Room) -> None:
    ads = room.join("ads")
    assert room.ask(ads, "GATE", "ROUTE", "Bank.Ledger:1") == NOPERM
    assert room.ask(ads, "GATE", "ROUTE", "Bank.Ledger:1", "NOSUCH").startswith(b"-ERR unknown command 'NOSUCH', with")
    assert _route(room, ads, "Ads.X:1")["namespace"] == "Ads.X"


def test_why_a_command_would_be_refused(room: Room) -> None:
    ads, boss = room.join("ads"), room.join("boss")
    told = _route(room, ads, "Ads.X:1", "migrate")["refused"]
    assert told == "NOPERM this user has no permissions to run the 'migrate' command"
    assert _route(room, boss, "Ads.X:1", "migrate")["refused"].startswith("ERR command 'migrate' is not available")
    assert _route(room, boss, "Ads.X:1", "config", "set")["refused"].startswith("ERR command 'config|set' is not available")
    assert _route(room, boss, "Ads.X:1", "config|set")["refused"].startswith("ERR command 'config|set' is not available")
    assert "migrate" in _route(room, boss, "Ads.X:1")["refused: not available through the gate"].split(", ")
    assert "migrate" in _route(room, ads, "Ads.X:1")["refused: NOPERM"].split(", ")


def test_a_key_without_a_namespace(room: Room) -> None:
    told = _route(room, room.join("ads"), "nowhere")
    assert told.keys() == {"key", "refused"}
    assert told["refused"].startswith("NONAMESPACE no namespace for key 'nowhere': ")


def test_wrong_words(room: Room) -> None:
    boss = room.join("boss")
    assert room.ask(boss, "GATE", "ROUTE", "Ads.X:1", "config", "set", "x") == b"-ERR syntax error\r\n"
    assert room.ask(boss, "GATE", "ROUTE", "Ads.X:1", "get", "x").startswith(b"-ERR unknown command 'get', with args")
    assert room.ask(boss, "GATE", "ROUTE") == b"-ERR wrong number of arguments for 'gate|route' command\r\n"
    assert room.ask(boss, "GATE", "WHAT") == b"-ERR unknown subcommand 'WHAT'. Try GATE HELP.\r\n"
    assert room.ask(boss, "GATE", "RELOAD", "NOW") == b"-ERR syntax error\r\n"
