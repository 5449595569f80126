"""docs/commands.md is what the command table gives."""

import subprocess
import sys
from pathlib import Path

from kvgate.commands.docs import render
from kvgate.commands.table import every_command

ROOT = Path(__file__).parents[2]


def test_the_document_is_not_stale() -> None:
    written = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert written == render(), "run: python -m kvgate.commands.docs > docs/commands.md"


def test_the_program_writes_it() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "kvgate.commands.docs"], cwd=ROOT, capture_output=True, check=True, env={"PYTHONUTF8": "1"}
    )
    assert made.stdout.decode("utf-8") == render()


def test_every_command_is_in_it() -> None:
    text = render()
    missing = [s.name for s in every_command() if f"| `{s.name.replace('|', ' ')}` |" not in text]
    assert missing == [s.name for s in every_command() if s.subcommands and s.arity != -1]
