"""Who is measured: Redis shards, and Twemproxy, HAProxy and the gate in front of them, each with its configuration."""

import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from bench.process import NotAvailable, Started, free_port, started, wait_for
from bench.resp import Client, answers_ping, request

ROOT = Path(__file__).resolve().parent.parent
USER, PASSWORD = "ads", "bench-password"  # of the gate's user; throw-away
STORE_PASSWORD = "store-password"  # of shards that want one; throw-away
NAMES = ("direct", "twemproxy", "haproxy", "kvgate")
REFERENCE = "twemproxy"


@attrs.frozen(slots=True)
class Shard:
    """One redis-server of the run."""

    port: int
    server: Started
    password: str = ""

    @property
    def auth(self) -> tuple[str, ...]:
        """What AUTH needs, empty without a password."""
        return (self.password,) if self.password else ()

    def client(self) -> Client:
        """A connection of the harness to the store itself."""
        return Client(self.port, self.auth)


@attrs.frozen(slots=True)
class Peer:
    """Something that speaks Redis on `port`; `server` is the process that is charged, a proxy unless `name` is direct."""

    name: str
    port: int
    server: Started
    auth: tuple[str, ...] = ()

    @property
    def is_proxy(self) -> bool:
        """Whether the process stands in front of a store, so that its time is the price of the way."""
        return self.name != "direct"

    def client(self) -> Client:
        """A connection of the harness, logged in."""
        return Client(self.port, self.auth)

    def benchmark_options(self) -> list[str]:
        """How redis-benchmark reaches it."""
        options = ["-h", "127.0.0.1", "-p", str(self.port)]
        if len(self.auth) == 2:
            options += ["--user", self.auth[0], "-a", self.auth[1]]
        elif self.auth:
            options += ["-a", self.auth[0]]
        return options


@attrs.define(slots=True)
class Fleet:
    """The shards and peers of one measurement; all end with `fleet()`'s context."""

    folder: Path
    gate_command: tuple[str, ...]
    stack: contextlib.ExitStack
    shards: list[Shard] = attrs.field(factory=list)
    missing: dict[str, str] = attrs.field(factory=dict)
    """Peers that could not be started, and why."""

    def start(self, name: str, command: Sequence[str]) -> Started:
        """Start a process of this run."""
        return self.stack.enter_context(started(name, command, self.folder))

    def start_shards(self, count: int = 2, password: str = "") -> None:
        """Start redis-servers without persistence, and wait for them."""
        for number in range(count):
            port = free_port()
            folder = self.folder / f"shard{number}"
            folder.mkdir()
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            command += ["--dir", str(folder), *(["--requirepass", password] if password else [])]
            shard = Shard(port, self.start(f"redis-{number}", command), password)
            self.shards.append(shard)
            wait_for(lambda shard=shard: answers_ping(shard.port, shard.auth), shard.server)  # type: ignore[misc]  # mypy cannot infer a lambda's default

    def start_peers(self, names: Sequence[str], namespaces: Sequence[str] = ("Ads.Profile",)) -> list[Peer]:
        """Start the named peers over the shards, in the order of `NAMES`; who cannot start goes to `missing`."""
        makers = {"direct": self.direct, "twemproxy": self.twemproxy, "haproxy": self.haproxy}
        peers = []
        for name in NAMES:
            if name in names:
                try:
                    peers.append(makers[name]() if name in makers else self.gate(namespaces))
                except NotAvailable as error:
                    self.missing[name] = str(error)
                    print(f"  {name} is left out: {error}", file=sys.stderr)
        return peers

    def ready(self, peer: Peer) -> Peer:
        """Wait until the peer answers."""
        wait_for(lambda: answers_ping(peer.port, peer.auth), peer.server)
        return peer

    def direct(self) -> Peer:
        """The first shard itself."""
        shard = self.shards[0]
        return Peer("direct", shard.port, shard.server, shard.auth)

    def twemproxy(self) -> Peer:
        """nutcracker with its usual hash and distribution over all shards."""
        port, statistics = free_port(), free_port()
        path = self.folder / "nutcracker.yml"
        path.write_text(twemproxy_config(port, self.shards), encoding="utf-8")
        command = ["nutcracker", "-c", str(path), "-s", str(statistics), "-a", "127.0.0.1"]
        return self.ready(Peer("twemproxy", port, self.start("twemproxy", command), self.shards[0].auth))

    def haproxy(self) -> Peer:
        """HAProxy in TCP mode, one thread, connections dealt to the shards in turn."""
        port = free_port()
        path = self.folder / "haproxy.cfg"
        path.write_text(haproxy_config(port, self.shards), encoding="utf-8")
        server = self.start("haproxy", ["haproxy", "-db", "-f", str(path)])
        return self.ready(Peer("haproxy", port, server, self.shards[0].auth))

    def gate(self, namespaces: Sequence[str], label: str = "kvgate") -> Peer:
        """The gate with what `gate_config` switches on, and a backend of crc32 and 1024 slots over the shards."""
        port = free_port()
        return self.gate_from(gate_config(port, self.shards, namespaces), port, label)

    def gate_from(self, configuration: str, port: int, label: str = "kvgate", options: Sequence[str] = ()) -> Peer:
        """The gate of a configuration that has the bench's user."""
        path = self.folder / f"{label}.toml"
        path.write_text(configuration, encoding="utf-8")
        server = self.start(label, [*self.gate_command, *options, str(path)])
        return self.ready(Peer(label, port, server, (USER, PASSWORD)))

    def fill(self, keys: Sequence[str], value: bytes) -> None:
        """Put every key on *every* shard, so that a GET hits wherever a peer routes it; 1,000 or 8 MB at a time."""
        portion = max(1, min(1000, 8_000_000 // max(1, len(value))))
        for shard in self.shards:
            with shard.client() as client:
                for begin in range(0, len(keys), portion):
                    client.ask_all([request("SET", key, value) for key in keys[begin : begin + portion]])

    def calls(self, command: str) -> int:
        """How many calls of `command` (lower case) have succeeded on all shards together, from INFO commandstats."""
        total = 0
        for shard in self.shards:
            with shard.client() as client:
                text = client.ask("INFO", "commandstats")
            assert isinstance(text, bytes)
            total += succeeded(text.decode(), command)
        return total


@contextlib.contextmanager
def fleet(gate_command: Sequence[str]) -> Iterator[Fleet]:
    """An empty fleet with a temporary folder."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvgate-bench-")))
        yield Fleet(folder, tuple(gate_command), stack)


def succeeded(commandstats: str, command: str) -> int:
    """Calls less failures of one command in the text of ``INFO commandstats``."""
    for line in commandstats.splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            fields = dict(field.split("=") for field in line.partition(":")[2].split(","))
            return int(fields["calls"]) - int(fields["failed_calls"])
    return 0


def twemproxy_config(port: int, shards: Sequence[Shard]) -> str:
    """nutcracker's YAML; with `redis_auth` when the shards want a password (then clients must log in too)."""
    lines = ["bench:", f"  listen: 127.0.0.1:{port}", "  redis: true", "  hash: fnv1a_64", "  distribution: ketama"]
    lines.append("  backlog: 4096")
    lines += [f"  redis_auth: {shards[0].password}"] if shards[0].password else []
    lines += ["  servers:", *(f"   - 127.0.0.1:{shard.port}:1 shard{i}" for i, shard in enumerate(shards))]
    return "\n".join(lines) + "\n"


def haproxy_config(port: int, shards: Sequence[Shard]) -> str:
    """One TCP listener; one thread, as the other proxies have."""
    lines = ["global", "  nbthread 1", "  maxconn 9000", "defaults", "  mode tcp", "  timeout connect 5s"]
    lines += ["  timeout client 300s", "  timeout server 300s", "listen bench", f"  bind 127.0.0.1:{port}"]
    lines += ["  balance roundrobin", *(f"  server shard{i} 127.0.0.1:{s.port}" for i, s in enumerate(shards))]
    return "\n".join(lines) + "\n"


RATE = 'rate = { operations = 10000000, bytes = "100gb" }'  # a limit that is kept account of and never met


def gate_config(port: int, shards: Sequence[Shard], namespaces: Sequence[str], max_value: str = "128kb") -> str:
    """kvgate's TOML as in production: a listener for metrics, each namespace in the long form with limits of size, a user with
    a password, grants, networks and a limit of rate, an administrator for RELOAD."""
    edges = [1024 * i // len(shards) for i in range(len(shards) + 1)]
    secret = hashlib.sha256(PASSWORD.encode()).hexdigest()
    lines = ["[gate]", f'listen = ["127.0.0.1:{port}"]', f'metrics = "127.0.0.1:{free_port()}"', "workers = 1", ""]
    lines += ["[backends.profile]", 'type = "redis"', 'hash = "crc32"', "slots = 1024", "[backends.profile.groups]"]
    for i, shard in enumerate(shards):
        login = f":{shard.password}@" if shard.password else ""
        lines.append(f'"{edges[i]}-{edges[i + 1] - 1}" = "redis://{login}127.0.0.1:{shard.port}"')
    for name in namespaces:
        lines += ["", f'[namespaces."{name}"]', 'backend = "profile"', 'max_key = "1kb"', f'max_value = "{max_value}"']
    lines += ["", f"[users.{USER}]", f'password_sha256 = ["{secret}"]', 'namespaces = ["Ads.*"]']
    lines += ['networks = ["127.0.0.1"]', RATE, "", "[users.admin]", f'password_sha256 = ["{secret}"]']
    lines += ['namespaces = ["*"]', 'commands = ["+@all"]']
    return "\n".join(lines) + "\n"


def default_gate() -> list[str]:
    """``kvgate serve`` of the environment that the harness itself runs in."""
    return [str(Path(sys.executable).parent / "kvgate"), "serve"]


def lane(gate_command: Sequence[str]) -> str:
    """Which paths the gate's lane runs, as its INFO says: ``native`` (C) or ``python``; or why that is not known."""
    with fleet(gate_command) as running:
        port = free_port()
        text = f'[gate]\nlisten = ["127.0.0.1:{port}"]\n[backends.local]\ntype = "lmdb"\npath = "lane"\n'
        path = running.folder / "lane.toml"
        path.write_text(f'{text}[namespaces]\ndefault = "local"\n', encoding="utf-8")
        try:
            peer = running.ready(Peer("lane", port, running.start("lane", [*gate_command, str(path)])))
        except NotAvailable as error:
            return f"unknown: {error}"
        with peer.client() as client:
            told = client.ask("INFO", "gate")
    assert isinstance(told, bytes)
    return next((line[5:] for line in told.decode().splitlines() if line.startswith("lane:")), "unknown: INFO does not tell")
