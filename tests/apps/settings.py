"""Where applications run: gates before a Redis, the embedded store or TiKV, with one application or with two tenants."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import attrs

from kvgate_tikv.bridge import NotInstalled, load
from tests.apps.catalogue import App, Unavailable
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, Gate, RedisServer, redis_binary
from tests.tikv import program

BACKENDS = ("redis", "redis, two tenants", "redis, two tenants by ACL", "lmdb", "lmdb, two tenants", "tikv")
"""One store behind the gate: alone and in the default namespace, or as two users at home in namespaces of their own. By ACL:
the store has a user for each tenant too, which holds scripts to the tenant's keys, so that none of them has to be allowed."""
TENANTS = ("One", "Two")
_SECRET = "throw-away"

_USERS = """
[users.{user}]
password_sha256 = ["{hash}"]
databases = {{ 0 = "{app}.Main", 1 = "{app}.More" }}
"""
_NEIGHBOUR = """
[users.neighbour]
password_sha256 = ["{hash}"]
namespaces = ["Other.*", "default"]
[users.operator]
password_sha256 = ["{hash}"]
namespaces = ["*"]
commands = ["+@all"]
"""

NEIGHBOURS: tuple[tuple[str, ...], ...] = (
    ("SET", "Other.Data:plain", "kept"),
    ("SET", "celery-task-meta-of-another", "kept", "PX", "3600000"),
    ("SET", ":1:value", "kept"),
    ("SET", "lock:stale", "kept"),
    ("SET", "rq:job:once", "kept"),
    ("HSET", "Other.Data:hash", "field", "kept"),
)
"""Of every kind of store: what nobody of the tenants may see, change or remove. Some have names that the applications use."""
LISTS: tuple[tuple[str, ...], ...] = (
    ("RPUSH", "celery", "not a message"),
    ("RPUSH", "rq:queue:default", "not a job"),
    ("RPUSH", "dramatiq:default", "not a message"),
    ("SADD", "rq:queues", "rq:queue:default"),
    ("SADD", "rq:workers", "nobody"),
    ("SADD", "_kombu.binding.celery", "nothing"),
    ("SADD", "_kombu.binding.celery.pidbox", "nothing"),
    ("ZADD", "unacked_index", "1", "nothing"),
    ("ZADD", "huey.schedule.checks", "1", "nothing"),
    ("XADD", "Other.Data:stream", "1-1", "field", "kept"),
)
"""The same, where the store has these types."""


class Disturbed(AssertionError):  # noqa: N818 - what a run may turn out to be
    """A tenant saw or changed what is another's."""


@attrs.define
class Place:
    """A running gate, and what an application is told of it."""

    backend: str
    gate: Gate
    urls: tuple[tuple[str, ...], ...]
    """For each application its URLs: one, or one for each database."""
    neighbours: tuple[tuple[str, ...], ...] = ()
    before: "dict[bytes, object]" = attrs.field(factory=dict)

    def check_separate(self) -> None:
        """Raise `Disturbed` when a neighbour's key has changed, or a tenant is shown a key that is not its own."""
        if not self.neighbours:
            return
        if (after := _read(self.gate, self.neighbours)) != self.before:
            msg = f"a neighbour's keys have changed: {self.before} became {after}"
            raise Disturbed(msg)
        with _client(self.gate, "operator") as operator:
            everything: set[bytes] = set(operator.cmd("KEYS", "*"))
            known = {line[1].encode() for line in self.neighbours}
            for tenant in TENANTS:
                for database, part in enumerate(("Main", "More")):
                    prefix = f"{tenant}.{part}:".encode()
                    own = {key for key in everything if key.startswith(prefix)}
                    known |= own
                    with _client(self.gate, tenant.lower()) as client:
                        client.cmd("SELECT", database)
                        shown = {prefix + key for key in client.cmd("KEYS", "*")}
                    if shown - own or any(operator.cmd("EXISTS", key) for key in own - shown):
                        msg = f"{tenant} has {own} in database {database}, and is shown {shown}"
                        raise Disturbed(msg)
        if everything != known:
            msg = f"keys outside of all namespaces of the tenants: {everything - known}"
            raise Disturbed(msg)


def _client(gate: Gate, user: str) -> Resp:
    return gate.client(user=user, password=_SECRET)


def _read(gate: Gate, neighbours: Sequence[Sequence[str]]) -> dict[bytes, object]:
    """Every neighbour's value and expiry, as its owner reads them."""
    reads = {"SET": ("GET",), "HSET": ("HGETALL",), "RPUSH": ("LRANGE", "0", "-1"), "SADD": ("SMEMBERS",),
             "ZADD": ("ZRANGE", "0", "-1", "WITHSCORES"), "XADD": ("XRANGE", "-", "+")}  # fmt: skip
    with _client(gate, "neighbour") as client:
        found: dict[bytes, object] = {}
        for word, key, *_ in neighbours:
            command, *rest = reads[word]
            found[key.encode()] = (client.cmd(command, key, *rest), client.cmd("PEXPIRETIME", key))
        return found


def _store(stack: ExitStack, kind: str) -> str:
    """The text of the backend's table, its server started where it needs one. Raises `Unavailable`."""
    if kind == "redis":
        return f'type = "redis"\nurl = "{_redis(stack).url}"\n'
    if kind == "lmdb":
        return 'type = "lmdb"\npath = "data"\n'
    try:
        load()
        server = stack.enter_context(program.TikvServer())
    except (NotInstalled, program.Unavailable) as error:
        raise Unavailable(str(error)) from None
    return f'type = "tikv"\npd = ["{server.pd}"]\n'


def _redis(stack: ExitStack) -> RedisServer:
    if redis_binary is None:
        raise Unavailable(NO_REDIS)
    return stack.enter_context(RedisServer())


def _by_acl(stack: ExitStack) -> str:
    """Backends and namespaces where the store holds each tenant to its keys and channels."""
    redis = _redis(stack)
    text = f'[backends.store]\ntype = "redis"\nurl = "{redis.url}"\n'
    for app in TENANTS:
        redis.cmd(
            "ACL",
            "SETUSER",
            app.lower(),
            "on",
            f">{_SECRET}",
            f"~{app}.*",
            "allchannels",
            "+@all",
            "-@dangerous",
            "+info",
            "+keys",
        )
        url = redis.url.replace("redis://", f"redis://{app.lower()}:{_SECRET}@")
        text += f'[backends.{app.lower()}]\ntype = "redis"\nurl = "{url}"\n'
        text += f'[namespaces."{app}.*"]\nbackend = "{app.lower()}"\nupstream_user = "{app.lower()}"\n'
    return text + '[namespaces]\ndefault = "store"\n"Other.*" = "store"\n'


@contextmanager
def place(backend: str, apps: Sequence[App]) -> Iterator[Place]:
    """A gate for `apps` (two where there are tenants, else one) until the end of the block.

    Raises:
        Unavailable: this machine lacks the store.
    """
    kind, _, tenants = backend.partition(", ")
    with ExitStack() as stack:
        if not tenants:
            gate = stack.enter_context(Gate(f'[backends.store]\n{_store(stack, kind)}\n[namespaces]\ndefault = "store"\n'))
            yield Place(backend, gate, ((gate.url, gate.url),) * len(apps))
            gate.check_log()
            return
        if tenants.endswith("ACL"):
            config = _by_acl(stack)
        else:
            config = f'[backends.store]\n{_store(stack, kind)}\n[namespaces]\ndefault = "store"\n'
            config += "".join(f'"{app}.*" = "store"\n' for app in (*TENANTS, "Other"))
        digest = hashlib.sha256(_SECRET.encode()).hexdigest()
        config += _NEIGHBOUR.format(hash=digest)
        config += "".join(_USERS.format(user=app.lower(), app=app, hash=digest) for app in TENANTS)
        allowed = sorted({sha for app in apps for sha in app.scripts}) if backend == "redis, two tenants" else []
        gate = stack.enter_context(Gate(config, gate=f"allowed_scripts = {allowed}\n"))
        neighbours = NEIGHBOURS + (LISTS if kind == "redis" else ())
        with _client(gate, "neighbour") as client:
            for line in neighbours:
                client.cmd(*line)
        address = f"{gate.host}:{gate.port}"
        urls = tuple(
            tuple(f"redis://{tenant.lower()}:{_SECRET}@{address}/{database}" for database in (0, 1)) for tenant in TENANTS
        )
        found = Place(backend, gate, urls, neighbours, _read(gate, neighbours))
        yield found
        found.check_separate()
        gate.check_log()
