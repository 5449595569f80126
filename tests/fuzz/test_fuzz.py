"""A fixed share of ``make fuzz``: sanitizers on generated streams, libFuzzer for some programs, what it found once, leaks."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from kvgate.lane import machine, native
from tests.fuzz.build import ROOT, SHORT, SOURCE, Unavailable, build, environment
from tests.fuzz.compare import SIDES, Different, compare, play
from tests.fuzz.run import fuzz, player, sanitized_tests, stood_still
from tests.fuzz.seeds import KEPT, TRAFFIC, kept, programs, traffic
from tests.lane.twins import NO_NATIVE

NEEDS_NATIVE = pytest.mark.skipif(not native.BUILT, reason=NO_NATIVE)
MADE = 20
"""Programs that hypothesis makes for one side."""
EACH = 9
"""Of the programs to begin with, one in so many is played with sanitizers."""
RUNS = 60
"""Programs that libFuzzer plays for one side, the first ones among them."""
SEARCHED = tuple(side for side in SIDES if side != "short")
"""Sides of which each run of the tests has a share: the other one has tests of its own, with sanitizers, too."""


def sanitized(source: Path = SOURCE, *more: str, fuzzer: bool = True) -> dict[str, str]:
    """The environment of a process with a build, made when it is needed; the test is skipped where that cannot be."""
    try:
        return environment(build(source, *more), fuzzer=fuzzer)
    except Unavailable as why:
        pytest.skip(str(why))


def run(*line: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *line], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", timeout=240, check=False,
    )  # fmt: skip


@NEEDS_NATIVE
@pytest.mark.parametrize("side", SIDES)
def test_what_was_found_once_and_real_traffic(side: str) -> None:
    for data in [*kept(side), *traffic(side)]:
        compare(data, side)


def test_there_is_something_to_play() -> None:
    assert len(list(TRAFFIC.glob("*.requests"))) > 8
    assert {path.name for path in KEPT.iterdir()} <= set(SIDES)


@NEEDS_NATIVE
def test_programs_go_the_short_way() -> None:
    """A world in which every command is asked about would find nothing in the paths that it is there for."""
    forwarded = asked = 0
    for data in traffic("client"):
        scene = play(data, "client", in_c=True)
        forwarded += scene.lane.commands
        asked += scene.asked
    assert forwarded > 500
    assert forwarded > asked / 2


@NEEDS_NATIVE
def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python method that does a little more than the one in C."""
    data = b"\0\0\0\0" + b"PING\r\n" * 300
    compare(data, "client")
    monkeypatch.setattr(machine, "MOST_ABOVE", machine.MOST_ABOVE + 1)
    with pytest.raises(Different, match="step"):
        compare(data, "client")


@NEEDS_NATIVE
@pytest.mark.parametrize("side", SIDES)
def test_nothing_is_left_behind(side: str) -> None:
    """References that are kept too long are memory that grows, or a count of None that does; one too few makes it shrink.
    Memory blocks include the names that a method is looked up by: one that is made anew for each call stays in Python's cache.
    In a process of its own: this one gives back what earlier tests left, at any time.
    """
    done = run("-m", "tests.fuzz.left", side, environment=dict(os.environ))
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    for before, after in zip(counts[-2], counts[-1], strict=True):
        assert abs(after - before) < 9, counts  # six are what was counted here


def test_generated_streams_with_sanitizers(tmp_path: Path) -> None:
    """The streams of tests/lane/test_native.py, with gcc's own sanitizers: also where there is no fuzzer."""
    sanitized(fuzzer=False)
    inputs: dict[str, list[Path]] = {side: [] for side in SIDES}
    for side, files in inputs.items():
        for number, data in enumerate(islice(programs(side, 6 * MADE), 0, None, EACH)):
            files.append(tmp_path / f"{side}-{number}")
            files[-1].write_bytes(data)
    for sides in (SEARCHED, ["short"]):
        done = player({side: inputs[side] for side in sides})
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_short_ways_of_an_embedded_store_with_sanitizers(capfd: pytest.CaptureFixture[str]) -> None:
    """Its tests, of which hypothesis makes the records and the commands."""
    sanitized(SHORT, fuzzer=False)
    code = sanitized_tests(SHORT, "tests/model/test_short.py", "-k", "True or places or c_refuses")
    assert code == 0, capfd.readouterr().out


@pytest.mark.parametrize("side", SEARCHED)
def test_some_programs_of_the_fuzzer(side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sanitized()
    found = fuzz(side, f"-runs={RUNS}", seed=1, corpus=tmp_path, made=MADE, each=EACH)
    assert not found, capsys.readouterr().out


def test_a_machine_that_stood_still_is_no_finding(tmp_path: Path) -> None:
    """libFuzzer goes by the clock on the wall: what took too long is played again."""
    sanitized(SHORT, fuzzer=False)
    late = tmp_path / "timeout-1"
    late.write_bytes(next(programs("short")))
    assert stood_still("short", late)
    assert not stood_still("short", tmp_path / "timeout-2"), "it ends with an exception: it is not there"
    assert not stood_still("short", tmp_path / "crash-1")


def test_coverage_guides_the_search(tmp_path: Path) -> None:
    """A defect behind five comparisons is found in a few thousand inputs, and not by as many that are made blindly."""
    source, line = Path(__file__).with_name("seeded.c"), ("-m", "tests.fuzz.seeded", "-runs=200000", "-seed=1", "-max_len=64")
    there = f"-artifact_prefix={tmp_path}/"
    guided = run(*line, there, environment=sanitized(source))
    assert "heap-buffer-overflow" in guided.stderr, guided.stderr
    assert "in look" in guided.stderr
    (found,) = tmp_path.glob("crash-*")
    assert found.read_bytes().startswith(b"*3\r$")
    blind = run(*line, there, environment=sanitized(source, "-DBLIND"))
    assert "Done 200000 runs" in blind.stderr, blind.stderr
    assert blind.returncode == 0
