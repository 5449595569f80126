"""Rows of the commands on keys of any type, transactions, scripts and channels."""

# ruff: noqa: E501 - a row of the table is one line, however long
# Aligned by hand; `kvgate.commands.rows` says how a row is written
# fmt: off

from typing import Final

from kvgate.commands.rows import FORWARD, GATE, OWN, REFUSE, SUM, Row

# Keys of any type.
GENERIC: Final[tuple[Row, ...]] = (
    # name              arity flags                        categories                      keys                                                           action   capability     since    summary                                         why
    ("COPY",              -3, "write denyoom",             "keyspace",                     "1 RO access; 2 OW update",                                    FORWARD, "generic",     "6.2.0", "Copies a key",                                 "its DB option is not there: the gate has one database, so leave DB 0 out"),
    ("DEL",               -2, "write",                     "keyspace",                     "1..-1 RM delete",                                             SUM,     "generic",     "1.0.0", "Deletes keys",                                 "Not atomic when the keys lie on several shards"),
    ("DUMP",               2, "readonly",                  "keyspace",                     "1 RO access",                                                 FORWARD, "generic",     "2.6.0", "A key's value in serialized form",             ""),
    ("EXISTS",            -2, "readonly fast",             "keyspace",                     "1..-1 RO",                                                    SUM,     "generic",     "1.0.0", "How many of the keys exist",                   ""),
    ("EXPIRE",            -3, "write fast",                "keyspace",                     "1 RW update",                                                 FORWARD, "expire",      "1.0.0", "Lets a key expire after seconds",              ""),
    ("EXPIREAT",          -3, "write fast",                "keyspace",                     "1 RW update",                                                 FORWARD, "expire",      "1.2.0", "Lets a key expire at a time in seconds",       ""),
    ("EXPIRETIME",         2, "readonly fast",             "keyspace",                     "1 RO access",                                                 FORWARD, "expire",      "7.0.0", "When a key expires, in seconds",               ""),
    ("KEYS",               2, "readonly",                  "keyspace dangerous",           "",                                                            GATE,    "listing",     "1.0.0", "Keys that match a pattern",                    "Only keys that the user may see"),
    ("MIGRATE",           -6, "write movablekeys",         "keyspace dangerous",           "3 RW access delete; KEYS@-2..-1 RW access delete incomplete", REFUSE,  "server",      "2.6.0", "Moves keys to another server",                 "it would move keys behind the gate's back"),
    ("MOVE",               3, "write fast",                "keyspace",                     "1 RW access update",                                          REFUSE,  "server",      "1.0.0", "Moves a key to another database",              "the gate has one database"),
    ("OBJECT",            -2, "",                          "",                             "",                                                            GATE,    "generic",     "2.2.3", "How a key is kept in the store",               ""),
    ("OBJECT|ENCODING",    3, "readonly",                  "keyspace",                     "2 RO",                                                        FORWARD, "generic",     "2.2.3", "Encoding of a value in the store",             ""),
    ("OBJECT|FREQ",        3, "readonly",                  "keyspace",                     "2 RO",                                                        FORWARD, "generic",     "4.0.0", "How often a key is used",                      ""),
    ("OBJECT|HELP",        2, "loading stale",             "keyspace",                     "",                                                            GATE,    "gate",        "6.2.0", "Lists the subcommands",                        ""),
    ("OBJECT|IDLETIME",    3, "readonly",                  "keyspace",                     "2 RO",                                                        FORWARD, "generic",     "2.2.3", "How long a key was not used",                  ""),
    ("OBJECT|REFCOUNT",    3, "readonly",                  "keyspace",                     "2 RO",                                                        FORWARD, "generic",     "2.2.3", "References to a value",                        ""),
    ("PERSIST",            2, "write fast",                "keyspace",                     "1 RW update",                                                 FORWARD, "expire",      "2.2.0", "Takes the expiry from a key",                  ""),
    ("PEXPIRE",           -3, "write fast",                "keyspace",                     "1 RW update",                                                 FORWARD, "expire",      "2.6.0", "Lets a key expire after milliseconds",         ""),
    ("PEXPIREAT",         -3, "write fast",                "keyspace",                     "1 RW update",                                                 FORWARD, "expire",      "2.6.0", "Lets a key expire at a time in milliseconds",  ""),
    ("PEXPIRETIME",        2, "readonly fast",             "keyspace",                     "1 RO access",                                                 FORWARD, "expire",      "7.0.0", "When a key expires, in milliseconds",          ""),
    ("PTTL",               2, "readonly fast",             "keyspace",                     "1 RO access",                                                 FORWARD, "expire",      "2.6.0", "Milliseconds until a key expires",             ""),
    ("RANDOMKEY",          1, "readonly",                  "keyspace",                     "",                                                            GATE,    "listing",     "1.0.0", "Any key",                                      "Only keys that the user may see"),
    ("RENAME",             3, "write",                     "keyspace",                     "1 RW access delete; 2 OW update",                             FORWARD, "generic",     "1.0.0", "Renames a key",                                "Both keys must lie on one shard"),
    ("RENAMENX",           3, "write fast",                "keyspace",                     "1 RW access delete; 2 OW insert",                             FORWARD, "generic",     "1.0.0", "Renames a key if the new name is free",        "Both keys must lie on one shard"),
    ("RESTORE",           -4, "write denyoom",             "keyspace dangerous",           "1 OW update",                                                 FORWARD, "generic",     "2.6.0", "Makes a key from its serialized form",         ""),
    ("SCAN",              -2, "readonly",                  "keyspace",                     "",                                                            GATE,    "listing",     "2.8.0", "Walks over the keys",                          "Only keys that the user may see; the gate makes the cursors"),
    ("SORT",              -2, "write denyoom movablekeys", "set sortedset list dangerous", "1 RO access; ? RO access; ? OW update",                       FORWARD, "generic",     "1.0.0", "Sorts a list or set, stored if asked for",     "BY and GET patterns name keys too"),
    ("SORT_RO",           -2, "readonly movablekeys",      "set sortedset list dangerous", "1 RO access; ? RO access",                                    FORWARD, "generic",     "7.0.0", "Sorts a list or set",                          "BY and GET patterns name keys too"),
    ("TOUCH",             -2, "readonly fast",             "keyspace",                     "1..-1 RO",                                                    SUM,     "generic",     "3.2.1", "Marks keys as used, and counts them",          ""),
    ("TTL",                2, "readonly fast",             "keyspace",                     "1 RO access",                                                 FORWARD, "expire",      "1.0.0", "Seconds until a key expires",                  ""),
    ("TYPE",               2, "readonly fast",             "keyspace",                     "1 RO",                                                        FORWARD, "generic",     "1.0.0", "Type of a key's value",                        ""),
    ("UNLINK",            -2, "write fast",                "keyspace",                     "1..-1 RM delete",                                             SUM,     "generic",     "4.0.0", "Deletes keys, freeing memory later",           "Not atomic when the keys lie on several shards"),
    ("WAIT",               3, "noscript",                  "connection",                   "",                                                            OWN,     "replication", "3.0.0", "Waits until replicas have the earlier writes", ""),
)

# Transactions.
TRANSACTIONS: Final[tuple[Row, ...]] = (
    # name      arity flags                                     categories     keys        action  capability     since    summary                                  why
    ("DISCARD",    1, "noscript loading stale fast allow_busy", "transaction", "",         GATE,   "transaction", "2.0.0", "Drops the queued commands",             ""),
    ("EXEC",       1, "noscript loading stale skip_slowlog",    "transaction", "",         GATE,   "transaction", "1.2.0", "Runs the queued commands",              "Queued in the gate, sent as one block at EXEC"),
    ("MULTI",      1, "noscript loading stale fast allow_busy", "transaction", "",         GATE,   "transaction", "1.2.0", "Begins to queue commands",              "Queued in the gate, sent as one block at EXEC"),
    ("UNWATCH",    1, "noscript loading stale fast allow_busy", "transaction", "",         OWN,    "transaction", "2.2.0", "Forgets the watched keys",              ""),
    ("WATCH",     -2, "noscript loading stale fast allow_busy", "transaction", "1..-1 RO", OWN,    "transaction", "2.2.0", "Lets EXEC fail when a key was changed", ""),
)

# Scripts and functions.
SCRIPTING: Final[tuple[Row, ...]] = (
    # name               arity flags                                                                 categories          keys                   action   capability  since    summary                                       why
    ("EVAL",               -3, "noscript stale skip_monitor no_mandatory_keys movablekeys",          "scripting",        "2# RW access update", FORWARD, "script",   "2.6.0", "Runs a Lua script",                          "Refused where the user shares the store with others, unless allowed"),
    ("EVALSHA",            -3, "noscript stale skip_monitor no_mandatory_keys movablekeys",          "scripting",        "2# RW access update", FORWARD, "script",   "2.6.0", "Runs a loaded Lua script",                   "Refused where the user shares the store with others, unless allowed"),
    ("EVALSHA_RO",         -3, "readonly noscript stale skip_monitor no_mandatory_keys movablekeys", "scripting",        "2# RO access",        FORWARD, "script",   "7.0.0", "Runs a loaded Lua script that only reads",   "Refused where the user shares the store with others, unless allowed"),
    ("EVAL_RO",            -3, "readonly noscript stale skip_monitor no_mandatory_keys movablekeys", "scripting",        "2# RO access",        FORWARD, "script",   "7.0.0", "Runs a Lua script that only reads",          "Refused where the user shares the store with others, unless allowed"),
    ("FCALL",              -3, "noscript stale skip_monitor no_mandatory_keys movablekeys",          "scripting",        "2# RW access update", FORWARD, "function", "7.0.0", "Calls a function",                           "Refused where the user shares the store with others, unless allowed"),
    ("FCALL_RO",           -3, "readonly noscript stale skip_monitor no_mandatory_keys movablekeys", "scripting",        "2# RO access",        FORWARD, "function", "7.0.0", "Calls a function that only reads",           "Refused where the user shares the store with others, unless allowed"),
    ("FUNCTION",           -2, "",                                                                   "",                 "",                    GATE,    "function", "7.0.0", "Libraries of functions",                     ""),
    ("FUNCTION|DELETE",     3, "write noscript",                                                     "scripting shared", "",                    GATE,    "function", "7.0.0", "Removes a library",                          "On every shard that the user sees"),
    ("FUNCTION|DUMP",       2, "noscript",                                                           "scripting shared", "",                    GATE,    "function", "7.0.0", "All libraries in serialized form",           ""),
    ("FUNCTION|FLUSH",     -2, "write noscript",                                                     "scripting shared", "",                    GATE,    "function", "7.0.0", "Removes all libraries",                      "On every shard that the user sees"),
    ("FUNCTION|HELP",       2, "loading stale",                                                      "scripting",        "",                    GATE,    "gate",     "7.0.0", "Lists the subcommands",                      ""),
    ("FUNCTION|KILL",       2, "noscript allow_busy",                                                "scripting shared", "",                    REFUSE,  "function", "7.0.0", "Ends the function that runs",                "it would end another application's function; send it to the store itself"),
    ("FUNCTION|LIST",      -2, "noscript",                                                           "scripting shared", "",                    GATE,    "function", "7.0.0", "Libraries that are loaded",                  ""),
    ("FUNCTION|LOAD",      -3, "write denyoom noscript",                                             "scripting shared", "",                    GATE,    "function", "7.0.0", "Loads a library",                            "On every shard that the user sees"),
    ("FUNCTION|RESTORE",   -3, "write denyoom noscript",                                             "scripting shared", "",                    GATE,    "function", "7.0.0", "Loads libraries from their serialized form", "On every shard that the user sees"),
    ("FUNCTION|STATS",      2, "noscript allow_busy",                                                "scripting shared", "",                    GATE,    "function", "7.0.0", "The function that runs, and the engines",    ""),
    ("SCRIPT",             -2, "",                                                                   "",                 "",                    GATE,    "script",   "2.6.0", "Lua scripts that the store keeps",           ""),
    ("SCRIPT|DEBUG",        3, "noscript",                                                           "scripting shared", "",                    REFUSE,  "script",   "3.2.0", "Debugger of scripts",                        "it would stop a store that others use"),
    ("SCRIPT|EXISTS",      -3, "noscript",                                                           "scripting",        "",                    GATE,    "script",   "2.6.0", "Whether scripts are loaded",                 "On every shard that the user sees"),
    ("SCRIPT|FLUSH",       -2, "noscript",                                                           "scripting shared", "",                    GATE,    "script",   "2.6.0", "Forgets the loaded scripts",                 "On every shard that the user sees"),
    ("SCRIPT|HELP",         2, "loading stale",                                                      "scripting",        "",                    GATE,    "gate",     "5.0.0", "Lists the subcommands",                      ""),
    ("SCRIPT|KILL",         2, "noscript allow_busy",                                                "scripting shared", "",                    REFUSE,  "script",   "2.6.0", "Ends the script that runs",                  "it would end another application's script; send it to the store itself"),
    ("SCRIPT|LOAD",         3, "noscript stale",                                                     "scripting",        "",                    GATE,    "script",   "2.6.0", "Loads a script",                             "On every shard that the user sees"),
)

# Channels.
PUBSUB: Final[tuple[Row, ...]] = (
    # name                   arity flags                            categories  keys             action   capability  since    summary                                        why
    ("PSUBSCRIBE",             -2, "pubsub noscript loading stale", "",         "",              OWN,     "pubsub",   "2.0.0", "Listens to the channels that match patterns", ""),
    ("PUBLISH",                 3, "pubsub loading stale fast",     "",         "",              FORWARD, "pubsub",   "2.0.0", "Sends a message to a channel",                "Goes to the store of its channel, which is routed like a key"),
    ("PUBSUB",                 -2, "",                              "",         "",              GATE,    "pubsub",   "2.8.0", "Who listens to what",                         ""),
    ("PUBSUB|CHANNELS",        -2, "pubsub loading stale",          "",         "",              GATE,    "pubsub",   "2.8.0", "Channels that somebody listens to",           "Only channels that the user may see"),
    ("PUBSUB|HELP",             2, "loading stale",                 "",         "",              GATE,    "gate",     "6.2.0", "Lists the subcommands",                       ""),
    ("PUBSUB|NUMPAT",           2, "pubsub loading stale",          "",         "",              GATE,    "pubsub",   "2.8.0", "Number of patterns that are listened to",     "Refused where the user shares the store with others"),
    ("PUBSUB|NUMSUB",          -2, "pubsub loading stale",          "",         "",              GATE,    "pubsub",   "2.8.0", "Number of listeners of channels",             ""),
    ("PUBSUB|SHARDCHANNELS",   -2, "pubsub loading stale",          "",         "",              GATE,    "pubsub",   "7.0.0", "Shard channels that somebody listens to",     "Only channels that the user may see"),
    ("PUBSUB|SHARDNUMSUB",     -2, "pubsub loading stale",          "",         "",              GATE,    "pubsub",   "7.0.0", "Number of listeners of shard channels",       ""),
    ("PUNSUBSCRIBE",           -1, "pubsub noscript loading stale", "",         "",              OWN,     "pubsub",   "2.0.0", "Stops listening to patterns",                 ""),
    ("SPUBLISH",                3, "pubsub loading stale fast",     "",         "1 not_key",     FORWARD, "pubsub",   "7.0.0", "Sends a message to a shard channel",          "Goes to the store of its channel, which is routed like a key"),
    ("SSUBSCRIBE",             -2, "pubsub noscript loading stale", "",         "1..-1 not_key", OWN,     "pubsub",   "7.0.0", "Listens to shard channels",                   ""),
    ("SUBSCRIBE",              -2, "pubsub noscript loading stale", "",         "",              OWN,     "pubsub",   "2.0.0", "Listens to channels",                         ""),
    ("SUNSUBSCRIBE",           -1, "pubsub noscript loading stale", "",         "1..-1 not_key", OWN,     "pubsub",   "7.0.0", "Stops listening to shard channels",           ""),
    ("UNSUBSCRIBE",            -1, "pubsub noscript loading stale", "",         "",              OWN,     "pubsub",   "2.0.0", "Stops listening to channels",                 ""),
)
