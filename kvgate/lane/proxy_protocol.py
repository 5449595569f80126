"""PROXY protocol v2: who the client behind a trusted balancer is (HAProxy's proxy-protocol.txt, section 2.2)."""

import ipaddress

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER = 16
LONGEST = HEADER + 4096
"""Addresses and the TLVs that balancers add stay far below this; more is refused."""

_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


class BadProxyHeader(Exception):  # noqa: N818 - names what came
    """The bytes are no PROXY v2 header; the text says why."""


def parse(data: bytes) -> tuple[int, tuple[str, int] | None] | None:
    """Read the header at the beginning of `data`: its length and the client's address; None when it is not whole yet.

    The address is None when the balancer speaks for itself (LOCAL: its health checks) or the family is no TCP over IP.

    Raises:
        BadProxyHeader: it is none.
    """
    if not SIGNATURE.startswith(data[:12]):
        raise BadProxyHeader("it does not begin with the PROXY v2 signature")
    if len(data) < HEADER:
        return None
    command, family = data[12], data[13]
    length = HEADER + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise BadProxyHeader(f"version and command {command:#04x} are not 0x20 or 0x21")
    if length > LONGEST:
        raise BadProxyHeader(f"{length} bytes are too long")
    if len(data) < length:
        return None
    if command == _LOCAL or family not in (_TCP4, _TCP6):
        return length, None
    size = 4 if family == _TCP4 else 16
    if length < HEADER + 2 * size + 4:
        raise BadProxyHeader("its addresses are cut off")
    source = ipaddress.ip_address(data[HEADER : HEADER + size])
    port = int.from_bytes(data[HEADER + 2 * size : HEADER + 2 * size + 2], "big")
    return length, (str(source), port)
