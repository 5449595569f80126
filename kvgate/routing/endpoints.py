"""Store addresses: ``redis://``, ``rediss://`` and ``unix://`` URLs, and the options of a backend that speaks RESP.

URL forms as in the IANA registration of ``redis`` and ``rediss``: ``redis://user:password@host:port/db``; a unix socket is
``unix:///path/to/socket?db=1`` as redis-py writes it. User, password and path are percent-decoded.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from kvgate.backend import Endpoint, Topology
from kvgate.commands.table import TABLE
from kvgate.errors import ConfigurationError
from kvgate.policy.options import Options, did_you_mean
from kvgate.routing.slots import HASHES, MOST_SLOTS, SLOTS, crc32_slot, slot_table

SCHEMES: Final = ("redis", "rediss", "unix")
DEFAULT_PORT: Final = 6379
_LOGIN: Final = ("user", "password", "password_file", "tls_ca", "tls_cert", "tls_key", "tls_server_name")
_SHARDED: Final = ("hash", "slots", "groups")


def _database(parts: SplitResult) -> int:
    """The database number in the path (TCP) or the query (either)."""
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = [name for name in query if name != "db"]
    if unknown:
        raise ValueError(f'"?{unknown[0]}=" is unknown here; only "?db=" is read, the rest are options of the backend')
    texts = [query["db"]] if "db" in query else []
    if parts.scheme != "unix" and parts.path.strip("/"):
        texts.append(parts.path.strip("/"))
    for text in texts:
        if not text.isascii() or not text.isdigit():
            raise ValueError(f'the database must be a number, "{text}" is none')
    if len({int(text) for text in texts}) > 1:
        raise ValueError("the database is given twice, differently")
    return int(texts[0]) if texts else 0


def _unix(parts: SplitResult, database: int) -> Endpoint:
    if parts.hostname or not parts.path.startswith("/"):
        raise ValueError("a unix socket's path is absolute: unix:///run/redis.sock")
    path = unquote(parts.path)
    return Endpoint(url=f"unix://{parts.path}" + (f"?db={database}" if database else ""), path=path, database=database)


def _tcp(parts: SplitResult, database: int) -> Endpoint:
    if not parts.hostname:
        raise ValueError(f"no host: {parts.scheme}://host:port/db")
    port = parts.port if parts.port is not None else DEFAULT_PORT  # .port raises ValueError above 65535
    if port == 0:
        raise ValueError("port 0 is no store's port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Endpoint(
        url=f"{parts.scheme}://{host}:{port}/{database}",
        host=parts.hostname,
        port=port,
        tls=parts.scheme == "rediss",
        database=database,
    )


def parse_url(url: str) -> Endpoint:
    """The endpoint that a URL says; its `url` shows neither user nor password.

    Raises:
        ValueError: with what is wrong, never quoting the URL (it may hold a password).
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("no URL: brackets or port are wrong") from None
    del port
    if parts.scheme not in SCHEMES:
        raise ValueError(
            f'"{parts.scheme}://" is unknown, a store is redis://host:port/db, rediss://… (TLS) or unix:///path'
            if parts.scheme and "://" in url
            else "no scheme: redis://host:port/db, rediss://… (TLS) or unix:///path"
        )
    if parts.fragment:
        raise ValueError('"#" in a user or password is written %23')
    database = _database(parts)
    endpoint = _unix(parts, database) if parts.scheme == "unix" else _tcp(parts, database)
    return attrs.evolve(
        endpoint,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _login(options: Options, base: Path) -> dict[str, Any]:
    """User, password and TLS options, which apply to every endpoint of the backend."""
    found: dict[str, Any] = {
        "user": options.text("user"),
        "password": options.text("password"),
        "password_file": options.file("password_file", base),
        "tls_ca": options.file("tls_ca", base),
        "tls_cert": options.file("tls_cert", base),
        "tls_key": options.file("tls_key", base),
        "tls_server_name": options.text("tls_server_name"),
    }
    if found["password"] and found["password_file"]:
        options.wrong("password", "given together with password_file: keep one of them")
    if bool(found["tls_cert"]) != bool(found["tls_key"]):
        options.wrong("tls_cert" if found["tls_cert"] else "tls_key", "tls_cert and tls_key go together")
    return {key: value for key, value in found.items() if value}


def _endpoint(options: Options, key: str, url: object, login: Mapping[str, Any], *, resp3: bool) -> Endpoint | None:
    if not isinstance(url, str):
        options.wrong(key, 'must be a URL in quotes: "redis://host:port/db"')
        return None
    try:
        endpoint = parse_url(url)
    except ValueError as error:
        options.wrong(key, str(error))
        return None
    for name in ("user", "password"):
        if name in login and getattr(endpoint, name) not in ("", login[name]):
            options.wrong(key, f"the URL has a {name}, and the option {name} says another: keep one of them")
    if endpoint.password and "password_file" in login:
        options.wrong(key, "the URL has a password, and there is a password_file: keep one of them")
    if not endpoint.tls and any(name.startswith("tls_") for name in login):
        options.wrong(key, "tls_… options need TLS: write rediss://")
    return attrs.evolve(endpoint, **login, resp3=resp3)


def _rename(options: Options) -> dict[str, str]:
    """``rename = { FLUSHALL = "x" }``: commands that have another name on the store."""
    table = options.subtable("rename")
    names: dict[str, str] = {}
    for command in table.table if table else ():
        assert table is not None  # noqa: S101 - for mypy: the loop is empty without a table
        renamed = table.raw(command)
        if not isinstance(renamed, str) or not renamed or any(letter.isspace() for letter in renamed):
            table.wrong(command, "must be the command's name on the store, in quotes, without spaces")
        elif any(letter.isspace() or letter == "|" for letter in command):
            table.wrong(command, "Redis renames whole commands only, no subcommands")
        elif command.upper().encode() not in TABLE:
            table.wrong(command, f"there is no such command{did_you_mean(command, [name.decode() for name in TABLE])}")
        else:
            names[command.upper()] = renamed
    return names


def _single(options: Options, login: Mapping[str, Any], *, resp3: bool) -> tuple[list[Endpoint], list[int], int]:
    for key in _SHARDED:
        if key in options:
            options.wrong(key, "belongs to a backend with [….groups]; this one has a url")
    endpoint = _endpoint(options, "url", options.raw("url"), login, resp3=resp3)
    return [endpoint] if endpoint else [], [0], 1


def _grouped(options: Options, login: Mapping[str, Any], *, resp3: bool) -> tuple[list[Endpoint], list[int], int]:
    options.text("hash", HASHES[0], HASHES)
    slots = options.integer("slots", SLOTS, 1, MOST_SLOTS)
    groups = options.subtable("groups")
    if groups is None or not groups.table:
        if "groups" not in options.table:
            options.wrong("", 'needs url = "redis://host:port/db", or [….groups] with slot ranges')
        elif groups is not None:
            options.wrong("groups", f'no group has slots 0-{slots - 1}: "0-{slots - 1}" = "redis://host:port"')
        return [], [], slots
    shards: list[Endpoint] = []
    ranges: dict[str, int] = {}
    for text in groups.table:
        endpoint = _endpoint(groups, text, groups.raw(text), login, resp3=resp3)
        if endpoint is not None and endpoint not in shards:
            shards.append(endpoint)
        ranges[text] = shards.index(endpoint) if endpoint is not None else 0
    table, mistakes = slot_table(ranges, slots)
    for text, mistake in mistakes:
        groups.wrong(text, mistake)
    return shards, table, slots


def parse_resp_store(
    options: Mapping[str, Any], base: Path, *, extra: Collection[str] = (), resp3: bool = True
) -> Topology:
    """The topology that a ``[backends.NAME]`` table of a RESP store says: `url`, or `groups` with `slots` and `hash`;
    `user`, `password`, `password_file`, `tls_ca`, `tls_cert`, `tls_key`, `tls_server_name`, `rename`.

    `base` is the folder that file names are relative to; `extra` are keys that the adapter reads itself.

    Raises:
        ConfigurationError: with every mistake, key paths relative to the table; unknown keys are mistakes.
    """
    mistakes: list[str] = []
    reader = Options(options, mistakes)
    reader.read.update(extra)
    login = _login(reader, base)
    rename = _rename(reader)
    if "url" in reader:
        shards, table, slots = _single(reader, login, resp3=resp3)
    else:
        shards, table, slots = _grouped(reader, login, resp3=resp3)
    known = {*_LOGIN, *_SHARDED, "url", "rename", *extra}
    for key in options:
        if key not in known:
            reader.wrong(key, f"unknown key{did_you_mean(key, known)}")
    if mistakes:
        raise ConfigurationError(mistakes)
    if len(shards) == 1:
        table, slots = [0], 1
    return Topology(shards=tuple(shards), slots=tuple(table), slot_of=crc32_slot(slots), rename=rename, is_crc32=True)
