"""Rates as values: how much a user, or all users of a namespace, may ask for in a second (``rate`` and ``[rates]``)."""

from typing import Final

import attrs

from kvgate.backend import Endpoint

MAX_WAIT: Final = 0.1
PREFIX: Final = "kvgate:rate:"


@attrs.frozen(slots=True)
class Rate:
    """A ``rate = { … }`` table. Numbers are for one second; 0 is no limit."""

    operations: int = 0
    writes: int = 0
    reads: int = 0
    bytes: int = 0
    """Of requests, in bytes."""
    burst: float = 1.0
    """Seconds: what these give may be asked for at once, after a time of less."""
    local: float = 0.05
    """Seconds: what these give one process fetches at once of a budget that it shares with others."""

    def limits(self, *, readonly: bool | None) -> tuple[tuple[str, int], ...]:
        """What a command meets, by name and amount for a second; `readonly` is None for one that is neither a read nor a
        write."""
        named = [("operations", self.operations)]
        if readonly is not None:
            named.append(("reads", self.reads) if readonly else ("writes", self.writes))
        return tuple(limit for limit in (*named, ("bytes", self.bytes)) if limit[1])


@attrs.frozen(slots=True)
class RateSettings:
    """``[rates]``: how rates are kept."""

    max_wait: float = MAX_WAIT
    """Seconds that a command may wait for its turn."""
    shared: Endpoint | None = None
    """The Redis through which several gates share their budgets; None: each gate has its own."""
    prefix: str = PREFIX
    """Of the keys there."""


NO_SHARING: Final = RateSettings()
