"""Django with its own Redis cache, or django-redis (third argument), as cache and session store, through real requests."""

import asyncio
import itertools
import sys

import django
from checks import OTHER_URL, URL, equal, raises, run, wait_until
from django.conf import settings

REDIS = "django_redis.cache.RedisCache" if "django-redis" in sys.argv else "django.core.cache.backends.redis.RedisCache"
OPTIONS = {"CLIENT_CLASS": "django_redis.client.DefaultClient"} if "django-redis" in sys.argv else {}

settings.configure(
    SECRET_KEY="none",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_CACHE_ALIAS="sessions",
    CACHES={
        "default": {"BACKEND": REDIS, "LOCATION": URL, "OPTIONS": OPTIONS},
        "sessions": {"BACKEND": REDIS, "LOCATION": OTHER_URL, "OPTIONS": OPTIONS, "KEY_PREFIX": "s"},
    },
)
django.setup()

from django.core.cache import cache, caches  # noqa: E402 - needs the settings
from django.core.cache.utils import make_template_fragment_key  # noqa: E402 - needs the settings
from django.http import HttpRequest, HttpResponse  # noqa: E402 - needs the settings
from django.test import Client  # noqa: E402 - needs the settings
from django.urls import path  # noqa: E402 - needs the settings
from django.views.decorators.cache import cache_page  # noqa: E402 - needs the settings

calls = itertools.count(1)


def visit(request: HttpRequest) -> HttpResponse:
    """Count the visits of a session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


def login(request: HttpRequest) -> HttpResponse:
    """What a login does to a session: its key changes, its data stay."""
    before = request.session.session_key
    request.session.cycle_key()
    return HttpResponse("new" if request.session.session_key != before else "same")


def logout(request: HttpRequest) -> HttpResponse:
    """Drop the session."""
    request.session.flush()
    return HttpResponse("gone")


@cache_page(60)
def slow(_request: HttpRequest) -> HttpResponse:
    """A page that is computed once."""
    return HttpResponse(f"page {next(calls)}")


urlpatterns = [path("visit", visit), path("login", login), path("logout", logout), path("slow", slow)]


def cache_values() -> None:
    """Values of all kinds, add, defaults, versions."""
    for value in (1, -5, "ü", b"\x00\xff", {"a": [1, 2.5, None]}, True, "x" * 100_000):
        cache.set("value", value, 60)
        equal(cache.get("value"), value)
    equal(cache.add("value", 2), False)
    equal(cache.add("fresh", 2, 60), True)
    equal(cache.get("none", "default"), "default")
    equal(cache.get_or_set("made", lambda: [3], 60), [3])
    cache.set("value", "two", 60, version=2)
    equal((cache.get("value"), cache.get("value", version=2)), ("x" * 100_000, "two"))
    equal((cache.has_key("value"), "none" in cache), (True, False))
    equal((cache.delete("value"), cache.delete("value")), (True, False))
    equal(cache.incr_version("value", version=2), 3)
    equal(cache.get("value", version=3), "two")


def cache_expiry() -> None:
    """A time to live that passes; touch; zero; none."""
    cache.set("short", 1, 1)
    cache.set("long", 1, 60)
    cache.set("never", 1, None)
    equal(cache.touch("never", 1), True)
    equal(cache.touch("none", 1), False)
    wait_until(lambda: cache.get("short") is None and cache.get("never") is None, "the end of the keys")
    equal(cache.get("long"), 1)
    cache.set("long", 1, 0)
    equal(cache.get("long"), None)


def cache_numbers() -> None:
    """INCR and DECR; a missing key is an error."""
    cache.set("n", 10, 60)
    equal((cache.incr("n"), cache.incr("n", 5), cache.decr("n", 20)), (11, 16, -4))
    raises(ValueError, lambda: cache.incr("no-number"))


def cache_many() -> None:
    """MGET, pipelined SET, DEL of many."""
    pairs = {f"many{i}": i for i in range(200)}
    equal(cache.set_many(pairs, 60) or [], [])
    equal(cache.get_many([*pairs, "none"]), pairs)
    cache.delete_many(pairs)
    equal(cache.get_many(pairs), {})


def cache_asynchronous() -> None:
    """The asynchronous methods."""

    async def together() -> None:
        await asyncio.gather(*(cache.aset(f"a{i}", i, 60) for i in range(20)))
        equal(await asyncio.gather(*(cache.aget(f"a{i}") for i in range(20))), list(range(20)))

    asyncio.run(together())


def cached_page() -> None:
    """A view that is cached, and a fragment's key."""
    equal([Client().get("/slow").content for _ in range(3)], [b"page 1"] * 3)
    cache.set(make_template_fragment_key("part", [1]), "html", 60)
    equal(cache.get(make_template_fragment_key("part", [1])), "html")


def sessions() -> None:
    """Two browsers, each with a session of its own; login and logout."""
    one, two = Client(), Client()
    equal([one.get("/visit").content for _ in range(3)], [b"1", b"2", b"3"])
    equal(two.get("/visit").content, b"1")
    equal((one.get("/login").content, one.get("/visit").content), (b"new", b"4"))
    key = one.cookies["sessionid"].value
    equal(one.get("/logout").content, b"gone")
    equal((one.get("/visit").content, two.get("/visit").content), (b"1", b"2"))
    equal(one.cookies["sessionid"].value != key, True)


def session_expiry() -> None:
    """A session that ends by its time."""
    browser = Client()
    browser.get("/visit")
    session = browser.session
    session.set_expiry(1)
    session.save()
    name = session.cache_key
    wait_until(lambda: caches["sessions"].get(name) is None, "the end of the session")


def extras() -> None:
    """What django-redis adds: times, patterns, NX, a lock, the client itself."""
    cache.set("x:1", 1, 50)
    cache.set("x:2", 2, None)
    equal((0 < cache.ttl("x:1") <= 50, cache.ttl("x:2"), cache.ttl("x:3")), (True, None, 0))
    equal((cache.persist("x:1"), cache.ttl("x:1")), (True, None))
    equal((cache.expire("x:1", 100), 0 < cache.pttl("x:1") <= 100_000), (True, True))
    equal(sorted(cache.keys("x:*")), ["x:1", "x:2"])
    equal(sorted(cache.iter_keys("x:*")), ["x:1", "x:2"])
    equal(cache.set("x:1", 5, nx=True), False)
    equal((cache.delete_pattern("x:*"), cache.keys("x:*")), (2, []))
    with cache.lock("guard", timeout=10):
        equal(cache.lock("guard", timeout=10).acquire(blocking=False), False)
    client = cache.client.get_client(write=True)
    equal((client.hset("raw", mapping={"a": "1"}), client.hgetall("raw")), (1, {b"a": b"1"}))


def sets() -> None:
    """What django-redis has for sets."""
    equal((cache.sadd("set", 1, "b"), cache.smembers("set"), cache.sismember("set", 3)), (2, {1, "b"}, False))


def clear() -> None:
    """FLUSHDB of this cache alone."""
    cache.set("gone", 1, 60)
    browser = Client()
    browser.get("/visit")
    cache.clear()
    equal(cache.get("gone"), None)
    if OTHER_URL != URL:
        equal(browser.get("/visit").content, b"2", "sessions lie in another database")


MORE = [extras, sets] if "django-redis" in sys.argv else []

if __name__ == "__main__":
    common = [cache_values, cache_expiry, cache_numbers, cache_many, cache_asynchronous, cached_page, sessions, session_expiry]
    run([*common, *MORE, clear])
