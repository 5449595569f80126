"""The lane's hot paths in C (kvgate/lane/_native.c), where they were built; Python's do the same where they were not.

``KVGATE_NATIVE=0`` has the gate run without them. INFO tells by ``lane:native`` or ``lane:python`` which ones run.
"""

import os
from typing import Final

from kvgate.errors import ProtocolError
from kvgate.lane.client import Client
from kvgate.lane.slots import Expired, Part, PendingRun, Slot, Split
from kvgate.lane.upstream import State, Upstream
from kvgate.metrics.ledger import Account
from kvgate.policy.compiled import NO_COLON, Route, Toll
from kvgate.wire.measure import Measurer, measure
from kvgate.wire.request import RequestScanner

try:
    from kvgate.lane import _native
except ImportError:
    _native = None  # type: ignore[assignment]  # BUILT says so; nobody uses it then

paths = _native
BUILT: Final = paths is not None
"""Whether the C paths are there; a machine without a compiler installs the gate without them."""
WANTED = BUILT and os.environ.get("KVGATE_NATIVE", "1") != "0"

if BUILT:
    paths.bind(
        Client, Upstream, Slot, Expired, Account, Route, Toll, RequestScanner, State.UP, ProtocolError, measure, NO_COLON,
        Part, Split, Measurer, PendingRun
    )  # fmt: skip
