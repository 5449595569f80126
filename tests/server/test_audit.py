"""The audit log: what it holds and what never, over all workers, rotated, and when it cannot be written."""

import contextlib
import json
import os
import resource
import signal
import stat
from pathlib import Path
from typing import Any

import hiredis
import pytest

from kvgate.config import parse
from kvgate.errors import ConfigurationError
from kvgate.policy.audit import AuditSettings
from kvgate.server.audit import Audit, shown
from kvgate.server.audit_file import AuditFile
from tests.server.processes import children, info, one_on_each
from tests.server.reloads import BOTH, in_log, reload
from tests.server.settings import namespaces, user
from tests.support.resp import Resp
from tests.support.servers import Gate, Gates, wait_for

ADMIN = 'commands = ["+@all"]'
SECRET = "hush-hush-9"
"""Stands in every place that must not come into the log."""
STORES = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n' + namespaces(Ads__="local", Bank_L="local", default="local")
USERS = user("ads", "Ads.*") + user("boss", "*", more=ADMIN)


def config(audit: str = "") -> str:
    return STORES + USERS + f'[audit]\npath = "$DIR/audit.log"\n{audit}\n'


def records(gate: Gate, name: str = "audit.log") -> list[dict[str, Any]]:
    """What is written; every line is whole, but the last one while it is being written."""
    path = gate.directory / name
    lines = path.read_text("ascii").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def commands(gate: Gate, **like: object) -> list[dict[str, Any]]:
    return [each for each in records(gate) if each["event"] == "command" and like.items() <= each.items()]


def noted(gate: Gate, **like: object) -> dict[str, Any]:
    """Wait for one record of a command with these facts; its other facts."""
    wait_for(lambda: commands(gate, **like), f"a record with {like}")
    (found,) = commands(gate, **like)
    return found


def boss(gate: Gate) -> Resp:
    return gate.client(user="boss", password="boss-secret")


@pytest.fixture
def gate(gates: Gates) -> Gate:
    started = gates(config())
    assert isinstance(started, Gate)
    return started


def test_what_administers_is_noted_with_who_and_what_came_of_it(gate: Gate) -> None:
    with boss(gate) as client:
        ident = client.cmd("CLIENT", "ID")
        client.cmd("SET", "Ads.P:1", SECRET)
        client.cmd("KEYS", "*")
        client.cmd("FLUSHALL")
        client.cmd("CONFIG", "GET", "maxmemory")
        client.ask("CONFIG", "SET", "requirepass", SECRET)
        client.ask("SCRIPT", "FLUSH")
        client.cmd("GATE", "BLOCK", "namespace", "Ads.P", "FOR", 60)
        client.cmd("GATE", "UNBLOCK", "namespace", "Ads.P")
        client.cmd("GATE", "RELOAD")
        sha = info(client)["config_sha256"]
        found = noted(gate, command="keys")
        host, _, port = found["address"].rpartition(":")
        assert (host, int(port), found["client"], found["user"]) == ("127.0.0.1", client.sock.getsockname()[1], ident, "boss")
        assert (found["result"], found["listener"]) == ("done", f"127.0.0.1:{gate.port}")
        assert noted(gate, command="flushall")["result"] == "done"
        assert noted(gate, command="config|get")["result"] == "done"
        assert noted(gate, command="config|set") == {**noted(gate, command="config|set"), "result": "refused", "code": "ERR"}
        assert noted(gate, command="script|flush")["result"] == "refused"
        assert noted(gate, command="gate|block")["target"] == "namespace Ads.P"
        assert noted(gate, command="gate|reload") == {**noted(gate, command="gate|reload"), "result": "done", "sha256": sha}
        assert not commands(gate, command="set")
        assert not commands(gate, command="client|id")
    assert [each["result"] for each in records(gate) if each["event"] == "configuration"] == ["done", "done"]
    assert stat.S_IMODE((gate.directory / "audit.log").stat().st_mode) == 0o600


def test_refusals_are_noted_with_their_code(gate: Gate) -> None:
    with gate.client(user="ads", password="ads-secret") as client:
        client.ask("GET", "Bank.L:1")
        client.ask("SUBSCRIBE", "Bank.L:c")
        client.ask("MGET", "Ads.P:1", "Bank.L:2")
        client.ask("GATE", "RELOAD")
        client.ask(SECRET, SECRET)
        client.ask("CONFIG", SECRET)
        client.ask("SET", "Ads.P:1")
        client.cmd("MULTI")
        client.ask("LPUSH", "Bank.L:3", SECRET)
        assert (found := noted(gate, command="get"))["result"] == "refused"
        assert (found["user"], found["code"], found["keys"]) == ("ads", "NOPERM", ["Bank.L:1"])
        assert noted(gate, command="subscribe")["keys"] == ["Bank.L:c"]
        assert noted(gate, command="mget")["keys"] == ["Ads.P:1", "Bank.L:2"]
        assert noted(gate, command="gate|reload")["code"] == "NOPERM"
        assert noted(gate, command="lpush")["keys"] == ["Bank.L:3"]
        assert len(commands(gate, command="unknown", code="ERR")) == 2
        assert noted(gate, command="set")["code"] == "ERR"
    with gate.client() as client:
        client.ask("GET", "Ads.P:1")
        assert noted(gate, command="get", code="NOAUTH")["user"] == ""


def test_logins_and_no_password(gate: Gate) -> None:
    with gate.client() as client:
        client.cmd("AUTH", "ads", "ads-secret")
        client.cmd("HELLO", 3, "AUTH", "boss", "boss-secret")
        client.cmd("HELLO", 3)
        client.ask("AUTH", SECRET, SECRET)
        client.ask("AUTH", SECRET)
        client.ask("AUTH", "ads", SECRET)
        client.ask("HELLO", 3, "AUTH", SECRET, SECRET)
        client.ask("AUTH", "ads", SECRET, SECRET)
        wait_for(lambda: sum("login" in each for each in commands(gate)) == 7, "the logins")
    logins = [each for each in commands(gate) if "login" in each]
    found = [(each["command"], each["login"], each["result"], each.get("code")) for each in logins]
    assert found == [
        ("auth", "ads", "done", None),
        ("hello", "boss", "done", None),
        ("auth", "unknown", "refused", "WRONGPASS"),
        ("auth", "unknown", "refused", "ERR"),
        ("auth", "ads", "refused", "WRONGPASS"),
        ("hello", "unknown", "refused", "THROTTLED"),
        ("auth", "unknown", "refused", "ERR"),
    ]
    assert logins[2]["user"] == "boss"
    assert SECRET not in (gate.directory / "audit.log").read_text("ascii")


def test_everything_the_lane_would_have_taken_too(gates: Gates) -> None:
    gate = gates(config('commands = "all"'))
    with gate.client(user="ads", password="ads-secret") as client:
        client.pipeline([("SET", "Ads.P:1", SECRET), ("GET", "Ads.P:1")] * 5)
        client.pipeline([("MULTI",), ("INCR", "Ads.P:n"), ("EXEC",), ("HSET", "Ads.P:h", SECRET, SECRET)])
        client.pipeline([("EVALSHA", "0" * 40, 1, "Ads.P:1"), ("MSET", *(f"Ads.P:{n // 2}" for n in range(40)))])
        wait_for(lambda: commands(gate, command="mset"), "the last record")
    assert len(commands(gate, command="set", result="passed", keys=["Ads.P:1"])) == 5
    assert len(commands(gate, command="get", result="passed", user="ads")) == 5
    assert noted(gate, command="incr")["result"] == "queued"
    assert noted(gate, command="exec")["result"] in ("passed", "done")
    many = noted(gate, command="mset")
    assert (len(many["keys"]), many["more_keys"]) == (16, 4)
    assert noted(gate, command="evalsha")["script"] == "0" * 40
    assert SECRET not in (gate.directory / "audit.log").read_text("ascii")


@pytest.mark.parametrize("choice", ['users = ["ads"]', 'namespaces = ["Ads.P"]', 'commands = ["@write", "@read"]'])
def test_a_choice_of_what_is_noted(gates: Gates, choice: str) -> None:
    gate = gates(config(choice))
    with gate.client(user="ads", password="ads-secret") as client, boss(gate) as other:
        for each in (client, other):
            each.pipeline([("SET", key, "v") for key in ("Ads.P:1", "Ads.Q:1") * 3])
        client.ask("GET", "Bank.L:last")
        noted(gate, command="get")
    found = [(each["user"], each["keys"][0]) for each in commands(gate, command="set")]
    expected = {
        'users = ["ads"]': [("ads", "Ads.P:1"), ("ads", "Ads.Q:1")],
        'namespaces = ["Ads.P"]': [("ads", "Ads.P:1"), ("boss", "Ads.P:1")],
        'commands = ["@write", "@read"]': [("ads", "Ads.P:1"), ("ads", "Ads.Q:1"), ("boss", "Ads.P:1"), ("boss", "Ads.Q:1")],
    }[choice]
    assert sorted(found) == sorted(expected * 3)


def test_keys_of_a_home_namespace_are_whole(gates: Gates) -> None:
    home = user("home", "Ads.P", more='databases = { 0 = "Ads.P" }')
    gate = gates(config('users = ["home"]').replace("[audit]", home + "[audit]"))
    with gate.client(user="home", password="home-secret") as client:
        client.pipeline([("SET", "x", SECRET)] * 3)
        wait_for(lambda: len(commands(gate, command="set", keys=["Ads.P:x"])) == 3, "the records")


def test_names_are_shown_as_text_and_cut() -> None:
    assert shown(b'Ads.P:"a"') == 'Ads.P:"a"'
    assert shown(b"a\x00\n\xff\\") == "a\\x00\\x0a\\xff\\x5c"
    assert shown(b"k" * 1000) == "k" * 128 + "…+872"
    assert shown("ключ".encode()).isascii()


@BOTH
def test_every_worker_writes_whole_lines_and_rotates(gates: Gates, workers: int) -> None:
    audit = 'commands = "all"\nmax_size = "64kb"\nkeep = 3'
    gate = gates(config(audit), gate=f"workers = {workers}\n")
    clients = [*one_on_each(gate, workers, user="ads", password="ads-secret").values()]
    for client in clients:
        client.send_raw(b"".join(b"*2\r\n$3\r\nGET\r\n$%d\r\nAds.P:%d\r\n" % (len(str(n)) + 6, n) for n in range(1500)))
    for client in clients:
        client.read_raw(1500)
        client.close()
    with boss(gate) as client:
        wait_for(lambda: int(info(client)["audit_written"]) > 1500 * workers, "the records")
        assert info(client)["audit_dropped"] == "0"
    gate.stop()
    files = sorted(path.name for path in gate.directory.glob("audit.log*"))
    assert files == ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3"]
    for name in files:
        assert (gate.directory / name).stat().st_size <= 64 * 1024
        assert stat.S_IMODE((gate.directory / name).stat().st_mode) == 0o600
    last = [each for name in reversed(files) for each in records(gate, name)]
    serving = {each["worker"] for each in last if each["event"] == "end"}
    assert len(serving) == workers
    for pid in serving:
        assert [each["event"] for each in last if each["worker"] == pid][-1] == "end"
    for pid in {each["worker"] for each in last if each.get("command") == "get"}:
        keys = [int(each["keys"][0][6:]) for each in last if each.get("command") == "get" and each["worker"] == pid]
        assert keys == list(range(keys[0], 1500)), "in order, and none is missing"


def test_what_waits_is_written_at_the_end(gates: Gates) -> None:
    gate = gates(config('commands = "all"'))
    with gate.client(user="ads", password="ads-secret") as client:
        client.pipeline([("GET", f"Ads.P:{n}") for n in range(2000)])
        gate.stop()
    assert len(commands(gate, command="get")) == 2000
    assert records(gate)[-1]["event"] == "end"


def test_a_reload_takes_the_table_anew(gate: Gate) -> None:
    login: Any = {"user": "boss", "password": "boss-secret"}
    other = config('commands = "all"').replace("audit.log", "other.log")
    with gate.client(user="ads", password="ads-secret") as client:
        client.pipeline([("GET", "Ads.P:1")] * 3)
        reload(gate, other, **login)
        client.pipeline([("GET", "Ads.P:1")] * 3)
        wait_for(lambda: len(records(gate, "other.log")) >= 4, "the other file")
        assert records(gate)[-1]["event"] == "end"
        assert not commands(gate, command="get")
        assert sum(each.get("command") == "get" for each in records(gate, "other.log")) == 3
        gate.write_config(config("nonsense = 1"))
        with gate.client(**login) as asking:
            assert asking.raw_reply("GATE", "RELOAD").startswith(b"-ERR audit.nonsense")
        wait_for(lambda: records(gate, "other.log")[-1].get("result") == "failed", "the failure")
        reload(gate, STORES + USERS, **login)
        client.pipeline([("GET", "Ads.P:1")] * 3)
    wait_for(lambda: records(gate, "other.log")[-1]["event"] == "end", "the end of the log")
    refused = [each for each in records(gate, "other.log") if each["event"] == "configuration"]
    assert [each["result"] for each in refused] == ["done", "refused"]


def test_a_log_that_cannot_be_written_is_told_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "audit.log").mkdir()
    gate = Gate(config('commands = "all"'), directory=tmp_path)
    with gate, gate.client(user="ads", password="ads-secret") as client:
        in_log(gate, "audit_failed")
        for _ in range(3):
            assert client.cmd("SET", "Ads.P:1", "v") == b"OK"
        with boss(gate) as asking:
            assert info(asking)["audit_status"] == "failing"
            assert int(info(asking)["audit_failures"]) > 0
        client.pipeline([("GET", "Ads.P:1")] * 11_000)
        (tmp_path / "audit.log").rmdir()
        in_log(gate, "audit_works_again")
        wait_for(lambda: any(each["event"] == "dropped" for each in records(gate)), "the count of what was dropped")
        (dropped,) = (each["count"] for each in records(gate) if each["event"] == "dropped")
        wait_for(lambda: len(commands(gate, command="get")) + dropped >= 11_000, "the rest")
        with boss(gate) as asking:
            assert info(asking)["audit_status"] == "ok"
            assert int(info(asking)["audit_dropped"]) == dropped > 0
        assert len(commands(gate, command="set")) == 3
        assert gate.log.count("audit_failed") == 1


def test_what_is_lost_with_a_log_that_another_takes_the_place_of_is_counted(tmp_path: Path) -> None:
    gate: Any = None  # no command comes
    audit = Audit(gate)
    audit.configure(AuditSettings(path=tmp_path / "missing" / "a"), "one")
    for _ in range(20):
        audit.configuration_refused()
    wait_for(lambda: audit.failing, "the first try")
    audit.configure(AuditSettings(path=tmp_path / "b"), "two")
    wait_for(lambda: audit.figures[:2] == (1, 22), "all of the first file to be dropped")  # its beginning and end, too
    audit.close()
    assert audit.figures[:2] == (2, 22)


def test_with_required_what_cannot_be_noted_is_refused(tmp_path: Path) -> None:
    gate = Gate(config('users = ["ads"]\nrequired = true'), directory=tmp_path)
    with gate, gate.client(user="ads", password="ads-secret") as client, boss(gate) as other:
        assert client.cmd("SET", "Ads.P:1", "v") == b"OK"
        wait_for(lambda: commands(gate, command="set"), "its record")
        (tmp_path / "audit.log").rename(tmp_path / "moved")
        (tmp_path / "audit.log").mkdir()
        wait_for(lambda: client.raw_reply("SET", "Ads.P:1", "w").startswith(b"-TRYAGAIN"), "the refusal")
        assert other.cmd("SET", "Ads.P:2", "v") == b"OK"  # is not to be noted
        assert other.raw_reply("KEYS", "*").startswith(b"-TRYAGAIN")
        with gate.client() as fresh:
            assert fresh.raw_reply("AUTH", "ads", "ads-secret").startswith(b"-TRYAGAIN")
        (tmp_path / "audit.log").rmdir()
        wait_for(lambda: client.raw_reply("SET", "Ads.P:1", "w") == b"+OK\r\n", "service")


def test_a_portion_that_does_not_fit_is_taken_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path, 1 << 30, 1)
    file.append(b"first\n")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, usual[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            file.append(b"x" * 200 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"first\n"
    with path.open("ab") as half:
        half.write(b'{"half')  # as a process that was killed leaves it
    file.append(b"second\n")
    assert path.read_bytes() == b'first\n{"half\nsecond\n'
    path.unlink()
    file.append(b"third\n")
    assert path.read_bytes() == b"third\n"
    file.close()
    path.unlink()
    (tmp_path / "elsewhere").touch()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        file.append(b"fourth\n")
    file.close()


def test_a_worker_that_is_killed_keeps_nobody_from_writing(gates: Gates) -> None:
    gate = gates(config('commands = "all"'), gate="workers = 2\n")
    for pid in children(gate.pid):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(children(gate.pid)) == 2, "two workers")
    with gate.client(user="ads", password="ads-secret") as client:
        client.cmd("GET", "Ads.P:after")
        noted(gate, keys=["Ads.P:after"])


def test_connections_that_are_refused(gates: Gates) -> None:
    gate = gates(config(), gate="max_clients = 1\n")
    only: list[Resp] = []

    def let_in() -> bool:  # what asked whether the gate is ready may not have left yet
        with contextlib.suppress(hiredis.ReplyError):
            only.append(boss(gate))
        return bool(only)

    wait_for(let_in, "a place")
    with only[0] as client:
        for _ in range(2):
            with gate.client() as beyond:
                beyond.read_all()
        wait_for(lambda: sum(each["event"] == "connection" for each in records(gate)) >= 2, "both")
        found = [each for each in records(gate) if each["event"] == "connection"][-1]
        assert found["address"].startswith("127.0.0.1:")
        assert found["result"] == "refused"
        client.cmd("PING")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("commands = 'all'", "audit.path: needed"),
        ("path = 'nowhere/audit.log'", "audit.path: there is no folder"),
        ("path = 'a'\ncommands = 'everything'", 'audit.commands: "everything" is none of admin, all'),
        ("path = 'a'\ncommands = ['@nosuch']", 'audit.commands: "@nosuch": there is no category @nosuch'),
        ("path = 'a'\ncommands = ['nosuch']", 'audit.commands: "nosuch": there is no command NOSUCH'),
        ("path = 'a'\nkeep = 0", "audit.keep: must be a whole number of at least 1"),
        ("path = 'a'\nmax_size = '1kb'", "audit.max_size: must be at least 65536 bytes"),
        ("path = 'a'\nnamespaces = ['nodot']", "audit.namespaces"),
        ("path = 'a'\nrequired = 'yes'", "audit.required: must be true or false"),
    ],
)
def test_mistakes_in_the_table(text: str, mistake: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse((STORES + "[audit]\n" + text).encode(), tmp_path)
    assert any(each.startswith(mistake) for each in caught.value.mistakes), caught.value.mistakes
