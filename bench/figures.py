"""The arithmetic of the tables: medians of rounds, ratios to a reference, spread, and how a figure is printed."""

import statistics
from collections.abc import Sequence

import attrs


@attrs.frozen(slots=True)
class Table:
    """One table of a report: a caption, a header, and rows of cells that are already text."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def ratio(value: float, reference: float) -> float | None:
    """`value` as a multiple of `reference`; None when the reference is zero (below the resolution of the measure)."""
    return value / reference if reference > 0 else None


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median of the rounds of one cell; 0.0 for a single round or a median of zero."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def widest(cells: "Sequence[Sequence[float]]") -> str:
    """The largest spread of any cell, as the sentence that stands under a table."""
    if all(len(cell) < 2 for cell in cells):
        return "one round, so nothing is known of the spread."
    worst = max(spread(cell) for cell in cells)
    return f"largest spread of one cell over its rounds, (max - min) / median: {worst * 100:.0f} %."


def number(value: float) -> str:
    """Three significant digits, and never an exponent: 71400, 383, 10.3, 0.62."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:.0f}"
    if magnitude >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def beside(value: float, reference: float | None) -> str:
    """A figure, and in brackets its ratio to the reference where there is one: ``12.6 (1.25x)``."""
    times = None if reference is None else ratio(value, reference)
    return number(value) if times is None else f"{number(value)} ({times:.2f}x)"


def markdown(table: Table) -> str:
    """The table as Markdown, with its caption above; figures are aligned right."""
    lines = [f"**{table.caption}**", "", "| " + " | ".join(table.header) + " |"]
    lines.append("|---|" + "---:|" * (len(table.header) - 1))
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join(lines)


def plain(table: Table) -> str:
    """The table for a terminal: the caption, then columns padded to the same width."""
    everything = [table.header, *table.rows]
    widths = [max(len(row[i]) for row in everything) for i in range(len(table.header))]
    lines = [table.caption]
    for first, *rest in everything:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)
