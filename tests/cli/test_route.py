"""`kvgate route`."""

import os
import re
from pathlib import Path

import pytest

from kvgate.routing.slots import crc32_slot
from tests.cli.conftest import Run


def test_where_a_key_goes(run: Run, file: str) -> None:
    slot = crc32_slot(1024)(b"Ads.X:1")
    code, out, err = run("route", file, "Ads.X:1")
    assert (code, err) == (0, "")
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert lines["namespace"] == "Ads.X"
    assert lines["rule"] == "Ads.*"
    assert lines["backend"] == "profile (redis)"
    assert lines["slot"] == f"{slot} of 1024"
    assert lines["upstream"] == f"redis://127.0.0.1:{7001 if slot < 512 else 7002}/0"


def test_passwords_are_not_shown(run: Run, file: str) -> None:
    assert "hunter2" not in run("route", file, *(f"Ads.X:{n}" for n in range(20))).out


def test_several_keys_are_blocks_and_one_without_a_namespace_is_1(run: Run, file: str) -> None:
    code, out, _ = run("route", file, "Own.Data:1", "plain")
    assert code == 1
    own, plain = out.split("\n\n")
    assert "backend    local (lmdb)" in own
    assert "slot" not in own
    assert "refused    NONAMESPACE no namespace for key 'plain'" in plain


def test_what_a_user_may_not_do(run: Run, file: str) -> None:
    code, out, _ = run("route", file, "Ads.X:1", "--user", "ads")
    assert code == 0
    assert "refused    NOPERM: " in out
    assert "sort" in out
    assert "'kvgate commands --backend redis'" in out
    code, out, _ = run("route", file, "Own.Data:1", "--user", "ads")
    assert code == 1
    assert "refused    NOPERM this user has no permissions to access one of the keys" in out


@pytest.mark.parametrize(
    ("key", "command", "code", "refused"),
    [
        ("Own.Data:1", "get", 0, ""),
        ("Own.Data:1", "HGET", 1, "ERR command 'hget' is not supported by backend 'local' (lmdb);"),
        ("Own.Data:1", "xgroup create", 1, "ERR command 'xgroup|create' is not supported by backend 'local' (lmdb);"),
        ("Ads.X:1", "migrate", 1, "ERR command 'migrate' is not available through the gate:"),
    ],
)
def test_one_command(run: Run, file: str, key: str, command: str, code: int, refused: str) -> None:
    ran = run("route", file, key, "--command", command)
    assert ran.code == code
    assert ("refused" in ran.out) is bool(refused)
    assert refused in ran.out


def test_names_that_do_not_exist_are_2_with_suggestions(run: Run, file: str) -> None:
    code, _, err = run("route", file, "k", "--user", "adds")
    assert (code, err) == (2, 'gate.toml: users: there is no user "adds" (did you mean "ads"?)\n')
    code, _, err = run("route", file, "k", "--command", "hgett")
    assert code == 2
    assert 'there is no command "hgett" (did you mean "HGET"?)' in err


def test_keys_in_a_user_s_database(run: Run, file: str, tmp_path: Path) -> None:
    text = (tmp_path / file).read_text()
    hashed = re.search(r'password_sha256 = \["(.*)"\]', text)
    assert hashed is not None
    more = f'[users.home]\npassword_sha256 = ["{hashed[1]}"]\ndatabases = {{ 0 = "Ads.X", 3 = "Own.Data" }}\n'
    (tmp_path / file).write_text(text + more)
    for options, whole in (((), "Ads.X:k"), (("--database", "3"), "Own.Data:k")):
        code, out, _ = run("route", file, "k", "--user", "home", *options)
        assert code == 0
        assert f"key        {whole}\n" in out
    code, _, err = run("route", file, "k", "--user", "home", "--database", "1")
    assert (code, err) == (2, 'gate.toml: --database: user "home" has no database 1\n')


def test_keys_of_any_bytes(run: Run, file: str) -> None:
    code, out, _ = run("route", file, os.fsdecode(b"Own.Data:\xff\n"))
    assert code == 0
    assert "key        Own.Data:\\xff" in out
