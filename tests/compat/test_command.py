"""`kvgate compat`: what it prints and writes, how it ends, and what it refuses."""

import contextlib
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kvgate.cli.main import main
from kvgate_compat.connection import without_password
from kvgate_compat.holdings import holdings
from kvgate_compat.outcome import SCHEMA, STATUSES
from kvgate_compat.pair import Tally
from kvgate_compat.progress import Progress
from kvgate_compat.run import Wanted, compare, interruptible
from kvgate_compat.table import specs
from tests.support.servers import NO_REDIS, ROOT, RedisServer, RedisServers, redis_binary

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

ODD = ["--maxmemory-policy", "allkeys-lfu"]
"""Configuration of a server that answers OBJECT FREQ and IDLETIME otherwise than a plain one."""
LFU = "An LFU maxmemory policy is not selected"

Ended = tuple[int, str, str]


@pytest.fixture
def odd(redis_servers: RedisServers) -> RedisServer:
    return redis_servers(config=ODD)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Exit code, stdout, stderr."""
    code = main(["compat", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_difference_is_told_with_what_to_paste(odd: RedisServer, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = tmp_path / "result.json"
    arguments = ["--examples", "10", "--resp", "2", "--only", "SET|OBJECT.FREQ", "--seed", "3", "--json", str(where)]
    code, out, err = run(capsys, odd.url, *arguments)
    assert (code, err) == (1, "")
    assert "RESP2 OBJECT|FREQ: reply\n" in out
    assert "  paste into redis-cli:\n    FLUSHALL\n    SET " in out
    assert "1 difference (--seed 3 repeats this)" in out
    assert "combinations of options" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and not line.startswith(" ")}
    assert rows["string"][:2] == ["1", "-"]
    assert rows["generic"][1] == "1"

    found = json.loads(where.read_text("utf-8"))
    (difference,) = found["differences"]
    assert difference["command"] == "OBJECT|FREQ"
    assert difference["proto"] == 2
    assert LFU in difference["theirs"]
    if shutil.which("redis-cli") is not None:
        plain = subprocess.run(
            ["redis-cli", "-p", str(odd.port)],
            input="\n".join(difference["dialogue"]),
            capture_output=True,
            text=True,
            check=True,
        )
        assert plain.stdout.splitlines()[-1].isdigit(), "the odd one counts"


def test_the_form_of_json(odd: RedisServer, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--against",
        redis_server.url,
        "--examples",
        "8",
        "--json",
        "-",
        "--seed",
        "1",
        "--only",
        "SET|GET|OBJECT.FREQ",
    )
    code, out, err = run(capsys, odd.url, *arguments)
    found: dict[str, Any] = json.loads(out)
    assert "not tried" in err
    assert found.pop("schema") == SCHEMA
    assert found.pop("seed") == 1
    assert found.pop("asked") == {"examples": 8, "steps": 30}
    assert found.pop("complete") is True
    assert found.pop("notes") == []
    assert found.pop("known") == {}
    assert isinstance(found.pop("left_out"), dict)
    servers = found.pop("servers")
    version = servers["this"]["info"]["redis_version"]
    assert servers == {
        "this": {"url": odd.url, "info": {"redis_version": version}},
        "other": {"url": redis_server.url, "info": {"redis_version": version}},
    }
    commands = found.pop("commands")
    assert set(specs()) <= set(commands)
    assert {command["status"] for command in commands.values()} <= set(STATUSES)
    assert commands["GET"]["status"] == "same"
    assert commands["GET"]["count"] > 0
    assert all(label.split()[0] == "SET" for label in commands["SET"]["combinations"])
    assert len(commands["SET"]["combinations"]) > 5
    assert commands["APPEND"] == {
        "group": "string",
        "status": "not tried",
        "reason": "not asked for",
        "count": 0,
        "combinations": [],
    }
    differences = found.pop("differences")
    assert code == 1
    assert {one["command"] for one in differences} == {"OBJECT|FREQ"}
    for one in differences:
        assert set(one) == {"command", "what", "ours", "theirs", "dialogue", "proto"}
        assert commands[one["command"]]["status"] == "different"
    assert found.pop("unsupported") == {"this": [], "other": []}
    tried = found.pop("tried")
    protocols = tried.pop("protocols")
    assert [one.pop("resp") for one in protocols] == [2, 3]
    assert set(tried) == set(protocols[0]) >= {"examples", "commands", "combinations", "pipelines", "transactions"}
    assert tried["examples"] == sum(one["examples"] for one in protocols) >= 16
    assert tried["commands"] == sum(command["count"] for command in commands.values())
    assert tried["combinations"] == sum(len(command["combinations"]) for command in commands.values())
    assert found == {}


def test_what_one_of_them_lacks(redis_servers: RedisServers, capsys: pytest.CaptureFixture[str]) -> None:
    one = redis_servers(config=["--rename-command", "GETEX", ""])
    other = redis_servers(config=["--rename-command", "GETDEL", ""])
    arguments = ("--examples", "2", "--only", "GET.*", "--json", "-", "--seed", "1")
    code, out, _ = run(capsys, one.url, "--against", other.url, *arguments)
    found = json.loads(out)
    assert code == 0
    assert found["unsupported"] == {"this": ["GETEX"], "other": ["GETDEL"]}
    assert found["commands"]["GETEX"]["status"] == "unsupported"
    assert found["commands"]["GETDEL"]["reason"] == "the other server does not have it"
    neither = found["commands"]["CLIENT|SETINFO"]
    assert (neither["status"], neither["reason"]) == ("not tried", "neither server has it")


def test_equal_servers_and_a_server_of_its_own(redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, redis_server.url, "--examples", "3", "--resp", "3", "--seed", "5")
    assert (code, err) == (0, "")
    assert "no difference found (--seed 5 repeats this)" in out
    assert not Path(out.split("against unix://")[1].split()[0]).parent.exists(), "its own server has left something"
    assert holdings(redis_server.url) == ""


def test_a_result_that_cannot_be_written(redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, redis_server.url, "--examples", "1", "--resp", "2", "--only", "GET", "--json", "/dev/full")
    assert (code, err) == (2, "kvgate: --json /dev/full: No space left on device\n")
    assert "no difference found" in out


@pytest.mark.parametrize("which", ["this", "other"])
def test_a_server_with_keys_is_refused(
    redis_servers: RedisServers, capsys: pytest.CaptureFixture[str], which: str, tmp_path: Path
) -> None:
    one, other = redis_servers(), redis_servers()
    (one if which == "this" else other).cmd("SET", "precious", "v")
    code, out, err = run(capsys, one.url, "--against", other.url, "--json", str(tmp_path / "none"))
    assert (code, out) == (2, "")
    assert "has keys, and would be emptied" in err
    assert (one if which == "this" else other).cmd("GET", "precious") == b"v"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ([("SELECT", "3"), ("SET", "precious", "v")], "keys in database 3"),
        ([("FUNCTION", "LOAD", "#!lua name=precious\nredis.register_function('f', function() return 1 end)")], "functions"),
    ],
)
@pytest.mark.parametrize("config", [[], ["--rename-command", "INFO", ""]])
def test_what_the_first_database_does_not_show_is_kept_too(
    redis_servers: RedisServers,
    capsys: pytest.CaptureFixture[str],
    harm: list[tuple[str, ...]],
    said: str,
    config: list[str],
) -> None:
    server = redis_servers(config=config)
    with server.client() as client:
        for words in harm:
            client.cmd(*words)
        before = client.cmd("DEBUG", "DIGEST"), client.cmd("FUNCTION", "LIST")
        code, _, err = run(capsys, server.url, "--examples", "1", "--only", "GET")
        assert (code, err) == (2, f"kvgate: {server.url} has {said}, and would be emptied: give an empty server\n")
        assert (client.cmd("DEBUG", "DIGEST"), client.cmd("FUNCTION", "LIST")) == before


def test_servers_of_one_protocol_only(redis_servers: RedisServers, capsys: pytest.CaptureFixture[str]) -> None:
    """Without HELLO, and without TIME: the second client speaks RESP2 as well, and moments are this machine's."""
    old = redis_servers(config=["--rename-command", "HELLO", "", "--rename-command", "TIME", ""])
    code, out, err = run(capsys, old.url, "--examples", "30", "--only", "GET|SET|P?EXPIREAT", "--seed", "1")
    assert (code, err) == (0, ""), out
    assert f"RESP3 was not tried: {old.url} does not speak it" in out


def test_what_cannot_be_compared(redis_server: RedisServer, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    url = redis_server.url
    for arguments, said in (
        ((url, "--against", url), "the two are one"),
        ((url, "--only", "NOSUCH"), "no command is left"),
        (("redis://u:secret@127.0.0.1:1",), "redis://u@127.0.0.1:1: "),
        (("redis://u:secret@127.0.0.1:" + str(redis_server.port),), "WRONGPASS"),
        (("http://u:secret@127.0.0.1",), 'URL: "http://" is unknown'),
        (("redis://u:secret",), "URL: no URL: brackets or port are wrong"),
        (("redis://:secret/x@127.0.0.1",), "URL: no URL: brackets or port are wrong"),
        (("redis://[secret",), "URL: no URL: brackets or port are wrong"),
        (("redis://:secret@127.0.0.1/3",), "URL: the whole server is emptied and compared, so no database can be chosen"),
        ((url, "--against", "secret"), "--against: no scheme"),
        ((url, "--json", str(tmp_path / "no" / "file")), "no such folder"),
        ((url, "--json", str(tmp_path)), "is a folder"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert said in err
        assert err.startswith("kvgate: ")
        assert "secret" not in err
    assert holdings(url) == ""


@pytest.mark.parametrize("arguments", [(), ("u", "--resp", "4"), ("u", "--only", "("), ("u", "--examples", "0")])
def test_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["compat", *arguments])
    assert "usage: kvgate compat" in capsys.readouterr().err


def test_without_a_redis_server(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run(capsys, redis_server.url)
    assert code == 2
    assert "redis-server is not installed" in err
    assert "--against" in err
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    code, _, err = run(capsys, redis_server.url)
    assert code == 2
    assert "redis-server did not start" in err


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "backends", ROOT / "compat")))}


def test_without_hypothesis() -> None:
    program = "import sys; sys.modules['hypothesis'] = None; from kvgate.cli.main import main; "
    for arguments, code in (("'compat', 'redis://127.0.0.1'", 2), ("'commands'", 0)):
        line = [sys.executable, "-c", f"{program} sys.exit(main([{arguments}]))"]
        done = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert done.returncode == code, done.stderr
        if code == 2:
            assert done.stderr == "kvgate: compat needs hypothesis, which is not installed: pip install 'kvgate[compat]'\n"


def test_an_interrupt_amid_a_garbage_collection_is_kept_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised there it would be printed and forgotten; hypothesis looks at each collection."""
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)

    def callback(_phase: str, _info: "dict[str, int]") -> None:
        signal.raise_signal(signal.SIGINT)

    with interruptible() as came:
        assert not came()
        gc.callbacks.append(callback)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(callback)
        assert came()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert printed == []


@pytest.mark.parametrize(
    ("number", "config", "code"), [(signal.SIGINT, [], 130), (signal.SIGTERM, [], 130), (signal.SIGINT, ODD, 1)]
)
def test_what_is_interrupted_says_what_there_is(
    redis_servers: RedisServers, number: signal.Signals, config: list[str], code: int, tmp_path: Path
) -> None:
    where = tmp_path / "result.json"
    line = [sys.executable, "-m", "kvgate.cli.main", "compat", redis_servers(config=config).url, "--seed", "1"]
    line += ["--examples", "1000000", "--resp", "2", "--json", str(where)]
    line += ["--only", "SET|GET|OBJECT.FREQ"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            until = "paste into" if config else "3 commands"
            said = ""
            while until not in said:
                read = process.stdout.readline()
                assert read, said
                said += read
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, err
    assert err == ""
    assert "interrupted\n" in out
    assert "ended early; " in out
    found = json.loads(where.read_text("utf-8"))
    assert found["complete"] is False
    assert found["notes"] == ["interrupted"]
    assert [one["command"] for one in found["differences"]] == (["OBJECT|FREQ"] if config else [])
    assert not Path(said.split("against unix://")[1].split()[0]).parent.exists()


def test_a_server_that_goes_away(redis_servers: RedisServers) -> None:
    server = redis_servers()
    line = [sys.executable, "-m", "kvgate.cli.main", "compat", server.url, "--examples", "1000000", "--seed", "1"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline() + process.stdout.readline()
            server.kill()
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert " commands\n" in said
    assert process.returncode in (1, 2), "a reply that did not come is a difference; a connection that is refused is none"
    assert "a server is no longer there: [Errno 111] Connection refused" in out


def test_an_interrupt_that_python_drops_ends_the_search_all_the_same(
    redis_servers: RedisServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one is that comes while a callback of the garbage collector runs."""
    one, other = redis_servers().url, redis_servers().url
    usual, looks = Progress.look, 0

    def look(self: Progress, *arguments: Any, **named: Any) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        usual(self, *arguments, **named)

    monkeypatch.setattr(Progress, "look", look)
    outcome = compare(one, other, Wanted(examples=3, protocols=(2,), only="SET|GET"), Progress(io.StringIO()))
    assert outcome.interrupted
    assert not outcome.complete
    assert looks == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Progress


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line() -> None:
    out = Terminal()
    progress = Progress(out)
    tally = Tally(examples=3, commands={"GET": 40})
    progress.look(3, 100, tally, 2, shrinking=True)
    assert out.getvalue() == "\r\x1b[KRESP3: 3 of 100 examples, 40 commands, 2 differences, cutting down the last one"
    progress.look(3, 100, tally, 2, shrinking=False)  # too soon
    progress.say("found")
    progress.say("more")
    assert out.getvalue().endswith("last one\r\x1b[Kfound\nmore\n")


def test_progress_in_a_file_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    out = io.StringIO()
    progress = Progress(out)
    for now in (101.0, 116.0, 117.0, 132.0):  # noqa: B007 - what the clock says
        progress.look(2, 100, Tally(), 0, shrinking=False)
    progress.say("done")
    assert out.getvalue() == "RESP2: 0 of 100 examples, 0 commands, 0 differences\n" * 2 + "done\n"


def test_urls_are_shown_without_passwords() -> None:
    assert without_password("redis://u:p@h:1") == "redis://u@h:1"
    assert without_password("rediss://:p@h:1/0") == "rediss://h:1"
    assert without_password("redis://a%40b:p@h:1") == "redis://a%40b@h:1"
    assert without_password("unix:///a/b") == "unix:///a/b"
    assert without_password("redis://h") == "redis://h:6379"
    for url in ("redis://u:p", "redis://[p", "redis://h/1"):
        with pytest.raises(ValueError, match=r"no URL|no database"):
            without_password(url)
