"""The hottest keys of each namespace, counted from samples of the commands that pass.

One command in `hotkeys_sample` is taken; where so many pass that this would cost, fewer are, and each stands for more.
"""

import random
import time
import zlib
from collections.abc import Iterator
from typing import Final

from kvgate.commands.keys import fixed_keys, key_indices
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError
from kvgate.lane.client import Client
from kvgate.metrics.heavy import SpaceSaving
from kvgate.routing.namespaces import Namespaces
from kvgate.server.samples import Samples

MOST_NAMESPACES: Final = 1024
"""Sketches that are kept, about 16 MB; the namespace that was used the longest time ago gives way."""
MOST_KEYS: Final = 8
"""Keys of one command that are counted; of more some are chosen by chance, and stand for the others."""
LONGEST_KEY: Final = 128
"""Bytes of a key that are kept and shown; of a longer one its beginning and a checksum."""
MOST_SAMPLES: Final = 500
"""In a second; beyond it fewer commands are taken. In a minute they tell a share of 1 % to within a tenth of it."""
FEWEST: Final = 16_384
"""One command in that many is taken at the least."""


class HotKeys:
    """The sketches of one process; a kvgate.server.samples.Watcher."""

    def __init__(self, samples: Samples) -> None:
        """Nothing is counted before `fit`."""
        self.every = 0
        """One in that many commands is taken now."""
        self._samples = samples
        self._sketches: dict[str, SpaceSaving] = {}
        self._namespaces: Namespaces
        self._usual = 0
        self._second = 0.0  # when the count of samples began
        self._count = 0

    def fit(self, every: int, namespaces: Namespaces) -> None:
        """Count one command in `every`; 0: none, and what was counted is forgotten. `namespaces`: whose keys are which."""
        self._namespaces = namespaces
        if every == self._usual:
            return
        self._samples.remove(self)
        self._usual = self.every = every
        if every:
            self._second, self._count = time.monotonic(), 0
            self._samples.add(self)
        else:
            self._sketches.clear()

    def sketches(self) -> Iterator[tuple[str, SpaceSaving]]:
        """Each namespace's name and sketch."""
        yield from self._sketches.items()

    def take(self, client: Client, spec: CommandSpec, args: list[bytes]) -> None:
        """Count the keys of a command (see `Watcher`)."""
        del client
        now, weight = time.monotonic(), float(self.every)
        self._count += 1
        if self._count > MOST_SAMPLES or now - self._second > 1.0:
            self._keep_pace(now)
        try:
            keys = fixed_keys(spec) or key_indices(spec, args)
        except GateError:
            return
        if len(keys) > MOST_KEYS:
            weight *= len(keys) / MOST_KEYS
            keys = tuple(random.sample(keys, MOST_KEYS))
        for index in keys:
            key = args[index]
            namespace = self._namespaces.of(key)
            if namespace is not None:
                self._sketch(namespace.name, now).add(_short(key), weight, now, read=spec.readonly)

    def _keep_pace(self, now: float) -> None:
        """Take half as many commands, or twice as many, so that about `MOST_SAMPLES` are looked at in a second at the most."""
        rate = self._count / max(now - self._second, 0.001)
        if rate > MOST_SAMPLES:
            self.every = min(FEWEST, self.every * 2)
        elif rate < MOST_SAMPLES / 4:
            self.every = max(self._usual, self.every // 2)
        self._second, self._count = now, 0

    def _sketch(self, name: str, now: float) -> SpaceSaving:
        sketches = self._sketches
        found = sketches.pop(name, None)
        if found is None:
            found = SpaceSaving(now)
            if len(sketches) >= MOST_NAMESPACES:
                del sketches[next(iter(sketches))]
        sketches[name] = found  # the one used last stands last
        return found


def _short(key: bytes) -> bytes:
    """The key as it is counted and shown."""
    if len(key) <= LONGEST_KEY:
        return key
    end = b"...%08x" % zlib.crc32(key)
    return key[: LONGEST_KEY - len(end)] + end
