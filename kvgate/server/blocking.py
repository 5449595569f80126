"""Commands that wait for others' doing: the blocking pops and reads, and WAIT. Each has an upstream connection for itself.

A client that leaves closes that connection at once, so that nothing is popped for nobody. A pop whose store dies is
answered INDOUBT and never repeated.
"""

import contextlib
import time
from typing import TYPE_CHECKING

import trio

from kvgate.backend import BrokenUpstream, OwnConnection, PassThrough
from kvgate.commands.keys import integer
from kvgate.commands.spec import CommandSpec
from kvgate.errors import (
    NO_AUTH,
    NOT_AN_INTEGER,
    GateError,
    cross_slot,
    in_doubt,
    no_perm_command,
    no_perm_key,
    not_supported,
    refused,
    try_again,
    upstream_refused,
)
from kvgate.lane.client import Client
from kvgate.lane.slots import Call
from kvgate.lane.upstream import Shard
from kvgate.server import limited
from kvgate.server.locate import located
from kvgate.server.session import BLOCKED, MOVED, REVOKED
from kvgate.wire.reply import NULL_ARRAY, Error, Raw, Reply
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way
    from kvgate.server.places import Place
    from kvgate.server.session import Session

PING = encode_request([b"PING"])
WHO_AM_I = encode_request([b"CLIENT", b"ID"])
"""Sent before each blocking command, so that CLIENT UNBLOCK can name its connection to the store."""
HOW = {"TIMEOUT": b"TIMEOUT", "ERROR": b"ERROR", MOVED: b"ERROR", BLOCKED: b"ERROR", REVOKED: b"ERROR"}
"""`Session.unblocked_by` → CLIENT UNBLOCK's word to the store."""
_BLOCKED_MEANWHILE = "an operator blocked it while the command was waiting"
_MOVED_AWAY = "the namespace was moved to another store while the command was waiting"
_NOT_YOURS = "the namespace was taken from the user while the command was waiting, and the store did not say what it did"
UNBLOCK_PAUSE = 0.01
"""Seconds before a store is asked again to unblock what it does not know as blocked."""
NOT_THE_MASTER = (b"-READONLY", b"-MASTERDOWN")
RETRY_PAUSE = 0.05
"""Seconds before a store that is no master is asked again."""


def block(
    gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float
) -> None:
    """Run one blocking command; all its keys have to lie on one shard."""
    del now
    place = _found(gate, client.session, spec, args)[0][1]
    account = gate.places.account(place, spec)
    gate.tasks.alone(client, _pop, gate, client, spec, args, frame, blocked=True, account=account)


def _found(
    gate: "Dispatcher", session: "Session", spec: CommandSpec, args: list[bytes]
) -> "list[tuple[int, Place]]":
    """Where all keys lie: in one place. Raises GateError."""
    if session.user is None:
        raise GateError(NO_AUTH)
    if not session.user.allows(spec):
        raise no_perm_command(spec.lower, session.user.name)
    found = located(gate.places, session.user, spec, args)
    if not found:
        raise refused(spec.lower, "it names no key that would say which store is meant")
    place = found[0][1]
    if any(other.backend is not place.backend or other.shard is not place.shard for _, other in found):
        raise cross_slot()
    return found


async def _pop(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes) -> Raw:
    session: Session = client.session
    home = session.home
    session.waits_for, session.asked = (spec, args), False
    if gate.places.blocks.active and session.user is not None:  # since its gates were passed
        gate.keeper.refuse(session, session.user, spec, args)
    found = _found(gate, session, spec, args)  # again: a reload may have come while earlier commands were awaited
    place, changed = found[0][1], limited.changed(spec, args, found)
    after = b"" if changed is None else limited.expire_request(gate.places, place, changed.after)
    cap = None if session.user is None else limited.cap(session.user, found)
    raw = await _wait_on(gate, client, place, gate.places.renamed(place, spec, args, frame), after)
    raw = Raw(limited.capped(place.in_protocol(session.proto, spec, args, raw), cap))
    return raw if home is None else Raw(home.reply(spec, raw))


class NotTheMaster(GateError):  # noqa: N818 - what the store said, not what failed
    """The store is a replica now, or lost its master; the command was not executed."""


def told(raw: bytes) -> Raw:
    """A reply that is the client's.

    Raises:
        NotTheMaster: it was not; the connection is to be closed, and so for:
        GateError: the store refuses the gate itself.
    """
    if raw.startswith((b"-NOAUTH", b"-NOPERM")):
        raise upstream_refused(raw[1:-2].decode("utf-8", "replace"))
    if raw.startswith(NOT_THE_MASTER):
        raise NotTheMaster(try_again("the store is a replica now, or lost its master").text)
    return Raw(raw)


async def _wait_on(gate: "Dispatcher", client: Client, place: "Place", frame: bytes, after: bytes) -> Raw:
    """Until there is a reply; while the store is no master, on new connections within the budget: its name may move. `after`
    is sent with it: the store runs it as soon as the wait is over, also when the gate is not there any more."""
    deadline = trio.current_time() + gate.configuration.gate.command_timeout
    while True:
        try:
            return await _wait_once(gate, client, place, frame, after)
        except NotTheMaster:
            if client.session.watch is not None or trio.current_time() + RETRY_PAUSE > deadline:
                raise
        await trio.sleep(RETRY_PAUSE)


async def _wait_once(gate: "Dispatcher", client: Client, place: "Place", frame: bytes, after: bytes) -> Raw:
    session: Session = client.session
    watch = session.watch
    session.waits_on = place
    if watch is not None and (watch.place.backend is not place.backend or watch.place.shard is not place.shard):
        watch = None
    watched = None if watch is None else watch.connection
    connection = watched if watched is not None else await open_own(gate, session, place)
    ident, sent, session.asked = b"", False, True
    try:
        await connection.send(WHO_AM_I + frame + after)
        sent = True
        ident = await connection.receive()
        raw = told(await connection.receive())
    except trio.Cancelled:
        released = None
        if sent and session.unblocked_by in HOW:
            released = await _released(gate, client, place, connection, ident)
        if released is None:
            if watch is not None:
                watch.broken = True
            connection.close()
            raise
        raw = released
        if session.unblocked_by == MOVED and raw.startswith(b"-UNBLOCKED"):
            raw = Raw(try_again(_MOVED_AWAY).reply)
        elif session.unblocked_by == BLOCKED and raw.startswith(b"-UNBLOCKED") and session.refusal is not None:
            raw = Raw(session.refusal.reply)
        elif session.unblocked_by == REVOKED and raw.startswith(b"-UNBLOCKED"):
            raw = Raw(no_perm_key().reply)
    except BrokenUpstream as error:
        connection.close()
        if watch is not None:
            watch.broken = True
        raise in_doubt(f"the store's connection ended while the command was waiting ({error})") from None
    except BaseException:
        if watch is not None:
            watch.broken = True
        connection.close()  # it may be waiting there still: closing ends that without effect
        raise
    if after:
        # What was taken is in `raw`: who leaves now, or was unblocked just before, must not end this. The reply is on the way.
        with trio.move_on_after(gate.configuration.gate.command_timeout, shield=True) as scope:
            with contextlib.suppress(BrokenUpstream):  # `give_back` finds out, and so does EXEC
                await connection.receive()
        if scope.cancelled_caught:
            if watch is not None:
                watch.broken = True
            connection.close()
    if watched is None:
        await connection.give_back()
    return raw


async def _released(
    gate: "Dispatcher", client: Client, place: "Place", connection: OwnConnection, ident: bytes
) -> Raw | None:
    """CLIENT UNBLOCK, said to the store: it alone knows whether an element was taken just before, and then that is the
    reply. None: the store does not know how, or is away, and the connection has to be closed."""
    if place.shard is None:
        return None
    until = trio.current_time() + gate.configuration.gate.command_timeout
    with trio.CancelScope(shield=True, deadline=until):
        try:
            ident = ident or await connection.receive()
            if ident[:1] != b":":
                return None
            frame = encode_request([b"CLIENT", b"UNBLOCK", ident[1:-2], HOW[client.session.unblocked_by]])
            while (answer := await _ask(gate, client, place.shard, frame)) in (b":0\r\n", b":1\r\n"):
                # 0: it is not blocked yet, or not any more, and then its reply is on the way
                with trio.move_on_after(until - trio.current_time() if answer == b":1\r\n" else UNBLOCK_PAUSE):
                    return told(await connection.receive())
        except (BrokenUpstream, GateError):
            return None
    return None


async def _ask(gate: "Dispatcher", client: Client, shard: Shard, frame: bytes) -> bytes:
    answered = trio.Event()
    replies: list[bytes] = []

    def answer(raw: bytes) -> None:
        replies.append(raw)
        answered.set()

    gate.lane.ask(shard.lines[client.line], Call(frame, time.monotonic(), answer, readonly=True))
    gate.driver.kick()
    await answered.wait()
    return replies[0]


async def open_own(gate: "Dispatcher", session: "Session", place: "Place") -> OwnConnection:
    """An upstream connection for one client.

    Raises:
        GateError: TRYAGAIN when none can be had; not supported by this kind of backend.
    """
    if not isinstance(place.backend, PassThrough) or place.shard is None:
        raise not_supported(session.last_command, place.backend.name, place.backend.type)
    deadline = trio.current_time() + gate.configuration.gate.command_timeout
    return await place.backend.own(place.shard.index, proto=session.proto, deadline=deadline)


def unblocked(session: "Session") -> Raw | Reply:
    """What CLIENT UNBLOCK makes a blocked command answer."""
    if session.unblocked_by == "ERROR":
        return Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")
    if session.unblocked_by == MOVED:
        error = try_again if session.last_command == "xread" else in_doubt
        return Error(error(_MOVED_AWAY).reply[1:-2])
    if session.unblocked_by == REVOKED:
        harmless = session.last_command in ("xread", "wait") or not session.asked
        return Raw((no_perm_key() if harmless else in_doubt(_NOT_YOURS)).reply)
    if session.unblocked_by == BLOCKED and session.refusal is not None:
        harmless = session.last_command in ("xread", "wait")
        return Raw((session.refusal if harmless else in_doubt(_BLOCKED_MEANWHILE)).reply)
    if session.last_command == "wait":
        return 0
    return NULL_ARRAY  # whatever the command's own timeout answers: Redis does not look at it here


def _wait(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    """WAIT: the smallest number of replicas that confirmed, over the shards on which the user's namespaces lie."""
    del now
    session: Session = client.session
    if session.user is None:
        return
    if integer(args[1]) is None:
        raise GateError(NOT_AN_INTEGER)
    timeout = integer(args[2])
    if timeout is None:
        raise GateError("ERR timeout is not an integer or out of range")
    if timeout < 0:
        raise GateError("ERR timeout is negative")
    gate.tasks.alone(client, _wait_for_replicas, gate, client, spec, args, frame, blocked=True)


async def _wait_for_replicas(
    gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes
) -> Reply:
    session: Session = client.session
    session.waits_for = spec, args
    user = session.user
    if user is None:
        return 0
    counts: list[int] = []
    failures: list[GateError] = []

    async def ask(backend: PassThrough, shard: int) -> None:
        try:
            connection = await backend.own(
                shard, proto=2, deadline=trio.current_time() + gate.configuration.gate.command_timeout
            )
        except GateError as error:
            failures.append(error)
            return
        try:
            # A connection waits for its own writes only. PING makes it remember how far the store is now, which is behind
            # everything that this client was answered.
            await connection.send(PING + frame)
            await connection.receive()
            raw = await connection.receive()
        except BrokenUpstream as error:
            connection.close()
            failures.append(in_doubt(f"the store's connection ended during WAIT ({error})"))
            return
        except BaseException:
            connection.close()
            raise
        await connection.give_back()
        if raw[:1] == b":":
            counts.append(int(raw[1:-2]))
        else:
            failures.append(GateError(raw[1:-2].decode("utf-8", "surrogateescape")))

    async with trio.open_nursery() as nursery:
        for backend in gate.places.visible(user):
            if isinstance(backend, PassThrough) and "replication" in backend.capabilities:
                for shard in gate.places.shards[backend.name]:
                    nursery.start_soon(ask, backend, shard.index)
    if failures:
        raise failures[0]
    return min(counts, default=0)


WAYS: "dict[str, Way]" = {"WAIT": _wait}
