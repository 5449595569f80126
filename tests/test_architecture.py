"""Reads every import of the packages and holds the order of rooms in docs/architecture.md: imports go to the left only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[1]

ROOMS = (
    ("errors",),
    ("wire",),
    ("commands",),
    ("backend",),
    ("policy", "routing", "metrics"),
    ("model",),
    ("lane",),
    ("server", "admin", "assess"),
    ("config", "cli"),
)
"""Left to right; rooms of one entry stand side by side and may import one another, as long as no circle comes of it."""

RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}

TRIO = {
    "kvgate.backend": "the Protocols name trio's TaskStatus",
    "kvgate.model.memory": "the engine of tests waits for its lock",
    "kvgate.lane.driver": "waits for the epoll descriptor",
    "kvgate.lane.connect": "connects to stores within a deadline",
    "kvgate.lane.own": "a connection of one client's own is used by tasks",
    "kvgate.server.app": "starts everything, and ends it on signals",
    "kvgate.server.control": "calls between the parent and its workers wait for answers",
    "kvgate.server.figures": "lets the lane go on while it looks through everything",
    "kvgate.server.http": "connections of watchers, with time limits",
    "kvgate.server.monitor": "asks all workers side by side, one scrape at a time",
    "kvgate.server.process": "one process from start to drain",
    "kvgate.server.reload": "one reload at a time, the file parsed in a thread",
    "kvgate.server.supervisor": "the parent waits for connections, signals and workers",
    "kvgate.server.surroundings": "waits until balancers look away",
    "kvgate.server.switching": "waits for what is under way, adopts clients in portions",
    "kvgate.server.worker": "one worker from start to end",
    "kvgate.server.logins": "passwords are hashed on threads, a few at a time",
    "kvgate.server.listing": "pages of several stores side by side, within a deadline",
    "kvgate.server.subscriptions": "a task for each feed",
    "kvgate.server.seats": "tells other workers of changes, at intervals",
    "kvgate.server.tasks": "starts tasks for slow commands",
    "kvgate.server.execution": "tells adapters a deadline",
    "kvgate.server.pauses": "waits for the end of a pause",
    "kvgate.server.budget": "asks the place where budgets are shared",
    "kvgate.server.turns": "waits for the next turn",
    "kvgate.server.shared": "a backend waits for the lane's reply",
    "kvgate.server.blocks": "waits for the end of a block",
    "kvgate.server.blocking": "a blocked command ends with its client",
    "kvgate.server.watch": "what is watched is asked within a command's budget",
    "kvgate.server.session": "names a task's cancel scope",
    "kvgate.server.command_monitor": "looks at intervals what other workers have seen",
    "kvgate.server.traces": "waits for the thread that sends, at the end",
    "kvgate.server.weighing": "waits a moment for a run that has begun",
    "kvgate_lmdb.backend": "owns the sweeper's task",
    "kvgate_lmdb.engine": "commits on a thread",
    "kvgate_lmdb.groups": "gathers writes of several tasks",
    "kvgate_lmdb.moving": "moves the journal on a thread or by a process",
    "kvgate_lmdb.reads": "long reads on threads, few at a time",
    "kvgate_lmdb.weighing": "pauses between portions on a thread",
    "kvgate_redis.backend": "owns the tasks of a backend",
    "kvgate_redis.health": "asks stores at intervals",
    "kvgate_redis.listing": "paces listings",
    "kvgate_redis.spread": "asks shards side by side",
    "kvgate_redis.sweep": "sweeps at intervals",
    "kvgate_redis.weighing": "pauses between pages",
    "kvgate_tikv.backend": "owns the tasks of a backend",
    "kvgate_tikv.bridge": "deadlines of native calls, commits that no cancellation interrupts",
    "kvgate_tikv.calls": "waits for native futures",
    "kvgate_tikv.groups": "gathers writes of several tasks, commits shielded",
    "kvgate_tikv.job": "waits for replies until a deadline",
    "kvgate_tikv.link": "connects, and watches, at intervals",
    "kvgate_tikv.reads": "gathers reads of several tasks",
    "kvgate_tikv.retry": "pauses between tries",
    "kvgate_tikv.run": "two calls side by side",
    "kvgate_tikv.upkeep": "renews a lease, sweeps, at intervals",
    "kvgate_tikv.weighing": "pauses between pages",
}
"""Who may import trio, and what for. Everything else is decided without waiting, and tested without an event loop."""

NO_IO = ("kvgate.wire", "kvgate.commands", "kvgate.policy", "kvgate.routing", "kvgate.lane.machine")
"""Sans I/O: these see bytes and times, never a socket, a clock or an event loop."""
IO_MODULES = frozenset({"asyncio", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time", "trio"})
IO_EXCEPTIONS: dict[tuple[str, str], str] = {}


@attrs.frozen
class Import:
    """One import statement's target: `module` is imported by `importer` (both dotted), in `line`."""

    importer: str
    module: str
    line: int

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.importer}, line {self.line}: imports {self.module}"


def packages() -> dict[str, Path]:
    """Our import packages and where they are."""
    found = {"kvgate": ROOT / "kvgate"}
    found.update({path.name: path for path in sorted((ROOT / "backends").glob("kvgate_*")) if (path / "__init__.py").exists()})
    return found


def modules() -> Iterator[tuple[str, Path]]:
    """Dotted name and file of each of our modules."""
    for package, folder in packages().items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


NAMES = dict(modules())


def imports() -> Iterator[Import]:
    """Every import, wherever it stands in its file; of ``from a import b``, ``a.b`` when that is a module of ours."""
    for importer, path in NAMES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(importer, alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: a relative import; say the whole name"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield Import(importer, whole if whole in NAMES else str(node.module), node.lineno)


IMPORTS = list(imports())


def room(module: str) -> str | None:
    """The room of one of kvgate's own modules; None for the package itself and for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "kvgate" and len(parts) > 1 else None


def inside(module: str, area: str) -> bool:
    return module == area or module.startswith(area + ".")


def test_every_room_has_its_place() -> None:
    assert {room(name) for name in NAMES if room(name)} <= set(RANK), "a new room: give it a place in ROOMS"
    assert len(IMPORTS) > 100, "the reader of imports found next to nothing"


def test_imports_go_to_the_left_only() -> None:
    wrong = []
    for seen in IMPORTS:
        here, there = room(seen.importer), room(seen.module)
        if here and there and RANK[there] > RANK[here]:
            wrong.append(f"{seen.where}: {there} is to the right of {here}")
    assert not wrong, "\n".join(wrong)


def test_no_circles() -> None:
    """At module level; what a function imports inside is not looked at, and the linter wants a reason for it there."""
    graph: dict[str, set[str]] = {name: set() for name in NAMES}
    for name, path in NAMES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            found = [node] if isinstance(node, ast.Import | ast.ImportFrom) else []
            for statement in found:
                targets = [alias.name for alias in statement.names]
                if isinstance(statement, ast.ImportFrom):
                    whole = [f"{statement.module}.{target}" for target in targets]
                    targets = [target if target in NAMES else str(statement.module) for target in whole]
                graph[name] |= {target for target in targets if target in NAMES and target != name}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "a circle: " + " → ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                walk(target, (*path, name))
            done.add(name)

    for name in sorted(graph):
        walk(name, ())


def test_kvgate_imports_no_adapter_by_name() -> None:
    wrong = [seen.where for seen in IMPORTS if inside(seen.importer, "kvgate") and seen.module.startswith("kvgate_")]
    assert not wrong, "\n".join(wrong)


def test_adapters_know_neither_server_nor_configuration() -> None:
    """An adapter is written against the Protocols, the model and the lane's connections, as anybody's would be."""
    wrong = [
        seen.where
        for seen in IMPORTS
        if not inside(seen.importer, "kvgate") and room(seen.module) and RANK[str(room(seen.module))] > RANK["lane"]
    ]
    assert not wrong, "\n".join(wrong)


def test_trio_is_imported_in_named_places_only() -> None:
    users = {seen.importer for seen in IMPORTS if inside(seen.module, "trio")}
    assert users - set(TRIO) == set(), "name them in TRIO with a reason, or do without"
    assert (set(TRIO) & set(NAMES)) - users == set(), "no longer true: take them out of TRIO"


@pytest.mark.parametrize("area", NO_IO)
def test_no_input_or_output(area: str) -> None:
    assert any(inside(name, area) for name in NAMES), f"{area} is gone"
    wrong = [
        seen.where
        for seen in IMPORTS
        if inside(seen.importer, area)
        and seen.module.split(".")[0] in IO_MODULES
        and (seen.importer, seen.module) not in IO_EXCEPTIONS
    ]
    assert not wrong, "\n".join(wrong)


def test_every_file_says_what_lives_there() -> None:
    silent = [name for name, path in NAMES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent, silent


def test_the_document_names_what_is_there() -> None:
    """docs/architecture.md: each module, package and file that it names exists."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    modules_named = set(re.findall(r"`(kvgate\.[a-z_.0-9]+)`", text)) - {"kvgate.backends"}  # that is an entry-point group
    assert len(modules_named) > 20
    known = set(NAMES) | {".".join(name.split(".")[:2]) for name in NAMES}
    assert not modules_named - known
    files = set(re.findall(r"`((?:backends|tests|kvgate)/[a-z_./0-9*]+)`", text))
    assert [name for name in sorted(files) if not list(ROOT.glob(name.rstrip("/")))] == []
