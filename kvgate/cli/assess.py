"""`kvgate assess`: what of a live Redis would work behind the gate."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Final

import attrs

from kvgate.assess.as_json import as_json
from kvgate.assess.assessment import Assessment, Question, assess
from kvgate.assess.link import Unreachable
from kvgate.assess.stores import Store, store_of
from kvgate.assess.text import render
from kvgate.backend import Endpoint
from kvgate.cli.json_file import STDOUT, check_target, write_json
from kvgate.cli.progress import progress
from kvgate.config import adapter, installed_types
from kvgate.errors import ConfigurationError
from kvgate.routing.endpoints import parse_url

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C when nothing was seen yet, as shells say it."""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "assess",
        help="what of a live Redis would work behind the gate",
        description="Read the command statistics of a live Redis and a sample of its keys, and say of each prefix what would"
        " work on each type of backend, and what not. Nothing is written, values are not read. Exits 1 when something works on"
        " none of the types asked about, 2 when the Redis cannot be asked.",
    )
    parser.add_argument("url", metavar="URL", help="redis://user@host:port/database, rediss://… (TLS) or unix:///path?db=1")
    parser.add_argument("--backend", metavar="TYPE", help="ask about this type only: redis, kvrocks, lmdb, tikv …")
    parser.add_argument("--all-databases", action="store_true", help="not the URL's only")
    parser.add_argument("--samples", type=_whole, default=10_000, metavar="N", help="keys to look at (10000)")
    parser.add_argument("--seconds", type=_positive, default=60.0, metavar="S", help="that looking at keys may take (60)")
    parser.add_argument("--rate", type=_positive, default=2000.0, metavar="N", help="commands a second, at most (2000)")
    parser.add_argument("--separator", type=_text, default=":", metavar="TEXT", help="ends a prefix (:)")
    parser.add_argument("--depth", type=_whole, default=1, metavar="N", help="separators that belong to a prefix (1)")
    parser.add_argument(
        "--monitor",
        type=_positive,
        default=0.0,
        metavar="S",
        help="run MONITOR for so many seconds, to tell which prefix gets which commands; it costs the server up to half of its"
        " speed meanwhile",
    )
    parser.add_argument("--show-keys", action="store_true", help="show names of keys, of each prefix the largest")
    parser.add_argument("--json", metavar="FILE", help="write all as JSON; -: to standard output, in place of the text")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="else it is in the URL, or in REDISCLI_AUTH")
    parser.add_argument("--cacert", type=Path, metavar="FILE", help="who signs the server's certificate, for rediss://")
    parser.set_defaults(run=run)


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text


def _endpoint(arguments: argparse.Namespace) -> Endpoint:
    try:
        endpoint = parse_url(arguments.url)
    except ValueError as error:
        raise ConfigurationError([f"URL: {error}"]) from None
    if arguments.cacert is not None and not endpoint.tls:
        raise ConfigurationError(["--cacert: is for rediss:// only"])
    endpoint = attrs.evolve(endpoint, tls_ca=arguments.cacert)
    if arguments.password_file is not None:
        try:
            password = arguments.password_file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([f"--password-file: {error}"]) from None
        return attrs.evolve(endpoint, password=password, password_file=arguments.password_file.absolute())
    return endpoint if endpoint.password else attrs.evolve(endpoint, password=os.environ.get("REDISCLI_AUTH", ""))


def _stores(wanted: str | None) -> tuple[list[Store], list[Store]]:
    """The types that are asked about, and all that can be imported."""
    every = []
    for kind in installed_types():
        try:
            every.append(store_of(adapter(kind)))
        except LookupError as error:
            if kind != wanted:
                print(f"kvgate: {error.args[0]}", file=sys.stderr)
    if wanted is None:
        return every, every
    try:
        return [store_of(adapter(wanted))], every
    except LookupError as error:
        raise ConfigurationError([f"--backend: {error.args[0]}"]) from None


def run(arguments: argparse.Namespace) -> int:
    """0 when all that was seen works on a type that was asked about, 1 when something does not."""
    check_target(arguments.json)
    question = Question(
        endpoint=_endpoint(arguments),
        all_databases=arguments.all_databases,
        samples=arguments.samples,
        seconds=arguments.seconds,
        rate=arguments.rate,
        separator=arguments.separator,
        depth=arguments.depth,
        monitor=arguments.monitor,
    )
    stores, every = _stores(arguments.backend)
    if arguments.monitor:
        print(f"MONITOR for {arguments.monitor:g} s: it costs the server up to half of its speed meanwhile", file=sys.stderr)
    try:
        found = assess(question, stores, every, progress())
    except Unreachable as error:
        print(f"kvgate: {question.endpoint.url}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first key
        return INTERRUPTED
    if sys.stderr.isatty():
        print(file=sys.stderr)  # the line of the progress may not have ended
    _write(found, arguments.json, show_keys=arguments.show_keys)
    return 1 if found.problems else 0


def _write(found: Assessment, target: str | None, *, show_keys: bool) -> None:
    if target != STDOUT:
        sys.stdout.write(render(found, show_keys=show_keys))
    if target is not None:
        write_json(target, as_json(found, show_keys=show_keys))
