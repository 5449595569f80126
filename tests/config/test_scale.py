"""Ten thousand namespaces and users: the time grows with their number and not with its square."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kvgate.config import parse, prepare_backends
from kvgate.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("adapters")
BASE = Path("/etc/kvgate")


def text_of(number: int, *, backend: str = "c", grant: str = "App{}.*") -> bytes:
    """That many namespaces, every tenth in the long form, and that many users."""
    lines = ['[backends.c]\ntype = "redis"\nurl = "redis://h"\n[namespaces]\ndefault = "c"\n']
    lines += [f'"App{n}.Table" = "{backend}"\n' for n in range(number) if n % 10]
    lines += [f'[namespaces."App{n}.Table"]\nbackend = "{backend}"\nmax_value = "1mb"\n' for n in range(0, number, 10)]
    lines += [
        f'[users.u{n}]\npassword_sha256 = ["{n:064x}"]\nnamespaces = ["{grant.format(n)}"]\nnetworks = ["10.0.0.0/8"]\n'
        for n in range(number)
    ]
    return "".join(lines).encode()


def seconds(work: Callable[[], object], times_over: int) -> float:
    """Processor time of the work, the best of so many."""
    times = []
    for _ in range(times_over):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def mistakes(text: bytes) -> None:
    with pytest.raises(ConfigurationError):
        parse(text, BASE)


@pytest.mark.alone
@pytest.mark.parametrize(
    "work",
    [
        lambda number: prepare_backends(parse(text_of(number), BASE)),
        lambda number: parse(text_of(number, grant="Nope{}.Table"), BASE),
        lambda number: mistakes(text_of(number, backend="d")),
    ],
    ids=["good", "warnings", "mistakes"],
)
def test_time_grows_with_the_number(work: Callable[[int], object]) -> None:
    small = seconds(lambda: work(1_000), 3)
    large = seconds(lambda: work(10_000), 1)
    assert large < 25 * small  # ten times for a straight line, a hundred for a square


def test_ten_thousand_namespaces_are_all_there() -> None:
    found = parse(text_of(10_000), BASE)
    assert len(found.namespaces.rules) == 10_001
    assert len(found.users.by_name) == 10_000
    assert found.warnings == ()
    user = found.users.get("u9999")
    namespace = found.namespaces.of(b"App9999.Table:1")
    assert user is not None
    assert namespace is not None
    assert user.sees(namespace)
    assert not user.sees(found.namespaces.rules[0])
