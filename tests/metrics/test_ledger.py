"""What accounts count, and what of it is bounded."""

from kvgate.metrics import ledger
from kvgate.metrics.ledger import BUCKETS, OTHER, Accounts, Ledger


def test_an_account_counts_replies_and_their_time() -> None:
    account = Ledger().account("Ads.x", "get", readonly=True)
    account.note(3, 0.000_003, errors=1, misses=1, bytes_in=60, bytes_out=30)
    account.note_reply(b"$-1\r\n", 20.0, 10)
    account.note_reply(b"-ERR no\r\n", 0.0)
    account.note_untimed(2, 2)
    assert (account.calls, account.errors, account.misses) == (7, 4, 2)
    assert (account.bytes_in, account.bytes_out) == (70, 44)
    assert account.buckets[2] == 3, "3 µs are less than 2^2 µs"
    assert account.buckets[0] == 1
    assert account.buckets[BUCKETS - 1] == 1
    assert sum(account.buckets) == 5, "what waited for others' doing has no time"
    assert account.seconds == 20.0 + 3 * 0.000_003


def test_a_request_s_beginning_opens_the_account_of_its_command() -> None:
    book = Ledger()
    accounts = Accounts(book, "Ads.x")
    first = accounts[b"*2\r\n$3\r\nGeT"]
    assert (first.namespace, first.command, first.readonly) == ("Ads.x", "get", True)
    assert accounts[b"*2\r\n$3\r\nget"] is first, "one account, however it is spelled"
    assert not accounts[b"*3\r\n$3\r\nSET"].readonly
    assert {each.command for each in book} == {"get", "set"}


def test_names_that_clients_choose_are_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(ledger, "MOST_NAMESPACES", 2)
    book = Ledger()
    names = [book.account(f"Ads.n{number}", "get", readonly=True).namespace for number in range(5)]
    assert names == ["Ads.n0", "Ads.n1", OTHER, OTHER, OTHER]
    book.refused("Ads.n9", "NOPERM")
    assert book.refusals == {(OTHER, "NOPERM"): 1}


def test_commands_that_waited_are_counted_with_their_time() -> None:
    ledger = Ledger()
    ledger.had_to_wait("A.T", 0.025)
    ledger.had_to_wait("A.T", 0.05)
    assert (ledger.waits["A.T"], ledger.waited["A.T"]) == (2, 75_000)
