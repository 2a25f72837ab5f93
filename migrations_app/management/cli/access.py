"""`task access`: how a failed or paused task reaches one of its servers. Secrets are never words of the command."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import CommandError, CommandParser

from ... import queue, services
from ...engine.wording import one_line
from ...models import ConnectionTest, Endpoint, MigrationTask
from .address import TLS_MODES, read_secrets
from .output import Out
from .ssh import host_key, private_key
from .values import is_text

_LONGEST_NAME, _LONGEST_HOST, _LONGEST_SECRET = 63, 255, 1000
_WAIT_SECONDS = 120.0
_WANTED = (
    "host", "port", "user", "password", "tls", "ca", "no_ca", "certificate", "no_certificate", "ssh_user",
    "ssh_password", "ssh_key", "known_hosts",
)  # fmt: skip
_ASKED_FOR = ("password", "ssh-password")
_NO_WORDS = (
    "these words make no sense; they are not repeated, because one may be a secret. --password and --ssh-password take "
    "none: give the secret in its environment variable, as a line of standard input, or type it on a terminal."
)


class WordsParser(CommandParser):
    """Parses what follows an action of `task`. With `hides_words` it never repeats a secret that was typed there."""

    hides_words = False
    _given: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; refuse here what is not known, instead of where the whole command is parsed."""
        self._given = tuple(args or ())
        known, unknown = super().parse_known_args(args, namespace)
        if unknown and self.hides_words:
            self.error("unrecognized arguments: " + " ".join(unknown))
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """End with what is wrong, without the words that were given where one of them may be a secret."""
        hidden = self.hides_words and any(map(_asks_for_a_secret, self._given))
        super().error(_NO_WORDS if hidden else message)
        raise AssertionError("whoever reports an error of argparse does not come back")


def _asks_for_a_secret(word: str) -> bool:
    """Say whether a word is an option that asks for a secret, also shortened or misspelt."""
    name = word.lstrip("-").split("=")[0]
    shortened = bool(name) and any(option.startswith(name) for option in _ASKED_FOR)
    return word.startswith("-") and (shortened or "pass" in name)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `task access` takes beside the task."""
    parser.add_argument("side", choices=("source", "target"))
    parser.add_argument("--host", metavar="HOST", help="another address of the same source; a target stays where it is")
    parser.add_argument("--port", metavar="PORT", help="another port of the same source")
    parser.add_argument("--user", metavar="NAME", help="another account; takes --password too")
    parser.add_argument(
        "--password",
        action="store_true",
        help="a new password: TOWPATH_SOURCE_PASSWORD or TOWPATH_TARGET_PASSWORD, else a line of standard input, "
        "which a terminal is asked for",
    )
    parser.add_argument("--tls", choices=sorted(TLS_MODES), help="how the connection is protected")
    authority = parser.add_mutually_exclusive_group()
    authority.add_argument("--ca", metavar="FILE", help="certificate authority (PEM) that verify-ca and -full trust")
    authority.add_argument("--no-ca", action="store_true", help="forget it, and trust what the system trusts")
    client = parser.add_mutually_exclusive_group()
    client.add_argument("--certificate", metavar="FILE", help="client certificate (PEM); takes --certificate-key too")
    client.add_argument("--no-certificate", action="store_true", help="forget the client certificate and its key")
    parser.add_argument("--certificate-key", metavar="FILE", help="its private key (PEM), mode 0600")
    parser.add_argument("--ssh-user", metavar="NAME", help="another user of the SSH host; takes a secret too")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--ssh-password",
        action="store_true",
        help="its new password: TOWPATH_SOURCE_SSH_PASSWORD or TOWPATH_TARGET_SSH_PASSWORD, else as --password",
    )
    secret.add_argument("--ssh-key", metavar="FILE", help="private key for it, mode 0600, instead of a password")
    parser.add_argument(
        "--known-hosts", metavar="FILE", help="take the SSH host's key from this file, as ssh-keyscan prints it"
    )
    parser.add_argument(
        "--test", action="store_true", help="then test the way, and whether it leads to the server that was begun on"
    )


def change(task: MigrationTask, options: dict[str, Any], out: Out) -> MigrationTask:
    """Store what was asked for, and say what of it is new; the rest stays.

    Raises Refused, or CommandError for what makes no sense.
    """
    side: str = options["side"]
    endpoint = task.source if side == "source" else task.target
    if endpoint is None:
        raise CommandError(f"The task has no {side} yet.")
    if not any(options[name] for name in (*_WANTED, "certificate_key")):
        if options["test"]:
            return task
        raise CommandError("Give what changes, such as --password, or --test. See: manage.py task access --help")
    task = services.change_access(task_id=task.pk, actor=None, side=side, access=_access(endpoint, side, options))
    out.write(f"  {one_line(task.events.filter(code='TASK-ACCESS').latest('id').message)}\n")
    if task.foreground:
        out.write(f"Go on with: manage.py task run --resume {task.pk}\n")
    return task


def test_way(task: MigrationTask, side: str, out: Out) -> int:
    """Test the way as it is saved, from where the task is driven: here, or by a worker. Returns the exit code.

    Workers may run on another machine and under a stricter policy of addresses than whoever has a terminal.
    """
    from ...runner import trust_command_line  # with all that drives a task, which other actions do without
    from ...runner.asking import run_connection_test

    test = services.request_access_test(task_id=task.pk, actor=None, side=side)
    if task.foreground or not services.workers_alive(queue.CONSOLE):
        trust_command_line()
        run_connection_test(str(test.pk))
    until = time.monotonic() + _WAIT_SECONDS
    while (test := ConnectionTest.objects.get(pk=test.pk)).state in ("waiting", "running"):
        if time.monotonic() > until:
            raise CommandError("The test has not ended. See the page of the task.")
        time.sleep(0.2)
    passed = test.state == "passed"
    out.write(f"  {side}: {one_line(test.message) if passed else f'{test.code}: {one_line(test.message)}'}\n")
    if test.hint:
        out.write(f"  {one_line(test.hint)}\n")
    return 0 if passed else 1


def _access(endpoint: Endpoint, side: str, options: dict[str, Any]) -> services.Access:
    gone = "" if options["no_certificate"] else None
    certificate, key = _client(options)
    name = f"TOWPATH_{side.upper()}_PASSWORD"
    return services.Access(
        host=_host(options["host"]) or None,
        port=_port(options["port"]) or None,
        account=_name(options["user"], "--user") or None,
        password=_secret(name, f"Password of the {side}") if options["password"] else None,
        tls_mode=options["tls"],
        ca_pem=_certificates(options["ca"], "--ca") if options["ca"] else "" if options["no_ca"] else None,
        client_cert_pem=certificate or gone,
        client_key_pem=key or gone,
        **_ssh(endpoint, side, options),
    )


def _ssh(endpoint: Endpoint, side: str, options: dict[str, Any]) -> dict[str, str | None]:
    """Return what concerns the SSH host: a new password takes the place of a stored key, and the other way."""
    password = key = known = None
    if options["ssh_password"]:
        name = f"TOWPATH_{side.upper()}_SSH_PASSWORD"
        password, key = _secret(name, f"SSH password of the {side}"), ""
    elif options["ssh_key"]:
        password, key = "", private_key(Path(options["ssh_key"]))
    if options["known_hosts"]:
        if not endpoint.uses_bastion:
            raise CommandError(f"No SSH host stands before the {side}, and none can be put there any more.")
        known = host_key(Path(options["known_hosts"]), endpoint.ssh_host, endpoint.ssh_port)
    user = _name(options["ssh_user"], "--ssh-user") or None
    return {"ssh_user": user, "ssh_password": password, "ssh_private_key": key, "ssh_host_key": known}


def _host(text: str | None) -> str:
    if text and (not re.fullmatch(r"[^\s,/@]+", text) or len(text) > _LONGEST_HOST):
        raise CommandError("--host takes one name or address of a server (no socket folder, no list).")
    return text or ""


def _port(text: str | None) -> int:
    if text is None:
        return 0
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise CommandError("--port takes a number from 1 to 65535.")
    return int(text)


def _name(text: str | None, option: str) -> str:
    if text is not None and (not text.strip() or len(text.encode()) > _LONGEST_NAME):
        raise CommandError(f"{option} takes a name of at most {_LONGEST_NAME} bytes.")
    return text or ""


def _secret(variable: str, what: str) -> str:
    """Return a secret of the environment, else a line of standard input, which a terminal is asked for.

    Raises CommandError, whose text never repeats it.
    """
    value = os.environ.get(variable, "")
    if not value:
        value = getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.readline().removesuffix("\n")
    if not value:
        raise CommandError(f"{what}: give it in {variable}, as a line of standard input, or type it on a terminal.")
    if not is_text(value) or "\0" in value or len(value) > _LONGEST_SECRET:
        raise CommandError(f"{what}: this is no text of at most {_LONGEST_SECRET:,} characters.")
    return value


def _client(options: dict[str, Any]) -> tuple[str, str]:
    """Return the client certificate and its key, both or none of them."""
    from cryptography.hazmat.primitives import serialization  # only whoever has certificates needs it

    if bool(options["certificate"]) != bool(options["certificate_key"]):
        raise CommandError("--certificate and --certificate-key go together.")
    if not options["certificate"]:
        return "", ""
    certificates = _certificates(options["certificate"], "--certificate")
    key = read_secrets(Path(options["certificate_key"]), "key of the client certificate")
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (TypeError, ValueError):
        raise CommandError(
            f"{options['certificate_key']} is not a private key in PEM format, or is locked with a passphrase, which "
            "nobody can type while a migration runs. Make a copy without one: openssl pkey -in FILE -out COPY"
        ) from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    first = _parsed(certificates, "--certificate")[0]
    if first.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise CommandError("The key of --certificate-key does not belong to the certificate.")
    return certificates, key


def _certificates(path: str, option: str) -> str:
    """Return the certificates of a PEM file. Raises CommandError for anything else, and for expired ones."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"{option}: the file {path} cannot be read.") from None
    if "PRIVATE KEY" in text:
        raise CommandError(f"{option}: {path} holds a private key. Name the file that holds certificates only.")
    _parsed(text, option)
    return text


def _parsed(text: str, option: str) -> list[Any]:
    from cryptography import x509  # as above
    from django.utils import timezone

    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise CommandError(f"{option} takes certificates in PEM format, with -----BEGIN CERTIFICATE-----.") from None
    now = timezone.now()
    for one in found:
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise CommandError(
                f"{option}: a certificate is valid from {one.not_valid_before_utc:%Y-%m-%d} to "
                f"{one.not_valid_after_utc:%Y-%m-%d} only. Name one that is valid now."
            )
    return found
