"""The lane's state machine: which bytes go where, and whose turn it is. No sockets, no clocks, no tasks.

``feed(client, data, now)`` takes what a client sent, ``fed_by(upstream, data, now)`` what a store answered. Both append to
the ``out`` of clients and upstreams and put those on `Lane.touched_clients` and `Lane.touched_upstreams`; the driver sends.
Commands that need thought go up to the `Gate`, which answers by calling back: `reply`, `forward`, `ask`, `pending`, `alone`.

The order of replies is kept by two queues of slots (see kvgate.lane.slots). One client's commands reach one upstream in
order because a client keeps to one connection per shard, and because a command on any other path runs alone (`alone`).
"""

import logging
import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol
from zlib import crc32

from kvgate.errors import GateError, ProtocolError, in_doubt, try_again, upstream_refused
from kvgate.lane import native
from kvgate.lane.client import Client
from kvgate.lane.slots import Asked, Converted, Expired, Part, Pending, PendingRun, Quiet, QuietPending, Slot, Split
from kvgate.lane.split import LENGTHS, Cut, cut
from kvgate.lane.upstream import State, Upstream
from kvgate.metrics.ledger import Account
from kvgate.policy.compiled import LOOK, MERGE, MORE, NO_COLON, NOTHING, Route, RunOf, Toll, in_pieces
from kvgate.wire.measure import Measurer, measure
from kvgate.wire.request import RequestScanner, encode_request, split_request

log = logging.getLogger("kvgate.lane")

BUFFERED_REPLY = 1024 * 1024
"""Bytes up to which a reply is held until it is whole; a longer one is passed on as it comes."""

STORE_ERRORS: Final = (b"-NOAUTH", b"-NOPERM", b"-READONLY", b"-MASTERDOWN")
"""What a store says to the gate, not to the client."""

ANSWERING: Final = 0.1
"""Share of a command's budget that is kept for the answer: nothing that a store refused is sent anew within it. A write that
is sent and not answered at the budget's end would be told as in doubt, though its client might simply have sent it again."""

LONGEST_HEAD: Final = 64
"""Bytes within which the name of a command that the lane takes has to end, so that looking for it is not looking through
everything that came with it."""
MOST_ABOVE: Final = 128
"""Requests of one portion that are asked about above the lane, or executed there, before others have their turn: one costs
ten times what a forwarded one does, and a portion may hold thousands (``PING``)."""
PORTION: Final = 64 * 1024
"""Bytes to which small portions that have to wait are joined: each is looked at anew after each command that runs alone."""
TOGETHER: Final = 0.01
"""Seconds within which they came: a command that waits for its turn should be known by its age."""

NEVER: Final = 1 << 62

FOUR_LETTERS: Final = b"\r\n$4\r\n"
IFEQ: Final = re.compile(rb"\r\n\$4\r\n[iI][fF][eE][qQ]\r\n")
"""What a request of a plan with LOOK is searched for; the first finds quickly that there is nothing."""

_DOLLAR = 0x24
_MINUS, _PUSH, _NULL = 0x2D, 0x3E, 0x5F
_ONE_LINE = (0x2B, 0x3A)  # simple strings and integers


class Gate(Protocol):
    """What stands above the lane and is asked about every command that the lane cannot take by itself."""

    def request(self, client: Client, args: list[bytes], frame: bytes, now: float) -> None:
        """Serve one request: `frame` is its canonical bytes. Called in the client's order; never while it is stalled."""

    def run_batch(self, client: Client) -> None:
        """All that came at once is scanned: run what was collected in ``client.batch``."""

    def too_large(self, client: Client, args: list[bytes], size: int, now: float) -> None:
        """An argument of `size` bytes was over every limit, and was dropped."""

    def left(self, client: Client) -> None:
        """The client is gone: end what runs for it."""

    def half_closed(self, client: Client) -> None:
        """The client will send no more: close it at once if it waits for others' doing."""

    def slow(self, up: Upstream, slot: Slot, replies: int, now: float) -> None:
        """The last `replies` replies to a slot took longer than `Lane.slow_after`, or are given up. Its `want` was not
        lowered yet."""

    def sampled(self, client: Client, account: Account, args: list[bytes]) -> Account | None:
        """One command out of `Lane.sampling` is being forwarded. With an account it becomes a slot of its own, counted there
        instead."""


class Lane:
    """All clients and upstreams of one process, without their sockets."""

    def __init__(self, gate: Gate, *, budget: float = 1.5, silence: float = 5.0) -> None:
        """`budget`: seconds a forwarded command may take; `silence`: seconds after which a mute upstream is closed."""
        self.gate = gate
        self.in_c = native.WANTED  # whether kvgate.lane.native's hot paths run, or those here
        self._follow = native.paths.follow if self.in_c else Measurer.feed
        self.budget = budget
        self.silence = silence
        self.slow_after = math.inf  # seconds from a command's arrival to its reply's beyond which the gate is told
        self.sampling: Callable[[], int] | None = None
        """How many commands are passed over before the next one that the gate is shown; None: it is shown none."""
        self.unsampled = NEVER  # commands until then
        self.followed = False
        """Whether what the gate is shown may be counted elsewhere: then it goes by itself."""
        self.touched_clients: list[Client] = []
        self.touched_upstreams: list[Upstream] = []
        self.to_connect: list[Upstream] = []
        self.to_drop: list[tuple[Upstream, str]] = []  # connections that the driver shall close, `lost` follows
        self.resumable: deque[Client] = deque()  # whose queue ran empty while a command waited for that
        self.upstreams: set[Upstream] = set()  # that ever had work
        self.commands = 0  # forwarded in runs, for INFO
        self.retries = 0
        self.failures = 0  # replies that somebody could not take: each is a bug

    # ------------------------------------------------------------------ clients' bytes

    def feed(self, client: Client, data: bytes, now: float) -> None:
        """Take bytes of a client. What is no RESP is answered with Redis' text, and the client is then closed."""
        client.last_fed = now
        client.received += len(data)
        if client.stalled or client.backlog:
            _put_off(client, data, now)
            return
        client.arrived = now
        self._take(client, data, now)
        if client.backlog and not client.stalled:
            self._later(client)

    def _take(self, client: Client, data: bytes, now: float) -> None:
        try:
            if client.depth:
                data = self._within_depth(client, data, now)
            if data and self.in_c:
                native.paths.scan(self, client, data, now)
            elif data:
                self._scan(client, data, now)
        except ProtocolError as problem:
            self.refuse(client, problem)
        if client.batch:
            self.gate.run_batch(client)
        if client.depth and client.backlog and client.queue and not client.stalled:
            client.waiting = partial(self.done, client)

    def refuse(self, client: Client, problem: ProtocolError) -> None:
        """Answer what is no RESP; nothing behind it can be understood."""
        self.reply(client, GateError("ERR " + problem.text).reply)
        self.hang_up(client)

    def _within_depth(self, client: Client, data: bytes, now: float) -> bytes:
        """The beginning of `data` that has no more commands than may be in flight; the rest is set aside. Each command but
        the first follows a line's end, so it is enough to look for that: a value that looks alike only makes it shorter. The
        rest of a half-read request is taken here as it is: all of it may look so, line by line."""
        pos = 0
        if client.inflight < client.depth and not client.scanner.idle:
            pos = self._slow(client, data, 0, now)
        room = 0 if client.stalled else max(0, client.depth - client.inflight)
        if room and data.count(b"\n*", pos) < room:
            return data[pos:] if pos else data
        at = pos
        for _ in range(room):
            at = data.find(b"\n*", at) + 1
        self._set_aside(client, data, at)
        return data[pos:at]

    def _scan(self, client: Client, data: bytes, now: float) -> None:
        """Walk over whole requests: a run of commands for one upstream becomes one slot; what is unknown goes up.

        A request is taken here only if it is spelled exactly like one that was checked before (see
        kvgate.policy.compiled.Route); any doubt ends in `_slow`, which knows all the rules. Most requests begin as the one
        before them did, up to the ":" in their key: then one comparison stands for all that was looked up for that one.

        A client with a prefix (kvgate.commands.home) has one route. Its runs are no slices: `lead`, all that stands before the
        rest of a key with that prefix, takes the place of a request's beginning, and a run is joined of such pieces.

        A request with several keys becomes a part of a run where one store has them all, else it is cut.
        """
        pos, size = 0, len(data)
        find, startswith, lengths = data.find, data.startswith, LENGTHS
        run_up: Upstream | None = None
        run_account: Any = None
        run_toll: Toll | None = None
        run_start = run_count = 0
        if not client.scanner.idle:
            pos = self._slow(client, data, 0, now)
            if client.stalled:
                size = self._set_aside(client, data, pos)
        above = 0
        routes, line, prefix = client.routes, client.line, client.prefix
        pieces: Any = None  # of the run of a client with a prefix
        lead = b""
        begin: bytes | tuple[()] = NOTHING  # how the request before began, up to the ":" in its key
        value_begin: bytes | tuple[()] = NOTHING
        plan: int | None = None
        route: Route | None = None
        account: Any = None
        toll: Toll | None = None
        table: Sequence[Upstream] = ()
        skip = key_length = quick = value_step = 0
        local: Callable[[Client, Any, list[bytes], bytes, float, Any], None] | None = None
        spec: Any = None
        name = b""
        run: RunOf | None = None  # takes requests like this one, many at once
        words: list[bytes] = []  # of those that wait for it
        words_run: RunOf | None = None
        words_spec: Any = None
        words_account: Any = None
        words_count = words_size = 0
        while pos < size:
            if not startswith(begin, pos):
                begin, route, plan, toll, run = NOTHING, None, None, None, None
                name_end = find(b"\r\n$", pos + 5, pos + LONGEST_HEAD)
                key_start = find(b"\r\n", name_end + 3) + 2
                key_length = lengths.get(data[name_end + 3 : key_start - 2], -1)
                if key_length >= 0 and key_start > name_end > 0:  # what is not found leaves a position near the beginning
                    if prefix:
                        colon, route = key_start - 1, routes.get(prefix[:-1])  # any key of this length may follow
                    else:
                        colon = find(b":", key_start, key_start + key_length)
                        route = routes.get(data[key_start:colon] if colon >= 0 else NO_COLON)
                    if route is not None and key_length <= route.max_key:
                        head = data[pos:name_end]
                        plan = route.plans.get(head)
                        skip, quick = key_start - pos, route.quick
                        local = route.local or (in_pieces if prefix else None)
                        if local is None:
                            table = route.tables[line]
                        else:
                            spec, name = route.specs.get(head), data[find(b"\n", pos + 4) + 1 : name_end]
                            run = route.runs.get(head)
                            if prefix:
                                lead = b"%b\r\n$%d\r\n%b" % (head, key_length + len(prefix), prefix)
                            if spec is None and route.tables:  # one of those that are passed on
                                local, table = local if prefix else None, route.tables[line]
                            elif spec is None:
                                plan = None  # learned by another namespace of the backend: they share plans only
                        if plan is not None and route.tolls is not None:
                            toll = route.tolls[plan & 1]
                            if toll is not None and (toll.commands <= 0 or toll.bytes <= 0):
                                plan = None  # over a limit, or looked at anew: that is decided above
                        if plan is not None:
                            account = route.accounts[head]
                            if colon >= 0:  # a key without it says nothing of the next one
                                begin = data[pos : colon + 1]
            if plan is not None and route is not None:
                more = plan >> MORE
                end = key_end = pos + skip + key_length
                parts: Cut | None = None
                if plan & MERGE:
                    parts = cut(client, route, table, plan, data, pos, pos + skip)
                    more, end = 0, size if parts is None else parts.end - 2
                while more:
                    if startswith(value_begin, end):
                        end += value_step
                    elif startswith(b"\r\n$", end):
                        start = find(b"\r\n", end + 3) + 2
                        text = data[end + 3 : start - 2]
                        length = lengths.get(text)
                        if length is None or start < end:  # what is not found leaves a position near the beginning
                            if start < end or start - end > 14 or not text.isdigit() or text[0] == 0x30:
                                break
                            length = int(text)
                        value_begin, value_step = data[end:start], start - end + length
                        end = start + length
                    else:
                        break
                    more -= 1
                end += 2
                if (
                    not more
                    and end <= size
                    and end - pos <= quick
                    and data[end - 2 : end] == b"\r\n"
                    and not (plan & LOOK and find(FOUR_LETTERS, key_end, end) >= 0 and IFEQ.search(data, key_end, end))
                ):
                    if words_run is not None and (words_run is not run or words_account is not account):
                        words_run(client, words_spec, words, words_count, words_size, now, words_account, size - pos)
                        words_run = None
                        if client.stalled:
                            size = self._set_aside(client, data, pos)
                            continue
                    if parts is not None and len(parts.ups) > 1:
                        if run_up is not None:
                            frames = b"".join(pieces) if prefix else data[run_start:pos]
                            self.forward(client, run_up, frames, now, run_account, run_count, run_toll)
                            run_up = None
                            if toll is not None and (toll.commands <= 0 or toll.bytes <= 0):
                                begin = NOTHING
                                continue
                        if self.unsampled > 0 or self._show(client, account, parts.whole):
                            self.split(client, parts, plan, now, account, toll)
                            if toll is not None and (toll.commands <= 0 or toll.bytes <= 0):
                                begin = NOTHING
                            pos = end
                            above += 1
                            if above == MOST_ABOVE:
                                size = self._set_aside(client, data, pos)
                            continue
                    elif local is not None:
                        if spec is None:  # passed on in pieces
                            piece: tuple[bytes, ...] = (lead, data[pos + skip : end])
                            if parts is not None:
                                up, piece = parts.ups[0], (parts.request(0),)
                            elif len(table) == 1:
                                up = table[0]
                            else:
                                key = prefix + data[pos + skip : key_end]
                                plain = route.is_crc32 and b"{" not in key
                                up = table[crc32(key) % len(table) if plain else route.slot_of(key)]
                            if up is run_up and account is run_account and (toll is None or run_count < toll.commands):
                                run_count += 1
                                pieces += piece
                            else:
                                if run_up is not None:
                                    self.forward(client, run_up, b"".join(pieces), now, run_account, run_count, run_toll)
                                    if toll is not None and (toll.commands <= 0 or toll.bytes <= 0):
                                        begin, run_up = NOTHING, None
                                        continue
                                run_up, run_count, run_account, run_toll = up, 1, account, toll
                                pieces = [*piece]
                            pos = end
                            continue
                        if run_up is not None:
                            frames = b"".join(pieces) if prefix else data[run_start:pos]
                            self.forward(client, run_up, frames, now, run_account, run_count, run_toll)
                            run_up = None
                        frame = lead + data[pos + skip : end] if prefix else data[pos:end]
                        if toll is not None:
                            toll.commands -= 1
                            toll.bytes -= len(frame)
                            if toll.commands <= 0 or toll.bytes <= 0:
                                begin = NOTHING
                        args = split_request(frame) if plan >> MORE else [name, prefix + data[pos + skip : key_end]]
                        pos = end
                        above += 1
                        if run is not None:
                            if words_run is None:
                                words, words_run, words_spec, words_account = [], run, spec, account
                                words_count = words_size = 0
                            words += args[1:]
                            words_count += 1
                            words_size += len(frame)
                            if above < MOST_ABOVE:
                                continue
                            run(client, spec, words, words_count, words_size, now, account, size - pos)
                            words_run = None
                        else:
                            local(client, spec, args, frame, now, account)
                        if above == MOST_ABOVE or client.stalled:
                            size = self._set_aside(client, data, pos)
                        continue
                    else:
                        if parts is not None:
                            up = parts.ups[0]
                        elif len(table) == 1:
                            up = table[0]
                        else:
                            key = data[pos + skip : key_end]
                            plain = route.is_crc32 and b"{" not in key
                            up = table[crc32(key) % len(table) if plain else route.slot_of(key)]
                        if up is run_up and account is run_account and (toll is None or run_count < toll.commands):
                            run_count += 1
                        else:
                            if run_up is not None:
                                self.forward(client, run_up, data[run_start:pos], now, run_account, run_count, run_toll)
                                if toll is not None and (toll.commands <= 0 or toll.bytes <= 0):
                                    begin, run_up = NOTHING, None
                                    continue
                            run_up, run_start, run_count, run_account, run_toll = up, pos, 1, account, toll
                        pos = end
                        continue
            if run_up is not None:
                frames = b"".join(pieces) if prefix else data[run_start:pos]
                self.forward(client, run_up, frames, now, run_account, run_count, run_toll)
                run_up = None
            if words_run is not None:
                words_run(client, words_spec, words, words_count, words_size, now, words_account, size - pos)
                words_run = None
                if client.stalled:
                    size = self._set_aside(client, data, pos)
                    continue
            pos = self._slow(client, data, pos, now)
            above += 1
            if above == MOST_ABOVE or client.stalled or client.inflight >= client.depth > 0:  # inline: no line told of it
                size = self._set_aside(client, data, pos)
            routes, line, prefix = client.routes, client.line, client.prefix
            begin = NOTHING
        if run_up is not None:
            frames = b"".join(pieces) if prefix else data[run_start:pos]
            self.forward(client, run_up, frames, now, run_account, run_count, run_toll)
        if words_run is not None:
            words_run(client, words_spec, words, words_count, words_size, now, words_account, 0)

    @staticmethod
    def _set_aside(client: Client, data: bytes, pos: int) -> int:
        """What a client sent further waits, since it is stalled or had its share; the position where scanning ends."""
        if pos < len(data) and not client.hung_up:
            client.backlog.appendleft(data[pos:])  # before what came later
            client.backlog_since.appendleft(client.arrived)
            client.backlog_size += len(data) - pos
        return pos

    def _slow(self, client: Client, data: bytes, pos: int, now: float) -> int:
        """Take at most one request by the scanner that knows all of Redis' rules, and ask the gate about it; of a request that
        came in several portions the lane is asked first, since it may be as plain as those that came whole."""
        scanner = client.scanner
        fresh = scanner.idle
        end = scanner.feed(data, pos)
        args = scanner.args
        if args:
            if scanner.oversized:
                self.gate.too_large(client, args, scanner.oversized, now)
            elif fresh:
                frame = data[pos:end] if scanner.canonical else encode_request(args)
                self.gate.request(client, args, frame, now)
            elif self.in_c:
                native.paths.scan(self, client, encode_request(args), now)
            else:
                self._scan(client, encode_request(args), now)
        return end

    # ------------------------------------------------------------------ what the gate calls back

    def reply(self, client: Client, raw: bytes) -> None:
        """Answer the present command, behind all that are unanswered."""
        if client.queue:
            slot = self.pending(client, 0.0, len(raw))
            slot.fill(raw)
        else:
            client.out.append(raw)
            self.touch(client)

    def give(self, client: Client, account: Account, raw: bytes, count: int, misses: int, size: int, seconds: float) -> None:
        """Answer `count` commands of `size` bytes at once, by their replies, joined, which hold `misses` nulls and no errors;
        they took `seconds` and are counted in `account`."""
        if self.in_c:
            native.paths.give(self, client, account, raw, count, misses, size, seconds)
            return
        account.note(count, seconds, 0, misses, size, len(raw))
        self.reply(client, raw)

    def pending(self, client: Client, now: float, weight: int, *, quiet: bool = False) -> Pending:
        """A place in the client's queue for the present command of `weight` bytes; `fill` it later, then `settle`."""
        slot = (QuietPending if quiet else Pending)(client, now, weight)
        client.queue.append(slot)
        client.inflight += 1
        client.inflight_bytes += weight
        return slot

    def pending_run(self, client: Client, run: PendingRun) -> None:
        """As `pending`, for commands that are answered together; `answer` follows, or `fill` and `settle`."""
        client.queue.append(run)
        client.inflight += run.count
        client.inflight_bytes += run.weight

    def answer(self, run: PendingRun, raw: bytes, now: float) -> None:
        """Give a run's replies, joined, none of which is an error or a null: they are counted in its account, and written out
        when it is their turn. Those to a client that has left are counted only."""
        if self.in_c:
            native.paths.answer(self, run, raw, now)
            return
        if run.account is not None:
            run.account.note(run.count, now - run.started, 0, 0, run.weight, len(raw))
        if run.client is not None:
            run.fill(raw)
            self.settle(run.client)

    def settle(self, client: Client) -> None:
        """Write out what is answered at the head of the client's queue."""
        queue = client.queue
        while queue and (queue[0].parts or not queue[0].want):
            slot = queue[0]
            if slot.parts:
                client.held -= sum(map(len, slot.parts))
                if slot.emits:
                    client.out.extend(slot.parts)
                slot.parts.clear()
            if slot.want:
                break
            queue.popleft()
            if isinstance(slot, Pending):
                client.inflight -= slot.count
                client.inflight_bytes -= slot.weight
        self.touch(client)
        if not queue:
            self._ran_empty(client)

    def alone(self, client: Client, start: Callable[[], None]) -> None:
        """Call `start` once everything before is answered; from now until `done` nothing else of this client starts."""
        if client.queue:
            client.waiting = start
        else:
            client.busy = True
            start()

    def done(self, client: Client, raw: bytes = b"") -> None:
        """The command that ran alone is answered with `raw`; the client goes on."""
        if client.closed:
            return
        client.busy = False
        if raw:
            client.out.append(raw)
        self.touch(client)
        self._ran_empty(client)

    def move(self, client: Client, line: int) -> None:
        """Have the client use other shared connections once everything before is answered: on two at a time, commands
        could overtake one another."""
        if client.line == line:
            return
        if not client.queue:
            client.line = line
            return

        def start() -> None:
            client.line = line
            self.done(client)

        client.waiting = start

    def push(self, client: Client, raw: bytes) -> None:
        """Write something that answers no command, between whole replies."""
        if client.closed:
            return
        if client.streaming:
            client.withheld.append(raw)
            client.held += len(raw)
        else:
            client.out.append(raw)
        self.touch(client)

    def touch(self, client: Client) -> None:
        """Let the driver look at it when it flushes."""
        if not client.touched:
            client.touched = True
            self.touched_clients.append(client)

    def hang_up(self, client: Client) -> None:
        """Read nothing more of the client; close it once all before is answered and flushed."""
        client.eof = client.hung_up = True
        client.backlog.clear()
        client.backlog_since.clear()
        client.backlog_size = 0
        self._ran_empty(client)

    def abort(self, client: Client) -> None:
        """Close the client at once, without another byte."""
        client.closing = client.cut = True
        client.out.clear()
        self.touch(client)

    def forward(
        self,
        client: Client,
        up: Upstream,
        frames: bytes,
        now: float,
        account: Account,
        want: int = 1,
        toll: Toll | None = None,
        *,
        quiet: bool = False,
        convert: Callable[[bytes], bytes] | None = None,
        cap: tuple[int, bytes] | None = None,
    ) -> None:
        """Send `want` commands of one kind, counted in `account` and paid for from `toll`, on; their replies find their way
        back by themselves, that of a single one `convert`ed and held to its `cap` (see Converted)."""
        if toll is not None:
            toll.commands -= want
            toll.bytes -= len(frames)
        if up.state is not State.UP:
            if up.state is State.DOWN:
                account.note_untimed(want, want, len(frames), len(up.refusal) * want)
                account.note_code(up.refusal, 0, want)
                self.reply(client, b"" if quiet else up.refusal * want)
                return
            self._want_connection(up)
        slot: Slot
        if convert is not None and not quiet:
            slot = Converted(client, frames, now, convert, account, cap)
        else:
            self.unsampled -= want
            if self.unsampled < 0:
                self._sample(client, up, frames, now, account, want, quiet=quiet)
                return
            slot = (Quiet if quiet else Slot)(client, want, frames, now, account.readonly, account)
        client.queue.append(slot)
        client.inflight += want
        client.inflight_bytes += len(frames)
        slot.offset = up.queued
        up.queued += len(frames)
        up.fifo.append(slot)
        up.out.append(frames)
        self.commands += want
        if not up.touched:
            up.touched = True
            self.touched_upstreams.append(up)

    def _sample(
        self, client: Client, up: Upstream, frames: bytes, now: float, account: Account, want: int, *, quiet: bool
    ) -> None:
        """Forward a run, and show the gate the requests of it that the count falls on."""
        at, sampling = want + self.unsampled, self.sampling  # in the run, from 0
        self.unsampled = NEVER
        if sampling is None:
            self.forward(client, up, frames, now, account, want, quiet=quiet)
            return
        requests = _Requests(frames, want)
        seen = begin = first = 0
        while at < want:
            start, end, args = requests.skip(at - seen)
            instead = self.gate.sampled(client, account, args)
            seen = at + 1
            if instead is not None:
                if at > first:
                    self.forward(client, up, frames[begin:start], now, account, at - first, quiet=quiet)
                self.forward(client, up, frames[start:end], now, instead, quiet=quiet)
                begin, first = end, seen
            at = seen + sampling()
        if first < want:
            self.forward(client, up, frames[begin:], now, account, want - first, quiet=quiet)
        self.unsampled = at - want

    def _show(self, client: Client, account: Account, frame: bytes) -> bool:
        """Show the gate a request that is about to be cut; not if it may be followed, and has to go by itself."""
        sampling = self.sampling
        if sampling is None or self.followed:
            return False
        self.unsampled = NEVER
        self.gate.sampled(client, account, split_request(frame))
        self.unsampled = sampling() + 1  # it is still to be counted
        return True

    def split(self, client: Client, parts: Cut, plan: int, now: float, account: Account, toll: Toll | None = None) -> None:
        """Send a command to several stores, each its part; paid for from `toll` as one. Every part is counted in `account`."""
        size, number = parts.size, len(parts.ups)
        if toll is not None:
            toll.commands -= 1
            toll.bytes -= size
        whole = Split(client, now, size, plan & MERGE, bytes(parts.order), number)
        client.queue.append(whole)
        client.inflight += 1
        client.inflight_bytes += size
        self.commands += 1
        self.unsampled -= 1
        for place, up in enumerate(parts.ups):
            self.ask(up, Part(parts.request(place), whole, place, client, account))

    def ask(self, up: Upstream, call: Asked) -> None:
        """Send a request that is no client's; it is told the raw reply, or the gate's own error."""
        if up.state is State.DOWN:
            self._give_up(call, up.refusal)
            return
        if up.state is not State.UP:
            self._want_connection(up)
        up.put(call)
        if not up.touched:
            up.touched = True
            self.touched_upstreams.append(up)

    def _want_connection(self, up: Upstream) -> None:
        if up.state is State.IDLE:
            up.state = State.CONNECTING
            self.upstreams.add(up)
            self.to_connect.append(up)

    # ------------------------------------------------------------------ stores' bytes

    def fed_by(self, up: Upstream, data: bytes, now: float) -> None:
        """Take bytes of a store and give each reply to whoever waits for it.

        Raises:
            ProtocolError: they are no replies, or nobody waits for them; the caller closes the connection.
        """
        if self.in_c:
            native.paths.fed_by(self, up, data, now)
        else:
            self._fed_by(up, data, now)

    def _fed_by(self, up: Upstream, data: bytes, now: float) -> None:
        up.read_before, up.last_read = up.last_read, now
        pos, size = 0, len(data)
        if up.measurer is not None:
            pos = self._go_on(up, up.measurer, data)
            if pos < 0:
                return
        fifo, find, lengths, touched = up.fifo, data.find, LENGTHS, self.touched_clients
        account: Account | None = None  # of the replies that are counted in the five numbers
        began, slow = now, False
        calls = errors = misses = taken = given = 0
        while pos < size:
            if not fifo:
                pos = self._unasked(up, data, pos)
                continue
            slot = fifo[0]
            start, want = pos, slot.want
            if slot.account is not account or slot.started != began:
                if account is not None and calls:
                    account.note(calls, now - began, errors, misses, taken, given)
                account, began = slot.account, slot.started
                slow = now - began > self.slow_after
                calls = errors = misses = taken = given = 0
            most = want - 1 if slot.special else 0  # special slots get one reply at a time
            while want > most and pos < size:
                kind = data[pos]
                if kind == _DOLLAR:
                    at = find(b"\n", pos)
                    if at < 0:
                        break
                    length = lengths.get(data[pos + 1 : at - 1])
                    if length is None:
                        length = int(data[pos + 1 : at - 1])
                    if length >= 0:
                        end = at + 3 + length
                        if end > size:
                            break
                        pos = end
                    else:
                        misses += 1
                        pos = at + 1
                elif kind in _ONE_LINE:
                    at = find(b"\n", pos)
                    if at < 0:
                        break
                    pos = at + 1
                elif kind == _PUSH or (kind == _MINUS and data.startswith(STORE_ERRORS, pos)):
                    break
                else:
                    end = measure(data, pos)
                    if end < 0:
                        break
                    if kind == _MINUS:
                        errors += 1
                        if account is not None:
                            account.note_code(data, pos)
                    elif kind == _NULL:
                        misses += 1
                    pos = end
                want -= 1
            if pos > start:
                replies = slot.want - want
                client = slot.client
                calls += replies
                given += pos - start
                if not want:
                    taken += len(slot.frames)
                if slow:
                    self.gate.slow(up, slot, replies, now)
                if slot.special:
                    self._special(up, slot, data[start:pos], replies)
                elif client is None:  # it left, or its time ran out
                    slot.want = want
                    if not want:
                        fifo.popleft()
                else:
                    slot.want = want
                    client.inflight -= replies
                    queue = client.queue
                    if queue[0] is slot:
                        client.out.append(data[start:pos])
                        if not client.touched:
                            client.touched = True
                            touched.append(client)
                        if not want:
                            fifo.popleft()
                            client.inflight_bytes -= len(slot.frames)
                            queue.popleft()
                            if not queue:
                                if client.waiting is not None or client.eof:
                                    self._ran_empty(client)
                            elif queue[0].parts or not queue[0].want:
                                self.settle(client)
                    else:
                        slot.parts.append(data[start:pos])
                        client.held += pos - start
                        if client.held > BUFFERED_REPLY and not client.touched:  # the driver looks at its limits
                            client.touched = True
                            touched.append(client)
                        if not want:
                            fifo.popleft()
                            client.inflight_bytes -= len(slot.frames)
            if want and pos < size and want > most:
                pos = self._unusual(up, data, pos, now)
        if account is not None and calls:
            account.note(calls, now - began, errors, misses, taken, given)
        if up.held:
            self._drop_held(up)

    def _drop_held(self, up: Upstream) -> None:
        """End the connection to a store that refuses writes once all that was sent on it is answered."""
        if not (up.fifo and up.is_sent(up.fifo[0])):
            self.to_drop.append((up, f"store {up.name} is a replica now, or lost its master"))

    def _unusual(self, up: Upstream, data: bytes, pos: int, now: float) -> int:
        """What stands at `pos` is a push, a store's word to the gate, or the beginning of a reply that is not whole yet."""
        if data[pos] == _PUSH:
            end = measure(data, pos)
            if end > 0:
                return end  # nothing on a shared connection asks for pushes: drop it
        elif data.startswith(STORE_ERRORS, pos):
            end = data.find(b"\n", pos) + 1
            if end > 0:
                self._store_error(up, data[pos:end], now)
                return end
        return self._unfinished(up, data, pos)

    def _unfinished(self, up: Upstream, data: bytes, pos: int) -> int:
        """From `pos` to the end of `data` stands the beginning of something."""
        up.measurer = Measurer()
        up.aside = data[pos] in (_PUSH, _MINUS)
        up.unasked = not up.fifo
        if self._follow(up.measurer, data, pos) >= 0:
            raise ProtocolError("Protocol error: a reply ends where it should not")
        self._hold(up, data[pos:])
        return len(data)

    def _unasked(self, up: Upstream, data: bytes, pos: int) -> int:
        """What comes while nobody waits: a push or an error that announces the end is dropped, the rest is out of step."""
        if data[pos] not in (_PUSH, _MINUS):
            raise ProtocolError(f"Protocol error: {up.name} sent a reply that nobody asked for")
        end = measure(data, pos)
        return end if end >= 0 else self._unfinished(up, data, pos)

    def _go_on(self, up: Upstream, measurer: Measurer, data: bytes) -> int:
        """Follow the reply that was unfinished; the position after it, or -1."""
        end = self._follow(measurer, data, 0)
        if end < 0:
            self._hold(up, data)
            return -1
        piece, length = b"".join(up.partial) + data[:end], up.partial_size + end
        up.measurer = None
        up.partial.clear()
        up.partial_size = 0
        if up.unasked or (up.aside and piece[0] == _PUSH):
            return end
        if up.aside and piece.startswith(STORE_ERRORS):
            self._store_error(up, piece, up.last_read)
            return end
        slot = up.fifo[0]
        client = slot.client
        if length > slot.most:
            piece = slot.excess
        streamed = _streams(slot)
        _count(slot, b"" if streamed else piece, up.last_read)
        self._deliver(up, slot, piece, 1)
        if streamed and client is not None:
            client.streaming = False
            client.held -= sum(map(len, client.withheld))
            client.out.extend(client.withheld)
            client.withheld.clear()
        return end

    def _hold(self, up: Upstream, data: bytes) -> None:
        """Keep a part of an unfinished reply; a large one is passed on when it is its client's turn."""
        if up.aside:
            up.partial.append(data)
            return
        slot = up.fifo[0]
        client = slot.client
        if client is None and not slot.special:
            return
        up.partial.append(data)
        up.partial_size += len(data)
        if up.partial_size > slot.most:
            up.partial.clear()  # nobody gets it
        if slot.special or up.partial_size <= BUFFERED_REPLY:
            return
        if client is not None and client.queue[0] is slot:
            client.streaming = True
            client.out.extend(up.partial)
            up.partial.clear()
            self.touch(client)

    def _deliver(self, up: Upstream, slot: Slot, piece: bytes, replies: int) -> None:
        """Give whole replies to the slot at the head of the FIFO, off the hot path."""
        if slot.special:
            self._special(up, slot, piece, replies)
            return
        slot.want -= replies
        client = slot.client
        if client is not None:
            client.inflight -= replies
            if piece:
                slot.parts.append(piece)
                client.held += len(piece)
        if not slot.want:
            up.fifo.popleft()
            if client is not None:
                client.inflight_bytes -= len(slot.frames)
        if client is not None:
            self.settle(client)

    def _special(self, up: Upstream, slot: Slot, piece: bytes, replies: int) -> None:
        client = slot.client
        if slot.want == replies:
            up.fifo.popleft()
        self._tell(slot, piece, replies)
        if client is not None:
            client.inflight -= replies
            if not slot.want:
                client.inflight_bytes -= len(slot.frames)
            self.settle(client)

    def _store_error(self, up: Upstream, raw: bytes, now: float) -> None:
        """A store's word to the gate: that it refuses the gate's user, or that it is not the master any more."""
        slot = up.fifo[0]
        if raw.startswith((b"-NOAUTH", b"-NOPERM")):
            _count(slot, raw, now)
            self._deliver(up, slot, upstream_refused(raw[1:-2].decode("utf-8", "replace")).reply, 1)
            return
        up.held = True  # send nothing more to it; when what was sent is answered, connect anew and resolve the name again
        if _runs_script(slot):
            _count(slot, raw, now)
            self._deliver(up, slot, raw, 1)  # the script may have said so itself, and have written before: never twice
        elif _is_last(slot) and now - slot.started < self.budget * (1 - ANSWERING):
            up.fifo.popleft()
            _keep_unanswered(slot)
            up.put(slot)
            self.retries += 1
        else:
            _count(slot, raw, now)
            self._deliver(up, slot, try_again(f"store {up.name} is a replica now, or lost its master").reply, 1)

    def _tell(self, slot: Slot, piece: bytes, replies: int) -> None:
        """Hand replies to a special slot. What it fails at is its own client's affair, and not that of all who share the
        connection."""
        try:
            slot.receive(piece, replies)
            if isinstance(slot, Part) and not slot.whole.want and slot.whole.client is not None:
                self.settle(slot.whole.client)
        except Exception:
            self.failures += 1
            log.exception("reply_failed", extra={"do": "report this"})
            owner = slot.owner if isinstance(slot, Asked) else slot.client
            if owner is not None and not owner.closed:
                self.abort(owner)

    # ------------------------------------------------------------------ the end of a connection

    def connected(self, up: Upstream) -> None:
        """The driver has a connection: what waits is sent on it."""
        up.state = State.UP
        up.made[0] += 1
        up.trips.made += 1
        up.why_down = ""
        if up.out and not up.touched:
            up.touched = True
            self.touched_upstreams.append(up)

    def unreachable(self, up: Upstream, why: str, refused: GateError | None = None) -> None:
        """No connection can be had: what waits is refused, and so is what comes until one can. `refused`: the store is
        there and does not want the gate; that is what clients are told."""
        up.state = State.DOWN
        up.why_down = up.last_error = why
        up.refusal = (refused or try_again(f"store {up.name} is down: {why}")).reply
        waiting = list(up.fifo)
        up.start_over([])
        for slot in waiting:
            self._give_up(slot, up.refusal)

    def lost(self, up: Upstream, why: str) -> None:
        """The connection broke. What was not sent waits for the next one; of what was sent, reads are sent once more.

        A read is not repeated when its client sent a write after it on this connection: it would see too much.
        """
        up.last_error = why
        broken = up.fifo[0] if up.measurer is not None and up.fifo else None
        keep: list[Slot] = []
        writers: set[int] = set()
        refused: list[tuple[Slot, bytes]] = []
        for slot in reversed(up.fifo):
            client = slot.client
            if client is None and not isinstance(slot, Asked):
                continue
            owner = _owner(slot)
            if not up.is_sent(slot):
                keep.append(slot)
            elif slot is broken and client is not None and _streams(slot):
                self.abort(client)  # it has the beginning of a reply: there is no other way to tell
            elif slot.readonly and not slot.retried and owner not in writers:
                slot.retried = True
                _keep_unanswered(slot)
                keep.append(slot)
                self.retries += 1
            else:
                error = try_again(f"{why}, twice") if slot.readonly and slot.retried else in_doubt(why)
                if slot.readonly and not slot.retried:
                    error = try_again(f"{why}, and a later write had been sent")
                refused.append((slot, error.reply))
            if up.is_sent(slot) and not slot.readonly:
                writers.add(owner)
        up.start_over(keep[::-1])
        for slot, error_reply in reversed(refused):
            self._give_up(slot, error_reply)
        if up.fifo:
            up.state = State.CONNECTING
            self.to_connect.append(up)
        else:
            up.state = State.IDLE

    def _give_up(self, slot: Slot, error: bytes) -> None:
        """Answer what is unanswered of a slot that stands in no FIFO any more."""
        client, want = slot.client, slot.want
        if slot.account is not None and want:
            slot.account.note_untimed(want, want, len(slot.frames), len(error) * want)
            slot.account.note_code(error, 0, want)
        if slot.special:
            for _ in range(want):
                self._tell(slot, error, 1)
        else:
            slot.want = 0
            slot.parts.append(error * want)
        if client is not None:
            if not slot.special:
                client.held += len(error) * want
            client.inflight -= want
            client.inflight_bytes -= len(slot.frames)
            self.settle(client)

    def leave(self, client: Client) -> None:
        """The client's connection has ended: nobody waits for its replies any more, but they still come."""
        client.closed = True
        for slot in client.queue:
            slot.client = None
        client.queue.clear()
        client.out.clear()
        client.backlog.clear()
        client.backlog_since.clear()
        client.batch.clear()
        client.withheld.clear()
        client.waiting = None
        client.inflight = client.inflight_bytes = client.backlog_size = client.out_size = client.held = 0
        self.gate.left(client)

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> bool:
        """Look after time limits; called a few times in each budget. Whether any reply is awaited."""
        awaited = False
        for up in list(self.upstreams):
            fifo = up.fifo
            if not fifo:
                continue
            awaited = True
            first = fifo[0]
            if up.is_sent(first) and now - max(up.last_read, first.started) > self.silence:
                self.to_drop.append((up, f"store {up.name} was silent for {self.silence} s"))
                continue
            began = now - self.budget
            if any(slot.started + slot.patience < began and _awaited(slot) for slot in fifo):  # retries are older
                self._expire(up, began, now)
        return awaited

    def _expire(self, up: Upstream, began: float, now: float) -> None:
        """Answer what began before `began`. What was sent keeps its place in the FIFO, for its late replies."""
        not_taken = try_again(f"store {up.name} did not take it within {self.budget} s").reply
        not_answered = f"store {up.name} did not answer within {self.budget} s"
        keep: list[Slot] = []
        refused: list[tuple[Slot, bytes]] = []
        for slot in up.fifo:
            if slot.started + slot.patience >= began or not _awaited(slot) or _streams(slot):
                keep.append(slot)
            elif up.is_sent(slot):
                keep.append(Expired(slot))
                refused.append((slot, (try_again if slot.readonly else in_doubt)(not_answered).reply))
            else:
                refused.append((slot, not_taken))
        up.requeue(keep)
        for slot, error in refused:
            if now - slot.started > self.slow_after:
                self.gate.slow(up, slot, slot.want, now)
            self._give_up(slot, error)

    # ------------------------------------------------------------------ going on

    def _ran_empty(self, client: Client) -> None:
        """Nothing of the client is unanswered: what waited for that may start, once the present socket is served."""
        if client.waiting is not None or client.eof or client.backlog:
            self._later(client)

    def resume(self, now: float) -> None:
        """Let the clients go on whose queue ran empty. The driver calls it after serving sockets."""
        while self.resumable:
            self.go_on(self.resumable.popleft(), now)

    def _later(self, client: Client) -> None:
        if not client.resuming:
            client.resuming = True
            self.resumable.append(client)

    def go_on(self, client: Client, now: float) -> None:
        """Let one client of `resumable` go on, by one portion of what it sent; it stands there again if there is more."""
        client.resuming = False
        if client.closed or client.busy:
            return
        if client.waiting is not None:
            if client.queue:
                return  # another reply is awaited; it comes back here then
            start, client.waiting = client.waiting, None
            client.busy = True
            start()
        elif client.backlog:
            data, client.arrived = client.backlog.popleft(), client.backlog_since.popleft()
            client.backlog_size -= len(data)
            self._take(client, data, now)
            if not client.stalled and (client.backlog or (client.eof and not client.queue)):
                self._later(client)
        elif client.eof and not client.queue:
            client.closing = True
            self.touch(client)

    def ended(self, client: Client) -> None:
        """The client will send no more (half-close): what came is finished and flushed, then it is closed."""
        client.eof = True
        self.gate.half_closed(client)
        if not client.queue and not client.busy and not client.closed:
            self._later(client)


class _Requests:
    """The requests of a run, one after the other. Where no argument holds a ``*``, or none looks like the beginning of a
    request, which is nearly always, those that are passed over are not looked at."""

    __slots__ = ("_before", "_frames", "_mark", "_pos")

    def __init__(self, frames: bytes, want: int) -> None:
        """`frames` are `want` requests."""
        self._frames = frames
        self._pos = 0
        self._mark, self._before = b"", 0  # what each request but the first begins with, and bytes of that before it
        if frames.count(b"*") == want:
            self._mark = b"*"
        elif frames.count(b"\r\n*") == want - 1:
            self._mark, self._before = b"\r\n*", 2

    def skip(self, count: int) -> tuple[int, int, list[bytes]]:
        """Where the next request but `count` begins and ends, and its arguments."""
        frames, pos, mark, before = self._frames, self._pos, self._mark, self._before
        if mark:
            find = frames.find
            for _ in range(count):
                pos = find(mark, pos + 1) + before
            end = find(mark, pos + 1)
            self._pos = end + before if end >= 0 else len(frames)
            return pos, self._pos, split_request(frames[pos : self._pos])
        scanner = RequestScanner()
        for _ in range(count):
            pos = scanner.feed(frames, pos)
        self._pos = scanner.feed(frames, pos)
        return pos, self._pos, list(scanner.args or ())


def _count(slot: Slot, raw: bytes, now: float) -> None:
    """Count a reply that did not come whole, or not as the client gets it."""
    if slot.account is not None:
        slot.account.note_reply(raw, now - slot.started, len(slot.frames) if slot.want == 1 else 0)


def _put_off(client: Client, data: bytes, now: float) -> None:
    """Keep bytes until the client's present command is answered; those of a client that was hung up on are dropped."""
    if client.hung_up:
        return
    backlog = client.backlog
    if backlog and len(backlog[-1]) + len(data) <= PORTION and now - client.backlog_since[-1] < TOGETHER:
        backlog[-1] += data
    else:
        backlog.append(data)
        client.backlog_since.append(now)
    client.backlog_size += len(data)


def _is_last(slot: Slot) -> bool:
    """Whether one command is left of the slot, and its client has sent nothing after it. (One that sent something to
    another store counts as one that has: to look through everything would take too long when thousands are refused.)"""
    if slot.want != 1:
        return False
    if isinstance(slot, Asked):
        return slot.single and (slot.owner is None or len(slot.owner.queue) <= 1)
    return slot.client is not None and slot.client.queue[-1] is slot


def _awaited(slot: Slot) -> bool:
    """Whether anybody waits for its replies."""
    return slot.client is not None or isinstance(slot, Asked)


def _streams(slot: Slot) -> bool:
    """Whether its client has the beginning of its reply: that can only be the client's oldest slot."""
    client = slot.client
    return client is not None and client.streaming and client.queue[0] is slot


def _runs_script(slot: Slot) -> bool:
    """Whether it is a script or a function of a client; these are forwarded one by one. One that the gate sends in place of
    a command fails at its first write, if at all."""
    return not isinstance(slot, Converted) and slot.frames.split(b"\r\n", 3)[2].upper().startswith((b"EVAL", b"FCALL"))


def _owner(slot: Slot) -> int:
    """Tells whose order a slot belongs to."""
    return id(slot.owner or slot) if isinstance(slot, Asked) else id(slot.client)


def _keep_unanswered(slot: Slot) -> None:
    """Cut the answered requests off a slot that is to be sent again."""
    scanner, starts, pos = RequestScanner(), [], 0
    while pos < len(slot.frames):
        starts.append(pos)
        pos = scanner.feed(slot.frames, pos)
    answered = starts[-slot.want]
    slot.frames = slot.frames[answered:]
    if slot.client is not None:
        slot.client.inflight_bytes -= answered
