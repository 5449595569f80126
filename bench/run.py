"""What `make bench` runs: every measurement, written into docs/benchmarks.md; further options are added to the line."""

import sys

from bench.__main__ import main
from bench.peers import ROOT

if __name__ == "__main__":
    sys.exit(main(["all", "--write", str(ROOT / "docs" / "benchmarks.md"), *sys.argv[1:]]))
