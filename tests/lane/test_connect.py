"""Connecting to real redis-servers and to scripted ones: passwords, TLS, unix sockets, databases, and every way to fail."""

import socket
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme

from kvgate.backend import Endpoint
from kvgate.errors import GateError
from kvgate.lane import connect as module
from kvgate.lane.connect import Connected, ConnectFailed, StoreLoading, Stream, away, connect
from kvgate.wire.reply import decode
from kvgate.wire.request import encode_request
from tests.lane.stores import ScriptedStore, endpoint_of, write_secret
from tests.support.ports import free_port
from tests.support.servers import RedisServer

Servers = Callable[..., RedisServer]
PATIENT = 10.0
"""Seconds where a test wants success: the machine is shared."""


async def ask(connected: Connected, *args: bytes) -> object:
    stream = connected.stream
    await stream.send_all(encode_request(args))
    return decode(await stream.receive_some())


async def good(endpoint: Endpoint, proto: int = 2) -> Connected:
    connected = await connect(endpoint, proto=proto, name="kvgate-test", timeout=PATIENT)
    assert connected.leftover == b""
    return connected


@pytest.mark.parametrize("proto", [2, 3])
async def test_plain_tcp(module_redis: RedisServer, proto: int) -> None:
    connected = await good(endpoint_of(module_redis), proto)
    assert connected.proto == proto
    assert connected.tls is None
    assert connected.sock.gettimeout() == 0
    assert connected.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert connected.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert connected.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == module.KEEP_IDLE
    assert await ask(connected, b"CLIENT", b"GETNAME") == b"kvgate-test"
    info = await ask(connected, b"CLIENT", b"INFO")
    text = info if isinstance(info, bytes) else info.text  # type: ignore[attr-defined]  # a verbatim string in RESP3
    assert f" resp={proto}".encode() in text or b" resp=" not in text  # 7.0 does not say it yet
    connected.stream.close()


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("user", ["", "app"])
async def test_password_and_user(redis_servers: Servers, proto: int, user: str) -> None:
    server = redis_servers(password="s3 cret")
    server.cmd("ACL", "SETUSER", "app", "on", ">s3 cret2", "~*", "&*", "+@all")
    password = "s3 cret2" if user else "s3 cret"
    connected = await good(endpoint_of(server, user=user, password=password), proto)
    assert await ask(connected, b"ACL", b"WHOAMI") == (user or "default").encode()
    connected.stream.close()


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("password", ["", "wrong-and-secret"])
async def test_a_wrong_or_missing_password_says_what_to_do_and_not_the_secret(
    redis_servers: Servers, proto: int, password: str
) -> None:
    server = redis_servers(password="right")
    with pytest.raises(GateError) as caught:
        await connect(endpoint_of(server, password=password), proto=proto, name="x", timeout=PATIENT)
    assert caught.value.text.startswith("ERR upstream refused the gate: ")
    assert "WRONGPASS" in caught.value.text if password else "NOAUTH" in caught.value.text
    assert "password_file" in caught.value.text
    assert "wrong-and-secret" not in repr(caught.value) + away(endpoint_of(server), caught.value)


async def test_a_password_where_the_store_has_none(module_redis: RedisServer) -> None:
    with pytest.raises(GateError, match="without any password configured"):
        await connect(endpoint_of(module_redis, password="x"), proto=2, name="x", timeout=PATIENT)


async def test_the_password_file_is_read_at_every_connect(redis_servers: Servers, tmp_path: Path) -> None:
    server = redis_servers(password="first")
    secret = write_secret(tmp_path / "secret", "first")
    wanted = endpoint_of(server, password="ignored", password_file=secret)
    (await good(wanted)).stream.close()

    with server.client() as admin:
        admin.cmd("CONFIG", "SET", "requirepass", "second")
    server.password = "second"
    with pytest.raises(GateError, match="WRONGPASS"):
        await good(wanted, 3)
    write_secret(secret, "second")
    (await good(wanted, 3)).stream.close()
    secret.unlink()
    with pytest.raises(ConnectFailed, match=f"password_file {secret}: no such file"):
        await good(wanted)


@pytest.mark.parametrize("proto", [2, 3])
async def test_database(module_redis: RedisServer, proto: int) -> None:
    connected = await good(endpoint_of(module_redis, database=7), proto)
    await ask(connected, b"SET", b"only-in-7", b"x")
    connected.stream.close()
    with module_redis.client() as client:
        assert client.cmd("EXISTS", "only-in-7") == 0
        client.cmd("SELECT", "7")
        assert client.cmd("DEL", "only-in-7") == 1
    with pytest.raises(GateError, match="DB index is out of range"):
        await good(endpoint_of(module_redis, database=99), proto)


async def test_unix_socket(redis_servers: Servers) -> None:
    server = redis_servers(unix=True, password="p")
    connected = await good(endpoint_of(server), 3)
    assert connected.sock.family == socket.AF_UNIX
    assert await ask(connected, b"ECHO", b"x") == b"x"
    connected.stream.close()
    server.stop()
    with pytest.raises(ConnectFailed, match=r"no such file|connection refused"):
        await good(endpoint_of(server))


@pytest.mark.parametrize("proto", [2, 3])
async def test_tls(redis_servers: Servers, proto: int) -> None:
    server = redis_servers(tls=True, password="p")
    connected = await good(endpoint_of(server, host="localhost"), proto)
    assert connected.tls is not None
    big = bytes(range(256)) * 4096
    stream = connected.stream
    await stream.send_all(encode_request([b"ECHO", big]))
    reply = b""
    with trio.fail_after(PATIENT):
        while len(reply) < len(big) + 12:
            reply += await stream.receive_some()
    assert decode(reply) == big
    stream.close()
    by_address = await good(endpoint_of(server))  # the certificate names 127.0.0.1 too
    by_address.stream.close()


async def test_tls_failures_say_why(redis_servers: Servers, tmp_path: Path, module_redis: RedisServer) -> None:
    server = redis_servers(tls=True)
    with pytest.raises(ConnectFailed, match=r"its certificate is not accepted: .*Hostname mismatch"):
        await good(endpoint_of(server, tls_server_name="other.example"))
    with pytest.raises(ConnectFailed, match=r"its certificate is not accepted: .*(issuer|self-signed)"):
        await good(endpoint_of(server, tls_ca=None))
    with pytest.raises(ConnectFailed, match="no answer within"):  # Redis waits for the end of a line in the greeting
        await connect(endpoint_of(module_redis, tls=True), proto=2, name="x", timeout=0.2)
    with pytest.raises(ConnectFailed, match=r"missing.pem: no such file"):
        await good(endpoint_of(server, tls_ca=tmp_path / "missing.pem"))
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(ConnectFailed, match="hold no usable certificate"):
        await good(endpoint_of(server, tls_ca=tmp_path / "bad.pem"))
    with pytest.raises((ConnectFailed, GateError)):  # plain RESP to a TLS port: it hangs up
        await good(endpoint_of(server, tls=False))


async def test_a_client_certificate_is_shown(redis_servers: Servers, tmp_path: Path) -> None:
    own = trustme.CA()
    certificate = own.issue_cert("gate.example")
    own.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "gate.key"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "gate.pem"))
    server = redis_servers(tls=True)
    with server.client() as admin:
        admin.cmd("CONFIG", "SET", "tls-ca-cert-file", str(tmp_path / "ca.pem"), "tls-auth-clients", "yes")
    shown = endpoint_of(server, tls_cert=tmp_path / "gate.pem", tls_key=tmp_path / "gate.key")
    connected = await good(shown)
    assert await ask(connected, b"ECHO", b"x") == b"x"
    connected.stream.close()
    with pytest.raises(ConnectFailed):
        await good(endpoint_of(server))


async def test_nobody_listens() -> None:
    nowhere = Endpoint(url="redis://127.0.0.1/0", host="127.0.0.1", port=free_port())
    with pytest.raises(ConnectFailed, match="connection refused") as caught:
        await connect(nowhere, proto=3, name="x")
    assert away(nowhere, caught.value) == "redis://127.0.0.1/0: connection refused"


async def test_an_unknown_name() -> None:
    nowhere = Endpoint(url="", host="no-such-store.invalid", port=6000)
    with pytest.raises(ConnectFailed, match=r"name 'no-such-store.invalid' is not known|no answer within"):
        await connect(nowhere, proto=2, name="x")


async def test_a_stopped_process_is_no_answer_in_time(redis_server: RedisServer) -> None:
    redis_server.pause()
    began = trio.current_time()
    with pytest.raises(ConnectFailed, match=r"no answer within 0\.1 s"):
        await connect(endpoint_of(redis_server), proto=2, name="", timeout=0.1)
    assert trio.current_time() - began >= 0.1
    redis_server.resume()
    (await good(endpoint_of(redis_server))).stream.close()


async def test_the_next_address_is_tried_when_one_is_silent_or_refuses(
    module_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with three addresses: nobody listens, a listener with a full backlog that never answers SYNs, the store."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filling = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            filling.append(filler)
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
            for address in [("127.0.0.1", free_port()), full.getsockname(), (module_redis.host, module_redis.port)]
        ]

        async def resolve(*_args: object, **_options: object) -> object:
            await trio.lowlevel.checkpoint()
            return found

        monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
        named = Endpoint(url="", host="three.example", port=1)
        connected = await connect(named, proto=3, name="x", timeout=2.0)
        assert connected.sock.getpeername()[1] == module_redis.port
        connected.stream.close()
        for filler in filling:
            filler.close()


async def test_names_are_resolved_at_every_connect(module_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = trio.socket.getaddrinfo

    async def resolve(host: str, port: int, **options: int) -> object:
        asked.append(host)
        return await real("127.0.0.1", port, **options)

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    named = attrs.evolve(endpoint_of(module_redis), host="store.example")
    for _ in range(2):
        (await good(named)).stream.close()
    assert asked == ["store.example"] * 2


async def test_a_store_that_loads_is_not_up_yet(nursery: trio.Nursery) -> None:
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    store = ScriptedStore(lambda args: loading if args[0] == b"PING" else b"+OK\r\n")
    await nursery.start(store.run)
    with pytest.raises(StoreLoading, match="loading its data"):
        await connect(store.endpoint, proto=2, name="x", timeout=PATIENT)


async def test_a_real_store_that_loads(redis_servers: Servers) -> None:
    server = redis_servers(config=["--enable-debug-command", "yes", "--save", "3600 1", "--key-load-delay", "300"])
    with server.client() as admin:
        admin.cmd("DEBUG", "POPULATE", "3000", "k", "10")
        admin.cmd("SAVE")
        admin.cmd("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
        admin.send_raw(encode_request([b"DEBUG", b"RELOAD", b"NOSAVE"]))
        with trio.fail_after(PATIENT):
            while True:
                try:
                    (await connect(endpoint_of(server), proto=3, name="x")).stream.close()
                except StoreLoading:
                    break
                except ConnectFailed:
                    pass  # between two looks of the loading server at its sockets


@pytest.mark.parametrize("gone", [b"-ERR max number of clients reached\r\n", b"-DENIED Redis is in protected mode\r\n"])
async def test_a_greeting_error_is_told(nursery: trio.Nursery, gone: bytes) -> None:
    store = ScriptedStore(lambda _args: None, greeting=gone)
    await nursery.start(store.run)
    with pytest.raises((ConnectFailed, GateError), match=gone[5:20].decode()):
        await connect(store.endpoint, proto=2, name="", timeout=PATIENT)


async def test_too_many_clients_at_a_real_store(redis_servers: Servers) -> None:
    server = redis_servers(config=["--maxclients", "1"])
    with server.client(), pytest.raises((ConnectFailed, GateError), match="max number of clients"):
        await good(endpoint_of(server))


async def test_a_store_that_quotes_the_secret_is_not_repeated(nursery: trio.Nursery) -> None:
    def answer(args: list[bytes]) -> bytes:
        if args[0] == b"AUTH":
            return b"-ERR unknown command 'AUTH', with args beginning with: '" + args[1] + b"'\r\n"
        return b"+PONG\r\n"

    store = ScriptedStore(answer)
    await nursery.start(store.run)
    with pytest.raises(GateError) as caught:
        await connect(attrs.evolve(store.endpoint, password="hunter2"), proto=2, name="x", timeout=PATIENT)
    assert "hunter2" not in caught.value.text
    assert "'***'" in caught.value.text


async def test_a_store_without_hello_is_told_apart(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda args: b"-ERR unknown command\r\n" if args[0] == b"HELLO" else b"+OK\r\n")
    await nursery.start(store.run)
    with pytest.raises(ConnectFailed, match="say resp3 = false"):
        await connect(store.endpoint, proto=3, name="x", timeout=PATIENT)


async def test_a_store_that_stays_in_resp2_is_told_apart(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda _args: b"*2\r\n$5\r\nproto\r\n:2\r\n")  # KvRocks without resp3-enabled
    await nursery.start(store.run)
    with pytest.raises(ConnectFailed, match="say resp3 = false"):
        await connect(store.endpoint, proto=3, name="x", timeout=PATIENT)


async def test_a_store_without_resp3_gets_auth_and_nothing_else(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda args: b"+PONG\r\n" if args[0] == b"PING" else b"+OK\r\n")
    await nursery.start(store.run)
    plain = attrs.evolve(store.endpoint, password="token", resp3=False)
    connected = await connect(plain, proto=3, name="x", timeout=PATIENT)
    assert connected.proto == 2
    assert store.commands == [[b"AUTH", b"token"], [b"PING"]]
    connected.stream.close()


async def test_ping_that_is_refused_is_an_answer_all_the_same(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda args: b"-NOPERM this user has no permissions to run the '%b' command\r\n" % args[0].lower())
    await nursery.start(store.run)
    (await connect(store.endpoint, proto=2, name="x", timeout=PATIENT)).stream.close()


async def test_a_replica_without_its_master_is_away(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda args: b"-MASTERDOWN Link with MASTER is down\r\n" if args[0] == b"PING" else b"+OK\r\n")
    await nursery.start(store.run)
    with pytest.raises(ConnectFailed, match="replica without its master"):
        await connect(store.endpoint, proto=2, name="x", timeout=PATIENT)


async def test_something_else_answers(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda _args: b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await nursery.start(store.run)
    with pytest.raises(ConnectFailed, match="does not speak the Redis protocol"):
        await connect(store.endpoint, proto=2, name="x", timeout=PATIENT)


async def test_bytes_behind_the_handshake_are_kept(nursery: trio.Nursery) -> None:
    store = ScriptedStore(lambda args: b"+PONG\r\n>2\r\n$1\r\na" if args[0] == b"PING" else b"%0\r\n")
    await nursery.start(store.run)
    connected = await connect(store.endpoint, proto=3, name="x", timeout=PATIENT)
    assert connected.leftover == b">2\r\n$1\r\na"
    connected.stream.close()


async def test_a_handshake_in_single_bytes(nursery: trio.Nursery, redis_servers: Servers) -> None:
    server = redis_servers(password="p")
    target = await trio.open_tcp_stream(server.host, server.port)

    async def trickle(client: trio.SocketStream) -> None:
        async def back() -> None:
            async for data in target:
                for at in range(len(data)):
                    await client.send_all(data[at : at + 1])

        async with trio.open_nursery() as both:
            both.start_soon(back)
            async for data in client:
                await target.send_all(data)
            both.cancel_scope.cancel()

    listeners = await nursery.start(trio.serve_tcp, trickle, 0)
    port = listeners[0].socket.getsockname()[1]
    connected = await good(endpoint_of(server, port=port), 3)
    assert connected.leftover == b""
    connected.stream.close()
    await target.aclose()


async def test_closing_wakes_up_a_reader(module_redis: RedisServer) -> None:
    stream: Stream = (await good(endpoint_of(module_redis))).stream
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        stream.close()
    stream.close()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")
