"""Speaks just enough of the PostgreSQL protocol to learn why a login fails.

libpq reports a failed connection in localised words without an SQLSTATE. Here the same login is walked through step by
step on a raw socket, so that each way of failing has a name of its own. The far end may be anything, also hostile:
every step has a deadline, every message a size limit, and a clear-text password is never sent.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
import threading
import time
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from .plan import Server, TlsMode

_MESSAGE_LIMIT = 64 * 1024
_MESSAGE_COUNT = 200
_SCRAM_ROUNDS = 1_000_000
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_PROTOCOL = 196608


class Reason(StrEnum):
    """How far a login came."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    SILENT = "silent"  # the port accepts, but nothing answers in time
    NOT_POSTGRES = "not_postgres"
    TLS_NONE = "tls_none"
    TLS_FAILED = "tls_failed"
    PASSWORD_NEEDED = "password_needed"  # noqa: S105 - a word, not a secret
    AUTH_METHOD = "auth_method"
    SERVER_ERROR = "server_error"
    READY = "ready"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Where a login ended. `authenticated` tells whether the server had accepted the password before it refused."""

    reason: Reason
    words: str = ""
    sqlstate: str = ""
    authenticated: bool = False


class HandshakeEnded(Exception):
    """Carries the answer out of the middle of a walk."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def _end(reason: Reason, words: str = "", **more: object) -> HandshakeEnded:
    return HandshakeEnded(Answer(reason=reason, words=words, **more))  # type: ignore[arg-type]


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """Return the numeric addresses of a host. Raises HandshakeEnded (DNS) also when the resolver takes too long."""
    found: list[str] = []
    failure: list[str] = []

    def look_up() -> None:
        try:
            for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                if (address := str(entry[4][0])) not in found:
                    found.append(address)
        except (OSError, UnicodeError) as error:
            failure.append(str(getattr(error, "strerror", None) or error))

    # The system's resolver knows no deadline; a thread that nobody waits for gives it one.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    if found and not thread.is_alive():
        return found
    raise _end(Reason.DNS, failure[0] if failure else "the name server did not answer in time")


def dial(host: str, port: int, seconds: float) -> tuple[socket.socket, str]:
    """Open a TCP connection to the first address of `host` that accepts, within `seconds` altogether.

    Returns the socket and the address. Raises HandshakeEnded (DNS, REFUSED, TIMEOUT or UNREACHABLE).
    """
    deadline = time.monotonic() + seconds
    ended = _end(Reason.TIMEOUT)
    for address in resolve(host, port, seconds):
        try:
            return socket.create_connection((address, port), timeout=max(deadline - time.monotonic(), 0.05)), address
        except TimeoutError:
            ended = _end(Reason.TIMEOUT)
        except OSError as error:
            words = error.strerror or type(error).__name__
            refused = error.errno in (errno.ECONNREFUSED, errno.ECONNRESET)
            ended = _end(Reason.REFUSED if refused else Reason.UNREACHABLE, words)
    raise ended


def attempt(server: Server, database: str, *, seconds: float, replication: bool = False) -> Answer:
    """Walk through one login and say where it ended. Leaves nothing open. Never raises for what the far end does."""
    deadline = time.monotonic() + seconds
    try:
        connection, _address = dial(server.host, server.port, seconds)
    except HandshakeEnded as ended:
        return ended.answer
    walk = _Walk(connection, server, deadline)
    try:
        walk.tls()
        walk.start(database, replication=replication)
        return walk.log_in()
    except HandshakeEnded as ended:
        return ended.answer
    except TimeoutError:
        return Answer(reason=Reason.SILENT)
    except (OSError, ValueError, struct.error) as error:
        return Answer(reason=Reason.NOT_POSTGRES, words=type(error).__name__)
    finally:
        walk.close()


class _Walk:
    """One login on one socket."""

    def __init__(self, connection: socket.socket, server: Server, deadline: float) -> None:
        self.socket = connection
        self.server = server
        self.deadline = deadline
        self.authenticated = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()

    def _patience(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)

    def _send(self, data: bytes) -> None:
        self._patience()
        self.socket.sendall(data)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._patience()
            part = self.socket.recv(size - len(data))
            if not part:
                raise _end(Reason.NOT_POSTGRES, "it closed the connection without an answer")
            data += part
        return data

    def tls(self) -> None:
        """Ask for TLS as the server's mode says, and verify what it says must be verified."""
        if self.server.tls is TlsMode.DISABLE:
            return
        self._send(_SSL_REQUEST)
        self._patience()
        answer = self.socket.recv(16)
        if answer == b"N":
            if self.server.tls is not TlsMode.PREFER:
                raise _end(Reason.TLS_NONE)
            return
        if answer != b"S":  # more than one byte would be somebody else's greeting
            raise _end(Reason.NOT_POSTGRES, "it did not answer as PostgreSQL does")
        try:
            context = tls_context(self.server)
            self._patience()
            self.socket = context.wrap_socket(self.socket, server_hostname=self.server.host)
        except ssl.SSLCertVerificationError as error:
            raise _end(Reason.TLS_FAILED, error.verify_message) from error
        except ssl.SSLError as error:
            raise _end(Reason.TLS_FAILED, (error.reason or "handshake failed").replace("_", " ").lower()) from error
        except ConnectionError as error:
            raise _end(Reason.TLS_FAILED, "the server closed the connection during the TLS handshake") from error

    def start(self, database: str, *, replication: bool) -> None:
        """Send the startup packet."""
        fields = {"user": self.server.user, "database": database, "options": "-c search_path="}
        if replication:
            fields["replication"] = "database"
        body = b"".join(part.encode() + b"\0" for pair in fields.items() for part in pair) + b"\0"
        self._send(struct.pack("!ii", len(body) + 8, _PROTOCOL) + body)

    def _message(self) -> tuple[bytes, bytes]:
        kind = self._receive(1)
        if not kind.isalpha():
            raise _end(Reason.NOT_POSTGRES, "it did not answer as PostgreSQL does")
        (length,) = struct.unpack("!i", self._receive(4))
        if not 4 <= length <= _MESSAGE_LIMIT:
            raise _end(Reason.NOT_POSTGRES, "it sent a message of an impossible length")
        return kind, self._receive(length - 4)

    def log_in(self) -> Answer:
        """Read messages and answer challenges until the server is ready, refuses, or turns out to be something else."""
        scram: _Scram | None = None
        for _ in range(_MESSAGE_COUNT):
            kind, body = self._message()
            if kind == b"E":
                return self._refusal(body)
            if kind == b"R":
                scram = self._challenge(body, scram)
            elif kind == b"Z":
                return Answer(reason=Reason.READY, authenticated=True)
            elif kind not in (b"S", b"K", b"N", b"v") or not (self.authenticated or kind in (b"N", b"v")):
                raise _end(Reason.NOT_POSTGRES, "it did not answer as PostgreSQL does")
        raise _end(Reason.NOT_POSTGRES, "it talks without end")

    def _refusal(self, body: bytes) -> Answer:
        fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
        sqlstate = fields.get(b"C", "")
        if len(sqlstate) != 5:
            raise _end(Reason.NOT_POSTGRES, "it did not answer as PostgreSQL does")
        words = printable(fields.get(b"M", ""))
        return Answer(reason=Reason.SERVER_ERROR, words=words, sqlstate=sqlstate, authenticated=self.authenticated)

    def _challenge(self, body: bytes, scram: _Scram | None) -> _Scram | None:
        (code,) = struct.unpack("!i", body[:4])
        if code == 0:
            self.authenticated = True
            return scram
        if code not in (5, 10, 11, 12):
            raise _end(
                Reason.AUTH_METHOD, {3: "a clear-text password", 7: "GSSAPI", 9: "SSPI"}.get(code, "another method")
            )
        if not self.server.password:
            raise _end(Reason.PASSWORD_NEEDED)
        if code == 5:
            self._answer(_md5(self.server.user, self.server.password, body[4:8]) + b"\0")
        elif code == 10:
            if b"SCRAM-SHA-256" not in body[4:].split(b"\0"):
                raise _end(Reason.AUTH_METHOD, "another method")
            scram = _Scram(self.server.password)
            first = scram.first()
            self._answer(b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif code == 11:
            if scram is None:
                raise _end(Reason.NOT_POSTGRES, "it did not answer as PostgreSQL does")
            self._answer(scram.final(body[4:]))
        return scram

    def _answer(self, data: bytes) -> None:
        self._send(b"p" + struct.pack("!i", len(data) + 4) + data)


def _md5(user: str, password: str, salt: bytes) -> bytes:
    inner = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
    return b"md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest().encode()


class _Scram:
    """The client's half of SCRAM-SHA-256 (RFC 5802, 7677), without channel binding."""

    def __init__(self, password: str) -> None:
        self.password = unicodedata.normalize("NFKC", password).encode()
        self.nonce = secrets.token_urlsafe(18)
        self.bare = f"n=,r={self.nonce}"

    def first(self) -> bytes:
        return b"n,," + self.bare.encode()

    def final(self, challenge: bytes) -> bytes:
        text = challenge.decode("ascii")
        fields = dict(part.split("=", 1) for part in text.split(","))
        rounds = int(fields.get("i", "0"))
        # A hostile server could ask for years of hashing.
        if not fields.get("r", "").startswith(self.nonce) or not 1 <= rounds <= _SCRAM_ROUNDS:
            raise _end(Reason.NOT_POSTGRES, "its password challenge makes no sense")
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), rounds)
        client = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={fields['r']}"
        signed = f"{self.bare},{text},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def tls_context(server: Server) -> ssl.SSLContext:
    """Return a client context for the server's TLS mode. Raises HandshakeEnded when the CA file cannot be read."""
    context = ssl.create_default_context()
    context.check_hostname = server.tls is TlsMode.VERIFY_FULL
    if server.tls not in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL):
        context.verify_mode = ssl.CERT_NONE
    elif server.ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = server.tls is TlsMode.VERIFY_FULL
        try:
            context.load_verify_locations(server.ca_file)
        except OSError as error:
            raise _end(Reason.TLS_FAILED, "the CA certificate cannot be read") from error
    return context


def printable(text: str, limit: int = 300) -> str:
    """Return a server's words fit for a page or a log: one line, no control characters, cut at `limit`."""
    return "".join(ch if ch.isprintable() else " " for ch in text[:limit]).strip()
