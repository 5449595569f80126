"""TairHash's rows of tair.md as dialogues: writing (notation: replies.py)."""

from typing import Final

# @k, @l are keys of one case; 33177117420 is the year 3021
HASH_WRITES: Final[dict[str, str]] = {
    "EXHSET: NX and XX": r"""
        EXHSET @k f v XX                                  > :-1
        EXISTS @k                                         > :0
        EXHSET @k f v NX NX                               > :1
        EXHSET @k f w NX                                  > :-1
        EXHSET @k f w nx VER 9                            > :-1
        EXHSET @k f w xx                                  > :0
        EXHSET @k g w XX                                  > :-1
        EXHGETALLWITHVER @k                               > [$f $w :2]
        EXHSET @k f w NX XX                               > -ERR syntax error
        EXHSET @k f w XX NX                               > -ERR syntax error
    """,
    "EXHSET: VER, ABS, GT": r"""
        EXHSET @k f v VER 9                               > :1
        EXHSET @k f w VER 2                               > -ERR update version is stale
        EXHSET @k f w ver 1                               > :0
        EXHSET @k f w VER 0                               > :0
        EXHVER @k f                                       > :3
        EXHSET @k f x abs 10                              > :0
        EXHVER @k f                                       > :10
        EXHSET @k f x ABS 5                               > :0
        EXHSET @k f y GT 5                                > -ERR update version is stale
        EXHSET @k f y GT 4                                > -ERR update version is stale
        EXHGETWITHVER @k f                                > [$x :5]
        EXHSET @k f y gt 6                                > :0
        EXHGETWITHVER @k f                                > [$y :6]
        EXHSET @k f z GT 100                              > :0
        EXHGETWITHVER @k f                                > [$z :100]
        EXHSET @k g v GT 7                                > :1
        EXHVER @k g                                       > :7
        EXHSET @k h v ABS 7                               > :1
        EXHVER @k h                                       > :7
        EXHSET @k f v ABS 0                               > -ERR syntax error
        EXHSET @k f v GT 0                                > -ERR syntax error
        EXHSET @k f v VER -1                              > -ERR syntax error
        EXHSET @k f v ABS -1                              > -ERR syntax error
        EXHSET @k f v GT x                                > -ERR syntax error
        EXHSET @k f v VER 1 ABS 1                         > -ERR syntax error
        EXHSET @k f v GT 1 VER 1                          > -ERR syntax error
        EXHSET @k f v ABS 1 GT 1                          > -ERR syntax error
        EXHSET @k f v VER                                 > -ERR syntax error
        EXHSET @k f v JUNK                                > -ERR syntax error
        EXHSET @k f v WITHVERSION                         > -ERR syntax error
        EXHSET @k f v FLAGS 1                             > -ERR syntax error
        EXHSET @k f v MIN 1                               > -ERR syntax error
        EXHGETWITHVER @k f                                > [$z :100]
    """,
    "versions above 2^53": r"""
        EXHSET @k f v ABS 9007199254740993                > :1
        EXHGETWITHVER @k f                                > [$v :9007199254740993]
        EXHSET @k f v GT 9007199254740993                 > -ERR update version is stale
        EXHSET @k f v GT 9007199254740992                 > -ERR update version is stale
        EXHSET @k f v VER 9007199254740992                > -ERR update version is stale
        EXHSET @k f v VER 9007199254740994                > -ERR update version is stale
        EXHSET @k f v GT 9007199254740994                 > :0
        EXHSET @k f w                                     > :0
        EXHVER @k f                                       > :9007199254740995
        EXHINCRBY @k n 1 ABS 9223372036854775806          > :1
        EXHINCRBY @k n 1 VER 9223372036854775807          > -ERR update version is stale
        EXHINCRBY @k n 1 VER 9223372036854775806          > :2
        EXHMGETWITHVER @k n                               > [[$2 :9223372036854775807]]
        EXHSET @k n v GT 9223372036854775807              > -ERR update version is stale
        EXHSETVER @k n 9223372036854775807                > :1
        EXHDELWITHVER @k n 9223372036854775806            > :0
        EXHDELWITHVER @k n 9223372036854775807            > :1
    """,
    "EXHSET: expiry": r"""
        EXHSET @k f v EX 1000                             > :1
        EXHTTL @k f                                       > ~900..1000
        EXHPTTL @k f                                      > ~900000..1000000
        EXHSET @k f w KEEPTTL                             > :0
        EXHTTL @k f                                       > ~900..1000
        EXHSET @k f w                                     > :0
        EXHTTL @k f                                       > :-1
        EXHSET @k f w px 1000000                          > :0
        EXHTTL @k f                                       > ~900..1000
        EXHSET @k f w EXAT 33177117420                    > :0
        EXHTTL @k f                                       > ~9000000000..33177117420
        EXHSET @k f w PXAT 33177117420000                 > :0
        EXHPTTL @k f                                      > ~9000000000000..33177117420000
        EXHPERSIST @k f                                   > :1
        EXHPERSIST @k f                                   > :0
        EXHPTTL @k f                                      > :-1
        EXHVER @k f                                       > :6
        EXHSET @k f w EX 10 PX 10                         > -ERR syntax error
        EXHSET @k f w EX 10 EX 10                         > -ERR syntax error
        EXHSET @k f w EXAT 33177117420 KEEPTTL            > -ERR syntax error
        EXHSET @k f w KEEPTTL PX 10                       > -ERR syntax error
        EXHSET @k f w EX -1                               > -ERR syntax error
        EXHSET @k f w PXAT x                              > -ERR syntax error
        EXHSET @k f w EX                                  > -ERR syntax error
        EXHVER @k f                                       > :6
    """,
    "EXHSET: what expires at once": r"""
        EXHSET @k g v                                     > :1
        EXHSET @k f v EX 0                                > :1
        EXHGET @k f                                       > nil
        EXHEXISTS @k f                                    > :0
        EXHLEN @k                                         > :1
        EXHLEN @k NOEXP                                   > :1
        EXHKEYS @k                                        > [$g]
        EXHGETALL @k                                      > [$g $v]
        EXHSET @k f v PX 0                                > :1
        EXHSET @k f v EXAT 0                              > :1
        EXHSET @k f v PXAT 0                              > :1
        EXHSET @k f v EXAT 1                              > :1
        EXHSET @k f v PXAT 1                              > :1
        EXHTTL @k f                                       > :-3
        EXHVER @k f                                       > :-2
        EXHDEL @k f                                       > :0
        EXHSETNX @k f w                                   > :1
        EXHGETWITHVER @k f                                > [$w :0]
        EXHSET @k f x PXAT 1                              > :0
        EXHSET @k f y                                     > :1
        EXHVER @k f                                       > :1
    """,
    "EXHSETNX": r"""
        EXHSETNX @k f v                                   > :1
        EXHSETNX @k f w                                   > :0
        EXHGETWITHVER @k f                                > [$v :0]
        EXHSET @k f w                                     > :0
        EXHVER @k f                                       > :1
    """,
    "EXHMSET": r"""
        EXHMSET @k f v g w                                > +OK
        EXHMSET @k f x h y                                > +OK
        EXHGETALL @k                                      > {$f $x ; $g $w ; $h $y}
        EXHGETALLWITHVER @k                               > {$f $x :2 ; $g $w :1 ; $h $y :1}
        EXHMSET @k f a f b                                > +OK
        EXHGETWITHVER @k f                                > [$b :4]
    """,
    "EXHMSETWITHOPTS": r"""
        EXHMSETWITHOPTS @k f v 9 1000 g w 0 2000          > +OK
        EXHGETALLWITHVER @k                               > {$f $v :1 ; $g $w :1}
        EXHTTL @k f                                       > ~900..1000
        EXHTTL @k g                                       > ~1900..2000
        EXHMSETWITHOPTS @k f x 1 1000 g y 2 1000          > -ERR update version is stale
        EXHGETALLWITHVER @k                               > {$f $v :1 ; $g $w :1}
        EXHMSETWITHOPTS @k f x 1 1000 g y 0 1000          > +OK
        EXHGETALLWITHVER @k                               > {$f $x :2 ; $g $y :2}
        EXHMSETWITHOPTS @k f x 0 0                        > +OK
        EXHGETALLWITHVER @k                               > [$g $y :2]
        EXHMSETWITHOPTS @k f x 7 1000                     > +OK
        EXHMSETWITHOPTS @k f x 1 1000                     > +OK
        EXHMSETWITHOPTS @k f x -1 1000                    > -ERR syntax error
        EXHMSETWITHOPTS @k f x 0 -1                       > -ERR syntax error
        EXHMSETWITHOPTS @k f x y 1000                     > -ERR syntax error
        EXHMSETWITHOPTS @k f x 0 y                        > -ERR syntax error
        EXHGETWITHVER @k f                                > [$x :2]
    """,
    "EXHEXPIRE and its kin": r"""
        EXHSET @k f v                                     > :1
        EXHEXPIRE @k f 1000                               > :1
        EXHTTL @k f                                       > ~900..1000
        EXHVER @k f                                       > :2
        EXHPEXPIRE @k f 2000000                           > :1
        EXHTTL @k f                                       > ~1900..2000
        EXHEXPIREAT @k f 33177117420                      > :1
        EXHPTTL @k f                                      > ~9000000000000..33177117420000
        EXHPEXPIREAT @k f 33177117420000                  > :1
        EXHGETWITHVER @k f                                > [$v :5]
        EXHEXPIRE @k f 1000 VER 4                         > -ERR update version is stale
        EXHEXPIRE @k f 1000 ver 5                         > :1
        EXHEXPIRE @k f 1000 VER 0                         > :1
        EXHVER @k f                                       > :7
        EXHEXPIRE @k f 1000 ABS 3                         > :1
        EXHVER @k f                                       > :3
        EXHEXPIRE @k f 1000 GT 3                          > -ERR update version is stale
        EXHEXPIRE @k f 1000 GT 30                         > :1
        EXHVER @k f                                       > :30
        EXHEXPIRE @k f -1                                 > -ERR syntax error
        EXHPEXPIRE @k f -1                                > -ERR syntax error
        EXHEXPIREAT @k f -1                               > -ERR syntax error
        EXHPEXPIREAT @k f x                               > -ERR syntax error
        EXHEXPIRE @k f 1.5                                > -ERR syntax error
        EXHEXPIRE @k f 1000 ABS 0                         > -ERR syntax error
        EXHEXPIRE @k f 1000 GT 0                          > -ERR syntax error
        EXHEXPIRE @k f 1000 VER -1                        > -ERR syntax error
        EXHEXPIRE @k f 1000 VER x                         > -ERR syntax error
        EXHEXPIRE @k f 1000 VER                           > -ERR syntax error
        EXHEXPIRE @k f 1000 NX                            > -ERR syntax error
        EXHVER @k f                                       > :30
        EXHSET @k g v                                     > :1
        EXHEXPIRE @k f 0                                  > :1
        EXHGET @k f                                       > nil
        EXHEXPIRE @k f 0                                  > :0
        EXHPEXPIREAT @k g 1                               > :1
        EXHGET @k g                                       > nil
    """,
    "EXHEXPIRE: the order of its checks": r"""
        SET @k plain                                      > +OK
        EXHEXPIRE @k f x                                  > -ERR syntax error
        EXHEXPIRE @k f 1 JUNK                             > -ERR syntax error
        EXHEXPIRE @k f 1 ABS 0                            > -ERR syntax error
        EXHSETVER @k f 0                                  > -ERR syntax error
        EXHLEN @k x                                       > -ERR syntax error
    """,
    "expiry that no clock will reach": r"""
        EXHSET @k f v EX 9223372036854775807              > -ERR syntax error
        EXHSET @k f v PX 9223372036854775807              > -ERR syntax error
        EXISTS @k                                         > :0
        EXHSET @k f v PXAT 9223372036854775807            > :1
        EXHPTTL @k f                                      > ~9000000000000000000..9223372036854775807
        EXHEXPIRE @k f 9223372036854775807                > -ERR syntax error
        EXHPEXPIRE @k f 9223372036854775807               > -ERR syntax error
        EXHEXPIREAT @k f 9223372036854775807              > -ERR syntax error
        EXHPEXPIREAT @k f 9223372036854775807             > :1
        EXHINCRBY @k n 1 EX 9223372036854775807           > -ERR syntax error
        EXHMSETWITHOPTS @k n 1 0 9223372036854775807      > -ERR syntax error
        EXHGETALLWITHVER @k                               > [$f $v :2]
    """,
    "EXHSETVER": r"""
        EXHSETVER @k f 0                                  > -ERR syntax error
        EXHSETVER @k f -1                                 > -ERR syntax error
        EXHSETVER @k f x                                  > -ERR syntax error
        EXHSETVER @k f 5                                  > :0
        EXHSET @k f v EX 1000                             > :1
        EXHSETVER @k f 50                                 > :1
        EXHGETWITHVER @k f                                > [$v :50]
        EXHTTL @k f                                       > ~900..1000
        EXHSETVER @k g 5                                  > :0
    """,
    "EXHINCRBY": r"""
        EXHINCRBY @k f 5                                  > :5
        EXHINCRBY @k f -7                                 > :-2
        EXHGETWITHVER @k f                                > [$-2 :2]
        EXHINCRBY @k f 1 VER 9                            > -ERR update version is stale
        EXHINCRBY @k f 1 VER 2                            > :-1
        EXHINCRBY @k f 1 ABS 10                           > :0
        EXHINCRBY @k f 1 GT 10                            > -ERR update version is stale
        EXHINCRBY @k f 1 gt 20                            > :1
        EXHGETWITHVER @k f                                > [$1 :20]
        EXHINCRBY @k f 1 MAX 1                            > -ERR increment or decrement would overflow
        EXHINCRBY @k f -1 MIN 1                           > -ERR increment or decrement would overflow
        EXHINCRBY @k f 1 min 2 max 2                      > :2
        EXHINCRBY @k f 1 MIN 5 MAX 4                      > -ERR min value is bigger than max value
        EXHINCRBY @k f 1 MIN x                            > -ERR min or max is specified, but value is not an integer
        EXHINCRBY @k f 1 MAX 1.5                          > -ERR min or max is specified, but value is not an integer
        EXHINCRBY @k f x                                  > -ERR value is not an integer
        EXHINCRBY @k f 1.5                                > -ERR value is not an integer
        EXHINCRBY @k f 01                                 > -ERR value is not an integer
        EXHINCRBY @k f x JUNK                             > -ERR value is not an integer
        EXHINCRBY @k f 1 JUNK                             > -ERR syntax error
        EXHINCRBY @k f 1 NX                               > -ERR syntax error
        EXHINCRBY @k f 1 XX                               > -ERR syntax error
        EXHINCRBY @k f 1 ABS 0                            > -ERR syntax error
        EXHINCRBY @k f 1 GT 0                             > -ERR syntax error
        EXHINCRBY @k f 1 VER 1 GT 1                       > -ERR syntax error
        EXHINCRBY @k f 1 EX -1 MIN x                      > -ERR syntax error
        EXHINCRBY @k f 1 MAX                              > -ERR syntax error
        EXHINCRBY @k f 1 DEF 1                            > -ERR syntax error
        EXHGETWITHVER @k f                                > [$2 :21]
        EXHSET @k f 007                                   > :0
        EXHINCRBY @k f 1                                  > -ERR value is not an integer
        EXHINCRBY @k f 1 VER 9                            > -ERR value is not an integer
        EXHINCRBY @k g 9223372036854775807                > :9223372036854775807
        EXHINCRBY @k g 1                                  > -ERR increment or decrement would overflow
        EXHINCRBY @k g -9223372036854775808               > :-1
        EXHINCRBY @k g -9223372036854775807               > :-9223372036854775808
        EXHINCRBY @k g -1                                 > -ERR increment or decrement would overflow
        EXHINCRBY @k g 9007199254740993                   > :-9214364837600034815
    """,
    "EXHINCRBY: expiry": r"""
        EXHINCRBY @k f 1 EX 1000                          > :1
        EXHTTL @k f                                       > ~900..1000
        EXHINCRBY @k f 1 KEEPTTL                          > :2
        EXHTTL @k f                                       > ~900..1000
        EXHINCRBY @k f 1                                  > :3
        EXHTTL @k f                                       > :-1
        EXHINCRBYFLOAT @k f 1 PX 1000000                  > $4
        EXHTTL @k f                                       > ~900..1000
        EXHINCRBYFLOAT @k f 1 KEEPTTL                     > $5
        EXHTTL @k f                                       > ~900..1000
        EXHINCRBYFLOAT @k f 1                             > $6
        EXHTTL @k f                                       > :-1
        EXHSET @k g v                                     > :1
        EXHINCRBY @k f 1 EX 0                             > :7
        EXHGET @k f                                       > nil
        EXHINCRBY @k f 1 PXAT 1                           > :1
        EXHGET @k f                                       > nil
        EXHINCRBY @k f 1 EX 5 KEEPTTL                     > -ERR syntax error
        EXHINCRBYFLOAT @k f 1 EX 5 PX 5                   > -ERR syntax error
    """,
    "EXHINCRBYFLOAT": r"""
        EXHINCRBYFLOAT @k f 0.1                           > $0.1
        EXHINCRBYFLOAT @k f 0.2                           > $0.3
        EXHGETWITHVER @k f                                > [$0.3 :2]
        EXHINCRBYFLOAT @k f 1 VER 9                       > -ERR update version is stale
        EXHINCRBYFLOAT @k f 1 GT 2                        > -ERR update version is stale
        EXHINCRBYFLOAT @k f 1 GT 3                        > $1.3
        EXHINCRBYFLOAT @k f -1.3 ABS 9                    > $0
        EXHINCRBYFLOAT @k f 1 MAX 0.9                     > -ERR increment or decrement would overflow
        EXHINCRBYFLOAT @k f 1 MIN 1.1                     > -ERR increment or decrement would overflow
        EXHINCRBYFLOAT @k f 1 MIN 2 MAX 1                 > -ERR min value is bigger than max value
        EXHINCRBYFLOAT @k f 1 MIN x                       > -ERR min or max is specified, but value is not a float
        EXHINCRBYFLOAT @k f 1 MAX nan                     > -ERR min or max is specified, but value is not a float
        EXHINCRBYFLOAT @k f nan                           > -ERR value is not an float
        EXHINCRBYFLOAT @k f x                             > -ERR value is not an float
        EXHINCRBYFLOAT @k f x JUNK                        > -ERR value is not an float
        EXHINCRBYFLOAT @k f inf                           > -ERR increment or decrement would overflow
        EXHINCRBYFLOAT @k f 1 NX                          > -ERR syntax error
        EXHGETWITHVER @k f                                > [$0 :9]
        EXHSET @k f x                                     > :0
        EXHINCRBYFLOAT @k f 1                             > -ERR value is not an float
        EXHINCRBYFLOAT @k f 1 VER 99                      > -ERR value is not an float
        EXHINCRBYFLOAT @k g 18446744073709551615          > $18446744073709551615
    """,
    "a failed increment makes nothing": r"""
        EXHINCRBY @k f 5 MAX 4                            > -ERR increment or decrement would overflow
        EXHINCRBYFLOAT @k f inf                           > -ERR increment or decrement would overflow
        EXHINCRBY @k f x                                  > -ERR value is not an integer
        EXISTS @k                                         > :0
        TYPE @k                                           > +none
    """,
}
