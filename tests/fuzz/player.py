"""Plays inputs with the sanitizers: ``python -m tests.fuzz.player SIDE FILE… [SIDE FILE…]``, in the environment of
tests.fuzz.build."""

import sys
from pathlib import Path

from tests.fuzz.build import load

load()
from tests.fuzz.compare import SIDES, compare  # noqa: E402 - it imports the lane, which takes the extension that is loaded


def main() -> None:
    """Ends with an exception, or by a sanitizer, at the first input that finds something."""
    side = ""
    for word in sys.argv[1:]:
        if word in SIDES:
            side = word
            continue
        print(word, file=sys.stderr, flush=True)
        compare(Path(word).read_bytes(), side)


if __name__ == "__main__":
    main()
