"""Which expiry a key gets, by the command that writes it: what is run instead, and what is looked at afterwards."""

import random
from typing import Final

import pytest

from kvgate.backend import After
from kvgate.commands.keys import keys_with_flags
from kvgate.commands.spec import Action
from kvgate.commands.table import TABLE, every_command, lookup
from kvgate.model.handlers import HANDLERS
from kvgate.model.lasting import HOW, NEVER, handler_with, lasting
from kvgate.model.transaction import Handler, Transaction
from kvgate.policy.limits import Expiry
from tests.model.world import World

NOW: Final = 1_700_000_000_000
BOTH: Final = Expiry(default=60_000, longest=100_000)
DEFAULT: Final = Expiry(default=60_000)
LONGEST: Final = Expiry(longest=100_000)


def test_every_command_that_writes_keys_is_thought_of() -> None:
    writing = {spec.name for spec in every_command() if spec.write and spec.keys and spec.action is not Action.REFUSE}
    assert set(HOW) == writing


def instead(line: str, rule: Expiry | None = BOTH) -> tuple[str, tuple[After, ...]]:
    """What is run instead of a command on keys with one rule."""
    args = [b"" if word == '""' else word.encode() for word in line.split()]
    spec = lookup(args)
    assert spec is not None
    rules = [(at, rule) for at, _ in keys_with_flags(spec, args)]
    found = lasting(spec, args, rules, NOW)
    return (line, ()) if found is None else (b" ".join(found.args).decode(), found.after)


CHANGED = {
    "SET k v": "SET k v PX 60000",
    "SET k v NX GET": "SET k v NX GET PX 60000",
    "SET k v EX 10": "SET k v EX 10",
    "SET k v ex 101 XX": "SET k v PX 100000 XX",
    "SET k v PX 100000": "SET k v PX 100000",
    "SET k v PX 100001": "SET k v PX 100000",
    "SET k PX PX 100001": "SET k PX PX 100000",
    f"SET k v PXAT {NOW + 100_000}": f"SET k v PXAT {NOW + 100_000}",
    f"SET k v PXAT {NOW + 100_001}": f"SET k v PXAT {NOW + 100_000}",
    f"SET k v EXAT {NOW // 1000 + 101}": f"SET k v PXAT {NOW + 100_000}",
    "SET k v EX 0": "SET k v EX 0",
    "SET k v EX no": "SET k v EX no",
    "SET k v EX 9223372036854775807": "SET k v EX 9223372036854775807",
    f"SET k v EX {(2**63 - 1 - NOW) // 1000 + 1}": f"SET k v EX {(2**63 - 1 - NOW) // 1000 + 1}",
    f"SET k v EX {(2**63 - 1 - NOW) // 1000}": "SET k v PX 100000",
    f"SET k v PX {2**63 - 1 - NOW}": "SET k v PX 100000",
    f"PSETEX k {2**63 - NOW} v": f"PSETEX k {2**63 - NOW} v",
    f"PEXPIREAT k {2**63 - 1}": f"PEXPIREAT k {NOW + 100_000}",
    f"EXPIREAT k {(2**63 - 1) // 1000}": f"PEXPIREAT k {NOW + 100_000}",
    f"RESTORE k {2**63 - 1 - NOW} x": "RESTORE k 100000 x",
    f"RESTORE k {2**63 - 1} x ABSTTL": f"RESTORE k {NOW + 100_000} x ABSTTL",
    f"RESTORE k {2**63 - NOW} x": f"RESTORE k {2**63 - NOW} x",
    "SETEX k 101 v": "PSETEX k 100000 v",
    "SETEX k 100 v": "SETEX k 100 v",
    "PSETEX k 100001 v": "PSETEX k 100000 v",
    "GETEX k": "GETEX k",
    "GETEX k EX 101": "GETEX k PX 100000",
    "EXPIRE k 101 NX": "PEXPIRE k 100000 NX",
    "EXPIRE k -1": "EXPIRE k -1",
    "PEXPIRE k 100001": "PEXPIRE k 100000",
    f"EXPIREAT k {NOW // 1000 + 101} GT": f"PEXPIREAT k {NOW + 100_000} GT",
    "EXPIREAT k 1": "EXPIREAT k 1",
    "RESTORE k 0 x REPLACE": "RESTORE k 60000 x REPLACE",
    "RESTORE k 100001 x": "RESTORE k 100000 x",
    f"RESTORE k {NOW + 100_001} x ABSTTL": f"RESTORE k {NOW + 100_000} x ABSTTL",
    "RESTORE k 0 x ABSTTL": f"RESTORE k {NOW + 60_000} x ABSTTL",
    "DEL k": "DEL k",
    "HDEL k f": "HDEL k f",
    "EXHEXPIRE k f 1000": "EXHEXPIRE k f 1000",
    "GATE LOCK k 1000000 t 5": "GATE LOCK k 1000000 t 5",
    "SORT k": "SORT k",
    "BITFIELD k GET u8 0": "BITFIELD k GET u8 0",
    "GET k": "GET k",
}


@pytest.mark.parametrize("line", CHANGED)
def test_times_among_the_arguments_are_changed_there(line: str) -> None:
    assert instead(line) == (CHANGED[line], ())


LOOKED_AT = {
    "SET k v KEEPTTL": "k",
    "SET k v EX 5 EX 1000": "k",
    "SET k v NOSUCH": "k",
    "SET k v IFEQ w": "k",
    "SETNX k v": "k",
    "MSET a 1 b 2": "a b",
    "HSET k f v": "k",
    "LMOVE a b LEFT LEFT": "b",
    "COPY a b": "b",
    "RENAME a b": "b",
    "SORT a STORE b": "b",
    "GEORADIUS a 0 0 1 m STORE b": "b",
    "SUNIONSTORE a b c": "a",
    "ZUNIONSTORE a 2 b c": "a",
    "BITOP AND a b c": "a",
    "BITFIELD k SET u8 0 1": "k",
    "XGROUP CREATE k g 0 MKSTREAM": "k",
    "EXSET k v EX 1000": "k",
    "EXHSET k f v": "k",
}


@pytest.mark.parametrize("line", LOOKED_AT)
def test_other_keys_are_looked_at_afterwards(line: str) -> None:
    same, after = instead(line)
    assert same == line
    assert after == tuple(After(key.encode(), 60_000, 100_000, 100_000) for key in LOOKED_AT[line].split())


def test_only_the_keys_of_namespaces_that_have_a_rule() -> None:
    args = [b"MSET", b"a", b"1", b"b", b"2"]
    found = lasting(TABLE[b"MSET"], args, [(1, None), (3, DEFAULT)], NOW)
    assert found is not None
    assert found.after == (After(b"b", 60_000),)
    assert lasting(TABLE[b"RENAME"], [b"RENAME", b"a", b"b"], [(1, DEFAULT), (2, None)], NOW) is None


def test_without_a_default_the_longest_is_given() -> None:
    assert instead("SET k v", LONGEST) == ("SET k v PX 100000", ())
    assert instead("INCR k", LONGEST) == ("INCR k", (After(b"k", 100_000, 100_000, 100_000),))


def test_without_a_longest_nothing_is_cut() -> None:
    assert instead("SET k v EX 1000000", DEFAULT) == ("SET k v EX 1000000", ())
    assert instead("INCR k", DEFAULT) == ("INCR k", (After(b"k", 60_000),))


def test_jitter_spreads_and_keeps_to_what_is_promised() -> None:
    random.seed(7)
    rule = Expiry(default=60_000, longest=65_000, jitter=0.1)
    given = {rule.given() for _ in range(2000)}
    assert 60_000 <= min(given) < 60_100
    assert 64_900 < max(given) <= 65_000
    assert sum(rule.given() == 65_000 for _ in range(2000)) < 10, "they do not pile up at the end"
    cut = {rule.cut() for _ in range(2000)}
    assert 58_500 <= min(cut) < 58_600
    assert 64_900 < max(cut) <= 65_000
    assert {rule.kept(1000) for _ in range(2000)} == set(range(1000, 1100))
    alone = Expiry(default=60_000, jitter=0.5)
    assert max(alone.given() for _ in range(2000)) > 85_000
    longest = Expiry(longest=60_000, jitter=0.5)
    assert min(longest.given() for _ in range(2000)) < 35_000
    assert rule.moment(NOW + 10, NOW) == NOW + 10


def test_what_never_makes_a_key_is_left_alone() -> None:
    assert HOW["DEL"] is NEVER
    assert instead("DEL k", None) == ("DEL k", ())


@pytest.mark.trio
async def test_an_engine_gives_the_expiry_in_the_command_s_own_transaction() -> None:
    world = World()
    longest = (After(b"k", 5_000, 10_000, 9_000), After(b"none", 1, 1, 1))
    for line, left in (
        ("SET k v", 5_000),
        ("PEXPIRE k 8000", 8_000),
        ("PEXPIRE k 20000", 9_000),
        ("DEL k", -2),
        ("HSET k f v", 5_000),
        ("SET k v KEEPTTL", 5_000),
        ("SET k v", 5_000),
    ):
        args = line.encode().split()
        handler = handler_with(HANDLERS[args[0].decode()], longest)

        async def body(tx: Transaction, handler: Handler = handler, args: list[bytes] = args) -> None:
            await handler(tx, args)

        await world.change(body)
        assert await world.ask(b"PTTL", b"k") == left, line
        assert await world.ask(b"EXISTS", b"none") == 0
