"""Flask with Flask-Caching and Flask-Session, through real requests."""

import itertools

import redis
from checks import OTHER_URL, URL, equal, run, wait_until
from flask import Flask, session
from flask_caching import Cache
from flask_session import Session

app = Flask(__name__)
app.config.update(
    SECRET_KEY="none",
    CACHE_TYPE="RedisCache",
    CACHE_REDIS_URL=URL,
    CACHE_DEFAULT_TIMEOUT=60,
    SESSION_TYPE="redis",
    SESSION_REDIS=redis.Redis.from_url(OTHER_URL),
    SESSION_PERMANENT=True,
)
cache = Cache(app)
Session(app)
calls = itertools.count(1)


@app.get("/visit")
def visit() -> str:
    """Count the visits of a session."""
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@app.get("/login")
def login() -> str:
    """A new session identifier, the same data."""
    app.session_interface.regenerate(session)
    return "new"


@app.get("/logout")
def logout() -> str:
    """Drop the session."""
    session.clear()
    return "gone"


@app.get("/slow/<name>")
@cache.cached(query_string=True)
def slow(name: str) -> str:
    """A page that is computed once for each query."""
    return f"{name} {next(calls)}"


@cache.memoize(60)
def doubled(number: int) -> "tuple[int, int]":
    """A function whose results are kept."""
    return number * 2, next(calls)


def cache_values() -> None:
    """Values, add, many, numbers, expiry."""
    for value in (1, "ü", b"\x00", {"a": [1]}, None, "x" * 100_000):
        cache.set("value", value)
        equal(cache.get("value"), value)
    equal((cache.add("value", 1), cache.add("fresh", 1), cache.has("fresh")), (False, True, True))
    equal(bool(cache.set_many({f"m{i}": i for i in range(50)})), True)
    equal(cache.get_many(*[f"m{i}" for i in range(50)], "none"), [*range(50), None])
    cache.delete_many(*[f"m{i}" for i in range(50)])
    equal(cache.get_dict("m1", "fresh"), {"m1": None, "fresh": 1})
    backend = cache.cache
    equal((backend.inc("count", 2), backend.inc("count", 3), backend.dec("count", 1)), (2, 5, 4))
    cache.set("short", 1, timeout=1)
    wait_until(lambda: cache.get("short") is None, "the end of the key")


def cached_views() -> None:
    """A view by its query, a memoized function, and how both are forgotten."""
    client = app.test_client()
    one = client.get("/slow/a?x=1").data
    equal((client.get("/slow/a?x=1").data, client.get("/slow/a?x=2").data != one), (one, True))
    with app.app_context():
        first = doubled(4)
        equal((doubled(4), doubled(5) != first), (first, True))
        cache.delete_memoized(doubled, 4)
        equal(doubled(4) != first, True)


def sessions() -> None:
    """Two browsers, each with a session of its own; login and logout."""
    one, two = app.test_client(), app.test_client()
    equal([one.get("/visit").data for _ in range(3)], [b"1", b"2", b"3"])
    equal(two.get("/visit").data, b"1")
    before = one.get_cookie("session")
    equal((one.get("/login").data, one.get("/visit").data), (b"new", b"4"))
    equal(before is not None and before.value != one.get_cookie("session").value, True)
    equal(one.get("/logout").data, b"gone")
    equal((one.get("/visit").data, two.get("/visit").data), (b"1", b"2"))


def clear() -> None:
    """All of the cache, and nothing of the sessions."""
    cache.set("gone", 1)
    browser = app.test_client()
    browser.get("/visit")
    equal(bool(cache.clear()), True)
    equal(cache.get("gone"), None)
    equal(browser.get("/visit").data, b"2", "sessions have another prefix")


if __name__ == "__main__":
    run([cache_values, cached_views, sessions, clear])
