"""What a hostile tenant says: the whole command table, with a neighbour's key in every place where there is anything."""

from collections.abc import Iterator, Sequence
from typing import Final

from kvgate.commands.keys import key_indices
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import every_command, lookup
from kvgate.errors import GateError
from tests.server.conversations import EVERY, Line

OWN: Final = b"@OWN@"
BAD: Final = b"@BAD@"
"""Stand for a key of the tenant's own and for the neighbour's, of the type that the command is for."""
ALL_BAD: Final = b"@ALL@"
"""Stands for what all keys of the neighbour's namespace begin with."""

ON_ITS_OWN: Final = frozenset(
    {
        "AUTH", "HELLO", "QUIT", "RESET", "CLIENT|REPLY",  # leave no connection to go on with
        "CLIENT|KILL", "CLIENT|PAUSE", "CLIENT|UNPAUSE",  # act on others by right, where granted
        "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH",
        "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "GATE|MONITOR",
    }
)  # fmt: skip
"""Said on connections of their own, by other tests."""

NUMBERS: Final = (
    b"0", b"-1", b"1", b"2", b"3", b"+1", b"01", b" 1", b"1 ", b"1.0", b"", b"4294967297", b"4294967296", b"-4294967295",
    b"9223372036854775807", b"9223372036854775808", b"18446744073709551617", b"1\x00", b"0x1", b"1e0",
)  # fmt: skip
"""Numbers of keys that somebody might read in another way."""

COUNTED: Final = (
    "ZUNION #", "ZINTER #", "ZDIFF #", "SINTERCARD #", "ZINTERCARD #", "LMPOP #", "ZMPOP #", "ZUNIONSTORE OWN #",
    "ZINTERSTORE OWN #", "ZDIFFSTORE OWN #", "EVAL return(redis.call('get',KEYS[1])) #", "EVAL_RO return(1) #",
    "EVALSHA c3f8721cbb97f72bc19e972846bd7aaf91901658 #", "FCALL f #", "FCALL_RO f #", "BLMPOP 0.001 #", "BZMPOP 0.001 #",
)  # fmt: skip
BEHIND: Final = (
    "OWN BAD",
    "BAD OWN",
    "OWN LEFT BAD",
    "OWN BAD LEFT",
    "OWN MIN BAD",
    "OWN WEIGHTS BAD",
    "BAD",
    "OWN LIMIT BAD",
)

TRICKS: Final = """
SORT OWN BY ALL*|SORT OWN GET ALL*|SORT OWN BY nosort GET # GET ALL* GET ALL*->f|SORT_RO OWN GET ALL*
SORT OWN GET ALL* STORE OWN|SORT OWN BY BAD*|SORT OWN BY BAD*->f|SORT OWN GET BAD*|SORT OWN GET # GET BAD*
SORT OWN LIMIT 0 1 GET BAD*->f|SORT OWN STORE BAD|SORT OWN STORE OWN STORE BAD|SORT OWN GET STORE STORE BAD
SORT OWN BY STORE STORE BAD|SORT OWN ASC STORE BAD|SORT OWN GET *|SORT OWN GET B*|SORT OWN BY * GET *
SORT OWN BY nosort GET Bank*|SORT OWN GET \\Bank*|SORT OWN GET [B]ank*|SORT OWN GET BAD\x00*|SORT OWN get\x00x BAD*
SORT OWN BY\x00 BAD*|SORT OWN STORE\x00 BAD|SORT OWN store BAD|SORT_RO OWN GET BAD*|SORT_RO OWN BY BAD*->f GET #|SORT BAD
SORT_RO BAD BY nosort|GEORADIUS OWN 1 1 9 km STORE BAD|GEORADIUS OWN 1 1 9 km STOREDIST BAD
GEORADIUS OWN 1 1 9 km STORE OWN STORE BAD|GEORADIUS OWN 1 1 9 km COUNT STORE BAD|GEORADIUS OWN 1 1 9 km store\x00 BAD
GEORADIUS BAD 1 1 20000 km WITHCOORD|GEORADIUSBYMEMBER OWN m 9 km STOREDIST OWN STORE BAD|GEORADIUSBYMEMBER BAD m 20000 km
GEOSEARCHSTORE OWN BAD FROMLONLAT 1 1 BYRADIUS 9 km|GEOSEARCHSTORE BAD OWN FROMLONLAT 1 1 BYRADIUS 9 km
XREAD STREAMS OWN BAD 0 0|XREAD COUNT 1 STREAMS BAD 0|XREAD COUNT STREAMS BAD 0|XREAD STREAMS STREAMS BAD 0 0
XREAD COUNT 1 COUNT 2 STREAMS BAD OWN 0 0|XREAD streams BAD 0|XREAD STREAMS\x00 BAD 0|XREAD BLOCK 1 STREAMS OWN BAD $ 0
XREADGROUP GROUP g STREAMS STREAMS BAD >|XREADGROUP GROUP STREAMS c STREAMS BAD 0
XREADGROUP GROUP g c NOACK STREAMS OWN BAD > >|XREADGROUP GROUP g c STREAMS BAD 0|XGROUP CREATE BAD h 0 MKSTREAM
XGROUP DESTROY BAD g|XINFO STREAM BAD FULL|XSETID BAD 99-1|XAUTOCLAIM BAD g c 0 0|XCLAIM BAD g c 0 1-1 FORCE|XPENDING BAD g
XACK BAD g 1-1|XTRIM BAD MAXLEN 0|COPY OWN BAD REPLACE|COPY BAD OWN REPLACE|COPY OWN BAD DB 0|COPY BAD OWN DB 1
COPY BAD BAD DB 5 REPLACE|COPY OWN OWN REPLACE DB 1|RENAME BAD OWN|RENAME OWN BAD|RENAMENX BAD OWN|RENAMENX OWN BAD
MOVE BAD 1|MOVE OWN 1|SMOVE BAD OWN m|SMOVE OWN BAD m|LMOVE BAD OWN LEFT LEFT|LMOVE OWN BAD LEFT LEFT|RPOPLPUSH BAD OWN
RPOPLPUSH OWN BAD|BLMOVE BAD OWN LEFT LEFT 0.001|BRPOPLPUSH OWN BAD 0.001|BLPOP OWN BAD 0.001|BRPOP BAD 0.001
BZPOPMIN OWN BAD 0.001|BZPOPMAX BAD 0.001|BITOP AND OWN BAD|BITOP OR BAD OWN|BITOP NOT OWN BAD|BITOP XOR OWN OWN BAD
PFMERGE OWN BAD|PFMERGE BAD OWN|PFCOUNT OWN BAD|LCS OWN BAD|LCS BAD OWN IDX|MGET OWN BAD OWN|MSET OWN x BAD x|MSETNX BAD x
DEL OWN BAD|UNLINK BAD BAD|EXISTS BAD|TOUCH OWN BAD|SINTERSTORE OWN BAD|SUNIONSTORE BAD OWN|SUNIONSTORE OWN OWN BAD
SDIFFSTORE OWN BAD OWN|SINTER OWN BAD|SUNION BAD|ZRANGESTORE OWN BAD 0 -1|ZRANGESTORE BAD OWN 0 -1|ZUNIONSTORE BAD 1 OWN
ZDIFFSTORE BAD 1 OWN|ZINTERSTORE OWN 2 OWN BAD|MIGRATE 127.0.0.1 1 BAD 0 1|MIGRATE 127.0.0.1 1  0 1 KEYS BAD
MIGRATE 127.0.0.1 1 OWN 0 1 COPY REPLACE|OBJECT ENCODING BAD|OBJECT FREQ BAD|OBJECT IDLETIME BAD|OBJECT REFCOUNT BAD
MEMORY USAGE BAD SAMPLES 0|DEBUG OBJECT BAD|DEBUG SLEEP 0|DEBUG RELOAD|DEBUG SET-ACTIVE-EXPIRE 0|DEBUG LISTPACK BAD
DEBUG STRINGMATCH-LEN 10 BAD|DUMP BAD|RESTORE BAD 0 x REPLACE|TYPE BAD|TTL BAD|PTTL BAD|EXPIRETIME BAD|PEXPIRETIME BAD
PERSIST BAD|EXPIRE BAD 1|PEXPIREAT BAD 1|GETEX BAD PX 1|GETDEL BAD|GATE LOCK BAD o 10 x|GATE LOCK BAD owner TTL 10
GATE UNLOCK BAD owner|GATE EXTEND BAD owner TTL 10|GATE ROUTE BAD|GATE ROUTE BAD GET|EVAL return(redis.call('get','BAD')) 0
EVAL return(redis.call('get',ARGV[1])) 1 OWN BAD|EVAL return(redis.call('keys','*')) 1 OWN
EVAL return(redis.call('select',1)) 1 OWN|EVALSHA c3f8721cbb97f72bc19e972846bd7aaf91901658 1 OWN BAD|EVAL_RO return(1) 1 BAD
SCRIPT FLUSH|SCRIPT KILL|SCRIPT DEBUG YES|FUNCTION LIST WITHCODE|FUNCTION DUMP|FUNCTION FLUSH|FUNCTION DELETE lib
FUNCTION KILL|FUNCTION STATS|FUNCTION RESTORE x|FCALL f 1 OWN BAD|FCALL f 0 BAD|PUBLISH BAD m|SPUBLISH BAD m
PUBSUB CHANNELS Bank*|PUBSUB CHANNELS|PUBSUB NUMSUB BAD|PUBSUB SHARDCHANNELS|PUBSUB SHARDNUMSUB BAD
PUBLISH __keyspace@0__:BAD set|PUBLISH __keyevent@0__:set BAD|SPUBLISH __keyspace@0__:BAD set|SELECT 1|SWAPDB 0 1
FLUSHDB SYNC|FLUSHALL|FLUSHALL ASYNC|DBSIZE|RANDOMKEY|KEYS *|KEYS Bank*|KEYS BAD|KEYS [B]ank.*|KEYS *{t}*|SCAN 0
SCAN 0 MATCH Bank* COUNT 10000|SCAN 0 MATCH BAD|SCAN 0 TYPE hash COUNT 10000|SCAN 0 COUNT 100000
SCAN 2199023255552 COUNT 9999|SCAN 18446744073709551615|SCAN 4398046511104 COUNT 9999|SCAN 3 COUNT 9999
SCAN 7 COUNT 9999 MATCH *|CONFIG SET dir /tmp|CONFIG GET *|CONFIG REWRITE|CONFIG RESETSTAT|SAVE|BGSAVE|BGREWRITEAOF
SHUTDOWN NOSAVE|REPLICAOF NO ONE|SLAVEOF 127.0.0.1 1|FAILOVER|SYNC|PSYNC ? -1|REPLCONF LISTENING-PORT 1|MODULE LIST
MODULE LOAD /tmp/x.so|ACL SETUSER x on|ACL GETUSER default|ACL LIST|ACL LOG|ACL USERS|ACL DELUSER default
ACL DRYRUN default get BAD|CLUSTER KEYSLOT BAD|CLUSTER NODES|CLUSTER GETKEYSINSLOT 1 10|ASKING|READONLY|MEMORY STATS
MEMORY DOCTOR|MEMORY MALLOC-STATS|LOLWUT|LASTSAVE|ROLE|COMMAND GETKEYS GET BAD|COMMAND GETKEYSANDFLAGS MSET OWN 1 BAD 2
OBJECT HELP|WAIT 0 1|CLIENT TRACKING ON BCAST PREFIX Bank|CLIENT CACHING YES|CLIENT NO-EVICT on|CLIENT UNBLOCK 1
CLIENT SETNAME BAD|PFDEBUG GETREG BAD|PFSELFTEST|RESTORE-ASKING BAD 0 x|LATENCY LATEST|INFO everything|GATE HOTKEYS
GATE BIGKEYS|GATE USAGE|GATE SLOWLOG|GATE BLOCKED|GATE BLOCK namespace Bank.Ledger FOR 1|GATE BLOCK key BAD FOR 1
GATE BLOCK namespace * FOR 1|GATE BLOCK user owner9marker FOR 1|GATE UNBLOCK key BAD|GATE HOTKEYS Bank.Ledger
GATE BIGKEYS Bank.Ledger|GATE USAGE Bank.Ledger|GATE BIGKEYS *|GATE HOTKEYS NAMESPACE Bank.Ledger
GATE USAGE NAMESPACE Bank.Ledger|GATE HELP|CAS BAD x y|CAD BAD x|DELIFEQ BAD x|DELEX BAD|SET OWN x IFEQ BAD|SET BAD x IFEQ y
SET BAD x GET|SET BAD x KEEPTTL XX|EXSET BAD x|EXGET BAD|EXCAS BAD x 1|EXCAD BAD 1|EXGAE BAD 9|EXINCRBY BAD 1|EXAPPEND BAD x
EXSETVER BAD 9|EXHSET BAD f v|EXHGET BAD f|EXHGETALL BAD|EXHGETWITHVER BAD f|EXHMGET BAD f|EXHDEL BAD f|EXHSCAN BAD 0
EXHLEN BAD|EXHINCRBY BAD f 1
"""

GROUPS: Final = {
    "bitmap": "string", "conditional": "string", "gate": "string", "transactions": "string", "sorted-set": "zset",
    "connection": "string", "server": "string", "cluster": "string", "scripting": "string", "pubsub": "string",
}  # fmt: skip
"""Command groups → the type of the key that they would read; others are called like their type."""


def of_type(spec: CommandSpec | None) -> str:
    """The type of key that is worth having with a command."""
    if spec is None:
        return "string"
    if spec.name.startswith("SORT"):
        return "list"
    return "string" if spec.group == "generic" else GROUPS.get(spec.group, spec.group)


def _spelled(text: str) -> list[bytes]:
    return [
        word.replace("OWN", OWN.decode()).replace("BAD", BAD.decode()).replace("ALL", ALL_BAD.decode()).encode()
        for word in text.split(" ")
    ]


def tricks() -> Iterator[list[bytes]]:
    """Written by hand: options, odd numbers, keys where nobody expects them."""
    for text in TRICKS.replace("\n", "|").split("|"):
        if text:
            yield _spelled(text)
        if text.startswith("SORT"):
            yield [*_spelled(text), b"ALPHA"]  # so that it is done, whatever the elements are
    for beginning in COUNTED:
        for number in NUMBERS:
            for end in BEHIND:
                words = _spelled(beginning)
                yield [*words[:-1], number, *_spelled(end)]


def replaced() -> Iterator[list[bytes]]:
    """Everything that the conversations say, with the neighbour's key in place of each argument in turn, and of each key."""
    for requests in EVERY.values():
        for request in map(_shortened, requests):
            own = [OWN if word.startswith(b"Ads.P:{t}") else word for word in request]
            for at in range(1, len(request)):
                yield [*own[:at], BAD, *own[at + 1 :]]
                yield [*request[:at], BAD, *request[at + 1 :]]
            yield [*own, BAD]
            for at in _keys(request):
                yield [BAD if place == at else word for place, word in enumerate(request)]


def _shortened(request: Line) -> list[bytes]:
    """Nobody waits here for long."""
    waits = request[0].startswith(b"B") or b"BLOCK" in request
    return [b"1" if waits and word == b"10" else b"0.001" if word in (b"0.05", b"0.01") else word for word in request]


def _keys(request: Sequence[bytes]) -> tuple[int, ...]:
    spec = lookup(request)
    try:
        return () if spec is None else key_indices(spec, request)
    except (GateError, IndexError):
        return ()


def generated() -> Iterator[list[bytes]]:
    """Every command of the table with as few arguments as it takes and up to three more, the neighbour's key in each place."""
    for spec in every_command():
        if spec.name in ON_ITS_OWN:
            continue
        name = [part.encode() for part in spec.name.split("|")]
        least = max(0, abs(spec.arity) - len(name))
        for count in range(max(1, least), least + (4 if spec.arity < 0 else 1)):
            yield [*name, *[BAD] * count]
            for at in range(count):
                for fill in (OWN, b"1") if count < 4 else (OWN,):
                    yield [*name, *[fill] * at, BAD, *[fill] * (count - at - 1)]


def filled(request: Sequence[bytes], own: bytes, bad: bytes) -> Line:
    """The request with real keys; `own` and `bad` are beginnings, the type follows."""
    spec = lookup(request)
    kind = of_type(spec).encode()
    return tuple(word.replace(OWN, own + kind).replace(BAD, bad + kind).replace(ALL_BAD, bad) for word in request)


def furniture(own: bytes) -> list[Line]:
    """Keys of the tenant's own of each type, for commands that need another one; where the store has it."""
    words = """
        SET string v|HSET hash f v|RPUSH list string hash m|SADD set m string|ZADD zset 1 m 2 string|GEOADD geo 1 1 m
        XADD stream 1-1 f v|XGROUP CREATE stream g 0|PFADD hyperloglog m|EXSET exstring v|EXHSET exhash f v
    """
    found = []
    for text in words.replace("\n", "|").split("|"):
        if text.strip():
            line = text.encode().split()
            at = 2 if line[0] == b"XGROUP" else 1
            found.append((*line[:at], own + line[at], *line[at + 1 :]))
    return found
