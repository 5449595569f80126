"""Commands on plain keys in a namespace where some hashes are versioned keys: those are hidden from them, as modules' are.

Commands of strings, lists and so on meet a hash and answer WRONGTYPE by themselves; DEL, EXPIRE, DUMP and their kin work on
a hash as on any key. What is left are the commands of hashes, and what tells a key's type.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kvgate_redis.exhash_scripts import REINDEX
from kvgate_redis.exhashes import reserved
from kvgate_redis.exstrings import Request, Rewrite
from kvgate_redis.lua import EXACT, Script, body, exact_integers, store_name

MOST_AT_ONCE: Final = 6000
"""Arguments that Lua hands to a command at once (its limit is about 8,000): more go in several calls of one script."""

# `x` holds the marks of a versioned key
_MARKS: Final = "local k,x=KEYS[1],redis.pcall('HMGET',KEYS[1],$VERSION,$EXHASH)"
_GUARD: Final = _MARKS + " if x[1] or x[2] then return $WRONGTYPE end "

HASH: Final = body(_GUARD, "return redis.pcall(ARGV[1],k,unpack(ARGV,2))")
HASH_MANY: Final = body(
    _GUARD,
    f"""
local n,l,last=0,{{}},nil
for i=2,#ARGV,{MOST_AT_ONCE} do
  local y=redis.pcall(ARGV[1],k,unpack(ARGV,i,math.min(#ARGV,i+{MOST_AT_ONCE - 1})))
  if type(y)=='table' and y.err then return y end
  if type(y)=='number' then n=n+y last=n
  elseif y.ok then last=y
  else for j=1,#y do l[#l+1]=y[j] end last=l end
end
return last
""",
)
HINCRBY: Final = body(
    _GUARD,
    EXACT,
    """
local y=redis.pcall(ARGV[1],k,ARGV[2],ARGV[3])
if type(y)=='table' then return y end
return exact(redis.call('HGET',k,ARGV[2]))
""",
)
TYPE: Final = body(
    _MARKS, "if x[1] then return {ok='exstrtype'} end if x[2] then return {ok='tairhash-'} end return redis.call('TYPE',k)"
)
ENCODING: Final = body(_MARKS, "if x[1] or x[2] then return 'raw' end return redis.pcall(unpack(ARGV))")
# Key 2 is where to; a copy that Redis would not make is refused by it, as that of a module's key
COPY: Final = body(
    _MARKS,
    """
if (x[1] or x[2]) and k~=KEYS[2] and (ARGV[1]=='1' or redis.call('EXISTS',KEYS[2])==0) then
  return {err='ERR not supported for this module key'}
end
return redis.pcall(unpack(ARGV,2))
""",
)
RENAME: Final = body(
    """
local c,a,k=redis.call,KEYS[1],KEYS[2]
local y=redis.pcall(ARGV[1],a,k)
if y==0 or type(y)=='table' and y.err then return y end
if a~=k and redis.pcall('HGET',k,$EXHASH)=='1' then
  local s=$FIELDS..a
  if c('EXISTS',s)==1 then c('RENAME',s,$FIELDS..k) else c('DEL',$FIELDS..k) end
  c('ZADD',$DUE,0,k)
end
return y
"""
)
RESTORE: Final = body(
    """
local c,k=redis.call,KEYS[1]
local y=redis.pcall(unpack(ARGV))
if y.err then return y end
if redis.pcall('HGET',k,$EXHASH)=='1' then
""",
    REINDEX,
    "end return y",
)
TYPES: Final = body(
    """
local r={}
for i=1,#KEYS do
  local x=redis.pcall('HMGET',KEYS[i],$VERSION,$EXHASH)
  r[i]=x[1] and 'exstrtype' or x[2] and 'tairhash-' or 'hash'
end
return r
"""
)
"""Of the keys of many hashes."""


class Guards:
    """The rewriting of these commands for one store."""

    def __init__(self, rename: Mapping[str, str]) -> None:
        """`rename`: upper-case command → its name on the store."""
        self._rename = rename
        self._hash, self._many = Script(HASH, rename), Script(HASH_MANY, rename)
        self._increment, self._rename_script = Script(HINCRBY, rename), Script(RENAME, rename)
        self._restore = Script(RESTORE, rename)
        self._type, self._encoding, self._copy = Script(TYPE, rename), Script(ENCODING, rename), Script(COPY, rename)
        self.commands: Mapping[str, Rewrite] = {
            "TYPE": lambda args: (self._type.on(args[1]), exact_integers),
            "OBJECT|ENCODING": lambda args: (self._encoding.on(args[2], self._named(args)), exact_integers),
            "COPY": self.copy,
            "RENAME": self.rename,
            "RENAMENX": self.rename,
            "RESTORE": lambda args: (self._restore.on(args[1], self._named(args)), exact_integers),
        }

    def _named(self, args: Sequence[bytes]) -> list[bytes]:
        """The arguments, the command by the name that the store has for it."""
        return [store_name(args[0].decode("latin-1").upper(), self._rename), *args[1:]]

    def hash(self, args: Sequence[bytes]) -> Request:
        """Any command of hashes; its key is the first argument."""
        reserved(args)
        name, *rest = self._named(args)
        if name == store_name("HINCRBY", self._rename):
            script = self._increment
        else:
            script = self._hash if len(args) <= MOST_AT_ONCE else self._many
        return script.on(args[1], [name, *rest[1:]]), exact_integers

    def copy(self, args: Sequence[bytes]) -> Request:
        """COPY of a versioned key is refused as that of a module's is."""
        replaces = b"1" if any(arg.upper() == b"REPLACE" for arg in args[3:]) else b""
        return self._copy.of(args[1:3], [replaces, *self._named(args)]), exact_integers

    def rename(self, args: Sequence[bytes]) -> Request:
        """RENAME and RENAMENX: the index of fields that expire goes with the key."""
        return self._rename_script.of(args[1:3], self._named(args)[:1]), exact_integers
