"""Where budgets that several processes share are kept: a Redis (`SharedRedis`), or the parent of the workers (`OfParent`); and
`Fetching`, the task that asks there for what this process' shares want.

One question is about many buckets. Nobody waits for an answer but the commands that have to wait anyway: while the place is
away, shares go by their own part of the rate (kvgate.policy.buckets.Share).
"""

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import attrs
import trio

from kvgate.backend import Endpoint
from kvgate.errors import GateError, ProtocolError
from kvgate.lane.connect import ConnectFailed, Stream, away, connect
from kvgate.lane.tls import TlsError
from kvgate.policy.buckets import Ask, Share, Standing
from kvgate.server.control import Gone
from kvgate.server.fleet import Fleet
from kvgate.wire.measure import Measurer
from kvgate.wire.reply import Error, decode
from kvgate.wire.request import encode_request

log = logging.getLogger("kvgate.rates")

PATIENCE: Final = 0.1
"""Seconds for an answer; a store that takes longer is away, so that commands go by the local share within their time."""
SOON: Final = 0.05
"""Seconds for a connection before commands go by the local share."""
CONNECT: Final = 0.5
AGAIN, LONGEST = 0.1, 1.0
"""Seconds before a place that is away is asked again, doubled each time."""
PAUSE, LONGEST_PAUSE = 0.005, 0.05
"""Seconds between two questions while less was there than is wanted."""
MOST: Final = 200
"""Buckets in one question: a question keeps the store busy for half a millisecond at most."""
MEMBER: Final = 10.0
"""Seconds after its last question that a process counts as one of those who share."""

SCRIPT: Final = b"""
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]) * 1000000)
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]) * 1000)
local answer = {string.format('%.0f', now), redis.call('ZCARD', KEYS[1])}
for n = 2, #KEYS do
  local at = 3 + (n - 2) * 4
  local rate, capacity = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local want, owed = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local level, since = capacity, now
  local kept = redis.call('GET', KEYS[n])
  if kept then
    local found, time = string.match(kept, '^(%S+) (%S+)$')
    if found then level, since = tonumber(found), tonumber(time) end
  end
  if now > since then level = level + (now - since) / 1000000 * rate end
  level = math.min(level, capacity)
  level = math.max(level - owed, -capacity)
  local granted = math.max(0, math.min(want, level))
  level = level - granted
  local full = math.ceil((capacity - level) / rate * 1000) + 1000
  redis.call('SET', KEYS[n], string.format('%.17g %.0f', level, math.max(now, since)), 'PX', string.format('%.0f', full))
  answer[n + 1] = string.format('%.17g', granted)
end
return answer
"""
"""kvgate.policy.buckets.Pool.take, by the store's clock. KEYS: who shares, then the buckets. ARGV: this process, `MEMBER`,
then rate, capacity, want and owed of each bucket. Answers the time in microseconds, the number of processes, and each grant.
A bucket that is not there is full: so each is kept for as long as it may not be."""


class Away(Exception):  # noqa: N818 - what happened
    """The place cannot be asked now; `why` is one clause without secrets."""

    def __init__(self, why: str) -> None:
        """Keep `why`."""
        super().__init__(why)
        self.why = why


class Place(Protocol):
    """Where shared buckets are kept."""

    name: str
    """For logs."""

    @property
    def connected(self) -> bool:
        """Whether it can be asked at once."""

    async def take(self, asks: Sequence[Ask]) -> tuple[list[float], int]:
        """What each bucket gives, and how many processes share. Raises `Away`."""

    def close(self) -> None:
        """Ask no more."""


class OfParent:
    """Budgets that the workers of one gate share."""

    name = "the parent process"
    connected = True

    def __init__(self, fleet: Fleet) -> None:
        """Through the channel to the parent."""
        self._fleet = fleet

    async def take(self, asks: Sequence[Ask]) -> tuple[list[float], int]:
        """See `Place`."""
        try:
            return await self._fleet.budget(asks, PATIENCE)
        except (Gone, GateError):
            raise Away("no answer") from None

    def close(self) -> None:
        """See `Place`."""


class SharedRedis:
    """Budgets that several gates share, in a Redis."""

    def __init__(self, endpoint: Endpoint, prefix: str) -> None:
        """Connect at the first question; `prefix` begins all keys."""
        self.name = endpoint.url
        self._endpoint = endpoint
        self._tag = f"{{{prefix}}}"  # one hash slot, wherever that matters
        self._member = secrets.token_hex(8).encode()
        self._stream: Stream | None = None

    @property
    def connected(self) -> bool:
        """See `Place`."""
        return self._stream is not None

    async def take(self, asks: Sequence[Ask]) -> tuple[list[float], int]:
        """See `Place`."""
        granted, members, _ = await self.ask(asks)
        return granted, members

    async def ask(self, asks: Sequence[Ask]) -> tuple[list[float], int, int]:
        """What each bucket gives, how many processes share, and the store's clock in microseconds. Raises `Away`."""
        try:
            if self._stream is None:
                self._stream = (await connect(self._endpoint, proto=2, name="kvgate-rates", timeout=CONNECT)).stream
            with trio.fail_after(PATIENCE):
                await self._stream.send_all(self._question(asks))
                answer = await _reply(self._stream)
            if not isinstance(answer, list) or len(answer) != len(asks) + 2:
                text = answer.text if isinstance(answer, Error) else b"another reply than expected"
                raise Away(text.decode("utf-8", "replace"))
            time_, members, *granted = answer
            return [float(each) for each in granted], int(members), int(float(time_))
        except Away:
            raise
        except (ConnectFailed, GateError) as error:
            raise Away(away(self._endpoint, error)) from None
        except trio.TooSlowError:
            self.close()
            raise Away(f"no answer within {PATIENCE} s") from None
        except (OSError, TlsError, ProtocolError, ValueError, trio.ClosedResourceError) as error:
            self.close()
            raise Away(str(error) or "the connection ended") from None
        except BaseException:  # what comes on this connection now would be another question's answer
            self.close()
            raise

    def _question(self, asks: Sequence[Ask]) -> bytes:
        keys = [f"{self._tag}:members", *(f"{self._tag}:{key}" for key, *_ in asks)]
        numbers = [b"%r" % number for _, *numbers in asks for number in numbers]
        start = [b"EVAL", SCRIPT, b"%d" % len(keys)]
        names = [key.encode("utf-8", "surrogateescape") for key in keys]
        return encode_request([*start, *names, self._member, b"%r" % MEMBER, *numbers])

    def close(self) -> None:
        """See `Place`."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


async def _reply(stream: Stream) -> object:
    measurer, data = Measurer(), bytearray()
    while True:
        more = await stream.receive_some()
        if not more:
            raise ConnectionResetError("it closed the connection")
        data += more
        if measurer.feed(more, 0) >= 0:
            return decode(bytes(data))


@attrs.define(slots=True, eq=False)
class _Wish:
    share: Share
    queued: Callable[[], float]
    not_before: float = 0.0


class Fetching:
    """Asks a place for what shares want, as long as some do."""

    def __init__(self, place: Place, standing: Standing, came: Callable[[Iterable[str]], None]) -> None:
        """`came` is told the keys whose shares may have another level now."""
        self.place = place
        self.standing = standing
        self.failures = 0
        """Questions that were not answered."""
        self._came = came
        self._wishes: dict[str, _Wish] = {}
        self._new = trio.Event()
        self._scope = trio.CancelScope()
        self._said = False

    def hungry(self, key: str, share: Share, queued: Callable[[], float]) -> None:
        """The share may want more; `queued` tells how many tokens commands wait for."""
        if key not in self._wishes:
            self._wishes[key] = _Wish(share, queued)
            self._new.set()

    def stop(self) -> None:
        """End the task, and the connection."""
        self._scope.cancel()

    async def run(self) -> None:
        """Ask until stopped."""
        pause = AGAIN
        with self._scope:
            try:
                while True:
                    chosen = self._choose(time.monotonic())
                    if not chosen and not self.standing.away:
                        await self._until_somebody_wants()
                        continue
                    try:
                        await self._ask(chosen)
                    except Away as error:
                        self._gone(error.why)
                    except Exception as error:  # else nothing would be fetched any more
                        log.exception("shared_rates_failed", extra={"error": repr(error), "do": "report this"})
                        self._gone("the gate failed inside")
                    else:
                        pause = AGAIN
                        continue
                    await trio.sleep(pause)
                    pause = min(2 * pause, LONGEST)
            finally:
                self.place.close()

    def _choose(self, now: float) -> list[tuple[str, _Wish, float]]:
        """Whose turn it is, and what each wants; who wants nothing any more is forgotten, but while the place is away not
        what it owes."""
        chosen = []
        for key, wish in list(self._wishes.items()):
            if wish.not_before > now:
                continue
            want = wish.share.want(wish.queued(), now)
            if want or (self.standing.away and wish.share.owed):
                chosen.append((key, wish, want))
                if len(chosen) == MOST:
                    break
            else:
                del self._wishes[key]
        return chosen

    async def _until_somebody_wants(self) -> None:
        self._new = trio.Event()
        at = min((wish.not_before for wish in self._wishes.values()), default=math.inf)
        with trio.move_on_after(max(0.0, at - time.monotonic())):
            await self._new.wait()

    async def _ask(self, chosen: list[tuple[str, _Wish, float]]) -> None:
        """One question. Who gets less than it wants asks again a little later."""
        asks = [(key, wish.share.rate, wish.share.capacity, want, wish.share.owed) for key, wish, want in chosen]
        answer: tuple[list[float], int] | Away
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._go_by_themselves)
            try:
                answer = await self.place.take(asks)
            except Away as error:
                answer = error
            nursery.cancel_scope.cancel()
        if isinstance(answer, Away):
            raise answer
        granted, members = answer
        self._back(members)
        now = time.monotonic()
        for (key, wish, want), ask, amount in zip(chosen, asks, granted, strict=True):
            wish.share.granted(amount, want, ask[4], now)
            del self._wishes[key]
            missing = wish.share.want(wish.queued(), now)
            if missing:
                wish.not_before = now + min(max(missing / wish.share.rate / 4, PAUSE), LONGEST_PAUSE)
                self._wishes[key] = wish  # behind the others
        self._came(key for key, _, _ in chosen)

    async def _go_by_themselves(self) -> None:
        """As far as commands are concerned, a place that takes long to connect to is away."""
        await trio.sleep(SOON)
        if not self.place.connected and not self.standing.away:
            self.standing.away = True
            self._came(list(self._wishes))

    def _gone(self, why: str) -> None:
        self.failures += 1
        if not self._said:
            self._said = True
            facts = {"store": self.place.name, "why": why, "do": "each process goes by its own part of the rates meanwhile"}
            log.warning("shared_rates_away", extra=facts)
        self.standing.away = True
        self._came(list(self._wishes))

    def _back(self, members: int) -> None:
        if self._said:
            self._said = False
            log.warning("shared_rates_back", extra={"store": self.place.name})
        self.standing.members = max(1, members)
        self.standing.away = False
