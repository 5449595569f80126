"""MULTI, EXEC, DISCARD: commands are queued in the gate, checked as Redis does, and sent as one block at EXEC.

The block goes out in one piece on a connection that the client's other commands on that shard use too, so nothing of
anybody comes between. What the gate splits, filters or answers by itself is refused when it is to be queued.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from kvgate.backend import NotKnownYet, Transactional
from kvgate.commands.home import carries_keys
from kvgate.commands.resp3 import in_resp3
from kvgate.commands.spec import Action, CommandSpec
from kvgate.errors import GateError, cross_slot, no_perm_command, not_supported, refused
from kvgate.lane.client import Client
from kvgate.lane.slots import Call
from kvgate.lane.split import elements
from kvgate.metrics.ledger import NO_NAMESPACE
from kvgate.policy.users import User
from kvgate.server import answering, limited, rewriting, scripts
from kvgate.server.locate import located
from kvgate.server.session import Multi, Queued, Session
from kvgate.wire.reply import NULL_ARRAY, OK, Raw, Reply, Simple, encode
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way
    from kvgate.server.places import Place

MULTI: Final = encode_request([b"MULTI"])
EXEC: Final = encode_request([b"EXEC"])
HARMLESS: Final = frozenset({"PING", "ECHO", "TIME", "UNWATCH"})
"""Commands of the gate that a store answers as well, so that they may stand in a block."""
_WITHOUT_MULTI: Final = "ERR EXEC without MULTI"
EXECABORT: Final = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
OWN_WORDS: Final = (b"-TRYAGAIN", b"-INDOUBT", b"-ERR upstream ")
"""How the gate's own errors begin that take the place of a store's reply: they say more than EXECABORT."""


def _multi(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, args, frame, now
    session: Session = client.session
    if session.multi is not None:
        # Redis 7.0 answers the error and lets the transaction live
        gate.reply(client, Raw(b"-ERR MULTI calls can not be nested\r\n"))
        return
    session.multi = Multi()
    gate.refit(client)
    gate.reply(client, OK)


def queue(
    gate: "Dispatcher", client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes
) -> None:
    """Check a command and put it into the open MULTI; every GateError makes EXEC answer EXECABORT."""
    session: Session = client.session
    multi = session.multi
    if multi is None:
        return
    _check_again(gate, user, session, multi)
    if spec.action is Action.REFUSE:
        raise refused(spec.lower, spec.why)
    if (spec.action is Action.GATE and spec.name not in HARMLESS) or spec.name in _NOT_IN_BLOCKS:
        raise refused(spec.lower, "inside MULTI; the gate answers it itself, or for several stores")
    where = located(gate.places, user, spec, args)
    multi.places = gate.places
    keys, found = tuple(index for index, _ in where), [place for _, place in where]
    if spec.capability in ("script", "function"):
        found = [scripts.place(gate, user, spec, args, found, session.home)]
    for place in found:
        if place.shard is None and not isinstance(place.backend, Transactional):
            raise not_supported("multi", place.backend.name, place.backend.type)
        if multi.target is None:
            multi.target = place
        if not place.joins(multi.target):
            raise cross_slot()
    if session.watch is not None and multi.target is not None and not session.watch.broken:
        session.watch.must_hold(multi.target)
    try:
        rewritten = rewriting.of(gate.places, spec, args, where) if where else None
    except NotKnownYet:
        gate.tasks.alone(client, _queue_later, gate, client, user, spec, args, frame, where[0][1], silent=True)
        return
    if rewritten is not None:
        frame = rewritten.frame or rewriting.NOTHING
    elif multi.target is not None:
        frame = gate.places.renamed(multi.target, spec, args, frame)
    limits = gate.configuration.gate
    if len(multi.commands) >= limits.queued_commands or multi.size + len(frame) > limits.queued_bytes:
        raise GateError(f"ERR a MULTI holds at most {limits.queued_commands} commands and {limits.queued_bytes} bytes")
    multi.size += len(frame)
    home = session.home if carries_keys(spec) else None
    command = None
    if where and where[0][1].shard is None:
        command = limited.command(spec, args, keys, frame, where)
    multi.commands.append(Queued(spec, args, frame, keys, rewritten, home, command))
    if rewritten is not None and rewritten.after:
        multi.commands.append(Queued(spec, args, rewritten.after, keys, rewritten, silent=True))
        multi.size += len(rewritten.after)
    cap = limited.cap(user, where)
    if cap is not None and (multi.cap is None or cap[0] < multi.cap[0]):
        multi.cap = cap
    gate.reply(client, Simple(b"QUEUED"))


async def _queue_later(
    gate: "Dispatcher",
    client: Client,
    user: User,
    spec: CommandSpec,
    args: list[bytes],
    frame: bytes,
    place: "Place",
) -> None:
    """`queue`, of a command that came before it was known what the store has."""
    try:
        await rewriting.find_out(gate, client.session, place)
        queue(gate, client, user, spec, args, frame)
    except GateError as error:
        gate.reply(client, fail(gate, client, spec, error))


def _check_again(gate: "Dispatcher", user: User, session: Session, multi: Multi) -> None:
    """After a reload: what was queued before must still be allowed, and lie where it lay. A broken WATCH makes EXEC answer
    nil, which clients know to begin again after."""
    unchanged = multi.places is gate.places or multi.places is None
    if unchanged or multi.aborted or (session.watch is not None and session.watch.broken):
        return
    multi.places = gate.places
    places: list[Place] = []
    try:
        for queued in multi.commands:
            if queued.silent:
                continue
            if not user.allows(queued.spec):
                raise no_perm_command(queued.spec.lower, user.name)
            places += [place for _, place in located(gate.places, user, queued.spec, queued.args)]
        if all(place.joins(multi.target) for place in places):
            multi.target = places[0] if places else multi.target  # its backend may have another name now
        else:
            multi.aborted = True
    except GateError:
        multi.aborted = True


_NOT_IN_BLOCKS: Final = frozenset(
    {"WAIT", "MONITOR", "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE"}
)


def _discard(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, args, frame, now
    session: Session = client.session
    if session.multi is None:
        raise GateError("ERR DISCARD without MULTI")
    session.multi = None
    _unwatch_after(gate, client)
    gate.reply(client, OK)


def _unwatch_after(gate: "Dispatcher", client: Client) -> None:
    """EXEC and DISCARD end WATCH: its connection is closed, which forgets everything there."""
    session: Session = client.session
    if session.watch is not None:
        session.watch.close()
        session.watch = None
    gate.refit(client)


def _exec(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del spec, args, frame
    session: Session = client.session
    multi = session.multi
    if multi is None:
        raise GateError(_WITHOUT_MULTI)
    session.multi = None
    if session.user is not None:
        _check_again(gate, session.user, session, multi)
    if multi.aborted:
        _unwatch_after(gate, client)
        gate.reply(client, Raw(EXECABORT))
        return
    if session.watch is not None:
        session.watch.execute(gate, client, multi)
        return
    gate.refit(client)
    target: Place | None = multi.target
    if target is None:
        gate.reply(client, _without_keys(gate, client, multi, now))
    elif isinstance(target.backend, Transactional):
        gate.tasks.alone(client, run_block, gate, client, target.backend, multi, {})
    elif target.shard is not None:
        slot = gate.lane.pending(client, now, multi.size, quiet=session.quiet)
        replies: list[bytes] = []
        want = len(multi.commands) + 2

        def answer(raw: bytes) -> None:
            replies.append(raw)
            if len(replies) == want:
                raw = answer_of(client, target, multi, replies)
                count(gate, client, multi, raw, time.monotonic() - now)
                slot.fill(limited.capped(raw, multi.cap))
                gate.lane.settle(client)

        call = Call(block(multi), now, answer, readonly=False, want=want, owner=client, cap=multi.cap)
        gate.lane.ask(target.shard.lines[client.line], call)


async def run_block(
    gate: "Dispatcher", client: Client, backend: Transactional, multi: Multi, watched: Mapping[bytes, int] | None
) -> Raw | Reply:
    """EXEC on a backend that runs blocks itself; `watched` is None when EXEC fails in any case."""
    session: Session = client.session
    if watched is None:
        return NULL_ARRAY
    began = time.monotonic()
    own = {at for at, queued in enumerate(multi.commands) if queued.spec.name in HARMLESS}
    theirs = [queued for at, queued in enumerate(multi.commands) if at not in own]
    commands = [each.command or limited.command(each.spec, each.args, each.keys, each.frame, ()) for each in theirs]
    replies = await backend.execute_block(commands, watched, gate.execution.context(session))
    if replies is None:
        return NULL_ARRAY
    rest = iter(replies)
    parts = [b"*%d\r\n" % len(multi.commands)]
    for at, queued in enumerate(multi.commands):
        reply = _answer(gate, client, queued, time.monotonic()) if at in own else next(rest)
        raw = reply if isinstance(reply, Raw) else encode(reply, session.proto)
        parts.append(raw if queued.home is None else queued.home.reply(queued.spec, raw))
    raw = Raw(b"".join(parts))
    count(gate, client, multi, raw, time.monotonic() - began)
    return Raw(limited.capped(raw, multi.cap))


def count(gate: "Dispatcher", client: Client, multi: Multi, raw: bytes, seconds: float) -> None:
    """Count the commands of a block that was answered with `raw`, each in its namespace."""
    gate.slowlog.block(client, multi, seconds)
    if raw[:1] != b"*" or raw == b"*-1\r\n":
        return
    shown = (queued for queued in multi.commands if not queued.silent)
    for queued, reply in zip(shown, elements(raw), strict=True):
        namespace = gate.places.namespaces.of(queued.args[queued.keys[0]]) if queued.keys else None
        name = NO_NAMESPACE if namespace is None else namespace.name
        account = gate.ledger.account(name, queued.spec.lower, readonly=queued.spec.readonly)
        account.note_reply(reply, seconds, len(queued.frame))


def block(multi: Multi) -> bytes:
    """MULTI, the commands, EXEC: one contiguous piece."""
    return b"".join([MULTI, *(queued.frame for queued in multi.commands), EXEC])


def outcome(replies: list[bytes]) -> bytes:
    """The reply for the client, of those to MULTI, to each queued command, and to EXEC.

    What the gate checked and the store refused all the same (no memory, a role that changed) is told with Redis' words for
    an EXEC that fails by itself: the client has read QUEUED for it.
    """
    last = replies[-1]
    refusal = next((raw for raw in replies[:-1] if raw[:1] == b"-"), None)
    if refusal is None or not last.startswith((b"-EXECABORT", b"-ERR EXEC without MULTI")):
        return last
    if refusal.startswith(OWN_WORDS) or last.startswith(b"-ERR"):
        return refusal
    return b"-EXECABORT Transaction discarded because of: " + refusal[1:]


def answer_of(client: Client, place: "Place", multi: Multi, replies: list[bytes]) -> bytes:
    """`outcome`, in the client's protocol: each element by the rule of its command."""
    raw, proto = outcome(replies), client.session.proto
    speaks = place.speaks(proto)
    if raw[:1] != b"*" or (speaks and all(each.rewritten is None and each.home is None for each in multi.commands)):
        return raw
    if raw == b"*-1\r\n":
        return raw if speaks else b"_\r\n"
    parts = [pair for pair in zip(multi.commands, elements(raw), strict=True) if not pair[0].silent]
    return b"*%d\r\n" % len(parts) + b"".join(_element(place, proto, each, part) for each, part in parts)


def _element(place: "Place", proto: int, queued: Queued, raw: bytes) -> bytes:
    if queued.rewritten is not None:
        raw = queued.rewritten.known or rewriting.told(place, proto, queued.spec, queued.args, queued.rewritten, raw)
    elif not place.speaks(proto):
        raw = in_resp3(queued.spec, queued.args, raw)
    return raw if queued.home is None else queued.home.reply(queued.spec, raw)


def _without_keys(gate: "Dispatcher", client: Client, multi: Multi, now: float) -> Raw:
    """A block that touches no store (PING, ECHO, TIME, UNWATCH): the gate answers it."""
    session: Session = client.session
    parts = [b"*%d\r\n" % len(multi.commands)]
    for queued in multi.commands:
        reply = _answer(gate, client, queued, now)
        parts.append(reply if isinstance(reply, Raw) else encode(reply, session.proto))
    return Raw(b"".join(parts))


def _answer(gate: "Dispatcher", client: Client, queued: Queued, now: float) -> Raw | Reply:
    """The reply to one of the `HARMLESS` commands, an error too: inside EXEC it is one of many."""
    try:
        return OK if queued.spec.name == "UNWATCH" else answering.answer(gate, queued.spec, client, queued.args, now)
    except GateError as error:
        return Raw(error.reply)


def fail(gate: "Dispatcher", client: Client, spec: "CommandSpec | None", error: GateError) -> Raw:
    """What an error is answered with. Inside MULTI it aborts the transaction; an EXEC that cannot run is the end of it
    (and says so outside of MULTI, too)."""
    session: Session = client.session
    if spec is None or spec.name != "EXEC" or error.text == _WITHOUT_MULTI:
        if session.multi is not None:
            session.multi.aborted = True
        return Raw(error.reply)
    session.multi = None
    _unwatch_after(gate, client)
    if error.code == "THROTTLED":
        return Raw(error.reply)  # its own word: the block may be sent again
    return Raw(b"-EXECABORT Transaction discarded because of: " + error.reply[1:].removeprefix(b"ERR "))


def forget(session: Session) -> None:
    """The client left, or said RESET."""
    session.multi = None
    if session.watch is not None:
        session.watch.close()
        session.watch = None


WAYS: "dict[str, Way]" = {"MULTI": _multi, "EXEC": _exec, "DISCARD": _discard}
