"""The control channel between the parent and a worker: calls in both directions over one unix socket.

A message is its length (4 bytes) and JSON: ``[number, name, arguments]`` asks, ``[number, result]`` answers,
``[number, null, error]`` refuses. Bytes travel as text, byte for character (latin-1). Both ends are this program; what is
no message all the same (a worker gone mad) ends the channel, and never the process that reads it.
"""

import json
import logging
import math
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from kvgate.errors import GateError

log = logging.getLogger("kvgate.control")

HEADER: Final = struct.Struct("!I")
LONGEST: Final = 256 * 1024 * 1024
"""Bytes of one message: CLIENT LIST of 10,000 clients is 4 MB, a configuration of 10,000 namespaces 1 MB."""
PATIENCE: Final = 5.0
"""Seconds that an answer may take where the caller says nothing else."""

Handler = Callable[..., Awaitable[Any]]
"""Called with the arguments of the message; what it returns is JSON; a GateError becomes the caller's GateError."""


class Gone(Exception):  # noqa: N818 - says what happened
    """The other end is not there any more, or did not answer in time; whether it has acted is unknown."""


class Channel:
    """One end. `run` reads and writes until the other end is gone; `call` asks."""

    def __init__(self, stream: trio.SocketStream, handlers: Mapping[str, Handler]) -> None:
        """`handlers` answer what the other end asks."""
        self._stream = stream
        self._handlers = handlers
        # What is sent goes through one task: a caller that gives up leaves no half message, and none waits for a reader
        # that has stopped. Unbounded, since each message is somebody's call, and the callers are few.
        self._put, self._to_send = trio.open_memory_channel[bytes](math.inf)
        self._waiting: dict[int, trio.MemorySendChannel[list[Any]]] = {}
        self._number = 0
        self.gone = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read messages and answer them, each in a task of its own; returns when the other end is gone."""
        try:
            async with self._stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                task_status.started()
                async for message in self._messages():
                    if len(message) == 3 and isinstance(message[1], str):
                        nursery.start_soon(self._answer, message[0], message[1], message[2])
                    else:
                        waiting = self._waiting.pop(message[0], None)  # none: the caller has given up
                        if waiting is not None:
                            waiting.send_nowait(message)
                nursery.cancel_scope.cancel()
        finally:
            self.gone.set()
            for waiting in self._waiting.values():
                waiting.close()

    async def _messages(self) -> AsyncIterator[list[Any]]:
        data = bytearray()
        while True:
            while len(data) >= HEADER.size:
                (length,) = HEADER.unpack_from(data)
                if length > LONGEST:
                    log.error("control_garbage", extra={"length": length, "do": "report this"})
                    return
                end = HEADER.size + length
                if len(data) < end:
                    break
                message = _message(bytes(data[HEADER.size : end]))
                if message is None:
                    return
                yield message
                del data[:end]
            try:
                more = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not more:
                return
            data += more

    async def _write(self) -> None:
        async for message in self._to_send:
            try:
                await self._stream.send_all(message)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the reader finds out, and whoever waits is told

    async def _answer(self, number: int, name: str, arguments: list[Any]) -> None:
        try:
            reply: list[Any] = [number, await self._handlers[name](*arguments)]
        except GateError as error:
            reply = [number, None, error.text]
        except Exception as error:
            log.exception("control_call_failed", extra={"call": name, "error": repr(error), "do": "report this"})
            reply = [number, None, f"ERR the gate failed inside; its log says more ({name})"]
        self._send(reply)

    def _send(self, message: list[Any]) -> None:
        text = json.dumps(message).encode()
        self._put.send_nowait(HEADER.pack(len(text)) + text)

    async def call(self, name: str, *arguments: Any, patience: float = PATIENCE) -> Any:
        """What the other end's handler returned.

        Raises:
            GateError: what the handler raised.
            Gone: the other end is not there, or did not answer within `patience` seconds.
        """
        if self.gone.is_set():
            raise Gone(name)
        self._number += 1
        number = self._number
        send, receive = trio.open_memory_channel[list[Any]](1)
        self._waiting[number] = send
        try:
            with trio.move_on_after(patience):
                self._send([number, name, arguments])
                try:
                    answer = await receive.receive()
                except trio.EndOfChannel:
                    raise Gone(name) from None
                if len(answer) == 3:
                    raise GateError(str(answer[2]))
                return answer[1]
        finally:
            self._waiting.pop(number, None)
        raise Gone(name)


def _message(text: bytes) -> list[Any] | None:
    """One message; None, and a line in the log, when it is none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if (
        isinstance(message, list)
        and len(message) in (2, 3)
        and isinstance(message[0], int)
        and (len(message) == 2 or not isinstance(message[1], str) or isinstance(message[2], list))
    ):
        return message
    log.error("control_garbage", extra={"beginning": text[:40], "do": "report this"})
    return None
