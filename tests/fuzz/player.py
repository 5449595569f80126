"""Plays inputs with the sanitizers: ``python -m tests.fuzz.player SIDE FILE…``, in `tests.fuzz.build.environment`."""

import sys
from pathlib import Path

from tests.fuzz.build import load

load()
from tests.fuzz.compare import compare  # noqa: E402 - it imports the lane, which takes the extension that is loaded


def main() -> None:
    """Ends with an exception, or by a sanitizer, at the first input that finds something."""
    side, *files = sys.argv[1:]
    for file in files:
        print(file, file=sys.stderr, flush=True)
        compare(Path(file).read_bytes(), side)


if __name__ == "__main__":
    main()
