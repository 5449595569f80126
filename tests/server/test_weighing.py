"""GATE USAGE and GATE BIGKEYS: what each user is shown, of every kind of store, and by one worker for all."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.processes import one_on_each
from tests.server.settings import Setting, namespaces, redis, serving, sharded, stores, user
from tests.support.resp import Resp
from tests.support.servers import NO_REDIS, redis_binary, wait_for

pytestmark = pytest.mark.skipif(redis_binary is None, reason=NO_REDIS)

LOCAL = '[backends.local]\ntype = "lmdb"\npath = "$DIR/data"\n'


def configuration(one: Any, two: Any) -> str:
    return (
        sharded("a", one, two)
        + LOCAL
        + namespaces(Ads__="a", Bank_L="a", Bank_Local="local", default="local")
        + user("ads", "Ads.*")
        + user("bank", "Bank.*")
        + user("boss", "*", more='commands = ["+@all"]')
        + user("operator", "Ads.*", more='commands = ["+@all"]')
    )


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with stores(2) as (one, two), serving(configuration(one, two), one, two, gate='usage_age = "0s"') as setting:
        with login(setting, "boss") as boss:
            for number in range(20):
                boss.cmd("SET", f"Ads.P:{number}", "v" * 100)
                boss.cmd("SET", f"Bank.L:{number}", "v" * 1000)
                boss.cmd("SET", f"Bank.Local:{number}", "v" * number)
            boss.cmd("RPUSH", "Ads.Q:list", *range(500))
            boss.cmd("SET", "Ads.P:big", "v" * 50_000)
            boss.cmd("SET", "Bank.Local:secret-of-bank", "v" * 200_000)
            boss.cmd("SET", "plain", "v")
        for store in setting.stores:
            store.cmd("SET", "Else.Where:k", "nobody's")  # no namespace of this gate's
        yield setting


def login(setting: Setting, name: str, proto: int = 2) -> Resp:
    return setting.gate.client(user=name, password=f"{name}-secret", proto=proto)


def told(client: Resp, *args: str) -> list[dict[bytes, Any]]:
    """A GATE command's rows, once no run goes on."""
    found: list[dict[bytes, Any]] = []

    def whole() -> bool:
        found[:] = [dict(zip(row[::2], row[1::2], strict=True)) if isinstance(row, list) else row for row in client.cmd(*args)]
        return all(row[b"state"] == b"done" and row[b"age"] is not None for row in found)

    wait_for(whole, "a whole run")
    return found


def by_name(rows: list[dict[bytes, Any]]) -> dict[str, dict[bytes, Any]]:
    return {row[b"namespace"].decode(): row for row in rows}


@pytest.mark.parametrize("proto", [2, 3])
def test_a_user_sees_its_own_namespaces(setting: Setting, proto: int) -> None:
    with login(setting, "ads", proto) as ads:
        rows = by_name(told(ads, "GATE", "USAGE"))
        assert set(rows) == {"Ads.P", "Ads.Q"}
        assert (rows["Ads.P"][b"keys"], rows["Ads.Q"][b"keys"]) == (21, 1)
        assert rows["Ads.P"][b"exact"] == 1
        assert 52_000 < rows["Ads.P"][b"bytes"] < 80_000
        assert (rows["Ads.P"][b"backend"], rows["Ads.P"][b"sampled"]) == (b"a", 21)
        assert set(by_name(told(ads, "GATE", "USAGE", "Ads.Q"))) == {"Ads.Q"}
        for refused in ("Bank.L", "Bank.*", "default", "No.Such"):
            assert ads.raw_reply("GATE", "USAGE", refused).startswith(b"-NOPERM"), refused
            assert ads.raw_reply("GATE", "BIGKEYS", refused, "COUNT", "3").startswith(b"-NOPERM"), refused
    with login(setting, "bank", proto) as bank:
        rows = by_name(told(bank, "GATE", "USAGE"))
        assert {name: row[b"keys"] for name, row in rows.items()} == {"Bank.L": 20, "Bank.Local": 21}
        assert rows["Bank.Local"][b"exact"] == 1


def test_heavy_keys(setting: Setting) -> None:
    with login(setting, "ads") as ads:
        rows = told(ads, "GATE", "BIGKEYS", "COUNT", "2")
        largest, longest = ([row for row in rows if row[b"by"] == by] for by in (b"bytes", b"elements"))
        assert [len(largest), len(longest)] == [2, 2]
        assert (largest[0][b"key"], largest[0][b"type"], largest[0][b"namespace"]) == (b"Ads.P:big", b"string", b"Ads.P")
        assert largest[0][b"bytes"] > 50_000
        assert (longest[0][b"key"], longest[0][b"elements"], longest[0][b"type"]) == (b"Ads.Q:list", 500, b"list")
        assert {row[b"key"] for row in told(ads, "GATE", "BIGKEYS", "Ads.Q")} == {b"Ads.Q:list"}
        for wrong in (("COUNT", "0"), ("COUNT", "x"), ("Ads.P", "COUNT"), ("a", "b", "c")):
            assert ads.raw_reply("GATE", "BIGKEYS", *wrong).startswith(b"-ERR"), wrong


def test_administration_sees_figures_of_all_and_keys_of_its_own(setting: Setting) -> None:
    with login(setting, "operator") as operator, login(setting, "boss") as boss:
        rows = by_name(told(operator, "GATE", "USAGE"))
        assert set(rows) == {"Ads.P", "Ads.Q", "Bank.L", "Bank.Local", "default"}
        assert rows["default"][b"keys"] == 1
        heavy = told(operator, "GATE", "BIGKEYS")
        assert {row[b"key"] for row in heavy if row[b"namespace"].startswith(b"Bank.")} == {None}
        assert b"secret-of-bank" not in operator.raw_reply("GATE", "BIGKEYS", "COUNT", "100")
        assert b"Bank.Local:secret-of-bank" in {row[b"key"] for row in told(boss, "GATE", "BIGKEYS")}


def test_a_store_that_is_away_is_said_to_be(setting: Setting) -> None:
    setting.stores[1].pause()
    try:
        with login(setting, "ads") as ads:
            wait_for(lambda: re.search(rb"failed: TRYAGAIN", ads.raw_reply("GATE", "USAGE", "Ads.P")), "a failed run")
    finally:
        setting.stores[1].resume()
    with login(setting, "ads") as ads:
        assert by_name(told(ads, "GATE", "USAGE", "Ads.P"))["Ads.P"][b"keys"] == 21


def test_one_worker_looks_for_all() -> None:
    with stores(1) as (one,):
        config = redis("a", one) + namespaces(Ads_P="a", default="a")
        with serving(config, one, gate="workers = 2\n") as setting:
            one.cmd("SET", "Ads.P:k", "v")
            clients = [*one_on_each(setting.gate, 2).values()]
            for client in (*clients, *clients):
                assert by_name(told(client, "GATE", "USAGE"))["Ads.P"][b"keys"] == 1
                assert told(client, "GATE", "BIGKEYS")[0][b"key"] == b"Ads.P:k"
            assert one.calls("dbsize") == 1
            for client in clients:
                client.close()
