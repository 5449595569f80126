"""The table of known differences from Redis 7.0: the search counts them instead of reporting them, tests replay them, and
docs/compatibility.md shows them."""

from typing import Final

from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import every_command
from kvgate_compat.known import ENGINES, EVERYWHERE, STORES, Known, dialogue

_QUEUED_BY_THE_GATE: Final = frozenset(("PING", "ECHO", "TIME", "UNWATCH"))
"""Commands that the gate answers itself, and yet lets into MULTI."""
_RUN_AT_ONCE: Final = frozenset(("EXEC", "DISCARD", "MULTI", "QUIT", "RESET"))
"""What is no part of a transaction's block, in Redis neither."""
_WAITING: Final = ("WAIT", *(f"{kind}{verb}" for kind in ("", "P", "S") for verb in ("SUBSCRIBE", "UNSUBSCRIBE")))


def in_the_gate(spec: CommandSpec) -> bool:
    """Whether the gate answers a command of Redis itself, so that it is refused inside MULTI."""
    own = spec.group == "gate" or spec.name in _QUEUED_BY_THE_GATE | _RUN_AT_ONCE or (spec.subcommands and spec.arity != -1)
    return spec.action is Action.GATE and not own


def on_several_shards(spec: CommandSpec) -> bool:
    """Whether a command may name keys of several shards, and is not split."""
    several = len(spec.keys) > 1 or any(each.last or each.keynum >= 0 or each.unknown for each in spec.keys)
    return several and spec.action in (Action.FORWARD, Action.OWN)


KNOWN: Final[tuple[Known, ...]] = (
    # Everywhere
    Known(
        "one-database",
        "SELECT of another database",
        ("SELECT",),
        EVERYWHERE,
        dialogue("SELECT 15 => OK != (error) ERR DB index is out of range"),
        "The gate has one database, 0: a second one would be a second set of the same namespaces. Users with `databases`"
        " have those that the configuration gives them.",
    ),
    Known(
        "copy-db",
        "COPY to another database",
        ("COPY",),
        EVERYWHERE,
        dialogue(
            "SET a v => OK",
            "COPY a b DB 1 => (integer) 1 != (error) ERR DB index is out of range",
        ),
        "The gate has one database.",
        met=False,
    ),
    Known(
        "databases-setting",
        "CONFIG GET databases",
        ("CONFIG|GET",),
        EVERYWHERE,
        dialogue('CONFIG GET databases => ["databases", "16"] != ["databases", "1"]'),
        "The gate has one database. Settings about a process, its memory or its disk are not there.",
    ),
    Known(
        "in-multi",
        "Inside MULTI: what the gate answers itself",
        (*(spec.name for spec in every_command() if in_the_gate(spec)), *_WAITING),
        EVERYWHERE,
        dialogue(
            "MULTI => OK",
            "KEYS * => QUEUED != (error) ERR command 'keys' is not available through the gate: inside MULTI; …",
            "EXEC => [[]] != (error) EXECABORT Transaction discarded because of previous errors.",
        ),
        "A transaction is one block that the store runs: a `KEYS *` in it would show the store's other namespaces, an"
        " INFO the store's.",
        met=False,
    ),
    Known(
        "mset-arity",
        "Inside MULTI: requests whose keys cannot be told",
        (
            *("MSET", "MSETNX", "COPY", "XREAD", "XREADGROUP"),
            *(spec.name for spec in every_command() if any(keys.keynum >= 0 for keys in spec.keys)),
        ),
        EVERYWHERE,
        dialogue(
            "MULTI => OK",
            "MSET a 1 b => QUEUED != (error) ERR wrong number of arguments for 'mset' command",
            "EXEC => [(error) ERR wrong number of arguments for 'mset' command]"
            " != (error) EXECABORT Transaction discarded because of previous errors.",
            "MULTI => OK",
            "ZUNION x a => QUEUED != (error) ERR value is not an integer or out of range",
            "DISCARD => OK",
        ),
        "The gate looks for the keys before it queues the command; Redis does when it runs it.",
        met=False,
    ),
    Known(
        "number-of-keys",
        "Inside MULTI: commands with a wrong number of keys",
        ("LMPOP", "BLMPOP", "ZMPOP", "BZMPOP", "SINTERCARD", "ZINTERCARD", "ZUNION", "ZINTER", "ZDIFF"),
        EVERYWHERE,
        dialogue(
            "MULTI => OK",
            "LMPOP 0 a LEFT => QUEUED != (error) ERR numkeys should be greater than 0",
            "EXEC => [(error) ERR numkeys should be greater than 0]"
            " != (error) EXECABORT Transaction discarded because of previous errors.",
        ),
        "As above.",
        met=False,
    ),
    Known(
        "cursors",
        "Cursors that the client makes up",
        ("SCAN", "HSCAN", "SSCAN", "ZSCAN"),
        EVERYWHERE,
        (),
        "Cursors of SCAN through the gate, and of HSCAN on LMDB and TiKV, are below 2⁵³, because some clients turn them"
        " into doubles; of the order in which elements come neither Redis nor the gate says anything. A number that no"
        " reply held means another place, or the end; one below 0 is above 2⁶³ to Redis. Which elements that shows differs"
        " between two Redis servers as well.",
        met=False,
    ),
    Known(
        "command-count",
        "More commands",
        ("COMMAND", "COMMAND|COUNT", "COMMAND|LIST", "COMMAND|INFO", "COMMAND|DOCS", "ACL|CAT"),
        EVERYWHERE,
        dialogue(
            "COMMAND COUNT => (integer) 240 != (integer) …",
            'COMMAND LIST FILTERBY PATTERN delif* => [] != ["delifeq"]',
        ),
        "The gate has Tair's versioned commands, some of Valkey and Redis 8, and its own. COMMAND LIST has the order of"
        " the table; Redis' own is that of a hash table. COMMAND DOCS has the gate's own words, ACL CAT its categories.",
    ),
    Known(
        "set-ifeq",
        "SET with the option IFEQ",
        ("SET",),
        EVERYWHERE,
        dialogue("SET a v IFEQ w => (error) ERR syntax error != (nil)"),
        "An addition, after Valkey 8.1; see [versioned.md](versioned.md).",
        met=False,
    ),
    Known(
        "client-setinfo",
        "CLIENT SETINFO",
        ("CLIENT|SETINFO",),
        EVERYWHERE,
        dialogue("CLIENT SETINFO LIB-NAME x => (error) ERR unknown subcommand 'SETINFO'. Try CLIENT HELP. != OK"),
        "An addition, of Redis 7.2: newer client libraries say who they are.",
    ),
    Known(
        "help",
        "Texts of HELP",
        tuple(spec.name for spec in every_command() if spec.name.endswith("|HELP") and in_the_gate(spec)),
        EVERYWHERE,
        dialogue("XINFO HELP => [XINFO <subcommand>…, CONSUMERS <key> <groupname>,…] != [XINFO <subcommand>…, CONSUMERS,…]"),
        "Made from the gate's own command table.",
    ),
    Known(
        "own-figures",
        "What is said about the process",
        ("INFO", "CLIENT|LIST", "CLIENT|INFO", "LATENCY|DOCTOR", "LATENCY|HISTOGRAM", "SLOWLOG|GET", "MONITOR"),
        EVERYWHERE,
        dialogue(
            'INFO gate => "" != "# Gate…"',
            '''LATENCY DOCTOR => "I'm sorry, Dave, I can't do that. Latency monitoring is disabled…" != "…"''',
        ),
        "They tell of the gate, its clients and what they did, in the fields that Redis has, as far as they mean something.",
    ),
    Known(
        "fcall-keys",
        "FCALL of a function that there is not, with a wrong number of keys",
        ("FCALL", "FCALL_RO"),
        EVERYWHERE,
        dialogue(
            "SET a v => OK",
            "FCALL nosuch x a => (error) ERR Function not found != (error) ERR Bad number of keys provided",
            "FCALL nosuch 2 a => (error) ERR Function not found"
            " != (error) ERR Number of keys can't be greater than number of args",
            "FCALL nosuch -1 a => (error) ERR Function not found != (error) ERR Number of keys can't be negative",
        ),
        "Without keys nothing says which store has the function; the gate answers what Redis would if it were there.",
    ),
    Known(
        "acl-of-others",
        "ACL GETUSER of another user",
        ("ACL|GETUSER",),
        EVERYWHERE,
        dialogue(
            "ACL GETUSER nobody => (nil)"
            " != (error) NOPERM this user has no permissions to run the 'acl|getuser' command",
        ),
        "Nobody learns which users there are.",
    ),
    Known(
        "acl-dryrun-keys",
        "ACL DRYRUN of a request whose keys cannot be told",
        ("ACL|DRYRUN",),
        EVERYWHERE,
        (),
        "`ACL DRYRUN default ZUNION x a`: the gate says what is wrong with the request, Redis that it may be run.",
        met=False,
    ),
    Known(
        "wrong-passwords",
        "AUTH with a wrong password or user, again and again",
        ("AUTH", "HELLO"),
        EVERYWHERE,
        dialogue(
            "AUTH nobody x => (error) WRONGPASS invalid username-password pair or user is disabled.",
            "AUTH nobody x => (error) WRONGPASS invalid username-password pair or user is disabled."
            " != (error) THROTTLED retry after …",
        ),
        "Passwords cannot be guessed quickly: each wrong one makes that address wait longer for that user.",
        met=False,
    ),
    # The stores as they are: what one Redis behind the gate does otherwise, several shards, home namespaces
    Known(
        "crossslot",
        "Keys of several shards",
        tuple(spec.name for spec in every_command() if on_several_shards(spec)),
        frozenset(("shards",)),
        dialogue(
            "MSET a 1 ab 2 => OK",
            "RENAME a ab => OK != (error) CROSSSLOT Keys in request don't hash to the same slot",
        ),
        "No store has all the keys. Hash tags (`{user1}:a`, `{user1}:b`) put keys on one shard, as in Redis Cluster.",
    ),
    Known(
        "multi-on-shards",
        "Transactions over several shards",
        ("MULTI", "EXEC", "WATCH", "MGET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH"),
        frozenset(("shards",)),
        dialogue(
            "MULTI => OK",
            "SET a 1 => QUEUED",
            "SET ab 2 => QUEUED != (error) CROSSSLOT Keys in request don't hash to the same slot",
            "EXEC => [OK, OK] != (error) EXECABORT Transaction discarded because of previous errors.",
        ),
        "No store could run the block whole. Outside of MULTI the last six are split by shard and merged.",
    ),
    Known(
        "split",
        "MSET, MGET and their kin over several shards are not one moment",
        ("MSET", "MGET", "DEL", "UNLINK", "EXISTS", "TOUCH"),
        frozenset(("shards",)),
        (),
        "Each shard does its part; another client may see or write between them, and when one shard fails (out of memory,"
        " say) the others have done theirs: the reply is then the error. No dialogue of two clients shows it each time.",
    ),
    Known(
        "keyless-scripts",
        "Scripts without keys on several shards",
        ("EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"),
        frozenset(("shards",)),
        dialogue(
            """EVAL "return 1" 0 => (integer) 1 != (error) ERR 'eval' without keys: 2 stores could be meant; name a key""",
        ),
        "Nothing says which store is meant.",
    ),
    Known(
        "shared-scripts",
        "Scripts on a store that others use",
        ("EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"),
        frozenset(("home",)),
        dialogue(
            'EVAL "return 1" 1 a => (integer) 1'
            " != (error) ERR command 'eval' is not available through the gate: other applications' keys lie on the same store,"
            " …"
        ),
        "A script could reach the other applications' keys: so wherever the user does not see all namespaces of the"
        " store. Those in `allowed_scripts` run, and all do where the store itself holds the user to its keys"
        " (`upstream_user`), or nobody else uses it. They are given whole keys, with the namespace's prefix, and what they"
        " return is not looked at.",
        refuses=True,
    ),
    Known(
        "shared-functions",
        "What all users of a store share",
        (
            *(f"FUNCTION|{verb}" for verb in ("DELETE", "DUMP", "FLUSH", "LIST", "LOAD", "RESTORE", "STATS")),
            "SCRIPT|FLUSH",
            "PUBSUB|NUMPAT",
        ),
        frozenset(("home",)),
        dialogue(
            "FUNCTION STATS => […] != (error) ERR command 'function|stats' is not available through the gate:"
            " other applications use the same store",
        ),
        "It would tell of the other applications, or change what they have loaded.",
        refuses=True,
    ),
    Known(
        "loaded-scripts",
        "SCRIPT EXISTS of scripts that others have loaded",
        ("SCRIPT|EXISTS",),
        frozenset(("home",)),
        dialogue(
            'SCRIPT LOAD "return 1" => "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"',
            "SCRIPT FLUSH => OK != (error) ERR command 'script|flush' is not available through the gate:"
            " other applications use the same store",
            "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db => [(integer) 0] != [(integer) 1]",
        ),
        "The store keeps the scripts of all applications by their digests, and a user at home cannot make it forget them.",
        met=False,
    ),
    Known(
        "empty-channel",
        "PUBLISH to the channel without a name, and patterns of stars",
        ("PUBLISH", "PSUBSCRIBE"),
        frozenset(("home",)),
        dialogue(
            '2: PSUBSCRIBE * => ["psubscribe", "*", (integer) 1]',
            'PUBLISH "" a => (integer) 0 != (integer) 1',
        ),
        "In the store the channel is called `Ads.Cache:` and the pattern `Ads.Cache:*`, which it matches; to Redis' eyes no"
        " pattern but the empty one matches an empty name.",
        met=False,
    ),
    Known(
        "memory-usage-home",
        "MEMORY USAGE counts the prefix",
        ("MEMORY|USAGE",),
        frozenset(("home",)),
        dialogue(
            "SET a v => OK",
            "MEMORY USAGE a => (integer) 64 != (integer) 72",
        ),
        "The key is longer in the store: `Ads.Cache:a`.",
    ),
    Known(
        "acl-hidden",
        "ACL with users",
        ("ACL|LIST", "ACL|USERS", "ACL|GETUSER"),
        frozenset(("home",)),
        dialogue(
            'ACL LIST => ["user default on nopass ~* &* +@all"]'
            ' != ["user ads on #hidden ~Ads.Cache:* resetchannels &Ads.Cache:* +@all"]'
        ),
        "They tell of the user that asks alone, without hashes of passwords.",
    ),
    # The gate's own model
    Known(
        "string-length",
        "The longest string",
        ("APPEND", "SETRANGE", "SETBIT", "BITFIELD"),
        ENGINES,
        dialogue(
            "SETRANGE a 16777216 x => (integer) 16777217 != (error) ERR string exceeds maximum allowed size (…)",
        ),
        "One value is one transaction: the backend's `max_value` holds, 16 MiB on LMDB, 128 KB on TiKV unless configured."
        " Redis has 512 MB (`proto-max-bulk-len`). Bits beyond it can be read as everywhere.",
    ),
    Known(
        "restore-length",
        "RESTORE of a dump whose value is nearly as long as `max_value`",
        ("RESTORE",),
        frozenset(("lmdb",)),
        dialogue(
            "SET a v => OK",
            "SETRANGE a 16777215 x => (integer) 16777216",
            "RESTORE b 0 $DUMP(a) => OK != (error) ERR value of 16777226 bytes is over the limit of 16777216 bytes, …",
        ),
        "A payload is 10 bytes longer than its value (22 for a versioned string), and an argument like others. So on"
        " TiKV, at its own `max_value`.",
    ),
    Known(
        "rdb-payload",
        "DUMP and RESTORE have a format of their own",
        ("DUMP", "RESTORE"),
        ENGINES,
        dialogue(
            r'RESTORE a 0 "\x00\x01v\n\x00\x91\x08\xce\xb2\x198\x8a\xce" => OK'
            r" != (error) ERR DUMP payload version or checksum are wrong",
        ),
        "Versioned values need room that RDB has not; see [keyspace.md](keyspace.md), DUMP. RESTORE takes what such a"
        " store dumped.",
        met=False,
    ),
    Known(
        "object-encoding",
        "OBJECT ENCODING is about the value as it is now",
        ("OBJECT|ENCODING",),
        ENGINES,
        dialogue(
            "SET a v => OK",
            "APPEND a w => (integer) 2",
            'OBJECT ENCODING a => "raw" != "embstr"',
            "SET a 1 => OK",
            "APPEND a 2 => (integer) 2",
            'OBJECT ENCODING a => "raw" != "int"',
            "SET a 1 => OK",
            'INCRBYFLOAT a 1 => "2"',
            'OBJECT ENCODING a => "embstr" != "int"',
            f"HSET h f {'v' * 65} => (integer) 1",
            "HSET h f v => (integer) 0",
            'OBJECT ENCODING h => "hashtable" != "listpack"',
        ),
        "Nothing is stored for it. In Redis it counts what the value was made by: `raw` after APPEND, SETRANGE, SETBIT,"
        " however short, `embstr` after INCRBYFLOAT; and a hash never turns back into a `listpack`.",
    ),
    Known(
        "object-refcount",
        "OBJECT REFCOUNT is about the value as it is now",
        ("OBJECT|REFCOUNT",),
        ENGINES,
        dialogue(
            "SETRANGE a 0 1 => (integer) 1",
            "OBJECT REFCOUNT a => (integer) 1 != (integer) 2147483647",
        ),
        "Nothing is stored for it: 2147483647 for every integer below 10,000, else 1.",
    ),
    Known(
        "object-idletime",
        "OBJECT IDLETIME is always 0",
        ("OBJECT|IDLETIME", "RESTORE"),
        ENGINES,
        dialogue(
            "SET a v => OK",
            "RESTORE b 0 $DUMP(a) IDLETIME 100 => OK",
            "OBJECT IDLETIME b => (integer) 100 != (integer) 0",
        ),
        "A read writes nothing, so nobody knows; who removes what idles removes nothing. The option of RESTORE is"
        " checked, then dropped.",
    ),
    Known(
        "watch-missing",
        "WATCH of a missing key that others make and remove again",
        ("WATCH", "EXEC"),
        ENGINES,
        dialogue(
            "WATCH a => OK",
            "2: SET a v => OK",
            "2: DEL a => (integer) 1",
            "MULTI => OK",
            "PING => QUEUED",
            "EXEC => (nil) != [PONG]",
        ),
        "A missing key has no revision. All that the client saw is as it was, and when it has itself read or written the"
        " key meanwhile EXEC answers nil as in Redis.",
        met=False,
    ),
)
"""In the order in which people read them: what holds everywhere first."""

__all__ = ["ENGINES", "EVERYWHERE", "KNOWN", "STORES", "in_the_gate", "on_several_shards"]
