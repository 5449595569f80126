"""The short way of GET says what the handler says, whatever is stored, and is taken where it should be."""

from pathlib import Path

import pytest

from kvgate.model.short import Way
from kvgate.wire.reply import encode
from kvgate_lmdb.engine import LmdbEngine
from tests.kvgate_lmdb.store import ALL, Clock, Store, command, context, running

FAR = b"99999999999999"
FILL = [
    (b"SET", b"Ads.T:plain", b"value"),
    (b"SET", b"Ads.T:empty", b""),
    (b"SET", b"Ads.T:soon", b"value", b"PX", b"500"),
    (b"SET", b"Ads.T:later", b"value", b"PXAT", FAR),
    (b"SET", b"Ads.T:long", b"v" * 100_000),
    (b"SET", b"Ads.T:" + b"k" * 1000, b"value"),
    (b"HSET", b"Ads.T:hash", b"f", b"v"),
    (b"EXSET", b"Ads.T:versioned", b"value"),
    (b"SET", b"no namespace", b"value"),
    (b"SET", b"\x00\xff:\r\n", b"value"),
]
KEYS = [line[1] for line in FILL] + [b"Ads.T:missing", b"Other.T:missing", b"missing"]


def replies(store: Store, proto: int) -> list[bytes]:
    """What a GET of each key answers at once."""
    found = [store.backend.execute_now(command(b"GET", key), context(proto)) for key in KEYS]
    return [
        b"later" if reply is None else encode(reply, proto) if not isinstance(reply, bytes) else bytes(reply)
        for reply in found
    ]


@pytest.mark.parametrize("proto", [2, 3])
async def test_both_ways_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proto: int) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as store:

        def both() -> tuple[list[bytes], list[bytes]]:
            short = [replies(store, proto) for _ in range(2)][1]  # the first one learns the generations
            with monkeypatch.context() as patch:
                patch.setattr(LmdbEngine, "read_short", lambda _self, _key: Way.LONG)
                return short, replies(store, proto)

        for line in FILL:
            await store.ask(*line)
            short, long = both()
            assert short == long
        assert short[:4] == [b"value", b"", b"value", b"value"]
        clock.now += 1000
        short, long = both()
        assert short == long
        assert short[2] == (b"$-1\r\n" if proto == 2 else b"_\r\n")
        await store.backend.flush(ALL, context())
        short, long = both()
        assert short == long
        assert set(short) == {b"$-1\r\n" if proto == 2 else b"_\r\n"}
        await store.ask(*FILL[0])
        assert both()[0][0] == b"value"


async def test_it_is_taken_for_plain_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[bool] = []
    read = LmdbEngine.read_short

    def noted(self: LmdbEngine, key: bytes) -> "bytes | Way | None":
        found = read(self, key)
        ways.append(found is not Way.LONG)
        return found

    monkeypatch.setattr(LmdbEngine, "read_short", noted)
    async with running(tmp_path) as store:
        await store.ask(*FILL[0])
        for _ in range(3):
            assert await store.ask(b"GET", FILL[0][1]) == b"$5\r\nvalue\r\n"
        assert ways == [False, True, True]
