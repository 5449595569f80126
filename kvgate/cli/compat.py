"""`kvgate compat`: search for differences between a RESP server and a Redis."""

import argparse
import importlib
import random
import re
import sys
from typing import Any, Final

from kvgate.cli.json_file import STDOUT, check_target, write_json
from kvgate.errors import ConfigurationError

PACKAGE: Final = "kvgate_compat"
"""The search. It needs hypothesis, which comes with the extra ``compat`` only; so it is imported when it is asked for."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C when nothing has differed yet, as shells say it."""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "compat",
        help="compare a RESP server with Redis",
        description="Send the same generated commands to a RESP server and to another one (a redis-server of its own, when"
        " none is named), compare every reply and what is stored, and show each difference by the fewest commands that"
        " redis-cli can repeat. THE SERVERS ARE EMPTIED again and again: one that has keys is refused.",
        epilog="Exit codes: 0 no difference found, 1 differences, 2 usage or a server that cannot be compared, 130"
        " interrupted before a difference was found. Needs hypothesis: pip install 'kvgate[compat]'.",
    )
    parser.add_argument(
        "url", metavar="URL", help="the server to look at: redis://user:password@host:port, rediss://…, unix://…"
    )
    parser.add_argument("--against", default="", metavar="URL", help="the other one; without it a redis-server is started")
    parser.add_argument("--examples", type=_positive, default=200, metavar="N", help="in each protocol (200)")
    parser.add_argument("--steps", type=_positive, default=30, metavar="N", help="most steps of an example (30)")
    parser.add_argument("--resp", type=int, choices=(2, 3), help="only this protocol")
    parser.add_argument("--only", type=_expression, default="", metavar="RE", help="only commands that match whole: 'H.*|DEL'")
    parser.add_argument("--most", type=_positive, default=20, metavar="N", help="differences in a protocol that end it (20)")
    parser.add_argument("--seed", type=int, metavar="N", help="of an earlier search: the same examples again")
    parser.add_argument("--json", metavar="FILE", help="write the result there too; - is stdout, then the rest is on stderr")
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {error}") from None
    return text


def run(arguments: argparse.Namespace) -> int:
    """0 when nothing differs; see the parser's epilog.

    Raises:
        ConfigurationError: hypothesis is missing, the servers cannot be compared, or the result cannot be written.
    """
    try:
        running, showing = (importlib.import_module(f"{PACKAGE}.{name}") for name in ("run", "progress"))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("hypothesis", PACKAGE):
            raise
        raise ConfigurationError(["compat needs hypothesis, which is not installed: pip install 'kvgate[compat]'"]) from None
    check_target(arguments.json)
    wanted = running.Wanted(
        examples=arguments.examples,
        steps=arguments.steps,
        seed=random.randrange(10**9) if arguments.seed is None else arguments.seed,  # noqa: S311 - chooses examples
        most=arguments.most,
        only=arguments.only,
        protocols=(arguments.resp,) if arguments.resp else (2, 3),
    )
    progress = showing.Progress(sys.stderr if arguments.json == STDOUT else sys.stdout)
    try:
        outcome = running.compare(arguments.url, arguments.against, wanted, progress)
    except running.Refused as error:
        raise ConfigurationError([str(error)]) from None
    except KeyboardInterrupt:  # before the first example
        return INTERRUPTED
    progress.say(outcome.text())
    if arguments.json is not None:
        write_json(arguments.json, outcome.as_json())
    if outcome.found:
        return 1
    if outcome.interrupted:
        return INTERRUPTED
    return 2 if outcome.lost else 0
