"""Reading one table of the configuration: checked values, units, and mistakes collected with their key paths.

Adapters may use it for their ``[backends.NAME]`` table as the gate does for its own.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

SECONDS: Final = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}
BYTES: Final = {  # Redis' own units: 1k is 1,000, 1kb is 1,024
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1024,
    "kib": 1024,
    "m": 1000**2,
    "mb": 1024**2,
    "mib": 1024**2,
    "g": 1000**3,
    "gb": 1024**3,
    "gib": 1024**3,
}
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
_AMOUNT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\Z")


def key_path(*parts: str) -> str:
    """The parts as TOML writes them: ``namespaces."Ads.Profile".backend``."""
    return ".".join(part if _BARE.match(part) else json.dumps(part, ensure_ascii=False) for part in parts)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)``, or nothing when no known word is near."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f' (did you mean "{by_lower[near[0]]}"?)' if near else ""


def parse_seconds(value: object) -> float:
    """Seconds from ``"500ms"``, ``"1.5s"``, ``"2m"``, ``"1h"``, or a plain number of milliseconds. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value / 1000
    match = _AMOUNT.match(value.strip().lower()) if isinstance(value, str) else None
    if match is None or match[2] not in SECONDS:
        raise ValueError('a time is a number of milliseconds or a text like "500ms", "1.5s", "2m"')
    return float(Fraction(match[1]) * SECONDS[match[2]])


def parse_size(value: object) -> int:
    """Bytes from ``"128kb"``, ``"64mb"``, ``"1gb"``, or a plain number of bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _AMOUNT.match(value.strip().lower()) if isinstance(value, str) else None
    if match is None or match[2] not in BYTES:
        raise ValueError('a size is a number of bytes or a text like "128kb", "64mb"')
    return int(Fraction(match[1]) * BYTES[match[2]])


class Options:
    """One table. Each reader takes a key, gives a checked value or the default, and notes a mistake instead of raising;
    `done` notes the keys that nobody read."""

    def __init__(self, table: Mapping[str, Any], mistakes: list[str], *path: str) -> None:
        """Read `table`, which lies at `path` (for the mistakes' texts); mistakes are appended to `mistakes`."""
        self.table = table
        self.mistakes = mistakes
        self.path = path
        self.read: set[str] = set()

    def wrong(self, key: str, text: str) -> None:
        """Note a mistake at `key`; an empty key means the table itself."""
        where = key_path(*self.path, *([key] if key else []))
        self.mistakes.append(f"{where}: {text}" if where else text)

    def __contains__(self, key: str) -> bool:
        """Whether the table has the key; counts as reading it."""
        self.read.add(key)
        return key in self.table

    def raw(self, key: str) -> Any:
        """The value as TOML gave it, None when absent."""
        self.read.add(key)
        return self.table.get(key)

    def text(self, key: str, default: str = "", choices: Iterable[str] = ()) -> str:
        """A text, one of `choices` when there are any."""
        value = self.raw(key)
        if value is None:
            return default
        known = list(choices)
        if not isinstance(value, str):
            self.wrong(key, "must be a text in quotes")
        elif known and value not in known:
            self.wrong(key, f'"{value}" is none of {", ".join(known)}{did_you_mean(value, known)}')
        else:
            return value
        return default

    def texts(self, key: str) -> list[str] | None:
        """A list of texts, None when absent."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong(key, 'must be a list of texts: ["…"]')
            return []
        return value

    def integer(self, key: str, default: int, low: int = 0, high: int = 2**53) -> int:
        """A whole number from `low` to `high`."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.wrong(key, f"must be a whole number of at least {low}" + (f", at most {high}" if high < 2**53 else ""))
            return default
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(key, "must be true or false")
            return default
        return value

    def seconds(self, key: str, default: float, low: float = 0.0) -> float:
        """A time in seconds, see `parse_seconds`."""
        value = self.raw(key)
        if value is None:
            return default
        try:
            seconds = parse_seconds(value)
        except ValueError as error:
            self.wrong(key, str(error))
            return default
        if seconds < low:
            self.wrong(key, f"must be at least {low:g}s")
            return default
        return seconds

    def size(self, key: str, default: int | None = None, low: int = 0) -> int | None:
        """A number of bytes, see `parse_size`."""
        value = self.raw(key)
        if value is None:
            return default
        try:
            size = parse_size(value)
        except ValueError as error:
            self.wrong(key, str(error))
            return default
        if size < low:
            self.wrong(key, f"must be at least {low} bytes")
            return default
        return size

    def file(self, key: str, base: Path) -> Path | None:
        """A path, relative to `base`; ``~`` is the home folder. Its existence is not looked at."""
        text = self.text(key)
        return base / Path(text).expanduser() if text else None

    def subtable(self, key: str) -> "Options | None":
        """A table below this one, None when absent."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong(key, f"must be a table: [{key_path(*self.path, key)}]")
            return None
        return Options(value, self.mistakes, *self.path, key)

    def done(self) -> None:
        """Note every key that was not read: a key that nobody reads is a typing mistake or a wish that is not fulfilled."""
        for key in self.table:
            if key not in self.read:
                self.wrong(key, f"unknown key{did_you_mean(key, self.read)}")
