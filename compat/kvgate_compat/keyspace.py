"""Which keys a search uses on a server that is cut into parts (shards, stores), so that what must differ is not asked.

Such a server splits a few commands (MGET, MSET, DEL …); all others need their keys in one part, which Redis does not.
"""

from collections.abc import Sequence

import attrs

from kvgate.commands.keys import hidden_patterns, key_indices
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import by_full_name
from kvgate.errors import GateError
from kvgate_compat.steps import Aside, Flight, Leave, Piped, Raw, Single, Step, Turns, requests_of
from kvgate_compat.words import Arg, Key, Payload, Request

PLAINEST = frozenset(("SET", "GET", "INCR", "APPEND"))
"""What streams of odd bytes say about keys."""


@attrs.frozen(slots=True)
class Part:
    """Keys that may stand in one command, whatever it is."""

    keys: tuple[bytes, ...]
    pattern: bytes = b""
    """What SORT may look up here: ``Ads.T:{t}*``; empty: any pattern."""
    without: frozenset[str] = frozenset()
    """Commands that this part does not have, by the table's names."""


def _by_turns(parts: Sequence[Part]) -> tuple[bytes, ...]:
    """The keys of all parts, so that the first ones, which generators draw most, are in different parts."""
    most = max(len(part.keys) for part in parts)
    return tuple(part.keys[at] for at in range(most) for part in parts if at < len(part.keys))


@attrs.frozen(slots=True)
class Keyspace:
    """The parts of a server, and how generated steps are fitted to them."""

    parts: tuple[Part, ...]
    keys: tuple[bytes, ...] = attrs.field(init=False)
    """Of all parts; what is compared after each step and at the end."""
    _part_of: dict[bytes, int] = attrs.field(init=False, repr=False)

    @keys.default
    def _all_keys(self) -> tuple[bytes, ...]:
        return _by_turns(self.parts)

    @_part_of.default
    def _known(self) -> dict[bytes, int]:
        return {key: at for at, part in enumerate(self.parts) for key in part.keys}

    def without(self, name: str) -> bool:
        """Whether no part has the command."""
        return all(name in part.without for part in self.parts)

    # Fitting

    def fit(self, step: Step) -> Step:
        """The step with keys of one part each, where it must not name several. A second time nothing changes."""
        if isinstance(step, Single):
            return attrs.evolve(step, request=self._fit(step.request))
        if isinstance(step, Piped) and not _is_transaction(step):
            return self._fit_pipe(step)
        if isinstance(step, Turns | Piped):
            return self._fit_together(step)
        if isinstance(step, Flight):  # each pipeline in a part of its own, so that their keys stay disjoint
            return Flight(tuple(self._fit_pipe(pipe, at % len(self.parts)) for at, pipe in enumerate(step.pipes)))
        if isinstance(step, Aside):
            return Aside(tuple(map(self._fit, step.requests)))
        return step

    def allows(self, step: Step) -> bool:
        """Whether a step asks for nothing that this server refuses by its parts: a step that was damaged, or cut down, may."""
        if len(self.parts) == 1:
            return True
        if any(map(self._goes_nowhere, requests_of((step,)))):
            return False
        if isinstance(step, Turns) or (isinstance(step, Piped) and _is_transaction(step)):
            if any(request.name in ("PUBLISH", "SPUBLISH") for request in requests_of((step,))):
                return False  # channels have a part, too
            parts = {part for request in requests_of((step,)) for part in self._parts(request)}
            return len(parts) <= 1 and not any(part < 0 or self._lacks(part, step) for part in parts)
        if isinstance(step, Flight):
            whose = [{part for request in pipe.requests for part in self._parts(request)} for pipe in step.pipes]
            disjoint = sum(map(len, whose)) == len(set().union(*whose))
            return disjoint and all(map(self._allows, requests_of((step,))))
        if isinstance(step, Raw):
            return not any(part.without & PLAINEST for part in self.parts)
        return all(map(self._allows, requests_of((step,))))

    def _lacks(self, part: int, step: Step) -> bool:
        return not self.parts[part].without.isdisjoint(request.name for request in requests_of((step,)))

    def _fit_together(self, step: Turns | Piped) -> Turns | Piped:
        """All of a transaction, and of what others say meanwhile, in the part of its first key that can do it."""
        keys = [key for request in requests_of((step,)) for key in _keys(request)]
        if not keys:
            return step
        first = self._part_of[self._mapped(keys[0])]
        places = [first, *range(len(self.parts))]
        part = next((at for at in places if not self._lacks(at, step)), first)
        if isinstance(step, Piped):
            return self._fit_pipe(step, part)
        return Turns(tuple(self._fit_turn(turn, part) for turn in step.steps))

    def _fit_turn(self, turn: Single | Piped | Leave, part: int) -> Single | Piped | Leave:
        if isinstance(turn, Single):
            return attrs.evolve(turn, request=self._fit(turn.request, part))
        return self._fit_pipe(turn, part) if isinstance(turn, Piped) else turn

    def _fit_pipe(self, pipe: Piped, part: int | None = None) -> Piped:
        return attrs.evolve(pipe, requests=tuple(self._fit(request, part) for request in pipe.requests))

    def _fit(self, request: Request, part: int | None = None) -> Request:
        """The request with keys of this server; of `part`, or of the part of its first key when it may name one part only."""
        keys = _keys(request)
        spec = by_full_name(request.name.encode())
        if not keys or spec is None:
            return request
        if part is None and spec.action is not Action.SPLIT:
            places = [self._part_of[self._mapped(keys[0])], *range(len(self.parts))]
            part = next((at for at in places if request.name not in self.parts[at].without), places[0])
        args = [self._fit_argument(arg, part) for arg in request.args]
        if part is not None and self.parts[part].pattern:
            for at in hidden_patterns(spec, _as_bytes(args)):
                args[at] = self.parts[part].pattern + _as_bytes(args)[at].partition(b"*")[2]
        return attrs.evolve(request, args=tuple(args))

    def _fit_argument(self, arg: Arg, part: int | None) -> Arg:
        if isinstance(arg, Payload):
            return attrs.evolve(arg, key=self._mapped(arg.key, part))
        return self._mapped(arg, part) if isinstance(arg, Key) else arg

    def _mapped(self, key: bytes, part: int | None = None) -> Key:
        """The key itself when it is one of this server's (of `part`), else another one."""
        found = key if key in self._part_of else self.keys[len(key) % len(self.keys)]
        own = self._part_of[found]
        if part is not None and own != part:
            pool = self.parts[part].keys
            found = pool[(self.parts[own].keys.index(found) + 1) % len(pool)]  # the first keys of two parts become two keys
        return Key(found)

    def _goes_nowhere(self, request: Request) -> bool:
        """Whether it is a script without keys, or about a channel (which may lie anywhere) that some part cannot have."""
        spec = by_full_name(request.name.encode())
        if spec is None or not _is_sound(spec, request):
            return False
        if spec.group == "pubsub":
            return any(request.name in part.without for part in self.parts)
        if "no_mandatory_keys" not in spec.flags:
            return False
        try:
            return not key_indices(spec, _as_bytes(request.args))
        except GateError:
            return False

    def _allows(self, request: Request) -> bool:
        spec = by_full_name(request.name.encode())
        parts = self._parts(request)
        if spec is None or not parts:
            return True
        known = all(part >= 0 and request.name not in self.parts[part].without for part in parts)
        return known and (len(parts) == 1 or spec.action is Action.SPLIT)

    def _parts(self, request: Request) -> set[int]:
        """The parts that a request names, -1 for keys that are none of this server's."""
        spec = by_full_name(request.name.encode())
        if spec is None or not _is_sound(spec, request):
            return set()
        args = _as_bytes(request.args)
        try:
            found = {self._part_of.get(args[at], -1) for at in key_indices(spec, args)}
        except GateError:  # the server cannot tell the keys either, and says so
            return set()
        patterns = {args[at].partition(b"*")[0] + b"*" for at in hidden_patterns(spec, args)}
        for pattern in patterns:
            found |= {at for at, part in enumerate(self.parts) if part.pattern == pattern} or {-1}
        found |= {self._part_of.get(arg.key, -1) for arg in request.args if isinstance(arg, Payload)}
        return found


def _is_transaction(pipe: Piped) -> bool:
    return any(request.name in ("MULTI", "EXEC", "WATCH") for request in pipe.requests)


def _keys(request: Request) -> list[bytes]:
    """What generators gave as keys."""
    return [arg.key if isinstance(arg, Payload) else arg for arg in request.args if isinstance(arg, Payload | Key)]


def _is_sound(spec: CommandSpec, request: Request) -> bool:
    """Whether the request has as many arguments as the command takes; without that no key is looked at."""
    return len(request.args) == spec.arity if spec.arity > 0 else len(request.args) >= -spec.arity


def _as_bytes(args: Sequence[Arg]) -> list[bytes]:
    """For what looks at keys only."""
    return [arg if isinstance(arg, bytes) else b"1" for arg in args]
