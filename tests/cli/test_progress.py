"""Progress on standard error: how often, on a terminal and in a log."""

import pytest

from kvgate.cli.progress import progress


class _Screen:
    """A standard error that is a terminal, or not."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.text = ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_now_and_then(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now, screen = 1000.0, _Screen(terminal=terminal)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("time.monotonic", lambda: now)
    show = progress()
    for done in range(100):  # 20 seconds
        now += 0.2
        show("records checked", done * 1000, 100_000)
    if terminal:
        assert screen.text.startswith("\r0 of 100,000 (0%) records checked\r1,000 of 100,000 (1%) records checked\r")
        show("records checked", 100_000, 100_000)
        assert screen.text.endswith("\r100,000 of 100,000 (100%) records checked\n")
    else:
        assert screen.text.splitlines() == [f"{at} of 100,000 ({share}%) records checked" for at, share in LINES]
        show("records checked", 100_000, 100_000)
        assert "100%" not in screen.text, "the result follows at once"


LINES = [("24,000", 24), ("49,000", 49), ("74,000", 74), ("99,000", 99)]
