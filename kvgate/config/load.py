"""From the file's bytes to a `Configuration`, or to all of its mistakes."""

import contextlib
import gc
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kvgate.backend import Backend, PassThrough
from kvgate.config.adapters import adapter, prepare
from kvgate.config.audit import read_audit
from kvgate.config.gate import read_gate
from kvgate.config.rates import read_rates
from kvgate.config.tenants import read_namespaces, read_users, unused
from kvgate.errors import ConfigurationError
from kvgate.policy.options import Options, key_path
from kvgate.policy.passwords import Backoff
from kvgate.policy.settings import GateSettings
from kvgate.policy.users import Users
from kvgate.routing.configuration import BackendSettings, Configuration
from kvgate.routing.namespaces import Namespaces

DEFAULT_DATA_DIR: Final = Path("kvgate-data")
_TABLES: Final = ("gate", "backends", "namespaces", "users", "audit", "rates")


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Hold the garbage collector back: all that is made here stays, and looking through it again and again took a third of
    the time for 10,000 users."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _toml(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"byte {error.start} is no UTF-8: TOML files are"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"no TOML: {error}"]) from None


def _tables(root: dict[str, Any], mistakes: list[str]) -> dict[str, dict[str, Any]]:
    top = Options(root, mistakes)
    found: dict[str, dict[str, Any]] = {}
    for name in _TABLES:
        table = top.subtable(name)
        found[name] = dict(table.table) if table else {}
    found["accept_moves"] = dict.fromkeys(top.texts("accept_moves") or ())
    top.done()
    return found


def _backends(
    table: dict[str, Any], base: Path, mistakes: list[str]
) -> tuple[dict[str, BackendSettings], dict[str, int | None], dict[str, Backend]]:
    """The backends' settings; for each its largest value; and as their adapters, which check the tables, prepared them."""
    all_of = Options(table, mistakes, "backends")
    if not table:
        all_of.wrong("", 'none: add [backends.NAME] with type = "redis", "lmdb" …')
    settings: dict[str, BackendSettings] = {}
    largest: dict[str, int | None] = {}
    prepared: dict[str, Backend] = {}
    for name in table:
        largest[name] = None  # named, however wrong: a namespace that names it makes no second mistake of it
        options = all_of.subtable(name)
        if options is None:
            continue
        kind = options.text("type")
        rest = {key: value for key, value in options.table.items() if key != "type"}
        if not kind:
            if not isinstance(options.table.get("type"), (int, float, list, dict)):
                options.wrong("type", 'needed: "redis", "lmdb" …')
            continue
        settings[name] = BackendSettings(name, kind, rest)
        try:
            found = adapter(kind)
        except LookupError as error:
            options.wrong("type", str(error.args[0]))
            continue
        backend = prepare(found, name, rest, base, mistakes)
        if backend is None:
            largest[name] = found.defaults.get("max_value")
        else:
            prepared[name] = backend
            largest[name] = backend.max_value
    return settings, largest, prepared


def _held_by_the_store(namespaces: Namespaces, backends: Mapping[str, Backend], mistakes: list[str]) -> None:
    """``upstream_user`` lets scripts run beside other applications' keys, so it must be true: the store can hold the gate to
    that user's keys only where the gate connects as that user."""
    for rule in namespaces.rules:
        backend = backends.get(rule.backend)
        if not rule.upstream_user or backend is None:
            continue
        shards = backend.topology.shards if isinstance(backend, PassThrough) else ()
        if not shards or any(shard.user != rule.upstream_user for shard in shards):
            mistakes.append(
                f"{key_path('namespaces', rule.name, 'upstream_user')}: the gate does not connect to backend"
                f' "{rule.backend}" as that user: give it user = "{rule.upstream_user}", or the namespace a backend of its own'
            )


def _exposed(gate: GateSettings, users: Users, backends: dict[str, BackendSettings], mistakes: list[str]) -> None:
    """What a listener that other machines can reach asks for."""
    listens = [("listen", listen) for listen in gate.listen] + ([("admin", gate.admin)] if gate.admin else [])
    reachable = [str(listen) for _, listen in listens if not listen.loopback]
    if not reachable:
        return
    if not users.configured:
        key = next(key for key, listen in listens if not listen.loopback)
        mistakes.append(
            f'gate.{key}: "{reachable[0]}" can be reached from other machines, and there are no users: add'
            ' [users.NAME] with password_sha256 = ["…"] (`kvgate password` prints it) and namespaces = ["*"],'
            " or listen on 127.0.0.1 or a unix socket only"
        )
    for name, settings in backends.items():
        if settings.type == "lmdb" and settings.options.get("single_gate") is not True:
            mistakes.append(
                f"{key_path('backends', name, 'single_gate')}: the data of this store is on this machine alone, and"
                f' "{reachable[0]}" can be reached from others: say single_gate = true if no other gate is to serve it'
            )


def parse(
    text: bytes,
    base: Path,
    *,
    path: Path | None = None,
    listen: Sequence[str] = (),
    workers: int | None = None,
) -> Configuration:
    """Read a configuration from its bytes. `base`: the folder that paths in it are relative to; `listen` and `workers`,
    from the command line, replace what the file says.

    Raises:
        ConfigurationError: with every mistake, each with its key path. Adapters check their tables too.
    """
    with _no_collections():
        return _parse(text, base.absolute(), path, listen, workers)


def _parse(text: bytes, base: Path, path: Path | None, listen: Sequence[str], workers: int | None) -> Configuration:
    mistakes: list[str] = []
    warnings: list[str] = []
    tables = _tables(_toml(text), mistakes)
    gate = read_gate(tables["gate"], base, mistakes, listen=listen, workers=workers)
    backends, largest, prepared = _backends(tables["backends"], base, mistakes)
    namespaces = read_namespaces(tables["namespaces"], largest, mistakes)
    backoff = Backoff(gate.wrong_password_first, gate.wrong_password_longest)
    users = read_users(tables["users"], namespaces, mistakes, warnings, backoff)
    audit = read_audit(tables["audit"], base, users.by_name, mistakes, warnings)
    rates = read_rates(tables["rates"], base, mistakes)
    _held_by_the_store(namespaces, prepared, mistakes)
    _exposed(gate, users, backends, mistakes)
    if any(user.certificates for user in users.by_name.values()) and (gate.tls is None or gate.tls.ca is None):
        warnings.append("gate.tls.ca: users have certificates, and without it no client is asked for one")
    warnings += [f"{key_path('backends', name)}: no namespace leads to it" for name in unused(backends, namespaces)]
    if mistakes:
        raise ConfigurationError(mistakes)
    digest = hashlib.sha256(text).hexdigest()
    moves = frozenset(tables["accept_moves"])
    return Configuration(gate, backends, namespaces, users, base, digest, path, tuple(warnings), audit, rates, moves)


def load(path: Path, *, listen: Sequence[str] = (), workers: int | None = None) -> Configuration:
    """Read a configuration file; see `parse`.

    Raises:
        ConfigurationError: also when the file cannot be read.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"the file cannot be read: {error.strerror}"]) from None
    return parse(text, path.absolute().parent, path=path.absolute(), listen=listen, workers=workers)


def default_text(data_dir: Path = DEFAULT_DATA_DIR) -> bytes:
    """The configuration of `kvgate serve` without a file: the embedded store in `data_dir`, for every key."""
    text = (
        '[backends.local]\ntype = "lmdb"\n'
        f"path = {json.dumps(str(data_dir), ensure_ascii=False)}\n"
        '[namespaces]\ndefault = "local"\n'
    )
    return text.encode("utf-8", "surrogateescape")


def default(
    data_dir: Path = DEFAULT_DATA_DIR, listen: Sequence[str] = (), *, workers: int | None = None
) -> Configuration:
    """`default_text`, on 127.0.0.1:6380.

    Raises:
        ConfigurationError: for a `listen` that is no address, or that other machines can reach.
    """
    return parse(default_text(data_dir), Path.cwd(), listen=listen, workers=workers)
