"""Logs: one line per event, ``time level event key=value …``, on standard error. Secrets and values are never logged."""

import codecs
import logging
import sys
import time
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({})))


class OneLine(logging.Formatter):
    """An event's name is the log message, its facts are ``extra``; ``do=`` says what an operator can do about it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the facts hold; a traceback is one more fact."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        parts = [f"{stamp}.{int(record.msecs):03d}Z", record.levelname.lower(), record.getMessage()]
        facts = {key: value for key, value in vars(record).items() if key not in _STANDARD and key != "message"}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        parts += [f"{key}={_shown(value)}" for key, value in facts.items()]
        return " ".join(parts)


def _shown(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(letter in text for letter in ' "=\\'):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def start(level: str) -> None:
    """Send the gate's logs to standard error from now on."""
    codecs.lookup("unicode_escape")  # loaded now: what is logged may be that no file can be opened
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
