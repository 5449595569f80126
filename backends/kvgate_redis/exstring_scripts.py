"""The scripts of versioned strings (TairString): a Redis hash of two or three fields: value, version, and flags if not 0.

Their arguments are empty where nothing was said. They look at the type of the key first; what is wrong with the request, but
is said only after that, is told to a script as the error to answer (`REFUSE`).
"""

from typing import Final

from kvgate_redis.lua import EXACT, LESS, body

# `n` is the version, false when there is no key; another type has been answered
_HEAD: Final = """
local k,c,n=KEYS[1],redis.call,redis.pcall('HGET',KEYS[1],$VERSION)
if type(n)=='table' then return n end
if not n and c('EXISTS',k)==1 then return $WRONGTYPE end
"""
# Store `v` under the following version, or the version `m`; `m` is the new one afterwards. Short numbers need no HINCRBY.
_SAVE: Final = """
m=m or (not n and 1 or #n<15 and n+1)
if m then c('HSET',k,$VALUE,v,$VERSION,m)
else
  c('HSET',k,$VALUE,v)
  if n==$HIGHEST then c('HSET',k,$VERSION,$LOWEST) else c('HINCRBY',k,$VERSION,1) end
  m=c('HGET',k,$VERSION)
end
"""
# Expiry: arguments `i` and `i+1` are a command and its milliseconds
_EXPIRE: Final = """
local x=ARGV[{0}]
if x=='PERSIST' then if n then c(x,k) end elseif x~='' then c(x,k,ARGV[{0}+1]) end
"""
_VERSION_OF: Final = "local m=ARGV[{0}]~='' and ARGV[{0}] or nil"

EXSET_PLAIN: Final = body(_HEAD, "local v,m=ARGV[1]", _SAVE, "if n then c('PERSIST',k) end return {ok='OK'}")
EXSET: Final = body(
    _HEAD,
    EXACT,
    """
if n and ARGV[4]=='NX' or not n and ARGV[4]=='XX' then return false end
if n and ARGV[2]~='' and ARGV[2]~=n then return $STALE end
local v=ARGV[1]
""",
    _VERSION_OF.format(3),
    _SAVE,
    """
local f=ARGV[7]
if f=='0' then c('HDEL',k,$FLAGS) elseif f~='' then c('HSET',k,$FLAGS,f) end
""",
    _EXPIRE.format(5),
    "if ARGV[8]=='1' then return exact(m) end return {ok='OK'}",
)
EXSETVER: Final = body(
    _HEAD,
    "if not n then return 0 end if ARGV[2] then return {err=ARGV[2]} end c('HSET',k,$VERSION,ARGV[1]) return 1",
)
EXINCRBY: Final = body(
    _HEAD,
    EXACT,
    LESS,
    """
local s,o,v=ARGV[1],ARGV[4]
if n and o=='NX' or not n and o=='XX' then return false end
o=c('HGET',k,$VALUE)
if n then
  local e=redis.pcall('HINCRBY',k,$VALUE,s)
  local bad=type(e)=='table'
  if bad and e.err:find('is not a') then return {err='ERR value is not an integer'} end
  if bad and not e.err:find('overflow') then return e end
  if ARGV[2]~='' and ARGV[2]~=n then
    if not bad then c('HSET',k,$VALUE,o) end
    return $STALE
  end
  if bad then return $BEYOND end
  v=c('HGET',k,$VALUE)
else v=ARGV[9]~='' and ARGV[9] or s end
if (n or ARGV[9]=='') and (ARGV[7]~='' and less(v,ARGV[7]) or ARGV[8]~='' and less(ARGV[8],v)) then
  if n then c('HSET',k,$VALUE,o) end
  return $BEYOND
end
if ARGV[10]=='1' and v:byte()==45 then v='0' end
""",
    _VERSION_OF.format(3),
    _SAVE,
    _EXPIRE.format(5),
    "if ARGV[11]=='1' then return {exact(v),exact(m)} end return exact(v)",
)
EXINCRBYFLOAT: Final = body(
    _HEAD,
    LESS,
    """
local s,o,f=ARGV[1],ARGV[4],ARGV[9]=='1'
if n and o=='NX' or not n and o=='XX' then return false end
o=c('HGET',k,$VALUE)
local function undo() if n then c('HSET',k,$VALUE,o) else c('DEL',k) end end
local v=redis.pcall('HINCRBYFLOAT',k,$VALUE,s)
if type(v)=='table' then
  if v.err:find('is not a') then return {err='ERR value is not a float'} end
  if not v.err:find('Infinity') then return v end
  f=true
end
if n and ARGV[2]~='' and ARGV[2]~=n then undo() return $STALE end
if n then f=f or ARGV[7]~='' and less(v,ARGV[7]) or ARGV[8]~='' and less(ARGV[8],v) else f=f or ARGV[10]=='1' end
if f then undo() return $BEYOND end
""",
    _VERSION_OF.format(3),
    _SAVE,
    _EXPIRE.format(5),
    "return v",
)
EXCAS: Final = body(
    _HEAD,
    EXACT,
    """
if not n then return -1 end
if n~=ARGV[2] then return {{ok='CAS_FAILED'},c('HGET',k,$VALUE),exact(n)} end
local v,m=ARGV[1]
""",
    _SAVE,
    _EXPIRE.format(3),
    "return {{ok='OK'},{ok=''},exact(m)}",
)
EXCAD: Final = body(
    _HEAD, "if not n then return -1 end if n~=ARGV[1] then return 0 end c('DEL',k) return 1"
)
EXTEND: Final = body(
    EXACT,
    """
local k,c=KEYS[1],redis.call
local n=redis.pcall('HGET',k,$VERSION)
local there=n or c('EXISTS',k)==1
if there and ARGV[2]=='NX' or not there and ARGV[2]=='XX' then return false end
if type(n)=='table' then return n end
if there and not n then return $WRONGTYPE end
if n and ARGV[3]~='' and ARGV[3]~=n then return $STALE end
local o,v=n and c('HGET',k,$VALUE) or '',ARGV[1]
if #o+#v>536870912 then return {err='ERR append buffer failed'} end
if ARGV[5]=='1' then v=v..o else v=o..v end
""",
    _VERSION_OF.format(4),
    _SAVE,
    "return exact(m)",
)
EXGAE: Final = body(
    _HEAD,
    EXACT,
    """
if not n then return false end
local r=c('HMGET',k,$VALUE,$FLAGS)
c(ARGV[1],k,ARGV[2])
return {r[1],exact(n),tonumber(r[2] or 0)}
""",
)
REFUSE: Final = body(_HEAD, "return {err=ARGV[1]}")
