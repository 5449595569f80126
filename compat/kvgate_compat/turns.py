"""Generators of transactions that meet others: several clients, each with a script of its own, one command at a time."""

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kvgate_compat.frames import cuts
from kvgate_compat.keys import Keys
from kvgate_compat.pools import key
from kvgate_compat.speakers import MOST
from kvgate_compat.steps import Flight, Leave, Piped, Single, Turns
from kvgate_compat.words import Option, Request


def _word(*args: bytes) -> Request:
    return Request(args[0].decode("ascii"), (Option(args[0]), *args[1:]))


_ODD = st.sampled_from(
    (
        *(_word(b"MULTI"), _word(b"EXEC"), _word(b"DISCARD"), _word(b"UNWATCH"), _word(b"RESET"), _word(b"PING")),
        *(
            _word(b"NOSUCH", b"a"),
            _word(b"EXEC", b"junk"),
            _word(b"MULTI", b"junk"),
            _word(b"DISCARD", b"junk"),
            _word(b"WATCH"),
        ),
        *(_word(b"ECHO"), _word(b"PING", b"a", b"b"), _word(b"UNWATCH", b"junk"), None),
    )
)
"""What may come anywhere: MULTI in MULTI, EXEC without it, what makes EXEC fail; None is a client that leaves."""
_END = st.sampled_from((_word(b"EXEC"),) * 6 + (_word(b"DISCARD"), _word(b"RESET"), None))

Said = Request | None


def _watch(keys: Keys) -> "SearchStrategy[list[Said]]":
    names = st.lists(key.map(keys.key), min_size=1, max_size=3)
    return st.one_of(st.just([]), names.map(lambda found: [Request("WATCH", (Option(b"WATCH"), *found))]))


@st.composite
def _script(draw: st.DrawFn, commands: SearchStrategy[Request], keys: Keys) -> "list[Said]":
    """What one client says: a transaction with commands before and inside, or commands alone; and some odd word."""
    few = st.lists(commands, max_size=3)
    if draw(st.integers(0, 3)) == 0:
        said: list[Said] = list(draw(st.lists(commands, min_size=1, max_size=4)))
    else:
        before, inside = draw(few), draw(st.lists(commands, max_size=4))
        said = [*draw(_watch(keys)), *before, _word(b"MULTI"), *inside, draw(_END)]
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        said.insert(
            draw(st.integers(0, len(said))), draw(st.one_of(_ODD, _watch(keys).map(lambda words: (words or [None])[0])))
        )
    return said


@st.composite
def turns(draw: st.DrawFn, commands: SearchStrategy[Request], keys: Keys) -> Turns:
    """The scripts of up to three clients, one word of any of them at a time."""
    scripts = [draw(_script(commands, keys)) for _ in range(draw(st.sampled_from((1, 2, 2, 3))))]
    order = draw(st.permutations([number for number, script in enumerate(scripts) for _ in script]))
    waiting = [iter(script) for script in scripts]
    return Turns(tuple(_turn(next(waiting[number]), number) for number in order))


def _turn(said: Said, client: int) -> "Single | Leave":
    return Leave(client) if said is None else Single(said, client)


@st.composite
def piped(draw: st.DrawFn, commands: SearchStrategy[Request], keys: Keys, *, transactions: bool) -> Piped:
    """A pipeline, maybe with a transaction in it, maybe cut."""
    said: Sequence[Said] = draw(st.lists(commands, min_size=1, max_size=6))
    if transactions and draw(st.booleans()):
        inside = draw(st.lists(st.one_of(commands, commands, commands, _ODD), max_size=5))
        said = [*draw(_watch(keys)), *said, _word(b"MULTI"), *inside, _word(b"EXEC"), *draw(st.lists(commands, max_size=2))]
    return Piped(
        tuple(one for one in said if one is not None and one.name != "RESET"), draw(st.integers(0, MOST - 1)), draw(cuts)
    )


@st.composite
def flight(draw: st.DrawFn, commands: SearchStrategy[Request], keys: Keys) -> Flight:
    """Pipelines of several clients, each on keys that no other has. Nothing damaged: it might name any key."""
    count = draw(st.integers(2, min(MOST, len(keys.names))))
    sound = commands.filter(lambda request: not request.damaged)
    pipes = []
    for client in range(count):
        requests = draw(st.lists(sound, min_size=1, max_size=5))
        pipes.append(Piped(tuple(map(keys.share(client, count).put, requests)), client, draw(cuts)))
    return Flight(tuple(pipes))
