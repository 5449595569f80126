"""``rate`` and ``[rates]``: what is read, and every mistake with its place."""

from pathlib import Path

import pytest

from kvgate.config import parse
from kvgate.errors import ConfigurationError
from kvgate.policy.rates import Rate, RateSettings

BASE = """
[backends.a]
type = "redis"
url = "redis://127.0.0.1"
[namespaces]
default = "a"
"A.*" = { backend = "a", rate = { writes = 7, bytes = "2kb", burst = "3s", local = "100ms" } }
[users.u]
password_sha256 = ["2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"]
rate = %s
[rates]
%s
"""

pytestmark = pytest.mark.usefixtures("real_adapters")


def mistakes(rate: str, rates: str, base: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse((BASE % (rate, rates)).encode(), base)
    return caught.value.mistakes


def test_rates_are_read(tmp_path: Path) -> None:
    found = parse((BASE % ("{ operations = 5 }", 'max_wait = "2s"')).encode(), tmp_path)
    user = found.users.get("u")
    assert user is not None
    assert user.rate == Rate(operations=5)
    space = found.namespaces.of_name("A.T")
    assert space is not None
    assert space.rate == Rate(writes=7, bytes=2048, burst=3.0, local=0.1)
    assert found.rates == RateSettings(max_wait=2.0)


def test_the_shared_redis_is_read_as_a_backend_is(tmp_path: Path) -> None:
    store = 'url = "rediss://rates.example:7000/3"\nuser = "gate"\npassword_file = "secret"\nprefix = "mine"'
    found = parse((BASE % ("{ reads = 5 }", store)).encode(), tmp_path).rates
    assert found.prefix == "mine"
    assert found.shared is not None
    assert (found.shared.host, found.shared.port, found.shared.database, found.shared.tls) == ("rates.example", 7000, 3, True)
    assert (found.shared.user, found.shared.password_file) == ("gate", tmp_path / "secret")


def test_mistakes_are_named(tmp_path: Path) -> None:
    found = mistakes('{ operations = 0, bytes = "many", burst = "1ms", opertions = 3 }', 'max_wait = "soon"', tmp_path)
    assert [mistake.partition(":")[0] for mistake in found] == [
        "users.u.rate.operations",
        "users.u.rate.bytes",
        "users.u.rate.burst",
        "users.u.rate.opertions",
        "rates.max_wait",
    ]
    assert 'did you mean "operations"' in found[3]
    assert mistakes("5000", "", tmp_path) == ["users.u.rate: must be a table: [users.u.rate]"]
    assert mistakes('{ burst = "1s" }', "", tmp_path) == [
        "users.u.rate: limits nothing: give it operations, writes, reads or bytes (a second)"
    ]


def test_mistakes_of_the_shared_redis_are_named_and_show_no_password(tmp_path: Path) -> None:
    found = mistakes("{ reads = 5 }", 'url = "redis://:hidden@h:99999"\ngroups = 3\nprefix = "a b"', tmp_path)
    assert sorted(mistake.partition(":")[0] for mistake in found) == ["rates.groups", "rates.prefix", "rates.url"]
    assert not any("hidden" in mistake for mistake in found)
    assert mistakes("{ reads = 5 }", 'password = "x"', tmp_path) == [
        'rates.password: needs url = "redis://host:port": the Redis that gates share their rates through'
    ]
