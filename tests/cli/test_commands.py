"""`kvgate commands`."""

import json

from kvgate.commands.table import every_command
from tests.cli.conftest import Run


def test_the_matrix_has_every_command_and_every_backend(run: Run) -> None:
    code, out, err = run("commands")
    assert code == 0
    assert "broken" in err
    head, *rows = out.splitlines()
    assert head.split() == ["command", "capability", "action", "redis", "lmdb", "note"] or head.split() == [
        "command",
        "capability",
        "action",
        "lmdb",
        "redis",
        "note",
    ]
    assert [row.split()[0] for row in rows] == [spec.lower for spec in every_command() if not spec.subcommands]


def test_one_backend(run: Run) -> None:
    code, out, err = run("commands", "--backend", "lmdb")
    assert (code, err) == (0, "")
    rows = {row.split()[0]: row.split() for row in out.splitlines()}
    assert rows["get"] == ["get", "string", "forward", "yes"]
    assert rows["hget"] == ["hget", "hash", "forward", "no"]
    assert rows["ping"][3] == "gate"
    assert rows["shutdown"][3] == "refused"
    assert len(rows["shutdown"]) > 5


def test_json(run: Run) -> None:
    code, out, _ = run("commands", "--json", "--backend", "redis")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["hget"]["backends"] == {"redis": "yes"}
    assert rows["hget"]["arity"] == 3
    assert rows["hget"]["categories"] == ["@fast", "@hash", "@read"]
    assert rows["mget"]["merge"] == "in order"
    assert rows["client|setname"]["backends"] == {"redis": "gate"}


def test_a_backend_that_is_not_there(run: Run) -> None:
    code, out, err = run("commands", "--backend", "lmbd")
    assert (code, out) == (2, "")
    assert err == 'kvgate: --backend: no adapter is called "lmbd" (did you mean "lmdb"?); installed: broken, lmdb, redis\n'
    assert run("commands", "--backend", "broken").code == 2
