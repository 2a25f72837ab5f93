"""From a host's name to a connected socket: resolved once, judged, dialled; and the words for how far a login came."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from dataclasses import asdict, field
from enum import StrEnum

from .policy import AddressPolicy
from .values import frozen
from .wording import say


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
    TLS_SELF_SIGNED = "tls_self_signed"
    TLS_ISSUER = "tls_issuer"
    TLS_NAME = "tls_name"
    TLS_EXPIRED = "tls_expired"
    TLS_CLIENT = "tls_client"  # the server does not accept our certificate, or wants one
    TLS_FILES = "tls_files"  # our own certificate files cannot be used
    PASSWORD_NEEDED = "password_needed"  # noqa: S105 - a word, not a secret
    AUTH_METHOD = "auth_method"
    AUTH_WEAK = "auth_weak"  # a way of signing in that we know but that is not accepted here
    AUTH_NONE = "auth_none"  # the server lets anybody in, and that is not accepted here
    POLICY = "policy"
    SSH_KEY_UNKNOWN = "ssh_key_unknown"
    SSH_KEY_CHANGED = "ssh_key_changed"
    SSH_LOGIN = "ssh_login"
    SSH_UNREACHABLE = "ssh_unreachable"
    SSH_FORWARD = "ssh_forward"
    SSH_BEYOND = "ssh_beyond"  # the SSH host is fine, but cannot reach the server
    SERVER_ERROR = "server_error"
    READY = "ready"


@frozen
class Answer:
    """Where a login ended. `authenticated` tells whether the server had accepted the password before it refused."""

    reason: Reason
    words: str = ""
    sqlstate: str = ""
    authenticated: bool = False
    detail: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return it as plain values, for another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, object]) -> Answer:
        """Return what `to_json` wrote."""
        return cls(**{**values, "reason": Reason(str(values["reason"]))})  # type: ignore[arg-type]


class HandshakeEnded(Exception):
    """Carries the answer out of the middle of a walk."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def ended_by(reason: Reason, words: str = "", **more: object) -> HandshakeEnded:
    """Return the exception for a walk that ends here."""
    return HandshakeEnded(Answer(reason=reason, words=words, **more))  # type: ignore[arg-type]


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """Return the numeric addresses of a host. Raises HandshakeEnded (DNS) also when the resolver takes too long."""
    with contextlib.suppress(OSError, UnicodeError):  # a number is its own address: nobody has to be asked
        return [str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4][0])]
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
    raise ended_by(Reason.DNS, failure[0] if failure else say("the name server did not answer in time"))


def allowed_addresses(host: str, port: int, policy: AddressPolicy | None, seconds: float) -> list[str]:
    """Return the numeric addresses of a host, resolved once and every one judged: these, not the name, are dialled.

    Raises HandshakeEnded: DNS, or POLICY when a single one of them is not allowed.
    """
    found = resolve(host, port, seconds)
    if policy is not None and not all(policy.allows(address, port) for address in found):
        raise ended_by(Reason.POLICY)
    return found


def dial(host: str, port: int, seconds: float, policy: AddressPolicy | None = None) -> tuple[socket.socket, str]:
    """Open a TCP connection to the first address of `host` that accepts, within `seconds` altogether.

    Returns the socket and the address. A host that is a folder is one of our forwarders' private sockets. Raises
    HandshakeEnded (DNS, POLICY, REFUSED, TIMEOUT or UNREACHABLE).
    """
    if host.startswith("/"):
        return _private_socket(f"{host}/.s.PGSQL.{port}", seconds), ""
    deadline = time.monotonic() + seconds
    ended = ended_by(Reason.TIMEOUT)
    for address in allowed_addresses(host, port, policy, seconds):
        try:
            return socket.create_connection((address, port), timeout=max(deadline - time.monotonic(), 0.05)), address
        except TimeoutError:
            ended = ended_by(Reason.TIMEOUT)
        except OSError as error:
            words = error.strerror or type(error).__name__
            refused = error.errno in (errno.ECONNREFUSED, errno.ECONNRESET)
            ended = ended_by(Reason.REFUSED if refused else Reason.UNREACHABLE, words)
    raise ended


def _private_socket(path: str, seconds: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise ended_by(Reason.UNREACHABLE, error.strerror or type(error).__name__) from error
    return connection
