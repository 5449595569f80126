"""The audit log as the gate uses it: records of commands, and the thread that writes them, which the lane never waits for.

A record says who, from where, which command on which keys, and whether it was refused; no values, no passwords, no arguments
but keys. There is room for a number of records that are not written yet; what comes beyond that is dropped and counted, and
the count becomes a record itself.
"""

import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from kvgate.commands.scripts import script_sha
from kvgate.commands.spec import Action, CommandSpec
from kvgate.commands.table import lookup
from kvgate.errors import GateError, try_again
from kvgate.policy.audit import Auditing, AuditSettings, names_in
from kvgate.server.audit_file import AuditFile

if TYPE_CHECKING:
    from kvgate.lane.client import Client
    from kvgate.server.dispatch import Dispatcher
    from kvgate.server.session import Session

log = logging.getLogger("kvgate.audit")

MOST_WAITING: Final = 10_000
"""Records that wait to be written, some 5 MB."""
SPARE: Final = 1_000
"""Of these, for what is refused or under way: with ``required`` no further command is let through."""
PORTION: Final = 100
"""Records written together: making more of them into text would hold the lane up."""
PORTION_BYTES: Final = 32 * 1024
"""Of these; a record has up to 10,000, so that a portion fits into the smallest file."""
GATHER: Final = 0.005
"""Seconds in which records are gathered, so that a busy gate does not change threads for each."""
AGAIN: Final = 0.5
"""Seconds before what could not be written is tried again."""
END: Final = 3.0
"""Seconds that the end of the gate waits for what is not written."""
MOST_KEYS: Final = 16
LONGEST_KEY: Final = 128
"""Of one record; the rest is counted."""
UNKNOWN: Final = "unknown"
"""Stands for a name that nobody has: it may be a password in the wrong place."""

_REFUSALS: Final = ("NOPERM", "WRONGPASS", "NOAUTH", "BLOCKED", "THROTTLED", "NONAMESPACE")
"""What a command that ran alone may end with and was refused all the same."""
_NO_REFUSALS: Final = ("THROTTLED", "TRYAGAIN")
"""Not noted of a command that is not noted anyway: nothing was forbidden, and there may be many."""
_SHA1: Final = re.compile(r"[0-9a-f]{40}\Z")


class Record:
    """One line to be."""

    __slots__ = ("facts", "later", "time")

    def __init__(self, facts: dict[str, Any]) -> None:
        """`facts` in the order they are shown."""
        self.time = time.time()
        self.facts = facts
        self.later = False  # somebody will finish it when the command is answered

    def line(self) -> bytes:
        """As JSON."""
        whole = int(self.time)
        stamp = f"{_second(whole)}.{int((self.time - whole) * 1000):03d}Z"
        return _encode({"time": stamp, **self.facts}).encode() + b"\n"


_encode: Final = json.JSONEncoder(check_circular=False).encode


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    """A second of time as it begins a record."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def shown(name: bytes) -> str:
    """A key or another name of a client's choice: printable ASCII, the rest as escapes; what is too long is cut."""
    if len(name) <= LONGEST_KEY and name.isascii() and (text := name.decode("ascii")).isprintable() and "\\" not in text:
        return text
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in name[:LONGEST_KEY])
    more = len(name) - LONGEST_KEY
    return f"{text}…+{more}" if more > 0 else text


class Writer:
    """The thread that writes, and the records that wait for it."""

    def __init__(self, settings: AuditSettings) -> None:
        """Write to the file of `settings`."""
        self.dropped = 0
        """For which there was no room."""
        self.written = 0
        self.failures = 0
        """Times that the file could not be written."""
        self.failing = False
        """Whether that is so now."""
        self._file = AuditFile(*settings.file)
        self._where = settings.path
        self._waiting: deque[Record] = deque()
        self._told = 0  # of `dropped`
        self._work = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that are not written yet."""
        return len(self._waiting)

    def put(self, record: Record) -> None:
        """Have a record written. Never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.append(record)
        if not self._work.is_set():
            self._work.set()

    def end(self) -> None:
        """Write what waits, try no more than once, and end."""
        self._ending.set()
        self._work.set()

    def wait(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._ending.wait(GATHER)
            self._work.clear()
            while self._waiting or self.dropped > self._told:
                lines = list(self._portion())
                if not self._write(lines):
                    lost = len(lines) + len(self._waiting)
                    self.dropped += lost
                    log.error("audit_lost", extra={"records": lost, "path": str(self._where)})
                    self._waiting.clear()
                    break
            if self._ending.is_set() and not self._waiting:
                self._file.close()
                return

    def _portion(self) -> Iterator[bytes]:
        size = number = 0
        while self._waiting and number < PORTION and size < PORTION_BYTES:
            line = self._waiting.popleft().line()
            size += len(line)
            number += 1
            yield line

    def _write(self, portion: list[bytes]) -> bool:
        """Until it is done, or the end has come."""
        missing = self.dropped - self._told
        lines = b"".join(portion)
        if missing:
            lines += Record({"event": "dropped", "worker": os.getpid(), "count": missing}).line()
        while True:
            try:
                self._file.append(lines)
            except OSError as error:
                self.failures += 1
                if not self.failing:
                    facts = {"path": str(self._where), "error": str(error), "do": "make room, or set its path right"}
                    log.error("audit_failed", extra=facts)
                self.failing = True
            else:
                self.written += len(portion)
                self._told += missing
                if self.failing:
                    log.warning("audit_works_again", extra={"path": str(self._where), "dropped": self.dropped})
                self.failing = False
                return True
            if self._ending.wait(AGAIN):
                return False


class Audit:
    """Makes the records of one process."""

    def __init__(self, gate: "Dispatcher") -> None:
        """Note nothing before `configure`."""
        self._gate = gate
        self._pid = os.getpid()
        self.rules: Auditing | None = None
        """What is noted; None: there is no audit log."""
        self._writer: Writer | None = None
        self._writers: list[Writer] = []  # this one and earlier ones, which may still write; as many as there were files

    def configure(self, settings: AuditSettings | None, sha256: str) -> None:
        """Note what `settings` say, where they say it, from now on; the configuration's hash is noted too."""
        same = self.rules is not None and settings is not None and self.rules.settings.file == settings.file
        if self._writer is not None and not same:
            self._event("end")
            self._writer.end()
            self._writer = None
        self.rules = None if settings is None else Auditing(settings)
        if settings is not None and self._writer is None:
            self._writer = Writer(settings)
            self._writers.append(self._writer)
        self._event("configuration", result="done", sha256=sha256)

    def close(self) -> None:
        """Write what is not written, and end."""
        if self._writer is not None:
            self._event("end")
            self._writer.end()
            self._writer.wait(END)

    @property
    def figures(self) -> tuple[int, int, int]:
        """Records written and dropped, and times that the file could not be written, since the start."""
        told = [(each.written, each.dropped, each.failures) for each in self._writers]
        return sum(each[0] for each in told), sum(each[1] for each in told), sum(each[2] for each in told)

    @property
    def failing(self) -> bool:
        """Whether the log cannot be written now."""
        return self._writer is not None and self._writer.failing

    def _event(self, name: str, **facts: object) -> None:
        if self._writer is not None:
            self._writer.put(Record({"event": name, "worker": self._pid, **facts}))

    def configuration_refused(self) -> None:
        """A reload was not taken into service."""
        self._event("configuration", result="refused")

    def connection_refused(self, address: str, listener: str, code: str) -> None:
        """A connection was refused before it said anything."""
        self._event("connection", address=address, listener=listener, result="refused", code=code)

    def certified(self, client: "Client") -> None:
        """A client's certificate has made it a user, or of nobody."""
        session: Session = client.session
        name = UNKNOWN if session.user is None else session.user.name
        facts = {"client": client.id, "address": session.address, "listener": session.listener, "login": name}
        self._event("certificate", **facts, result="refused" if session.user is None else "done")

    # ------------------------------------------------------------------ commands

    def begin(self, client: "Client", spec: CommandSpec, args: Sequence[bytes]) -> Record | None:
        """The record of a command that is about to be carried out, where it is to be noted.

        Raises:
            GateError: it cannot be noted now, and has to be.
        """
        rules, writer, session = self.rules, self._writer, client.session
        if rules is None or writer is None:
            return None
        if not rules.wants(session.user, spec, args, self._gate.places.namespaces):
            return None
        if rules.settings.required and (writer.failing or writer.waiting > MOST_WAITING - SPARE):
            raise try_again("the audit log cannot be written, and it has to be")
        return self._record(client, spec, args)

    def _record(self, client: "Client", spec: CommandSpec | None, args: Sequence[bytes]) -> Record:
        session: Session = client.session
        facts: dict[str, Any] = {
            "event": "command",
            "worker": self._pid,
            "client": client.id,
            "user": "" if session.user is None else session.user.name,
            "address": session.address,
            "listener": session.listener,
            "command": UNKNOWN if spec is None else spec.lower,
        }
        names = [] if spec is None else names_in(spec, args)
        if names:
            facts["keys"] = [shown(name) for name in names[:MOST_KEYS]]
        if len(names) > MOST_KEYS:
            facts["more_keys"] = len(names) - MOST_KEYS
        if spec is not None:
            facts.update(self._about(spec, args))
        return Record(facts)

    def _about(self, spec: CommandSpec, args: Sequence[bytes]) -> Mapping[str, str]:
        """What else tells what a command did, and is no secret: as whom somebody logs in, what is blocked, which script."""
        if spec.name in ("AUTH", "HELLO"):
            name = _login(spec, args).decode("utf-8", "surrogateescape")
            return {"login": name if self._gate.configuration.users.get(name) is not None else UNKNOWN}
        if spec.name in ("GATE|BLOCK", "GATE|UNBLOCK") and args[2].lower() in (b"namespace", b"user", b"key"):
            return {"target": f"{args[2].decode().lower()} {shown(args[3])}"}
        sha = script_sha(spec, args) if len(args) > 1 else ""
        return {"script": sha} if _SHA1.match(sha) else {}

    def started(self, record: Record, session: "Session", spec: CommandSpec, *, way: bool) -> None:
        """The command is on its way, or answered. `way`: it has one of its own."""
        session.record = None
        if record.later:
            return
        if session.multi is not None and spec.name != "MULTI":
            result = "queued"
        else:
            result = "done" if spec.action is Action.GATE and not way else "passed"
        self._finish(record, result)

    def finish(self, record: Record | None, raw: bytes, *, silent: bool = False) -> None:
        """The command that ran alone is answered with `raw`; `silent`: it has told its client itself."""
        if record is None:
            return
        if record.facts["command"] == "gate|reload":
            record.facts["sha256"] = self._gate.configuration.sha256
        if raw[:1] != b"-":
            self._finish(record, "passed" if silent else "done")
            return
        code = raw[1:].split(maxsplit=1)[0].decode("ascii", "replace")
        self._finish(record, "refused" if code in _REFUSALS else "failed", code)

    def left(self, record: Record | None) -> None:
        """The client left before its command was answered."""
        if record is not None:
            self._finish(record, "unfinished")

    def _finish(self, record: Record, result: str, code: str = "") -> None:
        record.facts["result"] = result
        if code:
            record.facts["code"] = code
        if self._writer is not None:
            self._writer.put(record)

    def refused(self, client: "Client", args: Sequence[bytes], error: GateError) -> None:
        """A command was refused before anything was sent."""
        session: Session = client.session
        record, session.record = session.record, None
        if self.rules is None:
            return
        if record is None:
            spec = lookup(args)
            if error.code in _NO_REFUSALS and (
                spec is None or not self.rules.wants(session.user, spec, args, self._gate.places.namespaces)
            ):
                return
            record = self._record(client, spec, args)
        self._finish(record, "refused", error.code)


def _login(spec: CommandSpec, args: Sequence[bytes]) -> bytes:
    """The user's name in AUTH and HELLO."""
    if spec.name == "AUTH":
        return args[1] if len(args) == 3 else b"default"
    for at, word in enumerate(args[2:], 2):
        if word.upper() == b"AUTH" and at + 1 < len(args):
            return args[at + 1]
    return b""
