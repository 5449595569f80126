"""Replaying dialogues of known differences: what a server answers to them."""

import re
from collections.abc import Sequence

from kvgate_compat.connection import Connection
from kvgate_compat.dialogue import words
from kvgate_compat.known import Line, told


def answers(url: str, lines: Sequence[Line]) -> list[str]:
    """What the emptied server answers to each line, as `told` writes it."""
    clients: dict[int, Connection] = {}
    try:
        for number in {1, *(line.client for line in lines)}:
            clients[number] = Connection(url)
        clients[1].expect_ok("FLUSHALL")
        return [told(clients[line.client].ask([_argument(clients[1], word) for word in words(line.text)])) for line in lines]
    finally:
        for client in clients.values():
            client.close()


def _argument(client: Connection, word: bytes) -> bytes:
    dumped = re.fullmatch(rb"\$DUMP\((.+)\)", word)
    return client.ask([b"DUMP", dumped[1]]).text if dumped else word
