"""COMMAND and its subcommands, as far as the user may know of commands."""

from functools import lru_cache
from typing import Final

from kvgate.admin.command_docs import command_reply
from kvgate.admin.common import may_know, session_of, user_of
from kvgate.lane.client import Client
from kvgate.policy.rules import CommandRules
from kvgate.server.site import Answer, Site
from kvgate.wire.reply import Raw, Reply, encode


@lru_cache(maxsize=32)
def _whole(rules: CommandRules, words: tuple[bytes, ...], proto: int) -> Raw:
    """The long replies, which take milliseconds to make and which every redis-cli asks for; users mostly share their rules."""
    return encode(command_reply(words, may_know(rules)), proto)


def _command(site: Site, client: Client, args: list[bytes], now: float) -> Reply | Raw:
    del site, now
    rules = user_of(client).rules
    if len(args) <= 2:
        return _whole(rules, tuple(word.upper() for word in args), session_of(client).proto)
    return command_reply(args, may_know(rules))


NAMES: Final = ("", "|COUNT", "|DOCS", "|GETKEYS", "|GETKEYSANDFLAGS", "|INFO", "|LIST")
ANSWERS: Final[dict[str, Answer]] = dict.fromkeys((f"COMMAND{name}" for name in NAMES), _command)
