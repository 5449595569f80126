"""``databases`` of a user: each one namespace, of those that the user is granted."""

import pytest

from kvgate.config import parse
from kvgate.errors import ConfigurationError
from kvgate.policy.users import User
from tests.config.test_load import BASE, mistakes_of

pytestmark = pytest.mark.usefixtures("real_adapters")

BEFORE = """
[backends.a]
type = "redis"
url = "redis://127.0.0.1:1"
[namespaces]
"Ads.*" = "a"
"Bank.L" = "a"
default = "a"
[users.u]
password_sha256 = ["2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"]
"""


def user(lines: str) -> User:
    found = parse((BEFORE + lines).encode(), BASE).users.get("u")
    assert found is not None
    return found


def test_they_grant_their_namespaces() -> None:
    found = user('databases = { 0 = "Ads.Cache", 7 = "Bank.L", 8 = "Ads.Cache" }')
    assert found.databases == {0: "Ads.Cache", 7: "Bank.L", 8: "Ads.Cache"}
    assert found.namespaces == ("Ads.Cache", "Bank.L")
    assert [number for number in range(-1, 10) if found.has_database(number)] == [0, 7, 8]


def test_what_is_granted_is_no_more_than_namespaces_say() -> None:
    found = user('namespaces = ["Ads.*"]\ndatabases = { 0 = "Ads.Cache" }')
    assert found.namespaces == ("Ads.*",)


def test_a_home_may_be_one_to_read_only() -> None:
    found = user('read_only = ["Ads.Cache"]\ndatabases = { 0 = "Ads.Cache", 1 = "Ads.Other" }')
    spaces = parse((BEFORE + "").encode(), BASE).namespaces
    cache, other = spaces.of_name("Ads.Cache"), spaces.of_name("Ads.Other")
    assert cache is not None
    assert other is not None
    assert (found.sees(cache), found.writes(cache)) == (True, False)
    assert (found.sees(other), found.writes(other)) == (True, True)


def test_without_them_there_is_database_0() -> None:
    found = user('namespaces = ["*"]')
    assert [number for number in range(-1, 20) if found.has_database(number)] == [0]


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        ('databases = { 1 = "Ads.Cache" }', "users.u.databases: needs 0, "),
        ("databases = {}", "users.u.databases: needs 0, "),
        ('databases = ["Ads.Cache"]', "users.u.databases: must be a table"),
        ('databases = { 0 = "Ads.*" }', "users.u.databases.0: a database is one namespace"),
        ('databases = { 0 = "default" }', "users.u.databases.0: a database is one namespace"),
        ('databases = { 0 = "Bank.X" }', 'users.u.databases.0: "Bank.X" is not in [namespaces] (did you mean "Bank.L"?)'),
        ('databases = { 0 = "nodot" }', "users.u.databases.0: a namespace's name has a dot"),
        ("databases = { 0 = 1 }", "users.u.databases.0: must be a text in quotes"),
        ('databases = { 0 = "Ads.Cache", x = "Ads.Cache" }', "users.u.databases.x: a database is a number"),
        ('databases = { 0 = "Ads.Cache", 01 = "Ads.Cache" }', "users.u.databases.01: a database is a number"),
        ('databases = { 0 = "Ads.Cache", 10000 = "Ads.Cache" }', "users.u.databases.10000: a database is a number"),
        (
            'namespaces = ["Bank.*"]\ndatabases = { 0 = "Ads.Cache" }',
            "users.u.databases.0: \"Ads.Cache\" is none of this user's namespaces",
        ),
        ('namespaces = []\ndatabases = { 0 = "Ads.Cache" }', "is none of this user's namespaces"),
    ],
)
def test_mistakes(lines: str, mistake: str) -> None:
    found = mistakes_of(BEFORE + lines)
    assert any(mistake in each for each in found), found


def test_a_reload_is_refused_with_them() -> None:
    with pytest.raises(ConfigurationError):
        user('databases = { 3 = "Ads.Cache" }')
