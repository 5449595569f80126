"""libFuzzer on the extension with a seeded defect: ``python -m tests.fuzz.seeded [libFuzzer's options]``."""

import sys

import atheris  # type: ignore[import-untyped]  # it says nothing of its types

from tests.fuzz.build import load

seeded = load()

if __name__ == "__main__":
    atheris.Setup(sys.argv, lambda data: seeded.look(bytes(data)))
    atheris.Fuzz()
