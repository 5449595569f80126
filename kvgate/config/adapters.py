"""Finding adapters: entry points of the group ``kvgate.backends``, imported when a configuration names their type."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from kvgate.backend import Adapter, Backend
from kvgate.errors import ConfigurationError
from kvgate.policy.options import did_you_mean, key_path
from kvgate.routing.configuration import Configuration

GROUP: Final = "kvgate.backends"


@cache
def _entry_points() -> dict[str, EntryPoint]:
    """Looked for once, which takes milliseconds: what is installed later is found at the next start."""
    return {point.name: point for point in entry_points(group=GROUP)}


def installed_types() -> list[str]:
    """The types that a configuration may name here, sorted."""
    return sorted(_entry_points())


def adapter(kind: str) -> Adapter:
    """The adapter of that type.

    Raises:
        LookupError: there is none, or it cannot be imported; the message says which there are, or why.
    """
    points = _entry_points()
    if kind not in points:
        have = ", ".join(sorted(points)) or "none; is kvgate installed? (pip install .)"
        raise LookupError(f'no adapter is called "{kind}"{did_you_mean(kind, points)}; installed: {have}')
    point = points[kind]
    try:
        found = point.load()
    except Exception as error:  # another package's import may fail in any way: the operator is told how
        raise LookupError(f'the adapter "{kind}" ({point.value}) cannot be imported: {error!r}') from error
    if getattr(found, "type", None) != kind:
        raise LookupError(f'the entry point "{kind}" ({point.value}) names something that is no adapter of that type')
    return found  # type: ignore[no-any-return]  # entry points have no types


def prepare(found: Adapter, name: str, options: Mapping[str, Any], base: Path, mistakes: list[str]) -> Backend | None:
    """The backend of one table, or None with its mistakes appended, each under ``backends.NAME``."""
    try:
        return found.prepare(name, options, base)
    except ConfigurationError as error:
        mistakes += [_below(key_path("backends", name), mistake) for mistake in error.mistakes]
        return None


def _below(where: str, mistake: str) -> str:
    """``url: no host`` below ``backends.cache``; a mistake without a key path is one of the table itself."""
    key, colon, _ = mistake.partition(":")
    has_path = bool(colon) and " " not in key.partition('"')[0]
    return f"{where}.{mistake}" if has_path else f"{where}: {mistake}"


def prepare_backends(configuration: Configuration) -> dict[str, Backend]:
    """All backends of a configuration, by name, ready to `run`. No I/O.

    Raises:
        ConfigurationError: with every adapter's mistakes, key paths from the file's top.
    """
    mistakes: list[str] = []
    backends: dict[str, Backend] = {}
    for settings in configuration.backends.values():
        try:
            found = adapter(settings.type)
        except LookupError as error:
            mistakes.append(f"{key_path('backends', settings.name, 'type')}: {error.args[0]}")
            continue
        backend = prepare(found, settings.name, settings.options, configuration.base, mistakes)
        if backend is not None:
            backends[settings.name] = backend
    if mistakes:
        raise ConfigurationError(mistakes)
    return backends
