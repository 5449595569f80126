"""Writes on a condition, on plain strings: CAS, CAD, and the newer names, as dialogues (notation: replies.py)."""

from typing import Final

CONDITIONAL: Final[dict[str, str]] = {
    "CAS": r"""
        CAS @k old new                                    > :-1
        SET @k old                                        > +OK
        CAS @k x new                                      > :0
        CAS @k '' new                                     > :0
        CAS @k old new                                    > :1
        GET @k                                            > $new
        cas @k new ''                                     > :1
        CAS @k '' \x00                                    > :1
        GET @k                                            > $\x00
    """,
    "CAS: expiry": r"""
        SET @k a PXAT 33177117420000                      > +OK
        CAS @k x b EX 10                                  > :0
        PEXPIRETIME @k                                    > :33177117420000
        CAS @k a b KEEPTTL                                > :1
        PEXPIRETIME @k                                    > :33177117420000
        CAS @k b c                                        > :1
        PEXPIRETIME @k                                    > :-1
        CAS @k c d pxat 33177117420000                    > :1
        PEXPIRETIME @k                                    > :33177117420000
        CAS @k d e EX 1000                                > :1
        TTL @k                                            > ~900..1000
        CAS @k e f EXAT 1                                 > :1
        EXISTS @k                                         > :0
    """,
    "CAS: options": r"""
        SET @k a                                          > +OK
        CAS @k a b EX 0                                   > -ERR syntax error
        CAS @k a b PX x                                   > -ERR syntax error
        CAS @k a b EX                                     > -ERR syntax error
        CAS @k a b EX 10 KEEPTTL                          > -ERR syntax error
        CAS @k a b EX 10 PX 10                            > -ERR syntax error
        CAS @k a b NX                                     > -ERR syntax error
        CAS @k a b VER 1                                  > -ERR syntax error
        CAS @k a b JUNK                                   > -ERR syntax error
        GET @k                                            > $a
        HSET @l f v                                       > :1
        CAS @l a b JUNK                                   > -ERR syntax error
        CAS @l a b                                        > -WRONGTYPE Operation against a key holding the wrong kind of value
        CAD @l a                                          > -WRONGTYPE Operation against a key holding the wrong kind of value
    """,
    "CAS and CAD compare the bytes of numbers": r"""
        SET @k 10                                         > +OK
        CAS @k 010 11                                     > :0
        CAS @k 10 11                                      > :1
        INCR @k                                           > :12
        CAD @k 12.0                                       > :0
        CAD @k 12                                         > :1
    """,
    "CAD": r"""
        CAD @k v                                          > :-1
        SET @k v                                          > +OK
        CAD @k w                                          > :0
        GET @k                                            > $v
        CAD @k v                                          > :1
        EXISTS @k                                         > :0
        SET @k ''                                         > +OK
        cad @k ''                                         > :1
    """,
    "DELIFEQ": r"""
        DELIFEQ @k v                                      > :0
        SET @k v                                          > +OK
        DELIFEQ @k w                                      > :0
        deLIFeq @k v                                      > :1
        EXISTS @k                                         > :0
        DELIFEQ @k                                        > -ERR wrong number of arguments for 'delifeq' command
        HSET @l f v                                       > :1
        DELIFEQ @l v                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
        DEL @l                                            > :1
        EXSET @l v                                        > +OK
        DELIFEQ @l v                                      > -WRONGTYPE Operation against a key holding the wrong kind of value
    """,
    "DELEX": r"""
        DELEX @k IFEQ v                                   > :0
        SET @k v                                          > +OK
        DELEX @k IFEQ w                                   > :0
        DELEX @k ifeq v                                   > :1
        EXISTS @k                                         > :0
        SET @k v                                          > +OK
        DELEX @k IFNE v                                   > :0
        DELEX @k IFNE w                                   > :1
        EXISTS @k                                         > :0
        SET @k v                                          > +OK
        DELEX @k                                          > :1
        EXISTS @k                                         > :0
    """,
    "SET … IFEQ": r"""
        SET @k new IFEQ old                               > nil
        EXISTS @k                                         > :0
        SET @k old PXAT 33177117420000                    > +OK
        SET @k new IFEQ x                                 > nil
        PEXPIRETIME @k                                    > :33177117420000
        SET @k new ifeq old                               > +OK
        GET @k                                            > $new
        PEXPIRETIME @k                                    > :-1
        SET @k newer IfEq new PXAT 33177117420000         > +OK
        SET @k newest KEEPTTL IFEQ newer                  > +OK
        PEXPIRETIME @k                                    > :33177117420000
        SET @k x IFEQ newest GET                          > $newest
        SET @k y IFEQ z GET                               > $x
        GET @k                                            > $x
        SET @k y IFEQ x NX                                > -ERR syntax error
        SET @k y XX IFEQ x                                > -ERR syntax error
        SET @k y IFEQ                                     > -ERR syntax error
        GET @k                                            > $x
        SET @l y IFEQ z GET                               > nil
        HSET @l f v                                       > :1
        SET @l y IFEQ z                                   > -WRONGTYPE Operation against a key holding the wrong kind of value
        SET @k ifeq EX 1000                               > +OK
        GET @k                                            > $ifeq
        SET @k z IFEQ ifeq                                > +OK
    """,
}
