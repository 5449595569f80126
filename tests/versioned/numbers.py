"""EXINCRBY's and EXINCRBYFLOAT's rows of tair.md as dialogues (notation: replies.py)."""

from typing import Final

NUMBERS: Final[dict[str, str]] = {
    "EXINCRBY": r"""
        EXINCRBY @k 5                                     > :5
        EXINCRBY @k -7                                    > :-2
        EXGET @k WITHFLAGS                                > [$-2 :2 :0]
        EXINCRBY @k 0 WITHVERSION                         > [:-2 :3]
        exincrby @k 1 withversion abs 50                  > [:-1 :50]
        EXINCRBY @k 1 VER 49                              > -ERR update version is stale
        EXINCRBY @k 1 VER 50 WITHVERSION                  > [:0 :51]
        EXINCRBY @k 1 VER 0 WITHVERSION                   > [:1 :52]
        EXINCRBY @l 1 VER 9 WITHVERSION                   > [:1 :1]
        EXINCRBY @l 1 ABS 0 WITHVERSION                   > [:2 :0]
    """,
    "EXINCRBY keeps the flags": r"""
        EXSET @k 5 FLAGS 6                                > +OK
        EXINCRBY @k 1                                     > :6
        EXGET @k WITHFLAGS                                > [$6 :2 :6]
        EXINCRBYFLOAT @k 1                                > $7
        EXGET @k WITHFLAGS                                > [$7 :3 :6]
    """,
    "EXINCRBY at the edges": r"""
        EXINCRBY @k 9223372036854775807                   > :9223372036854775807
        EXINCRBY @k 1                                     > -ERR increment or decrement would overflow
        EXINCRBY @k 0                                     > :9223372036854775807
        EXINCRBY @k -1                                    > :9223372036854775806
        EXINCRBY @k -9223372036854775808                  > :-2
        EXINCRBY @k -9223372036854775807                  > -ERR increment or decrement would overflow
        EXINCRBY @k -9223372036854775806                  > :-9223372036854775808
        EXINCRBY @k -1                                    > -ERR increment or decrement would overflow
        EXINCRBY @k 9223372036854775807                   > :-1
        EXINCRBY @k 9007199254740993                      > :9007199254740992
        EXINCRBY @k 1                                     > :9007199254740993
        EXGET @k                                          > [$9007199254740993 :8]
        EXINCRBY @l -9223372036854775808                  > :-9223372036854775808
    """,
    "EXINCRBY: n": r"""
        EXINCRBY @k 1.0                                   > -ERR value is not an integer
        EXINCRBY @k x                                     > -ERR value is not an integer
        EXINCRBY @k ''                                    > -ERR value is not an integer
        EXINCRBY @k +1                                    > -ERR value is not an integer
        EXINCRBY @k 01                                    > -ERR value is not an integer
        EXINCRBY @k -0                                    > -ERR value is not an integer
        EXINCRBY @k ' 1'                                  > -ERR value is not an integer
        EXINCRBY @k '1 '                                  > -ERR value is not an integer
        EXINCRBY @k 9223372036854775808                   > -ERR value is not an integer
        EXINCRBY @k -9223372036854775809                  > -ERR value is not an integer
        EXISTS @k                                         > :0
    """,
    "EXINCRBY: what is stored": r"""
        EXSET @k x                                        > +OK
        EXINCRBY @k 1                                     > -ERR value is not an integer
        EXINCRBY @k 1 VER 9                               > -ERR value is not an integer
        EXSET @k 007                                      > +OK
        EXINCRBY @k 1                                     > -ERR value is not an integer
        EXSET @k ''                                       > +OK
        EXINCRBY @k 1                                     > -ERR value is not an integer
        EXSET @k 1.5                                      > +OK
        EXINCRBY @k 1                                     > -ERR value is not an integer
        EXSET @k 9223372036854775808                      > +OK
        EXINCRBY @k 0                                     > -ERR value is not an integer
        EXSET @k -9223372036854775808                     > +OK
        EXINCRBY @k 1                                     > :-9223372036854775807
        EXGET @k                                          > [$-9223372036854775807 :7]
    """,
    "EXINCRBY: DEF": r"""
        EXINCRBY @k 5 DEF 100                             > :100
        EXINCRBY @k 5 DEF 100                             > :105
        EXGET @k                                          > [$105 :2]
        EXINCRBY @l 5 DEF 100 MAX 7                       > :100
        DEL @l                                            > :1
        EXINCRBY @l 5 DEF 0 MIN 1 WITHVERSION             > [:0 :1]
        DEL @l                                            > :1
        EXINCRBY @l 1 DEF 9223372036854775807             > :9223372036854775807
        DEL @l                                            > :1
        EXINCRBY @l 1 DEF 5 XX                            > nil
        EXINCRBY @l 1 DEF -5 NONEGATIVE                   > :0
        DEL @l                                            > :1
        EXINCRBY @l 1 DEF 5 ABS 9 WITHVERSION             > [:5 :9]
        EXINCRBY @l 1 DEF x                               > -ERR value is not an integer
        EXINCRBY @l 1 DEF                                 > -ERR syntax error
        EXINCRBY @l 1 DEF 1 DEF 1                         > -ERR syntax error
        EXGET @l                                          > [$5 :9]
    """,
    "EXINCRBY: MIN and MAX": r"""
        EXINCRBY @k 5 MIN 5 MAX 5                         > :5
        EXINCRBY @k 1 MAX 5                               > -ERR increment or decrement would overflow
        EXINCRBY @k -1 MIN 5                              > -ERR increment or decrement would overflow
        EXINCRBY @k 1 MAX 6                               > :6
        EXINCRBY @k 1 MIN 10 MAX 9                        > -ERR min or max is specified, but not valid
        EXINCRBY @k 1 MIN x                               > -ERR min or max is specified, but not valid
        EXINCRBY @k 1 MAX 1.5                             > -ERR min or max is specified, but not valid
        EXINCRBY @k 1 MIN                                 > -ERR syntax error
        EXINCRBY @k 1 MAX                                 > -ERR syntax error
        EXINCRBY @k 1 MIN 1 MIN 1                         > -ERR syntax error
        EXINCRBY @k 1 MAX 9 MAX 9                         > -ERR syntax error
        EXINCRBY @k 1 min -9223372036854775808 max 9223372036854775807 > :7
        EXINCRBY @l 5 MAX 4                               > -ERR increment or decrement would overflow
        EXISTS @l                                         > :0
        EXGET @k                                          > [$7 :3]
    """,
    "EXINCRBY: NONEGATIVE": r"""
        EXINCRBY @k 3 NONEGATIVE                          > :3
        EXINCRBY @k -5 nonegative                         > :0
        EXINCRBY @k -5 NONEGATIVE NONEGATIVE WITHVERSION  > [:0 :3]
        EXINCRBY @k -5 MIN -4 NONEGATIVE                  > -ERR increment or decrement would overflow
        EXINCRBY @k -5 MIN -5 NONEGATIVE                  > :0
        EXINCRBY @k -5                                    > :-5
        EXGET @k                                          > [$-5 :5]
    """,
    "EXINCRBY: NX and XX": r"""
        EXINCRBY @k 1 XX                                  > nil
        EXINCRBY @k 1 XX WITHVERSION                      > nil
        EXINCRBY @k 1 NX                                  > :1
        EXINCRBY @k 1 NX                                  > nil
        EXINCRBY @k 1 NX VER 9                            > nil
        EXINCRBY @k 1 XX XX                               > :2
        EXINCRBY @k 1 NX XX                               > -ERR syntax error
        EXSET @k x                                        > +OK
        EXINCRBY @k 1 NX                                  > nil
    """,
    "EXINCRBY: options that it refuses": r"""
        EXINCRBY @k 1 FLAGS 1                             > -ERR syntax error
        EXINCRBY @k 1 GT 1                                > -ERR syntax error
        EXINCRBY @k 1 JUNK                                > -ERR syntax error
        EXINCRBY @k 1 EX 10 PX 10                         > -ERR syntax error
        EXINCRBY @k 1 EX 10 KEEPTTL                       > -ERR syntax error
        EXINCRBY @k 1 VER 1 ABS 1                         > -ERR syntax error
        EXINCRBY @k 1 VER 1 VER 1                         > -ERR syntax error
        EXINCRBY @k 1 VER -1                              > -ERR syntax error
        EXINCRBY @k 1 ABS x                               > -ERR syntax error
        EXISTS @k                                         > :0
    """,
    "EXINCRBY: the order of its checks": r"""
        SET @k plain                                      > +OK
        EXINCRBY @k x JUNK                                > -ERR syntax error
        EXINCRBY @k x                                     > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXSET @l x                                        > +OK
        EXINCRBY @l x DEF y EX 0 MIN z NX                 > -ERR value is not an integer
        EXINCRBY @l 1 DEF y EX 0 MIN z NX                 > -ERR value is not an integer
        EXINCRBY @l 1 DEF 1 EX 0 MIN z NX                 > -ERR syntax error
        EXINCRBY @l 1 DEF 1 VER x MIN z NX                > -ERR syntax error
        EXINCRBY @l 1 DEF 1 EX 5 MIN z NX                 > -ERR min or max is specified, but not valid
        EXINCRBY @l 1 DEF 1 EX 5 MIN 1 NX                 > nil
        EXINCRBY @l 1 DEF 1 EX 5 MIN 1 VER 7              > -ERR value is not an integer
        EXSET @l 5                                        > +OK
        EXINCRBY @l 1 MAX 1 VER 7                         > -ERR update version is stale
        EXINCRBY @l 1 MAX 1                               > -ERR increment or decrement would overflow
        EXGET @l                                          > [$5 :2]
    """,
    "EXINCRBYFLOAT": r"""
        EXINCRBYFLOAT @k 0.1                              > $0.1
        EXINCRBYFLOAT @k 0.2                              > $0.3
        EXGET @k WITHFLAGS                                > [$0.3 :2 :0]
        EXINCRBYFLOAT @k -0.3                             > $0
        EXINCRBYFLOAT @k 3.0e3                            > $3000
        EXINCRBYFLOAT @k 1e-17                            > $3000
        EXINCRBYFLOAT @k -3000                            > $0
        EXINCRBYFLOAT @k 1e-17                            > $0.00000000000000001
        EXINCRBYFLOAT @l 10.5                             > $10.5
        EXINCRBYFLOAT @l 0.1                              > $10.6
        EXINCRBYFLOAT @l -5                               > $5.6
        EXINCRBYFLOAT @l 5.0e3                            > $5005.60000000000000009
        EXINCRBYFLOAT @l 0x10                             > $5021.60000000000000009
        EXGET @l                                          > [$5021.60000000000000009 :5]
    """,
    "EXINCRBYFLOAT: tiny and large": r"""
        EXINCRBYFLOAT @k 18446744073709551615             > $18446744073709551615
        EXINCRBYFLOAT @k 1                                > $18446744073709551616
        EXINCRBYFLOAT @k 1                                > $18446744073709551616
        EXINCRBYFLOAT @k -18446744073709551616            > $0
        EXINCRBYFLOAT @k 9007199254740993                 > $9007199254740993
        EXINCRBYFLOAT @k 0.5                              > $9007199254740993.5
        EXSET @k 0                                        > +OK
        EXINCRBYFLOAT @k 1e-18                            > $0
        EXINCRBYFLOAT @k 1e20                             > $100000000000000000000
        EXSET @k 1e4932                                   > +OK
        EXINCRBYFLOAT @k 1e4932                           > -ERR increment or decrement would overflow
        EXINCRBYFLOAT @k 1e4933                           > -ERR value is not a float
        EXINCRBYFLOAT @k 1e-5000                          > -ERR value is not a float
    """,
    "EXINCRBYFLOAT: what is no number": r"""
        EXINCRBYFLOAT @k nan                              > -ERR value is not a float
        EXINCRBYFLOAT @k inf                              > -ERR increment or decrement would overflow
        EXINCRBYFLOAT @k -INF                             > -ERR increment or decrement would overflow
        EXINCRBYFLOAT @k x                                > -ERR value is not a float
        EXINCRBYFLOAT @k 1x                               > -ERR value is not a float
        EXINCRBYFLOAT @k ' 1'                             > -ERR value is not a float
        EXINCRBYFLOAT @k '1 '                             > -ERR value is not a float
        EXINCRBYFLOAT @k 1,5                              > -ERR value is not a float
        EXISTS @k                                         > :0
        EXSET @k x                                        > +OK
        EXINCRBYFLOAT @k 1                                > -ERR value is not a float
        EXINCRBYFLOAT @k 1 VER 9                          > -ERR value is not a float
        EXSET @k nan                                      > +OK
        EXINCRBYFLOAT @k 1                                > -ERR value is not a float
        EXSET @k inf                                      > +OK
        EXINCRBYFLOAT @k 1                                > -ERR increment or decrement would overflow
        EXGET @k                                          > [$inf :3]
    """,
    "EXINCRBYFLOAT: options": r"""
        EXINCRBYFLOAT @k 1 XX                             > nil
        EXINCRBYFLOAT @k 1 nx ver 5                       > $1
        EXINCRBYFLOAT @k 1 NX                             > nil
        EXINCRBYFLOAT @k 1 VER 2                          > -ERR update version is stale
        EXINCRBYFLOAT @k 1 VER 1                          > $2
        EXINCRBYFLOAT @k 1 ABS 10 PXAT 33177117420000     > $3
        EXGET @k                                          > [$3 :10]
        PEXPIRETIME @k                                    > :33177117420000
        EXINCRBYFLOAT @k 1 MAX 3.9                        > -ERR increment or decrement would overflow
        EXINCRBYFLOAT @k 1 MIN 4.1                        > -ERR increment or decrement would overflow
        EXINCRBYFLOAT @k 1 MIN 4 MAX 4                    > $4
        EXINCRBYFLOAT @k 1 MIN 5 MAX 4                    > -ERR min or max is specified, but not valid
        EXINCRBYFLOAT @k 1 MIN x                          > -ERR min or max is specified, but not valid
        EXINCRBYFLOAT @k 1 MAX nan                        > -ERR min or max is specified, but not valid
        EXINCRBYFLOAT @k 1 MIN -inf MAX inf               > $5
        EXINCRBYFLOAT @k 1 WITHVERSION                    > -ERR syntax error
        EXINCRBYFLOAT @k 1 FLAGS 1                        > -ERR syntax error
        EXINCRBYFLOAT @k 1 DEF 1                          > -ERR syntax error
        EXINCRBYFLOAT @k 1 NONEGATIVE                     > -ERR syntax error
        EXINCRBYFLOAT @k 1 EX 10 KEEPTTL                  > -ERR syntax error
        EXINCRBYFLOAT @k 1 MIN 1 MIN 1                    > -ERR syntax error
        EXINCRBYFLOAT @k 1 MAX                            > -ERR syntax error
        EXGET @k                                          > [$5 :12]
    """,
    "EXINCRBYFLOAT: the order of its checks": r"""
        SET @k plain                                      > +OK
        EXINCRBYFLOAT @k x JUNK                           > -WRONGTYPE Operation against a key holding the wrong kind of value
        EXINCRBYFLOAT @l x JUNK                           > -ERR value is not a float
        EXINCRBYFLOAT @l 1 JUNK                           > -ERR syntax error
        EXINCRBYFLOAT @l 1 EX 0 MIN x XX                  > -ERR syntax error
        EXINCRBYFLOAT @l 1 EX 5 MIN x XX                  > -ERR min or max is specified, but not valid
        EXINCRBYFLOAT @l 1 EX 5 MIN 1 XX                  > nil
        EXISTS @l                                         > :0
    """,
}
