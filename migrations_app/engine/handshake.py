"""Speaks just enough of the PostgreSQL protocol to learn why a login fails.

libpq reports a failed connection in localised words without an SQLSTATE. Here the same login is walked through step by
step on a raw socket, so that each way of failing has a name of its own. The far end may be anything, also hostile:
every step has a deadline, every message a size limit, and a password is sent only in ways that the server's entry
accepts.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
import time
import unicodedata

from .dialling import Answer, HandshakeEnded, Reason, dial, ended_by
from .plan import Server, TlsMode
from .wording import printable, say

_MESSAGE_LIMIT = 64 * 1024
_MESSAGE_COUNT = 200
_LATE_SECONDS = 0.5
_SCRAM_ROUNDS = 1_000_000
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_PROTOCOL = 196608


def attempt(server: Server, database: str, *, seconds: float, replication: bool = False) -> Answer:
    """Walk through one login and say where it ended. Leaves nothing open. Never raises for what the far end does."""
    deadline = time.monotonic() + seconds
    try:
        connection, _address = dial(server.host, server.port, seconds, server.policy)
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
    except ssl.SSLError as error:
        return tls_failure(error)
    except (OSError, ValueError, struct.error) as error:
        return Answer(reason=Reason.NOT_POSTGRES, words=type(error).__name__)
    finally:
        walk.close()


_PASSWORD_CODES = {
    3: ("password", say("a clear-text password")),
    5: ("md5", say("an md5 password")),
    10: ("scram-sha-256", ""),
    11: ("scram-sha-256", ""),
    12: ("scram-sha-256", ""),
}
_EVERY_METHOD = "scram-sha-256,md5,password,none"


def accepted_methods(server: Server) -> str:
    """Return the ways of signing in that libpq may take, as its `require_auth` writes them; "" = any.

    Without a choice no way that shows the password, unless the server's certificate was checked. A client certificate
    is asked for during the TLS handshake, after which a server may ask for nothing more.
    """
    verified = server.tls in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL)
    methods = server.require_auth
    if methods is None:
        methods = "scram-sha-256,md5,none" + (",password" if verified else "")
    if methods and server.cert_file and server.tls is not TlsMode.DISABLE and "none" not in methods.split(","):
        methods += ",none"
    return methods


class _Walk:
    """One login on one socket."""

    def __init__(self, connection: socket.socket, server: Server, deadline: float) -> None:
        self.socket = connection
        self.server = server
        self.deadline = deadline
        self.authenticated = False
        self.answered = False  # whether the server has asked for the password at all
        self.accepted = (accepted_methods(server) or _EVERY_METHOD).split(",")

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
                raise ended_by(Reason.NOT_POSTGRES, say("it closed the connection without an answer"))
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
                raise ended_by(Reason.TLS_NONE)
            return
        if answer != b"S":  # more than one byte would be somebody else's greeting
            raise ended_by(Reason.NOT_POSTGRES, say("it did not answer as PostgreSQL does"))
        try:
            context = tls_context(self.server)
            self._patience()
            self.socket = context.wrap_socket(self.socket, server_hostname=self.server.host)
        except ssl.SSLError as error:
            raise HandshakeEnded(tls_failure(error)) from error
        except ConnectionError as error:
            raise ended_by(
                Reason.TLS_FAILED, say("the server closed the connection during the TLS handshake")
            ) from error
        refusal = late_refusal(self.socket, min(_LATE_SECONDS, max(self.deadline - time.monotonic(), 0.05)))
        if refusal is not None:
            raise HandshakeEnded(refusal)

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
            raise ended_by(Reason.NOT_POSTGRES, say("it did not answer as PostgreSQL does"))
        (length,) = struct.unpack("!i", self._receive(4))
        if not 4 <= length <= _MESSAGE_LIMIT:
            raise ended_by(Reason.NOT_POSTGRES, say("it sent a message of an impossible length"))
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
                raise ended_by(Reason.NOT_POSTGRES, say("it did not answer as PostgreSQL does"))
        raise ended_by(Reason.NOT_POSTGRES, say("it talks without end"))

    def _refusal(self, body: bytes) -> Answer:
        fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
        sqlstate = fields.get(b"C", "")
        if len(sqlstate) != 5:
            raise ended_by(Reason.NOT_POSTGRES, say("it did not answer as PostgreSQL does"))
        words = printable(fields.get(b"M", ""))
        return Answer(reason=Reason.SERVER_ERROR, words=words, sqlstate=sqlstate, authenticated=self.authenticated)

    def _challenge(self, body: bytes, scram: _Scram | None) -> _Scram | None:
        (code,) = struct.unpack("!i", body[:4])
        if code == 0:
            if not self.answered and "none" not in self.accepted:
                raise ended_by(Reason.AUTH_NONE)
            self.authenticated = True
            return scram
        self._refuse_unaccepted(code)
        self.answered = True
        if code == 3:
            self._answer(self.server.password.encode() + b"\0")
        elif code == 5:
            self._answer(_md5(self.server.user, self.server.password, body[4:8]) + b"\0")
        elif code == 10:
            if b"SCRAM-SHA-256" not in body[4:].split(b"\0"):
                raise ended_by(Reason.AUTH_METHOD, say("another method"))
            scram = _Scram(self.server.password)
            first = scram.first()
            self._answer(b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif code == 11:
            if scram is None:
                raise ended_by(Reason.NOT_POSTGRES, say("it did not answer as PostgreSQL does"))
            self._answer(scram.final(body[4:]))
        return scram

    def _refuse_unaccepted(self, code: int) -> None:
        if code not in _PASSWORD_CODES:
            raise ended_by(Reason.AUTH_METHOD, {7: "GSSAPI", 9: "SSPI"}.get(code, say("another method")))
        method, words = _PASSWORD_CODES[code]
        if method not in self.accepted:
            raise ended_by(Reason.AUTH_WEAK, words)
        if not self.server.password:
            raise ended_by(Reason.PASSWORD_NEEDED)

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
            raise ended_by(Reason.NOT_POSTGRES, say("its password challenge makes no sense"))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), rounds)
        client = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={fields['r']}"
        signed = f"{self.bare},{text},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


_VERIFY_CODES = {
    9: Reason.TLS_EXPIRED,  # not yet valid
    10: Reason.TLS_EXPIRED,
    18: Reason.TLS_SELF_SIGNED,
    19: Reason.TLS_ISSUER,  # a whole chain, up to an authority that nobody here knows
    2: Reason.TLS_ISSUER,
    7: Reason.TLS_ISSUER,
    20: Reason.TLS_ISSUER,
    21: Reason.TLS_ISSUER,
    24: Reason.TLS_ISSUER,
    62: Reason.TLS_NAME,
    64: Reason.TLS_NAME,  # an IP address that the certificate does not name
}
"""OpenSSL's numbers for why a certificate was not accepted."""


def tls_failure(error: ssl.SSLError) -> Answer:
    """Say why TLS failed, by OpenSSL's numbers and symbols, never by its words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _VERIFY_CODES.get(error.verify_code, Reason.TLS_FAILED)
        return Answer(reason=reason, words=printable(error.verify_message))
    symbol = error.reason or ""
    words = symbol.replace("_", " ").lower() or say("the handshake failed")
    about_ours = "_ALERT_" in symbol and ("CERTIFICATE" in symbol or "UNKNOWN_CA" in symbol)
    return Answer(reason=Reason.TLS_CLIENT if about_ours else Reason.TLS_FAILED, words=words)


def late_refusal(connection: socket.socket, seconds: float) -> Answer | None:
    """Wait whether a server takes back a finished TLS handshake, as it does when it wants another client certificate.

    Nothing must have been sent on the connection. None when the server keeps still, as it should.
    """
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return None
    except ssl.SSLError as error:
        return tls_failure(error)
    except OSError:
        return None
    return None


def tls_context(server: Server) -> ssl.SSLContext:
    """Return a client context for the server's TLS mode. Raises HandshakeEnded when a file of ours cannot be used."""
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
            raise ended_by(Reason.TLS_FILES, say("the CA certificate cannot be read")) from error
    if server.cert_file:
        try:
            # A password is given so that OpenSSL does not ask for one at the terminal.
            context.load_cert_chain(server.cert_file, server.key_file, password="-")  # noqa: S106 - opens nothing
        except OSError as error:
            words = say("the client certificate and its key cannot be read or do not belong together")
            raise ended_by(Reason.TLS_FILES, words) from error
    return context
