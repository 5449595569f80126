"""``make fuzz``: libFuzzer on each side for some minutes; what it finds is kept, and said with how to replay it.

``make fuzz ARGS="--minutes 60 --side upstream"``, ``make fuzz ARGS="--replay FILE --side upstream"``. Exit code 1 when
anything was found, 2 when this machine lacks something. The corpus grows in .cache/fuzz, from run to run.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Final

from tests.fuzz.build import FOLDER, ROOT, SHORT, SIDES_OF, SOURCE, SYNCER, Unavailable, build, environment
from tests.fuzz.compare import SIDES
from tests.fuzz.seeds import dictionary, programs

LONGEST: Final = 4096
"""Bytes of a program; events make more of them."""
SLOWEST: Final = 60
"""Seconds that one program may take: it would be an endless loop."""
MOST_MEMORY: Final = 3000
"""Megabytes beyond which the process ends with a finding: a leak."""
EVERY: Final = 10.0
"""Seconds between two lines of progress."""
_STATE: Final = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+")
_WRITTEN: Final = re.compile(r"Test unit written to (\S+)")
_MORE: Final = 60
"""Lines shown of a finding."""


def parser() -> argparse.ArgumentParser:
    """Options of ``make fuzz``."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--side", choices=SIDES, action="append", help="only this one (all, one after the other)")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each side (10)")
    parser.add_argument("--runs", type=int, help="programs in place of minutes")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer (0: another one each time)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play an input, or a folder of them")
    parser.add_argument("--shrink", type=Path, metavar="FILE", help="look for a shorter input that finds something as well")
    parser.add_argument("--tests", action="store_true", help="tests of what is in C, with the sanitizers; no search")
    parser.add_argument("--verbose", action="store_true", help="all that libFuzzer says")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz, or replay; the exit code."""
    options = parser().parse_args(argv)
    sides = options.side or SIDES
    if (options.replay or options.shrink) and len(sides) != 1:
        print("whose input is it? Add --side client, or another one")
        return 2
    try:
        if options.tests:
            return all_tests()
        if options.replay:
            return replay(options.replay, sides[0])
        if options.shrink:
            return shrink(options.shrink, sides[0])
        limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={round(60 * options.minutes)}"
        say = print if options.verbose else None
        found = [fuzz(side, limit, seed=options.seed, say=say) for side in sides]
    except Unavailable as why:
        print(f"this machine cannot fuzz: {why}")
        return 2
    return 1 if any(found) else 0


def fuzz(
    side: str, limit: str, *, seed: int = 0, corpus: Path | None = None, made: int = 200, each: int = 1,
    say: Callable[[str], None] | None = None,
) -> bool:  # fmt: skip
    """Search on one side, with progress on stdout; whether anything was found. `limit` and `seed` are libFuzzer's; `corpus`
    is where inputs are taken from and put into; of the usual ones, `made` of them hypothesis', one in `each` is used; `say`
    gets every line.

    Raises:
        Unavailable: this machine lacks something.
    """
    corpus = corpus or FOLDER / "corpus" / side
    kept = FOLDER / "findings" / side
    for folder in (corpus, kept):
        folder.mkdir(parents=True, exist_ok=True)
    for text in islice(programs(side, made), 0, None, each):
        (corpus / hashlib.sha256(text).hexdigest()[:20]).write_bytes(text)
    words = FOLDER / "words"
    words.write_text(dictionary())
    print(f"{side}: building, {sum(1 for _ in corpus.iterdir())} inputs to begin with", flush=True)
    line = [
        *(sys.executable, "-m", "tests.fuzz.engine", side, str(corpus), limit, f"-dict={words}", f"-artifact_prefix={kept}/"),
        *(f"-max_len={LONGEST}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MOST_MEMORY}", f"-seed={seed}"),
        *(f"-report_slow_units={SLOWEST}", "-detect_leaks=0"),
    ]
    with subprocess.Popen(
        line, cwd=ROOT, env=environment(_built(side), fuzzer=True), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said, state = _follow(process.stdout, side, say)
    if process.returncode == 0:
        print(f"{side}: {state}; nothing found", flush=True)
        return False
    files = [found[1] for text in said if (found := _WRITTEN.search(text)) and "slow-unit" not in found[1]]
    if files and stood_still(side, Path(files[-1])):
        print(f"{side}: {state}; nothing found, but ended early: this machine stood still for {SLOWEST} s", flush=True)
        return False
    print("\n".join(said[-_MORE:]))
    print(f"{side}: {state}; FOUND SOMETHING (exit code {process.returncode}), see above")
    for file in files[-1:]:
        print(f"the input: {file}\nreplay it: make fuzz ARGS='--side {side} --replay {file}' (--shrink makes it shorter)")
        print(f"when it is mended, keep it: cp {file} tests/fuzz/found/{side}/NAME", flush=True)
    return True


def stood_still(side: str, file: Path) -> bool:
    """Whether an input that took too long by the clock on the wall is played quickly by another process.

    Raises:
        Unavailable: this machine lacks something.
    """
    if not file.name.startswith("timeout-"):
        return False
    before = sum(os.times()[2:4])  # processor seconds of children that have ended
    try:
        done = player({side: [file]}, seconds=5 * SLOWEST)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and sum(os.times()[2:4]) - before < SLOWEST / 2


def _built(side: str) -> Path:
    return build(SIDES_OF.get(side, SOURCE))


def _follow(stdout: IO[str], side: str, say: Callable[[str], None] | None) -> tuple[list[str], str]:
    """All lines but those of progress, which is told from time to time; and its last state."""
    said, state, next_time, begun = list[str](), "nothing ran", time.monotonic(), time.monotonic()
    for text in stdout:
        text = text.rstrip("\n")
        if say is not None:
            say(text)
        found = _STATE.match(text)
        if found is None:
            said.append(text)
            continue
        runs, blocks, features, inputs = map(int, found.groups())
        seconds = time.monotonic() - begun
        state = f"{runs:,} programs in {seconds:.0f} s, {blocks:,} blocks, {features:,} features, {inputs:,} inputs kept"
        if time.monotonic() > next_time and say is None:
            print(f"{side}: {state}", flush=True)
            next_time = time.monotonic() + EVERY
    return said, state


def player(
    inputs: Mapping[str, Sequence[Path]], *, fuzzer: bool = False, seconds: float | None = None
) -> "subprocess.CompletedProcess[str]":
    """Play inputs, by side, in a process with the sanitizers; its exit code is 0 when nothing was found. The sides are of one
    extension. `seconds` may pass, if not None.

    Raises:
        Unavailable: this machine lacks something.
        subprocess.TimeoutExpired: it took longer.
    """
    words = [word for side, files in inputs.items() for word in (side, *map(str, files))]
    line = [sys.executable, "-m", "tests.fuzz.player", *words]
    environ = environment(_built(next(iter(inputs))), fuzzer=fuzzer)
    return subprocess.run(
        line, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        timeout=seconds,
    )  # fmt: skip


def sanitized_tests(source: Path, *tests: str) -> int:
    """Run tests with an extension that has the sanitizers; pytest's exit code.

    Raises:
        Unavailable: this machine lacks something.
    """
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.fuzz.sanitized", *tests]
    environ = environment(build(source), fuzzer=False)
    return subprocess.run(line, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, check=False).returncode


def all_tests() -> int:
    """Run the tests of all extensions, one after the other; the first exit code that is not 0.

    Raises:
        Unavailable: this machine lacks something.
    """
    return (
        sanitized_tests(SHORT, "tests/model/test_short.py")
        or sanitized_tests(SYNCER, "tests/kvgate_lmdb/test_syncing.py")
        or sanitized_tests(SOURCE, "tests/lane")
    )


def replay(path: Path, side: str) -> int:
    """Play an input, or each of a folder, and show what comes of it."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    done = player({side: files})
    print(done.stdout + done.stderr)
    print("found something" if done.returncode else f"{len(files)} played: nothing found")
    return 1 if done.returncode else 0


def shrink(path: Path, side: str) -> int:
    """Take pieces away as long as the rest ends with the same words; the shortest is left beside the input."""
    data, tried = path.read_bytes(), path.with_name(f"{path.name}.try")
    wanted = _words(player({side: [path]}))
    if not wanted:
        print("nothing found: there is nothing to shrink")
        return 2
    size = max(1, len(data) // 2)
    while size:
        for shorter in list(_without(data, size)):
            tried.write_bytes(shorter)
            if len(shorter) < len(data) and _words(player({side: [tried]})) == wanted:
                data = shorter
                print(f"{len(data)} bytes", flush=True)
                break
        else:
            size //= 2
    tried.unlink()
    path.with_name(f"{path.name}.short").write_bytes(data)
    print(f"{data!r}\n{path}.short")
    return 0


def _without(data: bytes, size: int) -> Iterator[bytes]:
    """`data` without each of its pieces of that size, but with its setup."""
    for at in range(4, len(data), size):
        yield data[:at] + data[at + size :]


def _words(done: "subprocess.CompletedProcess[str]") -> str:
    """What kind of finding it is: the exception's name, or a sanitizer's summary without addresses."""
    for text in reversed(done.stderr.splitlines()):
        if text.startswith("SUMMARY:") or re.match(r"[\w.]+(Error|Different)\b", text):
            return re.sub(r"0x[0-9a-f]+", "", text.split(":", 1)[0] if not text.startswith("SUMMARY:") else text)
    return "" if done.returncode == 0 else f"exit code {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
