"""/metrics and /health of a whole gate: every process that serves is asked, and their answers become one.

In a gate of one process that is the process itself; with several workers the parent asks them over their control channels,
and serves the paths itself, so that a scrape waits for no client and no client for a scrape.
"""

import json
import logging
import platform
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs
import trio

from kvgate import __version__
from kvgate.errors import GateError
from kvgate.metrics.exposition import expand, exposition
from kvgate.metrics.families import COUNTER, GAUGE, HISTOGRAM, OWN, Family, Samples, Totals, Value
from kvgate.metrics.spaces import Labels, Vectors
from kvgate.policy.settings import GateSettings
from kvgate.server.control import Channel, Gone
from kvgate.server.figures import Figures, of_process
from kvgate.server.http import Answer
from kvgate.server.reload import Reloader, beside_the_lane
from kvgate.server.surroundings import Ending

log = logging.getLogger("kvgate.metrics")

ANSWER: Final = 2.0
"""Seconds that a worker has for each of the two questions of a scrape; Prometheus waits for 10 by default."""
FRESH: Final = 0.5
"""Seconds in which another scrape is answered with what the last one found: however many scrape, the processes are asked
twice a second."""

BUILD: Final = Family("kvgate_build_info", GAUGE, "Always 1: the version that runs.", ("version", "python"))
CONFIG: Final = Family("kvgate_config_info", GAUGE, "Always 1: the SHA-256 of the configuration file.", ("sha256",))
RELOADED: Final = Family(
    "kvgate_config_last_reload_successful", GAUGE, "0 after a reload that was refused; /health and the log say why."
)
STARTED: Final = Family("kvgate_start_timestamp_seconds", GAUGE, "When the gate was started.")
READY: Final = Family("kvgate_ready", GAUGE, "1 when /health/ready says yes.")
WORKERS: Final = Family("kvgate_workers", GAUGE, "Processes that serve clients.")
WANTED: Final = Family("kvgate_workers_configured", GAUGE, "Processes that should.")
SILENT: Final = Family("kvgate_workers_silent", GAUGE, "Of those that serve, those that did not answer in time.")
RESTARTS: Final = Family("kvgate_worker_restarts", COUNTER, "Workers that died and were replaced.")
SCRAPE: Final = Family("kvgate_scrape_seconds", GAUGE, "Time that the processes took to answer this scrape.")


class Source(Protocol):
    """A process that serves clients, as the monitor asks it. None: it is gone, or did not answer in time."""

    number: int
    """Never that of another one."""

    async def busiest(self, most: int, named: Collection[str]) -> Sequence[Sequence[Any]] | None:
        """As `Figures.busiest`."""

    async def figures(self, named: Collection[str]) -> Mapping[str, Any] | None:
        """As `Figures.all`."""

    async def health(self) -> Sequence[Mapping[str, Any]] | None:
        """As `Figures.health`."""


@attrs.define
class Watched:
    """The gate as the monitor sees it."""

    reloader: Reloader
    """It knows what is served."""
    ending: Ending
    """It knows whether the gate drains."""
    sources: Callable[[], Sequence[Source]]
    """The processes that serve now."""
    parent: bool = False
    """Whether this process serves no client itself: it is shown beside the sources then."""
    serving: bool = False
    """True once clients are taken."""
    restarts: int = 0
    """Workers that were replaced."""
    started: float = attrs.field(factory=time.time)

    @property
    def stage(self) -> str:
        """``starting``, ``serving`` or ``draining``."""
        if self.ending.asked.is_set():
            return "draining"
        return "serving" if self.serving else "starting"


class Here:
    """The process that the monitor itself runs in, as its only source."""

    number = 0

    def __init__(self, figures: Figures) -> None:
        """Ask `figures`."""
        self._figures = figures

    async def busiest(self, most: int, named: Collection[str]) -> Sequence[Sequence[Any]] | None:
        """See `Source`."""
        return await self._figures.busiest(most, named)

    async def figures(self, named: Collection[str]) -> Mapping[str, Any] | None:
        """See `Source`."""
        return await self._figures.all("gate", named)

    async def health(self) -> Sequence[Mapping[str, Any]] | None:
        """See `Source`."""
        return await self._figures.health()


class OfWorker:
    """A worker, behind its control channel."""

    def __init__(self, number: int, channel: Channel) -> None:
        """`number` is its label, too."""
        self.number = number
        self._channel = channel

    async def busiest(self, most: int, named: Collection[str]) -> Sequence[Sequence[Any]] | None:
        """See `Source`."""
        found: Sequence[Sequence[Any]] | None = await self._ask("busiest", most, list(named))
        return found

    async def figures(self, named: Collection[str]) -> Mapping[str, Any] | None:
        """See `Source`."""
        text = await self._ask("figures", f"worker {self.number}", list(named))
        return None if text is None else dict(json.loads(text))

    async def health(self) -> Sequence[Mapping[str, Any]] | None:
        """See `Source`."""
        found: Sequence[Mapping[str, Any]] | None = await self._ask("health")
        return found

    async def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return await self._channel.call(name, *arguments, patience=ANSWER)
        except (Gone, GateError) as error:
            log.info("worker_did_not_answer", extra={"worker": self.number, "call": name, "error": str(error)})
            return None


class Monitor:
    """Answers HTTP requests; its state is what ended processes had counted, and which namespaces have a label."""

    def __init__(self, watched: Watched) -> None:
        """Watch a gate."""
        self._watched = watched
        self._labels = Labels()
        self._totals = Totals()
        self._families: dict[str, Family] = {}
        self._turn = trio.Lock()
        self._found: tuple[float, Samples] = (-FRESH, Samples())

    async def answer(self, path: str, accept: str) -> Answer | None:
        """See kvgate.server.http.Answering."""
        if path == "/metrics":
            samples = await self.samples()
            text, content_type = await beside_the_lane(lambda: exposition(samples, accept))
            return Answer(200, text, content_type)
        if path in ("/health", "/health/ready", "/health/live"):
            health = await self.health()
            good = health["live" if path == "/health/live" else "ready"]
            return Answer(200 if good else 503, json.dumps(health, indent=1).encode() + b"\n", "application/json")
        return None

    # ------------------------------------------------------------------ /health

    async def health(self) -> dict[str, Any]:
        """What /health shows. Ready: it serves, does not drain, and can use at least one backend; when one of several is down,
        the others' namespaces are served. Live: a process answers, or none was started yet."""
        watched = self._watched
        sources = watched.sources()
        told = [each for each in await _all(*(source.health() for source in sources)) if each is not None]
        backends = _backends(told)
        why = ""
        if watched.stage != "serving":
            why = watched.stage
        elif not told:
            why = "no worker answers" if sources else "no worker serves"
        elif not any(each["up_in_workers"] for each in backends):
            why = "every backend is down"
        reloader = watched.reloader
        return {
            "live": bool(told) or not sources,
            "ready": not why,
            "why_not_ready": why,
            "version": __version__,
            "uptime_seconds": int(time.time() - watched.started),
            "config": {"sha256": reloader.configuration.sha256, "last_error": reloader.error},
            "workers": {"configured": reloader.gate.workers, "serving": len(sources), "answering": len(told)},
            "backends": backends,
        }

    # ------------------------------------------------------------------ /metrics

    async def samples(self) -> Samples:
        """What all processes have counted, of now or of a moment ago. Not to be changed."""
        async with self._turn:
            if trio.current_time() - self._found[0] >= FRESH:
                samples = await self._ask()
                self._found = trio.current_time(), samples
            return self._found[1]

    async def _ask(self) -> Samples:
        began = trio.current_time()
        sources = self._watched.sources()
        settings = self._watched.reloader.gate
        named = tuple(self._labels.named)
        health, *busiest = await _all(
            self.health(), *(source.busiest(2 * settings.metrics_namespaces, named) for source in sources)
        )
        self._choose(busiest, settings.metrics_namespaces)
        named = tuple(self._labels.named)
        well = [source for source, answer in zip(sources, busiest, strict=True) if answer is not None]
        answers = await _all(*(source.figures(named) for source in well))
        samples = Samples()
        self._of_gate(samples, settings, ready=health["ready"])
        samples.put(WORKERS, len(sources))
        samples.put(SILENT, len(sources) - len(well) + answers.count(None))
        samples.put(SCRAPE, trio.current_time() - began)
        self._totals.keep([source.number for source in sources])
        told = [(source.number, answer) for source, answer in zip(well, answers, strict=True) if answer is not None]
        return await beside_the_lane(lambda: self._add_up(samples, told))

    def _choose(self, answers: Iterable[Sequence[Sequence[Any]] | None], most: int) -> None:
        """Which namespaces have a label."""
        calls: dict[str, int] = {}
        for answer in answers:
            for name, number in answer or ():
                calls[name] = calls.get(name, 0) + number
        lost = self._labels.choose(calls, most)
        if lost:
            self._totals.forget([key for key in self._totals.values if key[0] == "namespace" and key[1] in lost])

    def _add_up(self, samples: Samples, told: Sequence[tuple[int, Mapping[str, Any]]]) -> Samples:
        """`samples`, and what the processes of these numbers have answered; on a thread."""
        for number, answer in told:
            self._take(samples, number, answer)
        namespaces: dict[str, Vectors] = {}
        commands: dict[str, Value] = {}
        for key, value in self._totals.values.items():
            match key:
                case ("namespace", str(name), str(kind)):
                    namespaces.setdefault(name, {})[kind] = value
                case ("command", str(name)):
                    commands[name] = value
                case ("sample", str(name), labels):
                    samples.put(self._families[name], value, *labels)
        expand(samples, namespaces, commands)
        return samples

    def _take(self, samples: Samples, number: int, answer: Mapping[str, Any]) -> None:
        """Add what one process has counted to the totals, and its gauges to the samples."""
        counted: dict[tuple[Any, ...], Value] = {}
        for name, vectors in answer["namespaces"].items():
            for kind, value in vectors.items():
                counted["namespace", name, kind] = value
        for name, value in answer["commands"].items():
            counted["command", name] = value
        told = Samples.from_json(answer["samples"])
        self._families |= told.families
        for key, value in told.values.items():
            family = told.families[key[0]]
            if family.kind in (COUNTER, HISTOGRAM) and family.merge != OWN:
                counted["sample", *key] = value
            else:
                samples.put(family, value, *key[1])
        self._totals.take(number, counted)

    def _of_gate(self, samples: Samples, settings: GateSettings, *, ready: bool) -> None:
        watched, reloader = self._watched, self._watched.reloader
        samples.put(BUILD, 1, __version__, platform.python_version())
        samples.put(CONFIG, 1, reloader.configuration.sha256)
        samples.put(RELOADED, int(not reloader.error))
        samples.put(STARTED, watched.started)
        samples.put(WANTED, settings.workers)
        samples.put(RESTARTS, watched.restarts)
        samples.put(READY, int(ready))
        if watched.parent:
            of_process(samples, "parent")


def _backends(told: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """What the processes say of each backend, as one: up when it is up in all of them."""
    found: dict[str, dict[str, Any]] = {}
    for answer in told:
        for each in answer:
            new = {"name": each["name"], "type": each["type"], "up": True, "up_in_workers": 0, "why": ""}
            one = found.setdefault(each["name"], new)
            one["up"] = one["up"] and each["up"]
            one["up_in_workers"] += each["up"]
            one["why"] = one["why"] or each["why"]
    return list(found.values())


async def _all(*calls: Awaitable[Any]) -> list[Any]:
    """The results of calls that run side by side, in their order."""
    results: list[Any] = [None] * len(calls)

    async def one(at: int) -> None:
        results[at] = await calls[at]

    async with trio.open_nursery() as nursery:
        for at in range(len(calls)):
            nursery.start_soon(one, at)
    return results
