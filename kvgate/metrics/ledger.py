"""Accounts: what every command of every namespace came to, counted where the replies pass by.

The lane adds to an `Account` once for all replies that came together, so that counting costs a share of a reply. Everything
that is shown (INFO, LATENCY, /metrics, GATE TOP) is summed from accounts when somebody asks.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from kvgate.commands.table import TABLE

MOST_NAMESPACES: Final = 16_384
"""Namespaces with accounts of their own: names under ``App.*`` are the clients' choice. What comes later is `OTHER`."""
OTHER: Final = "other"
"""Stands for the namespaces beyond the limit; no namespace is called so: names have a dot, or are ``default``."""
NO_NAMESPACE: Final = ""
"""Of commands that are about no key: PING, INFO, SCAN."""
MOST_HEADS: Final = 4096
"""Spellings of requests that are remembered for one namespace."""
BUCKETS: Final = 26
"""Of a latency histogram: the number n counts what took less than 2^n microseconds, the last one everything above 16 s."""


MOST_CODES: Final = 16
"""First words of errors that are counted for one account: a script may say what it likes. What comes later is `OTHER_CODE`."""
OTHER_CODE: Final = b"OTHER"


class Account:
    """One command in one namespace, over all clients of this process."""

    __slots__ = (
        "buckets",
        "bytes_in",
        "bytes_out",
        "calls",
        "codes",
        "command",
        "errors",
        "misses",
        "namespace",
        "readonly",
        "rejected",
        "seconds",
    )

    def __init__(self, namespace: str, command: str, *, readonly: bool) -> None:
        """`command` as clients read it: ``get``, ``client|list``."""
        self.namespace = namespace
        self.command = command
        self.readonly = readonly
        self.calls = 0  # answered, errors and misses among them
        self.errors = 0
        self.codes: dict[bytes, int] | None = None  # of them, by the error's first word; see `note_code`
        self.rejected = 0  # refused before anything was sent
        self.misses = 0  # nil replies
        self.bytes_in = 0
        self.bytes_out = 0
        self.seconds = 0.0  # from the command's arrival to its reply's, summed
        self.buckets = [0] * BUCKETS

    def note(
        self, calls: int, seconds: float, errors: int = 0, misses: int = 0, bytes_in: int = 0, bytes_out: int = 0
    ) -> None:
        """Add `calls` answered commands that took `seconds` each."""
        self.calls += calls
        if errors:
            self.errors += errors
        if misses:
            self.misses += misses
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.seconds += calls * seconds
        at = int(seconds * 1_000_000).bit_length()
        self.buckets[at if at < BUCKETS else -1] += calls

    def note_untimed(self, calls: int, errors: int, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Add commands whose time says nothing: they waited for others' doing, or for a store that did not answer."""
        self.calls += calls
        self.errors += errors
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def note_code(self, data: bytes, pos: int, count: int = 1) -> None:
        """Add the first word of the error that stands in `data` at `pos`, to those that `errors` counts."""
        found = _CODE.match(data, pos)
        code = found[1] if found is not None else OTHER_CODE
        codes = self.codes
        if codes is None:
            codes = self.codes = {}
        elif code not in codes and len(codes) >= MOST_CODES:
            code = OTHER_CODE
        codes[code] = codes.get(code, 0) + count

    def note_reply(self, raw: bytes, seconds: float, bytes_in: int = 0) -> None:
        """Add one command that was answered with `raw`."""
        if raw[:1] == b"-":
            self.note_code(raw, 0)
        self.note(1, seconds, raw[:1] == b"-", raw in _NIL, bytes_in, len(raw))


_CODE: Final = re.compile(rb"-([A-Z][A-Z0-9_]{0,31})[ \r]")
_NIL: Final = (b"$-1\r\n", b"_\r\n", b"*-1\r\n")


class Accounts(dict[bytes, Account]):
    """Of one namespace: how a request begins → the command's account; opened when it is first looked for."""

    def __init__(self, ledger: "Ledger", namespace: str) -> None:
        """Of `namespace` in `ledger`."""
        super().__init__()
        self._ledger = ledger
        self._namespace = namespace

    def __missing__(self, head: bytes) -> Account:
        """Of a request that begins with `head` (``*3\\r\\n$3\\r\\nSET``), a command of the table."""
        if len(self) >= MOST_HEADS:
            self.clear()
        spec = TABLE[head[head.rfind(b"\n") + 1 :].upper()]
        account = self[head] = self._ledger.account(self._namespace, spec.lower, readonly=spec.readonly)
        return account


class Ledger:
    """All accounts of this process, and what was refused."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._accounts: dict[str, dict[str, Account]] = {}
        self.refusals: Counter[tuple[str, str]] = Counter()
        """(namespace, the error's first word) → commands that the gate refused before anything was sent."""
        self.wrapping: Callable[[Account], Account] | None = None
        """Set while one command that is followed goes its way: what its accounts are told is told to somebody else, too."""

        self.waits: Counter[str] = Counter()
        """Namespace → commands that waited for their turn, since a rate was used up; refused ones are not among them."""
        self.waited: Counter[str] = Counter()
        """Namespace → microseconds that they waited."""

    def account(self, namespace: str, command: str, *, readonly: bool) -> Account:
        """The command's account in the namespace, opened if there is none."""
        commands = self._accounts.get(namespace)
        if commands is None:
            if len(self._accounts) >= MOST_NAMESPACES:
                namespace = OTHER
            commands = self._accounts.setdefault(namespace, {})
        found = commands.get(command)
        if found is None:
            found = commands[command] = Account(namespace, command, readonly=readonly)
        return found if self.wrapping is None else self.wrapping(found)

    def refused(self, namespace: str, code: str) -> None:
        """Count a refusal: ``NOPERM``, ``THROTTLED``."""
        if namespace not in self._accounts and len(self._accounts) >= MOST_NAMESPACES:
            namespace = OTHER
        self.refusals[namespace, code] += 1

    def namespaces(self) -> list[str]:
        """Every namespace with accounts, `OTHER` and `NO_NAMESPACE` among them."""
        return list(self._accounts)

    def of(self, namespace: str) -> list[Account]:
        """A namespace's accounts."""
        return list(self._accounts.get(namespace, {}).values())

    def accounts(self) -> list[Account]:
        """Every account, as a list: also for a thread beside the lane, which goes on opening others."""
        return [account for commands in list(self._accounts.values()) for account in list(commands.values())]

    def had_to_wait(self, namespace: str, seconds: float) -> None:
        """Count a command that waited so long for its turn."""
        if namespace not in self._accounts and len(self._accounts) >= MOST_NAMESPACES:
            namespace = OTHER
        self.waits[namespace] += 1
        self.waited[namespace] += round(seconds * 1_000_000)

    def __iter__(self) -> Iterator[Account]:
        """Every account."""
        for commands in self._accounts.values():
            yield from commands.values()
