"""The command line as a whole."""

import subprocess
import sys

import pytest

from kvgate import __version__
from kvgate.cli.main import COMMANDS
from tests.cli.conftest import Run

NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"kvgate {__version__}\n", "")


def test_help_names_every_command_and_the_exit_codes(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert NAMES == ["serve", "init", "check", "route", "commands", "password", "assess", "compat", "store", "top"]
    assert all(f"\n    {name} " in out for name in NAMES)
    assert "Exit codes: 0 good, 1 the thing checked is not good, 2 usage" in out


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: kvgate {name}")


@pytest.mark.parametrize("arguments", [(), ("nosuch",), ("check",), ("route", "x"), ("serve", "--workers", "0")])
def test_wrong_usage_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "usage: kvgate" in err


def test_as_a_module_and_its_exit_code() -> None:
    command = [sys.executable, "-m", "kvgate.cli.main"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"kvgate {__version__}\n"
    assert subprocess.run([*command, "check", "/nonexistent.toml"], capture_output=True, check=False).returncode == 2


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kvgate.cli.main", "commands", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 0
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_a_process_ends_at_once_with_its_code_and_what_it_printed() -> None:
    """Python's own end is not waited for: native threads that still run then abort the process."""
    program = "from kvgate.cli.leave import leave; import atexit; atexit.register(print, 'late'); print(end='said'); leave(3)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said", "")
