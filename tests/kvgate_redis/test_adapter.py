"""The Redis adapter's options: every mistake at once, and what becomes of good ones."""

from pathlib import Path

import pytest

from kvgate.backend import Listing, PassThrough
from kvgate.commands.spec import Action
from kvgate.commands.table import TABLE, supports
from kvgate.errors import ConfigurationError
from kvgate_redis import adapter


def test_good_options(tmp_path: Path) -> None:
    options = {
        "groups": {"0-1": "redis://a:1/3", "2-3": "rediss://u:p@b:2"},
        "slots": 4,
        "hash": "crc32",
        "rename": {"flushall": "x"},
        "own_connections": 5,
    }
    backend = adapter.prepare("cache", options, tmp_path)
    assert isinstance(backend, PassThrough)
    assert isinstance(backend, Listing)
    assert (backend.name, backend.type, backend.sources) == ("cache", "redis", 2)
    assert backend.topology.slots == (0, 0, 1, 1)
    assert backend.topology.rename == {"FLUSHALL": "x"}
    assert [shard.resp3 for shard in backend.topology.shards] == [True, True]
    assert "'cache': redis://a:1/3, rediss://b:2/0" in repr(backend)
    assert backend.statistics().up


def test_every_mistake_is_told(tmp_path: Path) -> None:
    options = {"url": "http://x", "own_connections": 0, "resp3": "no", "pasword": "x"}
    with pytest.raises(ConfigurationError) as caught:
        adapter.prepare("cache", options, tmp_path)
    told = sorted(mistake.partition(":")[0] for mistake in caught.value.mistakes)
    assert told == ["own_connections", "pasword", "resp3", "url"]


def test_an_old_store(tmp_path: Path) -> None:
    backend = adapter.prepare("old", {"url": "redis://a", "resp3": False}, tmp_path)
    assert isinstance(backend, PassThrough)
    assert backend.topology.shards[0].resp3 is False


def test_it_can_do_everything_that_is_not_refused() -> None:
    for spec in TABLE.values():
        for row in (spec, *spec.subcommands.values()):
            if row.action is not Action.REFUSE:
                assert supports(row, adapter.capabilities), row.name
