"""Every command that a backend claims, and every option that Redis documents, is reached by a search, or has a reason."""

from collections.abc import Iterator
from typing import Any, Final

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import every_command, supports
from kvgate.config import adapter
from kvgate_compat.reach import MODEL_GROUPS, STEPS, missing
from kvgate_compat.table import GENERATORS, WITHOUT
from kvgate_compat.words import Option, Request
from tests.support.additions import NOT_IN_REDIS
from tests.support.resp import parse
from tests.support.servers import RedisServer
from tests.versioned import generate

BACKENDS: Final = ("redis", "kvrocks", "lmdb", "tikv")
SIZES: Final = (15, 60, 200, 600)
"""Requests that are made of a command; more only when something was not among the fewer."""
NOT_GENERATED: Final[dict[str, dict[str, str]]] = {
    "COPY": {"DB": "a known difference: copy-db"},
}
"""Command → option word → why no generator makes it."""


def claimed(name: str) -> list[CommandSpec]:
    """What a backend can do, and the gate does not refuse."""
    capabilities = adapter(name).capabilities
    return [spec for spec in every_command() if supports(spec, capabilities) and spec.action is not Action.REFUSE]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_command_that_a_backend_claims_is_reached_or_has_a_reason(backend: str) -> None:
    assert missing(claimed(backend)) == []


def test_reasons_are_for_what_is_not_reached() -> None:
    names = {spec.name for spec in every_command()}
    assert set(WITHOUT) | set(GENERATORS) | STEPS <= names
    assert not set(WITHOUT) & set(GENERATORS)
    assert all(len(text) > 10 for text in WITHOUT.values())


def test_what_is_left_to_the_model_is_generated_there() -> None:
    wanted = {spec.name for spec in every_command() if spec.group in MODEL_GROUPS}
    made = {name.partition(",")[0] for name in (*generate.STRINGS, *generate.HASHES, *generate.GENERIC)}
    assert wanted <= made, wanted - made


def tokens(docs: Any) -> Iterator[str]:
    """The option words in Redis' own COMMAND DOCS, those of subcommands aside."""
    if isinstance(docs, dict):
        if b"token" in docs:
            yield docs[b"token"].decode()
        for name, value in docs.items():
            if name != b"subcommands":
                yield from tokens(value)
    elif isinstance(docs, list):
        for value in docs:
            yield from tokens(value)


@pytest.fixture(scope="module")
def documented(module_redis: RedisServer) -> "dict[str, set[str]]":
    """Command → its option words; subcommands as ``CONTAINER|SUB``."""
    with module_redis.client(proto=3) as client:
        docs = parse(client.raw_reply("COMMAND", "DOCS"))
    every = dict(docs)
    for each in docs.values():
        every.update(each.get(b"subcommands", {}))
    return {name.decode().upper(): set(tokens(each)) - {""} for name, each in every.items()}


@attrs.define
class Seen:
    """What was among some requests."""

    options: set[str]
    damaged: int
    sound: int
    odd_case: bool


def seen(name: str, size: int) -> Seen:
    """What is among `size` requests, the same ones each time."""
    found, parts = Seen(set(), 0, 0, odd_case=False), name.count("|") + 1

    @settings(
        max_examples=size,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(GENERATORS[name])
    def collect(request: Request) -> None:
        said = [arg for arg in request.args[:parts] if isinstance(arg, bytes)]
        assert b"|".join(said).upper() == name.encode()
        found.options.update(arg.upper().decode() for arg in request.args[1:] if isinstance(arg, Option))
        found.damaged += request.damaged
        found.sound += not request.damaged
        found.odd_case |= said[0] != said[0].upper()

    collect()
    return found


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_every_option_is_generated(name: str, documented: "dict[str, set[str]]") -> None:
    """And some requests are in odd case, and some, but not most, are damaged."""
    wanted = documented.get(name, set()) - set(NOT_GENERATED.get(name, ()))
    for size in SIZES:
        found = seen(name, size)
        if wanted <= found.options and found.damaged and found.sound and found.odd_case:
            break
    assert wanted <= found.options, wanted - found.options
    assert found.damaged
    assert found.sound > found.damaged * 0.2, "of those without arguments there are few that are not damaged"
    assert found.odd_case


def test_options_with_a_reason_exist(documented: "dict[str, set[str]]") -> None:
    for name, words in NOT_GENERATED.items():
        assert set(words) <= documented[name]
        assert all(len(text) > 10 for text in words.values())


def test_redis_documents_what_is_generated(documented: "dict[str, set[str]]") -> None:
    """So that no option goes unseen because a command is called otherwise there."""
    assert set(GENERATORS) - NOT_IN_REDIS <= set(documented)
