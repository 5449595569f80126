"""docs/configuration.md names every key, with the default and the reason that the code has.

``python -m tests.config.test_documentation`` writes the table of ``[gate]``.
"""

import re
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from kvgate.cli.init import TEMPLATE
from kvgate.config import parse
from kvgate.policy.audit import AuditSettings
from kvgate.policy.limits import Limits
from kvgate.policy.options import parse_seconds, parse_size
from kvgate.policy.settings import GateSettings
from kvgate.routing.namespaces import Namespace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
BEGIN = "held against kvgate/policy/settings.py -->\n"
END = "<!-- end of settings -->"


def shown_time(seconds: float) -> str:
    """As one writes it in the configuration."""
    return f"{seconds:g}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g}ms"


def shown_size(size: int) -> str:
    """As one writes it in the configuration."""
    for unit, factor in (("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def table() -> str:
    """The rows of all settings with a unit."""
    rows = ["| key | default | why |", "|---|---|---|"]
    for field in attrs.fields(GateSettings):
        unit = field.metadata.get("unit")
        value: Any = field.default
        if unit == "time":
            assert parse_seconds(shown_time(value)) == value
            shown = f'`"{shown_time(value)}"`'
        elif unit == "size":
            assert parse_size(shown_size(value)) == value
            shown = f'`"{shown_size(value)}"`'
        elif unit == "count":
            shown = f"{value:,}"
        else:
            continue
        rows.append(f"| `{field.name}` | {shown} | {field.metadata['why']} |")
    return "\n" + "\n".join(rows) + "\n\n"


def parts() -> tuple[str, str, str]:
    """The page before, in and after the table."""
    before, begin, rest = PAGE.read_text("utf-8").partition(BEGIN)
    inside, end, after = rest.partition(END)
    assert begin
    assert end
    return before + begin, inside, end + after


def test_the_table_of_settings_is_not_stale() -> None:
    assert parts()[1] == table(), "run: python -m tests.config.test_documentation"


def keys_in(section: str) -> set[str]:
    """The keys that the tables below a heading name in their first column."""
    page = PAGE.read_text("utf-8")
    text = page[page.index(f"\n{section}\n") + len(section) + 2 :]
    text = re.split(r"(?m)^##+ ", text)[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([a-z0-9_]+)`", row)}


def test_every_key_of_the_gate_is_documented() -> None:
    tables = {"tls"}  # has a section of its own
    assert keys_in("## [gate]") == {field.name for field in attrs.fields(GateSettings)} - tables


def test_every_key_of_a_namespace_is_documented() -> None:
    fields = {field.name for table in (Namespace, Limits) for field in attrs.fields(table) if field.init}
    times = {"ttl_default", "ttl_max", "ttl_jitter"}
    assert keys_in("## [namespaces]") == fields - {"name", "rule", "limits", "expiry"} | times


def test_every_key_of_the_audit_log_is_documented() -> None:
    assert keys_in("## [audit]") == {field.name for field in attrs.fields(AuditSettings)}


@pytest.mark.parametrize(
    ("section", "where", "more"),
    [
        ("## [users.NAME]", "users.u", ""),
        ("## [rates]", "rates", ""),
        ("## [gate.tls]", "gate.tls", ""),
        ("## [audit]", "audit", ""),
        ('### type = "lmdb"', "backends.b", 'type = "lmdb"'),
        ('### type = "redis" and type = "kvrocks"', "backends.b", 'type = "redis"'),
        ('### type = "redis" and type = "kvrocks"', "backends.b", 'type = "kvrocks"'),
    ],
)
@pytest.mark.usefixtures("real_adapters")
def test_no_key_is_documented_that_is_unknown(section: str, where: str, more: str, tmp_path: Path) -> None:
    """Each documented key, given a value of no kind, is a mistake: but not that of an unknown key."""
    for key in keys_in(section):
        text = f"[{where}]\n{more}\n{key} = 1979-05-27\n"
        with pytest.raises(Exception, match=re.escape(f"{where}.{key}")) as caught:
            parse(text.encode(), tmp_path)
        assert f"{where}.{key}: unknown key" not in str(caught.value), key


@pytest.mark.usefixtures("real_adapters")
def test_the_examples_of_the_page_and_of_init_are_good(tmp_path: Path) -> None:
    examples = re.findall(r"(?ms)^```toml\n(.*?)^```", PAGE.read_text("utf-8"))
    assert examples
    for text in [*examples, TEMPLATE]:
        assert parse(text.encode(), tmp_path).warnings == ()


if __name__ == "__main__":
    start, _, finish = parts()
    PAGE.write_text(start + table() + finish, "utf-8")
    sys.exit(0)
