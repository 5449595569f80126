"""What the programs of this folder share: ``program.py URL [OTHER_URL]`` runs checks one after another and says what worked.

A program tries every check, also behind one that failed, so that the result can say "works, except". The last line on
stdout is JSON: ``{"worked": [names], "failed": {name: why}}``. Exit code 1 when one failed.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_WORKER = "APP_URL" in os.environ
URL = os.environ["APP_URL"] if _WORKER else sys.argv[1]
"""Where the application keeps its data; a worker process, whose arguments are its own, finds it in the environment."""
OTHER_URL = os.environ["APP_OTHER_URL"] if _WORKER else (sys.argv[2:3] or [URL])[0]
"""For what an application keeps apart (results, sessions): another database where the user has one, else the same."""
PATIENCE = float(os.environ.get("APP_PATIENCE", "30"))
"""Seconds after which what was waited for does not come."""


class Wrong(AssertionError):  # noqa: N818 - the outcome of a check
    """A check saw something else than it should."""


def equal(got: Any, wanted: Any, what: str = "") -> None:
    """Raise `Wrong` with both values when they differ."""
    if got != wanted:
        msg = f"{what}: got {got!r}, wanted {wanted!r}"
        raise Wrong(msg)


def raises(kind: "type[BaseException]", call: Callable[[], Any], text: str = "") -> None:
    """Raise `Wrong` unless `call` raises a `kind` whose text has `text`."""
    try:
        got = call()
    except kind as error:
        if text not in str(error):
            msg = f"got {error!r}, wanted {text!r} in it"
            raise Wrong(msg) from error
    else:
        msg = f"got {got!r}, wanted {kind.__name__}"
        raise Wrong(msg)


def wait_until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """What `condition` returns, as soon as it is true; `Wrong` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            msg = f"waited {timeout} s for {what}"
            raise Wrong(msg)
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def worker(line: "Sequence[str]", ready: str) -> "Iterator[Callable[[], str]]":
    """Run a worker process of the application until the end of the block; it is ready when its log has `ready`.

    Gives a function that reads the log. The worker gets the URLs in its environment; it must end by itself on SIGTERM.
    """
    with tempfile.TemporaryDirectory(prefix="kvgate-app-") as folder:
        path = Path(folder) / "log"

        def log() -> str:
            return path.read_text("utf-8", "replace")

        environment = {
            **os.environ, "APP_URL": URL, "APP_OTHER_URL": OTHER_URL, "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(__file__).parent),
        }  # fmt: skip
        with path.open("wb") as out:
            process = subprocess.Popen(line, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
        try:
            wait_until(lambda: ready in log() or process.poll() is not None, f"{ready!r} of the worker")
            if process.poll() is not None:
                lines = [line for line in log().splitlines() if "Error" in line] or ["nothing"]
                msg = f"the worker ended with {process.returncode} and said: {lines[-1].strip()}"
                raise Wrong(msg)
            yield log
            process.terminate()
            equal(process.wait(PATIENCE), 0, "exit code of the worker")
        except BaseException:
            sys.stderr.write(f"end of the worker's log:\n{log()[-6000:]}\n")
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def run(checks: "Sequence[Callable[[], None]]", around: "contextlib.AbstractContextManager[Any] | None" = None) -> None:
    """Run all `checks` (each named by its function) within `around`, such as a worker, and exit."""
    worked: list[str] = []
    failed: dict[str, str] = {}

    def attempt(name: str, check: "Callable[[], Any]") -> None:
        try:
            check()
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the outcome
            failed[name] = f"{type(error).__name__}: {error}"[:500]
            traceback.print_exc()
        else:
            worked.append(name)

    def all_checks() -> None:
        with around or contextlib.nullcontext():
            for check in checks:
                attempt(check.__name__.replace("_", " "), check)

    if around is None:
        all_checks()
    else:
        attempt("worker", all_checks)
    print(json.dumps({"worked": worked, "failed": failed}))
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # threads of a library that wait for something would hold a failed check for ever
