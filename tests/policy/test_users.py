"""Users: rights, networks, and authentication."""

import hashlib

import attrs
import pytest

from kvgate.errors import WRONG_PASS, GateError
from kvgate.policy.passwords import Backoff, hash_password
from kvgate.policy.scrypt import Scrypt
from kvgate.policy.users import LOCAL, Attempt, NeedsHashing, User, Users, WrongPasswordError, parse_network
from kvgate.routing.namespaces import KEY_EVENTS, Namespace
from tests.support.servers import RedisServer

ADS = User(
    name="ads",
    password_sha256=(hash_password(b"old"), hash_password(b"new")),
    namespaces=("Ads.*",),
    networks=(parse_network("10.0.0.0/8"), parse_network("127.0.0.1")),
)


def namespace(name: str) -> Namespace:
    return Namespace(name=name, rule=name, backend="b")


@pytest.mark.parametrize(
    ("patterns", "seen", "some", "hidden"),
    [
        ((), [], [], ["Ads.Profile", "default", "Ads.*", "*"]),
        (("*",), ["Ads.Profile", "default", "Ads.*", "*"], [], []),
        (("Ads.*",), ["Ads.Profile", "Ads.*", "Ads.A.B"], [], ["Adser.X", "AdsX.Y", "default", "*", "Ads"]),
        (("Ads.Profile",), ["Ads.Profile"], ["Ads.*"], ["Ads.Profile2", "Ads.Prof", "default", "*", "Bank.*"]),
        (("default",), ["default"], [], ["Ads.Profile", "Ads.*", "*"]),
        (("Ads.Profile", "Bank.*"), ["Ads.Profile", "Bank.Ledger", "Bank.*"], ["Ads.*"], ["Ads.Other", "default"]),
    ],
)
def test_grants(patterns: tuple[str, ...], seen: list[str], some: list[str], hidden: list[str]) -> None:
    user = User(name="u", namespaces=patterns)
    for name in seen:
        assert user.sees(namespace(name)), name
        assert user.sees_some(namespace(name)), name
    for name in some:
        assert not user.sees(namespace(name)), name
        assert user.sees_some(namespace(name)), name
    for name in hidden:
        assert not user.sees(namespace(name)), name
        assert not user.sees_some(namespace(name)), name
    assert user.sees_all is ("*" in patterns)
    assert user.sees(KEY_EVENTS) is ("*" in patterns)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("10.1.2.3", True),
        ("127.0.0.1", True),
        (LOCAL, True),
        ("127.0.0.2", False),
        ("11.0.0.1", False),
        ("::1", False),
        ("::ffff:10.1.2.3", True),
        ("fe80::1%eth0", False),
        ("no address", False),
    ],
)
def test_networks(address: str, may: bool) -> None:
    assert ADS.from_address(address) is may


def test_without_networks_every_address_may() -> None:
    assert User(name="u").from_address("203.0.113.9")


def test_no_networks_at_all_is_nobody() -> None:
    assert not User(name="u", networks=()).from_address("127.0.0.1")


def test_secrets_are_in_no_repr() -> None:
    assert hash_password(b"old") not in repr(ADS)


@pytest.mark.parametrize("password", [b"old", b"new"])
def test_both_passwords_of_a_rotation_work(password: bytes) -> None:
    assert Users([ADS]).authenticate(b"ads", password, "10.0.0.1", 0.0) is ADS


@pytest.mark.parametrize(
    ("name", "password", "address", "why"),
    [
        (b"ads", b"wrong", "10.0.0.1", "wrong password"),
        (b"ads", b"", "10.0.0.1", "wrong password"),
        (b"nobody", b"old", "10.0.0.1", "unknown user"),
        (b"\xff\xfe", b"old", "10.0.0.1", "unknown user"),
        (b"default", b"old", "10.0.0.1", "unknown user"),
        (b"ads", b"old", "192.168.0.1", "address outside of networks"),
    ],
)
def test_the_client_learns_nothing_from_a_refusal(name: bytes, password: bytes, address: str, why: str) -> None:
    with pytest.raises(WrongPasswordError) as caught:
        Users([ADS]).authenticate(name, password, address, 0.0)
    assert caught.value.text == WRONG_PASS
    assert caught.value.why == why


def test_after_a_wrong_password_the_right_one_has_to_wait_and_then_works() -> None:
    users = Users([ADS])
    with pytest.raises(WrongPasswordError):
        users.authenticate(b"ads", b"wrong", "10.0.0.1", 0.0)
    with pytest.raises(GateError, match=r"^THROTTLED retry after 60 ms$"):
        users.authenticate(b"ads", b"old", "10.0.0.1", 0.04)
    assert users.authenticate(b"ads", b"old", "10.0.0.2", 0.04) is ADS
    assert users.authenticate(b"ads", b"old", "10.0.0.1", 0.1) is ADS
    assert len(users.backoff) == 0


def test_attempts_within_the_delay_do_not_lengthen_it() -> None:
    users = Users([ADS])
    with pytest.raises(WrongPasswordError):
        users.authenticate(b"ads", b"wrong", "10.0.0.1", 0.0)
    for step in range(9):
        with pytest.raises(GateError, match="THROTTLED"):
            users.authenticate(b"ads", b"wrong", "10.0.0.1", 0.01 * step)
    assert users.authenticate(b"ads", b"old", "10.0.0.1", 0.101) is ADS


def test_made_up_names_share_one_entry_and_push_no_real_one_out() -> None:
    users = Users([ADS], Backoff(most=3))
    with pytest.raises(WrongPasswordError):
        users.authenticate(b"ads", b"wrong", "10.0.0.1", 0.0)
    for number in range(50):
        with pytest.raises(WrongPasswordError):
            users.authenticate(b"x%d" % number, b"y", "10.0.0.1", 10.0 * number)
    assert len(users.backoff) == 2


def test_without_users_everybody_on_this_machine_is_default() -> None:
    users = Users()
    assert not users.configured
    for address in ("127.0.0.1", "127.8.8.8", "::1", LOCAL, "::ffff:127.0.0.1"):
        user = users.initial(address)
        assert user is not None
        assert user.name == "default"
        assert user.sees_all
    assert users.initial("10.0.0.1") is None
    with pytest.raises(WrongPasswordError):
        users.authenticate(b"default", b"x", "10.0.0.1", 0.0)


def test_without_users_auth_answers_as_redis_without_a_password(redis_server: RedisServer) -> None:
    users = Users()
    with redis_server.client() as client:
        for name, password in ((None, b"x"), (b"nobody", b"x"), (b"default", b"anything"), (b"default", b"")):
            try:
                mine: object = "OK" if users.authenticate(name, password, f"127.0.0.{len(password)}", 0.0) else None
            except GateError as error:
                mine = error.reply
            words = [b"AUTH", *([] if name is None else [name]), password]
            assert client.raw_reply(*words) == (b"+OK\r\n" if mine == "OK" else mine)


def test_with_users_a_connection_begins_as_nobody() -> None:
    users = Users([ADS])
    assert users.configured
    assert users.initial("127.0.0.1") is None
    assert users.get("ads") is ADS
    assert users.get("default") is None


def test_auth_with_a_password_alone_is_the_user_default() -> None:
    default = attrs.evolve(ADS, name="default")
    users = Users([default])
    assert users.initial("127.0.0.1") is None
    assert users.authenticate(None, b"old", "127.0.0.1", 0.0) is default
    with pytest.raises(WrongPasswordError):
        users.authenticate(None, b"bad", "127.0.0.1", 0.0)


def test_auth_with_a_password_alone_without_that_user_says_so() -> None:
    with pytest.raises(GateError, match="called without any password configured for the default user"):
        Users([ADS]).authenticate(None, b"old", "127.0.0.1", 0.0)


# scrypt: what has to be hashed first, and what is told by time

SALT = b"SodiumChloride--"
SCRYPT = Scrypt(14, 8, 1, SALT, hashlib.scrypt(b"slow", salt=SALT, n=1 << 14, r=8, p=1, dklen=32))
SLOW = User(name="slow", password_scrypt=(SCRYPT,), networks=(parse_network("10.0.0.0/8"),))


def attempted(users: Users, name: bytes, password: bytes, address: str = "10.0.0.1", now: float = 0.0) -> Attempt:
    with pytest.raises(NeedsHashing) as caught:
        users.authenticate(name, password, address, now)
    return caught.value.attempt


def test_a_password_with_an_scrypt_hash_is_right_once_it_was_hashed() -> None:
    users = Users([ADS, SLOW])
    attempt = attempted(users, b"slow", b"slow")
    assert "slow'," in repr(attempt)
    assert "password" not in repr(attempt)
    assert not users.is_remembered(attempt, 0.0)
    found = users.check(attempt)
    assert found is SCRYPT
    users.settle(attempt, found, 0.0)
    assert users.is_remembered(attempt, 0.0)
    assert users.authenticate(b"slow", b"slow", "10.0.0.2", 59.0) is SLOW
    attempted(users, b"slow", b"slow", now=61.0)


@pytest.mark.parametrize(
    ("name", "password", "address", "why"),
    [
        (b"slow", b"wrong", "10.0.0.1", "wrong password"),
        (b"ads", b"wrong", "10.0.0.1", "wrong password"),
        (b"ads", b"slow", "10.0.0.1", "wrong password"),
        (b"nobody", b"slow", "10.0.0.1", "unknown user"),
        (b"slow", b"slow", "192.168.0.1", "address outside of networks"),
        (b"ads", b"old", "192.168.0.1", "address outside of networks"),
    ],
)
def test_every_wrong_password_is_hashed_before_it_is_refused(name: bytes, password: bytes, address: str, why: str) -> None:
    users = Users([ADS, SLOW])
    attempt = attempted(users, name, password, address)
    found = users.check(attempt)
    assert found is None
    with pytest.raises(WrongPasswordError) as caught:
        users.settle(attempt, found, 0.0)
    assert caught.value.text == WRONG_PASS
    assert caught.value.why == why
    with pytest.raises(GateError, match="THROTTLED"):  # and now nothing is hashed
        users.authenticate(name, b"slow", address, 0.05)
    with pytest.raises(GateError, match="THROTTLED"):
        users.not_throttled(name.decode(), address, 0.05)


@attrs.frozen(slots=True)
class Counted(Scrypt):
    """Counts in a list that all share how often one is compared."""

    log: list[bytes] = attrs.field(factory=list, kw_only=True)

    def matches(self, password: bytes) -> bool:
        self.log.append(self.salt)
        return password == self.digest


@pytest.mark.parametrize(
    ("name", "password", "address"),
    [
        ("one", b"1", "10.0.0.1"),
        ("one", b"x", "10.0.0.1"),
        ("two", b"2", "10.0.0.1"),
        ("two", b"2", "192.168.0.1"),
        ("ads", b"x", "10.0.0.1"),
        ("nobody", b"x", "10.0.0.1"),
    ],
)
def test_as_much_is_hashed_whoever_is_named(name: str, password: bytes, address: str) -> None:
    log: list[bytes] = []
    one, two, three = (Counted(14, 8, 1, b"salt", digest, log=log) for digest in (b"1", b"2", b"3"))
    near = (parse_network("10.0.0.0/8"),)
    first = User(name="one", password_scrypt=(one,), networks=near)
    users = Users([ADS, first, User(name="two", password_scrypt=(two, three), networks=near)])
    found = users.check(Attempt(name, password, address))
    assert len(log) == 2
    assert (found is not None) is (password in b"12" and address == "10.0.0.1")


def test_the_right_sha256_password_waits_for_nothing() -> None:
    users = Users([ADS, SLOW])
    assert users.costly
    assert not Users([ADS]).costly
    assert users.authenticate(b"ads", b"old", "10.0.0.1", 0.0) is ADS


# certificates

SHOWN = User(name="shown", certificates=("CN=shown", "DNS=shown.shop"), networks=(parse_network("10.0.0.0/8"),))


def test_a_certificate_makes_its_user() -> None:
    users = Users([ADS, SHOWN, User(name="other", certificates=("CN=other",))])
    assert users.initial("10.0.0.1", {"CN=shown"}) is SHOWN
    assert users.initial("10.0.0.1", {"CN=whoever", "DNS=x", "DNS=shown.shop"}) is SHOWN
    assert users.initial("192.168.0.1", {"CN=shown"}) is None
    assert users.initial("10.0.0.1", {"DNS=shown", "CN=shown.shop", "CN=SHOWN", "shown"}) is None
    assert users.initial("10.0.0.1", {"CN=shown", "CN=other"}) is None
    assert users.initial("10.0.0.1") is None


@pytest.mark.parametrize("name", ["shown", "default"])
def test_a_user_with_certificates_only_has_no_password(name: str) -> None:
    user = attrs.evolve(SHOWN, name=name)
    users = Users([user])
    assert users.initial("10.0.0.1") is None
    for password in (b"", b"x", hash_password(b"").encode()):
        with pytest.raises(WrongPasswordError):
            users.authenticate(name.encode(), password, "10.0.0.1", len(password) * 100.0)
    if name == "default":
        with pytest.raises(GateError, match="without any password configured"):
            users.authenticate(None, b"x", "10.0.0.1", 1e6)


# read only

@pytest.mark.parametrize(
    ("namespaces", "read_only", "written", "read", "hidden"),
    [
        (("Ads.*",), ("Bank.L",), ["Ads.P", "Ads.*"], ["Bank.L"], ["Bank.X", "default", "Bank.*", "*"]),
        (("*",), ("Bank.L",), ["Ads.P", "default", "Bank.X", "*"], ["Bank.L", "Bank.*"], []),
        (("Bank.L",), ("Bank.*",), [], ["Bank.L", "Bank.*", "Bank.X"], ["default"]),
        (("Ads.*",), ("*",), [], ["Ads.P", "default", "*", "Ads.*"], []),
        (("Ads.*", "default"), ("default",), ["Ads.P"], ["default"], ["Bank.L"]),
        ((), ("Ads.P",), [], ["Ads.P"], ["Ads.X", "Ads.*", "default"]),
    ],
)  # fmt: skip
def test_read_only(
    namespaces: tuple[str, ...], read_only: tuple[str, ...], written: list[str], read: list[str], hidden: list[str]
) -> None:
    user = User(name="u", namespaces=namespaces, read_only=read_only)
    for name in written:
        assert user.writes(namespace(name)), name
        assert user.writes_some(namespace(name)), name
        assert user.sees(namespace(name)), name
    for name in read:
        assert not user.writes(namespace(name)), name
        assert user.sees(namespace(name)), name
    for name in hidden:
        assert not user.sees(namespace(name)), name
        assert not user.writes(namespace(name)), name
    assert User(name="u", namespaces=("*",), read_only=("Bank.L",)).writes_some(namespace("Bank.*"))
    assert not User(name="u", namespaces=("*",), read_only=("Bank.*",)).writes_some(namespace("Bank.*"))
