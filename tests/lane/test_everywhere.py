"""How the replies of several stores to one command become one."""

import pytest

from kvgate.commands.spec import Action
from kvgate.commands.table import TABLE
from kvgate.lane.everywhere import EVERYWHERE, merge_everywhere
from kvgate.wire.reply import OK, Error, Map, Reply, Simple


@pytest.mark.parametrize(
    ("name", "replies", "wanted"),
    [
        ("SCRIPT|LOAD", [b"sha", b"sha"], b"sha"),
        ("SCRIPT|EXISTS", [[1, 1, 0, 0], [1, 0, 1, 0]], [1, 0, 0, 0]),
        ("SCRIPT|FLUSH", [OK, OK], OK),
        ("FUNCTION|DELETE", [OK, Error(b"ERR Library not found")], Error(b"ERR Library not found")),
        ("PUBSUB|NUMPAT", [2, 3, 0], 3),
        ("PUBSUB|NUMSUB", [[b"a", 1, b"b", 0, b"a", 1], [b"a", 2, b"b", 5, b"a", 2]], [b"a", 3, b"b", 5, b"a", 3]),
        ("PUBSUB|NUMSUB", [[], []], []),
        ("PUBSUB|CHANNELS", [[b"x", b"y"], [b"y", b"z"], []], [b"x", b"y", b"z"]),
        ("FUNCTION|LIST", [[], [Map([(b"library_name", b"l")])]], [Map([(b"library_name", b"l")])]),
        (
            "FUNCTION|LIST",
            [[[b"library_name", b"l", b"x", 1]], [[b"library_name", b"l", b"x", 1], [b"library_name", b"m"]]],
            [[b"library_name", b"l", b"x", 1], [b"library_name", b"m"]],
        ),
        (
            "FUNCTION|STATS",
            [Map([(b"running_script", None), (b"engines", 1)]), Map([(b"running_script", b"f"), (b"engines", 2)])],
            Map([(b"running_script", b"f"), (b"engines", 2)]),
        ),
        ("FUNCTION|STATS", [[b"running_script", None], [b"running_script", None, b"x", 1]], [b"running_script", None]),
    ],
)
def test_merging(name: str, replies: list[Reply], wanted: Reply) -> None:
    assert merge_everywhere(name, replies) == wanted
    assert merge_everywhere(name, replies[:1]) == merge_everywhere(name, [replies[0], replies[0]]) or name.startswith("PUBSUB")


@pytest.mark.parametrize("name", EVERYWHERE)
def test_the_first_error_wins(name: str) -> None:
    replies: list[Reply] = [Simple(b"OK"), Error(b"TRYAGAIN a"), Error(b"ERR b")]
    assert merge_everywhere(name, replies) == Error(b"TRYAGAIN a")


def test_all_of_them_are_asked_of_stores_by_the_gate() -> None:
    """The command table sends each of these up to the gate, and every keyless script or function command is here."""
    for name in EVERYWHERE:
        container, _, sub = name.partition("|")
        assert TABLE[container.encode()].subcommands[sub.encode()].action is Action.GATE
    for container in ("SCRIPT", "FUNCTION", "PUBSUB"):
        for spec in TABLE[container.encode()].subcommands.values():
            assert spec.action is Action.REFUSE or spec.capability == "gate" or spec.name in EVERYWHERE
