"""What a known difference is: a dialogue with the answers of Redis and of the gate, and the reason why they cannot agree."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from kvgate_compat.connection import Node
from kvgate_compat.dialogue import quoted

CONFIGURATIONS: Final = ("redis", "shards", "home", "lmdb", "tikv")
"""What dialogues are replayed on: a gate before one Redis; before two shards; before one Redis, by a user with a home
namespace; before the embedded store; before TiKV. The words stand in `Known.where`."""
EVERYWHERE: Final = frozenset(CONFIGURATIONS)
STORES: Final = frozenset(("redis", "shards", "home"))
"""Where commands are passed to a Redis."""
ENGINES: Final = frozenset(("lmdb", "tikv"))
"""Where the gate's own model answers."""


@attrs.frozen(slots=True)
class Line:
    """One command of a dialogue."""

    text: str
    """As for redis-cli. ``$DUMP(key)`` stands for what DUMP of the key answers on the server that gets the line."""
    redis: str
    """What Redis answers, as `told` writes it; ``…`` stands for anything."""
    gate: str
    client: int = 1
    """2: by another client."""

    @property
    def differs(self) -> bool:
        """Whether the two answers are not the same."""
        return self.redis != self.gate

    @property
    def is_refusal(self) -> bool:
        """Whether only the gate's answer is an error: then Redis' may be any."""
        return self.gate.startswith("(error) ") and not self.redis.startswith("(error) ")


@attrs.frozen(slots=True)
class Known:
    """One known difference."""

    name: str
    """In links."""
    title: str
    commands: tuple[str, ...]
    """Names of the command table."""
    where: frozenset[str]
    """Of `CONFIGURATIONS`."""
    dialogue: tuple[Line, ...]
    """The smallest that shows it, on an empty server; at least one line differs. Empty where no dialogue of one or two clients
    shows it each time."""
    why: str
    met: bool = True
    """Whether the search may count it. False: its answers do not tell it from others, and generators leave it out."""

    refuses: bool = False
    """Whether the commands are refused altogether there."""

    @property
    def reason(self) -> str:
        """The first sentence of `why`."""
        return self.why.partition(". ")[0].rstrip(".")

    def explains(self, command: str, redis: str, gate: str) -> bool:
        """Whether a difference of `command`, with these answers (see `told`), is this one: both are as written, or the gate's
        is the error that is written where Redis answers something or other."""
        if not self.met or command not in self.commands or redis == gate:
            return False
        return any(
            fits(line.gate, gate) and (line.is_refusal or fits(line.redis, redis)) for line in self.dialogue if line.differs
        )


def dialogue(*rows: str) -> tuple[Line, ...]:
    """Rows ``command => answer`` and, where they differ, ``command => Redis' answer != the gate's``; ``2: command …`` is by
    another client. Raises ValueError."""
    return tuple(map(_line, rows))


def _line(row: str) -> Line:
    client, colon, rest = row.partition(": ")
    if not (colon and client in ("1", "2")):
        client, rest = "1", row
    command, arrow, answers = rest.partition(" => ")
    if not arrow:
        msg = f"no answer: {row}"
        raise ValueError(msg)
    redis, _, gate = answers.strip().partition(" != ")
    return Line(command.strip(), redis.strip(), (gate or redis).strip(), int(client))


def fits(pattern: str, answer: str) -> bool:
    """Whether an answer is as written."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), answer, re.DOTALL) is not None


def told(reply: Node) -> str:
    """A reply in one line: as redis-cli writes it, but for aggregates: ``["a", (nil)]``, ``{"field": "value"}``."""
    if reply.kind == b"_":
        return "(nil)"
    text = reply.text.decode("utf-8", "backslashreplace")
    if reply.kind == b"*" or reply.kind in (b"~", b">"):
        return "[" + ", ".join(map(told, reply.items)) + "]"
    if reply.kind == b"%":
        pairs = zip(reply.items[::2], reply.items[1::2], strict=True)
        return "{" + ", ".join(f"{told(key)}: {told(value)}" for key, value in pairs) + "}"
    named = {b"+": text, b"-": f"(error) {text}", b":": f"(integer) {text}", b",": f"(double) {text}", b"(": f"(big) {text}"}
    if reply.kind in named:
        return named[reply.kind]
    if reply.kind == b"#":
        return "(true)" if text == "t" else "(false)"
    shown = quoted(reply.text)
    return shown if shown.startswith('"') else f'"{shown}"'


def explained(known: Iterable[Known], command: str, redis: str, gate: str) -> Known | None:
    """The known difference that these answers to `command` are, if any."""
    return next((one for one in known if one.explains(command, redis, gate)), None)


def in_configuration(known: Iterable[Known], configuration: str) -> Sequence[Known]:
    """Those that hold there."""
    return [one for one in known if configuration in one.where]
