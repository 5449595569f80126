"""Commands that the gate answers itself: at once, once all before is answered, or together with the other workers."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from kvgate.admin.answers import ANSWERS, PARTS
from kvgate.admin.client import NO_SUCH_CLIENT
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import resolve
from kvgate.errors import NO_AUTH, GateError, refused, try_again
from kvgate.lane.client import Client
from kvgate.metrics.ledger import NO_NAMESPACE
from kvgate.policy.users import NeedsHashing, User
from kvgate.server.fleet import FOR_ALL
from kvgate.server.reload import beside_the_lane
from kvgate.server.session import Session
from kvgate.wire.reply import Error, Raw, Reply, decode, encode

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher

MOST_NAMESPACES: Final = 200
"""Namespaces whose accounts are summed up in the lane: at ten commands each, about a millisecond's work."""
_OF_ACCOUNTS: Final = frozenset({"INFO", "LATENCY|HISTOGRAM", "GATE|NAMESPACES"})


def answer(gate: "Dispatcher", spec: CommandSpec, client: Client, args: list[bytes], now: float) -> Raw | Reply:
    """The reply of a command that needs no waiting; None when it has replied by itself."""
    found = ANSWERS.get(spec.name)
    if found is None:
        raise refused(spec.lower, "it takes a subcommand")
    return found(gate, client, args, now)


def at_once(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    """Answer behind everything before, without waiting for it."""
    reply = answer(gate, spec, client, args, now)
    account = gate.ledger.account(NO_NAMESPACE, spec.lower, readonly=spec.readonly)
    account.note(1, time.monotonic() - now, bytes_in=len(frame))
    if reply is not None:
        gate.reply(client, reply)


def in_turn(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], now: float) -> None:
    """Answer once everything before is answered: what changes the protocol changes the connections to the stores, too,
    so nothing may be under way on the old ones."""
    session: Session = client.session
    quiet, record = session.quiet, session.record
    if record is not None:
        record.later = True

    def start() -> None:
        session.quiet = quiet
        try:
            reply = answer(gate, spec, client, args, now)
        except NeedsHashing:  # a reload came between, which brought the first scrypt hashes
            reply = Raw(try_again("users were changed").reply)
        except GateError as error:
            reply = Raw(error.reply)
        raw = reply if isinstance(reply, Raw) else encode(reply, session.proto)
        gate.audit.finish(record, raw)
        gate.lane.done(client, b"" if session.quiet else raw)

    gate.lane.alone(client, start)


async def for_all(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], now: float) -> Raw | Reply:
    """A command that speaks for all workers: this one's reply and those of the others, as one."""
    session: Session = client.session
    own: Raw | Reply
    parts = await _parts(gate, session, spec, args, now)
    gate.present, gate.parts = client, parts
    try:
        own = answer(gate, spec, client, args, now)
    except GateError as error:
        if error.text != NO_SUCH_CLIENT:  # that may be another worker's
            raise
        own = Error(error.reply[1:-2])
    finally:
        gate.parts = None
    if spec.name not in FOR_ALL:
        return own
    replies: list[Reply] = [decode(own) if isinstance(own, Raw) else own]
    if gate.fleet is not None and session.user is not None:
        words = [arg.decode("latin-1") for arg in args]
        others = await gate.fleet.others("answer", words, session.user.name, client.id, session.proto)
        replies += [decode(other.encode("latin-1")) for other in others]
    return FOR_ALL[spec.name](replies, args)


async def _parts(
    gate: "Dispatcher", session: Session, spec: CommandSpec, args: list[bytes], now: float
) -> Sequence[Any] | None:
    """What every process tells for the command, this one first; None when they are asked for nothing."""
    collect, user = PARTS.get(spec.name), session.user
    if collect is None or user is None:
        return None
    parts = [await part(gate, spec, user, args, now)]
    if gate.fleet is not None:
        parts += await gate.fleet.others("part", [arg.decode("latin-1") for arg in args], user.name)
    return parts


async def part(gate: "Dispatcher", spec: CommandSpec, user: User, args: list[bytes], now: float) -> Any:
    """This process' part. Where many namespaces have accounts, summing them up takes longer than others shall wait: that is
    done beside the lane."""
    collect = PARTS[spec.name]
    if takes_long(gate, spec):
        return await beside_the_lane(lambda: collect(gate, user, args, now))
    return collect(gate, user, args, now)


def asks_all(gate: "Dispatcher", spec: CommandSpec) -> bool:
    """Whether the command's answer is made by `for_all`: other processes are asked, or it takes long."""
    if gate.fleet is not None and (spec.name in FOR_ALL or spec.name in PARTS):
        return True
    return takes_long(gate, spec)


def takes_long(gate: "Dispatcher", spec: CommandSpec) -> bool:
    """Whether the command's answer must not be made in the lane."""
    return spec.name in _OF_ACCOUNTS and len(gate.ledger.namespaces()) > MOST_NAMESPACES


async def part_for_other(gate: "Dispatcher", words: list[str], name: str) -> Any:
    """This worker's part, asked by another worker for a client of the user `name`."""
    args = [word.encode("latin-1") for word in words]
    user = gate.configuration.users.get(name)
    if user is None:
        raise GateError(NO_AUTH)
    return await part(gate, resolve(args), user, args, time.monotonic())


async def for_other(gate: "Dispatcher", words: list[str], user: str, ident: int, proto: int) -> str:
    """This worker's part of `for_all`, asked by another worker for its client `ident`."""
    args = [word.encode("latin-1") for word in words]
    session = Session("", "", "", gate.configuration.users.get(user))
    session.proto = proto
    gate.present = None
    try:
        reply = answer(gate, resolve(args), Client(ident, session), args, time.monotonic())
    except GateError as error:
        reply = Raw(error.reply)
    gate.driver.kick()
    return (reply if isinstance(reply, Raw) else encode(reply, proto)).decode("latin-1")
