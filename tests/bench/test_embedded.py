"""The embedded store's section: which loads there are, and small hashes beside strings."""

from bench.embedded import LIKE, hashes, loads


def test_hashes_are_asked_for_like_strings() -> None:
    for short in (True, False):
        there = {(pipeline, name): load for pipeline, name, load in loads(short=short)}
        assert {pipeline for pipeline, name in there if name in LIKE} == {1, 16}
        for (pipeline, name), load in there.items():
            assert load.command[0] == name
            assert load.requests == there[pipeline, LIKE.get(name, name)].requests


def test_hashes_stand_beside_strings_of_the_same_peer() -> None:
    cpu = {("a", 1, "SET"): 10.0, ("a", 1, "HSET"): 12.0, ("a", 1, "GET"): 5.0, ("a", 1, "HGET"): 10.0}
    cpu |= {("b", 1, "SET"): 100.0, ("b", 1, "HSET"): 90.0, ("b", 1, "GET"): 0.0, ("b", 1, "HGET"): 7.0}
    table = hashes(cpu)
    assert table.header == ("peer", "HSET P=1", "HGET P=1")
    assert table.rows == (("a", "12.0 (1.20x)", "10.0 (2.00x)"), ("b", "90.0 (0.90x)", "7.00"))
