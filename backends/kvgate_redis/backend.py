"""The backend of a store that speaks the Redis protocol: commands that do not go through the lane, listings, its state."""

import contextlib
from collections.abc import Sequence
from typing import Final

import attrs
import trio

from kvgate.backend import (
    BackendStatistics,
    CallContext,
    Command,
    Measure,
    OwnConnection,
    Rewritten,
    Scale,
    SharedConnections,
    Topology,
    View,
)
from kvgate.commands.keys import channels
from kvgate.commands.resp3 import in_resp3
from kvgate.commands.spec import Action, CommandSpec
from kvgate.errors import GateError, cross_slot, refused, upstream_refused
from kvgate.lane.everywhere import EVERYWHERE, merge_everywhere
from kvgate.lane.own import LIMIT, OwnConnections
from kvgate.routing.slots import hash_text
from kvgate.wire.reply import Error, Raw, Reply, decode, encode
from kvgate.wire.request import encode_request
from kvgate_redis.dialect import Dialect
from kvgate_redis.guards import TYPES
from kvgate_redis.health import PATIENCE, Health
from kvgate_redis.listing import KeyListing, VersionedKeys
from kvgate_redis.lua import Script, store_name
from kvgate_redis.rewriting import ASKED, Rewriter
from kvgate_redis.spread import merged, on_shards, parts_of
from kvgate_redis.sweep import Sweeper
from kvgate_redis.weighing import ANSWER_SECONDS, KeyWeighing

MAX_VALUE: Final = 64 * 1024 * 1024
"""Bytes; a client's copying cost, not a limit of Redis."""


class RedisBackend:
    """`Backend`, `PassThrough`, `Listing`, `Rewriting` and `Weighing` (see kvgate.backend)."""

    def __init__(self, name: str, topology: Topology, dialect: Dialect, *, own_connections: int = LIMIT) -> None:
        """`name` from the configuration; at most `own_connections` that clients have for themselves."""
        self.name = name
        self.max_value = MAX_VALUE
        self.type = dialect.type
        self.capabilities = dialect.capabilities
        self.topology = topology
        self.sources = len(topology.shards)
        self._shared: SharedConnections | None = None
        self._pool = OwnConnections(topology, limit=own_connections, name="kvgate-own")
        self._health = Health(topology.shards)
        self._rewriter = Rewriter(self.sources, topology.rename)
        types = Script(TYPES, topology.rename).text
        self._listing = KeyListing(self.sources, dialect, self._ask_listing, VersionedKeys(types, self._rewriter.encodes))
        self._weighing = KeyWeighing(self._ask_many, counts=dialect.counts)
        self._sweeper = Sweeper(self.sources, topology.rename, self._sweep)

    def __repr__(self) -> str:
        """Name and shards."""
        return f"<{self.type} backend {self.name!r}: {', '.join(shard.url for shard in self.topology.shards)}>"

    # ------------------------------------------------------------------ Backend

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Backend.run`."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._pool.run)
            nursery.start_soon(self._health.watch, self._reach, self._found_up)
            nursery.start_soon(self._sweeper.run)
            task_status.started()

    async def execute(self, commands: Sequence[Command], call: CallContext) -> Sequence[Raw | Reply]:
        """See `Backend.execute`. Commands of one shard run one after the other, shards run side by side; one that several
        shards take part in waits for all before it, and all behind it wait for that one."""
        if len(commands) == 1:
            return [await self._answer(commands[0], call)]
        replies: list[Raw | Reply] = [None] * len(commands)
        lines: dict[int, list[int]] = {}

        async def one_line(places: Sequence[int]) -> None:
            for place in places:
                replies[place] = await self._answer(commands[place], call)

        async def finish() -> None:
            async with trio.open_nursery() as nursery:
                for places in lines.values():
                    nursery.start_soon(one_line, places)
            lines.clear()

        for place, command in enumerate(commands):
            shards = self._shards_of(command)
            if len(shards) == 1 and command.spec.name not in EVERYWHERE:
                lines.setdefault(shards[0], []).append(place)
                continue
            await finish()
            replies[place] = await self._answer(command, call)
        await finish()
        return replies

    def statistics(self) -> BackendStatistics:
        """See `Backend.statistics`."""
        size, idle = self._pool.size, self._pool.idle
        found = self._health.statistics(own_connections=size, own_connections_idle=idle)
        measures = (
            Measure("own_connections", "Connections that clients have for themselves (BLPOP, WATCH …).", size - idle, "gauge"),
            Measure("own_connections_idle", "Such connections that wait for the next one who needs it.", idle, "gauge"),
            Measure("store_shards", "Store processes of the backend.", self.sources, "gauge", "max"),
            Measure("store_shards_down", "Of those, the ones that do not answer.", self._health.down, "gauge", "max"),
        )
        return attrs.evolve(found, measures=measures)

    # ------------------------------------------------------------------ PassThrough

    def attach(self, shared: SharedConnections) -> None:
        """See `PassThrough.attach`."""
        self._shared = shared
        self._rewriter.generation = shared.generation

    async def own(self, shard: int, *, proto: int, deadline: float) -> OwnConnection:
        """See `PassThrough.own`."""
        return await self._pool.own(shard, proto=proto, deadline=deadline)

    # ------------------------------------------------------------------ Listing

    async def scan(
        self, source: int, cursor: int, *, count: int, match: bytes | None, kind: bytes | None, view: View, call: CallContext
    ) -> tuple[int, list[bytes]]:
        """See `Listing.scan`."""
        return await self._listing.scan(source, cursor, count=count, match=match, kind=kind, view=view, call=call)

    async def size(self, view: View, call: CallContext) -> int:
        """See `Listing.size`."""
        return await self._listing.size(view, call)

    async def random_key(self, view: View, call: CallContext) -> bytes | None:
        """See `Listing.random_key`."""
        return await self._listing.random_key(view, call)

    async def flush(self, view: View, call: CallContext) -> None:
        """See `Listing.flush`."""
        await self._listing.flush(view, call)

    async def weigh(self, source: int, scale: Scale) -> None:
        """See `Weighing.weigh`."""
        await self._weighing.weigh(source, scale)

    # ------------------------------------------------------------------ Rewriting

    def has(self, spec: CommandSpec, shard: int) -> bool:
        """See `Rewriting.has`."""
        return self._rewriter.has(spec, shard)

    def rewrite(self, spec: CommandSpec, args: Sequence[bytes], *, shard: int, versioned: bool) -> Rewritten | None:
        """See `Rewriting.rewrite`."""
        return self._rewriter.rewrite(spec, args, shard=shard, versioned=versioned)

    def may_rewrite(self, spec: CommandSpec, *, versioned: bool) -> bool:
        """See `Rewriting.may_rewrite`."""
        return self._rewriter.may_rewrite(spec, versioned=versioned)

    @property
    def looks_for_ifeq(self) -> bool:
        """See `Rewriting`."""
        return self._rewriter.looks_for_ifeq

    async def find_out(self, shard: int, deadline: float) -> None:
        """See `Rewriting.find_out`. A store that does not let the gate ask has nothing."""
        request = [store_name("COMMAND", self.topology.rename), b"INFO", *ASKED]
        raw = await self._reach.ask(shard, encode_request(request), proto=2, deadline=deadline, readonly=True)
        self._rewriter.learn(shard, decode(raw))

    def keep_versioned(self) -> None:
        """See `Rewriting.keep_versioned`."""
        self._sweeper.want()

    async def _found_up(self, shard: int) -> None:
        if not self._rewriter.is_known(shard):
            with contextlib.suppress(GateError):  # it went away again: the next look, or the first command that needs it
                await self.find_out(shard, trio.current_time() + PATIENCE)

    async def _sweep(self, shard: int, request: bytes) -> bytes:
        deadline = trio.current_time() + PATIENCE
        return await self._reach.ask(shard, request, proto=2, deadline=deadline, readonly=False)

    # ------------------------------------------------------------------ one command

    async def _answer(self, command: Command, call: CallContext) -> Raw | Reply:
        try:
            return await self._route(command, call)
        except GateError as error:
            return Error(error.reply[1:-2])

    async def _route(self, command: Command, call: CallContext) -> Raw | Reply:
        spec, shards = command.spec, self._shards_of(command)

        async def ask(shard: int, args: Sequence[bytes]) -> Reply:
            return decode(await self._ask(shard, args, call.proto, call.deadline, readonly=spec.readonly))

        if spec.name in EVERYWHERE and self.sources > 1:
            calls = [(shard, command.args) for shard in range(self.sources)]
            return self._in_protocol(command, call, merge_everywhere(spec.name, await on_shards(calls, ask)))
        if not shards:
            raise refused(spec.lower, "it names no key, which would tell on which of several stores it is to run")
        if len(set(shards)) == 1:
            return await self._forward(shards[0], command, call)
        if spec.action is not Action.SPLIT:
            raise cross_slot()
        parts = parts_of(command, shards)
        replies = await on_shards([(part.shard, part.args) for part in parts], ask)
        return self._in_protocol(command, call, merged(command, parts, replies))

    async def _forward(self, shard: int, command: Command, call: CallContext) -> Raw | Reply:
        raw = await self._ask(shard, command.args, call.proto, call.deadline, readonly=command.spec.readonly)
        if call.proto == 3 and not self.topology.shards[shard].resp3:
            return Raw(in_resp3(command.spec, command.args, raw))
        return Raw(raw)

    def _in_protocol(self, command: Command, call: CallContext, reply: Reply) -> Raw | Reply:
        """What was merged of RESP2 replies, in the client's protocol. All shards of a backend know the same one."""
        if call.proto == 3 and not self.topology.shards[0].resp3:
            return Raw(in_resp3(command.spec, command.args, encode(reply)))
        return reply

    def _shards_of(self, command: Command) -> list[int]:
        """The shard of each key or channel of the command; of one without any where there is only one shard."""
        if self.sources == 1:
            return [0]
        indices = command.keys or channels(command.spec, command.args)
        topology = self.topology
        shards = [topology.slots[topology.slot_of(hash_text(command.args[index]))] for index in indices]
        return shards[:1] if len(set(shards)) == 1 else shards

    async def _ask(self, shard: int, args: Sequence[bytes], proto: int, deadline: float, *, readonly: bool) -> bytes:
        """The raw reply, in RESP2 where the store knows no other. Raises GateError."""
        args = self._renamed(args)
        if not self.topology.shards[shard].resp3:
            proto = 2
        raw = await self._reach.ask(shard, encode_request(args), proto=proto, deadline=deadline, readonly=readonly)
        if raw.startswith((b"-NOAUTH", b"-NOPERM")):  # these tell the gate off, not the client
            raise upstream_refused(raw[1:-2].decode("utf-8", "replace"))
        return raw

    def _renamed(self, args: Sequence[bytes]) -> Sequence[bytes]:
        renamed = self.topology.rename.get(args[0].decode("latin-1").upper()) if self.topology.rename else None
        return args if renamed is None else [renamed.encode("utf-8", "surrogateescape"), *args[1:]]

    @property
    def _reach(self) -> SharedConnections:
        assert self._shared is not None, "attach comes before run and execute"  # noqa: S101 - the caller's contract
        return self._shared

    async def _ask_listing(self, shard: int, args: Sequence[bytes], *, deadline: float, readonly: bool) -> Reply:
        return decode(await self._ask(shard, args, 2, deadline, readonly=readonly))

    async def _ask_many(self, shard: int, requests: Sequence[Sequence[bytes]]) -> Sequence[Reply]:
        frames = [encode_request(self._renamed(request)) for request in requests]
        raws = await self._reach.ask_all(shard, frames, deadline=trio.current_time() + ANSWER_SECONDS)
        for raw in raws:
            if raw.startswith((b"-TRYAGAIN", b"-INDOUBT")):
                raise GateError(raw[1:-2].decode("utf-8", "surrogateescape"))
        return [decode(raw) for raw in raws]
