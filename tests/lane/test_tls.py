"""The TLS transform by itself: any portions, handshake stepping, ends and failures, both sides in one process."""

import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from kvgate.backend import Endpoint
from kvgate.lane.tls import TlsError, TlsTransform, client_context, server_context

HOST = "store.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    return folder


def endpoint(files: Path, **changes: object) -> Endpoint:
    return Endpoint(url="rediss://store.example", tls=True, tls_ca=files / "ca.pem", **changes)  # type: ignore[arg-type]


Pair = tuple[TlsTransform, TlsTransform]


@pytest.fixture
def pair(files: Path) -> Pair:
    client = TlsTransform(client_context(endpoint(files)), server_name=HOST)
    server = TlsTransform(server_context(files / "cert.pem", files / "key.pem"), server_side=True)
    return client, server


def carry(data: bytes, to: TlsTransform, portion: int) -> bytes:
    """Hand `data` over in portions; the plaintext that came of it."""
    return b"".join(to.receive(data[at : at + portion]) for at in range(0, len(data), portion))


def shake(pair: Pair, portion: int = 1 << 20) -> None:
    client, server = pair
    flight = client.start()
    for _ in range(4):
        assert carry(flight, server, portion) == b""
        assert carry(server.outgoing(), client, portion) == b""
        flight = client.outgoing()
    assert client.established
    assert server.established


@pytest.mark.parametrize("portion", [1, 2, 1000, 1 << 20])
def test_any_portions_give_the_same_plaintext(pair: Pair, portion: int) -> None:
    client, server = pair
    shake(pair, portion)
    assert carry(client.send(b"ask" * 7000), server, portion) == b"ask" * 7000
    assert carry(server.send(b"reply" * 7000), client, portion) == b"reply" * 7000
    assert client.send(b"") == b""


def test_what_is_sent_early_goes_out_with_the_handshake(pair: Pair) -> None:
    client, server = pair
    flight = client.start() + client.send(b"first ") + client.send(b"second")
    seen = b""
    for _ in range(4):
        seen += server.receive(flight) if flight else b""
        if answer := server.outgoing():
            client.receive(answer)
        flight = client.outgoing()
    assert seen == b"first second"


def test_a_goodbye_ends_the_stream_behind_the_data(pair: Pair) -> None:
    client, server = pair
    shake(pair)
    assert server.receive(client.send(b"last words") + client.close()) == b"last words"
    assert server.ended
    assert not client.ended


def test_an_end_without_goodbye_is_an_end(pair: Pair) -> None:
    client, server = pair
    shake(pair)
    assert server.receive(client.send(b"cut")) == b"cut"
    assert not server.ended
    assert server.receive(b"") == b""
    assert server.ended


def test_an_end_in_the_handshake_is_a_failure(pair: Pair) -> None:
    client, _ = pair
    client.start()
    with pytest.raises(TlsError, match="ended during the TLS handshake"):
        client.receive(b"")


def test_plain_text_is_refused_on_both_sides(pair: Pair) -> None:
    client, server = pair
    client.start()
    with pytest.raises(TlsError, match="TLS handshake failed: wrong version number"):
        client.receive(b"-ERR unknown command\r\n")
    with pytest.raises(TlsError, match="TLS handshake failed"):
        server.receive(b"*1\r\n$4\r\nPING\r\n")
    assert isinstance(server.close(), bytes)


def test_a_wrong_name_and_an_unknown_authority_are_refused(files: Path) -> None:
    def failure(context: ssl.SSLContext, name: str) -> str:
        client = TlsTransform(context, server_name=name)
        server = TlsTransform(server_context(files / "cert.pem", files / "key.pem"), server_side=True)
        server.receive(client.start())
        with pytest.raises(TlsError) as caught:
            client.receive(server.outgoing())
        with pytest.raises(TlsError, match=r"certificate unknown|unknown ca|bad certificate"):
            server.receive(client.outgoing() or client.close())  # it is told why, in an alert
        return str(caught.value)

    assert "Hostname mismatch" in failure(client_context(endpoint(files)), "other.example")
    assert "unable to get local issuer" in failure(client_context(Endpoint(url="", tls=True)), HOST)


def test_a_corrupted_record_fails(pair: Pair) -> None:
    client, server = pair
    shake(pair)
    record = bytearray(client.send(b"hello"))
    record[-1] ^= 1
    with pytest.raises(TlsError, match="TLS failed"):
        server.receive(bytes(record))


def test_a_client_certificate_is_asked_for_and_checked(files: Path, authority: trustme.CA, tmp_path: Path) -> None:
    own = authority.issue_cert("gate.example")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "gate.pem"))

    def run(client_options: dict[str, object]) -> Callable[[], None]:
        context = server_context(files / "cert.pem", files / "key.pem", files / "ca.pem")
        server = TlsTransform(context, server_side=True)
        client = TlsTransform(client_context(endpoint(files, **client_options)), server_name=HOST)
        return lambda: shake((client, server))

    run({"tls_cert": tmp_path / "gate.pem"})()
    with pytest.raises(TlsError, match="peer did not return a certificate"):
        run({})()


def test_old_versions_are_refused(files: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files / "ca.pem")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    client = TlsTransform(context, server_name=HOST)
    server = TlsTransform(server_context(files / "cert.pem", files / "key.pem"), server_side=True)
    with pytest.raises(TlsError, match="unsupported protocol"):
        server.receive(client.start())
    assert client_context(endpoint(files)).minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_context_is_kept_until_a_file_changes(files: Path, tmp_path: Path, authority: trustme.CA) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes((files / "ca.pem").read_bytes())
    wanted = Endpoint(url="", tls=True, tls_ca=ca)
    first = client_context(wanted)
    assert client_context(wanted) is first
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    os.utime(ca, ns=(1, 1))
    assert client_context(wanted) is not first
    with pytest.raises(FileNotFoundError):
        client_context(Endpoint(url="", tls=True, tls_ca=tmp_path / "missing.pem"))


def test_names_are_those_of_a_verified_certificate(authority: trustme.CA, files: Path, tmp_path: Path) -> None:
    shown = authority.issue_cert("Ads.Shop", "mail@ads.shop", "10.0.0.1", common_name="ads")
    shown.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "shown.pem"))
    names = frozenset({"CN=ads", "DNS=ads.shop"})
    for asks, expected in ((files / "ca.pem", names), (None, frozenset[str]())):
        context = client_context(endpoint(files, tls_cert=tmp_path / "shown.pem", tls_key=tmp_path / "shown.pem"))
        client = TlsTransform(context, server_name=HOST)
        server = TlsTransform(server_context(files / "cert.pem", files / "key.pem", asks), server_side=True)
        assert server.peer_names(time.time()) == frozenset()
        shake((client, server))
        assert server.peer_names(time.time()) == expected
        assert server.peer_names(1e11) == frozenset()  # its time is over: a resumed session would come to that
