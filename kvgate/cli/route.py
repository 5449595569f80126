"""`kvgate route`: where keys go, and what would be refused there."""

import argparse
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import TABLE, by_full_name
from kvgate.config import load, prepare_backends
from kvgate.errors import ConfigurationError
from kvgate.policy.options import did_you_mean
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.routing.explain import UNSUPPORTED, explain, refused_commands


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "route",
        help="say where keys go",
        description="Say of each key its namespace, the rule that matched, backend, slot and store, and which commands"
        " would be refused there, and why. Connects to nothing. Exits 1 when a key or the command would be refused.",
    )
    parser.add_argument("config", metavar="CONFIG.toml", type=Path)
    parser.add_argument("keys", metavar="KEY", nargs="+")
    parser.add_argument("--user", metavar="U", help="look with this user's rights")
    parser.add_argument("--database", metavar="N", type=int, default=0, help="of a user that has databases; 0 when not said")
    parser.add_argument("--command", metavar="NAME", help='look at this command only: GET, "config|get"')
    parser.set_defaults(run=run)


def _user(checked: Configuration, name: str | None) -> User | None:
    if name is None:
        return None
    user = checked.users.get(name)
    if user is None:
        near = did_you_mean(name, list(checked.users.by_name)[:500])
        raise ConfigurationError([f'users: there is no user "{name}"{near}'])
    return user


def _home(checked: Configuration, user: User | None, database: int) -> bytes:
    """What is put before the user's keys in that database."""
    if user is None:
        return b""
    if not user.has_database(database):
        raise ConfigurationError([f'--database: user "{user.name}" has no database {database}'])
    namespace = checked.namespaces.of_name(user.databases[database]) if user.databases else None
    return b"" if namespace is None else namespace.prefix or b""


def _command(name: str | None) -> CommandSpec | None:
    if name is None:
        return None
    spec = by_full_name(os.fsencode(name.replace(" ", "|")))
    if spec is None:
        near = did_you_mean(name, [known.decode() for known in TABLE])
        raise ConfigurationError([f'--command: there is no command "{name}"{near}'])
    return spec


def _show(name: str, text: str) -> None:
    width = 110
    indent = " " * 11
    print(textwrap.fill(text, width, initial_indent=f"{name:<11}", subsequent_indent=indent, break_long_words=False))


def run(arguments: argparse.Namespace) -> int:
    """One block of lines per key."""
    checked = load(arguments.config)
    user, spec = _user(checked, arguments.user), _command(arguments.command)
    backends = prepare_backends(checked)
    prefix = _home(checked, user, arguments.database)
    good = True
    for number, text in enumerate(arguments.keys):
        key = prefix + os.fsencode(text)
        explanation = explain(key, checked.namespaces, backends, user, spec)
        good = good and not explanation.refusal
        if number:
            print()
        for name, shown in explanation.pairs():
            _show(name, shown)
        namespace = checked.namespaces.of(key)
        if namespace is not None and spec is None and not explanation.refusal:
            for reason, names in refused_commands(namespace, backends[namespace.backend], user).items():
                if reason == UNSUPPORTED:  # often two hundred
                    shown = f"{len(names)} commands, see 'kvgate commands --backend {explanation.type}'"
                else:
                    shown = ", ".join(names)
                _show("refused", f"{reason}: {shown}")
    sys.stdout.flush()
    return 0 if good else 1
