"""Where all keys and channels of one command lie, each checked for the user, the store and the limits of its namespace."""

from kvgate.backend import INTERNAL_PREFIX
from kvgate.commands.keys import channels, hidden_patterns, key_indices, written_keys
from kvgate.commands.scripts import script_sha, served_as
from kvgate.commands.spec import CommandSpec
from kvgate.commands.table import supports
from kvgate.errors import cross_slot, no_namespace, no_perm_channel, no_perm_key, not_supported, too_large
from kvgate.policy.users import User
from kvgate.routing.namespaces import LONGEST_NAME, Namespace, notification
from kvgate.routing.slots import hash_text
from kvgate.server.places import Place, Places


def located(places: Places, user: User, spec: CommandSpec, args: list[bytes]) -> list[tuple[int, Place]]:
    """Where the command's keys and channels lie, by index in `args`: seen by the user, served there, not too large.

    Raises:
        GateError: NONAMESPACE, NOPERM, not supported, over a limit.
    """
    found: list[tuple[int, Place]] = []
    written = written_keys(spec, args) if user.read_only else frozenset()
    for index in key_indices(spec, args):
        key = args[index]
        namespace = places.namespace(user, key)
        if index in written and not user.writes(namespace):
            raise no_perm_key()
        found.append((index, places.place(namespace, key)))
    keys = len(found)
    sends = spec.name in ("PUBLISH", "SPUBLISH")
    found += [(index, _channel(places, user, args[index], sends=sends)) for index in channels(spec, args)]
    served = served_as(spec, args)
    for index, place in found:
        if not supports(served, place.backend.capabilities):
            raise not_supported(spec.lower, place.backend.name, place.backend.type)
        limit = place.namespace.max_key
        if limit is not None and len(args[index]) > limit:
            raise too_large("key", len(args[index]), limit, place.namespace.name)
    for pattern in hidden_patterns(spec, args):
        _pattern_stays(places, user, args[pattern], found)
    if found:
        _fits(places, args, found)
        if places.blocks.active:
            _not_blocked(places, user, spec, args, found)
        if any(place.namespace.limits is not None for _, place in found):
            _within_limits(places, spec, args, found, keys)
    return found


def _within_limits(
    places: Places, spec: CommandSpec, args: list[bytes], found: list[tuple[int, Place]], keys: int
) -> None:
    """The limits of all namespaces involved; `keys` of what was found are keys, the rest are channels.

    Raises:
        GateError: over one of them.
    """
    known = served_as(spec, args) is not spec or script_sha(spec, args) in places.allowed_scripts
    for number, (index, place) in enumerate(found):
        limits, name = place.namespace.limits, place.namespace.name
        if limits is None:
            continue
        limits.check_command(spec, name)
        if number >= keys:
            continue
        limits.check_script(spec, name, known=known)
        limits.check_key(args[index], name)
        limits.check_request(spec, args, keys, name)
        if number:
            source = found[0][1].namespace
            limits.check_target(spec, limits if source.rule == place.namespace.rule else source.limits, name)


def channel_place(places: Places, namespace: Namespace, channel: bytes) -> Place:
    """Where a channel of the namespace lies: a key's notifications come from the key's shard."""
    return places.place(namespace, notification(channel)[1])


def largest_of(places: Places, namespace: Namespace) -> int:
    """Bytes that one argument may have in a namespace."""
    return places.backends[namespace.backend].max_value if namespace.max_value is None else namespace.max_value


def _channel(places: Places, user: User, channel: bytes, *, sends: bool) -> Place:
    """Where a channel lies: as a key of that name would. A message is sent only by who may write there."""
    namespace = places.namespaces.of_channel(channel)
    if namespace is None:
        raise no_namespace(channel)
    if not user.sees(namespace) or not namespace.backend or (sends and not user.writes(namespace)):
        raise no_perm_channel()
    return channel_place(places, namespace, channel)


def _not_blocked(places: Places, user: User, spec: CommandSpec, args: list[bytes], found: list[tuple[int, Place]]) -> None:
    """Last of all, so that who may not use a key learns nothing of blocks."""
    places.blocks.refuse_keys(spec, args, [(index, place.namespace) for index, place in found])
    for index in hidden_patterns(spec, args):
        literal = args[index].partition(b"*")[0]
        only = places.namespaces.of(literal) if b":" in literal[: LONGEST_NAME + 1] else None
        places.refuse_listing(user, only, writes=False)
        for block in places.blocks.of_keys():
            if not block.writes_only and block.name.startswith(literal):
                raise block.error


def _pattern_stays(places: Places, user: User, pattern: bytes, found: list[tuple[int, Place]]) -> None:
    """SORT's BY and GET patterns may only reach keys of namespaces that the user sees, on the same single shard."""
    literal = pattern[: pattern.find(b"*")]  # to SORT all but the first star is literal
    reached = places.namespaces.of_beginning(literal)
    if not reached or not all(user.sees(namespace) for namespace in reached):
        raise no_perm_key()
    if INTERNAL_PREFIX.startswith(literal[: len(INTERNAL_PREFIX)]) and literal:
        raise no_perm_key()
    here = found[0][1]
    if any(namespace.backend != here.namespace.backend for namespace in reached):
        raise cross_slot()
    one = len(places.shards.get(here.namespace.backend, ())) == 1
    tagged = b"}" in literal and hash_text(literal) != literal  # all that the pattern names have this tag
    if not one and not (tagged and places.place(here.namespace, literal).shard is here.shard):
        raise cross_slot()


def _fits(places: Places, args: list[bytes], found: list[tuple[int, Place]]) -> None:
    """No argument is larger than the smallest limit of the namespaces involved."""
    longest = max(map(len, args))
    for _, place in found:
        limit = largest_of(places, place.namespace)
        if longest > limit:
            raise too_large("value", longest, limit, place.namespace.name)
