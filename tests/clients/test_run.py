"""The runner of client checks: what is missing is told apart from what fails, and a check that should fail does."""

import json
import sys
from pathlib import Path

import attrs
import pytest

from tests.clients import libraries, run
from tests.clients.libraries import BEYOND, CLIENTS, Client, Failed, Unavailable, prepare
from tests.clients.setting import BACKENDS, a_server
from tests.support.servers import RedisServers

ANYWHERE = a_server("redis://127.0.0.1:1", "all")


def made_up(program: str = "", tool: str = sys.executable, parts: tuple[str, ...] = ("strings", "lists")) -> Client:
    return Client("made up", "1", "3", tool, lambda: None, [sys.executable, "-uc", program], parts=parts)


def redis_py() -> Client:
    (client,) = (client for client in CLIENTS if client.label == "redis-py 5.2.1 RESP3")
    try:
        prepare(client)
    except Unavailable as why:
        pytest.skip(f"{client.label}: {why}")
    return client


def test_a_missing_tool_chain_is_named() -> None:
    with pytest.raises(Unavailable, match="no-such-tool is not installed"):
        prepare(made_up(tool="no-such-tool"))


def test_a_registry_that_cannot_be_reached_is_no_failure() -> None:
    with pytest.raises(Unavailable, match="the registry cannot be reached"):
        libraries.fetch([sys.executable, "-c", "import sys; sys.exit('npm error code ENOTFOUND')"])
    with pytest.raises(Failed, match="SyntaxError"):
        libraries.fetch([sys.executable, "-c", "import sys; sys.exit('SyntaxError: nonsense')"])


def test_a_build_that_takes_minutes_is_not_begun(tmp_path: Path) -> None:
    built = tmp_path / "program"
    slow = Client("made up", "1", "3", sys.executable, built.touch, [], built=built)
    with pytest.raises(Unavailable, match="--only made up"):
        prepare(slow, build=False)
    assert not built.exists()
    prepare(slow)
    prepare(slow, build=False)


def test_a_program_that_tells_nothing_shows_what_was_printed() -> None:
    with pytest.raises(Failed, match="exit 3(.|\n)*out(.|\n)*err"):  # noqa: RUF043 - meant as an expression
        run.check(made_up("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), ANYWHERE)


def test_a_check_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIMEOUT", 2.0)
    waiting = attrs.evolve(made_up(), command=["sh", "-c", "echo waiting; exec sleep 60"])
    with pytest.raises(Failed, match=r"no end after 2.0 s\nwaiting"):
        run.check(waiting, ANYWHERE)


@pytest.mark.parametrize(
    ("types", "lines", "outcome", "failing"),
    [
        ("all", "strings: ok\nlists: ok", "works", []),
        ("strings+hashes", "strings: ok\nlists: unsupported", "works except lists", []),
        ("all", "strings: ok\nlists: unsupported", "works except lists", ["lists"]),
        ("strings+hashes", "strings: ok\nlists: ok", "works except lists", ["lists"]),
        ("all", "strings: ok\nlists: FAILED why", "works except lists", ["lists"]),
        ("all", "strings: ok", "works except lists", ["lists"]),
        ("all", "strings: unsupported\nlists: FAILED why", "cannot", ["strings", "lists"]),
    ],
)
def test_what_a_program_tells_is_held_to_what_is_there(types: str, lines: str, outcome: str, failing: list[str]) -> None:
    client = made_up(f"print({lines!r}); raise SystemExit({'FAILED' in lines})")
    result = run.check(client, a_server("redis://127.0.0.1:1", types), "lmdb")
    assert (result.outcome, list(result.failures)) == (outcome, failing)
    assert result.entry()["outcome"] == outcome


def test_a_server_that_lacks_a_command_fails_the_check(redis_servers: RedisServers) -> None:
    server = redis_servers(config=["--rename-command", "BLPOP", "", "--rename-command", "HGETALL", ""])
    result = run.check(redis_py(), a_server(server.url, "all"))
    assert result.outcome == "works except hashes, lists"
    assert all("unknown command" in told for told in result.failures.values())


def test_commands_that_are_refused_in_other_words_fail_the_check(redis_servers: RedisServers) -> None:
    """Where types are missing, a program that is let through, or told something else, says so."""
    result = run.check(redis_py(), a_server(redis_servers().url, "strings+hashes"))
    assert sorted(result.failures) == sorted(BEYOND)


def test_results_are_put_among_those_that_are_there(tmp_path: Path) -> None:
    path, client = tmp_path / "results.json", CLIENTS[3]
    old = {"name": "gone", "version": "1", "protocol": "RESP2", "backend": "lmdb"}
    path.write_text(json.dumps([old]))
    for backend, told in (("home", "ok"), ("lmdb", "FAILED first"), ("lmdb", "ok")):
        run._save([run.Result(client, backend, {"strings": told})], path)
    found = json.loads(path.read_text())
    assert [(entry["backend"], entry["outcome"]) for entry in found] == [("lmdb", "works"), ("home", "works")]


def test_the_results_that_are_published_are_of_these_versions() -> None:
    """`make clients` was run after the last change of versions, and nothing failed."""
    entries = json.loads(run.RESULTS.read_text("utf-8"))
    wanted = [(c.name, c.version, f"RESP{c.protocol}", backend) for c in CLIENTS for backend in BACKENDS]
    assert [(e["name"], e["version"], e["protocol"], e["backend"]) for e in entries] == wanted
    for entry in entries:
        few = entry["backend"] in ("lmdb", "tikv") and entry["name"] != "tair-py"
        assert entry["outcome"] == (f"works except {', '.join(BEYOND)}" if few else "works"), entry
