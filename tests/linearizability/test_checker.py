"""The checker accepts what an order explains and refuses the rest: known histories, and random ones beside brute force."""

import itertools
import random
from pathlib import Path

import pytest

from tests.linearizability.checker import UndecidedError, check
from tests.linearizability.history import NEVER, Operation, Reply, read, write
from tests.linearizability.redis_model import Model


def did(
    called: float, returned: float, words: str, *replies: Reply, expected: dict[bytes, bytes | None] | None = None
) -> Operation:
    """Commands separated by commas, at one moment; without replies: of unknown outcome."""
    commands = tuple(tuple(command.encode().split()) for command in words.split(","))
    known = returned != NEVER
    return Operation(1, commands, called, returned, replies if known else None, tuple((expected or {}).items()))


GOOD = {
    "one after the other": [
        did(0, 1, "SET x 1", b"OK"), did(2, 3, "GET x", b"1"), did(4, 5, "DEL x", 1), did(6, 7, "GET x", None),
    ],
    "a read beside a write sees it": [did(0, 9, "SET x 1", b"OK"), did(1, 2, "GET x", b"1")],
    "or does not": [did(0, 9, "SET x 1", b"OK"), did(1, 2, "GET x", None)],
    "increments in another order than their calls": [did(0, 9, "INCR x", 2), did(1, 8, "INCR x", 1)],
    "what is in doubt happened": [did(0, NEVER, "SET x 1"), did(5, 6, "GET x", b"1")],
    "what is in doubt did not happen": [did(0, NEVER, "SET x 1"), did(5, 6, "GET x", None)],
    "what is in doubt happens late": [
        did(0, NEVER, "SET x 1"), did(5, 6, "GET x", None), did(7, 8, "SET x 2", b"OK"), did(9, 10, "GET x", b"1"),
    ],
    "a block on two keys": [
        did(0, 1, "INCR x,INCR y", 1, 1), did(2, 9, "INCR x,INCR y", 2, 2), did(3, 4, "GET x,GET y", b"1", b"1"),
    ],
    "a comparison that holds": [
        did(0, 1, "SET x 1", b"OK"), did(2, 5, "SET x 2", b"OK", expected={b"x": b"1"}), did(6, 7, "GET x", b"2"),
    ],
    "a hash": [
        did(0, 1, "HSET h f 1", 1), did(2, 9, "HSET h g 2", 1), did(3, 8, "HLEN h", 1), did(4, 7, "HLEN h", 2),
        did(10, 11, "HGETALL h", (b"f", b"1", b"g", b"2")), did(12, 13, "HDEL h f", 1), did(14, 15, "HINCRBY h g 1", 3),
    ],
    "calls and returns of the same moment may be in either order": [did(0, 5, "SET x 1", b"OK"), did(5, 6, "GET x", None)],
}

BAD = {
    "a stale read": [did(0, 1, "SET x 1", b"OK"), did(2, 3, "GET x", None)],
    "a lost write": [did(0, 1, "SET x 1", b"OK"), did(2, 3, "SET x 2", b"OK"), did(4, 5, "GET x", b"1")],
    "a value of nobody": [did(0, 9, "SET x 1", b"OK"), did(1, 2, "GET x", b"3")],
    "a read that goes back": [did(0, 9, "SET x 1", b"OK"), did(1, 2, "GET x", b"1"), did(3, 4, "GET x", None)],
    "two increments that met the same value": [did(0, 9, "INCR x", 1), did(1, 8, "INCR x", 1)],
    "an increment that was executed twice": [did(0, 9, "INCR x", 1), did(10, 11, "GET x", b"2")],
    "increments against their order": [did(0, 1, "INCR x", 2), did(2, 3, "INCR x", 1)],
    "what is in doubt happened, and then it did not": [
        did(0, NEVER, "SET x 1"), did(5, 6, "GET x", b"1"), did(7, 8, "GET x", None),
    ],
    "what is in doubt happened before it was asked for": [did(0, 1, "GET x", b"1"), did(2, NEVER, "SET x 1")],
    "what is in doubt happened twice": [
        did(0, NEVER, "SET x 1"), did(1, 2, "GET x", b"1"), did(3, 4, "SET x 2", b"OK"), did(5, 6, "GET x", b"1"),
    ],
    "half a block": [did(0, 9, "INCR x,INCR y", 1, 1), did(3, 4, "GET x,GET y", b"1", None)],
    "two blocks in both orders": [
        did(0, 1, "SET x 1,SET y 1", b"OK", b"OK"), did(2, 3, "SET x 2,SET y 2", b"OK", b"OK"),
        did(4, 5, "GET x,GET y", b"1", b"2"),
    ],
    "a block and single commands across": [
        did(0, 9, "SET x 1,SET y 1", b"OK", b"OK"), did(1, 2, "GET x", b"1"), did(3, 4, "GET y", None),
    ],
    "a comparison that did not hold": [
        did(0, 1, "SET x 1", b"OK"), did(2, 3, "SET x 2", b"OK"), did(4, 5, "SET x 3", b"OK", expected={b"x": b"1"}),
    ],
    "two comparisons that both held": [
        did(0, 9, "SET x 1", b"OK", expected={b"x": None}), did(0, 9, "SET x 2", b"OK", expected={b"x": None}),
    ],
    "an old value from SET with GET": [did(0, 9, "SET x 1 GET", None), did(1, 8, "SET x 2 GET", None)],
    "a lost field": [
        did(0, 1, "HSET h f 1", 1), did(2, 9, "HSET h g 1", 1), did(3, 8, "HSET h i 1", 1), did(10, 11, "HLEN h", 2),
    ],
    "a field that outlives its hash": [did(0, 1, "HSET h f 1", 1), did(2, 3, "DEL h", 1), did(4, 5, "HGET h f", b"1")],
    "a new field that was there": [did(0, 1, "HSET h f 1", 1), did(2, 3, "HSET h f 2", 1)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_has_an_order_is_accepted(name: str) -> None:
    assert check(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_has_none_is_refused(name: str) -> None:
    (violation,) = check(BAD[name])
    assert len(violation.order) < len(BAD[name])
    assert all(each.shown() in violation.explain() for each in violation.stuck)
    assert violation.stuck


@pytest.mark.parametrize("name", BAD)
def test_one_bad_key_among_good_ones_is_found(name: str) -> None:
    others = [did(at, at + 1, f"SET other{at % 3} {at}", b"OK") for at in range(0, 30, 2)]
    (violation,) = check([*others, *BAD[name]])
    assert set(violation.operations) == set(BAD[name])


def brute_force(operations: list[Operation]) -> bool:
    """Any subset of what is in doubt, in any order that keeps who returned before who was called."""
    model = Model(key for each in operations for key in each.keys)
    closed = [each for each in operations if each.returned != NEVER]
    open_ones = [each for each in operations if each.returned == NEVER]
    for number in range(len(open_ones) + 1):
        for chosen in itertools.combinations(open_ones, number):
            for order in itertools.permutations([*closed, *chosen]):
                if any(later.returned < earlier.called for earlier, later in itertools.combinations(order, 2)):
                    continue
                state = model.initial
                for each in order:
                    after = model.step(state, each)
                    if after is None:
                        break
                    state = after
                else:
                    return True
    return False


COMMANDS = """SET x {}|SET x {} GET|GET x|INCR n|GET n|DEL n|DEL x|HSET h f {}|HSET h g {}|HLEN h|HDEL h f|HGETALL h|
    HINCRBY h c 1|INCR n,HSET h f {}|GET n,HLEN h|SET n 5""".split("|")  # noqa: SIM905 - readable so


def made_up(chance: random.Random, number: int, wrong: float) -> list[Operation]:
    """Operations that were executed at moments within their times; with probability `wrong` each was told something else."""
    model = Model([b"x", b"n", b"h"])
    state = model.initial
    moments = sorted(chance.sample(range(10, 1000), number))
    made = []
    for at, moment in enumerate(moments):
        words = chance.choice(COMMANDS).format(at)
        commands = tuple(tuple(command.encode().split()) for command in words.split(","))
        called, returned = moment - chance.randrange(300), moment + chance.randrange(300)
        replies, state = _carried_out(model, state, commands)
        if chance.random() < 0.15:
            made.append(Operation(at, commands, called, NEVER, None))
            continue
        if chance.random() < wrong:
            other = chance.randrange(len(replies))
            replies = (*replies[:other], chance.choice([None, 0, 1, 2, b"1", b"OK"]), *replies[other + 1 :])
        made.append(Operation(at, commands, called, returned, replies))
    chance.shuffle(made)
    return made


def _carried_out(model: Model, state: tuple, commands: tuple) -> tuple[tuple, tuple]:  # type: ignore[type-arg]  # of the model
    """The replies, found by offering those that there can be, and the state after them."""
    replies: tuple[Reply, ...] = ()
    for words in commands:
        for reply in _possible(state):
            after = model.step(state, Operation(0, (words,), 0, 0, (reply,)))
            if after is not None:
                replies, state = (*replies, reply), after
                break
        else:
            raise AssertionError(words)
    return replies, state


def _possible(state: tuple) -> list[Reply]:  # type: ignore[type-arg]  # of the model
    found: list[Reply] = [None, b"OK", (), *range(-1, 60)]
    for value in state:
        if isinstance(value, bytes):
            found.append(value)
        elif value is not None:
            found.append(tuple(word for pair in sorted(value) for word in pair))
            found += [content for _, content in value]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_random_histories_are_judged_as_by_brute_force(seed: int) -> None:
    chance = random.Random(seed)
    verdicts = set()
    for _ in range(40):
        history = made_up(chance, chance.randint(2, 6), chance.choice([0.0, 0.3]))
        verdict = check(history) == []
        assert verdict is brute_force(history), [each.shown() for each in history]
        verdicts.add(verdict)
    assert verdicts == {True, False}


@pytest.mark.parametrize("seed", range(5))
def test_long_histories_that_happened_are_accepted(seed: int) -> None:
    history = made_up(random.Random(seed), 40, 0.0)
    assert check(history) == []


def test_it_gives_up_and_says_so() -> None:
    doubtful = [did(at, NEVER, f"HSET h f{at} 1") for at in range(14)]
    with pytest.raises(UndecidedError, match="15 operations, 14 of unknown outcome"):
        check([*doubtful, did(20, 21, "HGET h f99", b"1")], most=1000)


def test_histories_are_kept_in_files(tmp_path: Path) -> None:
    everything = [each for history in (*GOOD.values(), *BAD.values()) for each in history]
    odd = Operation(3, ((b"SET", b"\xff\x00", b"\xe9"),), 1, 2, (b"\xff",), ((b"\xff", None),))
    write(tmp_path / "history", [*everything, odd])
    assert read(tmp_path / "history") == [*everything, odd]
