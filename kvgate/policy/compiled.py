"""Compiled policy: what the lane may do for one user in one namespace without asking anybody.

It is made off the lane when a command is seen for the first time, and thrown away whole when the configuration changes.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from kvgate.commands.spec import Merge

NO_COLON = b":"
"""Stands for the text before the first ":" of keys that have none; no such text can be equal to it."""
NOTHING: tuple[()] = ()
"""For ``bytes.startswith``: no bytes begin so, whatever a client may send."""
MOST_ARGUMENTS = 998
"""Arguments after the key up to which the number of all arguments has three digits, and a request's name begins within the
first five bytes behind ``*n\\r\\n``: where the lane looks for its end."""
LOOK = 2
"""In a plan: a request that has the word IFEQ does not take the short way."""
IN_ORDER, SUM, ALL_OK = 4, 8, 12
"""In a plan: every argument is a key, in `ALL_OK` every other one; the command is cut by the stores of its keys, and the
replies are merged so (kvgate.commands.spec.Merge)."""
MERGE = 12
"""The bits of these."""
MORE = 4
"""The number of arguments after the first key stands in a plan above so many bits."""
MERGES: Final = MappingProxyType({Merge.NONE: 0, Merge.IN_ORDER: IN_ORDER, Merge.SUM: SUM, Merge.ALL_OK: ALL_OK})
HEADS_LIMIT = 4096
"""Spellings kept per user and backend: 240 commands in a few cases and lengths; beyond that the memory starts anew."""


RunOf = Callable[[Any, Any, list[bytes], int, int, float, Any, int], None]
"""``run(client, spec, words, count, size, now, account, rest)``: `count` requests of one kind that a client sent one after the
other, `size` bytes in all; `words` are their arguments without the names, all in one list, which is the function's to keep.
`rest`: bytes that follow, of those that the lane looks at with them."""


class Toll:
    """Commands and bytes that a user's commands of one class in one namespace may take before the gate is asked again. The
    lane takes from it, run by run, also a little more than there is; what is missing is owed."""

    __slots__ = ("bytes", "commands")

    def __init__(self, commands: int = 0, size: int = 0) -> None:
        """`size` in bytes."""
        self.commands = commands
        self.bytes = size


def in_pieces(client: Any, spec: Any, args: list[bytes], frame: bytes, now: float, account: Any) -> None:
    """Stands as a route's `local` where keys get a prefix (kvgate.commands.home) and nothing else is special: such requests
    are passed on, in pieces. Nobody calls it."""
    raise NotImplementedError


class Route:
    """What a user's commands on keys of one namespace meet: limits, commands, and the way from a key to its shard.

    `plans` maps the beginning of a request up to its name (``*3\\r\\n$3\\r\\nSET``) to ``arguments after the first key <<
    MORE | merge | look | readonly``. Only commands stand in it that were seen, allowed, of right arity, and whose one key is
    their first argument, or whose keys are all or every other one; so that one lookup answers every question about them.
    """

    __slots__ = (
        "accounts",
        "is_crc32",
        "local",
        "max_key",
        "namespace",
        "plans",
        "quick",
        "runs",
        "slot_of",
        "specs",
        "tables",
        "tolls",
    )

    def __init__(
        self,
        namespace: Any,
        plans: dict[bytes, int],
        accounts: Mapping[bytes, Any],
        *,
        max_key: int,
        max_value: int,
        tables: Sequence[Sequence[Any]],
        slot_of: Callable[[bytes], int],
        is_crc32: bool = False,
        local: Callable[[Any, Any, list[bytes], bytes, float, Any], None] | None = None,
    ) -> None:
        """`accounts` has the kvgate.metrics.ledger.Account of every request's beginning. `tables` give the upstream of each
        slot, one table for each line (kvgate.lane.client.Client.line); a table of one needs no hash. `slot_of` takes a whole
        key; `is_crc32` says that it is zlib's, modulo the table's length, for keys without a tag. `local` serves commands
        whose bytes are not passed on: ``local(client, spec, args, frame, now, account)``; a backend that executes them all
        has no tables. Sizes are in bytes."""
        self.namespace = namespace
        self.plans = plans
        self.accounts = accounts
        self.max_key = max_key
        self.quick = max_value  # a whole request up to this length has no value over the limit
        self.tables = tables
        self.slot_of = slot_of
        self.is_crc32 = is_crc32
        self.local = local
        self.tolls: tuple[Toll | None, Toll | None] | None = None
        """What writes and reads are paid from; None: nothing limits them."""
        self.specs: dict[bytes, Any] = {}  # of `local`: how a request begins → its command; another namespace has its own
        self.runs: dict[bytes, RunOf] = {}
        """Of `specs`: those of which one call takes many that follow one another."""

    def learn(
        self,
        head: bytes,
        more: int,
        *,
        readonly: bool,
        spec: Any = None,
        look: bool = False,
        merge: Merge = Merge.NONE,
        run: RunOf | None = None,
    ) -> None:
        """Let the lane take requests that begin with `head` and have `more` arguments after their first key. With a `spec`
        they are the route's `local`'s; `look`: not those with the word IFEQ; `merge`: they have several keys, all of them of
        this route. `run` takes several at once, in `local`'s place.

        A `head` without the name (``*1000``, what stands before the first ``\\r\\n$`` behind byte 5) would let every
        command of that many arguments pass: it is not learned.
        """
        if not 0 <= more < MOST_ARGUMENTS or (merge is Merge.ALL_OK and more % 2 == 0):
            return  # a value is missing: the store will say so
        if len(self.plans) >= HEADS_LIMIT:
            self.plans.clear()
        self.plans[head] = more << MORE | MERGES[merge] | (LOOK if look else 0) | readonly
        if spec is not None:
            self.specs[head] = spec
        else:
            self.specs.pop(head, None)
        if spec is not None and run is not None:
            self.runs[head] = run
        else:
            self.runs.pop(head, None)
