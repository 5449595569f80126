"""``make run-tikv``: the TiKV-protocol server of this folder and a gate on it, until Ctrl-C, for a first try."""

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.support.servers import Gate
from tests.tikv.program import TikvServer, Unavailable

CONFIG = """
[gate]
listen = ["{listen}"]

[backends.ledger]
type = "tikv"
pd   = ["{pd}"]

[namespaces]
default = "ledger"
"""

LINES = """
One gate on {listen}, every key on TiKV: the test server with its placement driver on {pd}.
Ctrl-C ends both; nothing is kept. Try, in another terminal:

  redis-cli -p {port} SET Bank.Ledger:1 100
  redis-cli -p {port} INCRBY Bank.Ledger:1 5
  redis-cli -p {port} INFO gate
  curl -s http://{control}/status      regions, calls by kind
"""


def main() -> int:
    """Run both; 1 with the reason when they cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:6380", help="the gate's address")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kvgate-run-tikv-") as folder, ExitStack() as stack:
        try:
            server = stack.enter_context(TikvServer())
        except Unavailable as error:
            sys.stderr.write(f"make run-tikv: {error}\n")
            return 1
        gate = Gate(CONFIG.format(listen=arguments.listen, pd=server.pd), directory=Path(folder))
        gate.host, _, port = arguments.listen.rpartition(":")
        gate.port = int(port)
        stack.enter_context(gate)
        values = {"listen": arguments.listen, "port": port, "pd": server.pd, "control": server.control}
        sys.stdout.write(LINES.format(**values))
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main())
