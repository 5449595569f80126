"""A sample of the keys of a database: those that SCAN finds first, with what each is; never a value.

SCAN of a Redis goes by hashes of the keys with a secret of the server's own, so what it finds first is a fair sample.
"""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from kvgate.assess.link import Link, Unreachable
from kvgate.assess.pace import Pace
from kvgate.backend import INTERNAL_PREFIX
from kvgate.wire.reply import Error, Reply, Simple

PAGE: Final = 100
"""COUNT of a page."""
LENGTHS: Final = {
    "string": b"STRLEN",
    "hash": b"HLEN",
    "list": b"LLEN",
    "set": b"SCARD",
    "zset": b"ZCARD",
    "stream": b"XLEN",
    "exstrtype": b"",
    "tairhash-": b"EXHLEN",
}
"""Type as TYPE answers → the command that tells the bytes of a string, the elements of another; empty: there is none."""

Told = Callable[[str, int, int], None]
"""Progress, as `kvgate.backend.Progress`."""


@attrs.frozen(slots=True)
class Key:
    """One key of the sample. None: it could not be read."""

    name: bytes
    kind: str | None
    """As TYPE answers."""
    encoding: str | None
    ttl: int | None
    """Milliseconds; −1: it does not expire."""
    memory: int | None
    """Bytes of it all in the server."""
    length: int | None
    """Bytes of a string, elements of another."""


@attrs.frozen(slots=True)
class Sample:
    """What was seen of one database."""

    database: int
    size: int | None
    """Keys that it has; None: it did not tell."""
    keys: Sequence[Key]
    whole: bool
    """Whether that is every key, so that numbers are exact."""
    fair: bool
    """Whether SCAN's first keys stand for all: not so where like keys come together."""
    stopped: str = ""
    """Why it ended before there were enough: ``time``, ``interrupted``, or the store's words."""


class Sampler:
    """Takes samples over one connection, paced. What is refused is written into `unread` and not asked again."""

    def __init__(self, link: Link, pace: Pace, unread: dict[str, str], *, fair: bool, told: Told) -> None:
        """See `Sample.fair`."""
        self._link = link
        self._pace = pace
        self._unread = unread
        self._fair = fair
        self._told = told
        self.private_keys = 0
        """Keys of the sample that the user may not read."""

    def sample(self, database: int, most: int, seconds: float) -> Sample:
        """Up to `most` keys, for about so many seconds; those seen so far when the store goes away.

        Raises:
            Unreachable: the store does not answer, and no key was seen.
        """
        if (refused := self._link.select(database)) is not None:
            self._unread.setdefault("SELECT", _text(refused))
            return Sample(database, None, (), whole=False, fair=self._fair, stopped=_text(refused))
        size = self._size()
        keys: list[Key] = []
        seen: set[bytes] = set()
        cursor, stopped, until = b"0", "", self._pace.clock() + seconds
        try:
            while not stopped:
                page = self._page(cursor)
                if isinstance(page, str):
                    self._unread.setdefault("SCAN", page)
                    stopped = page
                    break
                cursor, names = page
                fresh = [name for name in dict.fromkeys(names) if name not in seen and not name.startswith(INTERNAL_PREFIX)]
                fresh = fresh[: most - len(seen)]
                seen.update(fresh)
                step = max(1, self._pace.portion // 5)
                for start in range(0, len(fresh), step):
                    keys += self._examine(fresh[start : start + step])
                    self._told(f"keys of database {database}", len(keys), min(most, size or most))
                    if self._pace.clock() > until:
                        stopped = "time"
                        break
                if stopped or cursor == b"0" or len(seen) >= most:
                    break
                if self._pace.clock() > until:  # also where pages are empty
                    stopped = "time"
        except KeyboardInterrupt:
            self._link.close()
            stopped = "interrupted"
        except Unreachable as error:
            if not keys:
                raise
            stopped = str(error)
        whole = cursor == b"0" and not stopped and (len(seen) < most or size == len(seen))
        return Sample(database, size, keys, whole=whole, fair=self._fair, stopped=stopped)

    def _size(self) -> int | None:
        began = self._pace.clock()
        reply = self._link.one(b"DBSIZE")
        self._pace.after(1, began)
        if isinstance(reply, int):
            return reply
        self._unread.setdefault("DBSIZE", _text(reply))
        return None

    def _page(self, cursor: bytes) -> tuple[bytes, list[bytes]] | str:
        """The next cursor and the names, or why there are none."""
        began = self._pace.clock()
        reply = self._link.one(b"SCAN", cursor, b"COUNT", b"%d" % PAGE)
        self._pace.after(1, began)
        if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes) and isinstance(reply[1], list):
            return reply[0], [name for name in reply[1] if isinstance(name, bytes)]
        return _text(reply)

    def _examine(self, names: Sequence[bytes]) -> list[Key]:
        """What the keys are; those that are gone meanwhile are left out."""
        kinds = [
            reply.text.decode("utf-8", "replace") if isinstance(reply, Simple) else None
            for reply in self._about(names, b"TYPE")
        ]
        kept = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind != "none"]
        names = [name for name, _ in kept]
        ttls = self._about(names, b"PTTL")
        encodings = self._about(names, b"OBJECT", b"ENCODING")
        memories = self._about(names, b"MEMORY", b"USAGE")
        lengths: dict[bytes, Reply] = {}
        for kind in {kind for _, kind in kept if kind and LENGTHS.get(kind)}:
            chosen = [name for name, other in kept if other == kind]
            lengths |= dict(zip(chosen, self._about(chosen, LENGTHS[kind or ""]), strict=True))
        return [
            Key(name, kind, _word(encoding), _int(ttl), _int(memory), _int(lengths.get(name)))
            for (name, kind), ttl, encoding, memory in zip(kept, ttls, encodings, memories, strict=True)
            if ttl != -2
        ]

    def _about(self, names: Sequence[bytes], *command: bytes) -> list[Reply]:
        """One command on each key; None where it is not answered."""
        what = b" ".join(command).decode()
        if not names or what in self._unread:
            return [None] * len(names)
        began = self._pace.clock()
        replies = self._link.ask([[*command, name] for name in names])
        self._pace.after(len(names), began)
        for reply in replies:
            if isinstance(reply, Error):
                if _is_about_the_command(reply):
                    self._unread.setdefault(what, _text(reply))
                elif reply.text.startswith(b"NOPERM"):
                    self.private_keys += command == (b"TYPE",)
        return [None if isinstance(reply, Error) else reply for reply in replies]


def _is_about_the_command(error: Error) -> bool:
    """Whether it would be refused for every key: unknown, or by an ACL (the words of Redis 6.0 to 8, and of Valkey); not what
    is said of one key that is another user's, of another type or node by now, or gone."""
    if error.text.startswith(b"NOPERM"):
        return b"to run" in error.text
    return error.text.startswith(b"ERR") and b"no such key" not in error.text


def _text(reply: Reply) -> str:
    return reply.text.decode("utf-8", "replace") if isinstance(reply, Error) else "it answers something else"


def _int(reply: Reply) -> int | None:
    return reply if isinstance(reply, int) else None


def _word(reply: Reply) -> str | None:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else None


def take(sampler: Sampler, databases: Sequence[int], sizes: dict[int, int], most: int, seconds: float) -> list[Sample]:
    """Samples of the databases, which share keys and time by their sizes, none with less than a hundredth.

    Raises:
        Unreachable: the store does not answer, and no key was seen.
    """
    total = sum(sizes.get(number, 0) for number in databases)
    found: list[Sample] = []
    for number in databases:
        share = max(sizes.get(number, 0) / total, 0.01) if total and len(databases) > 1 else 1.0
        try:
            found.append(sampler.sample(number, max(1, round(most * share)), seconds * share))
        except Unreachable:
            if not found:
                raise
            break
        if found[-1].stopped == "interrupted":
            break
    return found
