"""redis-cli's own ways of asking: --stat, --bigkeys, its hints and its error help."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.servers import Gate, RedisServer

redis_cli = shutil.which("redis-cli") or ""
pytestmark = pytest.mark.skipif(not redis_cli, reason="redis-cli is not installed (Debian package redis-tools)")


@pytest.fixture(scope="module")
def gate(module_redis: RedisServer) -> Iterator[Gate]:
    """A gate with one store and a few keys on it."""
    text = f'[backends.store]\ntype = "redis"\nurl = "{module_redis.url}"\n[namespaces]\ndefault = "store"\n'
    with Gate(text) as running, running.client() as client:
        client.cmd("SET", "Some.Text:1", "x" * 1000)
        client.cmd("SET", "Some.Text:2", "y")
        client.cmd("RPUSH", "Some.List:1", *range(50))
        yield running


def _run(gate: Gate, *arguments: str, typed: str = "") -> str:
    line = [redis_cli, "-h", gate.host, "-p", str(gate.port), *arguments]
    done = subprocess.run(line, input=typed, capture_output=True, text=True, timeout=30, check=True)
    assert not done.stderr
    return done.stdout


def test_stat_shows_figures(gate: Gate) -> None:
    line = [redis_cli, "-h", gate.host, "-p", str(gate.port), "--stat", "-i", "0.05"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(5)]
        process.terminate()
    assert shown[1].split() == ["keys", "mem", "clients", "blocked", "requests", "connections"]
    keys, memory, clients, blocked, requests, *_ = shown[2].split()
    assert (keys, clients, blocked) == ("0", "2", "0")
    assert memory.endswith("M")
    assert int(shown[4].split()[4]) > int(requests)


def test_bigkeys_finds_the_biggest(gate: Gate) -> None:
    shown = _run(gate, "--bigkeys")
    assert "Sampled 3 keys in the keyspace!" in shown
    assert 'Biggest   list found "Some.List:1" has 50 items' in shown.replace('"\'', '"').replace("'\"", '"')
    assert 'Biggest string found "Some.Text:1" has 1000 bytes' in shown.replace('"\'', '"').replace("'\"", '"')


@pytest.mark.parametrize("arguments", [(), ("-3",), ("-n", "0"), ("-n", "0", "-3")])
def test_typed_lines(gate: Gate, arguments: tuple[str, ...]) -> None:
    shown = _run(gate, *arguments, typed="PING\nNOSUCH\nCLIENT GETNAME\nHELP\nECHO done\n")
    assert shown.startswith("PONG\n")
    assert "ERR unknown command 'NOSUCH'" in shown
    assert shown.rstrip().endswith("done")


def test_info_is_text(gate: Gate) -> None:
    for arguments in (("INFO", "gate"), ("-3", "INFO", "gate")):
        shown = _run(gate, *arguments)
        assert shown.startswith("# Gate")
        assert "\nbackend_store:type=redis,status=up," in shown.replace("\r", "")
