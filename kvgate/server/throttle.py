"""Rates: what users and namespaces may ask for in a second, and the commands that wait for their turn.

A command pays one operation, and its bytes, from every limit that it meets: its user's, and those of the namespaces of its
keys. While there is enough, the lane pays from a `Toll` that is filled here a little in advance. When there is not, the
command stands in the limit's line, one of each connection at most, so that connections take turns; it is refused when its
turn would come later than ``max_wait`` after it came. A connection whose turn it is may bring on a share of what follows.
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from kvgate.commands.keys import channels, is_plain, key_indices, written_keys
from kvgate.commands.spec import Action, CommandSpec
from kvgate.errors import throttled
from kvgate.lane.client import Client
from kvgate.metrics.ledger import NO_NAMESPACE
from kvgate.policy.buckets import Bucket, Share, Standing
from kvgate.policy.compiled import Toll
from kvgate.policy.prepaid import Limit, Prepaid
from kvgate.policy.rates import Rate
from kvgate.policy.users import User
from kvgate.routing.configuration import Configuration
from kvgate.routing.namespaces import Namespace
from kvgate.server.budget import Fetching, OfParent, SharedRedis
from kvgate.server.turns import Charges, Turns, Waiter, milliseconds

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.session import Session

FREE: Final = frozenset({"QUIT", "RESET", "DISCARD"})
"""Who ends something need not wait for it."""
_SCRIPTS: Final = ("script", "function")


class Throttle:
    """All rates of this process."""

    def __init__(self, gate: "Dispatcher") -> None:
        """For the gate's present configuration."""
        self._gate = gate
        self._limits: dict[str, Limit] = {}
        self._prepaid: dict[tuple[str, str], tuple[Prepaid | None, Prepaid | None]] = {}
        self._fetching: Fetching | None = None
        self._unanswered = 0  # by those before it
        self.turns = Turns(gate, self._fetch)
        self.active = False
        """Whether there is any rate."""
        self._by_namespace = False
        self._set(gate.configuration)

    @property
    def unanswered(self) -> int:
        """Questions to places where budgets are shared that were not answered."""
        return self._unanswered + (0 if self._fetching is None else self._fetching.failures)

    # ------------------------------------------------------------------ configurations

    def _set(self, configuration: Configuration) -> None:
        self._max_wait = configuration.rates.max_wait
        rules = configuration.namespaces.rules
        self._by_namespace = any(rule.rate is not None for rule in rules)
        self.active = self._by_namespace or any(user.rate is not None for user in configuration.users.by_name.values())
        self._gate.places.tolls = self.tolls

    def adopt(self, before: Configuration) -> None:
        """Go by the gate's present configuration from now on. Limits that did not change keep what is in them; commands that
        wait are looked at anew, with the age that they have."""
        configuration = self._gate.configuration
        for each in {prepaid for pair in self._prepaid.values() for prepaid in pair if prepaid is not None}:
            each.settle()
        self._prepaid.clear()
        self.turns.begin_anew(self._limits.values())
        if before.rates.shared != configuration.rates.shared or before.rates.prefix != configuration.rates.prefix:
            if self._fetching is not None:
                self._fetching.stop()
                self._unanswered += self._fetching.failures
                self._fetching = None
            self._limits.clear()
        rates = {f"namespace:{rule.name}": rule.rate for rule in configuration.namespaces.rules}
        rates |= {f"user:{user.name}": user.rate for user in configuration.users.by_name.values()}
        for key in list(self._limits):
            owner, _, what = key.rpartition(":")
            if not getattr(rates.get(owner), what, 0):
                del self._limits[key]
        self._set(configuration)

    # ------------------------------------------------------------------ which limits there are

    def _limit(self, key: str, amount: int, rate: Rate) -> Limit:
        """The limit of that name, made when it is first met, with the rate that it has now."""
        found = self._limits.get(key)
        capacity, local = max(1.0, amount * rate.burst), max(1.0, amount * rate.local)
        if found is None:
            now = time.monotonic()
            fetching = self._shared()
            bucket: Bucket | Share = Bucket(amount, capacity, now)
            if fetching is not None:
                bucket = Share(amount, capacity, min(local, capacity), fetching.standing, now)
            found = self._limits[key] = Limit(key, bucket)
        elif isinstance(found.bucket, Share):
            if (found.bucket.rate, found.bucket.capacity, found.bucket.local) != (amount, capacity, min(local, capacity)):
                found.bucket.change(amount, capacity, min(local, capacity), time.monotonic())
        elif (found.bucket.rate, found.bucket.capacity) != (amount, capacity):
            found.bucket.change(amount, capacity, time.monotonic())
        return found

    def _shared(self) -> Fetching | None:
        """Where budgets are shared with other processes, if they are."""
        if self._fetching is None:
            rates, fleet = self._gate.configuration.rates, self._gate.fleet
            if rates.shared is not None:
                place: SharedRedis | OfParent = SharedRedis(rates.shared, rates.prefix)
            elif fleet is not None and fleet.size > 1:
                place = OfParent(fleet)
            else:
                return None
            self._fetching = Fetching(place, Standing(1 if fleet is None else fleet.size), self._came)
            self._gate.tasks.spawn(self._fetching.run)
        return self._fetching

    def _of(self, kind: str, name: str, rate: Rate | None, *, readonly: bool | None) -> list[tuple[str, Limit]]:
        if rate is None:
            return []
        limits = rate.limits(readonly=readonly)
        return [(what, self._limit(f"{kind}:{name}:{what}", amount, rate)) for what, amount in limits]

    def tolls(self, user: User, namespace: Namespace) -> tuple[Toll | None, Toll | None] | None:
        """What the lane pays from for the user's writes and reads in the namespace; None: nothing limits them."""
        if user.rate is None and namespace.rate is None:
            return None
        writes, reads = self._pair(user, namespace)
        if writes is None and reads is None:
            return None
        return (None if writes is None else writes.toll, None if reads is None else reads.toll)

    def _pair(self, user: User, namespace: Namespace | None) -> tuple[Prepaid | None, Prepaid | None]:
        """One for writes and one for reads; namespaces without a rate share them, and so do users without one."""
        rule = namespace.rule if namespace is not None and namespace.rate is not None else ""
        key = (user.name if user.rate is not None else "", rule)
        found = self._prepaid.get(key)
        if found is None:
            made = []
            for readonly in (False, True):
                limits = self._of("user", user.name, user.rate, readonly=readonly)
                if namespace is not None:
                    limits += self._of("namespace", namespace.rule, namespace.rate, readonly=readonly)
                sizes = [limit for what, limit in limits if what == "bytes"]
                operations = [limit for what, limit in limits if what != "bytes"]
                made.append(Prepaid(operations, sizes) if limits else None)
            found = self._prepaid[key] = (made[0], made[1])
        return found

    # ------------------------------------------------------------------ one command

    def admits(
        self,
        client: Client,
        user: User,
        spec: CommandSpec,
        args: list[bytes],
        frame: bytes,
        said: tuple[list[bytes], bytes],
        now: float,
    ) -> bool:
        """Whether the command may go on, and is paid for. False: it waits, and will be looked at again as it was `said`
        (without the prefix of a home namespace).

        Raises:
            GateError: THROTTLED.
        """
        session: Session = client.session
        if session.paid:
            session.paid = False
            return True
        if spec.name in FREE or session.admin or (user.rate is None and not self._by_namespace):
            return True
        if session.multi is not None and spec.name != "EXEC":
            return True  # what Redis runs inside MULTI is an error, or goes with the block
        prepaid: Prepaid | None = None
        alike = is_plain(spec, args) or spec.action is Action.SPLIT
        reached = self._reached(user, spec, args) if alike and self._by_namespace else [None]
        if alike and len({None if each is None else each.rule for each in reached}) == 1:
            namespace = reached[0]  # the lane takes such requests by itself, and pays for each as one
            prepaid = self._pair(user, namespace)[spec.readonly]
            charges: Charges = []
            if prepaid is not None:
                charges = [(limit, 1.0) for limit in prepaid.operations]
                charges += [(limit, float(len(frame))) for limit in prepaid.sizes]
        else:
            charges = self._charges(session, user, spec, args, frame)
        if not charges:
            return True
        wait = self._wait(charges, now)
        if wait > 0 and any(limit.prepaid for limit, _ in charges):
            for limit, _ in charges:
                limit.reclaim()
            wait = self._wait(charges, now)
        if wait <= 0:
            for limit, amount in charges:
                limit.bucket.take(amount)
            if prepaid is not None and (prepaid.toll.commands <= 0 or prepaid.toll.bytes <= 0):
                prepaid.fill(now, len(frame))
            self._fetch(charges, now)
            return True
        deadline = min(client.arrived, now) + self._max_wait
        name = self._name(spec, args)
        if now + wait > deadline:
            self._fetch(charges, now)
            raise throttled(milliseconds(wait), name)
        waiter = Waiter(client, args, said, session.quiet, charges, prepaid, name, now, deadline)
        return not self.turns.stand_in_line(waiter, now)

    def left(self, session: "Session") -> None:
        """The client has gone: its command is not run."""
        self.turns.left(session)

    def _reached(self, user: User, spec: CommandSpec, args: Sequence[bytes]) -> list[Namespace | None]:
        """The namespaces of the command's keys and channels, None for those without a rate, and for those on which the user
        may not run it: who may not, takes nothing from others."""
        spaces = self._gate.places.namespaces
        written = written_keys(spec, args) if user.read_only else frozenset()
        sends = spec.name in ("PUBLISH", "SPUBLISH")
        found = [(spaces.of(args[index]), index in written) for index in key_indices(spec, args)]
        found += [(spaces.of_channel(args[index]), sends) for index in channels(spec, args)]
        return [
            namespace
            if namespace is not None
            and namespace.rate is not None
            and (user.writes(namespace) if writes else user.sees(namespace))
            else None
            for namespace, writes in found
        ]

    def _name(self, spec: CommandSpec, args: list[bytes]) -> str:
        """Where a refusal is counted: at the namespace of the first key."""
        keys = key_indices(spec, args)
        namespace = self._gate.places.namespaces.of(args[keys[0]]) if keys else None
        return NO_NAMESPACE if namespace is None else namespace.name

    def _came(self, keys: Iterable[str]) -> None:
        """Shares have another level."""
        self.turns.look_at(self._limits[key] for key in keys if key in self._limits)

    @staticmethod
    def _wait(charges: Charges, now: float) -> float:
        """Seconds until all of it can be paid, behind those who wait already."""
        return max(limit.wait(amount, now) for limit, amount in charges)

    def _charges(self, session: "Session", user: User, spec: CommandSpec, args: list[bytes], frame: bytes) -> Charges:
        """What any command costs: a block what is queued in it. Raises GateError when its keys cannot be found out."""
        sums: dict[Limit, float] = {}
        multi = session.multi
        if spec.name == "EXEC" and multi is not None and multi.commands and not multi.aborted:
            for queued in multi.commands:
                self._add(sums, user, queued.spec, queued.args, len(queued.frame))
        else:
            self._add(sums, user, spec, args, len(frame))
        return list(sums.items())

    def _add(self, sums: dict[Limit, float], user: User, spec: CommandSpec, args: Sequence[bytes], size: int) -> None:
        keys = key_indices(spec, args)
        readonly: bool | None = None
        if spec.readonly:
            readonly = True
        elif spec.write or keys or spec.capability in _SCRIPTS:
            readonly = False
        for what, limit in self._of("user", user.name, user.rate, readonly=readonly):
            sums[limit] = sums.get(limit, 0.0) + (size if what == "bytes" else 1.0)
        if not self._by_namespace:
            return
        found = self._reached(user, spec, args)
        by_rule = {each.rule: each for each in found if each is not None}
        for rule, namespace in by_rule.items():
            part = sum(each is not None and each.rule == rule for each in found) / len(found)
            for what, limit in self._of("namespace", rule, namespace.rate, readonly=readonly):
                sums[limit] = sums.get(limit, 0.0) + (size * part if what == "bytes" else 1.0)

    def _fetch(self, charges: Charges, now: float) -> None:
        """Where budgets are shared, see that enough of them is here."""
        if self._fetching is not None:
            for limit, _ in charges:
                if isinstance(limit.bucket, Share) and limit.bucket.want(limit.queued, now):
                    self._fetching.hungry(limit.key, limit.bucket, partial(getattr, limit, "queued"))
