"""A redis-server of the search's own, for when no server to compare with is named; it ends with the search."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kvgate_compat.connection import Connection, Ended

START: Final = 20.0
"""Seconds within which it must answer."""
END: Final = 10.0
"""Seconds that it may take to end before it is killed."""


class NoReference(Exception):  # noqa: N818 - said to people, who can name another server
    """There is no redis-server on this machine, or it did not start; the text says which."""


@contextlib.contextmanager
def reference() -> Iterator[str]:
    """The URL of an empty redis-server with one database, which runs until the end of the block.

    It listens on a unix socket in a folder of its own: there is no port that another program could take, and nobody else
    reaches it. A Ctrl-C of the terminal does not reach it either, so that it does not end before the search.

    Raises:
        NoReference: see there.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise NoReference("redis-server is not installed (Debian: redis-server): install it, or name a server with --against")
    folder = Path(tempfile.mkdtemp(prefix="kvgate-compat-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        line = [program, "--port", "0", "--unixsocket", str(folder / "s"), "--unixsocketperm", "700", "--dir", str(folder)]
        line += ["--save", "", "--appendonly", "no", "--databases", "1", "--hz", "100", "--logfile", str(folder / "log")]
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        url = f"unix://{folder / 's'}"
        _wait(process, url, folder / "log")
        yield url
    finally:
        if process is not None:
            process.terminate()
            try:
                process.wait(END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Until it answers."""
    deadline = time.monotonic() + START
    while True:
        with contextlib.suppress(OSError, Ended):
            side = Connection(url)
            side.expect_ok("PING")
            side.close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text("utf-8", "replace")[-1000:] if log.exists() else "nothing"
            raise NoReference(f"redis-server did not start; it said: {said}")
        time.sleep(0.01)
