"""The runner of client checks: what is missing is told apart from what fails, and a check that should fail does."""

import sys

import pytest

from tests.clients import run
from tests.clients.run import CLIENTS, Client, Failed, Unavailable, check, prepare
from tests.support.servers import RedisServers


def made_up(*program: str, tool: str = sys.executable) -> Client:
    return Client("made up", tool, lambda: None, lambda url: [*program, url])


def test_a_missing_tool_chain_is_named() -> None:
    with pytest.raises(Unavailable, match="no-such-tool is not installed"):
        prepare(made_up(tool="no-such-tool"))


def test_a_registry_that_cannot_be_reached_is_no_failure() -> None:
    with pytest.raises(Unavailable, match="the registry cannot be reached"):
        run._fetch([sys.executable, "-c", "import sys; sys.exit('npm error code ENOTFOUND')"])
    with pytest.raises(Failed, match="SyntaxError"):
        run._fetch([sys.executable, "-c", "import sys; sys.exit('SyntaxError: nonsense')"])


def test_a_failure_shows_what_was_printed() -> None:
    with pytest.raises(Failed, match="exit 3(.|\n)*out(.|\n)*err"):  # noqa: RUF043 - meant as an expression
        check(made_up(sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), "url")
    assert check(made_up(sys.executable, "-c", "import sys; print('ok', sys.argv[1])"), "url") == "ok url"


def test_a_check_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIMEOUT", 0.5)
    with pytest.raises(Failed, match=r"no end after 0.5 s\nwaiting"):
        check(made_up(sys.executable, "-uc", "import threading; print('waiting'); threading.Event().wait()"), "url")


def test_a_server_that_cannot_block_fails_the_check(redis_servers: RedisServers) -> None:
    (client,) = (client for client in CLIENTS if client.name == "redis-py 5.2.1")
    try:
        prepare(client)
    except Unavailable as why:
        pytest.skip(f"{client.name}: {why}")
    server = redis_servers(config=["--rename-command", "BLPOP", ""])
    with pytest.raises(Failed, match="unknown command 'BLPOP'"):
        check(client, server.url)
