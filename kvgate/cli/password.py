"""`kvgate password`: the hash of a password, for ``password_sha256`` or ``password_scrypt``."""

import argparse
import getpass
import os
import sys
from typing import Any, Final

from kvgate.errors import ConfigurationError
from kvgate.policy.passwords import hash_password
from kvgate.policy.scrypt import hash_scrypt

SHORT: Final = 16  # letters; shorter ones can be found from their SHA-256 when they are words or patterns


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "password",
        help="print a password's hash",
        description="Read a password (without showing it; or the first line of standard input) and print its SHA-256 for"
        " password_sha256. Meant for keys that machines hold: 20 random letters or more. With --scrypt for password_scrypt:"
        " slow to try, for passwords that people choose.",
    )
    parser.add_argument("--scrypt", action="store_true", help="print a scrypt hash, with a salt of its own")
    parser.set_defaults(run=run)


def _read() -> bytes:
    if not sys.stdin.isatty():
        return sys.stdin.buffer.readline().rstrip(b"\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise ConfigurationError(["the two differ; nothing was printed"])
    return os.fsencode(password)


def run(arguments: argparse.Namespace) -> int:
    """One line on stdout: 64 hex digits, or ``$scrypt$…``."""
    password = _read()
    if not password:
        raise ConfigurationError(["no password: type one, or give it on standard input"])
    if arguments.scrypt:
        print(hash_scrypt(password))
        return 0
    if len(password) < SHORT:
        print(f"kvgate: shorter than {SHORT} letters: whoever reads the hash may find it; try --scrypt", file=sys.stderr)
    print(hash_password(password))
    return 0
