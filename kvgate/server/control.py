"""The control channel between the parent and a worker: calls in both directions over one unix socket.

A message is its length (4 bytes) and JSON: ``[number, name, arguments]`` asks, ``[number, result]`` answers,
``[number, null, error]`` refuses. Bytes travel as text, byte for character (latin-1). Both ends are this program, started
by one another, so nothing is checked that the code itself decides.
"""

import json
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from kvgate.errors import GateError

log = logging.getLogger("kvgate.control")

HEADER: Final = struct.Struct("!I")
PATIENCE: Final = 5.0
"""Seconds that an answer may take where the caller says nothing else; a worker that needs longer is counted as gone."""

Handler = Callable[..., Awaitable[Any]]
"""Called with the arguments of the message; what it returns is JSON; a GateError becomes the caller's GateError."""


class Gone(Exception):  # noqa: N818 - says what happened
    """The other end is not there any more, or did not answer in time; whether it has acted is unknown."""


class Channel:
    """One end. `run` reads until the other end is gone; `call` asks."""

    def __init__(self, stream: trio.SocketStream, handlers: Mapping[str, Handler]) -> None:
        """`handlers` answer what the other end asks."""
        self._stream = stream
        self._handlers = handlers
        self._sending = trio.Lock()
        self._waiting: dict[int, trio.MemorySendChannel[list[Any]]] = {}
        self._number = 0
        self.gone = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read messages and answer them, each in a task of its own; returns when the other end is gone."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                async for message in self._messages():
                    if len(message) == 3 and isinstance(message[1], str):
                        nursery.start_soon(self._answer, *message)
                    else:
                        waiting = self._waiting.get(message[0])
                        if waiting is not None:
                            waiting.send_nowait(message)
                nursery.cancel_scope.cancel()
        finally:
            self.gone.set()
            for waiting in self._waiting.values():
                waiting.close()

    async def _messages(self) -> "Any":
        data = bytearray()
        while True:
            while len(data) >= HEADER.size and len(data) >= (end := HEADER.size + HEADER.unpack_from(data)[0]):
                yield json.loads(bytes(data[HEADER.size : end]))
                del data[:end]
            try:
                more = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not more:
                return
            data += more

    async def _answer(self, number: int, name: str, arguments: list[Any]) -> None:
        try:
            reply: list[Any] = [number, await self._handlers[name](*arguments)]
        except GateError as error:
            reply = [number, None, error.text]
        except Exception as error:
            log.exception("control_call_failed", extra={"call": name, "error": repr(error), "do": "report this"})
            reply = [number, None, f"ERR the gate failed inside; its log says more ({name})"]
        await self._send(reply)

    async def _send(self, message: list[Any]) -> None:
        text = json.dumps(message).encode()
        async with self._sending:
            try:
                with trio.CancelScope(shield=True):  # half a message would be the end of the channel
                    await self._stream.send_all(HEADER.pack(len(text)) + text)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # `run` finds out, and whoever waits is told

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
                await self._send([number, name, arguments])
                try:
                    answer = await receive.receive()
                except trio.EndOfChannel:
                    raise Gone(name) from None
                if len(answer) == 3:
                    raise GateError(answer[2])
                return answer[1]
        finally:
            del self._waiting[number]
        raise Gone(name)

    async def aclose(self) -> None:
        """End it; the other end finds out."""
        await self._stream.aclose()
