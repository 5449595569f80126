"""`kvgate serve`: run the gate."""

import argparse
import importlib
from pathlib import Path
from typing import Any

from kvgate.config import default, load, prepare_backends
from kvgate.config.load import DEFAULT_DATA_DIR
from kvgate.errors import ConfigurationError
from kvgate.routing.configuration import Configuration


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError("a number of processes, 1 to 256")
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


def configuration(arguments: argparse.Namespace) -> Configuration:
    """The configuration that the arguments say.

    Raises:
        ConfigurationError: with every mistake.
    """
    if arguments.config is None:
        data_dir = arguments.data_dir or DEFAULT_DATA_DIR
        return default(data_dir, arguments.listen, workers=arguments.workers)
    if arguments.data_dir is not None:
        raise ConfigurationError(["--data-dir goes without a configuration; in one, the backend's path says it"])
    return load(arguments.config, listen=arguments.listen, workers=arguments.workers)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    checked = configuration(arguments)
    app = importlib.import_module("kvgate.server.app")  # late: the other commands start without the server and trio
    return int(app.serve(checked, prepare_backends(checked)))
