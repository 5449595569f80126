"""The client libraries that are checked, in pinned versions: how each is installed, and how its program is started."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "compat" / "clients"
CACHE = Path(os.environ.get("KVGATE_CLIENT_CACHE", ROOT / ".cache" / "clients"))
INSTALL_TIMEOUT = 900.0
NO_NETWORK = re.compile(
    r"No matching distribution|Temporary failure in name resolution|Failed to establish a new connection|ENOTFOUND|ETIMEDOUT"
    r"|ECONNREFUSED|EAI_AGAIN|Could not transfer|Unknown host|dial tcp|proxyconnect|i/o timeout|cannot access .* in offline"
    r"|Could not resolve host|failed to download from|spurious network error",
    re.IGNORECASE,
)
EVERYWHERE = (
    "protocol", "strings", "pipeline", "several", "pool", "transactions",
    "hashes", "expiry", "scanning", "errors", "reconnect",
)  # fmt: skip
"""Parts of every program, on every store."""
BEYOND = ("lists", "sorted sets", "channels", "scripts")
"""Parts that a store with strings and hashes only lacks; there they are about how that is told."""
TAIR = ("strings", "plain strings", "hashes", "transactions", "races")


class Unavailable(Exception):  # noqa: N818 - a fact about this machine, not a mistake
    """The tool chain or the registry is not there; the text says which."""


class Failed(Exception):  # noqa: N818 - what a check may turn out to be
    """An installation or a check failed; the text is its output."""


@attrs.frozen(slots=True)
class Client:
    """One library in one version and protocol: how to get it, and how to run its program."""

    name: str
    version: str
    protocol: str
    """``2`` or ``3``."""
    tool: str
    """The program it needs on the PATH."""
    install: Callable[[], None]
    """Idempotent and quick when everything is in the cache."""
    command: "list[str]"
    """To which URL, protocol, keys and types are added."""
    environment: "dict[str, str]" = attrs.field(factory=dict)
    parts: "tuple[str, ...]" = EVERYWHERE + BEYOND
    """What its program tells of, each in a line ``part: ok``, ``part: unsupported`` or ``part: FAILED …``."""
    versioned: bool = False
    """Whether it works on versioned keys."""
    built: "Path | None" = None
    """Where its build takes minutes: the file whose existence says that it is there; tests do not start such a build."""

    @property
    def label(self) -> str:
        """For people: ``redis-py 8.1.0 RESP3``."""
        return f"{self.name} {self.version} RESP{self.protocol}"


def run(line: list[str], *, timeout: float, **environment: str) -> str:
    """Run a program to its end; what it wrote to stdout. Raises `Failed` with all output."""
    try:
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        shown = "".join(str(part, "utf-8", "replace") for part in (late.stdout, late.stderr) if isinstance(part, bytes))
        msg = f"{' '.join(line)}: no end after {timeout} s\n{shown}"
        raise Failed(msg) from None
    if done.returncode:
        text = f"{' '.join(line)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        raise Failed(text)
    return done.stdout.strip()


def fetch(line: list[str], **environment: str) -> None:
    """Run an installation; without a network it is `Unavailable`."""
    try:
        run(line, timeout=INSTALL_TIMEOUT, **environment)
    except Failed as failed:
        if NO_NETWORK.search(str(failed)):
            msg = f"the registry cannot be reached ({line[0]})"
            raise Unavailable(msg) from None
        raise


def _newer(build: Path, folder: Path, *patterns: str) -> bool:
    """Whether `build` is there and newer than all sources."""
    sources = [source for pattern in patterns for source in folder.glob(pattern)]
    return build.exists() and all(source.stat().st_mtime < build.stat().st_mtime for source in sources)


def _pinned(path: str, pattern: str) -> str:
    """A version, out of the file that pins it."""
    found = re.search(pattern, (PROGRAMS / path).read_text("utf-8"))
    assert found, f"{path} does not pin {pattern}"
    return found[1]


def _python(
    package: str, version: str, program: str, protocol: str, name: str, parts: tuple[str, ...], *, versioned: bool = False
) -> Client:
    folder = CACHE / f"{'redis-py' if package == 'redis' else name}-{version}"
    python = str(folder / "bin" / "python")

    def install() -> None:
        if not (folder / ".done").exists():
            fetch([sys.executable, "-m", "venv", "--clear", str(folder)])
            fetch([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{package}=={version}"])
            (folder / ".done").touch()

    command = [python, "-W", "error", "-m", f"clients.python.{program}"]
    path = {"PYTHONPATH": str(ROOT / "compat")}
    return Client(name, version, protocol, sys.executable, install, command, path, parts, versioned)


def _redis_py(version: str, protocol: str, *, asyncio: bool) -> Client:
    program, name = ("redis_asyncio", "redis-py asyncio") if asyncio else ("redis_sync", "redis-py")
    parts = (*EVERYWHERE[:6], "lock", *EVERYWHERE[6:], *BEYOND)
    return _python("redis", version, program, protocol, name, parts)


def _node(package: str, version: str, program: str, protocol: str) -> Client:
    folder = CACHE / f"{package}-{version}"

    def install() -> None:
        if not (folder / ".done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text('{"private": true}\n', "utf-8")
            quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            fetch(["npm", "install", "--prefix", str(folder), *quiet, f"{package}@{version}"])
            (folder / ".done").touch()

    name = {"redis": "node-redis"}.get(package, package)
    command = ["node", str(PROGRAMS / "node" / program)]
    return Client(name, version, protocol, "npm", install, command, {"CLIENT_DIR": str(folder)})


def _old_enough(tool: list[str], what: str, needed: str) -> None:
    """Raises `Unavailable` when the tool's version is below `needed`."""
    has = re.search(r"(\d+)\.(\d+)", run(tool, timeout=20))
    if has and tuple(map(int, has.groups())) < tuple(map(int, needed.split(".")[:2])):
        msg = f"{what} {needed} is needed, here is {has[0]}"
        raise Unavailable(msg)


def _go_redis(protocol: str) -> Client:
    binary, folder = CACHE / "go-redis", PROGRAMS / "go"

    def install() -> None:
        if _newer(binary, folder, "*.go", "go.*"):
            return
        _old_enough(["go", "version"], "Go", _pinned("go/go.mod", r"\ngo (\S+)"))
        build = ["go", "build", "-C", str(folder), "-o", str(binary), "."]
        fetch(build, GOTOOLCHAIN="local", GOFLAGS="-mod=readonly")

    version = _pinned("go/go.mod", r"go-redis/v9 v(\S+)")
    return Client("go-redis", version, protocol, "go", install, [str(binary)])


def _redis_rs(protocol: str) -> Client:
    target, folder = CACHE / "rust", PROGRAMS / "rust"
    binary = target / "debug" / "kvgate-client-check"

    def install() -> None:
        if _newer(binary, folder, "Cargo.*", "src/*.rs"):
            return
        _old_enough(["cargo", "--version"], "Rust", _pinned("rust/Cargo.toml", r'rust-version = "([^"]+)"'))
        manifest = str(folder / "Cargo.toml")
        fetch(["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest], CARGO_TARGET_DIR=str(target))
        os.utime(binary)  # cargo goes by contents: an unchanged program keeps its time

    version = _pinned("rust/Cargo.lock", r'name = "redis"\nversion = "([^"]+)"')
    return Client("redis-rs", version, protocol, "cargo", install, [str(binary)], built=binary)


def _java(name: str, artifact: str, program: str, protocol: str) -> Client:
    folder, mark = CACHE / "java", CACHE / "java" / ".done"

    def install() -> None:
        if _newer(mark, PROGRAMS / "java", "pom.xml", "src/main/java/*.java"):
            return
        fetch(["mvn", "-q", "-B", "-f", str(PROGRAMS / "java" / "pom.xml"), f"-Dclient.cache={folder}", "compile"])
        mark.touch()

    version = _pinned("java/pom.xml", rf"{artifact}</artifactId><version>([\d.]+\d)")
    classes = f"{folder / 'classes'}:{folder / 'dependency'}/*"
    return Client(name, version, protocol, "mvn", install, ["java", "-XX:TieredStopAtLevel=1", "-cp", classes, program])


CLIENTS = (
    *(
        _redis_py(version, protocol, asyncio=asyncio)
        for version, protocols in (("4.4.4", "2"), ("5.2.1", "23"), ("8.1.0", "23"))
        for protocol in protocols
        for asyncio in (False, True)
    ),
    _node("ioredis", "5.11.1", "ioredis.mjs", "2"),
    *(_node("ioredis", "6.0.0", "ioredis.mjs", protocol) for protocol in "23"),
    _node("redis", "4.7.1", "node-redis.mjs", "2"),
    *(_node("redis", version, "node-redis.mjs", protocol) for version in ("5.12.1", "6.3.1") for protocol in "23"),
    *(_go_redis(protocol) for protocol in "23"),
    *(_java("Jedis", "jedis", "JedisCheck", protocol) for protocol in "23"),
    *(_java("Lettuce", "lettuce-core", "LettuceCheck", protocol) for protocol in "23"),
    *(_redis_rs(protocol) for protocol in "23"),
    _python("tair", "1.3.7", "tair_check", "2", "tair-py", TAIR, versioned=True),  # with redis-py 4.4.4 under it
)
"""Versions are pinned, so that a failure is the gate's and not a release of last night; to renew them is an edit here."""


def prepare(client: Client, *, build: bool = True) -> None:
    """Install what `client` needs, one process at a time; with ``build=False`` not what takes minutes.

    Raises `Unavailable` or `Failed`.
    """
    if shutil.which(client.tool) is None:
        msg = f"{client.tool} is not installed"
        raise Unavailable(msg)
    if not build and client.built and not client.built.exists():
        msg = f"its program takes minutes to build and is not there; `make clients ARGS='--only {client.name}'` builds it"
        raise Unavailable(msg)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client.install()
