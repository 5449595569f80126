"""Waiting in trio for futures of pyo3-asyncio, which know asyncio only.

A native call asks for the running loop, makes a future on it, and has that resolved through ``call_soon_threadsafe``. `Shim`
is as much of a loop as that takes; `LoopThread` is a real loop on a thread of its own, about half as fast, for the case that
a version of pyo3-asyncio asks for more. `open_runner` finds out, before anything depends on it.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
import trio

SELF_TEST: Final = 2.0
"""Seconds within which a native call that fails at once must have come back."""

Finished = Callable[[Any, BaseException | None], None]
"""Told in trio's thread, once: the result, or the error."""


class Runner(Protocol):
    """Starts native calls."""

    name: str

    def start(self, make: Callable[[], Any], finished: Finished) -> Callable[[], None]:
        """Call `make`, which gives a native future, and tell `finished` what becomes of it. What is returned cancels the call;
        `finished` may be told all the same."""


class _Future:
    """As much of `asyncio.Future` as pyo3-asyncio uses; lives in trio's thread."""

    def __init__(self, finished: Finished) -> None:
        self._finished = finished
        self._callbacks: list[Callable[[_Future], object]] = []
        self._done = self._cancelled = False

    def add_done_callback(self, callback: "Callable[[_Future], object]", *, context: object = None) -> None:
        del context
        self._callbacks.append(callback)

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def set_result(self, value: object) -> None:
        self._end()
        self._finished(value, None)

    def set_exception(self, error: BaseException) -> None:
        self._end()
        self._finished(None, error)

    def cancel(self, msg: object = None) -> bool:
        del msg
        if self._done:
            return False
        self._cancelled = True
        self._end()
        return True

    def _end(self) -> None:
        self._done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:  # how the native side hears of a cancellation
            callback(self)


class Shim:
    """Poses as asyncio's running loop for the length of a native call."""

    name = "shim"

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        """Deliver through `token`."""
        self._token = token
        self._for: Finished = _nobody

    def create_future(self) -> _Future:
        """Called by the native side."""
        return _Future(self._for)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object, context: object = None) -> None:
        """Called by the native side, on its threads."""
        del context
        try:
            self._token.run_sync_soon(callback, *args)
        except trio.RunFinishedError:
            callback(*args)  # nobody waits any more, but what came may have to be ended

    def get_debug(self) -> bool:
        """Called by asyncio's own classes, should a future of theirs be made on this loop."""
        return False

    def start(self, make: Callable[[], Any], finished: Finished) -> Callable[[], None]:
        """As `Runner.start`."""
        self._for = finished
        asyncio._set_running_loop(self)  # type: ignore[arg-type]  # a loop in as far as it is asked to be one
        try:
            future: _Future = make()
        finally:
            asyncio._set_running_loop(None)
            self._for = _nobody

        def cancel() -> None:
            future.cancel()

        return cancel


def _nobody(value: object, error: BaseException | None) -> None:
    del value, error


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """A real asyncio loop on a thread: one for the process, and as long as it."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()

    threading.Thread(target=run, name="kvgate-tikv", daemon=True).start()
    return loop


class LoopThread:
    """Lets native calls run on that loop."""

    name = "thread"

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        """Deliver through `token`."""
        self._token = token
        self._loop = _loop()

    def start(self, make: Callable[[], Any], finished: Finished) -> Callable[[], None]:
        """As `Runner.start`; what `make` itself raises goes to `finished` too."""
        futures: list[asyncio.Future[Any]] = []

        def tell(value: object, error: BaseException | None) -> None:
            try:
                self._token.run_sync_soon(finished, value, error)
            except trio.RunFinishedError:
                finished(value, error)  # as in `Shim`

        def ended(future: "asyncio.Future[Any]") -> None:
            if not future.cancelled():
                error = future.exception()
                tell(None if error else future.result(), error)

        def begin() -> None:
            try:
                future = make()
            except BaseException as error:  # noqa: BLE001 - panics derive from BaseException, and trio's thread wants them
                tell(None, error)
            else:
                futures.append(future)
                future.add_done_callback(ended)

        def cancel() -> None:
            self._loop.call_soon_threadsafe(lambda: [future.cancel() for future in futures])

        self._loop.call_soon_threadsafe(begin)
        return cancel


@attrs.define(slots=True, eq=False)
class _Waiting:
    """Between a call and its end."""

    late: Callable[[Any], None] | None
    event: trio.Event = attrs.field(factory=trio.Event)
    value: Any = None
    error: BaseException | None = None
    left: bool = False

    def finished(self, value: Any, error: BaseException | None) -> None:
        """As `Finished`."""
        if self.left:
            if self.late is not None and error is None:
                self.late(value)
            return
        self.value, self.error = value, error
        self.event.set()


async def wait(runner: Runner, make: Callable[[], Any], limit: float, late: Callable[[Any], None] | None = None) -> Any:
    """The result of a native call. When it takes longer than `limit` seconds, or is cancelled, it is cancelled natively; with
    `late` it goes on instead, and its result, if it comes to one, goes there: also one that came together with a cancellation.

    Raises:
        TooSlowError: trio's, at the limit.
        BaseException: what the native side raised, panics among it.
    """
    waiting = _Waiting(late)
    cancel = runner.start(make, waiting.finished)
    try:
        with trio.fail_after(limit):
            await waiting.event.wait()
    except BaseException:
        waiting.left = True
        if late is None:
            cancel()
        elif waiting.event.is_set() and waiting.error is None:
            late(waiting.value)
        raise
    if waiting.error is not None:
        raise waiting.error
    return waiting.value


async def open_runner(fails_at_once: Callable[[], Any], *, thread: bool = False) -> Runner:
    """The shim, when `fails_at_once` (a native call that does, without a network) comes back through it as it should; else,
    or when `thread`, the loop's thread."""
    token = trio.lowlevel.current_trio_token()
    if not thread:
        shim = Shim(token)
        try:
            await wait(shim, fails_at_once, SELF_TEST)
        except (trio.TooSlowError, AttributeError, TypeError, NotImplementedError):
            pass  # it asked for more of a loop than there is
        except Exception:  # noqa: BLE001 - the native side raises plain exceptions: this one was asked for
            return shim
    return LoopThread(token)
