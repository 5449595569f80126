"""Which rules matter to a user."""

import pytest

from kvgate.policy.users import User
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate.routing.views import visible_rules

RULES = {"Ads.Profile": "a", "Ads.*": "b", "Bank.Ledger": "a", "default": "b"}
NAMESPACES = Namespaces(Namespace(name=name, rule=name, backend=backend) for name, backend in RULES.items())


@pytest.mark.parametrize(
    ("grants", "on_a", "on_b"),
    [
        (("*",), ["Ads.Profile", "Bank.Ledger"], ["Ads.*", "default"]),
        (("Ads.*",), ["Ads.Profile"], ["Ads.*"]),
        (("Ads.Other",), [], ["Ads.*"]),
        (("Ads.Profile", "default"), ["Ads.Profile"], ["Ads.*", "default"]),
        (("Bank.*",), ["Bank.Ledger"], []),
        ((), [], []),
    ],
)
def test_visible_rules(grants: tuple[str, ...], on_a: list[str], on_b: list[str]) -> None:
    user = User(name="u", namespaces=grants)
    assert [rule.name for rule in visible_rules(user, NAMESPACES, "a")] == on_a
    assert [rule.name for rule in visible_rules(user, NAMESPACES, "b")] == on_b
