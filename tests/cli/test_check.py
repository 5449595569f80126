"""`kvgate check` and `kvgate init`."""

import hashlib
import re
from pathlib import Path

from kvgate.cli.init import TEMPLATE
from kvgate.config import parse
from tests.cli.conftest import CONFIGURATION, Run


def test_a_good_configuration(run: Run, file: str) -> None:
    digest = hashlib.sha256(CONFIGURATION.encode()).hexdigest()
    assert run("check", file) == (0, f"gate.toml: good: 2 backends, 2 namespaces, 1 user; sha256 {digest}\n", "")


def test_warnings_are_shown_and_good(run: Run, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(CONFIGURATION.replace('namespaces = ["Ads.*"]', 'namespaces = ["Adds.*"]'))
    code, out, err = run("check", file)
    assert code == 0
    assert "good" in out
    assert err == (
        'gate.toml: warning: users.ads.namespaces: "Adds.*" matches nothing in [namespaces] (did you mean "Ads.*"?)\n'
    )


def test_every_mistake_on_a_line_with_the_file(run: Run, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(CONFIGURATION.replace('"profile"', '"profil"') + "admin = true\n")
    code, out, err = run("check", file)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        'gate.toml: namespaces."Ads.*": no backend is called "profil" (did you mean "profile"?)',
        "gate.toml: users.ads.admin: unknown key",
    ]


def test_a_file_that_is_not_there(run: Run) -> None:
    assert run("check", "no.toml") == (2, "", "no.toml: the file cannot be read: No such file or directory\n")


def test_init_prints_a_configuration_that_works_as_it_is(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("init")
    assert (code, out) == (0, TEMPLATE)
    found = parse(out.encode(), tmp_path)
    assert found.warnings == ()
    assert [rule.name for rule in found.namespaces.rules] == ["default"]


def test_every_example_in_it_works_when_its_mark_is_taken_away(run: Run, tmp_path: Path) -> None:
    text, examples = re.subn(r"(?m)^#(?=\S)", "", TEMPLATE)
    assert examples > 25
    found = parse(text.encode(), tmp_path)
    assert set(found.backends) == {"local", "cache", "profile"}
    assert set(found.users.by_name) == {"ads"}
    assert found.gate.tls is not None
    assert found.warnings == ()


def test_init_writes_and_never_overwrites(run: Run, tmp_path: Path) -> None:
    assert run("init", "gate.toml").code == 0
    assert (tmp_path / "gate.toml").read_text() == TEMPLATE
    (tmp_path / "gate.toml").write_text("mine")
    code, _, err = run("init", "gate.toml")
    assert code == 2
    assert "exists already" in err
    assert (tmp_path / "gate.toml").read_text() == "mine"
    assert run("init", "no/such/folder.toml").code == 2
