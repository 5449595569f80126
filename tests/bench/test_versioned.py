"""The section on versioned strings: what is asked for, and its table of medians."""

from bench import versioned
from bench.load import Sample
from bench.peers import Peer
from bench.versioned import Cost, Place

GATE = Peer("redis", 1, server=None)  # type: ignore[arg-type]  # nothing is run here


def cost(cpu_us: float, store_us: float) -> Cost:
    return Cost(Sample(1000.0 * cpu_us, 1.0, 1.0, cpu_us), store_us)


def test_ratios_are_to_the_plain_command_of_the_same_depth() -> None:
    place = Place("Redis", GATE, 1, {1: 1000})
    costs = {(name, 1): [cost(2.0, 1.0), cost(4.0, 1.0), cost(90.0, 1.0)] for name in ("SET", "GET", "EXGET")}
    costs["EXSET", 1] = costs["EXCAS", 1] = [cost(8.0, 2.0)]
    made = versioned.table(place, costs)
    assert made.header == ("command", "thousand/s, P=1", "gate µs, P=1", "store µs, P=1", "both µs, P=1")
    assert made.rows == (
        ("SET", "4.00", "4.00", "1.00", "5.00"),
        ("EXSET", "8.00 (2.00x)", "8.00 (2.00x)", "2.00 (2.00x)", "10.0 (2.00x)"),
        ("EXCAS", "8.00 (2.00x)", "8.00 (2.00x)", "2.00 (2.00x)", "10.0 (2.00x)"),
        ("GET", "4.00", "4.00", "1.00", "5.00"),
        ("EXGET", "4.00 (1.00x)", "4.00 (1.00x)", "1.00 (1.00x)", "5.00 (1.00x)"),
    )


def test_a_store_in_the_gate_has_no_column() -> None:
    place = Place("LMDB", GATE, None, {16: 1000})
    made = versioned.table(place, {(name, 16): [cost(2.0, 0.0)] for name in versioned.BESIDE})
    assert made.header == ("command", "thousand/s, P=16", "gate µs, P=16")


def test_most_keys_are_compared_once() -> None:
    place = Place("LMDB", GATE, None, {1: 1000, 16: 5000})
    for depth in place.requests:
        load = versioned.load(place, "EXCAS", depth)
        assert load.requests * 10 <= place.keys == load.keyspace
        assert load.command[0] == "EXCAS"
        assert load.command[3] == "1"
    assert versioned.load(place, "SET", 16).requests == 5000
    assert versioned.load(place, "SET", 1).command[1] == "Bank.Plain:__rand_int__"
    assert versioned.load(place, "EXGET", 1).command == ("EXGET", "Bank.Stock:__rand_int__")
