"""docs/errors.md has a section for every error text that kvgate/errors.py makes, and for every code used anywhere else."""

import ast
import inspect
import re
from collections.abc import Callable

import pytest

from kvgate import errors
from tests.support.servers import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### `(.+?)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))

REDIS_OWN = {"BUSYKEY", "ERR", "EXECABORT", "NOSCRIPT", "WRONGTYPE"}
"""Codes whose texts outside of errors.py are Redis' own; the gate's own ERR texts are listed in GATE_TEXTS too."""

GATE_TEXTS = (
    "THROTTLED retry after 100 ms",
    "ERR store is full: its map of 4096 bytes is used up; raise map_size or delete keys",
    "ERR store refuses to grow: 1 MB left",
    "ERR store could not write (No space left); nothing was written; check the disk of /data",
    "ERR store refuses the command: it would write more than 5000 records or 10 MB in one transaction; send it in parts",
    "ERR one command would read more than 100000 records of the store: read them in parts, as with HSCAN",
    "ERR a MULTI holds at most 10000 commands and 16777216 bytes",
    "ERR Protocol error: invalid bulk length",
    ("ERR keys that exist would be looked for elsewhere: A.B: backend a -> backend b; move the data first, then say"
    " accept_moves = ['A.B']"),
    "ERR worker 1 did not answer within 20 s",
    "ERR the reload goes on after 60 s; INFO gate will show its end",
)
"""Texts that other modules make; a test below holds that they are still made."""


def pattern(heading: str) -> "re.Pattern[str]":
    return re.compile("(?s)" + ".*".join(re.escape(part) for part in heading.split("…")))


def constants() -> list[str]:
    return [value for name, value in vars(errors).items() if name.isupper() and isinstance(value, str)]


def makers() -> "list[Callable[..., errors.GateError]]":
    return [
        value
        for name, value in vars(errors).items()
        if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == errors.__name__
    ]


def sample(maker: "Callable[..., errors.GateError]") -> str:
    """Its text for made-up arguments of the right types."""
    values = {"str": "x", "int": 7, "bytes": b"x", "list[bytes]": [b"x", b"y"], "Sequence[bytes]": [b"x", b"y"]}
    arguments = []
    for parameter in inspect.signature(maker).parameters.values():
        kind = parameter.annotation if isinstance(parameter.annotation, str) else str(parameter.annotation)
        kind = {"<class 'str'>": "str", "<class 'int'>": "int", "<class 'bytes'>": "bytes"}.get(kind, kind)
        arguments.append(values[kind.removeprefix("collections.abc.")])
    return maker(*arguments).text


TEXTS = [*constants(), *(sample(maker) for maker in makers()), *GATE_TEXTS]


@pytest.mark.parametrize("text", TEXTS)
def test_each_text_has_one_section(text: str) -> None:
    found = [heading for heading in SECTIONS if pattern(heading).fullmatch(text)]
    assert len(found) == 1, found


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_section_is_about_a_text_and_says_what_to_do(heading: str) -> None:
    assert any(pattern(heading).fullmatch(text) for text in TEXTS), "nothing makes this text any more"
    labels = re.findall(r"^\*\*(.+?):\*\*", SECTIONS[heading], re.MULTILINE)
    assert labels == ["Means", "Send again", "Do"]


def literals() -> "set[tuple[str, str]]":
    """(place, text so far as it is literal) of every ``GateError("…")`` of the source."""
    found = set()
    for path in [*(ROOT / "kvgate").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) and node.args:
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                argument = node.args[0]
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                shown = "".join(str(p.value) if isinstance(p, ast.Constant) else "7" for p in parts)
                if name in {"GateError", "ProtocolError"} and isinstance(parts[0], ast.Constant):
                    text = f"ERR {shown}" if name == "ProtocolError" else shown
                    found.add((f"{path.relative_to(ROOT)}:{node.lineno}", text))
    return found


def test_codes_used_elsewhere_have_sections() -> None:
    found = literals()
    assert len(found) > 20, "the reader of literals found next to nothing"
    known = {heading.split()[0] for heading in SECTIONS} | REDIS_OWN
    unknown = [f"{place}: {text}" for place, text in found if text.split()[0] not in known]
    assert not unknown, "\n".join(unknown)


@pytest.mark.parametrize("text", GATE_TEXTS)
def test_texts_of_other_modules_are_still_made(text: str) -> None:
    (heading,) = (heading for heading in SECTIONS if pattern(heading).fullmatch(text))
    assert any(pattern(heading).fullmatch(made) for _, made in literals()), heading
