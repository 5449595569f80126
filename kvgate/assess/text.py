"""An assessment for people: tables and sentences of at most 100 columns."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from kvgate.assess.assessment import Assessment
from kvgate.assess.commands import FINE, OPERATOR, REFUSED, UNKNOWN, Use
from kvgate.assess.prefixes import Prefix, printable
from kvgate.assess.stores import NAMES
from kvgate.assess.verdicts import IF, NO, YES, Verdict, size

WIDTH: Final = 100
_PREFIXES: Final = 30
"""Prefixes that are shown."""
_COMMANDS: Final = 40
_ALONE: Final = {YES: "works", IF: "works if", NO: "does not", "?": "not known"}


def render(found: Assessment, *, show_keys: bool) -> str:
    """The whole text; `show_keys`: with the name of the largest key of each prefix."""
    lines = [*_head(found), *_prefixes(found, show_keys=show_keys), *_commands(found), *_watched(found)]
    lines += [*_unread(found), *_notes(found), *_proposal(found), *_end(found)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _wrap(text: str, indent: int = 0, first: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first or " " * indent, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def _head(found: Assessment) -> Iterator[str]:
    server = found.server
    parts = [found.question.endpoint.url, f"{server.kind} {server.version}".strip(), server.role.replace("slave", "replica")]
    parts += [
        f"{sum(server.databases.values()):,} keys in {_count(len(server.databases), 'database')}" if server.databases else ""
    ]
    parts += [size(server.memory) if server.memory is not None else ""]
    yield from _wrap("  ".join(part for part in parts if part))
    for sample in found.samples:
        if sample.whole:
            what = f"all {len(sample.keys):,} keys" if len(sample.keys) != 1 else "its one key"
        else:
            of = f" of {sample.size:,}" if sample.size is not None else ""
            told = {"": "", "time": ", the time was over", "interrupted": ", interrupted"}
            why = told.get(sample.stopped, f", ended by: {sample.stopped}")
            what = f"a sample of {len(sample.keys):,}{of} keys{why}; ± is what numbers may be off, in 95 of 100 cases"
        yield from _wrap(f"database {sample.database}: {what}")


def _count(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _prefixes(found: Assessment, *, show_keys: bool) -> Iterator[str]:
    if not found.prefixes:
        return
    shown = found.prefixes[:_PREFIXES]
    several = len({prefix.database for prefix, _ in found.prefixes}) > 1
    names = [f"{prefix.database}/{prefix.name}" if several else prefix.name for prefix, _ in shown]
    yield ""
    yield f"{'PREFIX':<26} {'KEYS':>12} {'±':>9}  {'TYPES':<19} {'TTL':>5} {'VALUE p50':>9} {'max':>8}"
    for name, (prefix, _) in zip(names, shown, strict=True):
        yield _row(name, prefix)
    if len(found.prefixes) > _PREFIXES:
        yield f"… {len(found.prefixes) - _PREFIXES:,} more; --json has all"
    types = [store.type for store in found.stores]
    widths = [max(7, min(12, len(kind))) for kind in types]
    yield ""
    yield f"{'PREFIX':<26} {'NAMESPACE':<26} " + " ".join(
        f"{_cut(kind, 12):>{w}}" for kind, w in zip(types, widths, strict=True)
    )
    for name, (prefix, verdicts) in zip(names, shown, strict=True):
        marks = " ".join(f"{verdict.works:>{w}}" for verdict, w in zip(verdicts, widths, strict=True))
        yield f"{_cut(name, 26):<26} {_cut(prefix.namespace, 26):<26} {marks}"
    for name, (prefix, verdicts) in zip(names, shown, strict=True):
        yield ""
        yield from _wrap(f"{name}: {_sentence(prefix)}", 2, "")
        yield from _verdicts(verdicts)
        if show_keys:
            largest = max(prefix.keys, key=lambda key: (key.memory or 0, key.length or 0))
            yield from _wrap(f"largest key seen: {printable(largest.name)}", 4)


def _row(name: str, prefix: Prefix) -> str:
    keys = f"{prefix.share:.1%}" if prefix.estimate.keys is None else f"{prefix.estimate.keys:,}"
    margin = "?" if prefix.estimate.margin is None else f"{prefix.estimate.margin:,}"
    kinds = " ".join(
        kind if count == prefix.sampled else f"{kind} {count / prefix.sampled:.0%}" for kind, count in prefix.kinds.items()
    )
    expiring = "?" if prefix.expiring is None else f"{prefix.expiring:.0%}"
    weight = prefix.memory
    p50, most = ("?", "?") if weight is None else (size(weight.p50), size(weight.max))
    return f"{_cut(name, 26):<26} {keys:>12} {margin:>9}  {_cut(kinds, 19):<19} {expiring:>5} {p50:>9} {most:>8}"


def _sentence(prefix: Prefix) -> str:
    names = prefix.key_bytes
    parts = [f"keys of {names.p50} bytes (p99 {names.p99}, longest {names.max})"]
    for kind, figures in prefix.lengths.items():
        if kind in ("string", "exstrtype"):
            parts.append(f"{NAMES[kind]} of {size(figures.p50)} (p99 {size(figures.p99)}, longest {size(figures.max)})")
        else:
            parts.append(
                f"{NAMES.get(kind, kind)} of {_count(figures.p50, 'element')} (p99 {figures.p99:,}, most {figures.max:,})"
            )
    if prefix.namespace == "default":
        parts.append("for the gate part of default (a namespace's name has a dot and stands before the first colon)")
    return "; ".join(parts) + "."


def _verdicts(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Types with the same verdict in one sentence."""
    same: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for verdict in verdicts:
        same.setdefault((verdict.works, verdict.reasons), []).append(verdict.type)
    for (works, reasons), types in same.items():
        reason = f": {'; '.join(reasons)}" if reasons else ""
        yield from _wrap(f"{', '.join(types)}: {_ALONE[works]}{reason}.", 6, "    ")


def _commands(found: Assessment) -> Iterator[str]:
    if found.uses is None:
        return
    told = [use for use in found.uses if use.status not in (FINE, OPERATOR)]
    fine = sum(use.status == FINE for use in found.uses)
    yield ""
    yield from _wrap(
        f"Of the {_count(len(found.uses), 'command')} that the server has run since its start, {fine} work as they are."
        + (" Look at these:" if told else "")
    )
    if told:
        yield ""
        yield f"{'COMMAND':<22} {'CALLS':>15}  WHERE NOT"
    for use in told[:_COMMANDS]:
        yield from _use(use)
    if len(told) > _COMMANDS:
        yield f"… {len(told) - _COMMANDS} more; --json has all"
    administration = [use.name for use in found.uses if use.status == OPERATOR]
    if administration:
        yield ""
        yield from _wrap(
            f"Administration stays with the store itself, and is refused by the gate: {', '.join(administration)}."
        )


def _use(use: Use) -> Iterator[str]:
    where = "the gate refuses it" if use.status in (REFUSED, UNKNOWN) else ", ".join(use.lacking)
    yield f"{_cut(use.name, 22):<22} {use.calls:>15,}  {_cut(where, 58)}"
    yield from _wrap(use.note + ".", 4)


def _watched(found: Assessment) -> Iterator[str]:
    watched = found.watched
    if watched is None:
        return
    yield ""
    scripts = f", {watched.by_scripts:,} of them by scripts" if watched.by_scripts else ""
    early = " It ended early: they come faster than they can be read, and the server keeps them." if watched.behind else ""
    yield from _wrap(f"MONITOR showed {_count(watched.lines, 'command')}{scripts}.{early}")
    for what, counted in (
        ("keys in several slots, so that two shards may part them", watched.shards),
        ("keys in several namespaces", watched.namespaces),
    ):
        names = ", ".join(f"{name} {number:,}" for name, number in counted.most_common() if number)
        if names:
            yield from _wrap(
                f"With {what}: {names}. Split are MGET, MSET, DEL, UNLINK, EXISTS and TOUCH; others get CROSSSLOT.", 2
            )
    for (database, name, _), commands in sorted(watched.commands.items(), key=lambda one: -one[1].total())[:_PREFIXES]:
        listed = ", ".join(f"{command} {number:,}" for command, number in commands.most_common(8))
        yield from _wrap(f"{database}/{name}: {listed}", 6, "  ")


def _unread(found: Assessment) -> Iterator[str]:
    if not (found.unread or found.private_keys):
        return
    yield ""
    yield "Not read:"
    for what, why in found.unread.items():
        yield from _wrap(f"{what}: {why}", 4, "  ")
    if found.private_keys:
        yield from _wrap(f"{_count(found.private_keys, 'key')} of the sample: this user may not read them", 4, "  ")


def _notes(found: Assessment) -> Iterator[str]:
    if found.notes:
        yield ""
    for note in found.notes:
        yield from _wrap(note, 2, "- ")


def _proposal(found: Assessment) -> Iterator[str]:
    if found.proposal:
        yield ""
        yield "A configuration to begin with (kvgate check accepts it):"
        yield ""
        yield from (f"    {line}" for line in found.proposal.splitlines())


def _end(found: Assessment) -> Iterator[str]:
    yield ""
    types = ", ".join(store.type for store in found.stores)
    problems = found.problems
    where = types if len(found.stores) == 1 else f"none of {types}"
    if not problems:
        yield from _wrap(f"good: all that was seen works on {types if len(found.stores) == 1 else f'one of {types} at least'}")
        return
    listed = ", ".join(problems[:10]) + (f" and {len(problems) - 10} more" if len(problems) > 10 else "")
    yield from _wrap(f"not good: {'does not work on' if len(found.stores) == 1 else 'works on'} {where}: {listed}")
