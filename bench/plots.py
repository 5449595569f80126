"""Line plots as SVG, readable on a light and a dark page; the same figures give the same bytes."""

import math
from collections.abc import Mapping, Sequence

import attrs

WIDTH, HEIGHT = 300, 190
"""Of one panel with its labels, in pixels."""
LEFT, RIGHT, TOP, BOTTOM = 46, 20, 24, 34
COLUMNS = 3
COLOURS = ("#3b82f6", "#e07b22", "#2aa05a", "#b05fd0", "#d64550", "#8a8f98")
OF_PEERS = {"kvgate": COLOURS[0], "twemproxy": COLOURS[1], "haproxy": COLOURS[3], "direct": COLOURS[5]}
"""The same peer has the same colour in every picture; other lines take the colours in turn."""
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#333}.name{font-weight:600}.grid{stroke:#999;stroke-opacity:.3}"
    "@media(prefers-color-scheme:dark){text{fill:#d0d4da}}"
)


@attrs.frozen(slots=True)
class Line:
    """One series: (x, y) pairs in rising order of x, in the units of the axes."""

    name: str
    points: tuple[tuple[float, float], ...]


@attrs.frozen(slots=True)
class Panel:
    """One pair of axes: the vertical one's title (with its unit), and the lines; equal names have equal colours."""

    title: str
    lines: tuple[Line, ...]
    log_y: bool = False


@attrs.frozen(slots=True)
class Plot:
    """A picture of panels that share their horizontal axis."""

    name: str
    """Of the file, without ``.svg``."""
    title: str
    x_title: str
    panels: tuple[Panel, ...]
    log_x: bool = True
    x_ticks: Mapping[float, str] = attrs.field(factory=dict)
    """Where the horizontal axis is labelled, and how; chosen from the figures when empty."""

    def markdown(self) -> str:
        """The picture in a page beside the folder ``plots``."""
        return f"![{self.title}](plots/{self.name}.svg)"


def short_number(value: float) -> str:
    """A tick's label: 0.5, 20, 3k, 10M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high], with their 2 and 5 where those are fewer than three; at most seven."""
    powers = [10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    found = [power for power in powers if low * 0.999 <= power <= high * 1.001]
    if len(found) < 3:
        found = [f * power for power in powers for f in (1, 2, 5) if low * 0.999 <= f * power <= high * 1.001]
    return found[:: math.ceil(len(found) / 7) or 1]


def linear_ticks(high: float) -> list[float]:
    """Four to eight round numbers from 0 to `high` or just above."""
    power = 10.0 ** math.floor(math.log10(high / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if high / (factor * power) <= 7)
    return [step * at for at in range(math.ceil(high / step - 1e-9) + 1)]


@attrs.frozen(slots=True)
class _Axis:
    """Where a value lies between two pixels."""

    low: float
    high: float
    begin: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        """The pixel; an axis of one value has it in the middle."""
        low, high, here = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self.begin + (self.end - self.begin) * ((here - low) / (high - low) if high > low else 0.5)


def _text(x: float, y: float, text: str, anchor: str = "middle", name: str = "label") -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{safe}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _panel(plot: Plot, panel: Panel, left: float, top: float, colours: Mapping[str, str]) -> list[str]:
    lines = [attrs.evolve(line, points=_drawable(plot, panel, line)) for line in panel.lines]
    xs = [x for line in lines for x, _ in line.points] or [1.0]
    ys = [y for line in lines for _, y in line.points] or [1.0]
    y_ticks = log_ticks(min(ys) / 1.1, max(ys) * 1.1) if panel.log_y else linear_ticks(max(ys) or 1.0)
    x_ticks = plot.x_ticks or {
        x: short_number(x) for x in (log_ticks(min(xs), max(xs)) if plot.log_x else linear_ticks(max(xs)))
    }
    y_low, y_high = (min(ys) / 1.1, max(ys) * 1.1) if panel.log_y else (0.0, y_ticks[-1])
    across = _Axis(min(xs), max(xs), left + LEFT + 6, left + WIDTH - RIGHT - 6, plot.log_x)
    up = _Axis(y_low, y_high, top + HEIGHT - BOTTOM, top + TOP, panel.log_y)
    out = [_text(left + LEFT, top + TOP - 9, panel.title, "start", "name")]
    for y in y_ticks:
        out += [_rule(left + LEFT, up.at(y), left + WIDTH - RIGHT, up.at(y))]
        out += [_text(left + LEFT - 5, up.at(y) + 4, short_number(y), "end")]
    for x, label in x_ticks.items():
        if across.low <= x <= across.high:
            out += [_rule(across.at(x), up.begin, across.at(x), up.end), _text(across.at(x), up.begin + 14, label)]
    out.append(_text(left + (LEFT + WIDTH) / 2, up.begin + 28, plot.x_title))
    for line in lines:
        colour, places = colours[line.name], [f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in line.points]
        out.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(places) <= 20:
            for place, (x, y) in zip(places, line.points, strict=True):
                cx, cy = place.split(",")
                tip = f"<title>{line.name}: {x:g} → {y:.4g}</title>"
                out.append(f'<circle cx="{cx}" cy="{cy}" r="3" fill="{colour}">{tip}</circle>')
    return out


def _drawable(plot: Plot, panel: Panel, line: Line) -> tuple[tuple[float, float], ...]:
    """Its points without those that a logarithmic axis has no place for."""
    return tuple((x, y) for x, y in line.points if (x > 0 or not plot.log_x) and (y > 0 or not panel.log_y))


def svg(plot: Plot) -> str:
    """The picture: a legend, then the panels, three in a row."""
    names = list(dict.fromkeys(line.name for panel in plot.panels for line in panel.lines))
    colours = {name: OF_PEERS.get(name, COLOURS[at % len(COLOURS)]) for at, name in enumerate(names)}
    columns = min(COLUMNS, len(plot.panels))
    width, height = columns * WIDTH, 44 + HEIGHT * math.ceil(len(plot.panels) / columns)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    ]
    out += [f"<style>{STYLE}</style>", _text(8, 15, plot.title, "start", "name")]
    x = 8.0
    for name in names:
        out += [f'<rect x="{x:.1f}" y="25" width="12" height="8" fill="{colours[name]}"/>', _text(x + 17, 33, name, "start")]
        x += 34 + 6.2 * len(name)
    for at, panel in enumerate(plot.panels):
        out += _panel(plot, panel, at % columns * WIDTH, 44 + at // columns * HEIGHT, colours)
    return "\n".join([*out, "</svg>"]) + "\n"


def lines_of(figures: Mapping[tuple[str, float], float], names: Sequence[str]) -> tuple[Line, ...]:
    """Lines of (name, x) → y, in the order of `names`, each in rising order of x; a name without figures has no line."""
    found = (Line(name, tuple(sorted((x, y) for (whose, x), y in figures.items() if whose == name))) for name in names)
    return tuple(line for line in found if line.points)
