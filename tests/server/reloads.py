"""What the tests of reload share: pieces of configuration, and what is waited for."""

import hashlib
from typing import Any

import hiredis
import pytest

from tests.server.processes import children, info
from tests.support.resp import Resp
from tests.support.servers import Gate, wait_for

BOTH = pytest.mark.parametrize("workers", [1, 2])
SECRET, OTHER = (hashlib.sha256(word).hexdigest() for word in (b"secret", b"other"))


def redis(name: str, url: str, more: str = "") -> str:
    """A backend over one store."""
    return f'[backends.{name}]\ntype = "redis"\nurl = "{url}"\n{more}'


def rules(**spaces: str) -> str:
    """``A_T="a"`` is ``"A.T" = "a"``."""
    return "[namespaces]\n" + "".join(f'"{name.replace("_", ".")}" = "{backend}"\n' for name, backend in spaces.items())


def user(name: str, *, secret: str = SECRET, **more: str) -> str:
    """A user who may everything, but for what `more` says."""
    lines = {"namespaces": '["*"]', "commands": '["+@all"]', **more}
    return f'[users.{name}]\npassword_sha256 = ["{secret}"]\n' + "".join(f"{key} = {value}\n" for key, value in lines.items())


def refused(client: Resp, *command: str) -> str:
    """The error that a command is answered with."""
    reply = client.ask(*command)
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


def reload(gate: Gate, config: str, **login: Any) -> None:
    """Write the file, and GATE RELOAD, which must succeed."""
    gate.write_config(config)
    with gate.client(**login) as client:
        assert client.cmd("GATE", "RELOAD") == b"OK"


def whole(config: str) -> str:
    """With ``[gate]``, so that something can stand before it."""
    return f'[gate]\nlisten = ["127.0.0.1:$PORT"]\ndrain_unready = "0s"\n{config}'


def refused_later(client: Resp) -> str:
    """The error that comes for a command sent before."""
    reply = client.read()
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


def says_why(client: Resp, why: str) -> None:
    """Wait until INFO has `why` in the last error; empty: until there is none."""

    def shown() -> bool:
        error = info(client)["config_last_error"]
        return why in error if why else not error

    wait_for(shown, "INFO to tell of the reload")


def has_configuration(client: Resp, sha: str) -> None:
    """Wait until the client's worker serves the file with this hash."""
    wait_for(lambda: info(client)["config_sha256"] == sha, "the configuration to be served")


def in_log(gate: Gate, text: str) -> None:
    """Wait until the gate has logged it."""
    wait_for(lambda: text in gate.log, f"{text} in the log")


def replaced(gate: Gate, victim: int) -> None:
    """Wait until there are two workers again, without that one."""

    def two() -> bool:
        now = children(gate.pid)
        return victim not in now and len(now) == 2

    wait_for(two, "another worker")
