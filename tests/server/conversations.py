"""What clients say, for comparing the gate with a real server: every command with keys, and sessions on one connection.

A key is written ``@name`` and becomes ``Ads.P:{t}name``: the tag keeps all on one shard wherever there are several.
"""

from typing import Final

Line = tuple[bytes, ...]


def say(text: str) -> Line:
    """Words to arguments; ``@name`` becomes the key ``Ads.P:{t}name``."""
    return tuple(b"Ads.P:{t}" + word[1:].encode() if word.startswith("@") else word.encode() for word in text.split())


def lines(text: str) -> list[Line]:
    """One request for each line that is not empty."""
    return [say(line) for line in text.splitlines() if line.strip()]


STRINGS: Final = lines("""
    SET @s hello
    SET @s again NX
    SET @s again XX GET
    SET @s hello KEEPTTL
    SET @s x EX 0
    SET @s x EX 10 PX 10
    SET @s x BAD
    GET @s
    GET @none
    APPEND @s -more
    STRLEN @s
    GETRANGE @s 0 3
    SUBSTR @s 1 2
    SETRANGE @s 2 XY
    SETRANGE @s -1 XY
    GETSET @s new
    GETEX @s PERSIST
    GETEX @s EX 0
    GETDEL @s
    GETDEL @s
    SET @n 10
    INCR @n
    INCRBY @n 5
    DECR @n
    DECRBY @n 3
    INCRBYFLOAT @n 1.5
    INCR @n
    INCRBYFLOAT @n nan
    SETNX @n 1
    SETNX @fresh 1
    SETEX @e 1000 v
    SETEX @e 0 v
    PSETEX @e 1000000 v
    MSET @a 1 @b 2 @c 3
    MSET @a 1 @b
    MGET @a @b @none @c @a
    MSETNX @a 9 @z 9
    MSETNX @y 8 @z 9
    MSETNX @y 8 @z
    LCS @a @b
    SET @l1 ohmytext
    SET @l2 mynewtext
    LCS @l1 @l2
    LCS @l1 @l2 LEN
    LCS @l1 @l2 IDX
    LCS @l1 @l2 IDX MINMATCHLEN 4 WITHMATCHLEN
    SETBIT @bits 7 1
    SETBIT @bits 100 1
    SETBIT @bits -1 1
    GETBIT @bits 7
    BITCOUNT @bits
    BITCOUNT @bits 0 0
    BITCOUNT @bits 0 7 BIT
    BITPOS @bits 1
    BITPOS @bits 1 2 -1 BYTE
    BITOP AND @bits2 @bits @bits
    BITOP NOT @bits2 @bits @bits
    BITOP OR @bits2 @bits @n
    BITFIELD @bits INCRBY u2 100 1 OVERFLOW FAIL GET u4 0
    BITFIELD @bits OVERFLOW FAIL INCRBY u2 102 3
    BITFIELD_RO @bits GET u8 0
    BITFIELD_RO @bits SET u8 0 1
    PFADD @h1 a b c
    PFADD @h1 a
    PFADD @h2 c d
    PFCOUNT @h1
    PFCOUNT @h1 @h2
    PFMERGE @h3 @h1 @h2
    PFCOUNT @h3
""")

HASHES: Final = lines("""
    HSET @h f1 v1 f2 v2 n 10
    HSET @h f1 v1 f2
    HSETNX @h f1 other
    HSETNX @h f3 v3
    HGET @h f1
    HGET @h none
    HMGET @h f1 none n
    HMSET @h m1 1 m2 2
    HGETALL @h
    HGETALL @none
    HKEYS @h
    HVALS @h
    HLEN @h
    HSTRLEN @h f1
    HEXISTS @h f1
    HEXISTS @h none
    HINCRBY @h n 5
    HINCRBY @h f1 5
    HINCRBYFLOAT @h n 1.25
    HDEL @h f1 none
    HSCAN @h 0
    HSCAN @h 0 MATCH m* COUNT 100
    HSCAN @h bad
    HSET @one f v
    HRANDFIELD @one
    HRANDFIELD @one 5
    HRANDFIELD @one 5 WITHVALUES
    HRANDFIELD @one -2 WITHVALUES
    HRANDFIELD @none
    HRANDFIELD @none 3
""")

LISTS: Final = lines("""
    RPUSH @l a b c d e
    LPUSH @l z
    LPUSHX @l y
    LPUSHX @none y
    RPUSHX @l f
    LLEN @l
    LRANGE @l 0 -1
    LRANGE @none 0 -1
    LINDEX @l 1
    LINDEX @l 100
    LINSERT @l BEFORE a A
    LINSERT @l BEFORE nosuch A
    LINSERT @l BAD a A
    LSET @l 0 first
    LSET @l 100 first
    LSET @none 0 x
    LPOS @l c
    LPOS @l nosuch
    LPOS @l c RANK -1 COUNT 0
    LPOS @l c RANK 0
    LREM @l 1 b
    LTRIM @l 0 5
    LPOP @l
    LPOP @l 2
    LPOP @none
    LPOP @none 2
    LPOP @l -1
    RPOP @l
    RPOP @l 0
    RPOPLPUSH @l @l2
    RPOPLPUSH @none @l2
    LMOVE @l2 @l LEFT RIGHT
    LMOVE @l2 @l LEFT BAD
    LMPOP 2 @none @l LEFT COUNT 2
    LMPOP 1 @none LEFT
    LMPOP 0 @l LEFT
    LMPOP 9 @l LEFT
    RPUSH @l 1 2 3 4 5 6
    BLPOP @none @l 0.05
    BRPOP @l 0.05
    BLPOP @l notanumber
    BLPOP @l -1
    BLMOVE @l @l2 RIGHT LEFT 0.05
    BRPOPLPUSH @l @l2 0.05
    BLMPOP 0.05 1 @l LEFT COUNT 2
    BLPOP @none 0.01
    BRPOPLPUSH @none @l2 0.01
    BLMOVE @none @l2 LEFT LEFT 0.01
    BLMPOP 0.01 1 @none LEFT
""")

SETS: Final = lines("""
    SADD @s 1 2 3 4 5
    SADD @t 4 5 6
    SADD @s 1
    SCARD @s
    SISMEMBER @s 1
    SMISMEMBER @s 1 9
    SMEMBERS @s
    SMEMBERS @none
    SREM @s 1 9
    SMOVE @s @t 2
    SMOVE @s @t 99
    SINTER @s @t
    SINTERCARD 2 @s @t
    SINTERCARD 2 @s @t LIMIT 1
    SINTERCARD 0 @s
    SINTERSTORE @u @s @t
    SUNION @s @t
    SUNIONSTORE @u @s @t
    SDIFF @t @s
    SDIFFSTORE @u @t @s
    SSCAN @s 0
    SADD @one 7
    SRANDMEMBER @one
    SRANDMEMBER @one 3
    SRANDMEMBER @one -3
    SRANDMEMBER @none
    SRANDMEMBER @none 3
    SPOP @one
    SPOP @one
    SADD @one 7
    SPOP @one 3
    SPOP @one 3
    SPOP @s 0
    SPOP @s -1
""")

SORTED_SETS: Final = lines("""
    ZADD @z 1 a 2 b 3 c
    ZADD @z NX GT 1 a
    ZADD @z INCR 0.5 a
    ZADD @z NX INCR 1 a
    ZADD @z XX CH 9 c
    ZADD @z notafloat a
    ZADD @y 1 b 5 d
    ZCARD @z
    ZSCORE @z a
    ZSCORE @z none
    ZMSCORE @z a none c
    ZCOUNT @z -inf +inf
    ZCOUNT @z bad +inf
    ZINCRBY @z 2 b
    ZINCRBY @z +inf b
    ZINCRBY @z -inf b
    ZINCRBY @z 2 e
    ZRANK @z a
    ZRANK @z none
    ZREVRANK @z a
    ZRANGE @z 0 -1
    ZRANGE @z 0 -1 WITHSCORES
    ZRANGE @z 0 -1 REV WITHSCORES
    ZRANGE @z -inf +inf BYSCORE LIMIT 0 1
    ZRANGE @z [a [c BYLEX
    ZRANGE @z 0 -1 BAD
    ZRANGEBYSCORE @z -inf +inf WITHSCORES LIMIT 0 2
    ZRANGEBYSCORE @z -inf +inf
    ZREVRANGEBYSCORE @z +inf -inf WITHSCORES
    ZREVRANGE @z 0 1 WITHSCORES
    ZREVRANGE @z 0 1
    ZRANGEBYLEX @z - +
    ZREVRANGEBYLEX @z + -
    ZLEXCOUNT @z - +
    ZRANGESTORE @x @z 0 1
    ZSCAN @z 0
    ZUNION 2 @z @y
    ZUNION 2 @z @y WITHSCORES
    ZUNION 2 @z @y WEIGHTS 2 1 AGGREGATE MAX WITHSCORES
    ZINTER 2 @z @y WITHSCORES
    ZINTER 2 @z @y
    ZINTERCARD 2 @z @y
    ZDIFF 2 @z @y
    ZDIFF 2 @z @y WITHSCORES
    ZUNIONSTORE @u 2 @z @y
    ZINTERSTORE @u 2 @z @y
    ZDIFFSTORE @u 2 @z @y
    ZUNIONSTORE @u 0 @z
    ZUNION bad @z
    ZADD @one 1.5 m
    ZRANDMEMBER @one
    ZRANDMEMBER @one 2
    ZRANDMEMBER @one 2 WITHSCORES
    ZRANDMEMBER @one -2 WITHSCORES
    ZRANDMEMBER @none
    ZRANDMEMBER @none 2 WITHSCORES
    ZPOPMIN @z
    ZPOPMIN @none
    ZPOPMAX @z 2
    ZPOPMAX @none 2
    ZADD @z 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h
    ZMPOP 2 @none @z MIN COUNT 2
    ZMPOP 1 @none MIN
    BZPOPMIN @none @z 0.05
    BZPOPMAX @z 0.05
    BZPOPMIN @none 0.01
    BZMPOP 0.05 1 @z MAX COUNT 2
    BZMPOP 0.01 1 @none MAX
    ZREM @z c none
    ZREMRANGEBYRANK @z 0 0
    ZREMRANGEBYSCORE @z 5 5
    ZREMRANGEBYLEX @z [x [y
""")

PLACES: Final = lines("""
    GEOADD @g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
    GEOADD @g 200 100 Nowhere
    GEODIST @g Palermo Catania
    GEODIST @g Palermo Catania km
    GEODIST @g Palermo none
    GEOHASH @g Palermo none
    GEOPOS @g Palermo none
    GEORADIUS @g 15 37 200 km WITHCOORD WITHDIST WITHHASH ASC
    GEORADIUS @g 15 37 200 km ASC
    GEORADIUS @g 15 37 200 km STORE @gs
    GEORADIUS @g 15 37 200 km STOREDIST @gs
    GEORADIUS_RO @g 15 37 200 km WITHDIST ASC
    GEORADIUSBYMEMBER @g Palermo 200 km WITHCOORD ASC
    GEORADIUSBYMEMBER @g Palermo 200 km STORE @gs
    GEORADIUSBYMEMBER_RO @g Palermo 200 km ASC
    GEOSEARCH @g FROMLONLAT 15 37 BYRADIUS 200 km ASC
    GEOSEARCH @g FROMMEMBER Palermo BYBOX 400 400 km ASC WITHCOORD WITHDIST
    GEOSEARCHSTORE @gs @g FROMLONLAT 15 37 BYBOX 400 400 km ASC
""")

STREAMS: Final = lines("""
    XADD @x 1-1 f v
    XADD @x 1-1 f v
    XADD @x 2-1 a 1 b 2
    XADD @x NOMKSTREAM 3-1 c 3
    XADD @none NOMKSTREAM 3-1 c 3
    XADD @x MAXLEN = 2 4-1 d 4
    XLEN @x
    XRANGE @x - +
    XREVRANGE @x + - COUNT 1
    XREAD COUNT 1 STREAMS @x 0
    XREAD STREAMS @x @none 0 0
    XREAD STREAMS @x $
    XREAD STREAMS @x @none 0
    XREAD BLOCK 10 STREAMS @x $
    XREAD BLOCK 10 STREAMS @x 0
    XREAD BLOCK bad STREAMS @x 0
    XGROUP CREATE @x g 0
    XGROUP CREATE @x g 0
    XGROUP CREATE @none g 0
    XGROUP CREATE @new g $ MKSTREAM
    XGROUP CREATECONSUMER @x g c0
    XREADGROUP GROUP g c1 COUNT 1 STREAMS @x >
    XREADGROUP GROUP g c1 STREAMS @x 0
    XREADGROUP GROUP nosuch c1 STREAMS @x >
    XREADGROUP GROUP g c1 BLOCK 10 STREAMS @x >
    XREADGROUP GROUP g c1 BLOCK 10 STREAMS @x >
    XPENDING @x g
    XPENDING @x g IDLE 10000000 - + 10
    XCLAIM @x g c2 0 3-1 JUSTID
    XCLAIM @x g c2 0 3-1
    XAUTOCLAIM @x g c3 0 0 JUSTID
    XAUTOCLAIM @x g c3 0 0 COUNT 1
    XACK @x g 3-1
    XINFO STREAM @x
    XINFO GROUPS @x
    XINFO GROUPS @none
    XINFO CONSUMERS @x g
    XGROUP DELCONSUMER @x g c1
    XGROUP SETID @x g 0
    XGROUP DESTROY @x g
    XINFO STREAM @x FULL
    XDEL @x 3-1
    XTRIM @x MAXLEN 1
    XSETID @x 9-9
    XINFO NOSUCH @x
""")

KEYS: Final = lines("""
    SET @k v
    RPUSH @l 3 1 2
    TYPE @k
    TYPE @none
    EXISTS @k @k @none
    TOUCH @k @none
    EXPIRE @k 1000
    EXPIRE @k 1000 NX
    EXPIRE @none 1000
    EXPIRE @k bad
    EXPIREAT @k 4102444800
    PEXPIREAT @k 4102444800000 XX
    PEXPIRE @k 100000000 LT
    PEXPIREAT @k 4102444800000
    EXPIRETIME @k
    PEXPIRETIME @k
    PERSIST @k
    TTL @k
    PTTL @k
    TTL @none
    OBJECT ENCODING @k
    OBJECT REFCOUNT @k
    OBJECT IDLETIME @k
    OBJECT FREQ @k
    OBJECT ENCODING @none
    MEMORY USAGE @k
    MEMORY USAGE @none
    DUMP @k
    DUMP @none
    RESTORE @r 0 bad
    RENAME @k @k2
    RENAME @none @k2
    RENAMENX @k2 @l
    RENAMENX @k2 @k
    COPY @k @copy
    COPY @k @copy
    COPY @k @copy REPLACE
    SORT @l
    SORT @l DESC LIMIT 0 2
    SORT @l BY nosort GET # STORE @sorted
    SORT_RO @l ALPHA
    SORT @l BAD
    SET @w_1 30
    SET @w_2 20
    SET @w_3 10
    SORT @l BY @w_* GET @w_* GET #
    SORT_RO @l BY @w_* GET @nosuch_*
    SORT @l BY @w_*->f GET @w_*->f
    DEL @k @copy @none
    UNLINK @k2 @none
    EVAL return(ARGV[1]) 1 @e x
    EVAL return{KEYS[1],redis.call('set',KEYS[1],ARGV[1])} 1 @e x
    EVAL return(redis.call('get',KEYS[1])) 1 @e
    EVAL return(redis.call('lpush',KEYS[1],'x')) 1 @e
    EVAL return(nil) 1 @e
    EVAL return(1) bad
    EVAL return(1) -1
    EVAL return(1) 9 @e
    EVAL return(redis.call('hgetall',KEYS[1])) 1 @none
    EVAL_RO return(redis.call('get',KEYS[1])) 1 @e
    EVAL_RO return(redis.call('set',KEYS[1],'y')) 1 @e
    EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 @e
    EVALSHA_RO ffffffffffffffffffffffffffffffffffffffff 1 @e
    EVALSHA short 1 @e
    FCALL nosuch 1 @e
    FCALL_RO nosuch 1 @e
    PUBLISH @channel message
    SPUBLISH @channel message
""")

EVERY: Final = {
    "strings": STRINGS,
    "hashes": HASHES,
    "lists": LISTS,
    "sets": SETS,
    "sorted sets": SORTED_SETS,
    "places": PLACES,
    "streams": STREAMS,
    "keys": KEYS,
}

SESSIONS: Final = {
    "multi": lines("""
        MULTI
        SET @a 1
        INCR @a
        GET @a
        EXEC
        GET @a
    """),
    "multi with errors inside": lines("""
        MULTI
        SET @a text
        INCR @a
        LPUSH @a x
        HGETALL @none
        PING
        PING a b c
        ECHO hello
        EXEC
        GET @a
    """),
    "multi without keys": lines("""
        MULTI
        PING
        PING a b c
        ECHO hello
        EXEC
    """),
    "multi aborted by what cannot be queued": lines("""
        MULTI
        SET @a 1
        GET
        NOSUCH x
        SET @a 2
        EXEC
        GET @a
        EXEC
        MULTI
        PING
        EXEC
    """),
    "multi aborted by an unknown subcommand": lines("""
        MULTI
        XGROUP NOSUCH @a
        EXEC
    """),
    "discard": lines("""
        DISCARD
        MULTI
        SET @a 1
        DISCARD
        GET @a
        EXEC
        DISCARD
    """),
    "nested multi goes on": lines("""
        MULTI
        SET @a 1
        MULTI
        INCR @a
        EXEC
    """),
    "watch inside multi goes on": lines("""
        MULTI
        WATCH @a
        SET @a 1
        EXEC
    """),
    "wrong arity of multi itself": lines("""
        MULTI now
        EXEC
        MULTI
        EXEC now
        EXEC
    """),
    "empty multi": lines("""
        MULTI
        EXEC
        MULTI
        DISCARD
    """),
    "blocking inside multi does not block": lines("""
        RPUSH @l x
        MULTI
        BLPOP @l 0
        BLPOP @l 0
        BLMOVE @l @m LEFT LEFT 0
        BZPOPMIN @none 0
        XREAD BLOCK 0 STREAMS @none $
        EXEC
    """),
    "reset in the middle": lines("""
        MULTI
        SET @a 1
        RESET
        EXEC
        GET @a
        WATCH @a
        RESET
        UNWATCH
        PING
    """),
    "watch that holds": lines("""
        SET @a 1
        WATCH @a @b
        GET @a
        MULTI
        SET @b 2
        EXEC
        GET @b
    """),
    "watch broken by oneself": lines("""
        WATCH @a
        SET @a mine
        MULTI
        SET @a theirs
        EXEC
        GET @a
        MULTI
        GET @a
        EXEC
    """),
    "unwatch": lines("""
        WATCH @a
        SET @a mine
        UNWATCH
        MULTI
        SET @a again
        EXEC
        UNWATCH
    """),
    "unwatch inside multi": lines("""
        WATCH @a
        MULTI
        UNWATCH
        SET @a 1
        EXEC
        MULTI
        UNWATCH
        EXEC
    """),
    "discard ends watch": lines("""
        WATCH @a
        SET @a mine
        MULTI
        DISCARD
        MULTI
        SET @a 3
        EXEC
    """),
    "watch and an aborted multi": lines("""
        WATCH @a
        SET @a mine
        MULTI
        NOSUCH
        EXEC
        MULTI
        GET @a
        EXEC
    """),
    "watch, a blocking pop, exec": lines("""
        RPUSH @l 1 2
        WATCH @a
        BLPOP @l 1
        MULTI
        SET @a 1
        EXEC
    """),
    "scripts in multi": lines("""
        MULTI
        EVAL return(redis.call('incr',KEYS[1])) 1 @n
        EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 @n
        MGET @n @none
        DEL @n @none
        EXEC
    """),
    "subscribed in resp2 takes little": lines("""
        SUBSCRIBE @c
        GET @a
        NOSUCH
        PING
        PING hello
        PING a b
        CLIENT SETNAME x
        UNSUBSCRIBE
        GET @a
        PING
    """),
    "leaving what was not there": lines("""
        UNSUBSCRIBE
        PUNSUBSCRIBE
        SUNSUBSCRIBE
        UNSUBSCRIBE @a @b
        PUNSUBSCRIBE @p*
    """),
    "counts of confirmations": lines("""
        SUBSCRIBE @a
        PSUBSCRIBE @p*
        SUBSCRIBE @a
        SSUBSCRIBE @s
        PUNSUBSCRIBE
        UNSUBSCRIBE @nosuch
        UNSUBSCRIBE @a
        SUNSUBSCRIBE
        PING
    """),
    "reset ends subscriptions": lines("""
        SUBSCRIBE @a
        RESET
        GET @none
    """),
    "monitor takes no commands on keys": lines("""
        MONITOR
        GET @none
        RESET
        GET @none
    """),
}
