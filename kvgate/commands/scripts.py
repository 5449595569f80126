"""Scripts that are known by their SHA-1, and how a store without Lua says that it does what one of them does."""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import TABLE

LOCK_RELEASE: Final = "c3f8721cbb97f72bc19e972846bd7aaf91901658"
LOCK_EXTEND: Final = "a4e8783852e6b949f9ef3a97212805108459a890"
LOCK_REACQUIRE: Final = "1cac51482acf5858da00f6d685d68f886cd6b6b2"

KNOWN_SCRIPTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        LOCK_RELEASE: "redis-py's Lock: release",
        LOCK_EXTEND: "redis-py's Lock: extend",
        LOCK_REACQUIRE: "redis-py's Lock: reacquire",
    }
)
"""Scripts that touch the keys they name and no others."""


def claim(sha: str) -> str:
    """The word by which a backend claims a known script, and the name of the row under which it gets it, whether it comes by
    EVALSHA or by EVAL: ``EVALSHA|C3F8…``."""
    return f"EVALSHA|{sha.upper()}"


def script_sha(spec: CommandSpec, args: Sequence[bytes]) -> str:
    """The SHA-1 of the script that the command runs, in lower case; empty for any other command."""
    if spec.name in ("EVAL", "EVAL_RO"):
        return sha_of(args[1])
    if spec.name in ("EVALSHA", "EVALSHA_RO"):
        return args[1].lower().decode("ascii", "replace")
    return ""


def sha_of(script: bytes) -> str:
    """Redis' name for a script, no proof of anything."""
    return hashlib.sha1(script, usedforsecurity=False).hexdigest()


def served_as(spec: CommandSpec, args: Sequence[bytes]) -> CommandSpec:
    """The row of a command for a backend that may claim the script it runs: for EVAL and EVALSHA of a known script a row of
    the name `claim`, a write; else `spec`."""
    if spec.name not in ("EVAL", "EVALSHA"):
        return spec
    return _ROWS.get((spec.name, script_sha(spec, args)), spec)


_ROWS: Final = {
    (spec.name, sha): attrs.evolve(spec, name=claim(sha), flags=spec.flags | {"write"})
    for spec in (TABLE[b"EVAL"], TABLE[b"EVALSHA"])
    for sha in KNOWN_SCRIPTS
}
