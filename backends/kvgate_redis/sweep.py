"""Sweeping fields of versioned hashes that have expired, where the store does not do that itself.

One gate's worker at a time sweeps a shard; the others look now and then whether it still does. What is due stands in a sorted
set of the store, so that an idle store costs one request a second whatever it holds.
"""

import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

from kvgate.errors import GateError
from kvgate.wire.reply import Error, Reply, decode
from kvgate_redis.exhash_scripts import LOOK_AGAIN_MS
from kvgate_redis.lua import Script, body

log = logging.getLogger("kvgate.sweep")

EVERY: Final = 1.0
"""Seconds between two sweeps of a shard."""
LEASE_MS: Final = 4000
"""So long nobody else sweeps after a sweep; the others look after about so long."""
KEYS_AT_ONCE: Final = 100
FIELDS_AT_ONCE: Final = 100
"""For each key: one run of the script takes well under 10 ms."""

# Arguments: who sweeps. Replies with the number of keys that were looked at, -1 where somebody else sweeps, or nobody can.
SWEEP: Final = body(
    f"""
local c=redis.call
local who=c('GET',$SWEEPER)
if who and who~=ARGV[1] then return -1 end
local y=redis.pcall('SET',$SWEEPER,ARGV[1],'PX',{LEASE_MS})
if y.err then return -1 end -- a replica, or no memory: an error to READONLY would end the connection for everybody
$NOW
local due=c('ZRANGEBYSCORE',$DUE,'-inf',t,'LIMIT',0,{KEYS_AT_ONCE})
for i=1,#due do
  local k=due[i]
  local s=$FIELDS..k
  local again
  if redis.pcall('HGET',k,$EXHASH)=='1' then
    local f=c('ZRANGEBYSCORE',s,'-inf',t,'LIMIT',0,{FIELDS_AT_ONCE})
    local dead={{}}
    for j=1,#f do
      local x=c('HGET',k,f[j])
      local e=x and x:match('^(%d+) %S+ ')
      if e and e~='0' and e+0<=t then dead[#dead+1]=f[j] end
    end
    if #dead>0 then c('HDEL',k,unpack(dead)) end
    if #f>0 then c('ZREM',s,unpack(f)) end
    if c('HLEN',k)==1 then c('DEL',k)
    else again=c('ZRANGE',s,0,0,'WITHSCORES')[2] end
  end
  if again then c('ZADD',$DUE,math.min(again,t+{LOOK_AGAIN_MS}),k)
  else
    c('ZREM',$DUE,k)
    c('DEL',s)
  end
end
return #due
""",
)

Send = Callable[[int, bytes], Awaitable[bytes]]
"""Sends a request to a shard; its raw reply. Raises GateError."""


class Sweeper:
    """Sweeps the shards of one backend."""

    def __init__(self, shards: int, rename: Mapping[str, str], send: Send) -> None:
        """`rename`: upper-case command → its name on the stores."""
        self._request = Script(SWEEP, rename).of((), [secrets.token_hex(8).encode()])
        self._shards = shards
        self._send = send
        self._wanted = trio.Event()
        self._failing: set[int] = set()

    def want(self) -> None:
        """From now on there may be something to sweep."""
        self._wanted.set()

    async def run(self) -> None:
        """Sweep until cancelled, once it is wanted."""
        await self._wanted.wait()
        async with trio.open_nursery() as nursery:
            for shard in range(self._shards):
                nursery.start_soon(self._sweep_shard, shard)

    async def _sweep_shard(self, shard: int) -> None:
        while True:
            swept = await self._sweep(shard)
            if swept == KEYS_AT_ONCE:
                await trio.lowlevel.checkpoint()
            elif swept < 0:
                await trio.sleep(LEASE_MS / 1000 * random.uniform(1, 1.5))  # noqa: S311 - not in step with others
            else:
                await trio.sleep(EVERY)

    async def _sweep(self, shard: int) -> int:
        """The number of keys looked at; -1 when another one sweeps, or the store is away or refuses."""
        try:
            reply: Reply = decode(await self._send(shard, self._request))
        except GateError:
            return -1  # health and clients tell that it is away
        if not isinstance(reply, Error):
            self._failing.discard(shard)
        elif shard not in self._failing:
            self._failing.add(shard)
            log.warning("sweep_failed", extra={"shard": shard, "error": reply.text.decode("utf-8", "replace")})
        return reply if isinstance(reply, int) else -1
