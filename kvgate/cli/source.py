"""Where a running gate's configuration comes from: a file, or the default, with what the command line puts over it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from kvgate.backend import Backend
from kvgate.config import parse, prepare_backends
from kvgate.errors import ConfigurationError
from kvgate.routing.configuration import Configuration


@attrs.frozen(slots=True)
class Source:
    """All of it as text, so that it can be handed to workers."""

    path: str
    """Of the file, absolute; empty: `text` is all there is, and a reload changes nothing."""
    base: str
    """The folder that paths in the configuration are relative to."""
    text: str = ""
    """The default configuration, without a file."""
    listen: tuple[str, ...] = ()
    workers: int | None = None

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**fields | {"listen": tuple(fields["listen"])})

    def to_json(self) -> str:
        """For a worker's command line: nothing secret is in it."""
        return json.dumps(attrs.asdict(self))

    def read(self) -> bytes:
        """The file as it is now.

        Raises:
            ConfigurationError: it cannot be read.
        """
        if not self.path:
            return self.text.encode("utf-8", "surrogateescape")
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise ConfigurationError([f"the file cannot be read: {error.strerror}"]) from None

    def build(self, text: bytes | None) -> tuple[bytes, Configuration, Mapping[str, Backend]]:
        """See kvgate.server.reload.Build."""
        if text is None:
            text = self.read()
        path = Path(self.path) if self.path else None
        configuration = parse(text, Path(self.base), path=path, listen=self.listen, workers=self.workers)
        return text, configuration, prepare_backends(configuration)
