"""Fixtures that every test may use: real redis-servers, one by one or for a whole module."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import hypothesis
import pytest

from tests.support import alone
from tests.support.servers import NO_REDIS, Gate, Gates, RedisServer, RedisServers, open_programs, redis_binary

hypothesis.settings.register_profile("kvgate", deadline=None)  # a loaded machine is no finding
hypothesis.settings.load_profile("kvgate")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> "Generator[None, pytest.TestReport, pytest.TestReport]":
    """Add the ends of the logs of what still runs to the report of a failed test."""
    report = yield
    if report.failed:
        report.sections += [(f"end of {program!r}'s log", program.log[-4000:]) for program in open_programs]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lines that tests have recorded as ``summary`` (`record_property`), from all processes."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        for name, line in getattr(report, "user_properties", ()):
            if name == "summary" and report.when == "call":
                terminalreporter.write_line(str(line))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> "Generator[None, object, object]":
    """A test that is marked ``alone`` runs while no other does."""
    with alone.turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_sessionfinish() -> None:
    """Leave no locks behind."""
    alone.clear()


@pytest.fixture
def redis_servers() -> Iterator[RedisServers]:
    """Makes and starts redis-servers for one test: ``redis_servers(password="x")`` (arguments of `RedisServer`)."""
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with ExitStack() as stack:

        def make(**options: Any) -> RedisServer:
            return stack.enter_context(RedisServer(**options))

        yield make


@pytest.fixture
def redis_server(redis_servers: RedisServers) -> RedisServer:
    """One fresh redis-server for one test."""
    return redis_servers()


@pytest.fixture(scope="module")
def module_redis() -> Iterator[RedisServer]:
    """One redis-server for all tests of a module; they flush it themselves."""
    if redis_binary is None:
        pytest.skip(NO_REDIS)
    with RedisServer() as server:
        yield server


@pytest.fixture
def gates() -> Iterator[Gates]:
    """Makes and starts gates for one test: ``gates(config_text)`` (arguments of `Gate`); each must end cleanly."""
    with ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> Gate:
            return stack.enter_context(Gate(*arguments, **options))

        yield make
