"""The way of plain commands to the stores of their keys: the client's own bytes, a part for each store, or an adapter."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kvgate.commands.home import Home, carries_keys
from kvgate.commands.keys import is_plain
from kvgate.commands.resp3 import in_resp3
from kvgate.commands.spec import Action, CommandSpec
from kvgate.errors import cross_slot, refused
from kvgate.lane.client import Client
from kvgate.lane.slots import Call
from kvgate.lane.split import merged, part
from kvgate.metrics.ledger import Account
from kvgate.policy.compiled import MERGES
from kvgate.policy.users import User
from kvgate.server import limited, rewriting, scripts, watch
from kvgate.server.locate import largest_of, located
from kvgate.server.places import Place
from kvgate.server.session import Answer, Emulated, Session
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher


def to_stores(
    gate: "Dispatcher", client: Client, user: User, spec: CommandSpec, args: list[bytes], frame: bytes, now: float
) -> None:
    """Send a command to where its keys lie.

    Raises:
        GateError: see `located`; CROSSSLOT; it has no key; scripts are not allowed there.
    """
    session: Session = client.session
    found = located(gate.places, user, spec, args)
    if spec.capability in ("script", "function"):
        place = scripts.place(gate, user, spec, args, [place for _, place in found], session.home)
        if place.shard is not None:  # all keys lie there; each namespace limits the reply, and no argument is looked at for it
            found = [(0, place), *((0, other) for _, other in found if other.namespace is not place.namespace)]
    if not found:
        raise refused(spec.lower, "it names no key that would say which store is meant")
    if session.watch is not None and watch.takes(gate, client, spec, args, frame, found):
        return
    first = found[0][1]
    if spec.action is Action.SPLIT and len(found) > 1:
        _learn_split(gate, client, user, spec, args, frame, found)
    if len(found) == 1 or all(place.joins(first) for _, place in found):
        if first.shard is not None:
            if not rewriting.forward(gate, client, user, spec, args, frame, found, now):
                _forward(gate, client, user, spec, args, frame, first, now)
            return
        keys = tuple(index for index, _ in found)
        names_keys = session.home is not None and carries_keys(spec)
        if keys == (1,) and not session.quiet and is_plain(spec, args) and not names_keys:
            gate.execution.learn(client, user, spec, args, frame, first)
        account = gate.places.account(first, spec)
        command = limited.command(spec, args, keys, frame, found)
        gate.execution.run(client, first.backend, command, now, account, limited.cap(user, found))
    elif spec.action is Action.SPLIT:
        _split(gate, client, user, spec, args, frame, found, now)
    else:
        raise cross_slot()


def _forward(
    gate: "Dispatcher",
    client: Client,
    user: User,
    spec: CommandSpec,
    args: list[bytes],
    frame: bytes,
    place: Place,
    now: float,
) -> None:
    """Send the client's own bytes on, and let the lane do so from now on where that is right for every such request."""
    assert place.shard is not None  # noqa: S101 - the caller asked
    session: Session = client.session
    up = place.shard.lines[client.line]
    sent = gate.places.renamed(place, spec, args, frame)
    if not place.speaks(session.proto):
        _forward_converted(gate, client, place, spec, args, sent, now)
        return
    home = session.home
    convert = None if home is None or not carries_keys(spec) else partial(home.reply, spec)
    alone = limited.is_limited(user, place.namespace)
    looks = alone and rewriting.looks(gate.places, user, place, spec, args)
    if sent is frame and convert is None and not session.quiet and is_plain(spec, args) and not looks:
        head = frame[: frame.find(b"\r\n$", 5)]
        most, look = largest_of(gate.places, place.namespace), rewriting.looks_for_ifeq(gate.places, place, spec, args)
        more = len(args) - 2
        owner = session.owner
        gate.places.learn(
            user, session.proto, place, args[1], head, more, spec=spec, most=most, look=look, alone=alone, owner=owner
        )
    gate.lane.forward(client, up, sent, now, gate.places.account(place, spec), quiet=session.quiet, convert=convert)


def _learn_split(
    gate: "Dispatcher",
    client: Client,
    user: User,
    spec: CommandSpec,
    args: list[bytes],
    frame: bytes,
    found: list[tuple[int, Place]],
) -> None:
    """Let the lane take requests with so many keys, where all of them belong to one namespace, and cut them if need be: where
    the parts, and the whole if one shard has all keys, are the client's own words."""
    session: Session = client.session
    place, places = found[0][1], gate.places
    if session.quiet or place.shard is None or not place.speaks(session.proto):
        return
    if any(other.namespace.name != place.namespace.name for _, other in found):
        return
    if len(args) != 1 + len(found) * spec.keys[0].step:
        return  # the store will refuse it
    if places.renamed(place, spec, args, frame) is not frame or rewriting.looks(places, user, place, spec, args):
        return
    places.learn(
        user,
        session.proto,
        place,
        args[1],
        frame[: frame.find(b"\r\n$", 5)],
        len(args) - 2,
        spec=spec,
        most=largest_of(places, place.namespace),
        alone=limited.is_limited(user, place.namespace),
        owner=session.owner,
        others=[args[index] for index, _ in found[1:]],
    )


def _forward_converted(
    gate: "Dispatcher", client: Client, place: Place, spec: CommandSpec, args: list[bytes], frame: bytes, now: float
) -> None:
    """Send on what a store without RESP3 will answer, and turn its reply into RESP3."""
    assert place.shard is not None  # noqa: S101 - the caller asked
    slot = gate.lane.pending(client, now, len(frame), quiet=client.session.quiet)
    home: Home | None = client.session.home

    def answer(raw: bytes) -> None:
        raw = in_resp3(spec, args, raw)
        slot.fill(raw if home is None else home.reply(spec, raw))
        gate.lane.settle(client)

    account = gate.places.account(place, spec)
    call = Call(frame, now, answer, readonly=spec.readonly, owner=client, account=account)
    gate.lane.ask(place.shard.lines[client.line], call)


def _split(
    gate: "Dispatcher",
    client: Client,
    user: User,
    spec: CommandSpec,
    args: list[bytes],
    frame: bytes,
    found: list[tuple[int, Place]],
    now: float,
) -> None:
    """Ask every store for its keys, side by side; the last answer makes the reply. Not atomic: see docs/commands.md."""
    groups: dict[tuple[str, int], list[int]] = {}
    places: dict[tuple[str, int], Place] = {}
    for index, place in found:
        at = (place.backend.name, -1 if place.shard is None else place.shard.index)
        groups.setdefault(at, []).append(index)
        places[at] = place
    step = spec.keys[0].step
    slot = gate.lane.pending(client, now, len(frame), quiet=client.session.quiet)
    raws: dict[int, bytes] = {}
    numbers = {index: number for number, indices in enumerate(groups.values()) for index in indices}
    order = [numbers[index] for index, _ in found]
    cap, by_index = limited.cap(user, found), dict(found)

    def answer(number: int, raw: bytes) -> None:
        raws[number] = raw
        if len(raws) == len(groups):
            reply = merged(MERGES[spec.merge], [raws[number] for number in range(len(raws))], order)
            slot.fill(limited.capped(reply, cap))
            gate.lane.settle(client)

    for number, (where, indices) in enumerate(groups.items()):
        place, chosen = places[where], part(args, indices, step)
        take: Callable[[bytes], None] = partial(answer, number)
        account = gate.places.account(place, spec)
        here = [(1 + at * step, by_index[index]) for at, index in enumerate(indices)]
        if place.shard is None:
            keys = tuple(range(1, len(chosen), step))
            command = limited.command(spec, chosen, keys, encode_request(chosen), here)
            client.batch.append(Emulated(place.backend, command, Answer(take), account, now))
        else:
            request = gate.places.renamed(place, spec, chosen, encode_request(chosen))
            if not place.speaks(client.session.proto):
                take = partial(_converted, take, spec, chosen)
            lasting = limited.changed(spec, chosen, here)
            if lasting is not None and lasting.after:
                request = limited.in_block(request, limited.expire_request(gate.places, place, lasting.after))
                take = limited.Block(partial(_counted, take, account, now, len(request))).answer
                call = Call(request, now, take, readonly=False, want=limited.BLOCK, owner=client)
            else:
                call = Call(request, now, take, readonly=spec.readonly, owner=client, account=account, cap=cap)
            gate.lane.ask(place.shard.lines[client.line], call)


def _counted(take: Callable[[bytes], None], account: Account, began: float, size: int, raw: bytes) -> None:
    account.note_reply(raw, time.monotonic() - began, size)
    take(raw)


def _converted(take: Callable[[bytes], None], spec: CommandSpec, args: list[bytes], raw: bytes) -> None:
    take(in_resp3(spec, args, raw))
