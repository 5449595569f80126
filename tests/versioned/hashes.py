"""TairHash's rows of tair.md as dialogues: the type, reading, deleting (notation: replies.py)."""

from typing import Final

# @k, @l are keys of one case; 33177117420 is the year 3021
HASHES: Final[dict[str, str]] = {
    "a new field has version 1, each write adds one": r"""
        EXHSET @k f v                                     > :1
        EXHGET @k f                                       > $v
        EXHGETWITHVER @k f                                > [$v :1]
        EXHSET @k f w                                     > :0
        EXHGETWITHVER @k f                                > [$w :2]
        EXHSET @k g x                                     > :1
        EXHVER @k f                                       > :2
        EXHVER @k g                                       > :1
        exhget @k g                                       > $x
    """,
    "its type": r"""
        EXHSET @k f v                                     > :1
        TYPE @k                                           > +tairhash-
        OBJECT ENCODING @k                                > $raw
        COPY @k @l                                        > -ERR not supported for this module key
        GET @k                                            > -WRONGTYPE Operation against a key holding the wrong kind of value
        APPEND @k x                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        HGET @k f                                         > -WRONGTYPE Operation against a key holding the wrong kind of value
        HGETALL @k                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        HSET @k f v                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        HKEYS @k                                          > -WRONGTYPE Operation against a key holding the wrong kind of value
        HLEN @k                                           > -WRONGTYPE Operation against a key holding the wrong kind of value
        HRANDFIELD @k                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXGET @k                                          > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXSET @k v                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXCAS @k v 1                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXAPPEND @k v                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        CAS @k v w                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        MGET @k                                           > [nil]
        EXHGET @k f                                       > $v
        SET @k plain                                      > +OK
        GET @k                                            > $plain
    """,
    "its commands on other types": r"""
        SET @k plain                                      > +OK
        EXHSET @k f v                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHSET @k f v JUNK                                > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHSETNX @k f v                                   > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHMSET @k f v                                    > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHMSETWITHOPTS @k f v 0 100                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHINCRBY @k f 1                                  > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHINCRBYFLOAT @k f 1                             > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHEXPIRE @k f 100                                > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHTTL @k f                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHPTTL @k f                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHPERSIST @k f                                   > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHVER @k f                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHSETVER @k f 1                                  > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHGET @k f                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHGETWITHVER @k f                                > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHMGET @k f                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHMGETWITHVER @k f                               > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHGETALL @k                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHGETALLWITHVER @k                               > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHKEYS @k                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHVALS @k                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHLEN @k                                         > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHSTRLEN @k f                                    > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHEXISTS @k f                                    > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHDEL @k f                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHDELWITHVER @k f 0                              > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHSCAN @k 0                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        GET @k                                            > $plain
        HSET @l f v                                       > :1
        EXHGET @l f                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHSET @l f w                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHDEL @l f                                       > -WRONGTYPE Operation against a key holding the wrong kind of value
        HGET @l f                                         > $v
        DEL @l                                            > :1
        EXSET @l v                                        > +OK
        EXHSET @l f v                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXHLEN @l                                         > -WRONGTYPE Operation against a key holding the wrong kind of value
    """,
    "wrong numbers of arguments": r"""
        EXHSET @k f                                       > -ERR wrong number of arguments for 'exhset' command
        EXHSETNX @k f v x                                 > -ERR wrong number of arguments for 'exhsetnx' command
        EXHMSET @k f                                      > -ERR wrong number of arguments for 'exhmset' command
        EXHMSET @k f v g                                  > -ERR wrong number of arguments for 'exhmset' command
        EXHMSETWITHOPTS @k f v 1                          > -ERR wrong number of arguments for 'exhmsetwithopts' command
        EXHMSETWITHOPTS @k f v 1 1 g                      > -ERR wrong number of arguments for 'exhmsetwithopts' command
        EXHEXPIRE @k f                                    > -ERR wrong number of arguments for 'exhexpire' command
        EXHTTL @k                                         > -ERR wrong number of arguments for 'exhttl' command
        EXHPTTL @k f g                                    > -ERR wrong number of arguments for 'exhpttl' command
        EXHPERSIST @k                                     > -ERR wrong number of arguments for 'exhpersist' command
        EXHVER @k                                         > -ERR wrong number of arguments for 'exhver' command
        EXHSETVER @k f                                    > -ERR wrong number of arguments for 'exhsetver' command
        EXHINCRBY @k f                                    > -ERR wrong number of arguments for 'exhincrby' command
        EXHINCRBYFLOAT @k f                               > -ERR wrong number of arguments for 'exhincrbyfloat' command
        EXHGET @k                                         > -ERR wrong number of arguments for 'exhget' command
        EXHGETWITHVER @k f g                              > -ERR wrong number of arguments for 'exhgetwithver' command
        EXHMGET @k                                        > -ERR wrong number of arguments for 'exhmget' command
        EXHMGETWITHVER @k                                 > -ERR wrong number of arguments for 'exhmgetwithver' command
        EXHGETALL @k f                                    > -ERR wrong number of arguments for 'exhgetall' command
        EXHKEYS                                           > -ERR wrong number of arguments for 'exhkeys' command
        EXHVALS @k f                                      > -ERR wrong number of arguments for 'exhvals' command
        EXHSTRLEN @k                                      > -ERR wrong number of arguments for 'exhstrlen' command
        EXHEXISTS @k                                      > -ERR wrong number of arguments for 'exhexists' command
        EXHDEL @k                                         > -ERR wrong number of arguments for 'exhdel' command
        EXHDELWITHVER @k f                                > -ERR wrong number of arguments for 'exhdelwithver' command
        EXHDELWITHVER @k f 1 g                            > -ERR wrong number of arguments for 'exhdelwithver' command
        EXHLEN @k NOEXP x                                 > -ERR wrong number of arguments for 'exhlen' command
        EXHSCAN @k                                        > -ERR wrong number of arguments for 'exhscan' command
    """,
    "what is not there": r"""
        EXHGET @k f                                       > nil
        EXHGETWITHVER @k f                                > nil
        EXHMGET @k f g                                    > [nil nil]
        EXHMGETWITHVER @k f g                             > [nil nil]
        EXHGETALL @k                                      > []
        EXHGETALLWITHVER @k                               > []
        EXHKEYS @k                                        > []
        EXHVALS @k                                        > []
        EXHLEN @k                                         > :0
        EXHLEN @k NOEXP                                   > :0
        EXHSTRLEN @k f                                    > :0
        EXHEXISTS @k f                                    > :0
        EXHDEL @k f                                       > :0
        EXHDELWITHVER @k f 0                              > :0
        EXHSCAN @k 0                                      > [+0 []]
        EXHTTL @k f                                       > :-2
        EXHPTTL @k f                                      > :-2
        EXHPERSIST @k f                                   > :0
        EXHVER @k f                                       > :-1
        EXHSETVER @k f 5                                  > :0
        EXHEXPIRE @k f 100                                > :0
        EXHPEXPIRE @k f 100                               > :0
        EXHEXPIREAT @k f 33177117420                      > :0
        EXHPEXPIREAT @k f 33177117420000 ABS 5            > :0
        EXISTS @k                                         > :0
        EXHSET @k g v                                     > :1
        EXHGET @k f                                       > nil
        EXHGETWITHVER @k f                                > nil
        EXHMGET @k f g                                    > [nil $v]
        EXHMGETWITHVER @k f g                             > [nil [$v :1]]
        EXHSTRLEN @k f                                    > :0
        EXHEXISTS @k f                                    > :0
        EXHDEL @k f                                       > :0
        EXHTTL @k f                                       > :-3
        EXHPTTL @k f                                      > :-3
        EXHPERSIST @k f                                   > :0
        EXHVER @k f                                       > :-2
        EXHSETVER @k f 5                                  > :0
        EXHEXPIRE @k f 100 GT 5                           > :0
    """,
    "reading": r"""
        EXHMSET @k f abc g ''                             > +OK
        EXHSTRLEN @k f                                    > :3
        EXHSTRLEN @k g                                    > :0
        EXHEXISTS @k g                                    > :1
        EXHLEN @k                                         > :2
        EXHLEN @k noexp                                   > :2
        EXHLEN @k x                                       > -ERR syntax error
        EXHKEYS @k                                        > {$f ; $g}
        EXHVALS @k                                        > {$abc ; $}
        EXHGETALL @k                                      > {$f $abc ; $g $}
        EXHMGET @k f f x g                                > [$abc $abc nil $]
        EXHMGETWITHVER @k g x f                           > [[$ :1] nil [$abc :1]]
        EXHSET @k '' empty                                > :1
        EXHGET @k ''                                      > $empty
        EXHSET @k \x00\r\n\xff \xfe                       > :1
        EXHGETWITHVER @k \x00\r\n\xff                     > [$\xfe :1]
        EXHLEN @k                                         > :4
    """,
    "EXHDEL and EXHDELWITHVER": r"""
        EXHMSET @k a 1 b 2 c 3 d 4                        > +OK
        EXHDEL @k a a x                                   > :1
        EXHDELWITHVER @k b 2                              > :0
        EXHDELWITHVER @k b 1 c 7 x 1                      > :1
        EXHDELWITHVER @k c 0                              > :1
        EXHDELWITHVER @k d x                              > -ERR syntax error
        EXHDELWITHVER @k d 1 d x                          > -ERR syntax error
        EXHGETALL @k                                      > [$d $4]
        EXHDEL @k d                                       > :1
        EXISTS @k                                         > :0
        TYPE @k                                           > +none
    """,
    "EXHSCAN": r"""
        EXHMSET @k f1 v1 f2 v2 g1 w1                      > +OK
        EXHSCAN @k 0                                      > [$0 {$f1 $v1 ; $f2 $v2 ; $g1 $w1}]
        EXHSCAN @k 0 COUNT 100 MATCH f*                   > [$0 {$f1 $v1 ; $f2 $v2}]
        EXHSCAN @k 0 match nothing count 100              > [$0 []]
        EXHSCAN @k 0 COUNT x                              > -ERR syntax error
        EXHSCAN @k 0 COUNT                                > -ERR syntax error
        EXHSCAN @k 0 JUNK                                 > -ERR syntax error
        EXHSCAN @k 0 NOVALUES                             > -ERR syntax error
        EXHSCAN @k x                                      > -ERR syntax error
        EXHSCAN @l 0 MATCH f*                             > [+0 []]
    """,
    "expiry of the whole key": r"""
        EXHSET @k f v                                     > :1
        PEXPIREAT @k 33177117420000                       > :1
        EXHSET @k f w                                     > :0
        EXHDEL @k x                                       > :0
        EXHEXPIRE @k f 1000                               > :1
        PEXPIRETIME @k                                    > :33177117420000
        PERSIST @k                                        > :1
        PEXPIRETIME @k                                    > :-1
        EXHTTL @k f                                       > ~900..1000
        PEXPIREAT @k 1                                    > :1
        EXHGET @k f                                       > nil
        EXHSET @k f v                                     > :1
        EXHGETWITHVER @k f                                > [$v :1]
    """,
    "RENAME and DEL": r"""
        EXHSET @k f v EX 1000 ABS 9                       > :1
        RENAME @k @l                                      > +OK
        EXHGET @k f                                       > nil
        EXHGETWITHVER @l f                                > [$v :9]
        EXHTTL @l f                                       > ~900..1000
        TYPE @l                                           > +tairhash-
        DEL @l                                            > :1
        EXHVER @l f                                       > :-1
        EXHSET @l f v                                     > :1
        EXHVER @l f                                       > :1
        EXHTTL @l f                                       > :-1
    """,
}
