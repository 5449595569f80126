"""Commands that a pass-through store lacks: the backend makes other requests of them, and other replies of the answers.

They go out on the connection that the client's other commands take, so that their order stays. What a shard has itself is
asked when it is connected to; a command that comes before that is known waits for it, alone.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from kvgate.backend import NotKnownYet, Rewriting, Rewritten
from kvgate.commands.keys import is_plain
from kvgate.commands.resp3 import in_resp3
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, not_versioned, try_again
from kvgate.lane.client import Client
from kvgate.metrics.ledger import Account
from kvgate.policy.users import User
from kvgate.server.locate import largest_of
from kvgate.server.places import Place, Places
from kvgate.wire.reply import Raw, Reply
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.session import Session

Found = Sequence[tuple[int, Place]]
"""Where a command's keys lie: all on one shard."""

VERSIONED: Final = frozenset({"exstring", "exhash"})
"""Capabilities of the commands that keep versioned keys."""
NOTHING: Final = encode_request([b"PING"])
"""Stands in a block for a command whose reply is known without the store."""
_TRIES: Final = 4
"""To find out what a shard has, while connections to it come and go."""


def of(places: Places, spec: CommandSpec, args: list[bytes], found: Found) -> Rewritten | None:
    """What the store of the keys is to be sent for a checked command; None: the client's own bytes.

    Raises:
        GateError: the command needs ``versioned = true``.
        NotKnownYet: whether the store lacks the command; see `find_out`.
    """
    place = found[0][1]
    store = places.rewriting.get(place.backend.name)
    if store is None or place.shard is None:
        return None
    versioned = any(each.namespace.versioned for _, each in found)
    if not versioned and spec.capability in VERSIONED and not store.has(spec, place.shard.index):
        raise not_versioned(spec.lower, place.namespace.rule)
    return store.rewrite(spec, args, shard=place.shard.index, versioned=versioned)


def looks_for_ifeq(places: Places, place: Place, spec: CommandSpec, args: Sequence[bytes]) -> bool:
    """Whether such requests must not pass the lane unseen when they have the word IFEQ."""
    if spec.name != "SET" or len(args) < 5:
        return False
    store = places.rewriting.get(place.backend.name)
    return store is not None and store.looks_for_ifeq


def told(place: Place, proto: int, spec: CommandSpec, args: Sequence[bytes], rewritten: Rewritten, raw: bytes) -> bytes:
    """The client's reply, of the store's."""
    raw = rewritten.convert(raw)
    if proto == 2 or raw == b"_\r\n":
        return raw
    if rewritten.flat or not place.speaks(proto):
        return in_resp3(spec, args, raw)
    return b"_\r\n" if raw == b"$-1\r\n" else raw


def forward(
    gate: "Dispatcher",
    client: Client,
    user: User,
    spec: CommandSpec,
    args: list[bytes],
    frame: bytes,
    found: Found,
    now: float,
) -> bool:
    """Send what the store is to get instead of the client's bytes; False when it is to get those.

    Raises:
        GateError: the command needs ``versioned = true``.
    """
    session: Session = client.session
    place = found[0][1]
    try:
        rewritten = of(gate.places, spec, args, found)
    except NotKnownYet:
        gate.tasks.alone(client, _later, gate, client, spec, args, frame, found, silent=True)
        return True
    if not session.quiet and is_plain(spec, args) and _never_passes(gate.places, place, spec):
        _learn(gate, client, user, spec, args, frame, place)
    if rewritten is None:
        return False
    _send(gate, client, spec, args, frame, place, rewritten, now)
    return True


def _send(
    gate: "Dispatcher",
    client: Client,
    spec: CommandSpec,
    args: list[bytes],
    frame: bytes,
    place: Place,
    rewritten: Rewritten | None,
    now: float,
    account: Account | None = None,
) -> None:
    """Send what is to be sent, on the connection that the client's commands take, or reply what is known."""
    session: Session = client.session
    assert place.shard is not None  # noqa: S101 - of a pass-through backend
    up = place.shard.lines[client.line]
    convert: Callable[[bytes], bytes] | None
    if rewritten is None:
        frame = gate.places.renamed(place, spec, args, frame)
        convert = None if place.speaks(session.proto) else partial(in_resp3, spec, args)
    elif rewritten.known:
        gate.reply(client, Raw(rewritten.known))
        return
    else:
        frame, convert = rewritten.frame, rewritten.convert
        if session.proto == 3:
            convert = partial(told, place, 3, spec, args, rewritten)
    account = account or gate.places.account(place, spec)
    gate.lane.forward(client, up, frame, now, account, quiet=session.quiet, convert=convert)


def _never_passes(places: Places, place: Place, spec: CommandSpec) -> bool:
    """Whether the lane must not pass on the bytes of such a command in the place's namespace."""
    store: Rewriting | None = places.rewriting.get(place.backend.name)
    return store is not None and place.namespace.versioned and store.may_rewrite(spec, versioned=True)


def _learn(
    gate: "Dispatcher", client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, place: Place
) -> None:
    """Let the lane hand such requests here without asking anything again."""
    places, namespace = gate.places, place.namespace
    rewrite = places.rewriting[place.backend.name].rewrite
    only = place if len(places.shards[place.backend.name]) == 1 else None

    def local(
        client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float, account: Account
    ) -> None:
        session: Session = client.session
        session.commands += 1
        gate.commands += 1
        session.quiet = False
        session.last_command = spec.lower
        place = only or places.place(namespace, args[1])
        assert place.shard is not None  # noqa: S101 - it is a pass-through backend
        try:
            rewritten = rewrite(spec, args, shard=place.shard.index, versioned=True)
        except NotKnownYet:
            gate.tasks.alone(client, _later, gate, client, spec, args, frame, [(1, place)], silent=True)
            return
        if gate.samples.active:
            send = partial(_send, gate, client, spec, args, frame, place, rewritten, now)
            gate.samples.through(client, spec, args, account, send)
        else:
            _send(gate, client, spec, args, frame, place, rewritten, now, account)

    head = frame[: frame.find(b"\r\n$", 5)]
    most = largest_of(places, namespace)
    places.learn(user, client.session.proto, place, args[1], head, len(args) - 2, spec=spec, most=most, local=local)


async def find_out(gate: "Dispatcher", session: "Session", place: Place) -> None:
    """Ask the place's shard what it has. Raises GateError."""
    assert place.shard is not None  # noqa: S101 - the caller met NotKnownYet
    await gate.places.rewriting[place.backend.name].find_out(
        place.shard.index, gate.execution.context(session).deadline
    )


async def known(
    gate: "Dispatcher", session: "Session", spec: CommandSpec, args: list[bytes], found: Found
) -> Rewritten | None:
    """As `of`, after finding out what the shard has. Raises GateError."""
    place = found[0][1]
    for _ in range(_TRIES):
        await find_out(gate, session, place)
        with contextlib.suppress(NotKnownYet):  # a connection came to be meanwhile
            return of(gate.places, spec, args, found)
    raise try_again("the connections to the store come and go")


async def _later(
    gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, found: Found
) -> Reply:
    """A command that came before it was known what the store has. It replies itself."""
    place = found[0][1]
    try:
        rewritten = await known(gate, client.session, spec, args, found)
    except GateError as error:
        gate.reply(client, Raw(error.reply))
    else:
        _send(gate, client, spec, args, frame, place, rewritten, time.monotonic())
    return None
