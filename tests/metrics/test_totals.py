"""Sums over accounts: by command, for whom, and of several processes."""

import json

import pytest

from kvgate.metrics.ledger import OTHER_CODE, Ledger
from kvgate.metrics.totals import CommandTotal, Totals, together, totals


def ledger() -> Ledger:
    made = Ledger()
    get = made.account("Ads.P", "get", readonly=True)
    get.note(10, 0.000_5, errors=1, misses=3)
    get.note_code(b"-WRONGTYPE Operation against\r\n", 0)
    made.account("Bank.L", "get", readonly=True).note(5, 0.1)
    made.account("Bank.L", "set", readonly=False).note_reply(b"-INDOUBT gone\r\n", 0.2)
    made.account("", "ping", readonly=False).note(7, 0.000_001)
    made.refused("Ads.P", "THROTTLED")
    made.refused("", "NOPERM")
    return made


def test_a_namespace_that_is_not_seen_counts_in_nothing() -> None:
    found = totals(ledger(), lambda name: name == "Ads.P")
    assert list(found.commands) == ["get"]
    assert found.commands["get"].calls == 10
    assert found.codes == {"WRONGTYPE": 1, "THROTTLED": 1}
    assert (found.hits, found.misses, found.errors) == (6, 3, 2)


def test_all_processes_together_after_their_way_as_json() -> None:
    whole = totals(ledger(), lambda _name: True)
    parts = [json.loads(json.dumps(whole.to_json())) for _ in range(3)]
    found = together(parts)
    assert found.commands["get"].calls == 45
    assert found.commands["set"].errors == 3
    assert found.commands["ping"].buckets[1] == 21
    assert found.codes == {"WRONGTYPE": 3, "INDOUBT": 3, "THROTTLED": 3, "NOPERM": 3}
    assert (found.hits, found.misses) == (3 * 11, 9)
    assert together([]) == Totals()


def test_percentiles_lie_in_their_bucket() -> None:
    total = CommandTotal()
    total.buckets[5], total.buckets[10] = 99, 1  # below 32 µs, below 1024 µs
    assert 16 <= total.percentile(50) <= 32
    assert 16 <= total.percentile(99) <= 32
    assert 512 <= total.percentile(99.9) <= 1024
    assert CommandTotal().percentile(50) == 0.0


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"-ERR no\r\n", b"ERR"),
        (b"-WRONGTYPE\r\n", b"WRONGTYPE"),
        (b"-foo bar\r\n", OTHER_CODE),
        (b"-A:B,c=1 x\r\n", OTHER_CODE),
        (b"-" + b"X" * 40 + b" y\r\n", OTHER_CODE),
    ],
)
def test_codes_are_words_that_may_stand_in_info(raw: bytes, code: bytes) -> None:
    account = Ledger().account("Ads.P", "eval", readonly=False)
    account.note_reply(raw, 0.1)
    assert account.codes == {code: 1}


def test_codes_that_a_script_makes_up_are_bounded() -> None:
    account = Ledger().account("Ads.P", "eval", readonly=False)
    for number in range(1000):
        account.note_reply(b"-E%d x\r\n" % number, 0.1)
    assert account.codes is not None
    assert len(account.codes) <= 17
    assert sum(account.codes.values()) == 1000
