"""``python -m kvgate_compat URL …`` is `kvgate compat URL …`."""

import sys

from kvgate.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["compat", *sys.argv[1:]]))
