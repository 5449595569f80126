"""Spikes: the longest of each second, in bounded memory, of one process or several."""

import json

from kvgate.metrics.spikes import MOST_EVENTS, SECONDS, Spikes, together


def test_a_second_keeps_its_longest_and_the_oldest_are_forgotten() -> None:
    spikes = Spikes()
    for second in range(500):
        spikes.add("store:a", second + 0.1, 0.2)
        spikes.add("store:a", second + 0.9, 0.3 if second else 9.0)
        spikes.add("store:a", second + 0.95, 0.1)
    event = spikes.events["store:a"]
    assert len(event.history) == SECONDS
    assert event.history[-1] == [499, 300]
    assert event.worst == 9000


def test_events_are_bounded_and_can_be_reset_by_name() -> None:
    spikes = Spikes()
    for number in range(2 * MOST_EVENTS):
        spikes.add(f"store:{number}", 1.0, 0.2)
    assert len(spikes.events) == MOST_EVENTS
    assert spikes.reset(["nosuch"]) == 0
    assert spikes.reset(["store:1", "store:1", "nosuch"]) == 1
    assert spikes.reset([]) == MOST_EVENTS - 1
    assert spikes.events == {}


def test_together_has_each_seconds_longest() -> None:
    first, second = Spikes(), Spikes()
    first.add("lane-turn", 5, 0.2)
    first.add("lane-turn", 7, 0.2)
    second.add("lane-turn", 5, 0.4)
    second.add("store:a", 6, 0.1)
    found = together(json.loads(json.dumps([first.to_json(), second.to_json()])))
    assert list(found.events["lane-turn"].history) == [[5, 400], [7, 200]]
    assert found.events["lane-turn"].worst == 400
    assert list(found.events["store:a"].history) == [[6, 100]]
