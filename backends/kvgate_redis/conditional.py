"""Writes on the condition that a plain string has a value, for stores that lack them: CAS, CAD, DELIFEQ, DELEX, SET … IFEQ."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from kvgate.errors import GateError, wrong_arity
from kvgate.model.exstring_options import EXCAS, parse
from kvgate.model.options import option, set_options
from kvgate.wire.request import encode_request
from kvgate_redis.exstrings import Request, Rewrite, expiry
from kvgate_redis.lua import Script, body, exact_integers, store_name

_HEAD: Final = "local k,c=KEYS[1],redis.call local v=redis.pcall('GET',k)if type(v)=='table' then return v end "

CAS: Final = body(
    _HEAD,
    """
if not v then return -1 end
if v~=ARGV[1] then return 0 end
local x=ARGV[3]
if x=='' then c('SET',k,ARGV[2],'KEEPTTL') return 1 end
c('SET',k,ARGV[2])
if x~='PERSIST' then c(x,k,ARGV[4]) end
return 1
""",
)
# Argument 2: the reply for a missing key
CAD: Final = body(_HEAD, "if not v then return tonumber(ARGV[2]) end if v~=ARGV[1] then return 0 end return c('DEL',k)")
# Arguments: IFEQ or IFNE and a value, or another word and an error
DELEX: Final = body(
    "local k,c=KEYS[1],redis.call if c('EXISTS',k)==0 then return 0 end",
    _HEAD,
    """
if ARGV[1]=='' then return {err=ARGV[2]} end
if (v==ARGV[2])~=(ARGV[1]=='IFEQ') then return 0 end
return c('DEL',k)
""",
)
# Arguments: the value that must be there, whether the old one is the reply, then what SET takes behind the key
SET: Final = body(
    _HEAD,
    """
local o=ARGV[2]=='1' and v or false
if v~=ARGV[1] then return o end
c('SET',k,unpack(ARGV,3))
return ARGV[2]=='1' and o or {ok='OK'}
""",
)

_WRONG_CONDITION: Final = b"ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"
NO_DIGESTS: Final = "ERR the gate computes no digests (IFDEQ, IFDNE): use IFEQ or IFNE"


class Conditional:
    """The rewriting of these commands for one store."""

    def __init__(self, rename: Mapping[str, str]) -> None:
        """`rename`: upper-case command → its name on the store."""
        self._cas, self._cad = Script(CAS, rename), Script(CAD, rename)
        self._delex, self._set = Script(DELEX, rename), Script(SET, rename)
        self._del = store_name("DEL", rename)
        self.commands: Mapping[str, Rewrite] = {
            "CAS": self.cas,
            "CAD": lambda args: (self._cad.on(args[1], [args[2], b"-1"]), exact_integers),
            "DELIFEQ": lambda args: (self._cad.on(args[1], [args[2], b"0"]), exact_integers),
            "DELEX": self.delex,
        }

    def cas(self, args: Sequence[bytes]) -> Request:
        """``CAS key old new …``."""
        command, ms = expiry(parse(list(args), 4, EXCAS))
        return self._cas.on(args[1], [args[2], args[3], command, ms]), exact_integers

    def delex(self, args: Sequence[bytes]) -> Request:
        """``DELEX key [IFEQ | IFNE value]``."""
        if len(args) not in (2, 4):
            raise wrong_arity("delex")
        if len(args) == 2:
            return encode_request([self._del, args[1]]), exact_integers
        word = args[2].upper()
        if word in (b"IFDEQ", b"IFDNE"):
            raise GateError(NO_DIGESTS)
        known = word in (b"IFEQ", b"IFNE")
        return self._delex.on(args[1], [word, args[3]] if known else [b"", _WRONG_CONDITION]), exact_integers

    def set(self, args: Sequence[bytes]) -> Request | None:
        """``SET key value … IFEQ old …``; None for a SET without it, or with options that the store is to refuse."""
        if all(option(arg) != b"IFEQ" for arg in args[3:]):
            return None
        options = set_options(list(args))
        if options.equals is None:
            return None  # the word was an option's value
        options.expires("set", int(time.time() * 1000))
        rest = [args[2]]
        if options.unit:
            rest += [options.unit, options.time]
        elif options.keep_ttl:
            rest.append(b"KEEPTTL")
        return self._set.on(args[1], [options.equals, b"1" if options.get else b"", *rest]), exact_integers
