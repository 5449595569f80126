"""The scripts of versioned hashes (TairHash): a Redis hash whose fields hold ``expiry version value``, and one marker.

The expiry is Unix time in ms, 0 without one; a field is gone at its millisecond for every script, by the store's clock.
For what goes by time alone (counting living fields, sweeping) a hash with such fields has a sorted set beside it, and the
store one of all such hashes; both are made again or thrown away by the sweep when the key was renamed, deleted or replaced.
"""

from typing import Final

from kvgate_redis.lua import EXACT, LESS, body

LOOK_AGAIN_MS: Final = 3_600_000
"""A key with fields that expire is looked at so often even if none is due: by then the index of a deleted one is gone."""

_KEY: Final = "local k,c=KEYS[1],redis.call "
# `h` is the marker, false when there is no key; another type has been answered
_HEAD: Final = (
    _KEY
    + """
local h=redis.pcall('HGET',k,$EXHASH)
if type(h)=='table' then return h end
if not h and c('EXISTS',k)==1 then return $WRONGTYPE end
local s=$FIELDS..k
"""
)
# `get` gives value, version and expiry of a stored field, nothing once it has expired
_GET: Final = """
local t
local function now()
  if not t then t=c('TIME') t=t[1]*1000+math.floor(t[2]/1000) end
  return t
end
local function get(x)
  if not x then return end
  local e,n,p=x:match('^(%d+) (%S+) ()')
  if e~='0' and e+0<=now() then return end
  return x:sub(p),n,e
end
"""
_FIELD: Final = "local f=ARGV[1] local x=c('HGET',k,f) local v,n,e=get(x) "
# Whether every field has expired, which is as if there were no key
_GONE: Final = """
local function gone()
  return not h or h=='1' and c('HLEN',k)-1<=c('ZCOUNT',s,'-inf',now())
end
"""
# `put` stores a field, or removes it when it has no time left; `o` is what was stored before. `done` ends every write.
_PUT: Final = f"""
local function put(f,v,n,z,o)
  if z~='0' and z+0<=now() then
    c('HDEL',k,f)
    z='0'
  else c('HSET',k,f,z..' '..n..' '..v) end
  if not h then c('HSET',k,$EXHASH,0) h='0' end
  if z~='0' then
    if h=='0' then c('DEL',s) c('HSET',k,$EXHASH,1) h='1' end
    c('ZADD',s,z,f)
    local u=math.min(z,now()+{LOOK_AGAIN_MS})
    local w=c('ZSCORE',$DUE,k)
    if not w or w+0>u then c('ZADD',$DUE,u,k) end
  elseif o and o:sub(1,2)~='0 ' then c('ZREM',s,f) end
end
local function done(r)
  if c('HLEN',k)==1 then c('DEL',k,s) end
  return r
end
"""
_FOLLOWING: Final = """
local function following(n)
  if not n then return '1' end
  if #n<15 then return string.format('%.0f',n+1) end
  if n==$HIGHEST then return $LOWEST end
  c('HSET',k,$SCRATCH,n)
  c('HINCRBY',k,$SCRATCH,1)
  n=c('HGET',k,$SCRATCH)
  c('HDEL',k,$SCRATCH)
  return n
end
"""
# The new version `w` by VER, ABS or GT (argument `i`) and its number (`i+1`); the expiry `z` by arguments `j` and `j+1`
_GUARD: Final = """
local a,w=ARGV[{0}],ARGV[{0}+1]
if v and (a=='VER' and n~=w or a=='GT' and not less(n,w)) then return $STALE end
"""
_VERSION: Final = "if a=='' or a=='VER' then w=following(n) end "
_EXPIRY: Final = """
local z=ARGV[{0}+1]
if ARGV[{0}]=='KEEP' then z=e or '0' elseif ARGV[{0}]=='IN' then z=string.format('%.0f',now()+z) end
"""
_WRITE: Final = _HEAD + _GET + _PUT + _FOLLOWING

EXHSET: Final = body(
    _WRITE,
    LESS,
    _FIELD,
    "if v and ARGV[7]=='NX' or not v and ARGV[7]=='XX' then return -1 end",
    _GUARD.format(5),
    _VERSION,
    _EXPIRY.format(3),
    "put(f,ARGV[2],w,z,x) return done(v and 0 or 1)",
)
EXHSETNX: Final = body(
    _HEAD, _GET, _PUT, _FIELD, "if v then return 0 end put(f,ARGV[2],'0','0',x) return 1"
)
EXHMSET: Final = body(
    _WRITE,
    """
for i=1,#ARGV,2 do
  local x=c('HGET',k,ARGV[i])
  local v,n,e=get(x)
  put(ARGV[i],ARGV[i+1],following(n),e or '0',x)
end
return {ok='OK'}
""",
)
EXHMSETWITHOPTS: Final = body(
    _WRITE,
    """
for i=2,#ARGV,4 do
  local v,n=get(c('HGET',k,ARGV[i]))
  if v and ARGV[i+2]~='0' and ARGV[i+2]~=n then return $STALE end
end
if ARGV[1]~='' then return {err=ARGV[1]} end
for i=2,#ARGV,4 do
  local x=c('HGET',k,ARGV[i])
  local v,n=get(x)
  put(ARGV[i],ARGV[i+1],following(n),string.format('%.0f',now()+ARGV[i+3]),x)
end
return done({ok='OK'})
""",
)
EXHEXPIRE: Final = body(
    _WRITE,
    LESS,
    _FIELD,
    "if not v then return 0 end",
    _GUARD.format(4),
    _VERSION,
    _EXPIRY.format(2),
    "put(f,v,w,z,x) return done(1)",
)
EXHPERSIST: Final = body(
    _HEAD, _GET, _PUT, _FIELD, "if not v or e=='0' then return 0 end put(f,v,n,'0',x) return 1"
)
EXHSETVER: Final = body(
    _HEAD, _GET, _PUT, _FIELD, "if not v then return 0 end put(f,v,ARGV[2],e,x) return 1"
)
# Arguments: field, number, expiry (2), version (2), MIN, MAX, command, its error, whether it must fail; of a
# float also whether it does so where there is no field
EXHINCRBY: Final = body(
    _WRITE,
    LESS,
    EXACT,
    _FIELD,
    """
c('HSET',k,$SCRATCH,v or '0')
local y=redis.pcall(ARGV[9],k,$SCRATCH,ARGV[2])
local bad=type(y)=='table' and y.err
if not bad then y=c('HGET',k,$SCRATCH) end
c('HDEL',k,$SCRATCH)
local beyond=bad and (bad:find('overflow') or bad:find('Infinity'))
if bad and not beyond then return bad:find('is not a') and {err=ARGV[10]} or y end
""",
    _GUARD.format(5),
    """
if beyond or ARGV[11]=='1' or not v and ARGV[12]=='1' then return $BEYOND end
if (v or not ARGV[12]) and (ARGV[7]~='' and less(y,ARGV[7]) or ARGV[8]~='' and less(ARGV[8],y)) then return $BEYOND end
""",
    _VERSION,
    _EXPIRY.format(3),
    "put(f,y,w,z,x) done() if ARGV[9]=='HINCRBY' then return exact(y) end return y",
)
EXHGET: Final = body(_HEAD, _GET, _FIELD, "return v or false")
EXHGETWITHVER: Final = body(_HEAD, _GET, EXACT, _FIELD, "return v and {v,exact(n)} or false")
EXHMGET: Final = body(
    _HEAD, _GET, "local r={} for i=1,#ARGV do r[i]=get(c('HGET',k,ARGV[i])) or false end return r"
)
EXHMGETWITHVER: Final = body(
    _HEAD,
    _GET,
    EXACT,
    """
local r={}
for i=1,#ARGV do
  local v,n=get(c('HGET',k,ARGV[i]))
  r[i]=v and {v,exact(n)} or false
end
return r
""",
)
# Argument: what of each field: F, V, FV, FVN
EXHGETALL: Final = body(
    _HEAD,
    _GET,
    EXACT,
    """
local a,r,d=ARGV[1],{},c('HGETALL',k)
for i=1,#d,2 do
  if d[i]~=$EXHASH then
    local v,n=get(d[i+1])
    if v then
      if a~='V' then r[#r+1]=d[i] end
      if a~='F' then r[#r+1]=v end
      if a=='FVN' then r[#r+1]=exact(n) end
    end
  end
end
return r
""",
)
EXHLEN: Final = body(
    _HEAD,
    """
if not h then return 0 end
local n=c('HLEN',k)-1
if h=='0' then return n end
$NOW
return n-c('ZCOUNT',s,'-inf',t)
""",
)
EXHEXISTS: Final = body(_HEAD, _GET, _FIELD, "return v and 1 or 0")
EXHSTRLEN: Final = body(_HEAD, _GET, _FIELD, "return v and #v or 0")
EXHVER: Final = body(_HEAD, _GET, _GONE, EXACT, _FIELD, "if v then return exact(n) end return gone() and -1 or -2")
# Argument 2: 1000 for seconds, rounded
EXHTTL: Final = body(
    _HEAD,
    _GET,
    _GONE,
    EXACT,
    _FIELD,
    """
if not v then return gone() and -2 or -3 end
if e=='0' then return -1 end
return exact(string.format('%.0f',math.floor((e-now())/ARGV[2]+(ARGV[2]=='1' and 0 or 0.5))))
""",
)
EXHDEL: Final = body(
    _HEAD,
    _GET,
    """
if not h then return 0 end
local a=0
for i=1,#ARGV do
  local x=c('HGET',k,ARGV[i])
  if x then
    if get(x) then a=a+1 end
    c('HDEL',k,ARGV[i])
    if x:sub(1,2)~='0 ' then c('ZREM',s,ARGV[i]) end
  end
end
if c('HLEN',k)==1 then c('DEL',k,s) end
return a
""",
)
EXHDELWITHVER: Final = body(
    _HEAD,
    _GET,
    """
if not h then return 0 end
if ARGV[1]~='' then return {err=ARGV[1]} end
local a=0
for i=2,#ARGV,2 do
  local x=c('HGET',k,ARGV[i])
  local v,n=get(x)
  if v and (ARGV[i+1]=='0' or ARGV[i+1]==n) then
    a=a+1
    c('HDEL',k,ARGV[i])
    if x:sub(1,2)~='0 ' then c('ZREM',s,ARGV[i]) end
  end
end
if c('HLEN',k)==1 then c('DEL',k,s) end
return a
""",
)
EXHSCAN: Final = body(
    _HEAD,
    _GET,
    """
if not h then return {{ok='0'},{}} end
local d=c('HSCAN',k,unpack(ARGV))
local r,l={},d[2]
for i=1,#l,2 do
  if l[i]~=$EXHASH then
    local v=get(l[i+1])
    if v then r[#r+1]=l[i] r[#r+1]=v end
  end
end
return {d[1],r}
""",
)
REFUSE: Final = body(_HEAD, "return {err=ARGV[1]}")
# The fields' index of a key whose data came in another way (RESTORE) is made again: `k` is the key, `c` redis.call
REINDEX: Final = """
local s=$FIELDS..k
c('DEL',s)
local d=c('HGETALL',k)
for i=1,#d,2 do
  local e=d[i+1]:match('^(%d+) %S+ ')
  if e and e~='0' and d[i]~=$EXHASH then c('ZADD',s,e,d[i]) end
end
c('ZADD',$DUE,0,k)
"""
