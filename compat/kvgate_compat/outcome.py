"""What a comparison has found: for people a table by groups of commands, for machines JSON (docs/compatibility-tool.md)."""

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import attrs

from kvgate.commands.table import by_full_name
from kvgate_compat.dialogue import whole
from kvgate_compat.pair import Difference, Tally
from kvgate_compat.search import NOT_ASKED, NOT_HERE, NOT_THERE, Plan
from kvgate_compat.table import LEFT_OUT, specs

SCHEMA: Final = "kvgate-compat/1"
"""The number changes when a field changes its meaning or is taken away; fields may be added."""

WIDE: Final = 120
"""Letters of a line for people."""

SAME: Final = "same"
DIFFERENT: Final = "different"
UNSUPPORTED: Final = "unsupported"
UNSUPPORTED_BY_OTHER: Final = "unsupported by the other"
NOT_TRIED: Final = "not tried"
STATUSES: Final = (SAME, DIFFERENT, UNSUPPORTED, UNSUPPORTED_BY_OTHER, NOT_TRIED)
"""What can be said of a command; the columns of the table."""


@attrs.frozen(slots=True)
class Server:
    """One of the two."""

    url: str
    """Without its password."""
    info: dict[str, str]
    """What ``INFO server`` says of names and versions: ``redis_version`` …"""

    def __str__(self) -> str:
        """For people."""
        said = ", ".join(f"{name} {value}" for name, value in self.info.items())
        return f"{self.url} ({said or 'INFO says no version'})"


@attrs.define(slots=True)
class Searched:
    """One search, in one protocol."""

    proto: int
    tally: Tally = attrs.field(factory=Tally)
    found: list[Difference] = attrs.field(factory=list)
    seconds: float = 0.0


@attrs.define(slots=True)
class Outcome:
    """A whole comparison, or what there is of it so far."""

    servers: tuple[Server, Server]
    """The one looked at, and the other."""
    plan: Plan
    seed: int
    examples: int
    """Asked for, in each protocol."""
    steps: int
    """Most steps of an example."""
    searched: list[Searched] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    """What was not done, and why, besides commands."""
    complete: bool = False
    """Whether all examples were tried (a search that finds too many differences, or is interrupted, ends early)."""
    interrupted: bool = False
    """By Ctrl-C or SIGTERM."""
    lost: bool = False
    """Whether a server went away."""

    @property
    def found(self) -> list[tuple[int, Difference]]:
        """Differences with their protocol, in the order of finding."""
        return [(one.proto, difference) for one in self.searched for difference in one.found]

    @property
    def tally(self) -> Tally:
        """Of all protocols together."""
        total = Tally()
        for one in self.searched:
            total.add(one.tally)
        return total

    def statuses(self) -> dict[str, str]:
        """Of each command that could be tried, and of what differed beside commands ("everything at the end"): one of
        `STATUSES`. A command that was sent and never differed is the same."""
        counts = self.tally.commands
        wrong = {difference.command for _, difference in self.found}
        statuses = {}
        for name in [*specs(), *sorted(wrong - set(specs()))]:
            if name in wrong:
                statuses[name] = DIFFERENT
            elif counts.get(name):
                statuses[name] = SAME
            elif self.plan.skipped.get(name) == NOT_HERE:
                statuses[name] = UNSUPPORTED
            elif self.plan.skipped.get(name) == NOT_THERE:
                statuses[name] = UNSUPPORTED_BY_OTHER
            else:
                statuses[name] = NOT_TRIED
        return statuses

    # For people

    def text(self) -> str:
        """The table, what was not tried, and the last line: the result."""
        lines = [*self.notes, *table(self.statuses()), "", *self._not_tried(), "", summary(self.tally)]
        ended = "" if self.complete else "ended early; "
        result = count(len(self.found), "difference") if self.found else "no difference found"
        return "\n".join([*lines, f"{ended}{result} (--seed {self.seed} repeats this)"])

    def _not_tried(self) -> list[str]:
        statuses = self.statuses()
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.plan.skipped.items():
            if reason != NOT_ASKED and statuses.get(name) not in (SAME, DIFFERENT):
                by_reason.setdefault(reason, []).append(name)
        reached = [name for name in self.plan.names if statuses[name] == NOT_TRIED]
        if reached:
            by_reason["not reached; more --examples would"] = reached
        not_asked = list(self.plan.skipped.values()).count(NOT_ASKED)
        lines = [count(not_asked, "command") + ": not asked for"] if not_asked else []
        lines += [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]
        lines += [f"{what}: {reason}" for what, reason in LEFT_OUT.items()]
        return ["not tried:", *(textwrap.fill(line, WIDE, initial_indent="  ", subsequent_indent="    ") for line in lines)]

    # For machines

    def as_json(self) -> dict[str, Any]:
        """As docs/compatibility-tool.md says."""
        tally, statuses = self.tally, self.statuses()
        options: dict[str, list[str]] = {}
        for label in sorted(tally.combinations):
            options.setdefault(label.partition(" ")[0], []).append(label)
        this, other = self.servers
        return {
            "schema": SCHEMA,
            "servers": {"this": attrs.asdict(this), "other": attrs.asdict(other)},
            "seed": self.seed,
            "asked": {"examples": self.examples, "steps": self.steps},
            "complete": self.complete,
            "notes": self.notes,
            "tried": {**_counts(tally), "protocols": [{"resp": one.proto, **_counts(one.tally)} for one in self.searched]},
            "commands": {
                name: {
                    "group": _group(name),
                    "status": status,
                    "reason": self.plan.skipped.get(name, "") if status not in (SAME, DIFFERENT) else "",
                    "count": tally.commands.get(name, 0),
                    "combinations": options.get(name, []),
                }
                for name, status in statuses.items()
            },
            "differences": [_difference(proto, difference) for proto, difference in self.found],
            "unsupported": {
                "this": [name for name, status in statuses.items() if status == UNSUPPORTED],
                "other": [name for name, status in statuses.items() if status == UNSUPPORTED_BY_OTHER],
            },
            "known": tally.known,
            "left_out": dict(LEFT_OUT),
        }


def _counts(tally: Tally) -> dict[str, int]:
    return {
        "examples": tally.examples,
        "commands": tally.total,
        "combinations": len(tally.combinations),
        "pipelines": tally.pipelines,
        "transactions": tally.transactions,
        "commands_of_other_clients": tally.others,
        "cuts": tally.cuts,
        "streams_of_bytes": tally.frames,
        "waits_for_expiry": tally.passages,
    }


def _difference(proto: int, difference: Difference) -> dict[str, Any]:
    return {
        "command": difference.command,
        "what": difference.what,
        "ours": whole(difference.ours),
        "theirs": whole(difference.theirs),
        "dialogue": difference.dialogue,
        "proto": proto,
    }


def _group(name: str) -> str:
    spec = by_full_name(name.encode())
    return spec.group if spec is not None else "no command"


def count(number: int, one: str) -> str:
    """``1 difference``, ``2 differences``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def table(statuses: dict[str, str]) -> list[str]:
    """Lines: for each group of commands how many have which status."""
    groups: dict[str, list[str]] = {}
    for name, status in statuses.items():
        groups.setdefault(_group(name), []).append(status)
    groups["all"] = list(statuses.values())
    rows: list[Sequence[str]] = [("group", *STATUSES)]
    for group, said in groups.items():
        rows.append((group, *(str(said.count(status) or "-") for status in STATUSES)))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def summary(tally: Tally) -> str:
    """What was tried, in one line."""
    return (
        f"{count(tally.examples, 'example')}, {tally.total:,} commands of {len(tally.commands)} kinds,"
        f" {len(tally.combinations):,} combinations of options, {count(tally.pipelines, 'pipeline')},"
        f" {count(tally.transactions, 'transaction')}, {tally.others:,} commands of other clients, {count(tally.cuts, 'cut')},"
        f" {count(tally.frames, 'stream')} of bytes, {count(tally.passages, 'wait')} for keys to expire"
        + (f", {sum(tally.known.values()):,} times a known difference" if tally.known else "")
    )
