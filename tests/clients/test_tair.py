"""Tair's own client library (compat/clients) against a gate before a Redis without the modules, and the embedded store."""

import pytest

from tests.clients.run import TAIR, Unavailable, check, prepare
from tests.versioned.gates import gate_before


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_applications_written_for_tair_work_unchanged(kind: str) -> None:
    try:
        prepare(TAIR)
    except Unavailable as why:
        pytest.skip(f"{TAIR.name}: {why}")
    with gate_before(kind) as gate:
        assert check(TAIR, gate.url) == "tair-py: ok, strings, plain strings, hashes, transactions, races"
