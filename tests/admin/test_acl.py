"""ACL WHOAMI, CAT and GENPASS, beyond what the comparison with a real server shows."""

import re

import pytest

from kvgate.commands.table import CATEGORIES, OWN_CATEGORIES, REDIS_CATEGORIES
from kvgate.wire.reply import decode
from tests.admin.rooms import Room
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
    assert room.ask(room.join("ads"), "ACL", "GETUSER", "ads").startswith(b"-NOPERM")
