"""docs/commands.md, made from the command table: ``python -m kvgate.commands.docs > docs/commands.md``."""

import sys
from collections.abc import Iterator
from typing import Final

from kvgate.commands.spec import Action, CommandSpec, Merge
from kvgate.commands.table import CAPABILITIES, every_command

GROUPS: Final = {
    "string": "Strings",
    "bitmap": "Bits in strings",
    "hyperloglog": "HyperLogLogs",
    "hash": "Hashes",
    "list": "Lists",
    "set": "Sets",
    "sorted-set": "Sorted sets",
    "geo": "Places",
    "stream": "Streams",
    "conditional": "Conditional writes on strings",
    "exstring": "Versioned strings",
    "exhash": "Versioned hashes",
    "generic": "Keys of any type",
    "transactions": "Transactions",
    "scripting": "Scripts and functions",
    "pubsub": "Channels",
    "connection": "The connection",
    "server": "The server",
    "cluster": "Redis Cluster",
    "gate": "The gate's own",
}

_HEAD = """\
# Commands

<!-- Generated from kvgate/commands/table_*.py by `python -m kvgate.commands.docs > docs/commands.md`.
     A test fails when it is stale. -->

Every command of Redis 7.0, those of the modules TairString and TairHash, and what the gate does with it on a store that takes
commands as they are (Redis, KvRocks):

| action | means |
|---|---|
| forward | the bytes go to the shard of its keys, on a connection that clients share |
| split | cut by shard, run side by side and merged as the next column says; forwarded whole where one shard has all keys |
| own connection | it waits, or changes the connection: it runs on a connection to the store of this client alone |
| gate | the gate answers it itself, or asks the stores in its own words |
| refuse | never sent on; the note says why, to the client too |

*Arity* is counted as Redis counts it: the name included, −n means at least n. Commands that are neither split nor
filtered need all their keys on one shard, keys hidden in options included (STORE, and the patterns of SORT's BY and GET).

## Capabilities

A backend lists the capabilities it has, and serves the commands that ask for them; `kvgate commands --backend TYPE` shows the
result. A capability is mostly the type of the data. A backend may also list one command by its upper-case name (`GET`,
`XGROUP|CREATE`; a container's name stands for all its subcommands), and take one out again with a minus (`-LCS`). One that
cannot run Lua may list scripts that it knows by their SHA-1 (`EVALSHA|C3F8…`, see [locks.md](locks.md)).

| capability | stands for |
|---|---|
"""


def render() -> str:
    """The whole document."""
    return _HEAD + "".join(_lines())


def _lines() -> Iterator[str]:
    for word, meaning in CAPABILITIES.items():
        yield f"| {word} | {meaning} |\n"
    for group, heading in GROUPS.items():
        yield f"\n## {heading}\n\n"
        yield "| command | arity | action | merge | capability | what it does | note |\n|---|---|---|---|---|---|---|\n"
        for spec in every_command():
            if spec.group == group and _is_shown(spec):
                yield _row(spec)


def _is_shown(spec: CommandSpec) -> bool:
    """Containers are not commands by themselves, COMMAND aside."""
    return not spec.subcommands or spec.arity == -1


def _row(spec: CommandSpec) -> str:
    merge = "" if spec.merge is Merge.NONE else spec.merge.value
    name = spec.name.replace("|", " ")
    note = spec.why
    if spec.action is Action.REFUSE and note.startswith("ERR "):
        note = f"answered as Redis does: `{note}`"
    arity = str(spec.arity).replace("-", "−")
    return f"| `{name}` | {arity} | {spec.action.value} | {merge} | {spec.capability} | {spec.summary} | {note} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
