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
from kvgate.commands.home import Home, carries_keys
from kvgate.commands.keys import is_plain
from kvgate.commands.resp3 import in_resp3
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, not_versioned, try_again
from kvgate.lane.client import Client
from kvgate.lane.slots import Call
from kvgate.lane.upstream import Upstream
from kvgate.metrics.ledger import Account
from kvgate.policy.users import User
from kvgate.server import limited
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
    changed = None if place.shard is None else limited.changed(spec, args, found)
    if changed is None:
        return _lacking(places, spec, args, found)
    spec = limited.spec_of(spec, changed.args)
    rewritten = _lacking(places, spec, changed.args, found)
    if rewritten is None:
        args = changed.args
        rewritten = Rewritten(places.renamed(place, spec, args, encode_request(args)), bytes)
    if changed.after and not rewritten.known:
        rewritten.after = limited.expire_request(places, place, changed.after)
    return rewritten


def _lacking(places: Places, spec: CommandSpec, args: list[bytes], found: Found) -> Rewritten | None:
    """`of`, without regard to keys' expiries."""
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
    if not session.quiet and is_plain(spec, args):
        if limited.is_limited(user, place.namespace):
            if looks(gate.places, user, place, spec, args):
                _learn_limited(gate, client, user, spec, args, frame, place)
        elif _never_passes(gate.places, place, spec):
            _learn(gate, client, user, spec, args, frame, place)
    cap = None if limited.small(spec, args) else limited.cap(user, found)
    if rewritten is None and cap is None:
        return False
    _send(gate, client, spec, args, frame, place, rewritten, now, cap=cap)
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
    cap: limited.Cap | None = None,
) -> None:
    """Send what is to be sent, on the connection that the client's commands take, or reply what is known; not more than
    `cap` of the reply is delivered."""
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
    if session.home is not None and carries_keys(spec):
        convert = partial(_at_home, session.home, spec, convert)
    if rewritten is not None and rewritten.after:
        _send_block(gate, client, up, frame, rewritten.after, now, account, convert, cap)
        return
    if convert is None and cap is not None:
        convert = bytes
    gate.lane.forward(client, up, frame, now, account, quiet=session.quiet, convert=convert, cap=cap)


def _at_home(home: Home, spec: CommandSpec, convert: Callable[[bytes], bytes] | None, raw: bytes) -> bytes:
    return home.reply(spec, raw if convert is None else convert(raw))


def _send_block(
    gate: "Dispatcher",
    client: Client,
    up: Upstream,
    frame: bytes,
    after: bytes,
    now: float,
    account: Account,
    convert: Callable[[bytes], bytes] | None,
    cap: limited.Cap | None,
) -> None:
    """Send two requests as one transaction, and reply what the first one is answered."""
    slot = gate.lane.pending(client, now, len(frame), quiet=client.session.quiet)

    def take(raw: bytes) -> None:
        if convert is not None:
            raw = convert(raw)
        raw = limited.capped(raw, cap)
        account.note_reply(raw, time.monotonic() - now, len(frame))
        slot.fill(raw)
        gate.lane.settle(client)

    whole = limited.in_block(frame, after)
    answer = limited.Block(take).answer
    gate.lane.ask(up, Call(whole, now, answer, readonly=False, want=limited.BLOCK, owner=client, cap=cap))


def _never_passes(places: Places, place: Place, spec: CommandSpec) -> bool:
    """Whether the lane must not pass on the bytes of such a command in the place's namespace."""
    store: Rewriting | None = places.rewriting.get(place.backend.name)
    return store is not None and place.namespace.versioned and store.may_rewrite(spec, versioned=True)


def looks(places: Places, user: User, place: Place, spec: CommandSpec, args: Sequence[bytes]) -> bool:
    """Whether, in a namespace with limits, each request that is spelled like this one has to be looked at."""
    return limited.looks(user, place.namespace, spec, args) or _never_passes(places, place, spec)


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
    more, session = len(args) - 2, client.session
    places.learn(
        user, session.proto, place, args[1], head, more, spec=spec, most=most, local=local, owner=session.owner
    )


def _learn_limited(
    gate: "Dispatcher", client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, place: Place
) -> None:
    """Let the lane hand such requests here, in a namespace with limits that each request is held to."""
    places, namespace = gate.places, place.namespace
    only = place if len(places.shards[place.backend.name]) == 1 else None
    limit = limited.cap(user, [(1, place)])

    def local(
        client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float, account: Account
    ) -> None:
        session: Session = client.session
        session.commands += 1
        gate.commands += 1
        session.quiet = False
        session.last_command = spec.lower
        place = only or places.place(namespace, args[1])
        found = [(1, place)]
        try:
            limited.check_again(namespace, spec, args)
            rewritten = of(places, spec, args, found)
        except NotKnownYet:
            gate.tasks.alone(client, _later, gate, client, spec, args, frame, found, silent=True)
            return
        except GateError as error:
            limited.turn_down(gate, client, args, account, error)
            return
        cap = None if limited.small(spec, args) else limit
        if gate.samples.active:
            send = partial(_send, gate, client, spec, args, frame, place, rewritten, now, cap=cap)
            gate.samples.through(client, spec, args, account, send)
        else:
            _send(gate, client, spec, args, frame, place, rewritten, now, account, cap)

    head = frame[: frame.find(b"\r\n$", 5)]
    most = largest_of(places, namespace)
    more, session = len(args) - 2, client.session
    places.learn(
        user, session.proto, place, args[1], head, more, spec=spec, most=most, local=local, alone=True, owner=session.owner
    )


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
        user = client.session.user
        cap = None if user is None or limited.small(spec, args) else limited.cap(user, found)
        _send(gate, client, spec, args, frame, place, rewritten, time.monotonic(), cap=cap)
    return None
