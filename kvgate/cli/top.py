"""`kvgate top`: a live view of a gate: namespaces by load, times, errors, hot keys, backends."""

import argparse
import contextlib
import getpass
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from kvgate.cli.asking import Asking, Lost, Refused, parse_address
from kvgate.cli.top_view import SORTS, Told, ask, screen
from kvgate.errors import ConfigurationError

USUAL: Final = "redis://127.0.0.1:6380"
SHORTEST, LONGEST = 0.2, 60.0
"""Seconds between two looks."""
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
BEGIN, END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""A screen of its own without a cursor, and back."""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    keys = ", ".join(f"{key} {name}" for key, (name, _) in SORTS.items())
    parser = subparsers.add_parser(
        "top",
        help="a live view of a gate",
        description="Show namespaces by load with times and errors, hot keys and backends, over all workers, as far as the"
        f" user may see them. Keys: sort by {keys}; + and - change the interval; q quits.",
    )
    parser.add_argument("url", nargs="?", default=USUAL, metavar="URL", help=f"the gate: redis://user@host:port ({USUAL})")
    parser.add_argument("--interval", type=_interval, default=2.0, metavar="SECONDS", help="between two looks (2)")
    parser.add_argument("--sort", choices=[name for name, _ in SORTS.values()], default="commands", help="(commands)")
    parser.add_argument("--once", action="store_true", help="print what one interval brought, and end")
    parser.add_argument("--cacert", type=Path, metavar="FILE", help="who signs the gate's certificate, for rediss://")
    parser.add_argument(
        "--askpass", action="store_true", help="ask for the password; else it is in the URL or in REDISCLI_AUTH"
    )
    parser.set_defaults(run=run)


def _interval(text: str) -> float:
    seconds = float(text)
    if not SHORTEST <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"between {SHORTEST:g} and {LONGEST:g} seconds")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """1 when the gate cannot be asked; live, only when that is so at the start."""
    address = parse_address(arguments.url, ca=arguments.cacert)
    if arguments.askpass:
        address = attrs.evolve(address, password=getpass.getpass("Password: "))
    elif not address.password:
        address = attrs.evolve(address, password=os.environ.get("REDISCLI_AUTH", ""))
    sort = next(key for key, (name, _) in SORTS.items() if name == arguments.sort)
    gate = Asking(address)
    try:
        first = ask(gate)
        if arguments.once:
            time.sleep(arguments.interval)
            wide = shutil.get_terminal_size((120, 0)).columns if sys.stdout.isatty() else 120
            print("\n".join(screen(str(address), first, ask(gate), sort=sort, width=wide, height=0)))
            return 0
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ConfigurationError(["the live view needs a terminal; --once prints one screen"])
        with _terminal():
            _Live(gate, arguments.interval, sort).show(first)
    except (Lost, Refused) as error:
        print(f"kvgate: {address}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        gate.close()
    return 0


@contextlib.contextmanager
def _terminal() -> Iterator[None]:
    """Key by key, on a screen of its own."""
    descriptor = sys.stdin.fileno()
    usual = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        sys.stdout.write(BEGIN)
        yield
    finally:
        sys.stdout.write(END)
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, usual)


class _Live:
    """Looks, draws, and waits for keys."""

    def __init__(self, gate: Asking, interval: float, sort: str) -> None:
        self._gate = gate
        self._interval = interval
        self._sort = sort

    def show(self, first: Told) -> None:
        """Until q is pressed."""
        before: Told | None = None
        now, problem = first, ""
        while True:
            self._draw(before, now, problem)
            until = time.monotonic() + self._interval
            while (left := until - time.monotonic()) > 0:
                if not select.select([sys.stdin], [], [], left)[0]:
                    break
                keys = os.read(sys.stdin.fileno(), 64).decode("ascii", "replace").lower()
                for key in "" if keys.startswith("\x1b") else keys or "q":  # arrows and their like; the end of the terminal
                    if key in ("q", "\x04"):
                        return
                    self._press(key)
                self._draw(before, now, problem)
            try:
                told = ask(self._gate)
                before, now, problem = now, told, ""
            except (Lost, Refused) as error:
                problem = str(error)

    def _press(self, key: str) -> None:
        if key in SORTS:
            self._sort = key
        elif key in "+=":
            self._interval = min(LONGEST, self._interval * 2)
        elif key == "-":
            self._interval = max(SHORTEST, self._interval / 2)

    def _draw(self, before: Told | None, now: Told, problem: str) -> None:
        size = shutil.get_terminal_size()
        lines = screen(
            str(self._gate.address), before, now, sort=self._sort, width=size.columns, height=max(5, size.lines - 1)
        )
        sorts = "  ".join(f"{key} {name}" for key, (name, _) in SORTS.items())
        foot = f"  every {self._interval:g} s (+ -)   sort: {sorts}   q quit"
        if problem:
            shown = "".join(letter if letter.isprintable() else "?" for letter in problem)
            foot = f"  {time.strftime('%H:%M:%S')} not answered: {shown}"
        text = "".join(f"{line[: size.columns]}{CLEAR_LINE}\r\n" for line in lines)
        sys.stdout.write(f"{HOME}{text}{foot[: size.columns]}{CLEAR_LINE}{CLEAR_BELOW}")
        sys.stdout.flush()
