"""Reading the limits of a namespace: ``max_field``, ``forbidden``, ``ttl_default`` …"""

from typing import Final

from kvgate.commands.table import TABLE
from kvgate.policy.limits import TYPES, Expiry, Limits, key_pattern, prohibition
from kvgate.policy.options import Options, did_you_mean
from kvgate.policy.rules import check_rule

_LONGEST_PATTERN: Final = 1024
LEAST_REPLY: Final = 1024
"""Bytes: errors are always delivered."""


def optional_count(options: Options, key: str) -> int | None:
    """A whole number of at least 1, None when absent."""
    return options.integer(key, 1, low=1) if key in options else None


def _milliseconds(options: Options, key: str) -> int | None:
    if key not in options:
        return None
    return int(options.seconds(key, 1.0, low=0.001) * 1000)


def _forbidden(options: Options) -> tuple[str, ...]:
    rules = prohibition(options.texts("forbidden") or ())
    mistakes = [mistake for mistake in (check_rule(rule, TABLE) for rule in rules) if mistake]
    for mistake in mistakes:
        options.wrong("forbidden", mistake)
    if mistakes:
        return ()
    if rules and rules[0].startswith("+"):
        options.wrong("forbidden", f'begins by allowing what nothing forbids: "{rules[0]}"')
    return rules


def _types(options: Options) -> frozenset[str] | None:
    names = options.texts("types")
    if names is None:
        return None
    for name in names:
        if name not in TYPES:
            options.wrong("types", f'"{name}" is none of {", ".join(TYPES)}{did_you_mean(name, TYPES)}')
    if not names:
        options.wrong("types", "names none, so that every command on data would be refused; leave it out to allow all")
    return frozenset(names)


def _pattern(options: Options) -> str:
    text = options.text("key_pattern")
    if len(text) > _LONGEST_PATTERN:
        options.wrong("key_pattern", f"has at most {_LONGEST_PATTERN} letters")
        return ""
    if text:
        try:
            key_pattern(text)
        except ValueError as error:
            options.wrong("key_pattern", str(error))
            return ""
    return text


def _jitter(options: Options) -> float:
    value = options.raw("ttl_jitter")
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        options.wrong("ttl_jitter", "is a share from 0 to below 1: 0.1 is ten percent")
        return 0.0
    return float(value)


def _expiry(options: Options) -> Expiry | None:
    default, longest, jitter = _milliseconds(options, "ttl_default"), _milliseconds(options, "ttl_max"), _jitter(options)
    if default is not None and longest is not None and default > longest:
        options.wrong("ttl_default", "is above ttl_max")
    if default is None and longest is None:
        if jitter:
            options.wrong("ttl_jitter", "spreads nothing without ttl_default or ttl_max")
        return None
    return Expiry(default=default, longest=longest, jitter=jitter)


def read_limits(options: Options) -> Limits | None:
    """The limits in a namespace's table, None when it has none."""
    found = Limits(
        max_field=options.size("max_field", low=1),
        max_elements=optional_count(options, "max_elements"),
        max_reply=options.size("max_reply", low=LEAST_REPLY),
        max_connections=optional_count(options, "max_connections"),
        forbidden=_forbidden(options),
        types=_types(options),
        key_pattern=_pattern(options),
        expiry=_expiry(options),
    )
    return None if found == Limits() else found
