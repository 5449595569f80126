"""`kvgate serve`: run the gate."""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from kvgate.cli.source import Source
from kvgate.config.load import DEFAULT_DATA_DIR, default_text
from kvgate.errors import ConfigurationError
from kvgate.policy.processors import available_processors


def _workers(text: str) -> int:
    if text == "auto":
        return available_processors()
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError("a number of processes, 1 to 256, or auto")
    return int(text)


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "serve",
        help="run the gate",
        description="Run the gate. Without CONFIG.toml: the embedded store in ./kvgate-data, on 127.0.0.1:6380.",
    )
    parser.add_argument("config", metavar="CONFIG.toml", type=Path, nargs="?", help="the configuration; see `kvgate init`")
    parser.add_argument(
        "--listen",
        metavar="ADDR",
        action="append",
        default=[],
        help="host:port, [::1]:port, tls:host:port or unix:PATH, instead of the configuration's; may be repeated",
    )
    parser.add_argument(
        "--data-dir", metavar="DIR", type=Path, help="where the embedded store keeps its data; only without CONFIG.toml"
    )
    parser.add_argument("--workers", metavar="N", type=_workers, help="processes, instead of the configuration's number")
    parser.set_defaults(run=run)


def source(arguments: argparse.Namespace) -> Source:
    """Where the arguments say that the configuration comes from.

    Raises:
        ConfigurationError: arguments that do not go together.
    """
    listen, workers = tuple(arguments.listen), arguments.workers
    if arguments.config is None:
        text = default_text(arguments.data_dir or DEFAULT_DATA_DIR).decode("utf-8", "surrogateescape")
        return Source("", str(Path.cwd()), text, listen, workers)
    if arguments.data_dir is not None:
        raise ConfigurationError(["--data-dir goes without a configuration; in one, the backend's path says it"])
    path = arguments.config.absolute()
    return Source(str(path), str(path.parent), listen=listen, workers=workers)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    come_from = source(arguments)
    app = importlib.import_module("kvgate.server.app")  # late: the other commands start without the server and trio
    # -P: modules are not looked for in the folder that the gate happens to be started from.
    worker = [sys.executable, "-P", "-m", "kvgate.cli.worker", come_from.to_json()]
    return int(app.serve(come_from.build, worker))
