"""Scripts, functions and PUBSUB: what reaches stores without a key that says which, and what a script may not do.

A script can touch any key of its store, whatever keys it names. So where a namespace that the user lacks lies on the same
store, scripts are refused, unless the store itself holds the user to its keys (``upstream_user``) or the script is one of
those that are known to touch only the keys they name.
"""

from typing import TYPE_CHECKING, Final

from kvgate.admin.common import bad_arguments
from kvgate.backend import Backend, Command
from kvgate.commands.home import Home
from kvgate.commands.scripts import KNOWN_SCRIPTS, claim, script_sha, sha_of
from kvgate.commands.spec import CommandSpec
from kvgate.errors import GateError, cross_slot, no_perm_script, refused, unlimited_script
from kvgate.lane.client import Client
from kvgate.lane.everywhere import merge_everywhere
from kvgate.policy.users import User
from kvgate.server.places import Place
from kvgate.wire.glob import glob_matcher
from kvgate.wire.reply import Error, Map, Raw, Reply, SetOf, decode
from kvgate.wire.request import encode_request

if TYPE_CHECKING:
    from kvgate.server.dispatch import Dispatcher, Way


_SHOW_ONLY: Final = frozenset({"FUNCTION|LIST", "FUNCTION|DUMP", "FUNCTION|STATS"})


def place(
    gate: "Dispatcher", user: User, spec: CommandSpec, args: list[bytes], places: list[Place], home: Home | None
) -> Place:
    """Where a script runs, if it may; one without keys where the client's `home` is, if it has one.

    Raises:
        GateError: keys on several shards; no keys and several shards; a store that is shared with others.
    """
    if places:
        first = places[0]
        if any(other.backend is not first.backend or other.shard is not first.shard for other in places):
            raise cross_slot()
    else:
        first = _only_shard(gate, user, spec, home)
    held = all(each.namespace.upstream_user for each in places or [first]) or _known(gate, spec, args)
    if not held and gate.places.shared(user, first.backend):
        raise refused(
            spec.lower,
            "other applications' keys lie on the same store, and a script could reach them;"
            " add its SHA-1 to allowed_scripts in [gate] if it touches only the keys it names",
        )
    if not places and not spec.readonly and not _known(gate, spec, args):
        for rule in gate.places.namespaces.on(first.backend.name):
            if rule.limits is not None and rule.limits.holds_scripts and user.sees_some(rule):
                raise unlimited_script(spec.lower, rule.name)
    if gate.places.blocks.active and not _known(gate, spec, args):
        gate.places.refuse_beside(first, writes=not spec.readonly)
    if not spec.readonly and user.read_only:
        if not places and not user.writes(first.namespace):
            raise no_perm_script()
        if not held and gate.places.shared(user, first.backend, writing=True):
            raise no_perm_script()
    return first


def _only_shard(gate: "Dispatcher", user: User, spec: CommandSpec, home: Home | None) -> Place:
    """For a script without keys: the one shard that the user sees."""
    spaces = gate.places.namespaces
    own = None if home is None else spaces.of(home.prefix)
    found = [
        Place(rule, gate.backends[rule.backend], shard)
        for rule in (spaces.rules if own is None else [own])
        if user.sees_some(rule) and spec.capability in gate.backends[rule.backend].capabilities
        for shard in gate.places.shards.get(rule.backend, ())
    ]
    if not found:
        raise _no_lua(spec)
    if len({(each.backend.name, each.shard) for each in found}) != 1:
        raise GateError(f"ERR '{spec.lower}' without keys: {len(found)} stores could be meant; name a key")
    return found[0]


def _known(gate: "Dispatcher", spec: CommandSpec, args: list[bytes]) -> bool:
    sha = script_sha(spec, args)
    return sha in KNOWN_SCRIPTS or (sha != "" and sha in gate.configuration.gate.allowed_scripts)


# ---------------------------------------------------------------------- SCRIPT, FUNCTION: every store of the user


def _everywhere(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del now
    user: User | None = client.session.user
    if user is None:
        return
    backends = [backend for backend in gate.places.visible(user) if spec.capability in backend.capabilities]
    if not backends:
        gate.reply(client, _without_lua(gate.places.visible(user), spec, args))
        return
    writing = spec.name not in _SHOW_ONLY
    if "@shared" in spec.categories and any(gate.places.shared(user, backend, writing=writing) for backend in backends):
        raise refused(spec.lower, "other applications use the same store")
    gate.tasks.alone(client, _ask_all, gate, client, backends, Command(args, spec, (), frame))


def _without_lua(backends: list[Backend], spec: CommandSpec, args: list[bytes]) -> Reply:
    """SCRIPT LOAD and EXISTS where no backend of the user's runs Lua: of the scripts that these know by their SHA-1.

    Raises:
        GateError: another script is to be loaded; none of them knows any.
    """
    served = {sha for sha in KNOWN_SCRIPTS if any(claim(sha) in backend.capabilities for backend in backends)}
    if spec.name == "SCRIPT|EXISTS" and served:
        return [int(sha.lower().decode("ascii", "replace") in served) for sha in args[2:]]
    if spec.name == "SCRIPT|LOAD" and (sha := sha_of(args[2])) in served:
        return sha.encode()
    raise _no_lua(spec)


def _no_lua(spec: CommandSpec) -> GateError:
    return GateError(f"ERR command '{spec.lower.replace('|', ' ')}' is not supported by any backend that this user may see")


async def _ask_all(gate: "Dispatcher", client: Client, backends: list[Backend], command: Command) -> Raw | Reply:
    """Every backend in turn, each over all its shards; the first error, or what all say together."""
    raws = [(await gate.execution.execute(backend, [command], client.session))[0] for backend in backends]
    if len(raws) == 1:
        return raws[0]
    return merge_everywhere(command.spec.name, [decode(raw) for raw in raws])


def _items(reply: Reply) -> list[Reply]:
    return reply if isinstance(reply, list) else []


# ---------------------------------------------------------------------- PUBSUB


def _pubsub(gate: "Dispatcher", client: Client, spec: CommandSpec, args: list[bytes], frame: bytes, now: float) -> None:
    del frame, now
    user: User | None = client.session.user
    if user is None:
        return
    home: Home | None = client.session.home
    own = None if home is None else gate.places.namespaces.of(home.prefix)
    visible = gate.places.visible(user) if own is None else [gate.backends[own.backend]]
    backends = [backend for backend in visible if "pubsub" in backend.capabilities]
    if spec.name.endswith("CHANNELS") and len(args) > 3:
        raise bad_arguments("PUBSUB", args[1])
    if spec.name == "PUBSUB|NUMPAT" and any(gate.places.shared(user, backend) for backend in backends):
        raise refused(spec.lower, "other applications use the same store, and their patterns would be counted")
    if home is not None and spec.name.endswith("CHANNELS"):
        gate.tasks.alone(client, _channels_at_home, gate, client, user, spec, args, backends, home)
        return
    gate.tasks.alone(client, _count_subscribers, gate, client, user, spec, args, backends, home)


async def _count_subscribers(
    gate: "Dispatcher",
    client: Client,
    user: User,
    spec: CommandSpec,
    args: list[bytes],
    backends: list[Backend],
    home: Home | None,
) -> Reply:
    """Of channels that the user may see; the numbers are those of the gates' connections, one for each subscriber."""
    command = Command(args, spec, (), encode_request(args))
    channels: dict[bytes, int] = dict.fromkeys(args[2:], 0) if spec.name.endswith("NUMSUB") else {}
    patterns = 0
    for backend in backends:
        raw = (await gate.execution.execute(backend, [command], client.session))[0]
        reply = decode(raw)
        if isinstance(reply, Error):
            raise GateError(reply.text.decode("utf-8", "replace"))
        if isinstance(reply, int):
            patterns += reply
            continue
        items = [*reply.items] if isinstance(reply, SetOf) else _items(reply)
        if isinstance(reply, Map):
            items = [part for pair in reply.pairs for part in pair]
        if spec.name.endswith("NUMSUB"):
            for name, count in dict(zip(items[::2], items[1::2], strict=True)).items():  # who asks twice is answered twice
                if isinstance(name, bytes) and isinstance(count, int) and _visible(gate, user, name):
                    channels[name] += count
        else:
            channels.update({name: 1 for name in items if isinstance(name, bytes) and _visible(gate, user, name)})
    if spec.name == "PUBSUB|NUMPAT":
        return patterns
    if spec.name.endswith("NUMSUB"):
        shown = args[2:] if home is None else [home.said(name) for name in args[2:]]
        return [part for name, said in zip(args[2:], shown, strict=True) for part in (said, channels[name])]
    return [*channels]


async def _channels_at_home(
    gate: "Dispatcher",
    client: Client,
    user: User,
    spec: CommandSpec,
    args: list[bytes],
    backends: list[Backend],
    home: Home,
) -> Reply:
    """PUBSUB CHANNELS and SHARDCHANNELS. Key events are left out: their channels are everybody's."""
    pattern = args[2] if len(args) > 2 else b"*"
    matches, found = glob_matcher(pattern), dict[bytes, None]()
    for whole in home.patterns(pattern):
        if home.is_event(whole):
            continue
        reply = await _count_subscribers(gate, client, user, spec, [*args[:2], whole], backends, home)
        for name in _items(reply):
            said = home.said(name) if isinstance(name, bytes) else None
            if said is not None and matches(said):
                found[said] = None
    return [*found]


def _visible(gate: "Dispatcher", user: User, channel: bytes) -> bool:
    namespace = gate.places.namespaces.of_channel(channel)
    return namespace is not None and user.sees(namespace)


WAYS: "dict[str, Way]" = {
    **dict.fromkeys(
        [
            "SCRIPT|LOAD",
            "SCRIPT|EXISTS",
            "SCRIPT|FLUSH",
            "FUNCTION|LOAD",
            "FUNCTION|DELETE",
            "FUNCTION|FLUSH",
            "FUNCTION|RESTORE",
            "FUNCTION|LIST",
            "FUNCTION|DUMP",
            "FUNCTION|STATS",
        ],
        _everywhere,
    ),
    **dict.fromkeys(
        ["PUBSUB|CHANNELS", "PUBSUB|NUMSUB", "PUBSUB|NUMPAT", "PUBSUB|SHARDCHANNELS", "PUBSUB|SHARDNUMSUB"], _pubsub
    ),
}
