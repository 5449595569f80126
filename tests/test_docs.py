"""Every command block of README.md and docs/ is run, or says why not (rules: tests/support/documents.py)."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import documents
from tests.support.documents import Block, matches, with_ports
from tests.support.ports import free_port
from tests.support.servers import NO_REDIS, ROOT, Gate, redis_binary, wait_for

BLOCKS = documents.blocks()
NOT_RUN = [block for block in BLOCKS if block.setting == "not run"]
MOST_NOT_RUN = 12
"""So that nobody excludes blocks by habit; whoever raises it has looked at each in the list that the test prints."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, Path]":
    """One folder for each document."""
    return {block.document: tmp_path_factory.mktemp(block.document.replace("/", "-")) for block in BLOCKS}


@pytest.fixture(scope="module")
def gate_ports() -> "Iterator[dict[int, int]]":
    with Gate() as gate:
        yield {6380: gate.port}


def until_it_serves(demo: "subprocess.Popen[str]") -> str:
    """What it prints up to the last of its hints; fails with its last words when it ends before."""
    assert demo.stdout
    shown = ""
    while not shown.endswith("what that redis-server has\n"):
        line = demo.stdout.readline()
        assert line, demo.communicate(timeout=30)[1]
        shown += line
    return shown


@pytest.fixture(scope="module")
def demo_ports() -> "Iterator[dict[int, int]]":
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    ports = {6380: free_port(), 7001: free_port(), 7002: free_port()}
    listen = ["--listen", f"127.0.0.1:{ports[6380]}", "--stores", str(ports[7001]), str(ports[7002])]
    demo = subprocess.Popen(
        [sys.executable, str(ROOT / "demo" / "run.py"), *listen],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'backends'}"},
    )
    try:
        assert f"redis-cli -p {ports[6380]} SET Shop.Cart:7" in until_it_serves(demo)
        yield ports
        demo.send_signal(signal.SIGINT)
        _, complaints = demo.communicate(timeout=60)
        assert demo.returncode == 0, complaints
        assert "Traceback" not in complaints
    finally:
        demo.kill()
        demo.wait()


@pytest.mark.parametrize("block", [b for b in BLOCKS if b not in NOT_RUN], ids=lambda block: block.name)
def test_a_block_does_what_it_says(block: Block, folders: "dict[str, Path]", request: pytest.FixtureRequest) -> None:
    if "redis-cli" in block.body and shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed (Debian package redis-tools)")
    ports: dict[int, int] = request.getfixturevalue(f"{block.setting}_ports") if block.setting else {}
    for command, expected in block.steps():
        code, printed = documents.run(with_ports(command, ports), folders[block.document])
        assert block.kind == "console" or code == 0, f"{command}: exit {code}\n{printed}"
        assert matches(with_ports(expected, ports), printed), f"$ {command}\n--- says\n{expected}\n--- printed\n{printed}"


def test_what_is_not_run_is_counted_and_listed() -> None:
    listed = "\n".join(f"{block.name}: {block.reason}" for block in NOT_RUN)
    sys.stdout.write(f"{len(NOT_RUN)} of {len(BLOCKS)} blocks are not run:\n{listed}\n")
    assert len(NOT_RUN) <= MOST_NOT_RUN, listed


TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md", "docs/configuration.md"])
def test_whole_configurations_are_good(document: str, tmp_path: Path) -> None:
    """A TOML block with ``[gate]`` and ``[namespaces]`` is a whole file; others are parts, and are not looked at."""
    found = TOML.findall((ROOT / document).read_text("utf-8"))
    for number, text in enumerate(text for text in found if "[gate]" in text and "[namespaces]" in text):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, "utf-8")
        code, printed = documents.run(f"kvgate check {path}", tmp_path)
        assert code == 0, printed


def test_links_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents.documents()
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]
    assert not broken, "\n".join(broken)


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    named = {
        target for path in documents.documents() for target in re.findall(r"`?\bmake ([a-z][a-z-]*)`", path.read_text("utf-8"))
    }
    assert named - targets == set()
    assert {"run", "run-demo", "test"} <= named


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("OK\n", "OK\n", True),
        ("OK\n", "OK \n\n", True),
        ("OK\n", "NO\n", False),
        ("", "", True),
        ("", "something\n", False),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b\nc\n", False),
        ("a\n…\nz\n", "a\nb\nc\nz\n", True),
        ("a\n…\nz\n", "a\nz\n", True),
        ("a\n…\nz\n", "a\nb\n", False),
    ],
)
def test_outputs_are_compared_by_the_rules(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same


def test_a_gate_that_is_gone_ends_the_demo() -> None:
    """Whoever kills the demo's parts is told, and nothing is left behind."""
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    port = free_port()
    line = [sys.executable, str(ROOT / "demo" / "run.py"), "--listen", f"127.0.0.1:{port}"]
    stores = [str(free_port()), str(free_port())]
    demo = subprocess.Popen([*line, "--stores", *stores], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until_it_serves(demo)
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text("ascii").split()
        assert len(children) == 3
        os.kill(int(children[2]), signal.SIGKILL)
        _, complaints = demo.communicate(timeout=60)
        assert demo.returncode == 1
        assert "kvgate ended with -9" in complaints
        wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "the demo's processes to end")
    finally:
        demo.kill()
        demo.wait()


def test_the_demo_says_when_redis_server_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "demo" / "run.py")],
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "needs redis-server, which is not installed" in done.stderr
