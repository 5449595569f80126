"""One comparison of two servers from start to end, as `kvgate compat` and the project's own long search run it."""

import contextlib
import gc
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import FrameType

import attrs

from kvgate_compat.connection import Connection, Ended, without_password
from kvgate_compat.differences import KNOWN
from kvgate_compat.holdings import holdings
from kvgate_compat.keyspace import Keyspace
from kvgate_compat.known import Known
from kvgate_compat.outcome import Outcome, Searched, Server, count
from kvgate_compat.pair import Difference, Pair
from kvgate_compat.progress import Progress
from kvgate_compat.reference import NoReference, reference
from kvgate_compat.search import plan, search, speaks_resp3

_PROBE = "kvgate-compat-probe"
_NAMES = ("_version", "server_name")
_NOT_ITS_OWN = ("gcc_version",)


class Refused(Exception):  # noqa: N818 - said to people: the comparison does not begin
    """The servers cannot be compared as they are; the text says why, and is not about what they answer to commands."""


@attrs.frozen(slots=True)
class Wanted:
    """How long and where is searched."""

    examples: int = 200
    """In each protocol."""
    steps: int = 30
    """Most steps of an example."""
    seed: int = 0
    most: int = 20
    """Differences in each protocol after which it ends."""
    only: str = ""
    """A regular expression that names of commands must match whole; any case."""
    protocols: tuple[int, ...] = (2, 3)
    space: Keyspace | None = None
    """How the first server is cut into parts."""
    known: Sequence[Known] | None = None
    """Differences that are only counted. None: those of the gate when the first server is one, else none."""


def compare(url: str, against: str, wanted: Wanted, progress: Progress) -> Outcome:
    """Search for differences of `url` from `against` (empty: a redis-server of its own), and tell them as they are found.

    Both servers must be empty: **they are emptied again and again**, and are empty at the end. After a KeyboardInterrupt
    the outcome is what there is so far, `interrupted` and not `complete`; SIGTERM is as Ctrl-C meanwhile. To be called by the
    main thread.

    Raises:
        Refused: a server is not there, has keys, refuses what the search needs; both are one; nothing is left to be tried.
    """
    with ExitStack() as stack:
        stopped = stack.enter_context(interruptible())
        if not against:
            try:
                against = stack.enter_context(reference())
            except NoReference as error:
                raise Refused(str(error)) from None
        outcome = _prepared(url, against, wanted)
        try:
            progress.say(f"{outcome.servers[0]}\nagainst {outcome.servers[1]}: {count(len(outcome.plan.names), 'command')}")
            _search(url, against, wanted, outcome, progress, stopped)
        except KeyboardInterrupt:
            outcome.interrupted = True
            outcome.notes.append("interrupted")
        except (OSError, Ended) as error:
            outcome.lost = True
            outcome.notes.append(f"a server is no longer there: {error}")
        finally:
            progress.clear()
            with contextlib.suppress(OSError, Ended):  # what went away, or refuses, is said already
                _empty(url, against)
    return outcome


def _prepared(url: str, against: str, wanted: Wanted) -> Outcome:
    """What is known before the first example. Raises Refused."""
    notes, protocols = [], list(wanted.protocols)
    servers = []
    for option, each in (("URL", url), ("--against", against)):
        try:
            shown = without_password(each)
        except ValueError as error:
            raise Refused(f"{option}: {error}") from None
        try:
            if what := holdings(each):
                raise Refused(f"{shown} has {what}, and would be emptied: give an empty server")
            servers.append(Server(shown, _info(each)))
            for proto in wanted.protocols:
                if proto == 3 and not speaks_resp3(each):
                    notes.append(f"RESP3 was not tried: {shown} does not speak it")
                    protocols = [one for one in protocols if one != 3]
        except (OSError, Ended) as error:
            raise Refused(f"{shown}: {error}") from None
    if not protocols:
        raise Refused(notes[0])
    try:
        _check_that_they_are_two(url, against)
        planned = plan(url, against, wanted.only, wanted.space)
        _empty(url, against)
    except (OSError, Ended) as error:
        raise Refused(str(error)) from None
    if not planned.names:
        raise Refused(
            "no command is left that both servers have, that is generated" + (" and asked for" if wanted.only else "")
        )
    first, second = servers
    outcome = Outcome((first, second), planned, wanted.seed, wanted.examples, wanted.steps, notes=notes)
    outcome.searched = [Searched(proto) for proto in protocols]
    return outcome


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM raise KeyboardInterrupt, but in a callback of the garbage collector, of which hypothesis has one:
    Python would print what is raised there, and go on. So the function that it gives says whether one has come, to be asked
    now and then."""
    came = False

    def interrupt(_number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        if not _of_the_collector(frame):
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _of_the_collector(frame: FrameType | None) -> bool:
    """Whether a callback of the garbage collector is running."""
    codes = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def _search(
    url: str, against: str, wanted: Wanted, outcome: Outcome, progress: Progress, stopped: Callable[[], bool]
) -> None:
    for searched in outcome.searched:

        def tell(difference: Difference, searched: Searched = searched) -> None:
            searched.found.append(difference)
            progress.say(f"RESP{searched.proto} {difference}")

        def look(pair: Pair, searched: Searched = searched) -> None:
            if stopped():
                raise KeyboardInterrupt
            shrinking = pair.tally is not searched.tally
            progress.look(searched.proto, wanted.examples, searched.tally, len(searched.found), shrinking=shrinking)

        began = time.monotonic()
        try:
            search(
                url,
                against,
                outcome.plan,
                searched.tally,
                proto=searched.proto,
                examples=wanted.examples,
                first_seed=wanted.seed + searched.proto * 10**9,  # other examples for each protocol
                steps=wanted.steps,
                most=wanted.most,
                known=_known(outcome.servers[0]) if wanted.known is None else wanted.known,
                tell=tell,
                progress=look,
            )
        finally:
            searched.seconds = time.monotonic() - began
        if len(searched.found) >= wanted.most:
            outcome.notes.append(f"RESP{searched.proto}: ended after {count(wanted.most, 'difference')} (--most)")
    outcome.complete = all(len(searched.found) < wanted.most for searched in outcome.searched)


def _known(server: Server) -> Sequence[Known]:
    return KNOWN if "kvgate_version" in server.info else ()


def _info(url: str) -> dict[str, str]:
    """Names and versions that the server says of itself; nothing when it has no INFO, or refuses it."""
    side = Connection(url)
    try:
        replies = side.pipeline([[b"INFO", b"server"], [b"INFO", b"gate"]])
    finally:
        side.close()
    text = "\n".join(reply.text.decode("utf-8", "replace") for reply in replies if reply.kind in b"$=")
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in lines if name.endswith(_NAMES) and name not in _NOT_ITS_OWN}


def _empty(*urls: str) -> None:
    """Leave nothing behind. Raises Ended, OSError."""
    for url in urls:
        side = Connection(url)
        try:
            side.expect_ok("FLUSHALL")
        finally:
            side.close()


def _check_that_they_are_two(url: str, against: str) -> None:
    """A write on one must not be seen on the other. Raises Refused, Ended, OSError."""
    sides: Sequence[Connection] = [Connection(url), Connection(against)]
    try:
        sides[0].expect_ok("SET", _PROBE, "v")
        seen = sides[1].expect_ok("EXISTS", _PROBE).text != b"0"
        sides[0].expect_ok("FLUSHALL")
    finally:
        for side in sides:
            side.close()
    if seen:
        raise Refused("the two are one: what is written on one is seen on the other")
