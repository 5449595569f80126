"""Clients whose certificate says who they are: real certificates, over TLS, through a gate."""

import datetime as dt
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server.reloads import refused, reload, user
from tests.support.resp import Resp
from tests.support.servers import Gate, wait_for

ADMIN = {"user": "admin", "password": "secret"}
USERS = """
[users.ads]
certificates = ["CN=ads.shop", "URI=spiffe://shop/ads"]
namespaces = ["Ads.*"]
[users.bank]
certificates = ["DNS=bank.shop"]
namespaces = ["Bank.*"]
commands = ["+@all"]
[users.far]
certificates = ["CN=far.shop"]
networks = ["10.0.0.0/8"]
[users.default]
certificates = ["CN=default.shop"]
"""


@attrs.frozen
class World:
    """An authority, what it signs, and the gate's TLS listener."""

    authority: trustme.CA
    gate: Gate
    port: int
    head: str

    def client(self, *, cn: tuple[str, ...] = (), dns: tuple[str, ...] = (), uri: tuple[str, ...] = ()) -> Resp:
        """A connection with a certificate of these names."""
        return Resp(("127.0.0.1", self.port), tls=self.context(issue(self.authority, cn, dns, uri)), server_name="127.0.0.1")

    def context(self, certificate: bytes | None) -> ssl.SSLContext:
        """What a client connects with."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if certificate is not None:
            path = Path(self.gate.directory) / "client.pem"
            path.write_bytes(certificate)
            context.load_cert_chain(path)
        return context

    def config(self, users: str = USERS) -> str:
        """The gate's configuration."""
        return f"{self.head}{user('admin')}{users}"


def issue(authority: trustme.CA, cn: tuple[str, ...], dns: tuple[str, ...], uri: tuple[str, ...]) -> bytes:
    """Key and certificate, in PEM; trustme's own certificates have no URIs and one CN."""
    ca_key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    names = [*map(x509.DNSName, dns), *map(x509.UniformResourceIdentifier, uri), x509.RFC822Name("someone@ads.shop")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in cn]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], World]]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "gate.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    gates: dict[int, World] = {}

    def start(workers: int) -> World:
        if workers not in gates:
            head = (
                f'[gate]\nlisten = ["127.0.0.1:$PORT", "tls:127.0.0.1:0"]\nworkers = {workers}\ndrain_unready = "0s"\n'
                f'log_level = "info"\n[gate.tls]\ncert = "{folder}/gate.pem"\nkey = "{folder}/gate.pem"\n'
                f'ca = "{folder}/ca.pem"\n'
                '[backends.e]\ntype = "lmdb"\npath = "$DIR/data"\ndurability = "no"\n'
                '[namespaces]\n"Ads.P" = "e"\n"Bank.L" = "e"\n'
            )
            gate = Gate(head + user("admin") + USERS)
            gate.start()
            wait_for(lambda: "try:" in gate.log, "the banner")
            port = int(re.findall(r" serves .*, 127\.0\.0\.1:(\d+)", gate.log)[0])
            gates[workers] = World(authority, gate, port, head)
        return gates[workers]

    yield start
    for world in gates.values():
        world.gate.stop()


@pytest.fixture
def world(worlds: Callable[[int], World]) -> World:
    found = worlds(1)
    reload(found.gate, found.config(), **ADMIN)
    return found


@pytest.mark.parametrize(
    ("names", "who"),
    [
        ({"cn": ("ads.shop",)}, b"ads"),
        ({"uri": ("spiffe://shop/ads",)}, b"ads"),
        ({"cn": ("whoever",), "uri": ("spiffe://shop/other", "spiffe://shop/ads")}, b"ads"),
        ({"cn": ("ads.shop",), "uri": ("spiffe://shop/ads",)}, b"ads"),
        ({"dns": ("bank.shop",)}, b"bank"),
        ({"dns": ("BANK.shop",)}, b"bank"),
        ({"cn": ("ads.shop", "whoever"), "dns": ("bank.shop",)}, b"bank"),
        ({"cn": ("default.shop",)}, b"default"),
    ],
)
def test_a_certificate_makes_its_user(world: World, names: dict[str, tuple[str, ...]], who: bytes) -> None:
    with world.client(**names) as client:
        assert client.cmd("ACL", "WHOAMI") == who
        if who == b"ads":
            assert client.cmd("SET", "Ads.P:1", "x") == b"OK"
            assert refused(client, "GET", "Bank.L:1").startswith("NOPERM")
        assert client.cmd("CLIENT", "LIST").count(b"user=%b " % who) == 1
        assert client.cmd("RESET") == b"RESET"
        assert client.cmd("ACL", "WHOAMI") == who
        client.send("HELLO", 3)
        assert client.read_raw(1).startswith(b"%7\r\n")
        assert client.cmd("AUTH", "admin", "secret") == b"OK"
        assert client.cmd("ACL", "WHOAMI") == b"admin"


@pytest.mark.parametrize(
    "names",
    [
        {"cn": ("nobody.shop",)},
        {"cn": ("bank.shop",)},
        {"dns": ("ads.shop", "*.shop")},
        {"cn": ("ADS.shop",)},
        {"cn": ("ads.shop ",)},
        {"cn": ("ads.shop\0.evil",)},
        {"cn": ("ads.shop", "nobody.shop")},
        {"cn": ("CN=ads.shop",)},
        {"uri": ("spiffe://shop/ads/", "spiffe://shop/ad", "CN=ads.shop")},
        {"cn": ("ads.shop",), "dns": ("bank.shop",)},
        {"cn": ("far.shop",)},
        {},
    ],
)
def test_any_other_certificate_makes_nobody(world: World, names: dict[str, tuple[str, ...]]) -> None:
    """Of two users, of a user who may not come from here, names that are nearly right."""
    with world.client(**names) as client:
        assert refused(client, "GET", "Ads.P:1").startswith("NOAUTH")
        assert refused(client, "AUTH", "ads", "").startswith(("WRONGPASS", "THROTTLED"))
        assert client.cmd("AUTH", "admin", "secret") == b"OK"
        assert client.cmd("RESET") == b"RESET"
        assert refused(client, "PING").startswith("NOAUTH")


def test_what_is_sent_with_the_handshakes_last_message_is_served_as_that_user(world: World) -> None:
    """TLS 1.3: the client's first commands may come together with its certificate."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = world.context(issue(world.authority, ("ads.shop",), (), ()))
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with Resp(("127.0.0.1", world.port)) as raw:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        raw.sock.sendall(outgoing.read())
        while True:
            incoming.write(raw.sock.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        assert tls.version() == "TLSv1.3"
        tls.write(b"*2\r\n$3\r\nACL\r\n$6\r\nWHOAMI\r\n")
        raw.sock.sendall(outgoing.read())  # Certificate, Finished and the command
        got = b""
        while len(got) < 9:
            incoming.write(raw.sock.recv(65536))
            try:
                got += tls.read(65536)
            except ssl.SSLWantReadError:
                continue
        assert got == b"$3\r\nads\r\n"


def test_without_a_certificate_of_the_authority_there_is_no_connection(world: World) -> None:
    stranger = trustme.CA()
    for certificate in (None, issue(stranger, ("ads.shop",), (), ())):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            told_by(world, world.context(certificate))


def told_by(world: World, context: ssl.SSLContext) -> None:
    """Send a PING, and read until the gate ends the connection, which must be without a reply."""
    with (
        socket.create_connection(("127.0.0.1", world.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(b"PING\r\n")
        assert sock.recv(4096) == b""
        raise ConnectionResetError


@pytest.mark.parametrize("workers", [2])
def test_a_name_that_is_taken_away_ends_its_connections(worlds: Callable[[int], World], workers: int) -> None:
    world = worlds(workers)
    reload(world.gate, world.config(), **ADMIN)
    with ExitStack() as stack:

        def join(**names: tuple[str, ...]) -> Resp:
            return stack.enter_context(world.client(**names))

        by_cn = [join(cn=("ads.shop",)) for _ in range(2 * workers)]
        by_uri, both = join(uri=("spiffe://shop/ads",)), join(cn=("ads.shop",), uri=("spiffe://shop/ads",))
        by_password, unknown = join(cn=("ads.shop",)), join(cn=("new.shop",))
        assert by_password.cmd("AUTH", "admin", "secret") == b"OK"
        assert refused(unknown, "PING").startswith("NOAUTH")
        for client in (*by_cn, by_uri, both):
            assert client.cmd("SET", "Ads.P:1", "x") == b"OK"
        reload(world.gate, world.config(USERS.replace("CN=ads.shop", "CN=new.shop")), **ADMIN)
        for client in by_cn:
            assert client.read_all() == b""
        assert by_uri.cmd("ACL", "WHOAMI") == both.cmd("ACL", "WHOAMI") == b"ads"
        assert unknown.cmd("ACL", "WHOAMI") == b"ads"
        assert by_password.cmd("RESET") == b"RESET"
        assert refused(by_password, "PING").startswith("NOAUTH")
        elsewhere = USERS.replace("CN=ads.shop", "CN=new.shop").replace("[users.ads]", '[users.ads]\nnetworks = ["10.0.0.1"]')
        reload(world.gate, world.config(elsewhere), **ADMIN)
        for client in (by_uri, both, unknown):
            assert client.read_all() == b""


def test_a_name_that_changes_hands_ends_its_connections(world: World) -> None:
    """Even though both users are there: the certificate does not say any more that the client is the one it was."""
    with world.client(cn=("ads.shop",)) as client:
        assert client.cmd("ACL", "WHOAMI") == b"ads"
        reload(world.gate, world.config(USERS.replace("CN=ads.shop", "CN=x").replace("DNS=bank.shop", "CN=ads.shop")), **ADMIN)
        assert client.read_all() == b""
    with world.client(cn=("ads.shop",)) as client:
        assert client.cmd("ACL", "WHOAMI") == b"bank"
