"""Requests as bytes: the incremental scanner that follows Redis' own parser rule by rule, and the encoder.

The rules are those of Redis 7.0's ``processInlineBuffer`` and ``processMultibulkBuffer``, observed from outside: which
lengths are refused with which text, what is swallowed without a reply, and what is skipped unchecked. The scanner consumes
each byte once, however the network cut the stream, so that a large value costs one copy and not a quadratic number.
"""

from collections.abc import Sequence

from kvgate.errors import ProtocolError

LINE_LIMIT = 64 * 1024
"""Bytes that a line may have: Redis' PROTO_INLINE_MAX_SIZE. Redis looks only when a read ended within the line, so that
its own answer to a longer one depends on how the bytes arrived; here a longer one is refused always."""
BULK_LIMIT = 512 * 1024 * 1024
"""Redis' default ``proto-max-bulk-len``."""
REQUEST_LIMIT = BULK_LIMIT + 1024 * 1024
"""Bytes that all arguments of a request may hold, `ARGUMENT` for each of them included: one of the longest, and others beside
it. Redis ends a connection whose unread input exceeds 1 GB (client-query-buffer-limit); the gate holds a request up to three
times while it passes it on."""
ARGUMENT = 48
"""What an argument costs beside its bytes: Python's object and its place in a list."""
COUNT_LIMIT = 2**31 - 1
UNAUTHENTICATED_COUNT = 10
UNAUTHENTICATED_BULK = 16384

_LF = 0x0A
_STAR = 0x2A
_DOLLAR = 0x24
_ESCAPES = {0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07}
_SPACES = b" \t\n\v\f\r"
_ENDS_WORD = b" \t\n\r"  # Redis skips \v and \f between words, and takes them as letters of a word
_QUOTE = 0x22
_APOSTROPHE = 0x27
_BACKSLASH = 0x5C
_X = 0x78


def encode_request(args: Sequence[bytes]) -> bytes:
    """The canonical request: ``*n``, then each argument as a bulk string."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        parts.append(b"$%d\r\n" % len(arg))
        parts.append(arg)
        parts.append(b"\r\n")
    return b"".join(parts)


def split_request(frame: bytes) -> list[bytes]:
    """The arguments of one whole canonical request; for bytes that were checked to be one."""
    find, args = frame.find, []
    at = find(b"\n") + 1
    size = len(frame)
    while at < size:
        start = find(b"\n", at) + 1
        end = start + int(frame[at + 1 : start - 2])
        args.append(frame[start:end])
        at = end + 2
    return args


def parse_length(text: bytes) -> int | None:
    """A decimal as Redis' ``string2ll`` takes it: no sign but one minus, no leading zero, within 64 bits; else None."""
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 19 or (digits[0] == 0x30 and len(text) > 1):
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def parse_cursor(text: bytes) -> int | None:
    """A cursor of SCAN and its kin as ``strtoul`` reads it: empty is 0, a sign is allowed, negative ones wrap, nothing is
    looked at behind a NUL. None where Redis answers ``invalid cursor``."""
    text = text.partition(b"\x00")[0]
    digits = text[1:] if text[:1] in (b"+", b"-") else text
    significant = digits.lstrip(b"0") or b"0"
    if text and (not digits.isdigit() or len(significant) > 20 or int(significant) >= 2**64):
        return None
    value = int(significant)
    return -value % 2**64 if text[:1] == b"-" else value


def split_inline(line: bytes) -> list[bytes]:
    """Split an inline command as Redis' ``sdssplitargs``: quotes, ``\\xHH`` and the C escapes. `line` holds no NUL.

    Raises:
        ProtocolError: when a quote is left open, or something but white space follows a closing one.
    """
    args: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in _SPACES:
            at += 1
        if at >= end:
            return args
        word = bytearray()
        while at < end and line[at] not in _ENDS_WORD:
            if line[at] in (_QUOTE, _APOSTROPHE):
                at = _quoted(line, at, word)
                if at < end and line[at] not in _SPACES:
                    raise ProtocolError("Protocol error: unbalanced quotes in request")
                break
            word.append(line[at])
            at += 1
        args.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int:
    """Append the quoted text that begins at `at` to `word`; the position behind its closing quote."""
    quote, end = line[at], len(line)
    at += 1
    while at < end:
        char = line[at]
        if char == quote:
            return at + 1
        if char == _BACKSLASH and quote == _QUOTE and at + 1 < end:
            pair = line[at + 2 : at + 4]
            if line[at + 1] == _X and len(pair) == 2 and all(c in b"0123456789abcdefABCDEF" for c in pair):
                word.append(int(pair, 16))
                at += 4
                continue
            word.append(_ESCAPES.get(line[at + 1], line[at + 1]))
            at += 2
            continue
        if char == _BACKSLASH and quote == _APOSTROPHE and line[at + 1 : at + 2] == b"'":
            word.append(_APOSTROPHE)
            at += 2
            continue
        word.append(char)
        at += 1
    raise ProtocolError("Protocol error: unbalanced quotes in request")


def _no_bulk(line: bytes) -> str:
    """Redis' text for a line that stands where a bulk string's header should."""
    if line[:1] == b"$":
        return "Protocol error: invalid bulk length"
    got = line[:1].strip(b"\r\n") or b" "  # an empty line's first byte is its CR, and Redis shows line ends as spaces
    return f"Protocol error: expected '$', got '{got.decode('utf-8', 'surrogateescape')}'"


class RequestScanner:
    """Takes one client's bytes in any portions and gives one request after the other.

    ``end = scanner.feed(data, pos)`` consumes at most one request; then `args` is its list of arguments when it is whole
    (`[]` for what Redis swallows without a reply), or None when more bytes are wanted. `canonical` says that the bytes
    consumed for it are what `encode_request` would give. `oversized` is the length of an argument over `value_limit`,
    whose bytes were dropped while they came.
    """

    __slots__ = (
        "_args",
        "_chunks",
        "_dropping",
        "_left",
        "_line",
        "_missing",
        "args",
        "authenticated",
        "canonical",
        "oversized",
        "size",
        "value_limit",
    )

    def __init__(self, *, value_limit: int = BULK_LIMIT, authenticated: bool = True) -> None:
        """Take arguments of up to `value_limit` bytes; longer ones are dropped as they arrive, up to Redis' own limit."""
        self.value_limit = value_limit
        self.authenticated = authenticated
        self.args: list[bytes] | None = None
        self.canonical = True
        self.oversized = 0
        self._args: list[bytes] = []
        self._left = 0  # arguments still to come; 0: between requests
        self._missing = -1  # bytes of the present bulk still to come, its line end included; -1: its header is to come
        self.size = 0  # of the arguments of a half-read request, the one that is coming in counted whole; bytes
        self._dropping = False  # the present bulk is over `value_limit`
        self._chunks: list[bytes] = []
        self._line = b""  # the beginning of a line whose end has not come

    @property
    def idle(self) -> bool:
        """Whether the scanner stands between two requests, with nothing half read."""
        return not self._left and not self._line

    @property
    def held(self) -> int:
        """Bytes in memory for a request that is half read."""
        if not self._left:
            return len(self._line)
        return self.size + len(self._line) - (self._missing if self._missing > 0 and not self._dropping else 0)

    def feed(self, data: bytes, pos: int) -> int:
        """Consume from `pos`; the position behind what was consumed.

        Raises:
            ProtocolError: with Redis' text; the connection cannot go on.
        """
        self.args = None
        if not self._left:
            if self.idle:
                self.canonical, self.oversized = True, 0
            pos = self._begin(data, pos)
            if not self._left:
                return pos
        end = len(data)
        while pos < end:
            if self._missing < 0:
                pos = self._bulk_header(data, pos)
                if self._missing < 0:
                    return pos
            pos = self._bulk(data, pos)
            if not self._left:
                self.args, self._args, self.size = self._args, [], 0
                return pos
        return pos

    def _begin(self, data: bytes, pos: int) -> int:
        """Read an inline command, or the header of a multibulk one."""
        first = self._line[0] if self._line else data[pos]
        if first != _STAR:
            return self._inline(data, pos)
        line, pos = self._header(data, pos, "mbulk count string")
        if line is None:
            return pos
        count = parse_length(line[1:])
        if count is None or count > COUNT_LIMIT:
            if 0 in line:
                return self._unending(line + b"\r\n", data, pos, "mbulk count string")
            raise ProtocolError("Protocol error: invalid multibulk length")
        if count > UNAUTHENTICATED_COUNT and not self.authenticated:
            raise ProtocolError("Protocol error: unauthenticated multibulk length")
        if count <= 0:
            self.canonical &= count == 0
            self.args = []
        else:
            self._left, self.size = count, 0
        return pos

    def _inline(self, data: bytes, pos: int) -> int:
        at = data.find(b"\n", pos)
        line = self._line + data[pos : at if at >= 0 else None]
        if len(line) > LINE_LIMIT:
            raise ProtocolError("Protocol error: too big inline request")
        if at < 0:
            self._line = line
            return len(data)
        if 0 in line:
            return self._unending(line, data, at, "inline request")
        self._line = b""
        if line[-1:] == b"\r":
            line = line[:-1]
        self.canonical = False
        self.args = split_inline(line)
        return at + 1

    def _header(self, data: bytes, pos: int, what: str) -> tuple[bytes | None, int]:
        """A line without its end, which is a CR and any byte: Redis skips the second one without a look."""
        held = self._line
        if held[-1:] == b"\r":
            self._line = b""
            self.canonical &= data[pos] == _LF
            return held[:-1], pos + 1
        at, end = data.find(b"\r", pos), len(data)
        if len(held) + (at if at >= 0 else end) - pos > LINE_LIMIT:
            raise ProtocolError(f"Protocol error: too big {what}")
        if at < 0 or at + 1 == end:
            self._line = held + data[pos:]
            return None, end
        self._line = b""
        self.canonical &= data[at + 1] == _LF
        return held + data[pos:at], at + 2

    def _unending(self, line: bytes, data: bytes, pos: int, what: str) -> int:
        """Hold `line`, with a NUL in it, and all that follows: Redis looks for a line's end up to a NUL and not behind it,
        so it waits for more until what it holds is too big."""
        self._line = line + data[pos:]
        if len(self._line) > LINE_LIMIT:
            raise ProtocolError(f"Protocol error: too big {what}")
        return len(data)

    def _bulk_header(self, data: bytes, pos: int) -> int:
        line, pos = self._header(data, pos, "bulk count string")
        if line is None:
            return pos
        length = parse_length(line[1:])
        if line[:1] != b"$" or length is None or not 0 <= length <= BULK_LIMIT:
            if 0 in line:
                return self._unending(line + b"\r\n", data, pos, "bulk count string")
            raise ProtocolError(_no_bulk(line))
        if length > UNAUTHENTICATED_BULK and not self.authenticated:
            raise ProtocolError("Protocol error: unauthenticated bulk length")
        if length > self.value_limit:
            self.oversized = max(self.oversized, length)
            self._dropping = True
            self.size += ARGUMENT
        else:
            self.size += length + ARGUMENT
        if self.size > REQUEST_LIMIT:
            raise ProtocolError("Protocol error: too big request")
        self._missing = length + 2
        return pos

    def _bulk(self, data: bytes, pos: int) -> int:
        """Take what `data` has of the present bulk and its line end, two bytes that Redis does not look at."""
        end = pos + self._missing
        if end > len(data):
            self._missing -= len(data) - pos
            if not self._dropping:
                self._chunks.append(data[pos:])
            return len(data)
        self._missing = -1
        self._left -= 1
        if self._dropping:
            self._dropping = self.canonical = False
            self._args.append(b"")
        elif self._chunks:
            self._args.append(self._joined(data[pos:end]))
        else:
            self.canonical &= data[end - 2 : end] == b"\r\n"
            self._args.append(data[pos : end - 2])
        return end

    def _joined(self, last: bytes) -> bytes:
        """The bulk that came in several portions, `last` being the last one; the line end goes first, to copy only once."""
        chunks = self._chunks
        if len(last) == 1:
            last = chunks[-1][-1:] + last
            chunks[-1] = chunks[-1][:-1]
        self.canonical &= last[-2:] == b"\r\n"
        chunks.append(last[:-2])
        bulk = b"".join(chunks)
        chunks.clear()
        return bulk
