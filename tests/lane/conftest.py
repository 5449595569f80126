"""Every test of the lane runs with its hot paths in C and with those in Python: they do the same."""

import pytest

from kvgate.lane import native


@pytest.fixture(autouse=True, params=["c", "python"])
def paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which ones the lanes of this test run."""
    wanted: str = request.param
    if wanted == "c" and not native.BUILT:
        pytest.skip("kvgate.lane._native is not built (no C compiler?)")
    monkeypatch.setattr(native, "WANTED", wanted == "c")
    return wanted
