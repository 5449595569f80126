"""TLS as a transform of bytes, without I/O, for both sides: clients' connections and the ones to stores."""

import contextlib
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from kvgate.backend import Endpoint

READ_SIZE = 256 * 1024
"""Plaintext asked of OpenSSL at a time; it gives one record (16 KB) per call."""


class TlsError(Exception):
    """The TLS connection cannot go on; the text says why and holds no secret. `close` may still give an alert to send."""


class TlsTransform:
    """Plaintext in, ciphertext out, and the other way round; whoever has the socket moves the bytes.

    Every call may make ciphertext to be sent: `receive` makes some during the handshake and now and then after it. So send
    what `outgoing` gives after each call (`send`, `start` and `close` return it themselves). What is sent before the
    handshake is done waits in here.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "_waiting", "ended", "established")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool = False, server_name: str = "") -> None:
        """Prepare one connection. `server_name` is what a client checks the certificate against (a name or an address)."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name or None
        )
        self._waiting: list[bytes] = []
        self.established = False
        """Whether the handshake is done."""
        self.ended = False
        """Whether the other side has ended its stream: nothing more will be received."""

    def start(self) -> bytes:
        """Begin the handshake: the ciphertext to send (nothing on a server's side, which waits for the client)."""
        self._step()
        return self._outgoing.read()

    def receive(self, ciphertext: bytes) -> bytes:
        """Take what came from the socket (empty: it ended) and give all plaintext that it completes.

        Raises:
            TlsError: a bad certificate, no TLS at all, a broken record.
        """
        if ciphertext:
            self._incoming.write(ciphertext)
        else:
            self._incoming.write_eof()
        if not self.established:
            self._step()
            if not self.established:
                return b""
        return self._read()

    def send(self, plaintext: bytes) -> bytes:
        """Encrypt; the ciphertext to send, with everything else that waits to be sent.

        Raises:
            TlsError: the connection has failed before.
        """
        if not self.established:
            self._waiting.append(plaintext)
        elif plaintext:  # OpenSSL refuses to write nothing
            self._write(plaintext)
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """The ciphertext that waits to be sent; empty when there is none."""
        return self._outgoing.read()

    def peer_names(self, now: float) -> frozenset[str]:
        """What the other side's verified certificate says who it is: ``CN=…`` of its subject, ``DNS=…`` and ``URI=…`` of its
        alternative names. None at all without such a certificate, and no ``CN=`` when there are several. `now` in seconds
        since the epoch: a session that is resumed may have outlived its certificate, which then says nothing."""
        certificate: Any = self._object.getpeercert() if self.established else None  # empty when it was not verified
        if not certificate or ssl.cert_time_to_seconds(certificate["notAfter"]) < now:
            return frozenset()
        common = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
        names = {f"CN={value}" for value in common} if len(common) == 1 else set()
        for kind, value in certificate.get("subjectAltName", ()):
            if kind == "DNS":
                names.add(f"DNS={value.lower()}")
            elif kind == "URI":
                names.add(f"URI={value}")
        return frozenset(names)

    def close(self) -> bytes:
        """Say that nothing more will be sent: the ciphertext to send before the socket is closed. Never raises."""
        with contextlib.suppress(ssl.SSLError):  # the answer is not waited for; after a failure its alert is left
            self._object.unwrap()
        return self._outgoing.read()

    def _step(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLEOFError:
            self.ended = True
            raise TlsError("the connection ended during the TLS handshake") from None
        except ssl.SSLCertVerificationError as error:
            raise TlsError(f"its certificate is not accepted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise TlsError(f"TLS handshake failed: {_reason(error)}") from error
        self.established = True
        for plaintext in self._waiting:
            self._write(plaintext)
        self._waiting.clear()

    def _write(self, plaintext: bytes) -> None:
        try:
            self._object.write(plaintext)  # into memory: all of it at once
        except ssl.SSLError as error:
            raise TlsError(f"TLS failed: {_reason(error)}") from error

    def _read(self) -> bytes:
        parts: list[bytes] = []
        try:
            while part := self._object.read(READ_SIZE):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            self.ended = self._incoming.eof
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.ended = True  # RESP says itself where a reply ends: an end without a TLS goodbye cuts nothing unseen
        except ssl.SSLError as error:
            raise TlsError(f"TLS failed: {_reason(error)}") from error
        return b"".join(parts)


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: ``wrong version number`` (the other side speaks no TLS)."""
    return (error.reason or str(error)).replace("_", " ").lower()


def client_context(endpoint: Endpoint) -> ssl.SSLContext:
    """What a store is connected with: its certificate is always checked, against `tls_ca` or the system's authorities.

    Reads files: call it in a thread. Kept until one of the files changes, since loading the authorities takes milliseconds.

    Raises:
        OSError: a file cannot be read (`ssl.SSLError`, a subclass: it can, and holds no certificate or key).
    """
    files = (endpoint.tls_ca, endpoint.tls_cert, endpoint.tls_key)
    return _client_context(*files, tuple(file and file.stat().st_mtime_ns for file in files))


@lru_cache(maxsize=64)
def _client_context(
    ca: Path | None, cert: Path | None, key: Path | None, stamps: tuple[int | None, ...]
) -> ssl.SSLContext:
    del stamps  # part of the cache's key only
    context = ssl.create_default_context(cafile=ca)
    _restrict(context)
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


def server_context(cert: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """What clients are served with; with `client_ca` they must show a certificate that it signed.

    Raises:
        OSError: a file cannot be read (`ssl.SSLError`, a subclass: it can, and holds no certificate or key).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.load_cert_chain(cert, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # audits ask for it
    # Without renegotiation a write never waits for a read, which `TlsTransform._write` relies on.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
