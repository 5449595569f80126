"""WATCH: from there to EXEC the client has an upstream connection of its own, and its commands on that shard use it.

On a backend that is no store of its own protocol the gate remembers the keys' revisions instead, and EXEC compares them.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import trio

from kvgate.backend import BrokenUpstream, Command, NotKnownYet, OwnConnection, Transactional
from kvgate.commands.spec import Action, CommandSpec
from kvgate.errors import GateError, cross_slot, in_doubt, not_supported, try_again
from kvgate.lane.client import Client
from kvgate.server import blocking, limited, rewriting, transactions
from kvgate.server.locate import located
from kvgate.wire.reply import NULL_ARRAY, OK, Raw, Reply
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way
    from kvgate.server.places import Place
    from kvgate.server.session import Multi, Session

UNWATCH: Final = encode_request([b"UNWATCH"])


class Watch:
    """What a client watches; one of the two below."""

    connection: OwnConnection | None = None
    """On which the client's commands on this shard run meanwhile; None where they go their usual way."""

    def __init__(self, place: "Place") -> None:
        """`place` is where the watched keys lie."""
        self.place = place
        self.broken = False
        """What was watched is not known any more, so that EXEC answers nil."""

    def close(self) -> None:
        """Forget what is watched."""

    def execute(self, gate: "Dispatcher", client: Client, multi: "Multi") -> None:
        """EXEC of what was queued since."""
        raise NotImplementedError

    def must_hold(self, place: "Place") -> None:
        """Whether a command on `place` may be part of this: a transaction lies on one shard.

        Raises:
            GateError: CROSSSLOT.
        """
        if not place.joins(self.place):
            raise cross_slot()


class Revisions(Watch):
    """The revisions that watched keys had, of a backend that runs blocks itself."""

    def __init__(self, place: "Place", backend: Transactional) -> None:
        """Remember nothing yet."""
        super().__init__(place)
        self.backend = backend
        self.seen: dict[bytes, int] = {}

    async def add(self, gate: "Dispatcher", session: "Session", keys: list[bytes]) -> None:
        """Watch more keys; one that is watched already keeps the revision it had first."""
        revisions = await self.backend.revisions(keys, gate.execution.context(session))
        for key, revision in zip(keys, revisions, strict=True):
            self.seen.setdefault(key, revision)

    def execute(self, gate: "Dispatcher", client: Client, multi: "Multi") -> None:
        """See `Watch.execute`."""
        client.session.watch = None
        gate.refit(client)
        gate.tasks.alone(client, transactions.run_block, gate, client, self.backend, multi, None if self.broken else self.seen)


class Connected(Watch):
    """A connection on which keys are watched."""

    def __init__(self, place: "Place", connection: OwnConnection, budget: float) -> None:
        """`connection` is the client's until EXEC; a command on it may take `budget` seconds."""
        super().__init__(place)
        self.connection: OwnConnection = connection
        self.budget = budget

    def close(self) -> None:
        """Forget what is watched, by ending the connection."""
        self.connection.close()

    async def ask(self, frame: bytes, spec: CommandSpec, after: bytes = b"") -> Raw:
        """One command of the client on this shard, between WATCH and EXEC; `after` goes with it, and has no reply. (A MULTI
        would end the WATCH; the store reads both at once.)"""
        if self.broken:
            raise try_again("the connection with the watched keys ended; EXEC will answer nil")
        try:
            with trio.fail_after(self.budget):
                await self.connection.send(frame + after)
                raw = blocking.told(await self.connection.receive())
                if after:
                    await self.connection.receive()
                return raw
        except (BrokenUpstream, trio.TooSlowError) as error:
            self.broken = True
            self.close()
            why = _ended(error, self.budget)
            raise (try_again(why) if spec.readonly else in_doubt(why)) from None
        except BaseException:
            self.broken = True
            self.close()
            raise

    def execute(self, gate: "Dispatcher", client: Client, multi: "Multi") -> None:
        """EXEC on the watched connection."""
        gate.tasks.alone(client, self._execute, gate, client, multi)

    async def _execute(self, gate: "Dispatcher", client: Client, multi: "Multi") -> Raw | Reply:
        session: Session = client.session
        session.watch = None
        gate.refit(client)
        if self.broken or not self.connection.still_good():
            self.close()
            return NULL_ARRAY
        began = time.monotonic()
        try:
            # The block goes out whole: until its last byte is there the store has executed nothing.
            with trio.fail_after(self.budget):
                await self.connection.send(transactions.block(multi))
                replies = [await self.connection.receive() for _ in range(len(multi.commands) + 2)]
        except (BrokenUpstream, trio.TooSlowError) as error:
            self.close()
            raise in_doubt(f"EXEC was not answered: {_ended(error, self.budget)}") from None
        except BaseException:
            self.close()
            raise
        if any(reply.startswith(blocking.NOT_THE_MASTER) for reply in replies):
            self.close()
        await self.connection.give_back()
        raw = Raw(transactions.answer_of(client, self.place, multi, replies))
        transactions.count(gate, client, multi, raw, time.monotonic() - began)
        return Raw(limited.capped(raw, multi.cap))


def _ended(error: BrokenUpstream | trio.TooSlowError, budget: float) -> str:
    if isinstance(error, trio.TooSlowError):
        return f"the store did not answer within {budget} s"
    return f"the connection with the watched keys ended ({error})"


def takes(
    gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, found: "list[tuple[int, Place]]"
) -> bool:
    """Run a command on the watched connection if its keys lie on that shard, or, where revisions are watched, one on watched
    keys that were missing; whether it is one of those."""
    session: Session = client.session
    watch = session.watch
    if isinstance(watch, Revisions):
        missing = {args[at]: 0 for at, _ in found if watch.seen.get(args[at]) == 0}
        if not missing or watch.broken or not all(place.joins(watch.place) for _, place in found):
            return False
        keys = tuple(at for at, _ in found)
        command = limited.command(spec, args, keys, frame, found)
        account = gate.places.account(found[0][1], spec)
        gate.tasks.alone(client, _still_missing, gate, client, watch, missing, command, account=account)
        return True
    if not isinstance(watch, Connected):
        return False
    here = [place.backend is watch.place.backend and place.shard is watch.place.shard for _, place in found]
    if not any(here):
        return False
    if not all(here):
        if spec.action is Action.SPLIT:
            return False  # what is watched is watched from any connection, and all before this is answered
        raise cross_slot()
    account = gate.places.account(found[0][1], spec)
    gate.tasks.alone(client, _ask, gate, client, watch, spec, args, frame, found, account=account)
    return True


async def _still_missing(
    gate: "Dispatcher", client: Client, watch: Revisions, missing: Mapping[bytes, int], command: Command
) -> Raw | Reply:
    """A command on watched keys that were missing. They are missing still, in the transaction that the command runs in, or
    EXEC will answer nil: keys that others make, the client sees, and others remove again have no revision that would tell."""
    session: Session = client.session
    replies = await watch.backend.execute_block([command], missing, gate.execution.context(session))
    if replies is not None:
        return replies[0]
    watch.broken = True
    return (await gate.execution.execute(watch.place.backend, [command], session))[0]


async def _ask(
    gate: "Dispatcher",
    client: Client,
    watch: Connected,
    spec: CommandSpec,
    args: list[bytes],
    frame: bytes,
    found: "list[tuple[int, Place]]",
) -> Raw:
    session: Session = client.session
    home = session.home
    cap = None if session.user is None else limited.cap(session.user, found)
    try:
        rewritten = rewriting.of(gate.places, spec, args, found)
    except NotKnownYet:
        rewritten = await rewriting.known(gate, session, spec, args, found)
    if rewritten is None:
        raw = await watch.ask(gate.places.renamed(watch.place, spec, args, frame), spec)
        raw = watch.place.in_protocol(session.proto, spec, args, raw)
    else:
        raw = Raw(rewritten.known) or await watch.ask(rewritten.frame, spec, rewritten.after)
        raw = Raw(rewritten.known or rewriting.told(watch.place, session.proto, spec, args, rewritten, raw))
    raw = Raw(limited.capped(raw, cap))
    return raw if home is None else Raw(home.reply(spec, raw))


def _watch(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del now
    session: Session = client.session
    if session.user is None:
        return
    if session.multi is not None:
        gate.reply(client, Raw(b"-ERR WATCH inside MULTI is not allowed\r\n"))  # the transaction lives on
        return
    found = located(gate.places, session.user, spec, args)
    place = found[0][1]
    if not all(other.joins(place) for _, other in found):
        raise cross_slot()
    if session.watch is not None:
        session.watch.must_hold(place)
    if place.shard is None:
        if not isinstance(place.backend, Transactional):
            raise not_supported(spec.lower, place.backend.name, place.backend.type)
        gate.tasks.alone(client, _remember, gate, client, place, place.backend, args[1:])
        return
    gate.tasks.alone(client, _begin, gate, client, place, gate.places.renamed(place, spec, args, frame))


async def _remember(gate: "Dispatcher", client: Client, place: "Place", backend: Transactional, keys: list[bytes]) -> Reply:
    session: Session = client.session
    watch = session.watch if isinstance(session.watch, Revisions) else Revisions(place, backend)
    await watch.add(gate, session, keys)
    session.watch = watch
    gate.refit(client)
    return OK


async def _begin(gate: "Dispatcher", client: Client, place: "Place", frame: bytes) -> Raw:
    session: Session = client.session
    watch = session.watch
    if watch is not None and watch.broken:
        return Raw(b"+OK\r\n")  # EXEC will answer nil in any case
    connection = watch.connection if isinstance(watch, Connected) else await blocking.open_own(gate, session, place)
    budget = gate.configuration.gate.command_timeout
    try:
        with trio.fail_after(budget):
            await connection.send(frame)
            raw = blocking.told(await connection.receive())
    except (BrokenUpstream, trio.TooSlowError) as error:
        connection.close()
        if watch is not None:
            watch.broken = True
        raise try_again(_ended(error, budget)) from None
    except BaseException:
        connection.close()
        raise
    if watch is None:
        if raw[:1] == b"-":
            connection.close()
        else:
            session.watch = Connected(place, connection, budget)
            gate.refit(client)
    return Raw(raw)


def _unwatch(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, args, frame, now
    if client.session.watch is None:
        gate.reply(client, OK)
        return
    gate.tasks.alone(client, _end, gate, client)


async def _end(gate: "Dispatcher", client: Client) -> Reply:
    session: Session = client.session
    watch, session.watch = session.watch, None
    gate.refit(client)
    if not isinstance(watch, Connected) or watch.broken:
        return OK
    try:
        with trio.fail_after(watch.budget):
            await watch.connection.send(UNWATCH)
            await watch.connection.receive()
        await watch.connection.give_back()
    except (BrokenUpstream, GateError, trio.TooSlowError):
        watch.close()  # which forgets what was watched as well
    except BaseException:
        watch.close()
        raise
    return OK


WAYS: "dict[str, Way]" = {"WATCH": _watch, "UNWATCH": _unwatch}
