"""Rows of the versioned types (of Tair's modules), of writes on a condition, and of locks."""

# ruff: noqa: E501 - a row of the table is one line, however long
# Aligned by hand; `kvgate.commands.rows` says how a row is written
# fmt: off

from typing import Final

from kvgate.commands.rows import FORWARD, Row

# Writes on the condition that a plain string has a value.
CONDITIONAL: Final[tuple[Row, ...]] = (
    # name     arity flags                 categories keys                  action   capability     since    summary                                            why
    ("CAD",        3, "write fast",         "string",  "1 RW delete",        FORWARD, "conditional", "0.1.0", "Deletes a string if it has a value",              "Of the module TairString"),
    ("CAS",       -4, "write denyoom fast", "string",  "1 RW access update", FORWARD, "conditional", "0.1.0", "Replaces a string if it has a value",             "Of the module TairString"),
    ("DELEX",     -2, "write fast",         "string",  "1 RW delete",        FORWARD, "conditional", "0.1.0", "Deletes a string if it has, or has not, a value", "Of Redis 8.4"),
    ("DELIFEQ",    3, "write fast",         "string",  "1 RW delete",        FORWARD, "conditional", "0.1.0", "Deletes a string if it has a value",              "Of Valkey 9"),
)

# Versioned strings.
EXSTRING: Final[tuple[Row, ...]] = (
    # name           arity flags                 categories keys                  action   capability  since    summary                                                why
    ("EXAPPEND",        -3, "write denyoom fast", "string",  "1 RW insert",        FORWARD, "exstring", "0.1.0", "Adds bytes to the end of a versioned string",         "Of the module TairString"),
    ("EXCAD",            3, "write fast",         "string",  "1 RW delete",        FORWARD, "exstring", "0.1.0", "Deletes a versioned string if it has a version",      "Of the module TairString"),
    ("EXCAS",           -4, "write denyoom fast", "string",  "1 RW access update", FORWARD, "exstring", "0.1.0", "Replaces a versioned string if it has a version",     "Of the module TairString"),
    ("EXGAE",            4, "write fast",         "string",  "1 RW access update", FORWARD, "exstring", "0.1.0", "A versioned string with flags; gives it an expiry",   "Of the module TairString"),
    ("EXGET",           -2, "readonly fast",      "string",  "1 RO access",        FORWARD, "exstring", "0.1.0", "A versioned string and its version",                  "Of the module TairString"),
    ("EXINCRBY",        -3, "write denyoom fast", "string",  "1 RW access update", FORWARD, "exstring", "0.1.0", "Adds a number to a versioned integer",                "Of the module TairString"),
    ("EXINCRBYFLOAT",   -3, "write denyoom fast", "string",  "1 RW access update", FORWARD, "exstring", "0.1.0", "Adds a number to a versioned floating-point value",   "Of the module TairString"),
    ("EXPREPEND",       -3, "write denyoom fast", "string",  "1 RW insert",        FORWARD, "exstring", "0.1.0", "Adds bytes to the beginning of a versioned string",   "Of the module TairString"),
    ("EXSET",           -3, "write denyoom fast", "string",  "1 RW access update", FORWARD, "exstring", "0.1.0", "Sets a versioned string, with conditions and expiry", "Of the module TairString"),
    ("EXSETVER",         3, "write fast",         "string",  "1 RW update",        FORWARD, "exstring", "0.1.0", "Sets the version of a versioned string",              "Of the module TairString"),
)

# Versioned hashes.
EXHASH: Final[tuple[Row, ...]] = (
    # name              arity flags                 categories keys                  action   capability since    summary                                                why
    ("EXHDEL",             -3, "write fast",         "hash",    "1 RW delete",        FORWARD, "exhash",  "0.1.0", "Removes fields of a versioned hash",                  "Of the module TairHash"),
    ("EXHDELWITHVER",      -4, "write fast",         "hash",    "1 RW delete",        FORWARD, "exhash",  "0.1.0", "Removes fields that have a version",                  "Of the module TairHash"),
    ("EXHEXISTS",           3, "readonly fast",      "hash",    "1 RO",               FORWARD, "exhash",  "0.1.0", "Whether a versioned hash has a field",                "Of the module TairHash"),
    ("EXHEXPIRE",          -4, "write fast",         "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Expiry of a field, in seconds from now",              "Of the module TairHash"),
    ("EXHEXPIREAT",        -4, "write fast",         "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Expiry of a field, as Unix time in seconds",          "Of the module TairHash"),
    ("EXHGET",              3, "readonly fast",      "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "One field of a versioned hash",                       "Of the module TairHash"),
    ("EXHGETALL",           2, "readonly",           "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "All fields and values of a versioned hash",           "Of the module TairHash"),
    ("EXHGETALLWITHVER",    2, "readonly",           "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "All fields, values and versions of a versioned hash", "Of the module TairHash"),
    ("EXHGETWITHVER",       3, "readonly fast",      "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "One field of a versioned hash and its version",       "Of the module TairHash"),
    ("EXHINCRBY",          -4, "write denyoom fast", "hash",    "1 RW access update", FORWARD, "exhash",  "0.1.0", "Adds a number to an integer field",                   "Of the module TairHash"),
    ("EXHINCRBYFLOAT",     -4, "write denyoom fast", "hash",    "1 RW access update", FORWARD, "exhash",  "0.1.0", "Adds a number to a floating-point field",             "Of the module TairHash"),
    ("EXHKEYS",             2, "readonly",           "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "All field names of a versioned hash",                 "Of the module TairHash"),
    ("EXHLEN",             -2, "readonly",           "hash",    "1 RO",               FORWARD, "exhash",  "0.1.0", "Number of fields of a versioned hash",                "Of the module TairHash"),
    ("EXHMGET",            -3, "readonly fast",      "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "Several fields of a versioned hash",                  "Of the module TairHash"),
    ("EXHMGETWITHVER",     -3, "readonly fast",      "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "Several fields and their versions",                   "Of the module TairHash"),
    ("EXHMSET",            -4, "write denyoom fast", "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Sets several fields of a versioned hash",             "Of the module TairHash"),
    ("EXHMSETWITHOPTS",    -6, "write denyoom fast", "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Sets several fields with version and expiry",         "Of the module TairHash"),
    ("EXHPERSIST",          3, "write fast",         "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Takes the expiry off a field",                        "Of the module TairHash"),
    ("EXHPEXPIRE",         -4, "write fast",         "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Expiry of a field, in milliseconds from now",         "Of the module TairHash"),
    ("EXHPEXPIREAT",       -4, "write fast",         "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Expiry of a field, as Unix time in milliseconds",     "Of the module TairHash"),
    ("EXHPTTL",             3, "readonly fast",      "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "Time to live of a field in milliseconds",             "Of the module TairHash"),
    ("EXHSCAN",            -3, "readonly",           "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "Walks over the fields of a versioned hash",           "Of the module TairHash"),
    ("EXHSET",             -4, "write denyoom fast", "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Sets a field, with conditions and expiry",            "Of the module TairHash"),
    ("EXHSETNX",            4, "write denyoom fast", "hash",    "1 RW insert",        FORWARD, "exhash",  "0.1.0", "Sets a field that does not exist yet",                "Of the module TairHash"),
    ("EXHSETVER",           4, "write fast",         "hash",    "1 RW update",        FORWARD, "exhash",  "0.1.0", "Sets the version of a field",                         "Of the module TairHash"),
    ("EXHSTRLEN",           3, "readonly fast",      "hash",    "1 RO",               FORWARD, "exhash",  "0.1.0", "Length of a field's value",                           "Of the module TairHash"),
    ("EXHTTL",              3, "readonly fast",      "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "Time to live of a field in seconds",                  "Of the module TairHash"),
    ("EXHVALS",             2, "readonly",           "hash",    "1 RO access",        FORWARD, "exhash",  "0.1.0", "All values of a versioned hash",                      "Of the module TairHash"),
    ("EXHVER",              3, "readonly fast",      "hash",    "1 RO",               FORWARD, "exhash",  "0.1.0", "Version of a field",                                  "Of the module TairHash"),
)
