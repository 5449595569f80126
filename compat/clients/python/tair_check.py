"""What an application does with Tair's library tair-py: URL PROTOCOL KEYS TYPES as the others, on one versioned key."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tair  # type: ignore[import-not-found]  # it is in the environment that the check runs in, and nowhere else
from redis.exceptions import ResponseError

URL, KEY = sys.argv[1], sys.argv[3]


def equal(got: Any, wanted: Any) -> None:
    """Fail with both values."""
    if got != wanted:
        msg = f"got {got!r}, wanted {wanted!r}"
        raise AssertionError(msg)


def fails(text: str, call: Callable[[], Any]) -> None:
    """`call` is answered this error."""
    try:
        got = call()
    except ResponseError as error:
        equal(str(error), text)
    else:
        equal(got, f"the error {text!r}")


def strings(t: Any) -> None:
    """Every method for versioned strings."""
    equal(t.exset(KEY, "v"), True)
    equal(t.exget(KEY), tair.ExgetResult(b"v", 1))
    equal(t.exset(KEY, "w", nx=True), None)
    equal(t.exset(KEY, "w", ver=1, ex=1000), True)
    fails("update version is stale", lambda: t.exset(KEY, "x", ver=1))
    equal(t.excas(KEY, "x", 1), tair.ExcasResult("CAS_FAILED", b"w", 2))
    equal(t.excas(KEY, "10", 2), tair.ExcasResult("OK", b"", 3))
    equal(t.exincrby(KEY, 5, minval=0, maxval=15), 15)
    fails("increment or decrement would overflow", lambda: t.exincrby(KEY, 1, maxval=15))
    equal(t.exincrbyfloat(KEY, 0.5, px=1000000), 15.5)
    equal(t.exsetver(KEY, 100), 1)
    equal(t.excad(KEY, 99), 0)
    equal(t.type(KEY), b"exstrtype")
    equal(t.excad(KEY, 100), 1)
    equal(t.exincrby(KEY, 5, define=7), 7)
    equal(t.delete(KEY), 1)


def plain_strings(t: Any) -> None:
    """CAS and CAD."""
    equal(t.cas(KEY, "a", "b"), -1)
    t.set(KEY, "a")
    equal(t.cas(KEY, "x", "b"), 0)
    equal(t.cas(KEY, "a", "b"), 1)
    equal(t.cad(KEY, "b"), 1)


def hashes(t: Any) -> None:
    """Every method for versioned hashes."""
    item = tair.ValueVersionItem
    equal(t.exhset(KEY, "f", "v"), 1)
    equal(t.exhset(KEY, "f", "w", ver=1, ex=1000), 0)
    equal(t.exhget(KEY, "f"), b"w")
    equal(t.exhgetwithver(KEY, "f"), item(b"w", 2))
    equal(t.exhset(KEY, "f", "w", keepttl=True), 0)
    equal(900 < t.exhttl(KEY, "f") <= 1000, True)
    equal(t.exhmset(KEY, {"a": "1", "b": "2"}), True)
    equal(t.exhmget(KEY, ["a", "none", "b"]), [b"1", None, b"2"])
    equal(t.exhmgetwithver(KEY, ["a", "none"]), [item(b"1", 1), None])
    equal(t.exhincrby(KEY, "a", 41), 42)
    equal(t.exhincrbyfloat(KEY, "b", 0.5), 2.5)
    equal(t.exhver(KEY, "a"), 2)
    equal(t.exhsetver(KEY, "a", 9), 1)
    equal(t.exhpexpire(KEY, "a", 1000000, ver=9), 1)
    equal(t.exhpexpireat(KEY, "a", 33177117420000, abs=5), 1)
    equal(t.exhver(KEY, "a"), 5)
    equal((t.exhlen(KEY), t.exhlen(KEY, noexp=True), t.exhstrlen(KEY, "a"), t.exhexists(KEY, "none")), (3, 3, 2, 0))
    equal(sorted(t.exhkeys(KEY)), [b"a", b"b", b"f"])
    equal(sorted(t.exhvals(KEY)), [b"2.5", b"42", b"w"])
    pairs = [tair.FieldValueItem(name, value) for name, value in ((b"a", b"42"), (b"b", b"2.5"), (b"f", b"w"))]
    equal(sorted(t.exhgetall(KEY)), pairs)
    equal(t.exhexpire(KEY, "b", 0), 1)
    equal(t.exhdel(KEY, ["a", "b", "f"]), 2)
    equal(t.exists(KEY), 0)


def transactions(t: Any) -> None:
    """Two increments of one key in one EXEC, and in a pipeline."""
    for transaction in (True, False):
        pipe = t.pipeline(transaction=transaction)
        pipe.exincrby(KEY, 1)
        pipe.exincrby(KEY, 1)
        pipe.exget(KEY)
        pipe.delete(KEY)
        equal(pipe.execute(), [1, 2, tair.ExgetResult(b"2", 2), 1])


def races(t: Any) -> None:
    """Four threads that count by reading and EXCAS lose nothing."""
    t.exset(KEY, 0)

    def count() -> None:
        for _ in range(25):
            found = t.exget(KEY)
            value, version = found.value, found.version
            while (told := t.excas(KEY, int(value) + 1, version)).msg != "OK":
                value, version = told.value, told.version

    with ThreadPoolExecutor(4) as threads:
        for counting in [threads.submit(count) for _ in range(4)]:
            counting.result()  # raises what a thread raised
    equal(t.exget(KEY), tair.ExgetResult(b"100", 101))
    t.delete(KEY)


def main() -> int:
    """Run all; a line for each."""
    client = tair.Tair.from_url(URL, socket_timeout=20)
    code = 0
    for part in (strings, plain_strings, hashes, transactions, races):
        outcome = "ok"
        try:
            part(client)
        except Exception as error:  # noqa: BLE001 - told, whatever it is
            code, outcome = 1, " ".join(f"FAILED {type(error).__name__}: {error}".split())
        sys.stdout.write(f"{part.__name__.replace('_', ' ')}: {outcome}\n")
    client.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
