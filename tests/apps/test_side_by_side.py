"""Two applications at a time as tenants of one store: Celery twice, Django beside RQ, Django beside Flask on LMDB."""

import json
from collections.abc import Iterator

import pytest

from tests.apps.catalogue import APPS, App, Unavailable
from tests.apps.run import RESULTS, Result, named, plan, run_at
from tests.apps.settings import BACKENDS, Disturbed, Place, place
from tests.support.servers import NO_REDIS, redis_binary

ROWS: "list[dict[str, str]]" = json.loads(RESULTS.read_text("utf-8"))
PAIRS = (
    ("redis, two tenants", "Celery", "Celery"),
    ("redis, two tenants", "Django", "RQ"),
    ("lmdb, two tenants", "Django", "Flask-Caching, Flask-Session"),
)


def recorded(app: App, backend: str) -> str:
    """The outcome in results.json."""
    (found,) = [
        row["outcome"] for row in ROWS if (row["name"], row["protocol"], row["backend"]) == (app.name, app.spoken, backend)
    ]
    return found


@pytest.mark.parametrize(("backend", "one", "other"), PAIRS)
def test_both_work_and_disturb_nobody(backend: str, one: str, other: str) -> None:
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    apps = [named(one), named(other)]
    try:
        results = run_at(backend, apps, "short")
    except Unavailable as why:
        pytest.skip(f"{one} beside {other}: {why}")
    for app, result in zip(apps, results, strict=True):
        assert result.outcome == recorded(app, backend), f"{result.failed}\n{result.said}"


@pytest.fixture
def empty() -> "Iterator[Place]":
    """Two tenants without an application, on LMDB."""
    with place("lmdb, two tenants", []) as found:
        yield found


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "Other.Data:plain", "changed"),
        ("PEXPIRE", "Other.Data:hash", "100000"),
        ("DEL", "lock:stale"),
        ("SET", "new", "1"),
    ],
)
def test_a_disturbed_neighbour_is_noticed(command: "tuple[str, ...]") -> None:
    with place("lmdb, two tenants", []) as where:
        where.check_separate()
        with where.gate.client(user="operator", password="throw-away") as operator:
            operator.cmd(*command)
        with pytest.raises(Disturbed):
            where.check_separate()
        where.neighbours = ()  # what was done is known


def test_keys_of_both_tenants_are_no_disturbance(empty: Place) -> None:
    for user in ("one", "two"):
        with empty.gate.client(user=user, password="throw-away") as client:
            client.cmd("SET", "celery", "mine")
            client.cmd("SELECT", 1)
            client.cmd("HSET", "lock:stale", "f", "mine")
    empty.check_separate()


@pytest.mark.parametrize(
    ("worked", "failed", "outcome"),
    [
        (("a", "b"), {}, "works"),
        (("a", "b"), {"c": "why"}, "works except c"),
        (("a",), {"c": "why"}, "cannot"),
        (("a", "b"), {"worker": "why"}, "cannot"),
        ((), {}, "cannot"),
    ],
)
def test_outcomes(worked: "tuple[str, ...]", failed: "dict[str, str]", outcome: str) -> None:
    assert Result(named("Django"), "redis", worked, failed).outcome == outcome


def test_every_application_was_run_everywhere_in_these_versions() -> None:
    wanted = {(app.name, app.version, app.spoken, backend) for backend in BACKENDS for apps in plan(backend) for app in apps}
    assert {(row["name"], row["version"], row["protocol"], row["backend"]) for row in ROWS} == wanted


def test_each_application_has_a_folder_of_its_own() -> None:
    folders = {app.folder: app.packages for app in APPS}
    assert len(folders) == len({app.packages for app in APPS})
