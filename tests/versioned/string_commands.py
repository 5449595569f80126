"""TairString's rows of tair.md as dialogues: the commands but for EXSET and the increments (notation: replies.py)."""

from typing import Final

# @k, @l are keys of one case; 33177117420 is the year 3021
STRING_COMMANDS: Final[dict[str, str]] = {
    "wrong numbers of arguments": r"""
        EXSET @k                                          > -ERR wrong number of arguments for 'exset' command
        EXGET                                             > -ERR wrong number of arguments for 'exget' command
        EXGET @k WITHFLAGS x                              > -ERR wrong number of arguments for 'exget' command
        EXSETVER @k                                       > -ERR wrong number of arguments for 'exsetver' command
        EXSETVER @k 1 2                                   > -ERR wrong number of arguments for 'exsetver' command
        EXINCRBY @k                                       > -ERR wrong number of arguments for 'exincrby' command
        EXINCRBYFLOAT @k                                  > -ERR wrong number of arguments for 'exincrbyfloat' command
        EXCAS @k v                                        > -ERR wrong number of arguments for 'excas' command
        EXCAD @k                                          > -ERR wrong number of arguments for 'excad' command
        EXCAD @k 1 2                                      > -ERR wrong number of arguments for 'excad' command
        EXAPPEND @k                                       > -ERR wrong number of arguments for 'exappend' command
        EXPREPEND @k                                      > -ERR wrong number of arguments for 'exprepend' command
        EXGAE @k EX                                       > -ERR wrong number of arguments for 'exgae' command
        CAS @k v                                          > -ERR wrong number of arguments for 'cas' command
        CAD @k                                            > -ERR wrong number of arguments for 'cad' command
        CAD @k v w                                        > -ERR wrong number of arguments for 'cad' command
    """,
    "EXGET": r"""
        EXGET @k                                          > nil
        EXGET @k WITHFLAGS                                > nil
        EXGET @k FLAGS                                    > -ERR syntax error
        SET @k plain                                      > +OK
        EXGET @k FLAGS                                    > -ERR syntax error
    """,
    "EXSETVER": r"""
        EXSETVER @k 5                                     > :0
        EXSETVER @k x                                     > :0
        EXSETVER @k 0                                     > :0
        EXSET @k v FLAGS 3 PXAT 33177117420000            > +OK
        EXSETVER @k 5                                     > :1
        EXGET @k WITHFLAGS                                > [$v :5 :3]
        PEXPIRETIME @k                                    > :33177117420000
        EXSETVER @k 0                                     > -ERR syntax error
        EXSETVER @k -1                                    > -ERR syntax error
        EXSETVER @k x                                     > -ERR syntax error
        EXSETVER @k 5.0                                   > -ERR syntax error
        EXSETVER @k 9223372036854775807                   > :1
        EXGET @k                                          > [$v :9223372036854775807]
    """,
    "EXCAS": r"""
        EXCAS @k v 1                                      > :-1
        EXCAS @k v 0                                      > :-1
        EXSET @k old FLAGS 9                              > +OK
        EXCAS @k new 2                                    > [+CAS_FAILED $old :1]
        EXCAS @k new 0                                    > [+CAS_FAILED $old :1]
        EXCAS @k new 1                                    > [+OK + :2]
        EXGET @k WITHFLAGS                                > [$new :2 :9]
        EXCAS @k x y                                      > -ERR version should be integer
        EXCAS @k x 1.5                                    > -ERR version should be integer
        EXCAS @k x ''                                     > -ERR version should be integer
        EXCAS @k x -1                                     > -ERR syntax error
        EXCAS @k x 2 NX                                   > -ERR syntax error
        EXCAS @k x 2 XX                                   > -ERR syntax error
        EXCAS @k x 2 FLAGS 1                              > -ERR syntax error
        EXCAS @k x 2 VER 2                                > -ERR syntax error
        EXCAS @k x 2 ABS 7                                > -ERR syntax error
        EXCAS @k x 2 WITHVERSION                          > -ERR syntax error
        EXCAS @k x 2 EX 10 KEEPTTL                        > -ERR syntax error
        EXCAS @k x y EX                                   > -ERR syntax error
        EXCAS @k x y EX z                                 > -ERR syntax error
        EXCAS @k x y EX 0                                 > -ERR version should be integer
        EXSET @k v ABS 0                                  > +OK
        EXCAS @k w 0 pxat 33177117420000                  > [+OK + :1]
        PEXPIRETIME @k                                    > :33177117420000
        EXCAS @k '' 1 KEEPTTL                             > [+OK + :2]
        EXCAS @k v 1                                      > [+CAS_FAILED $ :2]
    """,
    "EXCAD": r"""
        EXCAD @k 1                                        > :-1
        EXSET @k v                                        > +OK
        EXCAD @k 2                                        > :0
        EXCAD @k 0                                        > :0
        EXCAD @k -1                                       > :0
        EXCAD @k x                                        > -ERR version should be integer
        EXCAD @k 1.0                                      > -ERR version should be integer
        EXCAD @k 1                                        > :1
        EXCAD @k 1                                        > :-1
        EXISTS @k                                         > :0
        EXSET @k v ABS 0                                  > +OK
        EXCAD @k 0                                        > :1
    """,
    "EXAPPEND and EXPREPEND": r"""
        EXAPPEND @k b                                     > :1
        EXAPPEND @k c                                     > :2
        EXPREPEND @k a                                    > :3
        EXGET @k WITHFLAGS                                > [$abc :3 :0]
        EXPREPEND @l x                                    > :1
        EXGET @l                                          > [$x :1]
        EXAPPEND @k '' VER 3                              > :4
        EXGET @k                                          > [$abc :4]
        EXAPPEND @k d VER 3                               > -ERR update version is stale
        EXPREPEND @k d VER 5                              > -ERR update version is stale
        EXAPPEND @k d VER 0                               > :5
        EXPREPEND @k _ ABS 100                            > :100
        EXGET @k                                          > [$_abcd :100]
        EXAPPEND @k e ABS 0                               > :0
        EXSET @k v FLAGS 5 PXAT 33177117420000            > +OK
        EXAPPEND @k w                                     > :2
        EXPREPEND @k u                                    > :3
        EXGET @k WITHFLAGS                                > [$uvw :3 :5]
        PEXPIRETIME @k                                    > :33177117420000
    """,
    "EXAPPEND and EXPREPEND: options": r"""
        EXAPPEND @k v XX                                  > nil
        EXPREPEND @k v XX                                 > nil
        EXAPPEND @k v VER 5                               > :1
        EXAPPEND @k v NX                                  > nil
        EXPREPEND @k v NX VER 9                           > nil
        EXPREPEND @k v XX                                 > :2
        EXAPPEND @k v EX 10                               > -ERR syntax error
        EXAPPEND @k v KEEPTTL                             > -ERR syntax error
        EXAPPEND @k v FLAGS 1                             > -ERR syntax error
        EXAPPEND @k v WITHVERSION                         > -ERR syntax error
        EXAPPEND @k v NX XX                               > -ERR syntax error
        EXPREPEND @k v VER 1 ABS 1                        > -ERR syntax error
        EXPREPEND @k v VER -1                             > -ERR syntax error
        EXPREPEND @k v ABS                                > -ERR syntax error
        EXPREPEND @k v ABS x                              > -ERR syntax error
        EXGET @k                                          > [$vv :2]
        SET @l plain                                      > +OK
        EXAPPEND @l v NX                                  > nil
        EXPREPEND @l v NX                                 > nil
        GET @l                                            > $plain
    """,
    "EXGAE": r"""
        EXGAE @k EX 1000                                  > nil
        EXSET @k v FLAGS 4 ABS 8                          > +OK
        EXGAE @k PXAT 33177117420000                      > [$v :8 :4]
        PEXPIRETIME @k                                    > :33177117420000
        EXGAE @k EXAT 33177117421                         > [$v :8 :4]
        PEXPIRETIME @k                                    > :33177117421000
        EXGAE @k ex 1000                                  > [$v :8 :4]
        TTL @k                                            > ~900..1000
        EXGAE @k Px 1000000                               > [$v :8 :4]
        TTL @k                                            > ~900..1000
        EXGAE @k KEEPTTL 10                               > -ERR syntax error
        EXGAE @k NX XX                                    > -ERR syntax error
        EXGAE @k VER 8                                    > -ERR syntax error
        EXGAE @k EX x                                     > -ERR syntax error
        EXGET @k                                          > [$v :8]
        EXGAE @k PXAT 1                                   > [$v :8 :4]
        EXISTS @k                                         > :0
        SET @k plain                                      > +OK
        EXGAE @k EX 0                                     > -ERR syntax error
    """,
    "RENAME takes everything along": r"""
        EXSET @k v FLAGS 4 ABS 8 PXAT 33177117420000      > +OK
        RENAME @k @l                                      > +OK
        EXGET @k                                          > nil
        EXGET @l WITHFLAGS                                > [$v :8 :4]
        PEXPIRETIME @l                                    > :33177117420000
        TYPE @l                                           > +exstrtype
        EXSET @k w                                        > +OK
        RENAMENX @k @l                                    > :0
        RENAME @l @k                                      > +OK
        EXGET @k WITHFLAGS                                > [$v :8 :4]
    """,
    "DEL forgets everything": r"""
        EXSET @k v FLAGS 4 ABS 8 PXAT 33177117420000      > +OK
        DEL @k                                            > :1
        EXGET @k                                          > nil
        EXSET @k v                                        > +OK
        EXGET @k WITHFLAGS                                > [$v :1 :0]
        PEXPIRETIME @k                                    > :-1
        UNLINK @k                                         > :1
        EXGET @k                                          > nil
    """,
    "SET replaces it whole": r"""
        EXSET @k v FLAGS 4 ABS 8 PXAT 33177117420000      > +OK
        SET @k plain KEEPTTL                              > +OK
        PEXPIRETIME @k                                    > :33177117420000
        GET @k                                            > $plain
        DEL @k                                            > :1
        EXSET @k v                                        > +OK
        EXGET @k WITHFLAGS                                > [$v :1 :0]
    """,
}
