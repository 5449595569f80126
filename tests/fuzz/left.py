"""``python -m tests.fuzz.left SIDE``: plays programs of a side in rounds, in a process that does nothing else, and prints what
Python holds after each: its memory blocks, and the references to a few objects that all share."""

import gc
import json
import sys
from itertools import islice

from kvgate.lane.upstream import State
from tests.fuzz.compare import play
from tests.fuzz.seeds import kept, programs

ROUNDS = 3


def main(side: str) -> None:
    """Print a list of lists of numbers, one for each round."""
    chosen = [*islice(programs(side, 4), 0, None, 4), *kept(side)]
    counts = []
    for _ in range(ROUNDS):
        for data in chosen * 4:
            play(data, side, in_c=True)
        gc.collect()
        counts.append((sys.getallocatedblocks(), *map(sys.getrefcount, (None, True, False, b"", State.UP))))
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1])
