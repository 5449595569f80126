"""Which keys of a store a user's listing may touch."""

import pytest

from kvgate.backend import INTERNAL_PREFIX
from kvgate.policy.users import User
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate.routing.views import sees_whole_store, shares_store, view, visible_rules


def namespaces(**rules: str) -> Namespaces:
    return Namespaces(
        Namespace(name=name.replace("__", ".*").replace("_", "."), rule=name, backend=backend)
        for name, backend in rules.items()
    )


TWO = namespaces(Ads_Profile="a", Ads__="b", Bank_Ledger="a", default="b")
KEYS = [b"Ads.Profile:1", b"Ads.Other:1", b"Ads.More:1", b"Bank.Ledger:1", b"plain", b"Zoo.X:1", INTERNAL_PREFIX + b"1"]


@pytest.mark.parametrize(
    ("grants", "backend", "keys", "prefixes"),
    [
        (("*",), "a", [b"Ads.Profile:1", b"Bank.Ledger:1"], (b"Ads.Profile:", b"Bank.Ledger:")),
        (("*",), "b", [b"Ads.Other:1", b"Ads.More:1", b"plain", b"Zoo.X:1"], ()),
        (("Ads.*",), "a", [b"Ads.Profile:1"], (b"Ads.Profile:",)),
        (("Ads.*",), "b", [b"Ads.Other:1", b"Ads.More:1"], (b"Ads.",)),
        (("Ads.Other",), "b", [b"Ads.Other:1"], (b"Ads.Other:",)),
        (("Ads.Other",), "a", [], ()),
        (("default",), "b", [b"plain", b"Zoo.X:1"], ()),
        ((), "a", [], ()),
    ],
)
def test_views(grants: tuple[str, ...], backend: str, keys: list[bytes], prefixes: tuple[bytes, ...]) -> None:
    user = User(name="u", namespaces=grants)
    found = view(user, TWO, backend)
    assert [key for key in KEYS if found.has(key)] == keys
    assert found.prefixes == prefixes
    assert not found.everything
    assert bool(visible_rules(user, TWO, backend)) is bool(keys)
    for key in keys:
        assert not prefixes or key.startswith(prefixes)


def test_everything_is_one_store_of_all_keys_and_a_user_who_sees_all() -> None:
    one = namespaces(Ads_Profile="a", default="a")
    user = User(name="u", namespaces=("*",))
    assert sees_whole_store(user, one, "a")
    assert view(user, one, "a").everything
    assert not sees_whole_store(User(name="v", namespaces=("Ads.Profile", "default")), one, "a")
    assert not sees_whole_store(user, namespaces(Ads_Profile="a"), "a")
    assert not sees_whole_store(user, TWO, "b")


@pytest.mark.parametrize(
    ("grants", "backend", "shares"),
    [(("*",), "a", False), (("Ads.*",), "a", True), (("Ads.*", "Bank.*"), "a", False), (("Ads.Other", "default"), "b", True)],
)
def test_shared_stores(grants: tuple[str, ...], backend: str, shares: bool) -> None:
    assert shares_store(User(name="u", namespaces=grants), TWO, backend) is shares
