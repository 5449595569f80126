"""How a process of the gate ends."""

import contextlib
import logging
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process, without what Python does to its own insides at the end.

    Threads of a native client library (tikv-client's) may still hand over what nobody waits for. One that does so while the
    interpreter is taken apart aborts the process ("FATAL: exception not rethrown", signal 6), after all was done well.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    logging.shutdown()
    os._exit(code)
