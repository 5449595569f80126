"""Rows of the commands on one type of value each."""

# ruff: noqa: E501 - a row of the table is one line, however long
# Aligned by hand; `kvgate.commands.rows` says how a row is written
# fmt: off

from typing import Final

from kvgate.commands.rows import ALL_OK, FORWARD, GATE, IN_ORDER, OWN, REFUSE, Row

# Strings.
STRING: Final[tuple[Row, ...]] = (
    # name          arity flags                 categories  keys                                 action    capability  since    summary                                      why
    ("APPEND",         3, "write denyoom fast", "string",   "1 RW insert",                       FORWARD,  "string",   "2.0.0", "Adds bytes to the end of a string",         ""),
    ("DECR",           2, "write denyoom fast", "string",   "1 RW access update",                FORWARD,  "string",   "1.0.0", "Takes one from an integer",                 ""),
    ("DECRBY",         3, "write denyoom fast", "string",   "1 RW access update",                FORWARD,  "string",   "1.0.0", "Takes a number from an integer",            ""),
    ("GET",            2, "readonly fast",      "string",   "1 RO access",                       FORWARD,  "string",   "1.0.0", "The value of a key",                        ""),
    ("GETDEL",         2, "write fast",         "string",   "1 RW access delete",                FORWARD,  "string",   "6.2.0", "The value of a key, which is then deleted", ""),
    ("GETEX",         -2, "write fast",         "string",   "1 RW access update",                FORWARD,  "string",   "6.2.0", "The value of a key, with a new expiry",     ""),
    ("GETRANGE",       4, "readonly",           "string",   "1 RO access",                       FORWARD,  "string",   "2.4.0", "Part of a string",                          ""),
    ("GETSET",         3, "write denyoom fast", "string",   "1 RW access update",                FORWARD,  "string",   "1.0.0", "Sets a key and answers what it held",       ""),
    ("INCR",           2, "write denyoom fast", "string",   "1 RW access update",                FORWARD,  "string",   "1.0.0", "Adds one to an integer",                    ""),
    ("INCRBY",         3, "write denyoom fast", "string",   "1 RW access update",                FORWARD,  "string",   "1.0.0", "Adds a number to an integer",               ""),
    ("INCRBYFLOAT",    3, "write denyoom fast", "string",   "1 RW access update",                FORWARD,  "string",   "2.6.0", "Adds a number to a floating-point value",   ""),
    ("LCS",           -3, "readonly",           "string",   "1..1 RO access",                    FORWARD,  "string",   "7.0.0", "Longest common subsequence of two strings", ""),
    ("MGET",          -2, "readonly fast",      "string",   "1..-1 RO access",                   IN_ORDER, "string",   "1.0.0", "The values of several keys",                "Not one snapshot when the keys lie on several shards"),
    ("MSET",          -3, "write denyoom",      "string",   "1..-1/2 OW update",                 ALL_OK,   "string",   "1.0.1", "Sets several keys",                         "Not atomic when the keys lie on several shards"),
    ("MSETNX",        -3, "write denyoom",      "string",   "1..-1/2 OW insert",                 FORWARD,  "string",   "1.0.1", "Sets several keys if none of them exists",  "All keys must lie on one shard"),
    ("PSETEX",         4, "write denyoom",      "string",   "1 OW update",                       FORWARD,  "string",   "2.6.0", "Sets a key with an expiry in milliseconds", ""),
    ("SET",           -3, "write denyoom",      "string",   "1 RW access update variable_flags", FORWARD,  "string",   "1.0.0", "Sets a key, with conditions and expiry",    ""),
    ("SETEX",          4, "write denyoom",      "string",   "1 OW update",                       FORWARD,  "string",   "2.0.0", "Sets a key with an expiry in seconds",      ""),
    ("SETNX",          3, "write denyoom fast", "string",   "1 OW insert",                       FORWARD,  "string",   "1.0.0", "Sets a key that does not exist yet",        ""),
    ("SETRANGE",       4, "write denyoom",      "string",   "1 RW update",                       FORWARD,  "string",   "2.2.0", "Overwrites part of a string",               ""),
    ("STRLEN",         2, "readonly fast",      "string",   "1 RO",                              FORWARD,  "string",   "2.2.0", "Length of a string in bytes",               ""),
    ("SUBSTR",         4, "readonly",           "string",   "1 RO access",                       FORWARD,  "string",   "1.0.0", "Part of a string (old name of GETRANGE)",   ""),
)

# Bits inside strings.
BITMAP: Final[tuple[Row, ...]] = (
    # name          arity flags            categories  keys                                 action   capability  since    summary                                         why
    ("BITCOUNT",      -2, "readonly",      "bitmap",   "1 RO access",                       FORWARD, "bitmap",   "2.6.0", "Counts the bits that are set",                 ""),
    ("BITFIELD",      -2, "write denyoom", "bitmap",   "1 RW access update variable_flags", FORWARD, "bitmap",   "3.2.0", "Reads and changes integers inside a string",   ""),
    ("BITFIELD_RO",   -2, "readonly fast", "bitmap",   "1 RO access",                       FORWARD, "bitmap",   "6.0.0", "Reads integers inside a string",               ""),
    ("BITOP",         -4, "write denyoom", "bitmap",   "2 OW update; 3..-1 RO access",      FORWARD, "bitmap",   "2.6.0", "Combines strings bit by bit into another key", ""),
    ("BITPOS",        -3, "readonly",      "bitmap",   "1 RO access",                       FORWARD, "bitmap",   "2.8.7", "First bit that is set, or clear",              ""),
    ("GETBIT",         3, "readonly fast", "bitmap",   "1 RO access",                       FORWARD, "bitmap",   "2.2.0", "One bit of a string",                          ""),
    ("SETBIT",         4, "write denyoom", "bitmap",   "1 RW access update",                FORWARD, "bitmap",   "2.2.0", "Sets or clears one bit of a string",           ""),
)

# HyperLogLogs.
HYPERLOGLOG: Final[tuple[Row, ...]] = (
    # name         arity flags                  categories     keys                                   action   capability     since    summary                                              why
    ("PFADD",        -2, "write denyoom fast",  "hyperloglog", "1 RW insert",                         FORWARD, "hyperloglog", "2.8.9", "Counts elements into a HyperLogLog",                ""),
    ("PFCOUNT",      -2, "readonly",            "hyperloglog", "1..-1 RW access",                     FORWARD, "hyperloglog", "2.8.9", "Estimates how many distinct elements were counted", ""),
    ("PFDEBUG",       3, "write denyoom admin", "hyperloglog", "2 RW access",                         REFUSE,  "server",      "2.8.9", "Inside of a HyperLogLog, for Redis' own tests",     "it is for tests of the store itself"),
    ("PFMERGE",      -2, "write denyoom",       "hyperloglog", "1 RW access insert; 2..-1 RO access", FORWARD, "hyperloglog", "2.8.9", "Merges HyperLogLogs into one",                      ""),
    ("PFSELFTEST",    1, "admin",               "hyperloglog", "",                                    REFUSE,  "server",      "2.8.9", "Self-test of the HyperLogLog code",                 "it is for tests of the store itself"),
)

# Hashes.
HASH: Final[tuple[Row, ...]] = (
    # name           arity flags                 categories  keys                  action   capability  since    summary                                    why
    ("HDEL",           -3, "write fast",         "hash",     "1 RW delete",        FORWARD, "hash",     "2.0.0", "Removes fields of a hash",                ""),
    ("HEXISTS",         3, "readonly fast",      "hash",     "1 RO",               FORWARD, "hash",     "2.0.0", "Whether a hash has a field",              ""),
    ("HGET",            3, "readonly fast",      "hash",     "1 RO access",        FORWARD, "hash",     "2.0.0", "One field of a hash",                     ""),
    ("HGETALL",         2, "readonly",           "hash",     "1 RO access",        FORWARD, "hash",     "2.0.0", "All fields and values of a hash",         ""),
    ("HINCRBY",         4, "write denyoom fast", "hash",     "1 RW access update", FORWARD, "hash",     "2.0.0", "Adds a number to an integer field",       ""),
    ("HINCRBYFLOAT",    4, "write denyoom fast", "hash",     "1 RW access update", FORWARD, "hash",     "2.6.0", "Adds a number to a floating-point field", ""),
    ("HKEYS",           2, "readonly",           "hash",     "1 RO access",        FORWARD, "hash",     "2.0.0", "All field names of a hash",               ""),
    ("HLEN",            2, "readonly fast",      "hash",     "1 RO",               FORWARD, "hash",     "2.0.0", "Number of fields of a hash",              ""),
    ("HMGET",          -3, "readonly fast",      "hash",     "1 RO access",        FORWARD, "hash",     "2.0.0", "Several fields of a hash",                ""),
    ("HMSET",          -4, "write denyoom fast", "hash",     "1 RW update",        FORWARD, "hash",     "2.0.0", "Sets several fields of a hash",           ""),
    ("HRANDFIELD",     -2, "readonly",           "hash",     "1 RO access",        FORWARD, "hash",     "6.2.0", "Random fields of a hash",                 ""),
    ("HSCAN",          -3, "readonly",           "hash",     "1 RO access",        FORWARD, "hash",     "2.8.0", "Walks over the fields of a hash",         ""),
    ("HSET",           -4, "write denyoom fast", "hash",     "1 RW update",        FORWARD, "hash",     "2.0.0", "Sets fields of a hash",                   ""),
    ("HSETNX",          4, "write denyoom fast", "hash",     "1 RW insert",        FORWARD, "hash",     "2.0.0", "Sets a field that does not exist yet",    ""),
    ("HSTRLEN",         3, "readonly fast",      "hash",     "1 RO",               FORWARD, "hash",     "3.2.0", "Length of a field's value",               ""),
    ("HVALS",           2, "readonly",           "hash",     "1 RO access",        FORWARD, "hash",     "2.0.0", "All values of a hash",                    ""),
)

# Lists.
LIST: Final[tuple[Row, ...]] = (
    # name         arity flags                              categories  keys                               action   capability  since    summary                                                      why
    ("BLMOVE",        6, "write denyoom noscript blocking", "list",     "1 RW access delete; 2 RW insert", OWN,     "list",     "6.2.0", "Moves an element to another list, or waits for one",        ""),
    ("BLMPOP",       -5, "write blocking movablekeys",      "list",     "2# RW access delete",             OWN,     "list",     "7.0.0", "Takes elements from the first list that has any, or waits", ""),
    ("BLPOP",        -3, "write noscript blocking",         "list",     "1..-2 RW access delete",          OWN,     "list",     "2.0.0", "Takes the first element of a list, or waits for one",       ""),
    ("BRPOP",        -3, "write noscript blocking",         "list",     "1..-2 RW access delete",          OWN,     "list",     "2.0.0", "Takes the last element of a list, or waits for one",        ""),
    ("BRPOPLPUSH",    4, "write denyoom noscript blocking", "list",     "1 RW access delete; 2 RW insert", OWN,     "list",     "2.2.0", "Moves the last element to another list, or waits for one",  ""),
    ("LINDEX",        3, "readonly",                        "list",     "1 RO access",                     FORWARD, "list",     "1.0.0", "Element of a list at an index",                             ""),
    ("LINSERT",       5, "write denyoom",                   "list",     "1 RW insert",                     FORWARD, "list",     "2.2.0", "Inserts an element beside another",                         ""),
    ("LLEN",          2, "readonly fast",                   "list",     "1 RO",                            FORWARD, "list",     "1.0.0", "Length of a list",                                          ""),
    ("LMOVE",         5, "write denyoom",                   "list",     "1 RW access delete; 2 RW insert", FORWARD, "list",     "6.2.0", "Moves an element to another list",                          ""),
    ("LMPOP",        -4, "write movablekeys",               "list",     "1# RW access delete",             FORWARD, "list",     "7.0.0", "Takes elements from the first list that has any",           ""),
    ("LPOP",         -2, "write fast",                      "list",     "1 RW access delete",              FORWARD, "list",     "1.0.0", "Takes the first elements of a list",                        ""),
    ("LPOS",         -3, "readonly",                        "list",     "1 RO access",                     FORWARD, "list",     "6.0.6", "Where an element is in a list",                             ""),
    ("LPUSH",        -3, "write denyoom fast",              "list",     "1 RW insert",                     FORWARD, "list",     "1.0.0", "Puts elements at the head of a list",                       ""),
    ("LPUSHX",       -3, "write denyoom fast",              "list",     "1 RW insert",                     FORWARD, "list",     "2.2.0", "Puts elements at the head of a list that exists",           ""),
    ("LRANGE",        4, "readonly",                        "list",     "1 RO access",                     FORWARD, "list",     "1.0.0", "Part of a list",                                            ""),
    ("LREM",          4, "write",                           "list",     "1 RW delete",                     FORWARD, "list",     "1.0.0", "Removes elements that are equal to a value",                ""),
    ("LSET",          4, "write denyoom",                   "list",     "1 RW update",                     FORWARD, "list",     "1.0.0", "Replaces the element at an index",                          ""),
    ("LTRIM",         4, "write",                           "list",     "1 RW delete",                     FORWARD, "list",     "1.0.0", "Keeps only part of a list",                                 ""),
    ("RPOP",         -2, "write fast",                      "list",     "1 RW access delete",              FORWARD, "list",     "1.0.0", "Takes the last elements of a list",                         ""),
    ("RPOPLPUSH",     3, "write denyoom",                   "list",     "1 RW access delete; 2 RW insert", FORWARD, "list",     "1.2.0", "Moves the last element to the head of another list",        ""),
    ("RPUSH",        -3, "write denyoom fast",              "list",     "1 RW insert",                     FORWARD, "list",     "1.0.0", "Puts elements at the tail of a list",                       ""),
    ("RPUSHX",       -3, "write denyoom fast",              "list",     "1 RW insert",                     FORWARD, "list",     "2.2.0", "Puts elements at the tail of a list that exists",           ""),
)

# Sets.
SET: Final[tuple[Row, ...]] = (
    # name          arity flags                   categories  keys                               action   capability  since    summary                                       why
    ("SADD",          -3, "write denyoom fast",   "set",      "1 RW insert",                     FORWARD, "set",      "1.0.0", "Adds members to a set",                      ""),
    ("SCARD",          2, "readonly fast",        "set",      "1 RO",                            FORWARD, "set",      "1.0.0", "Number of members of a set",                 ""),
    ("SDIFF",         -2, "readonly",             "set",      "1..-1 RO access",                 FORWARD, "set",      "1.0.0", "Members of the first set that no other has", ""),
    ("SDIFFSTORE",    -3, "write denyoom",        "set",      "1 OW update; 2..-1 RO access",    FORWARD, "set",      "1.0.0", "Stores the difference of sets",              ""),
    ("SINTER",        -2, "readonly",             "set",      "1..-1 RO access",                 FORWARD, "set",      "1.0.0", "Members that all sets have",                 ""),
    ("SINTERCARD",    -3, "readonly movablekeys", "set",      "1# RO access",                    FORWARD, "set",      "7.0.0", "How many members all sets have",             ""),
    ("SINTERSTORE",   -3, "write denyoom",        "set",      "1 RW update; 2..-1 RO access",    FORWARD, "set",      "1.0.0", "Stores the intersection of sets",            ""),
    ("SISMEMBER",      3, "readonly fast",        "set",      "1 RO",                            FORWARD, "set",      "1.0.0", "Whether a set has a member",                 ""),
    ("SMEMBERS",       2, "readonly",             "set",      "1 RO access",                     FORWARD, "set",      "1.0.0", "All members of a set",                       ""),
    ("SMISMEMBER",    -3, "readonly fast",        "set",      "1 RO access",                     FORWARD, "set",      "6.2.0", "Whether a set has each of several members",  ""),
    ("SMOVE",          4, "write fast",           "set",      "1 RW access delete; 2 RW insert", FORWARD, "set",      "1.0.0", "Moves a member to another set",              ""),
    ("SPOP",          -2, "write fast",           "set",      "1 RW access delete",              FORWARD, "set",      "1.0.0", "Takes random members out of a set",          ""),
    ("SRANDMEMBER",   -2, "readonly",             "set",      "1 RO access",                     FORWARD, "set",      "1.0.0", "Random members of a set",                    ""),
    ("SREM",          -3, "write fast",           "set",      "1 RW delete",                     FORWARD, "set",      "1.0.0", "Removes members of a set",                   ""),
    ("SSCAN",         -3, "readonly",             "set",      "1 RO access",                     FORWARD, "set",      "2.8.0", "Walks over the members of a set",            ""),
    ("SUNION",        -2, "readonly",             "set",      "1..-1 RO access",                 FORWARD, "set",      "1.0.0", "Members that any of the sets has",           ""),
    ("SUNIONSTORE",   -3, "write denyoom",        "set",      "1 OW update; 2..-1 RO access",    FORWARD, "set",      "1.0.0", "Stores the union of sets",                   ""),
)

# Sorted sets.
SORTED_SET: Final[tuple[Row, ...]] = (
    # name               arity flags                           categories   keys                         action   capability  since    summary                                                                    why
    ("BZMPOP",             -5, "write blocking movablekeys",   "sortedset", "2# RW access delete",       OWN,     "zset",     "7.0.0", "Takes members by score from the first sorted set that has any, or waits", ""),
    ("BZPOPMAX",           -3, "write noscript blocking fast", "sortedset", "1..-2 RW access delete",    OWN,     "zset",     "5.0.0", "Takes the member with the highest score, or waits for one",               ""),
    ("BZPOPMIN",           -3, "write noscript blocking fast", "sortedset", "1..-2 RW access delete",    OWN,     "zset",     "5.0.0", "Takes the member with the lowest score, or waits for one",                ""),
    ("ZADD",               -4, "write denyoom fast",           "sortedset", "1 RW update",               FORWARD, "zset",     "1.2.0", "Adds members with scores, or changes their scores",                       ""),
    ("ZCARD",               2, "readonly fast",                "sortedset", "1 RO",                      FORWARD, "zset",     "1.2.0", "Number of members of a sorted set",                                       ""),
    ("ZCOUNT",              4, "readonly fast",                "sortedset", "1 RO access",               FORWARD, "zset",     "2.0.0", "How many members lie in a range of scores",                               ""),
    ("ZDIFF",              -3, "readonly movablekeys",         "sortedset", "1# RO access",              FORWARD, "zset",     "6.2.0", "Members of the first sorted set that no other has",                       ""),
    ("ZDIFFSTORE",         -4, "write denyoom movablekeys",    "sortedset", "1 OW update; 2# RO access", FORWARD, "zset",     "6.2.0", "Stores the difference of sorted sets",                                    ""),
    ("ZINCRBY",             4, "write denyoom fast",           "sortedset", "1 RW access update",        FORWARD, "zset",     "1.2.0", "Adds to the score of a member",                                           ""),
    ("ZINTER",             -3, "readonly movablekeys",         "sortedset", "1# RO access",              FORWARD, "zset",     "6.2.0", "Members that all sorted sets have",                                       ""),
    ("ZINTERCARD",         -3, "readonly movablekeys",         "sortedset", "1# RO access",              FORWARD, "zset",     "7.0.0", "How many members all sorted sets have",                                   ""),
    ("ZINTERSTORE",        -4, "write denyoom movablekeys",    "sortedset", "1 OW update; 2# RO access", FORWARD, "zset",     "2.0.0", "Stores the intersection of sorted sets",                                  ""),
    ("ZLEXCOUNT",           4, "readonly fast",                "sortedset", "1 RO access",               FORWARD, "zset",     "2.8.9", "How many members lie between two names",                                  ""),
    ("ZMPOP",              -4, "write movablekeys",            "sortedset", "1# RW access delete",       FORWARD, "zset",     "7.0.0", "Takes members by score from the first sorted set that has any",           ""),
    ("ZMSCORE",            -3, "readonly fast",                "sortedset", "1 RO access",               FORWARD, "zset",     "6.2.0", "Scores of several members",                                               ""),
    ("ZPOPMAX",            -2, "write fast",                   "sortedset", "1 RW access delete",        FORWARD, "zset",     "5.0.0", "Takes the members with the highest scores",                               ""),
    ("ZPOPMIN",            -2, "write fast",                   "sortedset", "1 RW access delete",        FORWARD, "zset",     "5.0.0", "Takes the members with the lowest scores",                                ""),
    ("ZRANDMEMBER",        -2, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "6.2.0", "Random members of a sorted set",                                          ""),
    ("ZRANGE",             -4, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "1.2.0", "Members by rank, score or name",                                          ""),
    ("ZRANGEBYLEX",        -4, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "2.8.9", "Members between two names",                                               ""),
    ("ZRANGEBYSCORE",      -4, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "1.0.5", "Members between two scores",                                              ""),
    ("ZRANGESTORE",        -5, "write denyoom",                "sortedset", "1 OW update; 2 RO access",  FORWARD, "zset",     "6.2.0", "Stores a range of a sorted set",                                          ""),
    ("ZRANK",               3, "readonly fast",                "sortedset", "1 RO access",               FORWARD, "zset",     "2.0.0", "Rank of a member, lowest score first",                                    ""),
    ("ZREM",               -3, "write fast",                   "sortedset", "1 RW delete",               FORWARD, "zset",     "1.2.0", "Removes members of a sorted set",                                         ""),
    ("ZREMRANGEBYLEX",      4, "write",                        "sortedset", "1 RW delete",               FORWARD, "zset",     "2.8.9", "Removes members between two names",                                       ""),
    ("ZREMRANGEBYRANK",     4, "write",                        "sortedset", "1 RW delete",               FORWARD, "zset",     "2.0.0", "Removes members between two ranks",                                       ""),
    ("ZREMRANGEBYSCORE",    4, "write",                        "sortedset", "1 RW delete",               FORWARD, "zset",     "1.2.0", "Removes members between two scores",                                      ""),
    ("ZREVRANGE",          -4, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "1.2.0", "Members by rank, highest score first",                                    ""),
    ("ZREVRANGEBYLEX",     -4, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "2.8.9", "Members between two names, last first",                                   ""),
    ("ZREVRANGEBYSCORE",   -4, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "2.2.0", "Members between two scores, highest first",                               ""),
    ("ZREVRANK",            3, "readonly fast",                "sortedset", "1 RO access",               FORWARD, "zset",     "2.0.0", "Rank of a member, highest score first",                                   ""),
    ("ZSCAN",              -3, "readonly",                     "sortedset", "1 RO access",               FORWARD, "zset",     "2.8.0", "Walks over the members of a sorted set",                                  ""),
    ("ZSCORE",              3, "readonly fast",                "sortedset", "1 RO access",               FORWARD, "zset",     "1.2.0", "Score of a member",                                                       ""),
    ("ZUNION",             -3, "readonly movablekeys",         "sortedset", "1# RO access",              FORWARD, "zset",     "6.2.0", "Members that any of the sorted sets has",                                 ""),
    ("ZUNIONSTORE",        -4, "write denyoom movablekeys",    "sortedset", "1 OW update; 2# RO access", FORWARD, "zset",     "2.0.0", "Stores the union of sorted sets",                                         ""),
)

# Places, kept in sorted sets.
GEO: Final[tuple[Row, ...]] = (
    # name                   arity flags                        categories  keys                                                     action   capability  since     summary                                       why
    ("GEOADD",                 -5, "write denyoom",             "geo",      "1 RW update",                                           FORWARD, "geo",      "3.2.0",  "Adds places with longitude and latitude",    ""),
    ("GEODIST",                -4, "readonly",                  "geo",      "1 RO access",                                           FORWARD, "geo",      "3.2.0",  "Distance between two places",                ""),
    ("GEOHASH",                -2, "readonly",                  "geo",      "1 RO access",                                           FORWARD, "geo",      "3.2.0",  "Geohashes of places",                        ""),
    ("GEOPOS",                 -2, "readonly",                  "geo",      "1 RO access",                                           FORWARD, "geo",      "3.2.0",  "Longitude and latitude of places",           ""),
    ("GEORADIUS",              -6, "write denyoom movablekeys", "geo",      "1 RO access; STORE@6 OW update; STOREDIST@6 OW update", FORWARD, "geo",      "3.2.0",  "Places around a point, stored if asked for", ""),
    ("GEORADIUSBYMEMBER",      -5, "write denyoom movablekeys", "geo",      "1 RO access; STORE@5 OW update; STOREDIST@5 OW update", FORWARD, "geo",      "3.2.0",  "Places around a place, stored if asked for", ""),
    ("GEORADIUSBYMEMBER_RO",   -5, "readonly",                  "geo",      "1 RO access",                                           FORWARD, "geo",      "3.2.10", "Places around a place",                      ""),
    ("GEORADIUS_RO",           -6, "readonly",                  "geo",      "1 RO access",                                           FORWARD, "geo",      "3.2.10", "Places around a point",                      ""),
    ("GEOSEARCH",              -7, "readonly",                  "geo",      "1 RO access",                                           FORWARD, "geo",      "6.2.0",  "Places in a circle or a box",                ""),
    ("GEOSEARCHSTORE",         -8, "write denyoom",             "geo",      "1 OW update; 2 RO access",                              FORWARD, "geo",      "6.2.0",  "Stores the places in a circle or a box",     ""),
)

# Streams.
STREAM: Final[tuple[Row, ...]] = (
    # name                    arity flags                            categories  keys                         action   capability  since    summary                                                 why
    ("XACK",                    -4, "write fast",                    "stream",   "1 RW update",               FORWARD, "stream",   "5.0.0", "Marks entries as handled by a group",                  ""),
    ("XADD",                    -5, "write denyoom fast",            "stream",   "1 RW update",               FORWARD, "stream",   "5.0.0", "Adds an entry to a stream",                            ""),
    ("XAUTOCLAIM",              -6, "write fast",                    "stream",   "1 RW delete",               FORWARD, "stream",   "6.2.0", "Takes over entries that were left unhandled for long", ""),
    ("XCLAIM",                  -6, "write fast",                    "stream",   "1 RW update",               FORWARD, "stream",   "5.0.0", "Takes over entries of another consumer",               ""),
    ("XDEL",                    -3, "write fast",                    "stream",   "1 RW delete",               FORWARD, "stream",   "5.0.0", "Removes entries of a stream",                          ""),
    ("XGROUP",                  -2, "",                              "",         "",                          GATE,    "stream",   "5.0.0", "Consumer groups of a stream",                          ""),
    ("XGROUP|CREATE",           -5, "write denyoom",                 "stream",   "2 RW insert",               FORWARD, "stream",   "5.0.0", "Makes a consumer group",                               ""),
    ("XGROUP|CREATECONSUMER",    5, "write denyoom",                 "stream",   "2 RW insert",               FORWARD, "stream",   "6.2.0", "Makes a consumer in a group",                          ""),
    ("XGROUP|DELCONSUMER",       5, "write",                         "stream",   "2 RW delete",               FORWARD, "stream",   "5.0.0", "Removes a consumer of a group",                        ""),
    ("XGROUP|DESTROY",           4, "write",                         "stream",   "2 RW delete",               FORWARD, "stream",   "5.0.0", "Removes a consumer group",                             ""),
    ("XGROUP|HELP",              2, "loading stale",                 "stream",   "",                          GATE,    "gate",     "5.0.0", "Lists the subcommands",                                ""),
    ("XGROUP|SETID",            -5, "write",                         "stream",   "2 RW update",               FORWARD, "stream",   "5.0.0", "Moves a group to another entry",                       ""),
    ("XINFO",                   -2, "",                              "",         "",                          GATE,    "stream",   "5.0.0", "What a stream holds",                                  ""),
    ("XINFO|CONSUMERS",          4, "readonly",                      "stream",   "2 RO access",               FORWARD, "stream",   "5.0.0", "Consumers of a group",                                 ""),
    ("XINFO|GROUPS",             3, "readonly",                      "stream",   "2 RO access",               FORWARD, "stream",   "5.0.0", "Groups of a stream",                                   ""),
    ("XINFO|HELP",               2, "loading stale",                 "stream",   "",                          GATE,    "gate",     "5.0.0", "Lists the subcommands",                                ""),
    ("XINFO|STREAM",            -3, "readonly",                      "stream",   "2 RO access",               FORWARD, "stream",   "5.0.0", "Figures of a stream",                                  ""),
    ("XLEN",                     2, "readonly fast",                 "stream",   "1 RO",                      FORWARD, "stream",   "5.0.0", "Number of entries of a stream",                        ""),
    ("XPENDING",                -3, "readonly",                      "stream",   "1 RO access",               FORWARD, "stream",   "5.0.0", "Entries that were delivered and not acknowledged",     ""),
    ("XRANGE",                  -4, "readonly",                      "stream",   "1 RO access",               FORWARD, "stream",   "5.0.0", "Entries between two ids",                              ""),
    ("XREAD",                   -4, "readonly blocking movablekeys", "stream",   "STREAMS@1..-1:2 RO access", OWN,     "stream",   "5.0.0", "New entries of streams, waiting with BLOCK",           "On a connection of its own with BLOCK only, else forwarded"),
    ("XREADGROUP",              -7, "write blocking movablekeys",    "stream",   "STREAMS@4..-1:2 RO access", OWN,     "stream",   "5.0.0", "New entries for a consumer, waiting with BLOCK",       "On a connection of its own with BLOCK only, else forwarded"),
    ("XREVRANGE",               -4, "readonly",                      "stream",   "1 RO access",               FORWARD, "stream",   "5.0.0", "Entries between two ids, newest first",                ""),
    ("XSETID",                  -3, "write denyoom fast",            "stream",   "1 RW update",               FORWARD, "stream",   "5.0.0", "Sets the last id of a stream",                         ""),
    ("XTRIM",                   -4, "write",                         "stream",   "1 RW delete",               FORWARD, "stream",   "5.0.0", "Drops old entries of a stream",                        ""),
)
