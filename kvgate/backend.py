"""What a backend adapter is: the Protocols that the gate serves a store through.

An adapter is a package with an entry point in the group ``kvgate.backends``; the entry point names an `Adapter`. Every
adapter can `execute` commands. It may also offer more, each in a Protocol of its own that the gate looks for:
`PassThrough` (clients' bytes may be forwarded by the lane), `Rewriting` (other requests for commands that stores lack),
`InPlace` (reads that never wait), `Runs` (several simple commands at once), `Listing` (SCAN and its kin), `Weighing` (how
much there is of what).
An adapter whose stores are files may have `StoreTools` for them.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs
import trio

from kvgate.commands.spec import CommandSpec
from kvgate.wire.reply import Raw, Reply


@attrs.frozen(slots=True)
class After:
    """The expiry that one key is to have once a command has run, in the same transaction."""

    key: bytes
    given: int
    """Milliseconds for a key without one."""
    longest: int = 0
    """Milliseconds that it may be at most; 0: any."""
    cut: int = 0
    """Milliseconds instead of a longer one."""


@attrs.define(slots=True)
class Command:
    """One client command, checked: known, right arity, allowed, its keys within one namespace or namespaces of one backend."""

    args: list[bytes]
    """Name first, as the client wrote it."""
    spec: CommandSpec
    keys: tuple[int, ...]
    """The indices of its keys in `args`."""
    frame: bytes
    """The canonical RESP request."""
    after: tuple[After, ...] = ()
    """What its keys get afterwards."""


@attrs.define(slots=True)
class CallContext:
    """For whom and until when a command runs."""

    proto: int
    """2 or 3: raw replies must be in it."""
    user: str
    deadline: float
    """On trio's clock; when it has passed, raise `TRYAGAIN` or `INDOUBT` (see kvgate.errors)."""


@attrs.frozen(slots=True)
class Measure:
    """A figure of a backend as /metrics shows it, with a label for the backend's name."""

    name: str
    """With its unit, without a prefix, of a counter without ``_total``: ``lmdb_file_bytes``."""
    help: str
    """One sentence."""
    value: float | Sequence[float]
    """A number; of a histogram `kvgate.metrics.times.Times.vector`."""
    kind: str = "counter"
    """``counter``, ``gauge`` or ``histogram``."""
    merge: str = "sum"
    """What the gate's workers make of theirs: ``sum``, or ``max`` for what they all see of the same store."""


@attrs.frozen(slots=True)
class BackendStatistics:
    """What INFO, metrics and /health show of a backend."""

    up: bool
    why_down: str = ""
    """What to tell an operator; empty when up."""
    figures: Mapping[str, int | float | str] = attrs.field(factory=dict)
    measures: Sequence[Measure] = ()


class Backend(Protocol):
    """A store, ready to be served."""

    name: str
    type: str
    capabilities: frozenset[str]
    """Capability words of the command table."""
    max_value: int
    """Bytes that one argument may have where its namespace has no limit of its own."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own all tasks and connections until cancelled; `started()` once commands can be taken. A store that is away is
        no error here: it is waited for in the background."""

    async def execute(self, commands: Sequence[Command], call: CallContext) -> Sequence[Raw | Reply]:
        """Run the commands of one client in order, one reply each. Errors are `Error` replies, not exceptions."""

    def statistics(self) -> BackendStatistics:
        """Cheap: called for every INFO and scrape."""


@attrs.frozen(slots=True)
class Endpoint:
    """Where and how to connect to one store process that speaks RESP."""

    url: str
    """For logs and INFO: without user and password."""
    host: str = ""
    port: int = 0
    path: str = ""
    """Of a unix socket; then host and port are empty."""
    tls: bool = False
    database: int = 0
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    password_file: Path | None = None
    """Read at each connect, so that a rotated password is picked up; wins over `password`."""
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str = ""
    resp3: bool = True
    """Whether HELLO 3 is understood; without it RESP3 clients' commands are converted (KvRocks before 2.8)."""


@attrs.frozen(slots=True)
class Topology:
    """How keys are spread over the processes of one pass-through backend."""

    shards: tuple[Endpoint, ...]
    slots: tuple[int, ...]
    """slot → index into `shards`; its length is the number of slots. One shard: ``(0,)``."""
    slot_of: Callable[[bytes], int]
    """Of the key's hash text (its ``{tag}`` if it has one) → slot. Not called when there is one shard."""
    is_crc32: bool = False
    """Whether that is zlib's CRC-32 modulo the number of slots, which the lane then computes itself."""
    rename: Mapping[str, str] = attrs.field(factory=dict)
    """Upper-case command → its name on the store."""


class SharedConnections(Protocol):
    """The lane's shared connections to the shards of one backend, for whoever is not the lane."""

    async def ask(self, shard: int, frame: bytes, *, proto: int, deadline: float, readonly: bool) -> bytes:
        """Send one request on a shared connection to `shard`, behind everything already there; its raw reply.

        Raises:
            GateError: ``TRYAGAIN`` when it was not executed, ``INDOUBT`` when that is unknown (never for `readonly`).
        """

    async def ask_all(self, shard: int, frames: Sequence[bytes], *, deadline: float) -> list[bytes]:
        """As `ask`, for several requests in RESP2 that read, sent in one piece: their raw replies. The gate's own errors
        may stand among them."""

    def generation(self, shard: int) -> int:
        """Another number after a connection to the shard was made anew: the process there may be another one."""


class OwnConnection(Protocol):
    """An upstream connection that one client has for itself for a while."""

    proto: int
    shard: int

    async def send(self, frame: bytes) -> None:
        """Send all of it. Raises `BrokenUpstream` when the connection ended."""

    async def receive(self) -> bytes:
        """One whole raw reply or push. Raises `BrokenUpstream` when the connection ended first. No time limit of its own."""

    def still_good(self) -> bool:
        """Whether it is open and nothing has come on it that was not received. Does not wait; for idle connections."""

    async def give_back(self) -> None:
        """Return it clean (nothing unanswered, no state) to be used again."""

    def close(self) -> None:
        """End it at once, whatever its state; idempotent. What was blocked on it there is unblocked without effect."""


class BrokenUpstream(Exception):  # noqa: N818 - an event that callers decide about, seldom an error to show
    """The store closed the connection, or it broke; what had been sent may have been executed."""


@runtime_checkable
class PassThrough(Protocol):
    """A backend whose commands the lane may forward as raw bytes."""

    topology: Topology

    def attach(self, shared: SharedConnections) -> None:
        """Told once, before `run`, how to reach the lane's shared connections."""

    async def own(self, shard: int, *, proto: int, deadline: float) -> OwnConnection:
        """A clean connection to `shard`, from a bounded pool or new.

        Raises:
            GateError: ``TRYAGAIN`` when the store is away or the number of such connections is at its limit.
        """


@runtime_checkable
class Introduced(Protocol):
    """A backend that has something to say when the gate starts."""

    async def banner(self) -> str:
        """One line for the person who started the gate; takes well under a second."""


@runtime_checkable
class Located(Protocol):
    """A backend of which a reload can tell whether another configuration would still find its keys. One that is neither
    this nor `PassThrough` is taken to keep them in a place of its name."""

    @property
    def location(self) -> Hashable:
        """Where the keys lie: equal for two backends of one type that find the same keys."""


@runtime_checkable
class InPlace(Protocol):
    """A backend that can answer reads at once, without suspending."""

    def execute_now(self, command: Command, call: CallContext) -> Raw | Reply | None:
        """The reply, or None when this command has to go through `execute`. Takes well under a millisecond."""


@runtime_checkable
class Queueing(Protocol):
    """A backend that takes commands without a task that waits for each client's, and tells when they are done."""

    in_order: bool
    """Whether commands that are taken while others of the same client run are run behind those; else they are not to be."""

    def enqueue(
        self,
        commands: Sequence[Command],
        call: CallContext,
        done: Callable[[Sequence[Raw | Reply]], None],
        flush: Callable[[], None],
    ) -> bool:
        """Run the commands of one client in order, behind all that were taken before; False when they have to go through
        `execute`. `done` gets a reply each, once, in trio's thread; after several of them `flush` is called once. At the
        call's deadline they are answered ``TRYAGAIN`` or ``INDOUBT``."""


@runtime_checkable
class Runs(Protocol):
    """A backend that takes several simple commands of one kind and one client at once, at less cost than one by one. What a
    run is not fit for goes the other ways: `InPlace`, `Queueing`, `Backend.execute`."""

    runs: Mapping[str, int]
    """Command → the arguments behind its name that each request of a run has. A client's `words` are those of all requests,
    one after the other, without the names."""

    def read_run(self, name: str, words: list[bytes], start: int, null: bytes) -> tuple[bytes, int, int]:
        """Answer reads at once, from the index `start` of `words` on, as many as can be: their raw replies, joined; how many
        they are; and how many of them are `null`, which says that there is nothing. Takes microseconds for each."""

    def enqueue_run(
        self,
        spec: CommandSpec,
        words: list[bytes],
        count: int,
        size: int,
        deadline: float,
        done: Callable[[Sequence[Raw | Reply]], None],
        flush: Callable[[], None],
    ) -> None:
        """As `Queueing.enqueue`, of a backend that is `in_order`, for `count` writes, whose requests are `size` bytes. `done`
        gets a reply each, or one `Raw` with those of all, none of which is an error or a null."""


@runtime_checkable
class Transactional(Protocol):
    """A backend that runs a MULTI block itself: all of it or nothing, with nothing of anybody in between."""

    async def revisions(self, keys: Sequence[bytes], call: CallContext) -> list[int]:
        """What WATCH remembers: a number for each key that changes with every write to it; 0 for a missing key."""

    async def execute_block(
        self, commands: Sequence[Command], watched: Mapping[bytes, int], call: CallContext
    ) -> Sequence[Raw | Reply] | None:
        """Run the commands as one transaction; a reply each, errors among them, as in EXEC. None, and nothing is written,
        when a watched key has another revision now.

        Raises:
            GateError: TRYAGAIN when nothing was executed, INDOUBT when that is unknown.
        """


class NotKnownYet(Exception):  # noqa: N818 - what a caller waits for, no error to show
    """What a store can do by itself was not asked yet, or it is away."""


@attrs.define(slots=True)
class Rewritten:
    """What a pass-through store is asked instead of a client's own bytes."""

    frame: bytes
    """One request."""
    convert: Callable[[bytes], bytes]
    """Makes the client's reply of the store's, in the protocol of the connection; errors may pass as they are."""
    flat: bool = False
    """Whether the reply has the form of RESP2 in RESP3 too: a script ran the command."""
    known: bytes = b""
    """The reply where it is known already; then nothing is to be sent."""
    after: bytes = b""
    """Another request that is to be executed in one transaction with the first; nobody gets its reply."""


@runtime_checkable
class Rewriting(Protocol):
    """A pass-through backend that serves commands which its stores lack, by requests of its own on the client's own line."""

    def has(self, spec: CommandSpec, shard: int) -> bool:
        """Whether the shard has the command itself. Raises `NotKnownYet`."""

    def rewrite(self, spec: CommandSpec, args: Sequence[bytes], *, shard: int, versioned: bool) -> Rewritten | None:
        """What is to be sent for a checked command, None for the client's own bytes. `versioned`: a namespace of its keys has
        ``versioned = true``. Raises `NotKnownYet`."""

    def may_rewrite(self, spec: CommandSpec, *, versioned: bool) -> bool:
        """Whether there are requests with this command that `rewrite` changes, on any shard. For SET False: those are the
        ones with the word IFEQ, which the lane looks for (`looks_for_ifeq`)."""

    looks_for_ifeq: bool
    """Whether a SET … IFEQ must not pass the lane unseen."""

    async def find_out(self, shard: int, deadline: float) -> None:
        """Ask the shard what it has; afterwards nothing raises `NotKnownYet` for it. Raises GateError."""

    def keep_versioned(self) -> None:
        """Told when the configuration has a namespace with ``versioned = true`` here; may come again."""


INTERNAL_PREFIX = b"\x00kvgate:"
"""Keys that an adapter keeps in a pass-through store for itself begin so: no listing shows them, no client may name one."""


@attrs.frozen(slots=True)
class View:
    """Which keys of a store a listing may touch: those the user may see and the configuration routes to this backend."""

    has: Callable[[bytes], bool]
    everything: bool
    """True when no key that could lie in this store is outside the view: DBSIZE and FLUSHDB may go to the store whole."""
    prefixes: tuple[bytes, ...] = ()
    """When given, every key of the view begins with one of these (``Ads.Profile:``): an adapter may look only there."""
    versioned: Callable[[bytes], bool] | None = None
    """Whether a key lies in a namespace with ``versioned = true``; None: there is none in the view."""


@runtime_checkable
class Listing(Protocol):
    """SCAN and its kin over one backend. A *source* is a part that is scanned by itself: a shard, or the whole store."""

    sources: int

    async def scan(
        self, source: int, cursor: int, *, count: int, match: bytes | None, kind: bytes | None, view: View, call: CallContext
    ) -> tuple[int, list[bytes]]:
        """One page from `cursor` (0 starts; below 2**41). Returns the next cursor (0 ends) and the keys. `match` is a glob,
        `kind` a TYPE. What is there from start to end of a scan is returned at least once."""

    async def size(self, view: View, call: CallContext) -> int:
        """The number of keys in the view."""

    async def random_key(self, view: View, call: CallContext) -> bytes | None:
        """Any key of the view, None when there is none."""

    async def flush(self, view: View, call: CallContext) -> None:
        """Delete every key of the view."""


class Scale(Protocol):
    """What a `Weighing` backend tells of one source while it weighs it; from one thread at a time, any."""

    expected: int
    """Keys that the source has, about; 0 while that is unknown. For sources of which a part is looked at."""
    partly: bool
    """Set when not every key was looked at, or not every one was asked for its size."""

    def found(self, key: bytes) -> bool:
        """A key is there; False when it is none of the gate's namespaces here, and is not to be weighed."""

    def weighed(self, key: bytes, kind: bytes, elements: int, size: int) -> None:
        """What a key weighs that was `found`: its type as TYPE answers, its elements (of a string 1), its bytes as they are
        stored, what belongs to the store itself left aside."""


@runtime_checkable
class Weighing(Protocol):
    """A backend that can tell how many keys and bytes there are, key by key, in the background."""

    sources: int
    """As `Listing.sources`."""

    async def weigh(self, source: int, scale: Scale) -> None:
        """Look through a source, with pauses, so that nobody who is served meanwhile notices. What is written meanwhile may
        be seen or not. May take minutes; cancelled when the gate ends.

        Raises:
            GateError: the store does not answer.
        """


Progress = Callable[[str, int, int], None]
"""Told often: what is being done, how much of it is done, and how much there is (0 while that is unknown)."""


@attrs.frozen(slots=True)
class StoreStatistics:
    """What ``kvgate store stats`` shows."""

    figures: Mapping[str, int | str]
    """By name, with its unit in it: ``file_bytes``."""
    groups: Mapping[bytes, tuple[int, int]]
    """Group (docs/keyspace.md; mostly a namespace, empty for keys of none) → keys and bytes."""
    types: Mapping[str, tuple[int, int]]
    """As TYPE answers → keys and bytes."""


@runtime_checkable
class StoreTools(Protocol):
    """An adapter whose stores are files of this machine: what ``kvgate store`` does with one, by its path.

    All methods raise `ConfigurationError` when the store cannot be used, or was written by a newer version.
    """

    def has_store(self, path: Path) -> bool:
        """Whether a store of this adapter lies there. Opens nothing."""

    def check_store(self, path: Path, progress: Progress) -> Iterator[str]:
        """Read everything, also while a gate serves it; each thing that is wrong as one line."""

    def store_statistics(self, path: Path, progress: Progress) -> StoreStatistics:
        """Count everything, also while a gate serves it."""

    def compact_store(self, path: Path, progress: Progress) -> tuple[int, int]:
        """Rewrite the store without free space. No gate may have it open; that is a `ConfigurationError` too. The bytes of
        its file before and after."""

    def back_up_store(self, path: Path, target: Path, progress: Progress) -> int:
        """Copy the state of one moment to `target`, which must not exist, also while a gate serves the store; the bytes of
        the copy. What is at `target` afterwards is whole and on the disk."""


class Adapter(Protocol):
    """What an entry point of ``kvgate.backends`` names."""

    type: str
    capabilities: frozenset[str]
    defaults: Mapping[str, int]
    """Limits, for who asks before there is a backend: ``max_value`` (default, bytes of an argument), and if they are there
    ``largest_value`` (what configuration may raise it to), ``many_read`` and ``most_read`` (elements from which on a command
    that reads all of a key's may be refused for lack of time, and always is)."""

    def prepare(self, name: str, options: Mapping[str, Any], base: Path) -> Backend:
        """Check a ``[backends.NAME]`` table and make the backend, without I/O. `base` is the configuration's folder.

        Raises:
            ConfigurationError: with every mistake, key paths relative to the table (``url: …``).
        """
