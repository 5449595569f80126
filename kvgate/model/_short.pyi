# What kvgate/model/_short.c gives to Python; kvgate.model.short, whose functions do the same, says more.

from collections.abc import Callable, Mapping

LIMITS: dict[str, int]

def gets(
    get: Callable[[bytes], bytes | None],
    generations: Mapping[bytes, int],
    now: int,
    null: bytes,
    words: list[bytes],
    start: int,
    /,
) -> tuple[bytes, int, int]: ...
def hgets(
    get: Callable[[bytes], bytes | None],
    generations: Mapping[bytes, int],
    now: int,
    null: bytes,
    words: list[bytes],
    start: int,
    /,
) -> tuple[bytes, int, int]: ...
def sets(
    get: Callable[[bytes], bytes | None],
    writes: dict[bytes, bytes | None],
    below: Mapping[bytes, bytes | None],
    generations: Mapping[bytes, int],
    revision: int,
    words: list[bytes],
    /,
) -> tuple[bytes, int, int] | bytes | None: ...
def hsets(
    get: Callable[[bytes], bytes | None],
    writes: dict[bytes, bytes | None],
    below: Mapping[bytes, bytes | None],
    generations: Mapping[bytes, int],
    revision: int,
    words: list[bytes],
    /,
) -> tuple[bytes, int, int] | bytes | None: ...
