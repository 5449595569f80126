"""The client of ``connect``: connect, AUTH, GET, close, over and over, one at a time, the same bytes for every peer.

Run as ``python -m bench.churn PORT COUNT KEY [AUTH WORD …]``: prints ``ready``, waits for a line, runs, prints ``done``.
"""

import socket
import sys
from collections.abc import Sequence

from bench.process import BenchError
from bench.resp import request


def churn(port: int, count: int, key: str, auth: Sequence[str]) -> None:
    """Do it `count` times.

    Raises:
        BenchError: a reply is not ``+OK`` and then a bulk string.
    """
    login = request("AUTH", *auth) if auth else b""
    get = request("GET", key)
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), 20.0) as connection:
            if login:
                connection.sendall(login)
                if (reply := connection.recv(4096)) != b"+OK\r\n":
                    raise BenchError(f"AUTH: {reply!r}")
            connection.sendall(get)
            if not (reply := connection.recv(4096)).startswith(b"$"):
                raise BenchError(f"GET: {reply!r}")


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    port, count, key, *auth = arguments
    print("ready", flush=True)
    sys.stdin.readline()
    churn(int(port), int(count), key, auth)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
