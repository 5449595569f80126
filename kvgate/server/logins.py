"""AUTH and HELLO where users have scrypt hashes: a password is hashed in a thread, a few at a time, before it is answered."""

import time
from typing import TYPE_CHECKING, Final

import trio

from kvgate.admin.connection import log_wrong_password
from kvgate.commands.spec import CommandSpec
from kvgate.errors import throttled
from kvgate.lane.client import Client
from kvgate.policy.users import Attempt, NeedsHashing, WrongPasswordError
from kvgate.server import answering
from kvgate.wire.reply import Raw, Reply

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher

AT_ONCE: Final = 2
"""Threads that hash: each takes a processor and up to 64 MiB, and the lane needs a processor too."""


class Hashing:
    """Bounds how many passwords are hashed at a time in this process."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._limiter = trio.CapacityLimiter(AT_ONCE)

    async def check(self, gate: "Dispatcher", attempt: Attempt) -> None:
        """Hash the attempt's password, unless that became needless while it waited for its turn; afterwards the user's
        `authenticate` knows it.

        Raises:
            WrongPasswordError: it is wrong.
            GateError: THROTTLED: the same user failed from there just now, or too many wait; it was not hashed.
        """
        budget = gate.configuration.gate.command_timeout
        with trio.move_on_after(budget) as waiting:
            await self._limiter.acquire()
        if waiting.cancelled_caught:
            raise throttled(round(budget * 1000))
        try:
            users, now = gate.configuration.users, time.monotonic()
            users.not_throttled(attempt.name, attempt.address, now)  # of a hundred wrong ones at once one is hashed
            if not users.is_remembered(attempt, now):  # of a hundred right ones too
                found = await trio.to_thread.run_sync(users.check, attempt)
                users.settle(attempt, found, time.monotonic())
        finally:
            self._limiter.release()


def log_in(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    """AUTH, HELLO. Where nobody has scrypt hashes nothing waits."""
    if gate.configuration.users.costly:
        gate.tasks.alone(client, _answer, gate, client, spec, args)
    elif spec.name == "HELLO":
        answering.in_turn(gate, client, spec, args, now)
    else:
        answering.at_once(gate, client, spec, args, frame, now)


async def _answer(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes]) -> Raw | Reply:
    """Answer again and again, until nothing in the command has to be hashed any more (HELLO may have several AUTH)."""
    while True:
        try:
            reply = answering.answer(gate, spec, client, args, time.monotonic())
        except NeedsHashing as needed:
            try:
                await gate.hashing.check(gate, needed.attempt)
            except WrongPasswordError as error:
                log_wrong_password(gate, client, needed.attempt.name, error)
                raise
        else:
            assert reply is not None  # noqa: S101 - both always reply
            return reply
