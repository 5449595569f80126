"""Keys of a sample by their prefix: how many there are, of which types, how large, how many expire."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from kvgate.assess.sample import Key, Sample
from kvgate.routing.namespaces import DEFAULT, LONGEST_NAME, check_name

Z: Final = 1.96
"""Standard errors of an interval that holds the true value in 95 of 100 cases."""
NO_PREFIX: Final = "(no prefix)"
_NUMBER: Final = re.compile(rb"[0-9]+")
_IDENTITY: Final = re.compile(rb"[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@attrs.frozen(slots=True)
class Figures:
    """Of a number of values: how many, their middle, 99th percentile and maximum."""

    count: int
    p50: int
    p99: int
    max: int


@attrs.frozen(slots=True)
class Estimate:
    """Number of keys, found from a sample."""

    keys: int | None
    """None: the database did not tell its size."""
    margin: int | None
    """± so many, in 95 of 100 cases; 0: counted. None: not known."""


@attrs.frozen(slots=True, eq=False)
class Prefix:
    """The keys of one database with one prefix."""

    database: int
    name: str
    """What keys have before their separator, written for people; numbers and ids in it as ``<n>`` and ``<id>``."""
    namespace: str
    """That the gate would take them for: the text before the first ``:`` if it may be a namespace, else ``default``."""
    sampled: int
    share: float
    """Of the database's keys."""
    estimate: Estimate
    kinds: Mapping[str, int]
    """Type → keys of the sample; ``?`` for those whose type could not be read."""
    encodings: Mapping[str, int]
    key_bytes: Figures
    lengths: Mapping[str, Figures]
    """Type → bytes of strings, elements of others."""
    memory: Figures | None
    """Bytes of a key in the server; None: not known."""
    expiring: float | None
    """Share of the keys that expire; None: not known."""
    keys: Sequence[Key] = attrs.field(repr=False)
    """Of the sample."""


def figures(values: Iterable[int | None]) -> Figures | None:
    """Of those that are not None; None when there is none."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    return Figures(len(known), _quantile(known, 0.5), _quantile(known, 0.99), known[-1])


def _quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that so many of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def interval(found: int, sampled: int, size: int) -> tuple[float, float]:
    """Between which shares the true one lies in 95 of 100 cases, when `found` of `sampled` out of `size` keys are of a kind.

    Wilson's score interval (E. B. Wilson, 1927), with as many keys more in the sample as the finite population is worth.
    """
    if sampled >= size:
        return found / sampled, found / sampled
    share, count = found / sampled, sampled * (size - 1) / (size - sampled)
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def estimate(found: int, sample: Sample) -> Estimate:
    """How many keys of a database are of a kind of which the sample has `found`."""
    if sample.whole:
        return Estimate(found, 0)
    if sample.size is None or not sample.keys:
        return Estimate(None, None)
    sampled = len(sample.keys)
    size = max(sample.size, sampled)
    keys = round(size * found / sampled)
    if not sample.fair:
        return Estimate(keys, None)
    low, high = interval(found, sampled, size)
    return Estimate(keys, math.ceil(max(keys - low * size, high * size - keys)))


def namespace_of(key: bytes) -> str:
    """What the gate may be told to take the key for."""
    head, colon, _ = key.partition(b":")
    if not colon or len(head) > LONGEST_NAME:
        return DEFAULT
    try:
        name = head.decode("utf-8")
    except UnicodeDecodeError:
        return DEFAULT
    return DEFAULT if check_name(name) or name.endswith(".*") else name


def prefix_of(key: bytes, separator: bytes, depth: int) -> str:
    """The text before the separator (the `depth`-th one, or the last where there are fewer), for people."""
    parts = key.split(separator)
    kept = parts[: min(depth, len(parts) - 1)]
    if not kept:
        return NO_PREFIX
    return separator.decode("utf-8", "backslashreplace").join(_part(part) for part in kept)


def _part(part: bytes) -> str:
    if _NUMBER.fullmatch(part):
        return "<n>"
    if _IDENTITY.fullmatch(part):
        return "<id>"
    return printable(part)


def printable(text: bytes) -> str:
    """For a terminal: what is no letter of a text as escapes."""
    found = text.decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in found)


def group(sample: Sample, separator: bytes, depth: int) -> list[Prefix]:
    """The prefixes of a sample, those with most keys first."""
    found: dict[tuple[str, str], list[Key]] = {}
    for key in sample.keys:
        found.setdefault((prefix_of(key.name, separator, depth), namespace_of(key.name)), []).append(key)
    prefixes = [_prefix(sample, name, namespace, keys) for (name, namespace), keys in found.items()]
    return sorted(prefixes, key=lambda prefix: (-prefix.sampled, prefix.name))


def _prefix(sample: Sample, name: str, namespace: str, keys: Sequence[Key]) -> Prefix:
    kinds = Counter(key.kind or "?" for key in keys)
    lengths = {kind: figures(key.length for key in keys if key.kind == kind) for kind in kinds}
    known = [key.ttl for key in keys if key.ttl is not None]
    names = figures(len(key.name) for key in keys)
    assert names is not None  # noqa: S101 - a group has a key
    return Prefix(
        database=sample.database,
        name=name,
        namespace=namespace,
        sampled=len(keys),
        share=len(keys) / len(sample.keys),
        estimate=estimate(len(keys), sample),
        kinds=dict(kinds.most_common()),
        encodings=dict(Counter(key.encoding for key in keys if key.encoding).most_common()),
        key_bytes=names,
        lengths={kind: found for kind, found in lengths.items() if found is not None},
        memory=figures(key.memory for key in keys),
        expiring=sum(ttl >= 0 for ttl in known) / len(known) if known else None,
        keys=keys,
    )
