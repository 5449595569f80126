"""The cluster that tests run on: the TiKV-protocol server of this folder, or a real one that ``PD_ADDRS`` names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest

from kvgate_tikv.bridge import NotInstalled, load
from tests.tikv.program import TikvServer, Unavailable

PD_ADDRS = os.environ.get("PD_ADDRS", "")
"""Addresses of placement drivers, separated by commas."""


@attrs.frozen
class Cluster:
    """Where it is."""

    pd: tuple[str, ...]
    server: TikvServer | None
    """What takes orders for faults; None when it is a real cluster."""

    @property
    def prefix(self) -> str:
        """A part of the cluster that no other test uses, so that none has to clear it."""
        return f"kvgtest-{os.urandom(6).hex()}-"

    @property
    def faulty(self) -> TikvServer:
        """The server, for tests that order faults; skips on a real cluster."""
        if self.server is None:
            pytest.skip("faults are ordered from the server of tests/tikv only, PD_ADDRS names a real cluster")
        return self.server


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start the server (or take the real one). Skips, with the reason, where neither can be had."""
    try:
        load()
    except NotInstalled as error:
        pytest.skip(f"kvgate_tikv {error}")
    if PD_ADDRS:
        yield Cluster(tuple(PD_ADDRS.split(",")), None)
        return
    try:
        server = TikvServer()
    except Unavailable as error:
        pytest.skip(str(error))
    with server:
        yield Cluster((server.pd,), server)
