"""The `kvgate` command: its subcommands, and the exit codes they share.

0: good. 1: the thing checked is not good. 2: usage or configuration.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from kvgate import __version__
from kvgate.cli import assess, check, commands, compat, init, password, route, serve, store, top
from kvgate.cli.leave import leave
from kvgate.errors import ConfigurationError

COMMANDS = (serve, init, check, route, commands, password, assess, compat, store, top)
"""Modules with `add(subparsers)`, which sets `run: Callable[[Namespace], int]` on its parser; in the order of the help."""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="kvgate",
        description="One Redis address in front of several stores.",
        epilog="Exit codes: 0 good, 1 the thing checked is not good, 2 usage or configuration.",
    )
    top.add_argument("--version", action="version", version=f"kvgate {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. `argv` without the program's name; None: the process's own, which ends with it.

    Raises:
        SystemExit: from argparse, for ``--help``, ``--version`` (0) and wrong usage (2).
    """
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except ConfigurationError as error:
        where = getattr(arguments, "config", None)
        for mistake in error.mistakes:
            print(f"{where}: {mistake}" if where else f"kvgate: {mistake}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `kvgate commands | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if argv is None:
        leave(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
