"""`kvgate top` over a real gate: one screen, the live view on a terminal, and who may see what."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvgate.cli.asking import parse_address
from kvgate.cli.top_view import SORTS, Told, rows, screen
from kvgate.errors import ConfigurationError
from tests.server.settings import Setting, namespaces, redis, serving, stores, user
from tests.support.servers import NO_REDIS, ROOT, redis_binary
from tests.support.terminal import Terminal

LINE = [sys.executable, "-m", "kvgate.cli.main", "top"]


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with stores(1) as (one,):
        config = (
            redis("cache", one)
            + namespaces(Ads_P="cache", Bank_L="cache", default="cache")
            + user("boss", "*", more='commands = ["+@all"]')
            + user("ads", "Ads.*")
        )
        with serving(config, one, gate="workers = 2\nhotkeys_sample = 1\n") as setting:
            yield setting


def top(setting: Setting, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    line = [*LINE, f"redis://{name}:{name}-secret@127.0.0.1:{setting.gate.port}", "--once", "--interval", "0.3", *more]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)


def fill(setting: Setting) -> None:
    for _ in range(3):  # more than one connection, so that both workers have some
        with setting.gate.client(user="boss", password="boss-secret") as client:
            for number in range(50):
                client.cmd("SET", "Ads.P:hot\x1b[31m", "v")
                client.cmd("GET", f"Bank.L:{number}")


def test_one_screen(setting: Setting) -> None:
    fill(setting)
    done = top(setting, "boss")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout, "what clients call their keys does not reach a terminal as it is"
    assert re.search(r"kvgate \S+  redis://127\.0\.0\.1:\d+  up 00:00:\d\d  workers 2  clients \d", done.stdout)
    assert re.search(r"cache +redis +UP", done.stdout)
    assert re.search(r"  Ads\.P +0 ", done.stdout), "nothing came in between the two looks"
    assert re.search(r"Ads\.P:hot\\x1b\[31m +Ads\.P +[\d.,]+ +100\.0 % +0 %", done.stdout)
    assert "secret" not in done.stdout


def test_a_user_sees_its_own(setting: Setting) -> None:
    fill(setting)
    shown = top(setting, "ads").stdout
    assert "Ads.P" in shown
    assert "Bank" not in shown
    with setting.gate.client(user="ads", password="ads-secret") as client:
        assert client.raw_reply("GATE", "NAMESPACES", "Bank.L").startswith(b"-NOPERM")
        assert b"Bank" not in client.raw_reply("GATE", "NAMESPACES")


def test_all_workers_are_added_up(setting: Setting) -> None:
    def calls() -> int:
        with setting.gate.client(user="boss", password="boss-secret") as client:
            (row,) = client.cmd("GATE", "NAMESPACES", "Ads.P", "COUNT", "1")
        told = dict(zip(row[::2], row[1::2], strict=True))
        assert told[b"histogram_usec"][-1] == told[b"calls"]
        assert told[b"errors"] == 0
        return int(told[b"calls"])

    before = calls()
    fill(setting)
    assert calls() == before + 150


def test_the_live_view(setting: Setting) -> None:
    fill(setting)
    line = [*LINE, f"redis://boss@127.0.0.1:{setting.gate.port}", "--interval", "0.2"]
    with Terminal(line, {"REDISCLI_AUTH": "boss-secret", "PYTHONPATH": f"{ROOT}:{ROOT / 'backends'}"}) as terminal:
        terminal.expect(r"NAMESPACE \(by commands\)")
        terminal.expect(r"every 0\.2 s")
        terminal.type("n")
        terminal.expect(r"NAMESPACE \(by name\)")
        terminal.type("+")
        terminal.expect(r"every 0\.4 s")
        terminal.type("q")
        assert terminal.process.wait(10) == 0


def test_what_cannot_be_asked(setting: Setting, tmp_path: Path) -> None:
    wrong = top(setting, "nobody")
    assert wrong.returncode == 1
    assert "WRONGPASS" in wrong.stderr
    away = subprocess.run(
        [*LINE, f"unix://{tmp_path}/none", "--once"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert away.returncode == 1
    assert "No such file" in away.stderr
    for text in ("ftp://secret@x", "redis://", "redis://secret:secret@host:port"):
        with pytest.raises(ConfigurationError) as found:
            parse_address(text)
        assert "secret" not in str(found.value)


def told(at: float, calls: int, buckets: dict[int, int], **more: int) -> Told:
    """As a gate tells of one namespace."""
    each = dict.fromkeys(("errors", "refused", "misses", "bytes_in", "bytes_out"), 0) | {"calls": calls} | more
    flat = [number for pair in sorted(buckets.items()) for number in pair]
    return Told(
        at,
        {"uptime_in_seconds": "100", "backend_a": "type=redis,status=down,why=gone"},
        {"Ads.P": {**each, "histogram_usec": flat}},
        [],
    )


def test_rates_are_of_the_time_between() -> None:
    before, now = told(10.0, 1000, {64: 900, 1024: 1000}), told(12.0, 1200, {64: 1000, 1024: 1200}, errors=20, misses=100)
    (row,) = rows(before, now)
    assert (row.calls, row.errors, row.missed) == (100.0, 10.0, 0.5)
    assert 32 <= row.p50 <= 64
    assert 512 <= row.p99 <= 1024
    (mean,) = rows(None, now)
    assert mean.calls == 12.0
    (fallen,) = rows(now, before)  # a worker was replaced
    assert fallen.calls == 0


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("sort", SORTS)
def test_a_screen_has_its_size(width: int, sort: str) -> None:
    one = told(1.0, 10, {64: 10})
    many = Told(2.0, one.info, {f"App.{number}{'x' * 60}": one.namespaces["Ads.P"] for number in range(500)}, [])
    lines = screen("redis://x:1", None, many, sort=sort, width=width, height=24)
    assert len(lines) <= 24
    assert all(len(line) <= max(width, 80) for line in lines)
    assert any("DOWN: gone" in line for line in lines)
    assert any("more" in line for line in lines)
