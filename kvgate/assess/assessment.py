"""One assessment from the first question to the verdicts."""

from collections.abc import Sequence
from typing import Final

import attrs

from kvgate.assess.commands import Use, uses
from kvgate.assess.link import Link, Unreachable
from kvgate.assess.pace import Pace
from kvgate.assess.prefixes import Prefix, group
from kvgate.assess.proposal import TEMPLATES, Wish, propose
from kvgate.assess.sample import Sample, Sampler, Told, take
from kvgate.assess.server import Server, look
from kvgate.assess.stores import Store
from kvgate.assess.verdicts import Verdict, helpless, hopeless, judge
from kvgate.assess.watch import Watched, watch
from kvgate.backend import Endpoint

LFU_LRU: Final = ("lru", "lfu")


@attrs.frozen(slots=True)
class Question:
    """What is asked."""

    endpoint: Endpoint
    """Where the store is; its database is looked at."""
    all_databases: bool = False
    samples: int = 10_000
    """Keys, of all databases together."""
    seconds: float = 60.0
    """For looking at keys."""
    rate: float = 2000.0
    """Commands a second, at most."""
    separator: str = ":"
    depth: int = 1
    """Separators of a key that belong to its prefix."""
    monitor: float = 0.0
    """Seconds of MONITOR; 0: none."""


@attrs.frozen(slots=True)
class Assessment:
    """What was found."""

    question: Question
    server: Server
    stores: Sequence[Store]
    """The types of backend that were asked about."""
    samples: Sequence[Sample]
    prefixes: Sequence[tuple[Prefix, Sequence[Verdict]]]
    """With a verdict for each of `stores`, those with most keys first."""
    uses: Sequence[Use] | None
    """The commands that the server has run; None: it did not tell."""
    watched: Watched | None
    """None: MONITOR was not asked for, or refused."""
    unread: dict[str, str]
    """What could not be read → the store's words."""
    private_keys: int
    """Keys of the samples that the user may not read."""
    notes: Sequence[str]
    """What else is to know, one sentence each."""
    proposal: str
    """A configuration, as TOML."""
    commands: int
    """That the store was asked."""

    @property
    def problems(self) -> list[str]:
        """What works on none of the types that were asked about; empty when all is good."""
        found = [f"keys {prefix.name} (database {prefix.database})" for prefix in helpless(self.prefixes)]
        return found + [use.name for use in hopeless(self.uses or (), self.stores)]


def assess(question: Question, stores: Sequence[Store], every: Sequence[Store], told: Told) -> Assessment:
    """Ask, and judge. `stores`: the types that are asked about; `every`: all that are installed; `told`: progress.

    Raises:
        Unreachable: the store is away, or does not let us in.
    """
    pace = Pace(question.rate)
    link = Link(question.endpoint)
    unread: dict[str, str] = {}
    try:
        refused = link.select(question.endpoint.database)
        if refused is not None:
            raise Unreachable(refused.text.decode("utf-8", "replace"))
        server = look(link, pace, unread)
        _be_unseen(link, server)
        sampler = Sampler(link, pace, unread, fair=server.kind not in ("KvRocks", "kvgate"), told=told)
        home = question.endpoint.database
        databases = (sorted(server.databases) if question.all_databases else []) or [home]
        samples = take(sampler, databases, dict(server.databases), question.samples, question.seconds)
        watched = None
        if question.monitor and not any(sample.stopped == "interrupted" for sample in samples):
            watched = _watch(link, question, unread, told)
    finally:
        link.close()
    found = uses(server, stores, every)
    separator = question.separator.encode("utf-8", "surrogateescape")
    prefixes = [prefix for sample in samples for prefix in group(sample, separator, question.depth)]
    prefixes.sort(key=lambda prefix: -(prefix.estimate.keys or prefix.sampled))
    judged = [(prefix, [judge(prefix, store, found, _seen(watched, prefix)) for store in stores]) for prefix in prefixes]
    return Assessment(
        question=question,
        server=server,
        stores=stores,
        samples=samples,
        prefixes=judged,
        uses=found if server.commands is not None else None,
        watched=watched,
        unread=unread,
        private_keys=sampler.private_keys,
        notes=_notes(question, server, samples),
        proposal=_proposal(question, server, stores, every, prefixes, found, watched),
        commands=pace.commands,
    )


def _be_unseen(link: Link, server: Server) -> None:
    """Where the server can: that our reads do not count as uses of the keys, and a replica of a cluster answers."""
    if server.at_least(7, 2):
        link.one(b"CLIENT", b"NO-TOUCH", b"ON")
    if server.cluster:
        link.one(b"READONLY")


def _watch(link: Link, question: Question, unread: dict[str, str], told: Told) -> Watched | None:
    separator = question.separator.encode("utf-8", "surrogateescape")
    try:
        return watch(
            link.monitor(question.monitor), separator, question.depth, lambda lines: told("lines of MONITOR", lines, 0)
        )
    except Unreachable as error:
        unread["MONITOR"] = str(error)
        return None


def _seen(watched: Watched | None, prefix: Prefix) -> dict[str, int] | None:
    if watched is None:
        return None
    return dict(watched.commands.get((prefix.database, prefix.name, prefix.namespace), {}))


def _notes(question: Question, server: Server, samples: Sequence[Sample]) -> list[str]:
    notes = []
    looked = {sample.database for sample in samples}
    rest = {number: keys for number, keys in server.databases.items() if number not in looked}
    if rest:
        told = ", ".join(f"{number} ({keys:,} keys)" for number, keys in sorted(rest.items()))
        notes.append(f"Other databases have keys too: {told}; --all-databases looks at them.")
    if set(server.databases) - {0} or question.endpoint.database:
        notes.append(
            "The gate has one database. A backend may be any one of a Redis (redis://host:port/3); an application that changes"
            ' between several gets home namespaces, databases = { 0 = "Shop.Cache", 3 = "Shop.Session" } in its [users.*], and'
            " its keys are to be copied to those names."
        )
    if server.cluster:
        notes.append("This is one node of a Redis Cluster: other nodes have other keys. The gate does not speak its protocol.")
    if server.tracking:
        notes.append(
            f"{server.tracking:,} clients cache with the server's help (CLIENT TRACKING), which the gate does not offer."
        )
    if server.evicts:
        lost = " Looking at the sample marked its keys as used." if _touched(server, samples) else ""
        notes.append(
            f"It removes keys when its memory is full ({server.evicts}); stores on disk do not: keys need an expiry.{lost}"
        )
    if any(sample.stopped == "time" for sample in samples):
        notes.append("The time ended before there were enough keys: --seconds, or a higher --rate.")
    if any(not sample.fair and not sample.whole for sample in samples):
        notes.append(
            "SCAN of this store gives like keys together: the sample is their beginning, and numbers are no estimates."
        )
    for sample in samples:
        if sample.fair and not sample.whole and sample.size and sample.keys and not sample.stopped:
            most = round(3 * sample.size / len(sample.keys))
            notes.append(f"Prefixes of database {sample.database} with fewer than about {most:,} keys may be missing here.")
    return notes


def _touched(server: Server, samples: Sequence[Sample]) -> bool:
    by_use = any(word in server.evicts for word in LFU_LRU)
    return by_use and not server.at_least(7, 2) and any(sample.keys for sample in samples)


def _proposal(
    question: Question,
    server: Server,
    stores: Sequence[Store],
    every: Sequence[Store],
    prefixes: Sequence[Prefix],
    found: Sequence[Use],
    watched: Watched | None,
) -> str:
    kind = "kvrocks" if server.kind == "KvRocks" else "redis"
    home = next((store for store in every if store.type == kind), None)
    if home is None:  # not installed: there is nothing to write
        return ""
    asked = stores[0] if len(stores) == 1 else home
    target = asked if asked.type != kind and asked.type in TEMPLATES else None
    kinds = [home] if target is None else [target, home]
    judged = [(prefix, [judge(prefix, store, found, _seen(watched, prefix)) for store in kinds]) for prefix in prefixes]
    return propose(Wish(question.endpoint, home, target, sorted({prefix.database for prefix in prefixes})), judged)
