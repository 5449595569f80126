"""An extension with AddressSanitizer, UndefinedBehaviorSanitizer and coverage, in a folder of its own, and how it is run.

gcc compiles; what the gate itself runs (kvgate/lane/_native*.so, kvgate/model/_short*.so) is neither read nor written. Two
runtimes fit what comes of it: gcc's own, for tests, and the one of atheris, clang's with libFuzzer inside. The first thing
in a process is `load`.
"""

import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = ROOT / "kvgate" / "lane" / "_native.c"
SHORT: Final = ROOT / "kvgate" / "model" / "_short.c"
SYNCER: Final = ROOT / "backends" / "kvgate_lmdb" / "_syncer.c"
SIDES_OF: Final = {"short": SHORT}
"""What the sides of the fuzzer run, where it is not `SOURCE`."""
COVERAGE: Final = Path(__file__).with_name("coverage.c")
FOLDER: Final = ROOT / ".cache" / "fuzz"
NAMES: Final = {"_native": "kvgate.lane._native", "_short": "kvgate.model._short", "_syncer": "kvgate_lmdb._syncer"}
"""Names to import them by, where those are not the files'."""
PLACE: Final = "KVGATE_FUZZ_NATIVE"
"""The variable that tells a process where the build is."""
CHECKED: Final = (
    *("-O1", "-g", "-std=gnu11", "-fPIC", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"),
    *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
    *("-fsanitize-coverage=trace-pc,trace-cmp", "-DTOGETHER=1e9"),  # no limit of time: the same program does the same
)


class Unavailable(Exception):  # noqa: N818 - said to people, who can install it
    """This machine lacks something; the text names it."""


def compiler() -> str:
    """gcc, which is what the flags are for.

    Raises:
        Unavailable: there is none, or one without Python's headers.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        raise Unavailable("no gcc")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        raise Unavailable("no Python.h (Debian: python3-dev)")
    return gcc


def build(source: Path = SOURCE, *more: str) -> Path:
    """Compile an extension, unless that was done for the same text and flags; where it lies. `more` are gcc's options.

    Raises:
        Unavailable: there is no compiler.
        subprocess.CalledProcessError: it does not compile.
    """
    gcc = compiler()
    flags = [*CHECKED, *more, f"-I{sysconfig.get_paths()['include']}"]
    text = b"\0".join([source.read_bytes(), COVERAGE.read_bytes(), " ".join(flags).encode(), sys.version.encode()])
    folder = FOLDER / "builds" / hashlib.sha256(text).hexdigest()[:16]
    built = folder / f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        mine = folder / f"{os.getpid()}"  # two processes may build at once
        parts = [f"{mine}-code.o", f"{mine}-coverage.o"]
        _run(gcc, *flags, "-c", str(source), "-o", parts[0])
        _run(gcc, "-O2", "-fPIC", "-c", str(COVERAGE), "-o", parts[1])
        _run(gcc, "-shared", *parts, "-o", f"{mine}.so")  # without a sanitizer's runtime: that is preloaded
        for part in parts:
            Path(part).unlink()
        Path(f"{mine}.so").rename(built)
    return built


def _run(*line: str) -> None:
    subprocess.run(line, check=True, stdin=subprocess.DEVNULL)


def runtime(*, fuzzer: bool) -> str:
    """What a process that loads a build has to preload: gcc's runtimes, or atheris' with the fuzzer.

    Raises:
        Unavailable: it is not installed.
    """
    if fuzzer:
        found = importlib.util.find_spec("atheris")
        if found is None or found.origin is None:
            raise Unavailable("no atheris (it has wheels for CPython 3.11 to 3.13 on Linux, x86-64: `make fuzz` installs it)")
        library = Path(found.origin).parents[1] / "asan_with_fuzzer.so"
        if not library.exists():
            raise Unavailable(f"no {library.name} beside atheris")
        return str(library)
    gcc, libraries = compiler(), []
    for name in ("libasan.so", "libubsan.so"):
        path = subprocess.run([gcc, f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()
        if not Path(path).is_absolute():
            raise Unavailable(f"gcc has no {name}")
        libraries.append(path)
    return " ".join(libraries)


def environment(built: Path, *, fuzzer: bool) -> dict[str, str]:
    """Of a process that loads this build.

    Raises:
        Unavailable: see `runtime`.
    """
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "backends", ROOT / "compat")))
    return {
        **os.environ,
        "LD_PRELOAD": runtime(fuzzer=fuzzer),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:quarantine_size_mb=64",  # Python leaks at its end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # Python's own allocator would hide what lies beside an object
        "PYTHONPATH": paths,
        PLACE: str(built),
    }


def load() -> ModuleType:
    """Make importers take the extension that `PLACE` names; before any of them is imported."""
    where = os.environ[PLACE]
    stem = Path(where).name.partition(".")[0]
    name = NAMES.get(stem, stem)
    if name in sys.modules:
        raise RuntimeError(f"{name} is already loaded")
    loader = importlib.machinery.ExtensionFileLoader(name, where)
    spec = importlib.util.spec_from_loader(name, loader)
    if spec is None:
        raise RuntimeError(f"{where} is no extension")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[name] = module
    return module
