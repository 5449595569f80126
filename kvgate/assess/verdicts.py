"""Whether the keys of a prefix would work on a type of backend, and on which conditions, in plain words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from kvgate.assess.commands import LACKING, REFUSED, UNKNOWN, Use, of_groups
from kvgate.assess.prefixes import Prefix
from kvgate.assess.stores import NAMES, Store
from kvgate.commands.table import by_full_name

YES, IF, NO, UNSURE = "yes", "if", "no", "?"
WORST: Final = (NO, UNSURE, IF, YES)
GROUPS: Final = {
    "string": ("string", "bitmap", "hyperloglog", "conditional"),
    "hash": ("hash",),
    "list": ("list",),
    "set": ("set",),
    "zset": ("sorted-set", "geo"),
    "stream": ("stream",),
    "exstrtype": ("exstring",),
    "tairhash-": ("exhash",),
}
"""Type → groups of the command table whose commands work on such keys (a HyperLogLog is a string)."""
_MANY: Final = 5
"""Names in one sentence."""


@attrs.frozen(slots=True)
class Verdict:
    """Of one prefix on one type of backend."""

    type: str
    works: str
    """``yes``, ``if`` (on conditions), ``no``, ``?`` (what is there could not be read)."""
    reasons: tuple[str, ...] = ()


Finding = tuple[str, str]
"""`NO`, `IF` or `UNSURE`, and why."""


def judge(prefix: Prefix, store: Store, found: Sequence[Use], seen: Mapping[str, int] | None) -> Verdict:
    """The verdict; `found`: the server's commands; `seen`: those of MONITOR with keys of this prefix, None without it."""
    findings = [*_kinds(prefix, store), *_sizes(prefix, store), *_commands(prefix, store, found, seen)]
    works = min((kind for kind, _ in findings), key=WORST.index, default=YES)
    told = [text for kind, text in findings if works != NO or kind == NO]  # conditions do not matter any more then
    return Verdict(store.type, works, tuple(told))


def _share(part: int, whole: int) -> str:
    share = part / whole
    return "all" if part == whole else "under 0.1 %" if share < 0.001 else f"{share:.1%}".replace("%", " %")


def _kinds(prefix: Prefix, store: Store) -> Iterator[Finding]:
    for kind, count in prefix.kinds.items():
        share = _share(count, prefix.sampled)
        if kind == "?":
            yield UNSURE, f"the type of {share} of the keys could not be read"
        elif kind not in NAMES:
            yield NO, f"{kind} is a module's type, which the gate does not know ({share} of the keys)"
        elif not store.has(kind):
            yield NO, f"it has no {NAMES[kind]} ({share} of the keys)"
        elif kind in ("exstrtype", "tairhash-"):
            asks = (
                ", and versioned = true in the namespace where the store lacks Tair's modules" if store.takes_versioned else ""
            )
            yield IF, f"{NAMES[kind]} have to be copied by their own commands, not by DUMP{asks}"


def _sizes(prefix: Prefix, store: Store) -> Iterator[Finding]:
    for kind in ("string", "exstrtype"):
        strings = [key.length or key.memory or 0 for key in prefix.keys if key.kind == kind] if store.has(kind) else []
        if not strings or store.max_value is None or max(strings) <= store.max_value:
            continue
        most = store.largest_value or store.max_value
        beyond = sum(length > most for length in strings)
        if beyond:
            yield NO, f"{_share(beyond, len(strings))} of the {NAMES[kind]} are longer than {size(most)}, the most it takes"
        over = sum(store.max_value < length <= most for length in strings)
        if over:
            yield (
                IF,
                (
                    f"{_share(over, len(strings))} of the {NAMES[kind]} are longer than {size(store.max_value)}: set max_value"
                    f" (the longest seen has {size(max(length for length in strings if length <= most))})"
                ),
            )
    if store.max_value is not None and prefix.key_bytes.max > store.max_value:
        yield NO, f"keys are longer than {size(store.max_value)}"
    for kind in ("hash", "tairhash-"):
        lengths = prefix.lengths.get(kind)
        if lengths is None or not store.has(kind) or store.many_read is None or lengths.max <= store.many_read:
            continue
        always = store.most_read is not None and lengths.max > store.most_read
        yield (
            IF,
            (
                f"a hash has {lengths.max:,} fields: HGETALL, HKEYS, HVALS and DUMP of more than"
                f" {store.most_read if always else store.many_read:,} {'are' if always else 'may be'} refused; HSCAN is not"
            ),
        )


def _commands(prefix: Prefix, store: Store, found: Sequence[Use], seen: Mapping[str, int] | None) -> Iterator[Finding]:
    if seen is not None:
        specs = {name: by_full_name(name.encode()) for name in seen}
        lacking = sorted(name for name, spec in specs.items() if spec is not None and not store.does(spec))
        if lacking:
            yield NO, f"commands that MONITOR showed here do not work there: {_names(lacking)}"
    for kind in prefix.kinds:
        if store.has(kind):
            lacks = of_groups(found, GROUPS[kind])
            names = sorted(name for name, types in lacks.items() if store.type in types and name not in (seen or ()))
            if names:
                verb = "is" if len(names) == 1 else "are"
                yield IF, f"{_names(names)}, which the server has run, {verb} not used on these {NAMES[kind]}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(name.upper().replace("|", " ") for name in names[:_MANY])
    return f"{shown} and {len(names) - _MANY} more" if len(names) > _MANY else shown


def size(number: int) -> str:
    """Bytes for people: ``900 B``, ``1.5 KB``, ``16 MB``; powers of 1,024."""
    scaled, unit = float(number), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if scaled < 1024 or unit == "TB":
            break
        scaled /= 1024
    return f"{scaled:.0f} {unit}" if scaled >= 100 or scaled == int(scaled) else f"{scaled:.1f} {unit}"


def helpless(judged: Sequence[tuple[Prefix, Sequence[Verdict]]]) -> list[Prefix]:
    """Prefixes that work on none of the types asked about."""
    return [prefix for prefix, verdicts in judged if all(verdict.works == NO for verdict in verdicts)]


def hopeless(found: Sequence[Use], stores: Sequence[Store]) -> list[Use]:
    """Commands of applications that work on none of the types asked about."""
    return [
        use for use in found if use.status in (REFUSED, UNKNOWN) or (use.status == LACKING and len(use.lacking) == len(stores))
    ]
