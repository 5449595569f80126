"""The programs that tests run: real redis-servers and the gate, each in a folder of its own, ended with the test."""

import atexit
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme

from tests.support.ports import free_port
from tests.support.resp import Arg, Closed, Resp, frame, reply_end

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
START_TIMEOUT = 20.0
"""Seconds within which a program must answer; generous, since the machine is shared."""
STOP_TIMEOUT = 15.0

NO_REDIS = "redis-server is not installed (Debian package redis-server)"
redis_binary = shutil.which("redis-server")

_running: "set[subprocess.Popen[bytes]]" = set()
open_programs: "list[Program]" = []
"""Started and not closed yet: conftest.py shows the ends of their logs when a test fails."""


@atexit.register
def _kill_leftovers() -> None:
    for process in _running:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def wait_for(condition: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Look until `condition` is true, often at first, then every 20 ms.

    Raises:
        TimeoutError: it was not after `timeout` seconds; says `what` was waited for.
    """
    deadline, pause = time.monotonic() + timeout, 0.001
    while not condition():
        if time.monotonic() > deadline:
            msg = f"waited {timeout} s for {what}"
            raise TimeoutError(msg)
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


class Program:
    """A process with a folder and a log. Subclasses say how it is started and when it is ready."""

    name = "program"

    def __init__(self, directory: Path | None = None) -> None:
        """Use `directory`, which is kept, or a temporary one, which is removed at the end."""
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"kvgate-{self.name}-"))
        self.log_path = self.directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._paused = False

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop and close; after an exception kill instead, so that the exception is the one that is seen."""
        try:
            if kind is None:
                self.stop()
        finally:
            self.close()

    def command(self) -> list[str]:
        """The command line."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables of its environment."""
        return dict(os.environ)

    def is_ready(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        """What it wrote to stdout and stderr so far."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None, f"{self.name} is not running"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process exists and has not ended."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            RuntimeError: it ended or did not answer in time; the text has the end of its log.
        """
        assert not self.running, f"{self.name} runs already"
        if self not in open_programs:
            open_programs.append(self)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
            )
        _running.add(self.process)
        self._paused = False
        self.wait_ready()

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until it answers (see `start`)."""
        try:
            wait_for(lambda: not self.running or self.is_ready(), f"{self.name} to answer", timeout)
        except TimeoutError:
            self.kill()
            msg = f"{self.name} did not answer within {timeout} s:\n{self.log[-4000:]}"
            raise RuntimeError(msg) from None
        if not self.running:
            code = self._ended()
            msg = f"{self.name} ended with {code} at its start:\n{self.log[-4000:]}"
            raise RuntimeError(msg)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None, f"{self.name} is not running"
        self.process.send_signal(number)

    def stop(self, timeout: float = STOP_TIMEOUT) -> int | None:
        """SIGTERM, wait; the exit code, None when it was not running.

        Raises:
            RuntimeError: it had to be killed.
        """
        if not self.running:
            return self._ended()
        self.resume()
        self.signal(signal.SIGTERM)
        return self.wait_ended(timeout)

    def wait_ended(self, timeout: float = STOP_TIMEOUT) -> int | None:
        """Wait for its end; the exit code.

        Raises:
            RuntimeError: it still ran after `timeout` seconds and was killed.
        """
        assert self.process is not None, f"{self.name} is not running"
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            msg = f"{self.name} did not end within {timeout} s:\n{self.log[-4000:]}"
            raise RuntimeError(msg) from None
        return self._ended()

    def kill(self) -> None:
        """SIGKILL, and wait; nothing when it is not running."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._ended()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered. It has stopped when this returns."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: self._state() == "T", f"{self.name} to stop")
        self._paused = True

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        if self._paused:
            self.signal(signal.SIGCONT)
            self._paused = False

    def restart(self) -> None:
        """Stop (if running) and start again: same port, same folder."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill what still runs and remove a temporary folder; idempotent."""
        self.kill()
        if self in open_programs:
            open_programs.remove(self)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def cpu_seconds(self) -> float:
        """User and system time that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0]

    def _ended(self) -> int | None:
        if self.process is None:
            return None
        _running.discard(self.process)
        code = self.process.returncode
        self.process = None
        return code


def _answers(connect: Callable[[], Resp]) -> bool:
    """Whether PING gets any whole reply; an error such as NOAUTH is a sign of life too, LOADING is not yet."""
    try:
        with connect() as client:
            client.send_raw(frame("PING"))
            return not client.read_one().startswith(b"-LOADING")
    except (OSError, Closed, ValueError):
        return False


class RedisServer(Program):
    """A real redis-server without persistence, on a free port of 127.0.0.1, a unix socket, or TLS.

    It can be stopped, killed, paused and started again on the same address; its data does not survive its end.
    """

    name = "redis"

    def __init__(
        self,
        *,
        port: int = 0,
        unix: bool = False,
        password: str = "",
        tls: bool = False,
        config: Sequence[str] = (),
        directory: Path | None = None,
    ) -> None:
        """Prepare; `config` are further arguments: ``["--maxclients", "50"]``. `unix`: on a socket only."""
        super().__init__(directory)
        self.host = "127.0.0.1"
        self.port = 0 if unix else port or free_port()
        self.path = str(self.directory / "redis.sock") if unix else ""
        self.password = password
        self.tls = tls
        self.config = list(config)
        self.client_tls: ssl.SSLContext | None = self._make_certificates() if tls else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kill: it keeps nothing, and looks at SIGTERM only ten times a second."""
        self.close()

    def __repr__(self) -> str:
        """Where it listens and whether it runs."""
        return f"<RedisServer {self.url} {'running' if self.running else 'not running'}>"

    @property
    def address(self) -> "tuple[str, int] | str":
        """For `Resp`, `Relay`, sockets."""
        return self.path or (self.host, self.port)

    @property
    def url(self) -> str:
        """For the gate's configuration and for clients; with the password if it has one."""
        secret = f":{self.password}@" if self.password else ""
        if self.path:
            return f"unix://{secret}{self.path}"
        return f"{'rediss' if self.tls else 'redis'}://{secret}{'localhost' if self.tls else self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The authority that signed its certificate (with `tls`)."""
        return self.directory / "ca.pem"

    def command(self) -> list[str]:
        """See `Program`."""
        assert redis_binary is not None, NO_REDIS
        line = [redis_binary, "--save", "", "--appendonly", "no", "--bind", self.host, "--dir", str(self.directory)]
        line += ["--enable-debug-command", "yes", "--enable-protected-configs", "no"]
        if self.path:
            line += ["--port", "0", "--unixsocket", self.path]
        elif self.tls:
            line += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            line += ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem"]
        else:
            line += ["--port", str(self.port)]
        if self.password:
            line += ["--requirepass", self.password]
        return line + self.config

    def is_ready(self) -> bool:
        """See `Program`."""
        return _answers(lambda: Resp(self.address, tls=self.client_tls, timeout=1.0))

    def client(self, *, proto: int = 2, timeout: float = 10.0) -> Resp:
        """A new connection, with the password; to be closed by the caller."""
        return Resp(self.address, proto=proto, password=self.password, tls=self.client_tls, timeout=timeout)

    def cmd(self, *args: Arg) -> Any:
        """One command on a connection of its own (see `Resp.cmd`)."""
        with self.client() as client:
            return client.cmd(*args)

    def calls(self, command: str) -> int:
        """How often the server has run `command` (``get``, ``client|list``), by its own statistics."""
        for line in self.cmd("INFO", "commandstats").decode().splitlines():
            if line.startswith(f"cmdstat_{command.lower()}:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0

    def _make_certificates(self) -> ssl.SSLContext:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(self.directory / "ca.pem"))
        certificate.private_key_pem.write_to_path(str(self.directory / "server.key"))
        for position, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(self.directory / "server.pem"), append=position > 0)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context


RedisServers = Callable[..., RedisServer]
"""The fixture `redis_servers`: takes the arguments of `RedisServer`, gives a started one."""


class Gate(Program):
    """``kvgate serve`` in a process of its own, on a free port of 127.0.0.1.

    `config` is the text of the configuration without ``[gate]`` (then one with `listen` is put before it; `gate` holds
    further lines of that table), or a whole one in which ``$PORT`` and ``$DIR`` are replaced. Without `config` the gate
    serves its default: the embedded store, in its folder.
    """

    name = "gate"

    def __init__(
        self,
        config: str | None = None,
        *,
        gate: str = "",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
        directory: Path | None = None,
        allow_traceback: bool = False,
    ) -> None:
        """Prepare. `allow_traceback`: this test makes the gate log one on purpose."""
        super().__init__(directory)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.arguments = list(arguments)
        self.extra_environment = dict(environment or {})
        self.python = python
        self.allow_traceback = allow_traceback
        self.config_path = self.directory / "kvgate.toml"
        self.has_config = config is not None
        self._gate = gate
        if config is not None:
            self.write_config(config)

    def __repr__(self) -> str:
        """Where it listens and whether it runs."""
        return f"<Gate {self.url} {'running' if self.running else 'not running'}>"

    def write_config(self, config: str) -> None:
        """Write the configuration file (see the class), for the next start or for a reload."""
        if "[gate]" not in config:
            drain = "" if "drain_unready" in self._gate else 'drain_unready = "0s"\n'  # no balancer has to look away
            config = f'[gate]\nlisten = ["127.0.0.1:$PORT"]\n{drain}{self._gate}\n{config}'
        text = config.replace("$PORT", str(self.port)).replace("$DIR", str(self.directory))
        fresh = self.config_path.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.replace(self.config_path)

    @property
    def address(self) -> "tuple[str, int] | str":
        """For `Resp`, `Relay`, sockets."""
        return self.host, self.port

    @property
    def url(self) -> str:
        """For client libraries."""
        return f"redis://{self.host}:{self.port}"

    def command(self) -> list[str]:
        """See `Program`."""
        line = [self.python, "-m", "kvgate.cli.main", "serve"]
        if self.has_config:
            return [*line, str(self.config_path), *self.arguments]
        return [*line, "--listen", f"{self.host}:{self.port}", "--data-dir", str(self.directory / "data"), *self.arguments]

    def environment(self) -> dict[str, str]:
        """The caller's, with the checkout on the path: what is tested is the checkout, whatever is installed."""
        path = os.pathsep.join(map(str, (ROOT, ROOT / "backends", ROOT / "compat")))
        return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **self.extra_environment}

    def is_ready(self) -> bool:
        """See `Program`."""
        return _answers(lambda: Resp(self.address, timeout=1.0))

    def client(self, *, proto: int = 2, user: str = "default", password: str = "", timeout: float = 10.0) -> Resp:
        """A new connection; to be closed by the caller."""
        return Resp(self.address, proto=proto, user=user, password=password, timeout=timeout)

    def cmd(self, *args: Arg) -> Any:
        """One command on a connection of its own (see `Resp.cmd`)."""
        with self.client() as client:
            return client.cmd(*args)

    def stop(self, timeout: float = STOP_TIMEOUT) -> int | None:
        """SIGTERM; it must end by itself, with 0, and must have logged no traceback."""
        was_running = self.running
        code = super().stop(timeout)
        if was_running:
            assert code == 0, f"the gate ended with {code}:\n{self.log[-4000:]}"
        self.check_log()
        return code

    def check_log(self) -> None:
        """Fail when the gate logged a traceback (unless `allow_traceback`)."""
        if not self.allow_traceback:
            assert "Traceback (most recent call last)" not in self.log, f"the gate logged:\n{self.log[-8000:]}"


Gates = Callable[..., Gate]
"""The fixture `gates`: takes the arguments of `Gate`, gives a started one."""


def read_whole(data: bytes) -> list[bytes]:
    """Cut `data` into whole replies; what is left over at the end must be nothing."""
    replies, at = [], 0
    while at < len(data):
        end = reply_end(data, at)
        assert end > 0, f"a broken reply at {at}: {data[at : at + 100]!r}"
        replies.append(data[at:end])
        at = end
    return replies
