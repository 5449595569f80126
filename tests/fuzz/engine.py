"""The process in which libFuzzer runs: ``python -m tests.fuzz.engine SIDE [libFuzzer's options and folders]``.

It wants the environment of `tests.fuzz.build.environment`; tests.fuzz.run starts it so. What the Python methods do guides the
search as well, so that a branch that only they have is found, too.
"""

import gc
import importlib
import sys

import atheris  # type: ignore[import-untyped]  # it says nothing of its types

from tests.fuzz.build import load

load()
GUIDING = ["kvgate.lane.machine", "kvgate.lane.slots", "kvgate.wire.request", "kvgate.wire.measure", "kvgate.model.short"]
with atheris.instrument_imports(include=GUIDING):
    from tests.fuzz.compare import compare

    if sys.argv[1] == "short":
        importlib.import_module("tests.fuzz.short")
CLEAN_EVERY = 20
"""Programs after which their worlds, which are circles, are freed: memory that grows all the same is a finding."""


def main() -> None:
    """Does not return: libFuzzer ends the process, with 0 when nothing was found."""
    side = sys.argv.pop(1)
    runs = 0

    def one(data: bytes) -> None:
        nonlocal runs
        runs += 1
        compare(data, side)
        if runs % CLEAN_EVERY == 0:
            gc.collect()

    gc.collect()
    gc.freeze()  # what is there now stays: the rest is looked through quickly
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
