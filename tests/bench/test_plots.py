"""Plots are well-formed, the same for the same figures, and have each value where its axis says."""

import xml.etree.ElementTree as ET

import pytest

from bench.plots import COLOURS, OF_PEERS, Line, Panel, Plot, linear_ticks, lines_of, log_ticks, short_number, svg

SVG = "{http://www.w3.org/2000/svg}"
PLOT = Plot(
    "p",
    "Title <of> & all",
    "clients",
    (
        Panel("rate", (Line("a", ((1, 10.0), (10, 20.0), (100, 40.0))), Line("b", ((1, 5.0), (100, 5.0))))),
        Panel("time, log", (Line("b", ((0, 3.0), (1, 1.0), (10, 10.0), (100, 100.0), (1000, 0.0))),), log_y=True),
    ),
)


def lines(text: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """Colour and places of each line of the picture."""
    found = ET.fromstring(text).iter(f"{SVG}polyline")
    return [
        (line.attrib["stroke"], [(float(x), float(y)) for x, y in (p.split(",") for p in line.attrib["points"].split())])
        for line in found
    ]


def test_the_same_figures_are_the_same_bytes() -> None:
    assert svg(PLOT) == svg(PLOT)
    labels = {element.text for element in ET.fromstring(svg(PLOT)).iter(f"{SVG}text")}
    assert {"Title <of> & all", "clients", "rate", "time, log", "a", "b", "10", "100"} <= labels


def test_values_lie_where_the_axes_say() -> None:
    (_, first), (_, level), (_, logarithmic) = lines(svg(PLOT))
    assert first[1][0] - first[0][0] == pytest.approx(first[2][0] - first[1][0], abs=0.2)  # decades are equally wide
    assert first[0][1] - first[1][1] == pytest.approx((first[1][1] - first[2][1]) / 2, abs=0.2)  # 10 and 20 apart: linear
    assert level[0][1] == level[1][1] > first[0][1]  # 5 is below 10
    heights = [y for _, y in logarithmic]
    assert len(heights) == 3  # 0 has no place on a logarithmic axis, on either
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_a_name_has_one_colour_in_all_panels() -> None:
    assert [colour for colour, _ in lines(svg(PLOT))] == [COLOURS[0], COLOURS[1], COLOURS[1]]


def test_it_is_readable_on_both_pages() -> None:
    assert "prefers-color-scheme:dark" in svg(PLOT)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1, 1000, [1, 10, 100, 1000]), (8, 60, [10, 20, 50]), (1, 5000, [1, 10, 100, 1000]), (3, 3.5, [])],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


def test_ticks_of_a_logarithmic_axis_are_few() -> None:
    assert len(log_ticks(1e-9, 1e9)) <= 7


@pytest.mark.parametrize(("high", "ticks"), [(10, [0, 2, 4, 6, 8, 10]), (0.7, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])])
def test_ticks_of_a_linear_axis(high: float, ticks: list[float]) -> None:
    assert linear_ticks(high) == pytest.approx(ticks)


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (20, "20"), (3000, "3k"), (1e7, "10M"), (2.5e9, "2.5G")])
def test_labels_are_short(value: float, text: str) -> None:
    assert short_number(value) == text


def test_lines_are_sorted_and_empty_ones_left_out() -> None:
    assert lines_of({("a", 2.0): 5.0, ("a", 1.0): 4.0}, ["b", "a"]) == (Line("a", ((1.0, 4.0), (2.0, 5.0))),)


@pytest.mark.parametrize("log_y", [True, False])
def test_a_single_value_of_nothing_is_drawn(log_y: bool) -> None:
    assert lines(svg(Plot("p", "t", "x", (Panel("y", (Line("a", ((5, 0.0),)),), log_y=log_y),))))


def test_a_peer_has_its_colour_wherever_it_stands() -> None:
    points = ((1.0, 2.0), (10.0, 3.0))
    for order in (("kvgate", "direct"), ("direct", "kvgate")):
        plot = Plot("p", "t", "x", (Panel("y", tuple(Line(name, points) for name in order)),))
        assert [colour for colour, _ in lines(svg(plot))] == [OF_PEERS[name] for name in order]
