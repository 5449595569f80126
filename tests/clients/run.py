"""``python -m tests.clients.run``: installs client libraries into .cache/clients and runs each one's check."""

import argparse
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
TIMEOUT = 90.0
"""Seconds for one check; a client that waits for a reply for ever is a failure."""
INSTALL_TIMEOUT = 300.0
NO_NETWORK = re.compile(
    r"No matching distribution|Temporary failure in name resolution|Failed to establish a new connection|ENOTFOUND|ETIMEDOUT"
    r"|ECONNREFUSED|EAI_AGAIN|Could not transfer|Unknown host|dial tcp|proxyconnect|i/o timeout|cannot access .* in offline",
    re.IGNORECASE,
)


class Unavailable(Exception):  # noqa: N818 - a fact about this machine, not a mistake
    """The tool chain or the registry is not there; the text says which."""


class Failed(Exception):  # noqa: N818 - what a check may turn out to be
    """An installation or a check failed; the text is its output."""


@attrs.frozen(slots=True)
class Client:
    """One library in one version and protocol: how to get it, and how to run its check."""

    name: str
    tool: str
    """The program it needs on the PATH."""
    install: Callable[[], None]
    """Idempotent and quick when everything is in the cache."""
    command: Callable[[str], list[str]]
    """From the URL."""
    environment: "dict[str, str]" = attrs.field(factory=dict)


def _run(line: list[str], *, timeout: float, **environment: str) -> str:
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


def _fetch(line: list[str], **environment: str) -> None:
    """Run an installation; without a network it is `Unavailable`."""
    try:
        _run(line, timeout=INSTALL_TIMEOUT, **environment)
    except Failed as failed:
        if NO_NETWORK.search(str(failed)):
            msg = f"the registry cannot be reached ({line[0]})"
            raise Unavailable(msg) from None
        raise


def _python(package: str, version: str, program: str, protocol: str = "", name: str = "") -> Client:
    title = name or package
    folder = CACHE / f"{title}-{version}"
    python = str(folder / "bin" / "python")

    def install() -> None:
        if not (folder / ".done").exists():
            _fetch([sys.executable, "-m", "venv", "--clear", str(folder)])
            _fetch([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{package}=={version}"])
            (folder / ".done").touch()

    return Client(
        f"{title} {version}{f' RESP{protocol}' if protocol else ''}",
        sys.executable,
        install,
        lambda url: [python, "-W", "error", str(PROGRAMS / "python" / program), url, *([protocol] if protocol else [])],
    )


def _redis_py(version: str, protocol: str = "") -> Client:
    return _python("redis", version, "check.py", protocol, "redis-py")


def _node(package: str, version: str, program: str, protocol: str = "") -> Client:
    folder = CACHE / f"{package}-{version}"

    def install() -> None:
        if not (folder / ".done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text('{"private": true}\n', "utf-8")
            quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            _fetch(["npm", "install", "--prefix", str(folder), *quiet, f"{package}@{version}"])
            (folder / ".done").touch()

    title = {"redis": "node-redis"}.get(package, package)
    return Client(
        f"{title} {version}{f' RESP{protocol}' if protocol else ''}",
        "npm",
        install,
        lambda url: ["node", str(PROGRAMS / "node" / program), url, *([protocol] if protocol else [])],
        {"CLIENT_DIR": str(folder)},
    )


def _go_redis(protocol: str) -> Client:
    binary = CACHE / "go-redis"

    def install() -> None:
        sources = [PROGRAMS / "go" / name for name in ("main.go", "go.mod", "go.sum")]
        if binary.exists() and all(source.stat().st_mtime < binary.stat().st_mtime for source in sources):
            return
        needed = re.search(r"^go (\d+)\.(\d+)", (PROGRAMS / "go" / "go.mod").read_text("utf-8"), re.MULTILINE)
        has = re.search(r"go(\d+)\.(\d+)", _run(["go", "version"], timeout=20))
        if needed and has and tuple(map(int, has.groups())) < tuple(map(int, needed.groups())):
            msg = f"go-redis needs Go {'.'.join(needed.groups())}, here is {'.'.join(has.groups())}"
            raise Unavailable(msg)
        CACHE.mkdir(parents=True, exist_ok=True)
        build = ["go", "build", "-C", str(PROGRAMS / "go"), "-o", str(binary), "."]
        _fetch(build, GOTOOLCHAIN="local", GOFLAGS="-mod=readonly")

    return Client(f"go-redis 9 RESP{protocol}", "go", install, lambda url: [str(binary), url, protocol])


def _java(name: str, program: str, *arguments: str) -> Client:
    folder = CACHE / "java"

    def install() -> None:
        sources = [PROGRAMS / "java" / "pom.xml", *(PROGRAMS / "java" / "src").rglob("*.java")]
        mark = folder / ".done"
        if mark.exists() and all(source.stat().st_mtime < mark.stat().st_mtime for source in sources):
            return
        _fetch(["mvn", "-q", "-B", "-f", str(PROGRAMS / "java" / "pom.xml"), f"-Dclient.cache={folder}", "compile"])
        mark.touch()

    classes = f"{folder / 'classes'}:{folder / 'dependency'}/*"
    java = ["java", "-XX:TieredStopAtLevel=1", "-cp", classes, program]
    return Client(name, "mvn", install, lambda url: [*java, url, *arguments])


CLIENTS = (
    _redis_py("4.4.4"),
    _redis_py("5.2.1"),
    _redis_py("5.2.1", "3"),
    _redis_py("8.1.0"),
    _node("ioredis", "5.11.1", "ioredis.mjs"),
    _node("ioredis", "6.0.0", "ioredis.mjs"),
    _node("redis", "4.7.1", "node-redis.mjs"),
    _node("redis", "5.12.1", "node-redis.mjs", "3"),
    _node("redis", "6.3.1", "node-redis.mjs"),
    _go_redis("3"),
    _go_redis("2"),
    _java("Jedis 8.0.2", "JedisCheck"),
    _java("Jedis 8.0.2 RESP3", "JedisCheck", "3"),
    _java("Lettuce 7.7.0", "LettuceCheck"),
)
"""Versions are pinned, so that a failure is the gate's and not a release of last night; to renew them is an edit here."""


TAIR = _python("tair", "1.3.7", "tair_check.py", name="tair-py")
"""Tair's own library, with redis-py 4.4.4 under it; not among the others, since it wants versioned keys."""


def prepare(client: Client) -> None:
    """Install what `client` needs. Raises `Unavailable` or `Failed`."""
    if shutil.which(client.tool) is None:
        msg = f"{client.tool} is not installed"
        raise Unavailable(msg)
    client.install()


def check(client: Client, url: str) -> str:
    """Run its check against `url`; the line it prints. Raises `Failed`."""
    return _run(client.command(url), timeout=TIMEOUT, **client.environment)


def _run_all(url: str, pattern: str) -> int:
    failures = 0
    for client in CLIENTS:
        if not re.search(pattern, client.name):
            continue
        try:
            prepare(client)
            line = check(client, url)
        except Unavailable as why:
            line = f"{client.name}: skipped, {why}"
        except Failed as why:
            failures += 1
            line = f"{client.name}: FAILED\n{why}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 1 if failures else 0


def main() -> int:
    """Exit code 1 when a check failed; a missing tool chain is told and no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a running gate or Redis; without it a gate is started before two redis-servers")
    parser.add_argument("--only", default="", help="a regular expression for the client's name")
    options = parser.parse_args()
    if options.url:
        return _run_all(options.url, options.only)
    from tests.clients.setting import two_stores  # noqa: PLC0415 - needs the tests' tools, which --url does not

    with two_stores() as gate:
        return _run_all(gate.url, options.only)


if __name__ == "__main__":
    sys.exit(main())
