"""Entry of a worker process; started by the parent, by nobody else."""

import json
import sys

from kvgate.cli.leave import leave
from kvgate.cli.source import Source
from kvgate.server.worker import work


def main() -> int:
    """``python -m kvgate.cli.worker SOURCE CONTROL HANDOFF ENDED``: the source as JSON, three inherited descriptors."""
    source, *descriptors = sys.argv[1:]
    control, handoff, ended = map(int, descriptors)
    return work(Source.from_json(json.loads(source)).build, control, handoff, ended)


if __name__ == "__main__":
    leave(main())
