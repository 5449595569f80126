"""Building and running the TiKV-protocol server for tests, and ordering its faults."""

import fcntl
import functools
import hashlib
import json
import os
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.servers import ROOT, Program

SOURCE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "tikv"
BUILD_TIMEOUT = 900.0
"""Seconds. Cold it took 2 min 16 s on two busy cores, downloads of 24 modules included (45 s of processor time)."""
NO_GO = "no Go tool chain (package golang-go, or https://go.dev/dl) to build the TiKV-protocol server with"


class Unavailable(Exception):  # noqa: N818 - no error: tests skip
    """The server cannot be had on this machine; says why."""


def _digest() -> str:
    """Names a build: what it was made of."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCE.glob("*.go"), SOURCE / "go.mod", SOURCE / "go.sum"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def _build() -> Path | str:
    binary = CACHE / f"tikv-server-{_digest()}"
    if binary.exists():
        return binary
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return NO_GO
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes one builds
        if binary.exists():
            return binary
        fresh = binary.with_suffix(f".{os.getpid()}")
        # All checksums are in go.sum, so their data base, which not every network reaches, is not asked
        environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
        try:
            subprocess.run(
                ["nice", go, "build", "-o", str(fresh), "."],
                cwd=SOURCE, env=environment, check=True, capture_output=True, text=True, timeout=BUILD_TIMEOUT,
            )
        except subprocess.CalledProcessError as error:
            return f"the TiKV-protocol server could not be built (is a Go module proxy reachable?): {error.stderr[-600:]}"
        except subprocess.TimeoutExpired:
            return f"the TiKV-protocol server was not built within {BUILD_TIMEOUT:.0f} s"
        for old in CACHE.glob("tikv-server-*"):
            if old != fresh:
                old.unlink()
        fresh.rename(binary)
    return binary


def server_binary() -> Path:
    """The built server, from the cache or built now.

    Raises:
        Unavailable: there is no Go, or it could not be built.
    """
    found = _build()
    if isinstance(found, str):
        raise Unavailable(found)
    return found


class TikvServer(Program):
    """A cluster with one placement driver and `stores` stores in one process; its data outlive a restart and a kill."""

    name = "tikv"

    def __init__(self, *, stores: int = 3, directory: Path | None = None) -> None:
        """Prepare. Raises `Unavailable`."""
        self.binary = server_binary()
        super().__init__(directory)
        self.pd = f"127.0.0.1:{free_port()}"
        self.stores = [f"127.0.0.1:{free_port()}" for _ in range(stores)]
        self.control = f"127.0.0.1:{free_port()}"

    def __repr__(self) -> str:
        """Where its placement driver listens."""
        return f"<TikvServer {self.pd} {'running' if self.running else 'not running'}>"

    def command(self) -> list[str]:
        """See `Program`."""
        return [
            str(self.binary), "--pd", self.pd, "--stores", ",".join(self.stores),
            "--control", self.control, "--data", str(self.directory / "data"),
        ]  # fmt: skip

    def is_ready(self) -> bool:
        """See `Program`; the control port is opened last."""
        host, _, port = self.control.partition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def _ask(self, path: str, body: object = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.control}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def fault(
        self,
        kind: str,
        method: str = "",
        *,
        count: int = 0,
        skip: int = 0,
        rate: float = 0.0,
        ms: int = 0,
        key: bytes = b"",
    ) -> None:
        """Order a fault (faults.go says which there are): for `count` calls of `method`, 0: until `clear`; only for calls that
        name the cluster's `key`, when given."""
        order = {"kind": kind, "method": method, "count": count, "skip": skip, "rate": rate, "ms": ms, "key": key.hex()}
        self._ask("/fault", order)

    def clear(self) -> None:
        """No more faults."""
        self._ask("/fault", method="DELETE")

    def split(self, key: bytes) -> bool:
        """Let a region begin at `key`; False when one does already."""
        return bool(self._ask("/split", {"key": key.hex()}))

    def transfer(self, key: bytes) -> int:
        """Give the region of `key` another leader; the store's id."""
        return int(self._ask("/transfer", {"key": key.hex()}))

    def pause_pd(self) -> None:
        """Let calls to the placement driver wait. (`pause` stops the whole process.)"""
        self._ask("/pause", {"what": "pd"})

    def resume_pd(self) -> None:
        """End `pause_pd`."""
        self._ask("/resume", {"what": "pd"})

    def down(self, store: int) -> None:
        """Close the port of a store, as if it had crashed; its regions stay with it."""
        self._ask("/down", {"what": self.stores[store]})

    def up(self, store: int) -> None:
        """End `down`."""
        self._ask("/up", {"what": self.stores[store]})

    def step_clock(self, ms: int) -> None:
        """Move the placement driver's clock forward."""
        self._ask("/ahead", {"ms": ms})

    def regions(self) -> list[dict[str, Any]]:
        """The regions: ``id start end leader epoch``, boundaries in hexadecimal."""
        found: list[dict[str, Any]] = self._ask("/status", method="GET")["regions"]
        return found

    def calls(self) -> dict[str, int]:
        """How often each method was called since the start."""
        found: dict[str, int] = self._ask("/status", method="GET")["calls"]
        return found

    def struck(self) -> dict[str, int]:
        """How often a fault struck: ``KvCommit lost_reply`` → times."""
        found: dict[str, int] = self._ask("/status", method="GET")["struck"]
        return found
