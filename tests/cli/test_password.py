"""`kvgate password`."""

import hashlib
import subprocess
import sys

import pytest

from kvgate.policy.scrypt import parse_scrypt

COMMAND = [sys.executable, "-m", "kvgate.cli.main", "password"]
LONG = b"correct horse battery staple"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\nsecond line\n"])
def test_the_first_line_of_standard_input(ending: bytes) -> None:
    done = subprocess.run(COMMAND, input=LONG + ending, capture_output=True, check=True)
    assert done.stdout.decode() == hashlib.sha256(LONG).hexdigest() + "\n"
    assert done.stderr == b""


def test_any_bytes_and_spaces_count() -> None:
    odd = b"  \xff\xfe with spaces around it  "
    done = subprocess.run(COMMAND, input=odd + b"\n", capture_output=True, check=True)
    assert done.stdout.decode().strip() == hashlib.sha256(odd).hexdigest()


def test_a_short_one_is_warned_of() -> None:
    done = subprocess.run(COMMAND, input=b"abc\n", capture_output=True, check=True)
    assert done.stdout.decode().strip() == hashlib.sha256(b"abc").hexdigest()
    assert b"shorter than 16" in done.stderr


def test_with_scrypt_a_short_one_is_no_mistake() -> None:
    done = subprocess.run([*COMMAND, "--scrypt"], input=b"abc\n", capture_output=True, check=True)
    assert parse_scrypt(done.stdout.decode().strip()).matches(b"abc")
    assert done.stderr == b""


@pytest.mark.parametrize("nothing", [b"", b"\n"])
def test_none_is_a_mistake(nothing: bytes) -> None:
    done = subprocess.run(COMMAND, input=nothing, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


# A program with a terminal of its own: pty.spawn copies between it and our pipes.
ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def _on_a_terminal(typed: bytes) -> tuple[int, bytes]:
    """Exit code, and all that the terminal showed."""
    command = [sys.executable, "-c", ON_A_TERMINAL, *COMMAND]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        for line in typed.splitlines(keepends=True):
            while not shown.endswith(b": "):
                part = process.stdout.read(1024)
                assert part, shown
                shown += part
            process.stdin.write(line)
            shown += b"|"
        while part := process.stdout.read(1024):
            shown += part
    return process.returncode, shown


def test_on_a_terminal_it_is_asked_for_twice_and_not_shown() -> None:
    code, shown = _on_a_terminal(LONG + b"\n" + LONG + b"\n")
    assert code == 0
    assert LONG not in shown
    assert hashlib.sha256(LONG).hexdigest().encode() in shown


def test_on_a_terminal_two_that_differ_are_a_mistake() -> None:
    code, shown = _on_a_terminal(LONG + b"\nsomething else\n")
    assert code == 2
    assert b"the two differ" in shown
