"""GATE BLOCK, UNBLOCK and BLOCKED: what is refused for a while without a change of the configuration, in all workers.

The list is kept by the parent process (`Master`), which gives the whole of it to every worker; a gate of one process keeps it
itself. Commands of what is blocked come to the dispatcher, since the lane forgets them and learns none of them anew.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from kvgate.commands.keys import integer
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, cannot_block, no_perm_key, syntax_error
from kvgate.lane.client import Client
from kvgate.policy.blocks import KEY, KINDS, LONGEST, NAMESPACE, USER, Block, Blocks, Called, load
from kvgate.policy.users import User
from kvgate.routing.namespaces import check_name
from kvgate.server import pauses
from kvgate.server.locate import located
from kvgate.server.session import BLOCKED, Session
from kvgate.wire.reply import OK, Map, Reply

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way

Share = Callable[["Block | None", str, bytes], Awaitable[tuple[bool, int]]]
"""Brings a change to all processes: a block, or None and what is to be ended. Gives whether there was one to end, and how many
workers have not confirmed it."""


class Master:
    """The list that is the truth, in the process that speaks for all."""

    def __init__(self) -> None:
        """Nothing is blocked."""
        self._blocks = Blocks()

    @property
    def version(self) -> int:
        """Counts the changes."""
        return self._blocks.version

    def change(self, block: Block | None, kind: str, name: bytes) -> bool:
        """Put a block, or end one; whether there was one to end. Raises GateError: there are too many."""
        self._blocks.expire(time.monotonic())
        if block is None:
            return self._blocks.take(kind, name)
        self._blocks.put(block)
        return True

    def dump(self) -> list[Any]:
        """For `Keeper.take`: the version, and all that are in force."""
        self._blocks.expire(time.monotonic())
        return [self._blocks.version, [block.dump() for block in self._blocks]]


class Keeper:
    """The list in a process that serves clients: it takes effect here, and ends here."""

    def __init__(self, gate: "Dispatcher") -> None:
        """Keep the list of the gate's routing, which outlives configurations."""
        self._gate = gate
        self._timer: trio.CancelScope | None = None
        self._master = Master()
        self.share: Share = self._alone

    @property
    def blocks(self) -> Blocks:
        """Those in force."""
        return self._gate.places.blocks

    async def _alone(self, block: Block | None, kind: str, name: bytes) -> tuple[bool, int]:
        """`Share` where this process is all there is."""
        found = self._master.change(block, kind, name)
        self.take(self._master.dump())
        return found, 0

    def take(self, dump: Sequence[Any]) -> None:
        """Have the list that `Master.dump` gave, unless a newer one is there."""
        version, blocks = dump[0], [load(each) for each in dump[1]]
        if version <= self.blocks.version:
            return
        self.blocks.replace(version, blocks)
        if self._timer is not None:
            self._timer.cancel()
        if blocks:
            self._gate.places.unlearn_blocked()
            self._end_waiting()
            self._gate.tasks.spawn(self._expire)
        self._gate.driver.kick()

    async def _expire(self) -> None:
        with trio.CancelScope() as scope:
            self._timer = scope
            while self.blocks.active:
                await trio.sleep(max(0.0, self.blocks.next_end() - time.monotonic()))
                self.blocks.expire(time.monotonic())

    def _end_waiting(self) -> None:
        """Whoever waits for others' doing on what is blocked now is told; a blocked user's subscriptions end with the
        connection, since there is no other way to tell."""
        for client in list(self._gate.driver.clients.values()):
            session: Session = client.session
            user = session.user
            if user is None:
                continue
            block = self.blocks.of_user(user.name)
            if session.subscriptions is not None and block is not None and not block.writes_only:
                self._gate.driver.close_client(client)
            elif session.blocked and session.waits_for is not None:
                try:
                    self.refuse(session, user, *session.waits_for)
                    located(self._gate.places, user, *session.waits_for)
                except GateError as error:
                    session.refusal = error
                    self._gate.unblock(client, BLOCKED)

    def refuse(self, session: Session, user: User, spec: CommandSpec, args: Sequence[bytes]) -> None:
        """Refuse a command of a blocked user, and an EXEC of what was blocked since it was queued. Raises GateError."""
        del args
        self.blocks.refuse_user(user, spec, writes=pauses.writes(session, spec))
        if spec.name == "EXEC" and session.multi is not None:
            for queued in session.multi.commands:
                located(self._gate.places, user, queued.spec, queued.args)


# ---------------------------------------------------------------------- the commands


def _wanted(gate: "Dispatcher", client: Client, args: list[bytes]) -> tuple[User, str, bytes]:
    """Who asks, and what a command is about: ``namespace NAME``, ``user NAME``, ``key NAME``.

    Raises:
        GateError: that is not there, or not the user's to block.
    """
    user: User | None = client.session.user
    kind, name = args[2].decode("latin-1").lower(), args[3]
    if user is None or kind not in KINDS:
        raise syntax_error()
    if kind == KEY:
        gate.places.namespace(user, name)
        return user, kind, name
    text = name.decode("utf-8", "surrogateescape")
    if kind == USER:
        if not user.sees_all:
            raise no_perm_key()
        if gate.configuration.users.get(text) is None:
            raise cannot_block("there is no such user")
        if text == user.name:
            raise cannot_block("nobody blocks himself: who would end it?")
        return user, kind, name
    if check_name(text):
        raise cannot_block("that is no namespace's name")
    if not user.sees(Called(text)):
        raise no_perm_key()
    if not gate.places.knows(text):
        raise cannot_block("there is no such namespace")
    return user, kind, name


def _block(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    """``GATE BLOCK namespace|user|key NAME [WRITES] FOR seconds``."""
    del spec, frame
    options = [word.upper() for word in args[4:-1]]
    if options not in ([b"FOR"], [b"WRITES", b"FOR"]):
        raise syntax_error()
    seconds = integer(args[-1])
    if seconds is None or not 1 <= seconds <= LONGEST:
        raise cannot_block(f"seconds are a whole number from 1 to {LONGEST}")
    user, kind, name = _wanted(gate, client, args)
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    block = Block(kind, name, options[0] == b"WRITES", now + seconds, shown, user.name)
    gate.tasks.alone(client, _change, gate, block, kind, name)


def _unblock(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    """``GATE UNBLOCK namespace|user|key NAME``: 1, or 0 when nothing of that name was blocked."""
    del spec, frame, now
    user, kind, name = _wanted(gate, client, args)
    del user
    gate.tasks.alone(client, _change, gate, None, kind, name)


async def _change(gate: "Dispatcher", block: Block | None, kind: str, name: bytes) -> Reply:
    found, unconfirmed = await gate.keeper.share(block, kind, name)
    if unconfirmed:
        raise cannot_block(f"{unconfirmed} workers have not confirmed it yet; send it again")
    return int(found) if block is None else OK


def _blocked(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    """``GATE BLOCKED``: a map for each block that the user may know of."""
    del spec, args, frame
    user: User | None = client.session.user
    shown: list[Reply] = [
        Map(
            [
                (b"kind", block.kind.encode()),
                (b"name", block.name),
                (b"refuses", b"writes" if block.writes_only else b"all"),
                (b"seconds", max(0, round(block.until - now))),
                (b"until", block.shown_until.encode()),
                (b"by", block.by.encode("utf-8", "surrogateescape")),
            ]
        )
        for block in gate.keeper.blocks
        if user is not None and _may_know(gate, user, block)
    ]
    gate.reply(client, shown)


def _may_know(gate: "Dispatcher", user: User, block: Block) -> bool:
    if block.kind == USER or user.sees_all:
        return user.sees_all
    if block.kind == NAMESPACE:
        return user.sees(Called(block.name.decode("utf-8", "surrogateescape")))
    namespace = gate.places.namespaces.of(block.name)
    return namespace is not None and user.sees(namespace)


WAYS: "dict[str, Way]" = {"GATE|BLOCK": _block, "GATE|UNBLOCK": _unblock, "GATE|BLOCKED": _blocked}
