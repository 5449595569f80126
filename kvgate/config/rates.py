"""Reading ``rate = { … }`` of users and namespaces, and ``[rates]``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kvgate.errors import ConfigurationError
from kvgate.policy.options import Options, did_you_mean, key_path
from kvgate.policy.rates import MAX_WAIT, PREFIX, Rate, RateSettings
from kvgate.routing.endpoints import parse_resp_store

_LOGIN: Final = ("user", "password", "password_file", "tls_ca", "tls_cert", "tls_key", "tls_server_name")
_OWN: Final = ("max_wait", "prefix")
_SHORTEST: Final = 0.02
"""Seconds of a burst: less would be used up between two looks at who waits."""


def rate(options: Options) -> Rate | None:
    """The ``rate`` of a user or namespace, None when absent."""
    table = options.subtable("rate")
    if table is None:
        return None
    defaults = Rate()
    found = Rate(
        operations=table.integer("operations", 0, low=1),
        writes=table.integer("writes", 0, low=1),
        reads=table.integer("reads", 0, low=1),
        bytes=table.size("bytes", 0, low=1) or 0,
        burst=table.seconds("burst", defaults.burst, _SHORTEST),
        local=table.seconds("local", defaults.local, _SHORTEST),
    )
    if not any(name in table.table for name in ("operations", "writes", "reads", "bytes")):
        table.wrong("", "limits nothing: give it operations, writes, reads or bytes (a second)")
    table.done()
    return found


def read_rates(table: Mapping[str, Any], base: Path, mistakes: list[str]) -> RateSettings:
    """``[rates]``."""
    options = Options(table, mistakes, "rates")
    max_wait = options.seconds("max_wait", MAX_WAIT)
    prefix = options.text("prefix", PREFIX)
    if any(letter in "{}" or letter.isspace() for letter in prefix):
        options.wrong("prefix", "has no braces and no spaces")
    known = {"url", *_LOGIN, *_OWN}
    unknown = [key for key in table if key not in known]
    for key in unknown:
        options.wrong(key, f"unknown key{did_you_mean(key, known)}")
    shared = None
    if "url" in table:
        store = {key: value for key, value in table.items() if key not in (*unknown, *_OWN)}
        try:
            shared = parse_resp_store(store, base).shards[0]
        except ConfigurationError as error:
            mistakes += [f"{key_path('rates')}.{mistake}" for mistake in error.mistakes]
    else:
        for key in table:
            if key in _LOGIN:
                options.wrong(key, 'needs url = "redis://host:port": the Redis that gates share their rates through')
    return RateSettings(max_wait, shared, prefix)
