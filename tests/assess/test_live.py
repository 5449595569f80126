"""`kvgate assess` of real redis-servers with data that is known."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kvgate.assess.assessment import Question, assess
from kvgate.assess.link import LONGEST_LINE, Link
from kvgate.assess.text import render
from kvgate.assess.watch import watch
from kvgate.cli.main import main
from kvgate.config import load
from kvgate.routing.endpoints import parse_url
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, Gates, RedisServer, RedisServers, redis_binary, wait_for

FAST = ("--rate", "1000000")
READS = {
    "info", "dbsize", "scan", "type", "pttl", "object|encoding", "memory|usage", "strlen", "hlen", "llen", "scard", "zcard",
    "xlen", "select", "client|setname", "auth",
}  # fmt: skip
"""All that an assessment may send."""
SECRET = "v-which-nobody-may-see"
COUNTS = {
    "Shop.Cart": 120, "Shop.Top": 40, "Shop.Doc": 30, "Log.Events": 10, "Tags.All": 20, "queue": 50, "session": 60,
    "(no prefix)": 3,
}  # fmt: skip


def fill(client: Resp) -> None:
    for number in range(120):
        client.send_raw(b"".join(_frames("HSET", f"Shop.Cart:{number}", "field", SECRET, "other", "x")))
        client.read_one()
    for number in range(60):
        client.cmd("SET", f"session:{number}", SECRET, *(("EX", "1000") if number % 2 else ()))
    for number in range(50):
        client.cmd("RPUSH", f"queue:{number}", *[SECRET] * (number + 1))
    for number in range(40):
        client.cmd("ZADD", f"Shop.Top:{number}", "1", SECRET)
    for number in range(30):
        client.cmd("SET", f"Shop.Doc:{number}", "d" * (200_000 if number == 7 else 100))
    for number in range(20):
        client.cmd("SADD", f"Tags.All:{number}", "a", "b")
    for number in range(10):
        client.cmd("XADD", f"Log.Events:{number}", "1-1", "f", SECRET)
    for name in ("one", "two", "three"):
        client.cmd("SET", name, "1")


def _frames(*words: str) -> Iterator[bytes]:
    yield b"*%d\r\n" % len(words)
    for word in words:
        yield b"$%d\r\n%s\r\n" % (len(word), word.encode())


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Read by all tests here, written by none."""
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with RedisServer() as one:
        with one.client() as client:
            fill(client)
            client.cmd("EVAL", "return 1", "0")
            client.cmd("CONFIG", "SET", "slowlog-max-len", "100")
            client.cmd("SELECT", "3")
            client.cmd("SET", "in:three", SECRET)
        yield one


class Ran:
    """How a run ended, and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        assert SECRET not in out + err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def prefix(self, name: str) -> Any:
        (found,) = (one for one in self.json["prefixes"] if one["prefix"] == name)
        return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDISCLI_AUTH", raising=False)

    def run_it(url: str, *more: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(["assess", url, *more])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_it


def test_every_key_is_counted(server: RedisServer, run: Any) -> None:
    found = run(server.url, *FAST, "--json", "-")
    assert found.code == 0
    assert {one["prefix"]: one["keys"] for one in found.json["prefixes"]} == COUNTS
    assert {one["margin"] for one in found.json["prefixes"]} == {0}
    assert found.json["samples"] == [{"database": 0, "size": 333, "keys": 333, "whole": True, "fair": True, "stopped": ""}]
    works = {
        one["prefix"]: {kind: verdict["works"] for kind, verdict in one["verdicts"].items()} for one in found.json["prefixes"]
    }
    engines = {"redis": "yes", "kvrocks": "yes", "lmdb": "no", "tikv": "no"}
    everywhere = dict.fromkeys(engines, "yes")
    assert works == {
        **dict.fromkeys(("queue", "Shop.Top", "Tags.All", "Log.Events"), engines),
        **dict.fromkeys(("Shop.Cart", "session", "(no prefix)"), everywhere),
        "Shop.Doc": everywhere | {"tikv": "if"},
    }
    assert found.prefix("queue")["lengths"]["list"] == {"count": 50, "p50": 25, "p99": 50, "max": 50}
    assert found.prefix("Shop.Doc")["lengths"]["string"] == {"count": 30, "p50": 100, "p99": 200_000, "max": 200_000}
    assert found.prefix("session")["expiring"] == 0.5
    assert found.prefix("session")["namespace"] == "default"
    assert found.prefix("Shop.Cart")["namespace"] == "Shop.Cart"
    assert found.prefix("Shop.Cart")["encodings"] == {"listpack": 120}
    assert found.prefix("Shop.Cart")["memory_bytes"]["p50"] > 50
    used = {use["name"]: use for use in found.json["commands"]}
    assert used["eval"]["status"] == "lacking"
    assert used["config|set"]["status"] == "operator"
    assert used["rpush"] == {
        "name": "rpush", "calls": 50, "status": "lacking", "lacking": ["lmdb", "tikv"],
        "note": "Keep its keys on kvrocks or redis",
    }  # fmt: skip


def test_the_members_of_the_json_are_documented(server: RedisServer, run: Any) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "assess.md").read_text("utf-8")
    found = run(server.url, *FAST, "--monitor", "0.1", "--show-keys", "--json", "-").json

    def members(value: Any) -> Iterator[str]:
        for one in value if isinstance(value, list) else []:
            yield from members(one)
        for name, inner in value.items() if isinstance(value, dict) else []:
            yield name
            if name not in ("verdicts", "lengths", "databases", "unread", "types", "encodings", "commands"):
                yield from members(inner)
        if isinstance(value, dict) and isinstance(value.get("commands"), list):
            yield from members(value["commands"])
        for verdict in value.get("verdicts", {}).values() if isinstance(value, dict) else ():
            yield from members(verdict)

    assert {name for name in members(found) if f"`{name}`" not in text} == set()


def test_one_type_and_the_exit_code(server: RedisServer, run: Any) -> None:
    assert run(server.url, *FAST, "--backend", "redis").code == 0
    found = run(server.url, *FAST, "--backend", "lmdb", "--json", "-")
    assert found.code == 1
    assert not found.json["good"]
    assert found.json["backends"] == ["lmdb"]
    assert "keys queue (database 0)" in found.json["problems"]
    assert "eval" in found.json["problems"]
    assert "config|set" not in found.json["problems"]


def test_the_text_fits_and_shows_no_key(server: RedisServer, run: Any) -> None:
    for more in ((), ("--backend", "lmdb", "--all-databases")):
        found = run(server.url, *FAST, *more)
        assert max(map(len, found.out.splitlines())) <= 100
        assert "Shop.Cart:" not in found.out.replace("Shop.Cart: ", "")
        assert "three\n" not in found.out
    shown = run(server.url, *FAST, "--show-keys")
    assert "largest key seen: Shop.Doc:7\n" in shown.out
    assert "Other databases have keys too: 3 (1 keys)" in shown.out
    assert shown.out.endswith("good: all that was seen works on one of kvrocks, lmdb, redis, tikv at least\n")


@pytest.mark.parametrize("kind", [None, "redis", "kvrocks", "lmdb", "tikv"])
@pytest.mark.parametrize("everything", [False, True])
def test_the_proposal_is_a_configuration(
    server: RedisServer, run: Any, tmp_path: Path, kind: "str | None", everything: bool
) -> None:
    more = (["--backend", kind] if kind else []) + (["--all-databases"] if everything else [])
    text = run(server.url, *FAST, "--json", "-", *more).json["configuration"]
    file = tmp_path / "gate.toml"
    file.write_text(text)
    checked = load(file)
    types = {name: backend.type for name, backend in checked.backends.items()}
    assert checked.warnings == ()
    assert checked.namespaces.of(b"Shop.Cart:1").rule == "Shop.Cart"  # type: ignore[union-attr]  # it has a rule
    assert types[checked.namespaces.of(b"Shop.Cart:1").backend] == (kind or "redis")  # type: ignore[union-attr]  # it has a rule
    assert types[checked.namespaces.of(b"Shop.Top:1").backend] == (  # type: ignore[union-attr]  # it has a rule
        "kvrocks" if kind == "kvrocks" else "redis"
    ), "sorted sets stay where they can be"
    assert types[checked.namespaces.of(b"queue:1").backend] == (  # type: ignore[union-attr]  # it has a rule
        "kvrocks" if kind == "kvrocks" else "redis"
    )
    if kind == "tikv":
        assert "max_value = 262144" in text
    if everything:  # what is a comment in it is right too
        lines = text.splitlines()
        start = lines.index("#[users.app]")
        users = "\n".join(line.removeprefix("#") for line in lines[start:]).replace("…", "a" * 64)
        file.write_text("\n".join(lines[:start]) + "\n" + users + "\n")
        databases = load(file).users.by_name["app"].databases
        assert databases == {0: "Home.Db0", 3: "Home.Db3"}


def test_nothing_is_written(redis_server: RedisServer, run: Any) -> None:
    with redis_server.client() as client:
        fill(client)
        digest, changes = client.cmd("DEBUG", "DIGEST"), dirty(client)
        client.cmd("CONFIG", "RESETSTAT")
        assert run(redis_server.url, *FAST, "--all-databases").code == 0
        names = {line.partition(":")[0].removeprefix("cmdstat_") for line in info(client, "commandstats")}
        assert names - READS == {"config|resetstat"}
        assert {"scan", "type", "llen"} <= names
        assert (client.cmd("DEBUG", "DIGEST"), dirty(client)) == (digest, changes)


def info(client: Resp, section: str) -> list[str]:
    return [line for line in client.cmd("INFO", section).decode().splitlines() if ":" in line]


def dirty(client: Resp) -> str:
    return next(line for line in info(client, "persistence") if line.startswith("rdb_changes_since_last_save:"))


def test_estimates_of_many_keys(redis_server: RedisServer, run: Any) -> None:
    true = {"Big.One": 60_000, "Big.Two": 30_000, "small": 9_000, "Rare.One": 1_000}
    with redis_server.client() as client:
        for name, keys in true.items():
            client.cmd("DEBUG", "POPULATE", keys, name)
        client.cmd("CONFIG", "RESETSTAT")
    found = run(redis_server.url, *FAST, "--samples", "2000", "--json", "-")
    assert found.json["samples"][0] | {"keys": 2000, "size": 100_000, "whole": False} == found.json["samples"][0]
    for name, keys in true.items():
        one = found.prefix(name)
        assert 0 < one["margin"] < 3_000
        assert abs(one["keys"] - keys) < one["margin"] * 3, "six standard errors: once in 10^8 runs"
    assert found.json["asked"] < 2000 * 5 + 2000 / 50 + 50
    assert redis_server.calls("scan") < 2000 / 50, "it stops when it has enough"
    assert any("fewer than about 150 keys" in note for note in found.json["notes"])


def test_the_time_ends_it(redis_server: RedisServer, run: Any) -> None:
    redis_server.cmd("DEBUG", "POPULATE", 5_000, "Big.One")
    found = run(redis_server.url, *FAST, "--seconds", "0.000001", "--json", "-")
    assert found.json["samples"][0]["stopped"] == "time"
    assert 0 < found.json["samples"][0]["keys"] <= 200 / 5, "one portion, not a page"
    assert any("--seconds" in note for note in found.json["notes"])


def test_an_interrupt_ends_the_sample(redis_server: RedisServer) -> None:
    redis_server.cmd("DEBUG", "POPULATE", 5_000, "Big.One")

    def told(what: str, done: int, total: int) -> None:
        assert (what, total) == ("keys of database 0", 5_000)
        if done >= 200:
            raise KeyboardInterrupt

    found = assess(Question(parse_url(redis_server.url), rate=1e6, monitor=60), [], [], told)
    assert found.samples[0].stopped == "interrupted"
    assert 200 <= len(found.samples[0].keys) < 400
    assert found.watched is None, "MONITOR is not begun then"
    assert ", interrupted;" in render(found, show_keys=False)


def test_a_server_that_goes_away_in_the_middle(redis_servers: RedisServers) -> None:
    server = redis_servers()
    server.cmd("DEBUG", "POPULATE", 5_000, "Big.One")

    def told(_what: str, done: int, _total: int) -> None:
        if 200 <= done < 300:
            server.kill()

    found = assess(Question(parse_url(server.url), rate=1e6), [], [], told)
    assert 200 <= len(found.samples[0].keys) < 400
    assert found.samples[0].stopped not in ("", "time", "interrupted")
    assert "keys, ended by: " in " ".join(render(found, show_keys=False).split())


def test_a_gate_and_versioned_keys(gates: Gates, run: Any, tmp_path: Path) -> None:
    """A gate can be assessed as any server; its versioned keys are what Tair's modules have."""
    gate = gates()
    with gate.client() as client:
        for request in (("SET", "A.B:1", "v"), ("EXSET", "A.B:2", "v"), ("EXHSET", "A.C:1", "f", "v"), ("SET", "x", "y")):
            client.cmd(*request)
    for more in ((), ("--all-databases",)):
        found = run(f"redis://127.0.0.1:{gate.port}", *FAST, "--json", "-", *more)
        assert (found.code, found.json["server"]["kind"]) == (0, "kvgate")
        assert found.prefix("A.B")["types"] == {"string": 1, "exstrtype": 1}
        assert found.prefix("A.C")["lengths"]["tairhash-"]["max"] == 1
        assert {verdict["works"] for verdict in found.prefix("A.C")["verdicts"].values()} == {"if"}
        (tmp_path / "gate.toml").write_text(found.json["configuration"])
        checked = load(tmp_path / "gate.toml")
        assert [namespace.name for namespace in checked.namespaces.rules if namespace.versioned] == ["A.B", "A.C"]


def test_many_namespaces_are_one_line(redis_server: RedisServer, run: Any, tmp_path: Path) -> None:
    with redis_server.client() as client:
        for number in range(20):
            client.cmd("SET", f"Shop.T{number}:1", "v")
            client.cmd("RPUSH" if number < 3 else "SET", f"Mail.T{number}:1", "v")
    (tmp_path / "gate.toml").write_text(run(redis_server.url, *FAST, "--backend", "lmdb", "--json", "-").json["configuration"])
    rules = {rule.name: rule.backend for rule in load(tmp_path / "gate.toml").namespaces.rules}
    stay = {f"Mail.T{number}": "source" for number in range(3)}
    assert rules == {"Shop.*": "store", "Mail.*": "store", **stay, "default": "store"}


def test_databases(server: RedisServer, run: Any) -> None:
    one = run(f"{server.url}/3", *FAST, "--json", "-")
    assert [(found["database"], found["prefix"], found["keys"]) for found in one.json["prefixes"]] == [(3, "in", 1)]
    assert any("databases = {" in note for note in one.json["notes"])
    assert any("0 (333 keys)" in note for note in one.json["notes"])
    every = run(server.url, *FAST, "--all-databases", "--json", "-")
    assert [sample["database"] for sample in every.json["samples"]] == [0, 3]
    assert every.json["server"]["databases"] == {"0": 333, "3": 1}
    assert {(found["database"], found["prefix"]) for found in every.json["prefixes"]} == {
        *((0, name) for name in COUNTS),
        (3, "in"),
    }
    assert run(f"{server.url}/99", *FAST).code == 2


def test_depth_and_separator(server: RedisServer, run: Any) -> None:
    assert run(server.url, *FAST, "--depth", "2", "--json", "-").prefix("session")["keys"] == 60
    by_dot = run(server.url, *FAST, "--separator", ".", "--json", "-")
    assert {(one["prefix"], one["namespace"]) for one in by_dot.json["prefixes"]} >= {
        ("Shop", "Shop.Cart"),
        ("Shop", "Shop.Top"),
    }


@pytest.mark.parametrize(
    ("rules", "unread", "prefixes"),
    [
        (["~*", "+@read", "+@connection"], {"INFO"}, COUNTS),
        (["~*", "+scan", "+type", "+info"], {"DBSIZE", "PTTL", "OBJECT ENCODING", "MEMORY USAGE", "STRLEN", "HLEN", "LLEN",
          "SCARD", "ZCARD", "XLEN"}, COUNTS),
        (["~*", "+scan"], {"INFO", "SELECT", "DBSIZE", "TYPE", "PTTL", "OBJECT ENCODING", "MEMORY USAGE"}, COUNTS),
        (["~Shop.*", "+@read", "+@connection", "+info"], set(), COUNTS),
        (["~*", "+info"], {"SCAN", "DBSIZE"}, {}),
    ],
)  # fmt: skip
def test_users_that_may_not_read_all(
    server: RedisServer, run: Any, rules: list[str], unread: set[str], prefixes: dict[str, int]
) -> None:
    with limited(server, rules) as url:
        found = run(url, *FAST, "--json", "-")
        assert found.code == 0
        assert {what for what in found.json["unread"] if what != "SELECT"} == unread - {"SELECT"}
        assert all("perm" in why.lower() for why in found.json["unread"].values())
        assert {one["prefix"]: one["keys"] for one in found.json["prefixes"]} == prefixes
        if "+type" not in rules and "+@read" not in rules:
            assert all(set(one["types"]) == {"?"} for one in found.json["prefixes"])
            assert all(verdict["works"] == "?" for one in found.json["prefixes"] for verdict in one["verdicts"].values())
        if "~Shop.*" in rules:
            assert found.json["private_keys"] == 333 - 190
            assert found.prefix("queue")["types"] == {"?": 50}
            assert found.prefix("Shop.Top")["types"] == {"zset": 40}
        assert "Not read:" in run(url, *FAST).out


@contextmanager
def limited(server: RedisServer, rules: list[str]) -> Iterator[str]:
    """The server's URL as a user with these rules."""
    server.cmd("ACL", "SETUSER", "limited", "reset", "on", ">limited-pw", *rules)
    try:
        yield server.url.replace("redis://", "redis://limited:limited-pw@")
    finally:
        server.cmd("ACL", "DELUSER", "limited")


def test_a_replica(redis_servers: RedisServers, run: Any) -> None:
    first, second = redis_servers(config=["--repl-diskless-sync-delay", "0"]), redis_servers()
    with first.client() as client:
        fill(client)
    second.cmd("REPLICAOF", "127.0.0.1", first.port)
    wait_for(lambda: second.cmd("DBSIZE") == 333, "the replica to have the keys")
    wait_for(lambda: b"master_link_status:up" in second.cmd("INFO", "replication"), "the link")
    found = run(second.url, *FAST, "--json", "-")
    assert (found.code, found.json["server"]["role"]) == (0, "slave")
    assert {one["prefix"]: one["keys"] for one in found.json["prefixes"]} == COUNTS


def test_keys_that_are_gone_meanwhile(redis_server: RedisServer, run: Any) -> None:
    with redis_server.client() as client:
        client.cmd("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        for number in range(20):
            client.cmd("SET", f"A.B:{number}", "v", *(("PX", "1") if number % 2 else ("PX", "1000000")))
        wait_for(lambda: client.cmd("EXISTS", *[f"A.B:{number}" for number in range(20)]) == 10, "ten keys to expire")
    found = run(redis_server.url, *FAST, "--json", "-")
    assert found.prefix("A.B")["sampled"] == 10
    assert found.prefix("A.B")["expiring"] == 1.0


def test_passwords_and_tls(redis_servers: RedisServers, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = redis_servers(password="pa$$word", tls=True)
    server.cmd("SET", "A.B:1", "v")
    url = f"rediss://localhost:{server.port}"
    (tmp_path / "pw").write_text("pa$$word\n")
    found = run(url, *FAST, "--cacert", str(server.ca_file), "--password-file", "pw", "--json", "-")
    assert (found.code, found.prefix("A.B")["keys"]) == (0, 1)
    assert f'password_file = "{tmp_path}/pw"' in found.json["configuration"]
    assert "pa$$word" not in found.out
    (tmp_path / "gate.toml").write_text(found.json["configuration"])
    assert load(tmp_path / "gate.toml").warnings == ()
    without = run(url, *FAST, "--cacert", str(server.ca_file))
    assert without.code == 2
    assert "NOAUTH" in without.err
    monkeypatch.setenv("REDISCLI_AUTH", "wrong-secret")
    wrong = run(url, *FAST, "--cacert", str(server.ca_file))
    assert (wrong.code, "WRONGPASS" in wrong.err, "wrong-secret" in wrong.err) == (2, True, False)
    untrusted = run(url, *FAST)
    assert (untrusted.code, "certificate" in untrusted.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("redis://127.0.0.1:1",),
        ("unix:///nowhere/redis.sock",),
        ("http://x",),
        ("redis://user:secret@127.0.0.1:notaport",),
        ("redis://127.0.0.1:1", "--samples", "0"),
        ("redis://127.0.0.1:1", "--rate", "0"),
        ("redis://127.0.0.1:1", "--separator", ""),
        ("redis://127.0.0.1:1", "--backend", "nosuch"),
        ("redis://127.0.0.1:1", "--cacert", "ca.pem"),
        ("redis://127.0.0.1:1", "--password-file", "nosuch"),
    ],
)
def test_what_ends_with_2(run: Any, arguments: tuple[str, ...]) -> None:
    found = run(*arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err
    assert "secret" not in found.err


def test_the_file_of_json(server: RedisServer, run: Any, tmp_path: Path) -> None:
    found = run(server.url, *FAST, "--json", "out.json")
    assert "PREFIX" in found.out
    assert json.loads((tmp_path / "out.json").read_text())["format"] == 1
    refused = run(server.url, *FAST, "--json", "nosuch/out.json")
    assert (refused.code, refused.out, refused.err) == (2, "", "kvgate: --json nosuch/out.json: there is no such folder\n")
    assert "is a folder" in run(server.url, *FAST, "--json", "/tmp").err
    failed = run(server.url, *FAST, "--json", "/dev/full")
    assert (failed.code, "PREFIX" in failed.out, "No space left" in failed.err) == (2, True, True), "what was found is told"


def test_an_interrupt_before_the_first_key(server: RedisServer, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kvgate.assess.assessment.look", interrupted)
    found = run(server.url)
    assert (found.code, found.out, found.err) == (130, "", "")


@contextmanager
def sending(server: RedisServer, *requests: tuple[Any, ...]) -> Iterator[None]:
    """Other clients' commands, over and over."""
    done = threading.Event()

    def send() -> None:
        with server.client() as client:
            while not done.is_set():
                for request in requests:
                    client.cmd(*request)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_monitor(redis_server: RedisServer, run: Any) -> None:
    requests = [
        ("SET", "A.B:1", SECRET), ("MGET", "A.B:1", "C.D:2"), ("EVAL", "return redis.call('get', KEYS[1])", "1", "A.B:1"),
    ]  # fmt: skip
    link = Link(parse_url(redis_server.url))
    with sending(redis_server, *requests):
        found = watch(islice(link.monitor(60), 60), b":", 1, lambda _: None)
    link.close()
    assert found.lines == 60
    assert found.by_scripts >= 10
    assert set(found.commands[0, "A.B", "A.B"]) == {"set", "mget", "eval"}
    assert set(found.commands[0, "C.D", "C.D"]) == {"mget"}
    assert +found.shards == +found.namespaces
    assert found.shards["mget"] >= 10
    told = run(redis_server.url, *FAST, "--monitor", "0.05")
    assert "MONITOR for 0.05 s: it costs the server" in told.err
    assert "MONITOR showed" in told.out
    with limited(redis_server, ["~*", "+@all", "-monitor"]) as url:
        assert "MONITOR: NOPERM" in run(url, *FAST, "--monitor", "60").out


def test_monitor_of_huge_values(redis_server: RedisServer) -> None:
    link = Link(parse_url(redis_server.url))
    with sending(redis_server, ("SET", "A.B:1", "v" * (LONGEST_LINE + 100_000)), ("GET", "C.D:1")):
        lines = list(islice(link.monitor(60), 6))
    link.close()
    assert max(map(len, lines)) <= LONGEST_LINE
    found = watch(lines, b":", 1, lambda _: None)
    assert found.commands[0, "C.D", "C.D"]["get"] >= 2
    assert found.lines == 6
