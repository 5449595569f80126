"""GATE LOCK, EXTEND and UNLOCK on a store that speaks the Redis protocol: one script each, on a plain string."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from kvgate.model.locks import lock_expiry
from kvgate_redis.conditional import CAD
from kvgate_redis.exstrings import Request, Rewrite
from kvgate_redis.lua import FENCE, Script, body, exact_integers

# Key 2 is the fence's, without an expiry: a counter that never lags behind the store's clock in microseconds, which a double
# holds until 2255. So fences grow even when the counter was lost or set back (FLUSHALL, a replica that lags), as long as
# clocks do. It is bumped first: when that fails, there is no lock.
LOCK: Final = body(
    """
local k,c=KEYS[1],redis.call
local v=redis.pcall('GET',k)
if v then return type(v)=='table' and v or false end
local f,t=c('INCR',KEYS[2]),c('TIME')
t=t[1]*1000000+t[2]
if f<t then
  f=t
  c('SET',KEYS[2],string.format('%.0f',f))
end
c('SET',k,ARGV[1],'PX',ARGV[2])
return {ARGV[1],f}
"""
)
EXTEND: Final = body(
    """
local k=KEYS[1]
local v=redis.pcall('GET',k)
if type(v)=='table' then return v end
if not v then return -1 end
if v~=ARGV[1] then return 0 end
return redis.call('PEXPIRE',k,ARGV[2])
"""
)


class Locks:
    """The rewriting of these commands for one store."""

    def __init__(self, rename: Mapping[str, str]) -> None:
        """`rename`: upper-case command → its name on the store."""
        self._lock, self._extend, self._unlock = Script(LOCK, rename), Script(EXTEND, rename), Script(CAD, rename)
        self.commands: Mapping[str, Rewrite] = {
            "GATE|LOCK": self.lock,
            "GATE|EXTEND": self.extend,
            "GATE|UNLOCK": lambda args: (self._unlock.on(args[2], [args[3], b"-1"]), exact_integers),
        }

    def lock(self, args: Sequence[bytes]) -> Request:
        """``GATE LOCK name token PX milliseconds``."""
        lock_expiry(args, "gate|lock", int(time.time() * 1000))
        return self._lock.of([args[2], FENCE], [args[3], args[5]]), exact_integers

    def extend(self, args: Sequence[bytes]) -> Request:
        """``GATE EXTEND name token PX milliseconds``."""
        lock_expiry(args, "gate|extend", int(time.time() * 1000))
        return self._extend.on(args[2], [args[3], args[5]]), exact_integers
