"""The model's reading of options: EX, NX, VER and the others, and what they exclude."""

from collections.abc import Sequence
from typing import Final

import attrs

from tests.versioned.model import SYNTAX, Deadline, Model, Refused, integer

TIMES: Final = ("EX", "EXAT", "PX", "PXAT")
VALUED: Final = (*TIMES, "VER", "ABS", "GT", "FLAGS", "DEF", "MIN", "MAX")
BARE: Final = ("NX", "XX", "KEEPTTL", "WITHVERSION", "NONEGATIVE")
EXCLUDES: Final = ((*TIMES, "KEEPTTL"), ("NX", "XX"), ("VER", "ABS", "GT"))
"""Of each group one may be said, a bare one repeatedly."""


@attrs.frozen(slots=True)
class Options:
    """What was said, values unread."""

    said: dict[str, bytes]

    def __contains__(self, name: str) -> bool:
        """Whether it was said."""
        return name in self.said

    def number(self, name: str, error: str) -> int | None:
        """Its value; None when it was not said. Raises `Refused` with `error`."""
        if name not in self.said:
            return None
        found = integer(self.said[name])
        if found is None:
            raise Refused(error)
        return found

    def deadline(self, model: Model, *, least: int) -> Deadline | None:
        """The new expiry; a time below `least` is a syntax error."""
        for name in TIMES:
            time = self.number(name, SYNTAX)
            if time is not None:
                if time < least:
                    raise Refused(SYNTAX)
                milliseconds = time * (1000 if name.startswith("EX") else 1)
                if not milliseconds:
                    return Deadline(0, 0)
                return Deadline(milliseconds, milliseconds) if name.endswith("AT") else model.relative(milliseconds)
        return None

    def version(self, *, least: int) -> tuple[str, int]:
        """What is asked of the version (VER, ABS, GT or nothing), and its number; ABS and GT below `least` are refused."""
        for name in ("VER", "ABS", "GT"):
            number = self.number(name, SYNTAX)
            if number is not None:
                if number < (0 if name == "VER" else least):
                    raise Refused(SYNTAX)
                return name, number
        return "", 0


def options(words: Sequence[bytes], allowed: str, *, again: str = "") -> Options:
    """Read them; of an option that may be said `again`, the last counts. Raises `Refused`."""
    said: dict[str, bytes] = {}
    left = list(words)
    while left:
        name = left.pop(0).decode("latin-1").upper()
        if name not in allowed.split() or name not in VALUED + BARE:
            raise Refused(SYNTAX)
        if name in said and name not in BARE and name not in again.split():
            raise Refused(SYNTAX)
        if any(name in group and other in group for group in EXCLUDES for other in said if other != name):
            raise Refused(SYNTAX)
        if name in VALUED and not left:
            raise Refused(SYNTAX)
        said[name] = left.pop(0) if name in VALUED else b""
    return Options(said)
