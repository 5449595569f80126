"""Every alert has a section that says what to do, and what that section names is really there."""

import re

import pytest

from kvgate.commands.table import by_full_name
from tests.support.servers import ROOT

RUNBOOK = (ROOT / "docs" / "operations" / "alerts.md").read_text("utf-8")
RULES = (ROOT / "docs" / "operations" / "alerts.yaml").read_text("utf-8")
ALERTS = re.findall(r"- alert: (\w+)", RULES)
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    assert len(ALERTS) > 20
    assert sorted(SECTIONS) == sorted(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_section_says_where_to_look_and_what_to_do(alert: str) -> None:
    assert re.search(r"^Look: ", SECTIONS[alert], re.MULTILINE)
    assert re.search(r"^Do: ", SECTIONS[alert], re.MULTILINE)


def test_the_commands_that_it_names_are_there() -> None:
    named = set(re.findall(r"`(GATE [A-Z]+|SLOWLOG|LATENCY [A-Z]+|INFO)\b", RUNBOOK))
    assert len(named) > 6
    assert all(by_full_name(name.replace(" ", "|").encode()) for name in named), named


def test_the_events_of_the_log_that_it_names_are_written() -> None:
    """Words with an underscore that are no setting or figure stand in a log call."""
    source = "\n".join(path.read_text("utf-8") for path in [*ROOT.glob("kvgate/**/*.py"), *ROOT.glob("backends/**/*.py")])
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", RUNBOOK))
    assert {"worker_died", "store_connection_lost"} <= words
    assert not {word for word in words if not re.search(rf"\b{word}\b", source)}
