"""Reading ``[audit]``."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import attrs

from kvgate.commands.table import TABLE
from kvgate.policy.audit import ADMIN, ALL, AuditSettings
from kvgate.policy.options import Options, did_you_mean
from kvgate.policy.rules import check_rule
from kvgate.routing.namespaces import check_name


def _commands(audit: Options) -> tuple[str, ...]:
    value = audit.table.get("commands", "admin")
    if not isinstance(value, list):
        return {"admin": ADMIN, "all": ALL}.get(audit.text("commands", "admin", ("admin", "all")), ADMIN)
    words = audit.texts("commands") or []
    for word in words:
        mistake = check_rule(f"+{word}", TABLE)
        if mistake:
            audit.wrong("commands", mistake.replace('"+', '"', 1))
    return tuple(words)


def read_audit(
    table: dict[str, Any], base: Path, users: Collection[str], mistakes: list[str], warnings: list[str]
) -> AuditSettings | None:
    """The settings of ``[audit]``, None when there is no such table; `users`: names of those that are configured."""
    if not table:
        return None
    audit = Options(table, mistakes, "audit")
    path = audit.file("path", base)
    if path is None and not (isinstance(table.get("path"), (int, float, list, dict)) or "path" in table):
        audit.wrong("path", 'needed: the file to write to, path = "audit.log"')
    elif path is not None and not path.parent.is_dir():
        audit.wrong("path", f"there is no folder {path.parent}")
    patterns = audit.texts("namespaces") or []
    for pattern in patterns:
        mistake = "" if pattern == "*" else check_name(pattern)
        if mistake:
            audit.wrong("namespaces", f'"{pattern}": {mistake}; "*" is all')
    named = audit.texts("users") or []
    for name in named:
        if name not in users:
            Options({}, warnings, "audit").wrong("users", f'no user is called "{name}"{did_you_mean(name, users)}')
    defaults: dict[str, Any] = {field.name: field.default for field in attrs.fields(AuditSettings)}
    found = AuditSettings(
        path=path or base / "audit.log",
        commands=_commands(audit),
        users=frozenset(named),
        namespaces=tuple(patterns),
        max_size=audit.size("max_size", defaults["max_size"], low=64 * 1024) or defaults["max_size"],
        keep=audit.integer("keep", defaults["keep"], low=1, high=1000),
        required=audit.flag("required"),
    )
    audit.done()
    return found
