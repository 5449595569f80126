"""TairString's rows of tair.md as dialogues: the type, EXSET, versions and expiry (notation: replies.py)."""

from typing import Final

# @k, @l are keys of one case; 33177117420 is the year 3021
STRINGS: Final[dict[str, str]] = {
    "a new key has version 1, each write adds one": r"""
        EXSET @k v                                        > +OK
        EXGET @k                                          > [$v :1]
        EXSET @k w                                        > +OK
        EXGET @k                                          > [$w :2]
        EXGET @k WITHFLAGS                                > [$w :2 :0]
        exget @k withflags                                > [$w :2 :0]
    """,
    "values are bytes": r"""
        EXSET @k ''                                       > +OK
        EXGET @k                                          > [$ :1]
        EXSET @k \x00\r\n\xff                             > +OK
        EXGET @k                                          > [$\x00\r\n\xff :2]
        EXAPPEND @k \x00                                  > :3
        EXGET @k                                          > [$\x00\r\n\xff\x00 :3]
    """,
    "its type": r"""
        EXSET @k v                                        > +OK
        TYPE @k                                           > +exstrtype
        OBJECT ENCODING @k                                > $raw
        EXISTS @k                                         > :1
        COPY @k @l                                        > -ERR not supported for this module key
        EXISTS @l                                         > :0
        COPY @l @k                                        > :0
        SET @l plain                                      > +OK
        COPY @k @l                                        > :0
        COPY @k @l REPLACE                                > -ERR not supported for this module key
        GET @l                                            > $plain
    """,
    "other commands on it": r"""
        EXSET @k 5                                        > +OK
        GET @k                                            > -WRONGTYPE Operation against a key holding the wrong kind of value
        INCR @k                                           > -WRONGTYPE Operation against a key holding the wrong kind of value
        APPEND @k x                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        STRLEN @k                                         > -WRONGTYPE Operation against a key holding the wrong kind of value
        GETSET @k x                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        GETDEL @k                                         > -WRONGTYPE Operation against a key holding the wrong kind of value
        GETBIT @k 0                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        SETRANGE @k 0 x                                   > -WRONGTYPE Operation against a key holding the wrong kind of value
        HGET @k f                                         > -WRONGTYPE Operation against a key holding the wrong kind of value
        HGETALL @k                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        HLEN @k                                           > -WRONGTYPE Operation against a key holding the wrong kind of value
        HSET @k f v                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        HDEL @k f                                         > -WRONGTYPE Operation against a key holding the wrong kind of value
        HSCAN @k 0                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        HINCRBY @k f 1                                    > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHGET @k f                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHSET @k f v                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        CAS @k 5 6                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        CAD @k 5                                          > -WRONGTYPE Operation against a key holding the wrong kind of value
        MGET @k                                           > [nil]
        SETNX @k x                                        > :0
        EXGET @k                                          > [$5 :1]
        SET @k x                                          > +OK
        GET @k                                            > $x
        TYPE @k                                           > +string
    """,
    "its commands on a plain string": r"""
        SET @k 5                                          > +OK
        EXSET @k v                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXSET @k v NX                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXSET @k v XX                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXGET @k                                          > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXGET @k WITHFLAGS                                > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXSETVER @k 5                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXSETVER @k x                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXINCRBY @k 1                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXINCRBYFLOAT @k 1                                > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXCAS @k v 1                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXCAD @k 1                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXAPPEND @k v                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXPREPEND @k v XX                                 > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXGAE @k EX 100                                   > -WRONGTYPE Operation against a key holding the wrong kind of value
        GET @k                                            > $5
    """,
    "its commands on a plain hash": r"""
        HSET @k f v                                       > :1
        EXSET @k v                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXGET @k                                          > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXINCRBY @k 1                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXCAS @k v 1                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXCAD @k 1                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXGAE @k PX 100000                                > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXAPPEND @k v NX                                  > nil
        TYPE @k                                           > +hash
        HGET @k f                                         > $v
    """,
    "options of EXSET: any case, any order": r"""
        EXSET @k v flags 7 withversion Pxat 33177117420000 nX abs 41 > :41
        EXGET @k WITHFLAGS                                > [$v :41 :7]
        PEXPIRETIME @k                                    > :33177117420000
        EXSET @k w KeepTTL Ver 41 xx WITHVERSION          > :42
        EXGET @k WITHFLAGS                                > [$w :42 :7]
        PEXPIRETIME @k                                    > :33177117420000
    """,
    "EXSET NX and XX": r"""
        EXSET @k v XX                                     > nil
        EXSET @k v XX XX                                  > nil
        EXISTS @k                                         > :0
        EXSET @k v NX NX WITHVERSION                      > :1
        EXSET @k w NX                                     > nil
        EXSET @k w NX VER 9                               > nil
        EXSET @k w NX VER 1 WITHVERSION                   > nil
        EXSET @k w XX                                     > +OK
        EXGET @k                                          > [$w :2]
    """,
    "EXSET VER": r"""
        EXSET @k v VER 77 WITHVERSION                     > :1
        EXSET @k w VER 2                                  > -ERR update version is stale
        EXSET @k w VER 9223372036854775807                > -ERR update version is stale
        EXSET @k w VER 1                                  > +OK
        EXSET @k x VER 1                                  > -ERR update version is stale
        EXSET @k x VER 0 WITHVERSION                      > :3
        EXGET @k                                          > [$x :3]
    """,
    "EXSET ABS": r"""
        EXSET @k v ABS 10 WITHVERSION                     > :10
        EXSET @k v ABS 5 WITHVERSION                      > :5
        EXSET @k v WITHVERSION                            > :6
        EXSET @k v ABS 0 WITHVERSION                      > :0
        EXGET @k                                          > [$v :0]
        EXSET @k v WITHVERSION                            > :1
        EXSET @l v ABS 0                                  > +OK
        EXGET @l                                          > [$v :0]
    """,
    "versions up to 2^63-1, and beyond": r"""
        EXSET @k v ABS 9007199254740993 WITHVERSION       > :9007199254740993
        EXSET @k v WITHVERSION                            > :9007199254740994
        EXSET @k v VER 9007199254740993                   > -ERR update version is stale
        EXSET @k v VER 9007199254740995                   > -ERR update version is stale
        EXSET @k v VER 9007199254740994 WITHVERSION       > :9007199254740995
        EXSET @k v ABS 9223372036854775806 WITHVERSION    > :9223372036854775806
        EXSET @k v VER 9223372036854775806 WITHVERSION    > :9223372036854775807
        EXSET @k w VER 9223372036854775806                > -ERR update version is stale
        EXCAS @k w 9223372036854775806                    > [+CAS_FAILED $v :9223372036854775807]
        EXCAS @k w 9223372036854775807                    > [+OK + :-9223372036854775808]
        EXGET @k                                          > [$w :-9223372036854775808]
        EXSET @k x WITHVERSION                            > :-9223372036854775807
        EXSET @k x ABS 9223372036854775808                > -ERR syntax error
        EXSETVER @k 9223372036854775807                   > :1
        EXINCRBYFLOAT @k 1                                > -ERR value is not a float
        EXAPPEND @k y                                     > :-9223372036854775808
    """,
    "EXSET FLAGS": r"""
        EXSET @k v FLAGS 4294967295                       > +OK
        EXGET @k WITHFLAGS                                > [$v :1 :4294967295]
        EXSET @k w                                        > +OK
        EXGET @k WITHFLAGS                                > [$w :2 :4294967295]
        EXSET @k w FLAGS 0                                > +OK
        EXGET @k WITHFLAGS                                > [$w :3 :0]
        EXSET @k w FLAGS 4294967296                       > -ERR syntax error
        EXSET @k w FLAGS -1                               > -ERR syntax error
        EXSET @k w FLAGS x                                > -ERR syntax error
        EXSET @k w FLAGS 1.0                              > -ERR syntax error
        EXSET @k w FLAGS 01                               > -ERR syntax error
        EXSET @k w FLAGS 1 FLAGS 1                        > -ERR syntax error
        EXSET @k w FLAGS                                  > -ERR syntax error
        EXGET @k WITHFLAGS                                > [$w :3 :0]
    """,
    "the expiry goes without KEEPTTL": r"""
        EXSET @k 5 PXAT 33177117420000                    > +OK
        EXSET @k 5 KEEPTTL                                > +OK
        PEXPIRETIME @k                                    > :33177117420000
        EXSET @k 5 KEEPTTL KEEPTTL                        > +OK
        PEXPIRETIME @k                                    > :33177117420000
        EXSET @k 5                                        > +OK
        PEXPIRETIME @k                                    > :-1
        EXINCRBY @k 1 EXAT 33177117420                    > :6
        PEXPIRETIME @k                                    > :33177117420000
        EXINCRBY @k 1 KEEPTTL                             > :7
        PEXPIRETIME @k                                    > :33177117420000
        EXINCRBYFLOAT @k 1 KEEPTTL                        > $8
        PEXPIRETIME @k                                    > :33177117420000
        EXCAS @k 9 7 KEEPTTL                              > [+OK + :8]
        PEXPIRETIME @k                                    > :33177117420000
        EXAPPEND @k 0                                     > :9
        EXPREPEND @k 0                                    > :10
        EXSETVER @k 3                                     > :1
        PEXPIRETIME @k                                    > :33177117420000
        EXCAS @k 9 3                                      > [+OK + :4]
        PEXPIRETIME @k                                    > :-1
        PEXPIREAT @k 33177117420000                       > :1
        EXINCRBY @k 1                                     > :10
        PEXPIRETIME @k                                    > :-1
        PEXPIREAT @k 33177117420000                       > :1
        EXINCRBYFLOAT @k 1                                > $11
        PEXPIRETIME @k                                    > :-1
    """,
    "expiry that is relative": r"""
        EXSET @k v EX 1000                                > +OK
        PTTL @k                                           > ~900000..1000000
        EXSET @k v PX 1000000                             > +OK
        TTL @k                                            > ~900..1000
        EXSET @k v ex 1 pX 5                              > -ERR syntax error
        PERSIST @k                                        > :1
        EXPIRE @k 1000                                    > :1
        TTL @k                                            > ~900..1000
    """,
    "expiry in the past": r"""
        EXSET @k v PXAT 1                                 > +OK
        EXGET @k                                          > nil
        EXISTS @k                                         > :0
        TYPE @k                                           > +none
        EXSET @k v EXAT 1 WITHVERSION                     > :1
        EXSET @k v NX WITHVERSION                         > :1
        EXSET @k v PXAT 1 WITHVERSION                     > :2
        EXSET @k v XX                                     > nil
        EXINCRBY @k 1 PXAT 1                              > :1
        EXINCRBY @k 1                                     > :1
        EXCAS @k 5 1 EXAT 1                               > [+OK + :2]
        EXCAS @k 5 2                                      > :-1
    """,
    "expiry that is none": r"""
        EXSET @k v EX 0                                   > -ERR syntax error
        EXSET @k v EX -1                                  > -ERR syntax error
        EXSET @k v PX 0                                   > -ERR syntax error
        EXSET @k v EXAT 0                                 > -ERR syntax error
        EXSET @k v PXAT -1                                > -ERR syntax error
        EXSET @k v PX x                                   > -ERR syntax error
        EXSET @k v PX 1.5                                 > -ERR syntax error
        EXSET @k v PX 9223372036854775808                 > -ERR syntax error
        EXSET @k v EX                                     > -ERR syntax error
        EXINCRBY @k 1 EX 0                                > -ERR syntax error
        EXINCRBYFLOAT @k 1 PX -5                          > -ERR syntax error
        EXCAS @k v 1 EXAT 0                               > -ERR syntax error
        EXGAE @k PXAT 0                                   > -ERR syntax error
        CAS @k v w EX 0                                   > -ERR syntax error
        EXISTS @k                                         > :0
    """,
    "expiry that no clock will reach": r"""
        EXSET @k v EX 9223372036854775807                 > -ERR syntax error
        EXSET @k v EXAT 9223372036854775807               > -ERR syntax error
        EXSET @k v PX 9223372036854775807                 > -ERR syntax error
        EXSET @k v EX 9223372036854776                    > -ERR syntax error
        EXISTS @k                                         > :0
        EXSET @k v PXAT 9223372036854775807               > +OK
        PEXPIRETIME @k                                    > :9223372036854775807
        EXGET @k                                          > [$v :1]
        EXGAE @k EXAT 9223372036854776                    > -ERR syntax error
        EXCAS @k w 1 PX 9223372036854775807               > -ERR syntax error
        EXGET @k                                          > [$v :1]
    """,
    "options that exclude one another or are said twice": r"""
        EXSET @k v NX XX                                  > -ERR syntax error
        EXSET @k v XX NX                                  > -ERR syntax error
        EXSET @k v EX 10 EX 10                            > -ERR syntax error
        EXSET @k v PX 10 EX 10                            > -ERR syntax error
        EXSET @k v EXAT 33177117420 PX 10                 > -ERR syntax error
        EXSET @k v EX 10 KEEPTTL                          > -ERR syntax error
        EXSET @k v KEEPTTL PXAT 33177117420000            > -ERR syntax error
        EXSET @k v VER 1 ABS 1                            > -ERR syntax error
        EXSET @k v ABS 1 VER 1                            > -ERR syntax error
        EXSET @k v VER 1 VER 1                            > -ERR syntax error
        EXSET @k v ABS 1 ABS 1                            > -ERR syntax error
        EXSET @k v VER                                    > -ERR syntax error
        EXSET @k v ABS                                    > -ERR syntax error
        EXSET @k v VER x                                  > -ERR syntax error
        EXSET @k v VER -1                                 > -ERR syntax error
        EXSET @k v ABS -1                                 > -ERR syntax error
        EXSET @k v ABS 01                                 > -ERR syntax error
        EXSET @k v VER +1                                 > -ERR syntax error
        EXSET @k v DEF 1                                  > -ERR syntax error
        EXSET @k v MIN 1                                  > -ERR syntax error
        EXSET @k v MAX 1                                  > -ERR syntax error
        EXSET @k v NONEGATIVE                             > -ERR syntax error
        EXSET @k v GT 1                                   > -ERR syntax error
        EXSET @k v JUNK                                   > -ERR syntax error
        EXSET @k v ''                                     > -ERR syntax error
        EXISTS @k                                         > :0
    """,
}
