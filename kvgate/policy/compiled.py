"""Compiled policy: what the lane may do for one user in one namespace without asking anybody.

It is made off the lane when a command is seen for the first time, and thrown away whole when the configuration changes.
"""

from collections.abc import Callable, Sequence
from typing import Any

NO_COLON = b":"
"""Stands for the text before the first ":" of keys that have none; no such text can be equal to it."""
MOST_ARGUMENTS = 998
"""Arguments after the key up to which the number of all arguments has three digits, and a request's name begins within the
first five bytes behind ``*n\\r\\n``: where the lane looks for its end."""
HEADS_LIMIT = 4096
"""Spellings kept per user and backend: 240 commands in a few cases and lengths; beyond that the memory starts anew."""


class Route:
    """What a user's commands on keys of one namespace meet: limits, commands, and the way from a key to its shard.

    `plans` maps the beginning of a request up to its name (``*3\\r\\n$3\\r\\nSET``) to ``arguments after the key << 1 |
    readonly``. Only commands stand in it that were seen, allowed, of right arity, and whose one key is their first
    argument; so that one lookup answers every question about them.
    """

    __slots__ = ("max_key", "namespace", "plans", "quick", "shards", "single", "slot_of", "slots")

    def __init__(
        self,
        namespace: Any,
        plans: dict[bytes, int],
        *,
        max_key: int,
        max_value: int,
        shards: Sequence[Any],
        slots: Sequence[int],
        slot_of: Callable[[bytes], int],
    ) -> None:
        """`shards` are the lane's; `slots` maps a slot to an index into them; sizes are in bytes."""
        self.namespace = namespace
        self.plans = plans
        self.max_key = max_key
        self.quick = max_value  # a whole request up to this length has no value over the limit
        self.shards = shards
        self.single = shards[0] if len(shards) == 1 else None
        self.slots = slots
        self.slot_of = slot_of

    def learn(self, head: bytes, more: int, *, readonly: bool) -> None:
        """Let the lane take requests that begin with `head` and have `more` arguments after their key.

        A `head` without the name (``*1000``, what stands before the first ``\\r\\n$`` behind byte 5) would let every
        command of that many arguments pass: it is not learned.
        """
        if not 0 <= more < MOST_ARGUMENTS:
            return
        if len(self.plans) >= HEADS_LIMIT:
            self.plans.clear()
        self.plans[head] = more << 1 | readonly
