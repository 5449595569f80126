"""Users, networks and rights that a reload changes, for clients that are there."""



from tests.server.processes import one_on_each
from tests.server.reloads import (
    BOTH,
    OTHER,
    SECRET,
    redis,
    refused,
    rules,
    user,
)
from tests.support.servers import Gates, RedisServer


@BOTH
def test_removed_users_and_networks_are_cut_at_once(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    base = redis("a", redis_server.url) + rules(A_T="a") + user("admin")
    gate = gates(base + user("gone") + user("far") + user("stays"), gate=f"workers = {workers}\n")
    names = ("gone", "far", "stays", "admin")
    clients = {name: [*one_on_each(gate, workers, user=name, password="secret").values()] for name in names}
    for client in clients["gone"]:
        client.cmd("SET", "A.T:x", "1")
    clients["gone"][0].send("BLPOP", "A.T:list", "0")
    gate.write_config(base + user("far", networks='["10.0.0.0/8"]') + user("stays", networks='["127.0.0.0/8"]'))
    assert clients["admin"][0].cmd("GATE", "RELOAD") == b"OK"
    for client in (*clients["gone"], *clients["far"]):
        assert client.read_all() == b""
    for client in clients["stays"]:
        assert client.cmd("SET", "A.T:x", "1") == b"OK"
    with gate.client() as client:
        assert refused(client, "AUTH", "gone", "secret").startswith("WRONGPASS")
        assert refused(client, "AUTH", "far", "secret").startswith("WRONGPASS")
    for each in clients.values():
        for client in each:
            client.close()


@BOTH
def test_rights_change_for_the_next_command_on_the_lane_too(gates: Gates, redis_server: RedisServer, workers: int) -> None:
    base = redis("a", redis_server.url) + "[namespaces]\n" + '"B.T" = "a"\n[namespaces."A.T"]\nbackend = "a"\n'
    admin = user("admin")
    gate = gates(base + admin + user("app"), gate=f"workers = {workers}\n")
    clients = [*one_on_each(gate, workers, user="app", password="secret").values()]
    with gate.client(user="admin", password="secret") as asking:

        def change(config: str) -> None:
            for client in clients:  # known to the lane by now
                client.pipeline([("SET", "A.T:x", "1234567890")] * 20 + [("GET", "B.T:x")] * 20)
            gate.write_config(config)
            assert asking.cmd("GATE", "RELOAD") == b"OK"

        change(base + admin + user("app", commands='["+@all", "-set"]'))
        for client in clients:
            assert refused(client, "SET", "A.T:x", "1").startswith("NOPERM this user has no permissions to run the 'set'")
            assert client.cmd("GET", "A.T:x") == b"1234567890"
        change(base + admin + user("app", namespaces='["B.T"]'))
        for client in clients:
            assert refused(client, "GET", "A.T:x").startswith("NOPERM")
            assert client.cmd("GET", "B.T:x") is None
        change(base + admin + user("app"))
        change(base + "max_value = 5\nmax_key = 8\n" + admin + user("app"))
        for client in clients:
            assert "over the limit of 5 bytes" in refused(client, "SET", "A.T:x", "1234567890")
            assert "over the limit of 8 bytes" in refused(client, "GET", "A.T:12345")
            assert client.cmd("SET", "A.T:x", "12345") == b"OK"
            client.close()


def test_a_wait_after_wrong_passwords_outlasts_a_reload_and_a_new_password_works_at_once(
    gates: Gates, redis_server: RedisServer
) -> None:
    base = redis("a", redis_server.url) + rules(A_T="a") + user("admin")
    gate = gates(base + user("app"), gate='wrong_password_first = "30s"\nwrong_password_longest = "30s"\n')
    with gate.client(user="admin", password="secret") as admin, gate.client(user="app", password="secret") as app:
        with gate.client() as wrong:
            assert refused(wrong, "AUTH", "app", "wrong").startswith("WRONGPASS")
            gate.write_config(base + user("app", secret=f'{SECRET}", "{OTHER}'))
            assert admin.cmd("GATE", "RELOAD") == b"OK"
            assert refused(wrong, "AUTH", "app", "secret").startswith("THROTTLED")
        gate.write_config(base + user("app", secret=OTHER) + user("second", secret=OTHER))
        assert admin.cmd("GATE", "RELOAD") == b"OK"
        assert app.cmd("PING") == b"PONG"  # who is in stays in
        with gate.client() as client:
            assert client.cmd("AUTH", "second", "other") == b"OK"


def test_first_users_and_no_users_any_more(gates: Gates, redis_server: RedisServer) -> None:
    base = redis("a", redis_server.url) + rules(A_T="a")
    gate = gates(base)
    with gate.client() as nobody:
        gate.write_config(base + user("admin"))
        assert nobody.cmd("GATE", "RELOAD") == b"OK"
        assert nobody.read_all() == b""
    with gate.client(user="admin", password="secret") as admin, gate.client() as nobody:
        assert refused(nobody, "PING").startswith("NOAUTH")
        gate.write_config(base)
        assert admin.cmd("GATE", "RELOAD") == b"OK"
        assert admin.read_all() == b""
        assert nobody.cmd("SET", "A.T:x", "1") == b"OK"
