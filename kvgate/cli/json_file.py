"""Where `--json FILE` goes: looked at before the work begins, written when it is done."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from kvgate.errors import ConfigurationError

STDOUT = "-"


def check_target(target: str | None) -> None:
    """Refuse at once what could not be written after minutes of work. Raises ConfigurationError."""
    if target is None or target == STDOUT:
        return
    path = Path(target).absolute()
    if path.is_dir():
        raise ConfigurationError([f"--json {target}: is a folder"])
    if not path.parent.is_dir():
        raise ConfigurationError([f"--json {target}: there is no such folder"])
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError([f"--json {target}: may not be written"])


def write_json(target: str, found: dict[str, Any]) -> None:
    """Write it to the file, or to standard output. Raises ConfigurationError when that fails all the same."""
    text = json.dumps(found, indent=1) + "\n"
    if target == STDOUT:
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError([f"--json {target}: {error.strerror}"]) from None
