"""Which applications are run, in which versions, by which program of compat/apps; which of their scripts may be allowed."""

import os
import subprocess
import sys
from pathlib import Path

import attrs

from tests.clients.libraries import NO_NETWORK

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "compat" / "apps"
CACHE = Path(os.environ.get("KVGATE_APP_CACHE", ROOT / ".cache" / "apps"))
INSTALL_TIMEOUT = 240.0
"""Seconds for one application's environment."""


class Unavailable(Exception):  # noqa: N818 - a fact about this machine, not a mistake
    """The package index is not there; the text says so."""


@attrs.frozen
class App:
    """One application: how to install it, and the program that uses it as people do."""

    name: str
    program: str
    packages: tuple[str, ...]
    """All that decides, pinned; the first is the application."""
    arguments: tuple[str, ...] = ()
    """Behind the program's URLs."""
    scripts: tuple[str, ...] = ()
    """SHA-1s of its Lua scripts that touch only keys which they are given, or names that begin with these: what an operator
    allows where other applications' keys lie on the same store."""
    protocol: str = ""
    """"2" or "3": asked for in the URL; else the library's default."""

    @property
    def version(self) -> str:
        """Of the application and of the library under it."""
        first, *others = (package.replace("==", " ") for package in self.packages)
        return ", ".join([first.rsplit(" ", 1)[1], *(other.replace("redis ", "redis-py ") for other in others)])

    @property
    def spoken(self) -> str:
        """The protocol that its connections use."""
        newest = "redis==8" in "".join(self.packages)
        return f"RESP{self.protocol or (3 if newest else 2)}"

    @property
    def folder(self) -> Path:
        """Its environment."""
        return CACHE / "-".join(package.replace("==", "-").replace("[redis]", "") for package in self.packages[:1])

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return self.folder / "bin" / "python"

    def command(self, *urls: str) -> list[str]:
        """The line that runs its program."""
        if self.protocol:
            urls = tuple(f"{url}?protocol={self.protocol}" for url in urls)
        return [str(self.python), str(PROGRAMS / self.program), *urls, *self.arguments]

    def install(self) -> None:
        """Make its environment; quick when it is there.

        Raises:
            Unavailable: the package index cannot be reached.
            RuntimeError: something else is wrong; the text is pip's.
        """
        mark = self.folder / ".done"
        wanted = " ".join(self.packages)
        if mark.exists() and mark.read_text("utf-8") == wanted:
            return
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "10"]
        for line in ([sys.executable, "-m", "venv", "--clear", str(self.folder)], [str(self.python), *quiet, *self.packages]):
            try:
                done = subprocess.run(line, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False)
            except subprocess.TimeoutExpired:
                msg = f"the package index did not give {self.name} within {INSTALL_TIMEOUT:.0f} s"
                raise Unavailable(msg) from None
            if done.returncode and NO_NETWORK.search(done.stderr):
                msg = "the package index cannot be reached (pip)"
                raise Unavailable(msg)
            if done.returncode:
                raise RuntimeError(done.stdout + done.stderr)
        mark.write_text(wanted, "utf-8")


_REDIS = "redis==8.1.0"

APPS = (
    App("Django", "django_check.py", ("Django==5.2.19", _REDIS)),
    App("Django", "django_check.py", ("Django==5.2.19", _REDIS), protocol="2"),
    App(
        "django-redis",
        "django_check.py",
        ("django-redis==7.0.0", "Django==5.2.19", _REDIS),
        ("django-redis",),
        scripts=("f4a7da3e5d8ea3b46642af08427151cae0190400",),  # incr
    ),
    App(
        "Flask-Caching, Flask-Session",
        "flask_check.py",
        ("Flask-Caching==2.5.1", "Flask-Session==0.8.0", "Flask==3.1.3", _REDIS),
    ),
    App(
        "Celery",
        "celery_check.py",
        ("celery[redis]==5.7.0", "kombu==5.7.0", _REDIS),
        scripts=(
            "ef7a9e205fbaf46bf959e1522ff796622fc676c7",  # kombu: REFRESH_BINDING
            "b8fc152c83a7e634103ccebd49dcd3146a8f4366",  # CHORD_PART_RETURN_LUA
            "59d7aab41242d82196947ba8926cab712416da4f",  # CHORD_CLEANUP_LUA
            "dc87180d6bcb7f73c7275eb0fe7a70baf0a8b7c7",  # CHORD_CLAIM_EXTEND_LUA
        ),
    ),
    App(
        "RQ",
        "rq_check.py",
        ("rq==3.0.0", _REDIS),
        scripts=(
            "5cee5213d2ee93f19f93badbfc1c8abbccde5baf",  # UNIQUE_ENQUEUE_SCRIPT
            "10808fbebdc9b5ffafa2b7f5f2ce29a5bc6a1e07",  # UNIQUE_SCHEDULE_SCRIPT
            "4227fa753143e6f652e2e185d254964b3a7413a5",  # ACQUIRE_OR_REFRESH_LOCK_SCRIPT
            "d44df6e1a0e76df1009084a91af26cc23ac035a9",  # RELEASE_LOCK_SCRIPT
        ),
    ),
    App(
        "limits",
        "limits_check.py",
        ("limits==5.8.0", "redis==7.4.1"),
        scripts=(
            "628bd136a573a06b346879695681af12ccef300f",  # incr_expire
            "741eab638ba93ed71020bb821c45c022d0fa02c4",  # acquire_moving_window
            "ad795214f59fe26d6fdec07973836dd16586f5ec",  # moving_window
            "e8ac2a60cb040b0dbb56815a1e9c6fd032ce62e7",  # acquire_sliding_window
            "e7a0a27d4101baabb124af209bb0245197a359a1",  # sliding_window
            "f2994557f1daca13bfef97c2a31ca4b174e031ca",  # clear_keys: the keys of a pattern that it is given as a key
        ),
    ),
    App("redis-py's Lock", "locks_check.py", (_REDIS,), ("redis-py",)),
    App(
        "python-redis-lock",
        "locks_check.py",
        ("python-redis-lock==4.0.1", _REDIS),
        ("python-redis-lock",),
        scripts=(
            "90da91872223f85eb1376a17e3c4df21ace8c54b",  # UNLOCK_SCRIPT
            "fed16109024d968d9496e4140fe1355bac05ebff",  # EXTEND_SCRIPT
            "afbc8014508f92e446b56567e8ba600e811c1bd5",  # RESET_SCRIPT
        ),
    ),
    App(
        "pottery's Redlock",
        "locks_check.py",
        ("pottery==3.0.1", _REDIS),
        ("pottery",),
        scripts=(
            "a4aada0b36710970eedaaaeec4a6b7d8c78c4f80",
            "ba015a80261b616e7a62d35df0b8e3edbe6c9414",
            "f5f7bd3a3aa4a63c507c1155c5ea1219b350d992",
        ),
    ),
    App(
        "Huey",
        "huey_check.py",
        ("huey==3.5.4", _REDIS),
        scripts=("4f30a2b0c2d7759adb15efd0d270a583531c67e2",),
    ),
    App(
        "Dramatiq",
        "dramatiq_check.py",
        ("dramatiq[redis]==2.2.1", _REDIS),
        scripts=(
            "63a257ff9edcee2888529b5d51c86f83444f91e4",  # maxstack: has no keys
            "fdacc359c79a5adc3b8eeb53ff5772d7c42144e3",  # dispatch: names begin with the key that it is given
        ),
    ),
)
"""Versions are pinned, so that a failure is the gate's and not a release of last night; to renew them is an edit here."""
