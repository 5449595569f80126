"""What is said about one command: the columns of the command table."""

import enum
from collections.abc import Mapping

import attrs


class Action(enum.Enum):
    """What the gate does with a command whose keys lie on a pass-through store."""

    FORWARD = "forward"
    """Its bytes go to the shard of its keys, on the connection that clients share."""
    SPLIT = "split"
    """Cut by shard, run side by side, merged by the row's `Merge`; forwarded whole where one shard has all keys."""
    OWN = "own connection"
    """It blocks, or changes the connection's state: it runs on an upstream connection of this client alone."""
    GATE = "gate"
    """The gate answers it itself, or asks the stores in its own words."""
    REFUSE = "refuse"
    """Never sent on; the row says why."""


class Merge(enum.Enum):
    """How the parts of a split command become one reply."""

    NONE = "none"
    IN_ORDER = "in order"
    """Arrays, put back in the order of the keys (MGET)."""
    SUM = "sum"
    """Integers are added (DEL, UNLINK, EXISTS, TOUCH)."""
    ALL_OK = "all ok"
    """One OK, or the first error (MSET)."""


@attrs.frozen(slots=True)
class Keys:
    """One key specification, as in Redis' ``COMMAND`` reply (key-specs): where keys are and what is done to them.

    `begin` is an index (``index`` > 0) or a keyword to search (``keyword``, from argument `start`, negative from the
    end); then either a range (`last` relative to the first key, negative from the end of the arguments; `step`; `limit`)
    or a number of keys given in an argument (`keynum`: its offset from begin; `first`: the first key's offset from
    begin). `unknown` is Redis' own flag for keys that only the command's own code can find.
    """

    index: int = 0
    keyword: bytes = b""
    start: int = 0
    last: int = 0
    step: int = 1
    limit: int = 0
    keynum: int = -1
    first: int = 0
    unknown: bool = False
    flags: frozenset[str] = frozenset()


@attrs.frozen(slots=True, eq=False)
class CommandSpec:
    """One row of the command table. `name` is upper case; a subcommand's is ``CONTAINER|SUB``.

    There is one object for each row, so it is compared and hashed by identity and may be a key of a dict.
    """

    name: str
    arity: int
    """As Redis counts it: the command's name included; −n means at least n."""
    flags: frozenset[str]
    """Redis' flags: ``write readonly denyoom admin noscript blocking loading stale fast pubsub …``."""
    categories: frozenset[str]
    """ACL categories with ``@``: ``@read @string @fast``."""
    keys: tuple[Keys, ...]
    action: Action
    merge: Merge
    capability: str
    """The word that a backend lists when it can do this command: one of `kvgate.commands.table.CAPABILITIES`."""
    group: str
    since: str
    summary: str
    why: str = ""
    """Why it is refused or treated unlike Redis: shown to clients, and to readers of docs/commands.md."""
    subcommands: "Mapping[bytes, CommandSpec]" = attrs.field(factory=dict)
    """By upper-case name; empty when the command is no container."""

    @property
    def lower(self) -> str:
        """The name as Redis writes it in replies and errors: ``client|setname``."""
        return self.name.lower()

    @property
    def readonly(self) -> bool:
        """Whether sending it twice changes nothing (Redis' own flag)."""
        return "readonly" in self.flags

    @property
    def write(self) -> bool:
        """Whether it may change data (Redis' own flag)."""
        return "write" in self.flags
