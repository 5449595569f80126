"""Every ``… HELP`` that the gate answers: Redis' layout, with the summaries of the command table."""

from typing import Final

from kvgate.admin.command_docs import help_reply
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import TABLE
from kvgate.lane.client import Client
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import Raw, encode


def _answer(container: CommandSpec) -> Answer:
    raw = encode(help_reply(container))  # the same in RESP3

    def answer(site: Site, client: Client, args: list[bytes], now: float) -> Raw:
        del site, client, args, now
        return raw

    return answer


ANSWERS: Final[dict[str, Answer]] = {
    f"{container.name}|HELP": _answer(container)
    for container in TABLE.values()
    if b"HELP" in container.subcommands and container.subcommands[b"HELP"].action is Action.GATE
}
