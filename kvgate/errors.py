"""The gate's own error replies: every text that a client may get from the gate and not from a store.

Each code has a page in docs/errors.md (what it means, whether to send again, what to do). A text that Redis has too is
Redis' own, letter for letter (observed on 7.0.15).
"""

from collections.abc import Sequence


class GateError(Exception):
    """An error that is answered to the client as ``-<text>``; the connection stays open."""

    namespace = ""
    """Where it is counted; empty: of no namespace."""

    def __init__(self, text: str) -> None:
        """Keep `text`, one line, beginning with its code: ``ERR …``, ``NOPERM …``."""
        super().__init__(text)
        self.text = text

    @property
    def code(self) -> str:
        """The first word: ``ERR``, ``NOPERM``."""
        return self.text.partition(" ")[0]

    @property
    def reply(self) -> bytes:
        """The whole RESP error reply, with its end of line."""
        return b"-" + self.text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape") + b"\r\n"


class ProtocolError(Exception):
    """Bytes that are no RESP request. `text` is Redis' own; the connection is answered ``-ERR <text>`` and closed."""

    def __init__(self, text: str) -> None:
        """Keep `text`: ``Protocol error: …``; a byte that is no UTF-8 as a surrogate."""
        super().__init__(text)
        self.text = text

    @property
    def reply(self) -> bytes:
        """The whole RESP error reply, with its end of line; then the connection is closed."""
        return GateError(f"ERR {self.text}").reply


class ConfigurationError(Exception):
    """A configuration that cannot be served: all its mistakes at once, each with its key path."""

    def __init__(self, mistakes: "list[str]") -> None:
        """Keep the mistakes: ``backends.cache.url: …``, one line each."""
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Conflict(Exception):  # noqa: N818 - the word every transaction engine uses for it
    """A transaction lost against another one; nothing of it was written, it may be run again."""


SYNTAX = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot"
BAD_DATABASE = "ERR DB index is out of range"
NO_AUTH = "NOAUTH Authentication required."
WRONG_PASS = "WRONGPASS invalid username-password pair or user is disabled."  # noqa: S105 - a reply, no password
NO_PROTO = "NOPROTO unsupported protocol version"


def syntax_error() -> GateError:
    """Redis' answer to options it does not understand."""
    return GateError(SYNTAX)


def wrong_arity(name: str) -> GateError:
    """`name` in lower case; a subcommand as ``client|setname``, as Redis 7 writes it."""
    return GateError(f"ERR wrong number of arguments for '{name}' command")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _cut(data: bytes, limit: int) -> bytes:
    """As Redis prints a string into an error: up to the first NUL, at most `limit` bytes."""
    return data[:limit].partition(b"\0")[0]


def _shown(data: bytes, limit: int) -> str:
    return _text(_cut(data, limit))


def unknown_command(args: Sequence[bytes]) -> GateError:
    """Redis' text, trailing space included; names and arguments are cut at 128 bytes together, as Redis cuts them."""
    shown = b""
    for arg in args[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % _cut(arg, 128 - len(shown))
    return GateError(f"ERR unknown command '{_shown(args[0], 128)}', with args beginning with: {_text(shown)}")


def unknown_subcommand(container: str, sub: bytes) -> GateError:
    """`container` in upper case: ``CLIENT``."""
    return GateError(f"ERR unknown subcommand '{_shown(sub, 128)}'. Try {container} HELP.")


def no_namespace(key: bytes) -> GateError:
    """The key belongs to no configured namespace, and there is no default."""
    return GateError(
        f"NONAMESPACE no namespace for key '{_shown(key, 64)}': name it in [namespaces] or set a default there"
    )


def not_supported(command: str, backend: str, kind: str) -> GateError:
    """The command exists, the backend of its keys cannot do it."""
    return GateError(
        f"ERR command '{command}' is not supported by backend '{backend}' ({kind});"
        f" see 'kvgate commands --backend {kind}'"
    )


def not_versioned(command: str, namespace: str) -> GateError:
    """The store lacks the module of the command, and the namespace does not say that the gate may keep versioned keys."""
    return GateError(
        f"ERR command '{command}' needs versioned = true in [namespaces.\"{namespace}\"]: the store lacks its module"
    )


def reserved_field() -> GateError:
    """A hash command names a field that only the encoding of versioned keys has."""
    return GateError("ERR names of fields that begin with \\x00kvgate: are the gate's own")


def no_digests() -> GateError:
    """DELEX with a condition on a digest of the value (Redis 8.4's XXH3)."""
    return GateError("ERR the gate computes no digests (IFDEQ, IFDNE): use IFEQ or IFNE")


def too_large(what: str, size: int, limit: int, namespace: str) -> GateError:
    """`what` is ``key``, ``field``, ``value`` or ``request``; sizes in bytes. Nothing was sent to a store."""
    return GateError(
        f"ERR {what} of {size} bytes is over the limit of {limit} bytes in namespace '{namespace}'"
        f" (max_{what} in [namespaces])"
    )


def forbidden_command(command: str, namespace: str) -> GateError:
    """The namespace's ``forbidden`` names the command."""
    return GateError(f"NOPERM command '{command}' is forbidden in namespace '{namespace}' (forbidden in [namespaces])")


def wrong_type_there(command: str, kind: str, namespace: str, types: str) -> GateError:
    """The command makes or reads keys of the type `kind`, which the namespace's ``types`` does not list."""
    return GateError(
        f"NOPERM command '{command}' is about keys of type '{kind}', and namespace '{namespace}' has"
        f" {types} only (types in [namespaces])"
    )


def wrong_key(namespace: str) -> GateError:
    """A key that the namespace's ``key_pattern`` does not match."""
    return GateError(f"ERR key does not match the pattern of namespace '{namespace}' (key_pattern in [namespaces])")


def too_many_elements(count: int, limit: int, namespace: str) -> GateError:
    """One request with more keys, fields or members than the namespace takes."""
    return GateError(
        f"ERR {count} elements are over the limit of {limit} elements in namespace '{namespace}'"
        " (max_elements in [namespaces])"
    )


def lasting_key(command: str, namespace: str) -> GateError:
    """PERSIST and its kin, in a namespace whose keys all expire."""
    return GateError(
        f"ERR '{command}' would leave a key without expiry in namespace '{namespace}' (ttl_default, ttl_max in [namespaces])"
    )


def unlimited_script(command: str, namespace: str) -> GateError:
    """A script in a namespace with limits that the gate keeps by looking at commands."""
    return refused(
        command,
        f"a script could break the limits of namespace '{namespace}';"
        " add its SHA-1 to allowed_scripts in [gate] if it keeps them",
    )


def reply_over_limit(limit: int, whose: str) -> GateError:
    """A reply that is not delivered; `whose` is ``user 'ads'`` or ``namespace 'Ads.Profile'``."""
    return GateError(
        f"ERR reply of more than {limit} bytes is over the limit of {whose} (max_reply); the command was executed"
    )


def too_many_connections(limit: int, whose: str) -> GateError:
    """Redis' words for too many clients, and whose they are: ``user 'ads'``, ``namespace 'Ads.Profile'``."""
    return GateError(f"ERR max number of clients reached: {limit} of {whose} (max_connections)")


def refused(command: str, why: str) -> GateError:
    """A command that the gate forwards to no store, with the `why` of its row; one that begins with ``ERR`` is Redis' own
    whole answer (CLUSTER on a server without it)."""
    if why.startswith("ERR "):
        return GateError(why)
    return GateError(f"ERR command '{command}' is not available through the gate: {why}")


def throttled(milliseconds: int, namespace: str = "") -> GateError:
    """Too much was asked for, or too many wrong passwords came; not executed. `namespace` is where it is counted."""
    error = GateError(f"THROTTLED retry after {max(1, milliseconds)} ms")
    error.namespace = namespace
    return error


def try_again(why: str) -> GateError:
    """Not executed; it may be sent again."""
    return GateError(f"TRYAGAIN not executed, may be sent again: {why}")


def in_doubt(why: str) -> GateError:
    """A write that may or may not have been executed: read before sending it again."""
    return GateError(f"INDOUBT the write may or may not have been executed: {why}")


def reply_too_large(limit: int) -> GateError:
    """A read of a whole hash that would give more than `limit` bytes (whole MiB); nothing was sent of it."""
    return GateError(f"ERR reply of more than {limit >> 20} MiB: read the hash in parts, with HSCAN")


def string_too_long(limit: int) -> GateError:
    """APPEND and its kin would make a string of more than `limit` bytes: Redis' text, but for what sets the limit."""
    return GateError(f"ERR string exceeds maximum allowed size (max_value of the backend: {limit} bytes)")


def upstream_refused(text: str) -> GateError:
    """The store refused the gate itself (its password, its rights), not the client."""
    return GateError(f"ERR upstream refused the gate: {text}; check the backend's url, user and password_file")


def cross_slot() -> GateError:
    """Keys of one command on several shards, where the command cannot be split."""
    return GateError(CROSS_SLOT)


def select_while_subscribed() -> GateError:
    """Channels belong to the namespace of the database in which they were subscribed to: it cannot change under them."""
    return GateError("ERR databases with namespaces of their own cannot be changed while subscribed: UNSUBSCRIBE first")


def no_perm_command(command: str, user: str) -> GateError:
    """`command` in lower case, ``client|kill`` for a subcommand; Redis 7.0 names the command alone."""
    del user  # Redis 7.0 does not name the user here; 7.2 does
    return GateError(f"NOPERM this user has no permissions to run the '{command}' command")


def not_an_operator() -> GateError:
    """The connection came by ``gate.admin``, and its user may not administer the gate."""
    return GateError("NOPERM this address is for operators: the user's rules have to grant GATE RELOAD")


def no_perm_key() -> GateError:
    """Redis 7.0's text for a key outside of the user's patterns; it does not say which key."""
    return GateError("NOPERM this user has no permissions to access one of the keys used as arguments")


def no_perm_channel() -> GateError:
    """Redis 7.0's text for a channel outside of the user's patterns."""
    return GateError("NOPERM this user has no permissions to access one of the channels used as arguments")


def blocked(what: str, name: bytes, until: str) -> GateError:
    """GATE BLOCK: `what` is ``namespace``, ``user`` or ``key``, or ``writes to …``; `until` a time for people."""
    return GateError(f"BLOCKED {what} '{_shown(name, 64)}': an operator has blocked it until {until}; nothing was sent")


def cannot_block(why: str) -> GateError:
    """GATE BLOCK or UNBLOCK that names nothing, too much, or was not confirmed by all workers."""
    return GateError(f"ERR not blocked: {why}")


def no_perm_script() -> GateError:
    """A script or function that may write, where the user may only read some of the namespaces on the store."""
    return GateError(
        "NOPERM a script could write to namespaces that this user may only read: use EVAL_RO, EVALSHA_RO or FCALL_RO"
    )
