"""Where a key goes and why a command on it would be refused: the answer behind `kvgate route` and GATE ROUTE."""

from collections.abc import Mapping
from typing import Final

import attrs

from kvgate import errors
from kvgate.backend import Backend, PassThrough
from kvgate.commands.keys import only_writes
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import every_command, supports
from kvgate.policy.users import User
from kvgate.routing.namespaces import Namespace, Namespaces
from kvgate.routing.slots import hash_text

NO_PERMISSION: Final = "NOPERM"
UNSUPPORTED: Final = "not supported by the backend"
UNAVAILABLE: Final = "not available through the gate"
LIMITED: Final = "against the namespace's limits"


@attrs.frozen(slots=True)
class Explanation:
    """The way of one key."""

    key: bytes
    namespace: str
    """Empty: none; then the rest is empty, too, and `refusal` says so."""
    rule: str
    backend: str
    type: str
    slot: int | None
    """None where the backend is not spread over slots."""
    slots: int
    upstream: str
    """The store's URL without user and password; empty where the store is no process that speaks RESP."""
    limits: str
    """What requests are held to besides, as the configuration says it; empty when nothing."""
    refusal: str
    """The error that the client would get, code first; empty when none is foreseen."""

    def pairs(self) -> list[tuple[str, str]]:
        """Names and texts in the order they are shown; what does not apply is left out."""
        shown = [
            ("key", self.key.decode("utf-8", "backslashreplace")),
            ("namespace", self.namespace),
            ("rule", self.rule),
            ("backend", f"{self.backend} ({self.type})" if self.backend else ""),
            ("slot", "" if self.slot is None else f"{self.slot} of {self.slots}"),
            ("upstream", self.upstream),
            ("limits", self.limits),
            ("refused", self.refusal),
        ]
        return [(name, text) for name, text in shown if text]


def refusal(spec: CommandSpec, namespace: Namespace, backend: Backend, user: User | None) -> errors.GateError | None:
    """Why the command on a key of the namespace would be refused, None when nothing is against it. Without a user: only
    what holds for everybody. The first reason, in the order that the gate looks."""
    if user is not None and not user.allows(spec):
        return errors.no_perm_command(spec.lower, user.name)
    if user is not None and (not user.sees(namespace) or (only_writes(spec) and not user.writes(namespace))):
        return errors.no_perm_key()
    if spec.action is Action.REFUSE:
        return errors.GateError(spec.why) if spec.why.startswith("ERR ") else errors.refused(spec.lower, spec.why)
    if not supports(spec, backend.capabilities):
        return errors.not_supported(spec.lower, backend.name, backend.type)
    if namespace.limits is not None:
        try:
            namespace.limits.check_command(spec, namespace.name)
            namespace.limits.check_script(spec, namespace.name, known=False)
        except errors.GateError as error:
            return error
    return None


def refused_commands(namespace: Namespace, backend: Backend, user: User | None) -> dict[str, list[str]]:
    """All commands with keys that would be refused, by reason (the constants above), in lower case and the table's order."""
    found: dict[str, list[str]] = {}
    for spec in every_command():
        if not spec.keys:
            continue
        error = refusal(spec, namespace, backend, user)
        if error is None:
            continue
        if namespace.limits is not None and error.text.endswith("in [namespaces])"):
            reason = LIMITED
        elif error.text.startswith(NO_PERMISSION):
            reason = NO_PERMISSION
        else:
            reason = UNAVAILABLE if spec.action is Action.REFUSE else UNSUPPORTED
        found.setdefault(reason, []).append(spec.lower)
    return found


def _of_key(key: bytes, namespace: Namespace) -> errors.GateError | None:
    """Why every command on the key would be refused, whatever it is."""
    if namespace.max_key is not None and len(key) > namespace.max_key:
        return errors.too_large("key", len(key), namespace.max_key, namespace.name)
    if namespace.limits is not None:
        try:
            namespace.limits.check_key(key, namespace.name)
        except errors.GateError as error:
            return error
    return None


def _shard(backend: Backend, key: bytes) -> tuple[int | None, int, str]:
    """Slot, number of slots, URL."""
    if not isinstance(backend, PassThrough):
        return None, 0, ""
    topology = backend.topology
    if len(topology.shards) == 1:
        return None, 0, topology.shards[0].url
    slot = topology.slot_of(hash_text(key))
    return slot, len(topology.slots), topology.shards[topology.slots[slot]].url


def _limits(namespace: Namespace, backend: Backend) -> str:
    """``max_key = 1024, ttl_max = 60000 ms``: sizes in bytes."""
    found: dict[str, int | str | float | None] = {"max_key": namespace.max_key}
    if namespace.max_value != backend.max_value:
        found["max_value"] = namespace.max_value
    limits = namespace.limits
    if limits is not None:
        found |= {name: getattr(limits, name) for name in ("max_field", "max_elements", "max_reply", "max_connections")}
        found["types"] = ", ".join(sorted(limits.types or ()))
        found["key_pattern"] = limits.key_pattern
        expiry = limits.expiry
        if expiry is not None:
            found |= {"ttl_default": _time(expiry.default), "ttl_max": _time(expiry.longest), "ttl_jitter": expiry.jitter}
    return "; ".join(f"{name} = {value}" for name, value in found.items() if value)


def _time(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds} ms"


def explain(
    key: bytes,
    namespaces: Namespaces,
    backends: Mapping[str, Backend],
    user: User | None = None,
    spec: CommandSpec | None = None,
) -> Explanation:
    """The way of the key, and why `spec` by `user` would be refused (without `spec`: whether the user may see the key)."""
    namespace = namespaces.of(key)
    if namespace is None:
        return Explanation(key, "", "", "", "", None, 0, "", "", errors.no_namespace(key).text)
    backend = backends[namespace.backend]
    if spec is not None:
        error = refusal(spec, namespace, backend, user)
    else:
        error = errors.no_perm_key() if user is not None and not user.sees(namespace) else None
    error = error or _of_key(key, namespace)
    slot, slots, upstream = _shard(backend, key)
    return Explanation(
        key=key,
        namespace=namespace.name,
        rule=namespace.rule,
        backend=backend.name,
        type=backend.type,
        slot=slot,
        slots=slots,
        upstream=upstream,
        limits=_limits(namespace, backend),
        refusal=error.text if error else "",
    )
