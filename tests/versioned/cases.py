"""Every row and edge of tair.md, as dialogues that any backend must hold."""

import re
from typing import Final

import attrs

from tests.versioned.conditional import CONDITIONAL
from tests.versioned.hash_writes import HASH_WRITES
from tests.versioned.hashes import HASHES
from tests.versioned.numbers import NUMBERS
from tests.versioned.replies import Expected, parsed, words
from tests.versioned.string_commands import STRING_COMMANDS
from tests.versioned.strings import STRINGS

NAMESPACE: Final = "Bank.Stock"
"""Of all keys of the tests; ``versioned = true`` where a store needs it."""


@attrs.frozen(slots=True)
class Case:
    """Commands and what they are answered. Keys are written ``@k``."""

    name: str
    number: int
    lines: tuple[tuple[str, Expected], ...]

    def without(self, name: str) -> "Case":
        """The case without a command that a store has not, and that changes nothing."""
        return attrs.evolve(self, lines=tuple(line for line in self.lines if not line[0].startswith(name)))

    def commands(self, run: str) -> list[list[bytes]]:
        """The commands, with keys that no other case and no other `run` has, all of one shard."""
        keys = rf"{NAMESPACE}:{{{self.number}-{run}}}\1"
        return [words(re.sub(r"@(\w)", keys, command)) for command, _ in self.lines]

    @property
    def expected(self) -> list[Expected]:
        """What each is answered."""
        return [expected for _, expected in self.lines]


def _lines(text: str) -> tuple[tuple[str, Expected], ...]:
    rows = [line.strip() for line in text.strip().splitlines()]
    split = [re.split(r"\s+> (?=\S)", row, maxsplit=1) for row in rows]
    return tuple((command, parsed(expected)) for command, expected in split)


def _collected() -> list[Case]:
    strings, hashes = STRINGS | STRING_COMMANDS | NUMBERS, HASHES | HASH_WRITES
    groups = {"string": strings, "hash": hashes, "plain": CONDITIONAL}
    named = [(f"{group}: {name}", text) for group, cases in groups.items() for name, text in cases.items()]
    return [Case(name, number, _lines(text)) for number, (name, text) in enumerate(named)]


CASES: Final = _collected()
