"""Users: what each may see and run, from where, and how a connection becomes one of them."""

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Protocol

import attrs

from kvgate.commands.spec import CommandSpec
from kvgate.errors import WRONG_PASS, GateError
from kvgate.policy.passwords import UNKNOWN_USER, Backoff, matches, throttled
from kvgate.policy.rules import DEFAULT_RULES, CommandRules, command_rules

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
    """Lower-case hex; with none the user has no password, which only the implicit default user may have."""
    namespaces: tuple[str, ...] = ()
    commands: tuple[str, ...] = DEFAULT_RULES
    networks: tuple[Network, ...] | None = None
    """None: from everywhere."""
    rules: CommandRules = attrs.field(init=False, repr=False)
    grants: Grants = attrs.field(init=False, repr=False)

    @rules.default
    def _rules(self) -> CommandRules:
        return command_rules(self.commands)

    @grants.default
    def _grants(self) -> Grants:
        return grants(self.namespaces)

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


class Users:
    """All accounts, and how a connection becomes one of them."""

    def __init__(self, users: Iterable[User] = (), backoff: Backoff | None = None) -> None:
        """Without users there is the implicit ``default`` one. `backoff` is kept over reloads by handing it on."""
        self.by_name: Mapping[str, User] = {user.name: user for user in users}
        self.configured = bool(self.by_name)
        """False: the gate serves loopback only, and nobody has to authenticate."""
        if not self.configured:
            self.by_name = {DEFAULT_USER: implicit_default()}
        self.backoff = backoff if backoff is not None else Backoff()

    def get(self, name: str) -> User | None:
        """The user of that name."""
        return self.by_name.get(name)

    def initial(self, address: str) -> User | None:
        """Who a new connection is before any AUTH; None: it has to authenticate first (NOAUTH)."""
        user = self.by_name.get(DEFAULT_USER)
        if user is not None and not user.password_sha256 and user.from_address(address):
            return user
        return None

    def _check(self, name: str, password: bytes, address: str) -> User:
        user = self.by_name.get(name)
        right = matches(password, user.password_sha256 if user else _NOBODYS_HASH)
        if user is None:
            raise WrongPasswordError("unknown user")
        if user.password_sha256 and not right:
            raise WrongPasswordError("wrong password")
        if not user.from_address(address):
            raise WrongPasswordError("address outside of networks")
        return user

    def authenticate(self, name: bytes | None, password: bytes, address: str, now: float) -> User:
        """The user that AUTH or HELLO AUTH makes of a client at `address` (`LOCAL`: a unix socket). `name` is None for
        ``AUTH <password>`` alone: the user ``default``. `now` in seconds, on any steady clock.

        Raises:
            WrongPasswordError: also for an unknown user or an address outside of the user's networks.
            GateError: ``THROTTLED retry after N ms``: after wrong passwords, this one was not looked at.
        """
        text = DEFAULT_USER if name is None else name.decode("utf-8", "surrogateescape")
        known = self.by_name.get(text)
        if name is None and (known is None or not known.password_sha256):
            raise GateError(AUTH_WITHOUT_USER)
        counted = text if known is not None else UNKNOWN_USER
        wait = self.backoff.wait(address, counted, now)
        if wait > 0:
            raise throttled(wait)
        try:
            user = self._check(text, password, address)
        except WrongPasswordError:
            self.backoff.failed(address, counted, now)
            raise
        self.backoff.succeeded(address, counted)
        return user
