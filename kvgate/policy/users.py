"""Users: what each may see and run, from where, and how a connection becomes one of them."""

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Protocol

import attrs

from kvgate.commands.spec import CommandSpec
from kvgate.errors import WRONG_PASS, GateError, throttled
from kvgate.policy.passwords import UNKNOWN_USER, Backoff, matches
from kvgate.policy.rates import Rate
from kvgate.policy.rules import DEFAULT_RULES, CommandRules, command_rules
from kvgate.policy.scrypt import Remembered, Scrypt

DEFAULT_USER: Final = "default"
LOCAL: Final = ""
"""The address of a client on a unix socket; it counts as 127.0.0.1."""
AUTH_WITHOUT_USER: Final = (
    "ERR AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?"
)
_NOBODYS_HASH: Final = ("0" * 64,)  # compared for unknown users, so that they take as long as known ones

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Named(Protocol):
    """A namespace, as far as users care: see kvgate.routing.namespaces.Namespace."""

    @property
    def name(self) -> str:
        """``Ads.Profile``, ``default``; ``Ads.*`` for all that a rule covers; ``*`` for what only shows with everything."""


class WrongPasswordError(GateError):
    """The client reads Redis' WRONGPASS whatever the cause; `why` is for the log."""

    def __init__(self, why: str) -> None:
        """`why`: ``unknown user``, ``wrong password``, ``address outside of networks``."""
        super().__init__(WRONG_PASS)
        self.why = why


@attrs.frozen(slots=True)
class Grants:
    """Namespace patterns: ``Ads.Profile``, ``Ads.*``, ``default``, ``*``."""

    everything: bool
    names: frozenset[str]
    apps: frozenset[str]
    """Of the patterns ``App.*``, without the dot."""

    def cover(self, namespace: Named) -> bool:
        """Whether all of the namespace is granted."""
        if self.everything:
            return True
        app, dot, _ = namespace.name.partition(".")
        return namespace.name in self.names or (dot == "." and app in self.apps)

    def touch(self, namespace: Named) -> bool:
        """Whether any of it is granted: a part of what a rule ``Ads.*`` covers, too."""
        if self.cover(namespace):
            return True
        app, _, table = namespace.name.partition(".")
        return table == "*" and any(name.startswith(app + ".") for name in self.names)


@lru_cache(maxsize=1024)
def grants(patterns: tuple[str, ...]) -> Grants:
    """The patterns, compiled; shared by users that have the same ones."""
    return Grants(
        everything="*" in patterns,
        names=frozenset(pattern for pattern in patterns if not pattern.endswith("*")),
        apps=frozenset(pattern[:-2] for pattern in patterns if pattern.endswith(".*")),
    )


@lru_cache(maxsize=4096)
def parse_network(text: str) -> Network:
    """``10.0.0.0/8``, ``127.0.0.1``, ``::1``; host bits may be set. Raises ValueError."""
    return ipaddress.ip_network(text, strict=False)


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A peer's address as the socket gives it; a mapped IPv4 address is that IPv4 address. Raises ValueError."""
    if text == LOCAL:
        return ipaddress.IPv4Address("127.0.0.1")
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@attrs.frozen(slots=True, eq=False)
class User:
    """One account. Compared by identity: after a reload the same name is another user."""

    name: str
    password_sha256: tuple[str, ...] = attrs.field(default=(), repr=False)
    """Lower-case hex."""
    password_scrypt: tuple[Scrypt, ...] = attrs.field(default=(), repr=False)
    certificates: tuple[str, ...] = ()
    """Names in a client's verified certificate that make it this user: ``CN=…``, ``DNS=…``, ``URI=…``."""
    namespaces: tuple[str, ...] = ()
    """What the user may read and write."""
    read_only: tuple[str, ...] = ()
    """What it may read and not write, whatever `namespaces` says of it."""
    commands: tuple[str, ...] = DEFAULT_RULES
    networks: tuple[Network, ...] | None = None
    """None: from everywhere."""
    databases: Mapping[int, str] = attrs.field(factory=dict)
    """Number → the one namespace that it is (kvgate.commands.home). Empty: there is database 0, with keys as they are."""
    max_connections: int | None = None
    """Clients that may be this user at one time; None: as many as there may be clients."""
    max_pipeline: int | None = None
    """Commands of one client in flight, beyond which it is not read; None: what holds for every client."""
    max_reply: int | None = None
    """Bytes of one reply; a larger one is not delivered."""
    rate: Rate | None = None
    """What all connections of the user together may ask for in a second; None: no limit."""
    rules: CommandRules = attrs.field(init=False, repr=False)
    grants: Grants = attrs.field(init=False, repr=False)
    """What it may read."""
    writable: Grants = attrs.field(init=False, repr=False)
    """What it may write, but for `kept`."""
    kept: Grants = attrs.field(init=False, repr=False)
    """What it must not write."""

    @rules.default
    def _rules(self) -> CommandRules:
        return command_rules(self.commands)

    @grants.default
    def _grants(self) -> Grants:
        return grants(self.namespaces + self.read_only)

    @writable.default
    def _writable(self) -> Grants:
        return grants(self.namespaces)

    @kept.default
    def _kept(self) -> Grants:
        return grants(self.read_only)

    @property
    def has_password(self) -> bool:
        """Whether AUTH can make a client this user."""
        return bool(self.password_sha256 or self.password_scrypt)

    @property
    def open(self) -> bool:
        """Whether everybody is this user without saying so: only the implicit default user is."""
        return not self.has_password and not self.certificates

    @property
    def sees_all(self) -> bool:
        """Whether every namespace is granted (``*``), those that are configured later too."""
        return self.grants.everything

    def allows(self, spec: CommandSpec) -> bool:
        """Whether the user may run the command; see kvgate.policy.rules for what is exempt."""
        return self.rules.allows(spec)

    def granted(self, spec: CommandSpec) -> bool:
        """Whether the user's rules name it, exemptions left aside: beyond its own connections, for CLIENT LIST and KILL."""
        return self.rules.granted(spec)

    def sees(self, namespace: Named) -> bool:
        """Whether the namespace is granted, all of it when it is a rule (``Ads.*``)."""
        return self.grants.cover(namespace)

    def sees_some(self, namespace: Named) -> bool:
        """Whether the namespace, or a part of what the rule covers, is granted."""
        return self.grants.touch(namespace)

    def writes(self, namespace: Named) -> bool:
        """Whether the user may write all of the namespace."""
        return self.writable.cover(namespace) and not self.kept.touch(namespace)

    def writes_some(self, namespace: Named) -> bool:
        """Whether the user may write a part of what the rule covers."""
        return self.writable.touch(namespace) and not self.kept.cover(namespace)

    def has_database(self, number: int) -> bool:
        """Whether SELECT finds it."""
        return number in self.databases if self.databases else number == 0

    def from_address(self, address: str) -> bool:
        """Whether the user may come from there; `LOCAL` is a unix socket."""
        if self.networks is None:
            return True
        try:
            parsed = parse_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)


LOOPBACK: Final = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))


def implicit_default() -> User:
    """The one user of a gate without ``[users]``: no password, all rights, from this machine only."""
    return User(name=DEFAULT_USER, namespaces=("*",), commands=("+@all",), networks=LOOPBACK)


@attrs.frozen(slots=True)
class Attempt:
    """One password that has to be hashed before it is known whether it is right."""

    name: str
    """As the client said it."""
    password: bytes = attrs.field(repr=False)
    address: str


class NeedsHashing(Exception):  # noqa: N818 - what is to be done, no error to show
    """`Users.check` has to look at the attempt, in a thread, before it can be answered."""

    def __init__(self, attempt: Attempt) -> None:
        """Keep what is to be hashed."""
        super().__init__(attempt.name)
        self.attempt = attempt


class Users:
    """All accounts, and how a connection becomes one of them."""

    def __init__(
        self, users: Iterable[User] = (), backoff: Backoff | None = None, remembered: Remembered | None = None
    ) -> None:
        """Without users there is the implicit ``default`` one. `backoff` and `remembered` are kept over reloads by handing
        them on."""
        self.by_name: Mapping[str, User] = {user.name: user for user in users}
        self.configured = bool(self.by_name)
        """False: the gate serves loopback only, and nobody has to authenticate."""
        if not self.configured:
            self.by_name = {DEFAULT_USER: implicit_default()}
        self.backoff = backoff if backoff is not None else Backoff()
        self.remembered = remembered if remembered is not None else Remembered()
        self._by_certificate = {name: user for user in self.by_name.values() for name in user.certificates}
        costly = [user.password_scrypt for user in self.by_name.values() if user.password_scrypt]
        self._decoys = tuple(costly[0][0].decoy() for _ in range(max(map(len, costly)))) if costly else ()

    @property
    def costly(self) -> bool:
        """Whether any user has scrypt hashes, so that `authenticate` may ask for hashing."""
        return bool(self._decoys)

    def get(self, name: str) -> User | None:
        """The user of that name."""
        return self.by_name.get(name)

    def certified(self, names: Iterable[str]) -> User | None:
        """The user whom a verified certificate with these names makes; None when it is no one's, or names two users."""
        found = {self._by_certificate[name] for name in names if name in self._by_certificate}
        return found.pop() if len(found) == 1 else None

    def initial(self, address: str, names: Iterable[str] = ()) -> User | None:
        """Who a new connection is before any AUTH, `names` being those of its certificate; None: it has to authenticate
        first (NOAUTH)."""
        user = self.certified(names)
        if user is None:
            default = self.by_name.get(DEFAULT_USER)
            user = default if default is not None and default.open else None
        return user if user is not None and user.from_address(address) else None

    def authenticate(self, name: bytes | None, password: bytes, address: str, now: float) -> User:
        """The user that AUTH or HELLO AUTH makes of a client at `address` (`LOCAL`: a unix socket). `name` is None for
        ``AUTH <password>`` alone: the user ``default``. `now` in seconds, on any steady clock.

        Raises:
            WrongPasswordError: also for an unknown user or an address outside of the user's networks.
            GateError: ``THROTTLED retry after N ms``: after wrong passwords, this one was not looked at.
            NeedsHashing: `check` and `settle` come first; then ask again. Where any user has scrypt hashes every password
                that is wrong comes to that, be it of a user without or of nobody: the time taken tells no names.
        """
        text = DEFAULT_USER if name is None else name.decode("utf-8", "surrogateescape")
        known = self.by_name.get(text)
        if name is None and (known is None or not known.has_password):
            raise GateError(AUTH_WITHOUT_USER)
        self.not_throttled(text, address, now)
        right = matches(password, known.password_sha256 if known is not None else _NOBODYS_HASH)
        if not right and known is not None:
            right = known.open or self._remembers(known, password, now)
        if known is not None and right and known.from_address(address):
            self.backoff.succeeded(address, text)
            return known
        if self._decoys:
            raise NeedsHashing(Attempt(text, password, address))
        raise self._failed(text, address, now, outside=right)

    def not_throttled(self, name: str, address: str, now: float) -> None:
        """Raise GateError (THROTTLED) while passwords of that user are not looked at from there."""
        wait = self.backoff.wait(address, self._counted(name), now)
        if wait > 0:
            raise throttled(round(wait * 1000))

    def is_remembered(self, attempt: Attempt, now: float) -> bool:
        """Whether `authenticate` knows by now that the password is right."""
        user = self.by_name.get(attempt.name)
        return user is not None and user.from_address(attempt.address) and self._remembers(user, attempt.password, now)

    def _remembers(self, user: User, password: bytes, now: float) -> bool:
        return any(self.remembered.knows(each, password, now) for each in user.password_scrypt)

    def check(self, attempt: Attempt) -> Scrypt | None:
        """The hash that the attempt's password has. Takes some 100 ms: call it in a thread, then `settle`. It hashes equally
        often whatever the name, and to the end."""
        user = self.by_name.get(attempt.name)
        known = user.password_scrypt if user is not None and user.from_address(attempt.address) else ()
        found = [each for each in (*known, *self._decoys[len(known) :]) if each.matches(attempt.password)]
        return found[0] if found else None

    def settle(self, attempt: Attempt, found: Scrypt | None, now: float) -> None:
        """Remember what `check` found, for the next `authenticate`.

        Raises:
            WrongPasswordError: it was wrong.
        """
        if found is None:
            user = self.by_name.get(attempt.name)
            outside = user is not None and not user.from_address(attempt.address)
            raise self._failed(attempt.name, attempt.address, now, outside=outside)
        self.remembered.note(found, attempt.password, now)

    def _counted(self, name: str) -> str:
        return name if name in self.by_name else UNKNOWN_USER

    def _failed(self, name: str, address: str, now: float, *, outside: bool = False) -> WrongPasswordError:
        self.backoff.failed(address, self._counted(name), now)
        user = self.by_name.get(name)
        if user is None:
            return WrongPasswordError("unknown user")
        return WrongPasswordError("address outside of networks" if outside else "wrong password")
