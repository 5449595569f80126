"""``make run-demo``: two real redis-servers and a gate before them and the embedded store, until Ctrl-C."""

import argparse
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEMPLATE = Path(__file__).with_name("kvgate.toml")
STORE_PORTS = (7001, 7002)
START_TIMEOUT = 20.0

LINES = """
Three stores, one address. Ctrl-C ends everything; nothing is kept. Try, in another terminal:

  redis-cli -p {gate} SET Shop.Cart:7 "3 apples"       kept by the redis-server on port {first}
  redis-cli -p {gate} SET Ads.Profile:42 curious       kept by the redis-server on port {second}
  redis-cli -p {gate} SET hello world                  kept by the embedded store
  redis-cli -p {gate} MGET Shop.Cart:7 Ads.Profile:42 hello
  redis-cli -p {gate} GATE ROUTE Ads.Profile:42        which rule, which store
  redis-cli -p {first} KEYS '*'                         what that redis-server has
"""


def answers(host: str, port: int) -> bool:
    """Whether something there answers PING with any reply."""
    try:
        with socket.create_connection((host, port), 1.0) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(1) in {b"+", b"-"}
    except OSError:
        return False


def taken(port: int) -> bool:
    """Whether something listens on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_from(port: int, but: "set[int]") -> int:
    """The first free port at or above `port`."""
    while port in but or taken(port):
        port += 1
    return port


class Demo:
    """The three processes, their folder, and their end."""

    def __init__(self, binary: str, host: str, port: int, stores: tuple[int, int]) -> None:
        """Nothing is started yet."""
        self.binary = binary
        self.host = host
        self.port = port
        first = free_from(stores[0], {port})
        self.stores = (first, free_from(stores[1], {port, first}))
        self.folder = Path(tempfile.mkdtemp(prefix="kvgate-demo-"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the stores, then the gate; SystemExit with the reason when one does not answer."""
        for port in self.stores:
            line = [self.binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            self._start(f"redis-server {port}", [*line, "--dir", str(self.folder), "--logfile", f"{port}.log"], port)
        config = TEMPLATE.read_text("utf-8").replace("127.0.0.1:6380", f"{self.host}:{self.port}")
        for written, port in zip(STORE_PORTS, self.stores, strict=True):
            config = config.replace(f":{written}", f":{port}")
        path = self.folder / "kvgate.toml"
        path.write_text(config, "utf-8")
        self._start("kvgate", [sys.executable, "-m", "kvgate.cli.main", "serve", str(path)], self.port)
        sys.stdout.write(LINES.format(gate=self.port, first=self.stores[0], second=self.stores[1]))
        sys.stdout.flush()

    def wait(self) -> int:
        """Wait until a process ends by itself; its name is told, and 1 returned."""
        while True:
            for name, process in self.processes.items():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(0.2)
                    sys.stderr.write(f"{name} ended with {code}\n")
                    return 1

    def end(self) -> None:
        """End the gate, then the stores; remove the folder."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, line: list[str], port: int) -> None:
        if taken(port):
            sys.exit(f"port {port} is in use; choose another: make run-demo LISTEN=127.0.0.1:{port + 1}")
        # In a session of its own: Ctrl-C reaches this program alone, which then ends them in order.
        process = self.processes[name] = subprocess.Popen(line, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(self.host if name == "kvgate" else "127.0.0.1", port):
            if process.poll() is not None or time.monotonic() > deadline:
                log = self.folder / f"{port}.log"
                said = log.read_text("utf-8", "replace") if log.exists() else ""
                sys.exit(f"{said}{name} did not start")
            time.sleep(0.02)


def interrupt(number: int, frame: object) -> None:
    """Let SIGTERM end the demo as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Run until Ctrl-C (0), or until a process ends by itself (1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:6380", help="the gate's address (default: %(default)s)")
    parser.add_argument("--stores", nargs=2, type=int, default=STORE_PORTS, help="first ports to try for the redis-servers")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    binary = shutil.which("redis-server")
    if binary is None:
        sys.stderr.write(
            "the demo needs redis-server, which is not installed (Debian: apt install redis-server redis-tools);"
            " `make run` works without it\n"
        )
        return 1
    signal.signal(signal.SIGTERM, interrupt)
    demo = Demo(binary, host, int(port), tuple(options.stores))
    try:
        demo.start()
        return demo.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        demo.end()


if __name__ == "__main__":
    sys.exit(main())
