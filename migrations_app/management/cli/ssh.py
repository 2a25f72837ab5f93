"""SSH hosts on the command line: which server is dialled from which host, with what, and by which key it is known."""

from __future__ import annotations

import argparse
import getpass
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ...services import EndpointData
from .address import read_secrets

_HOST = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^@:\[\]\s]+))(?::(?P<port>[0-9]{1,5}))?"
)
_KNOWN_HOSTS = Path("~/.ssh/known_hosts")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of both sides."""
    for side in ("source", "target"):
        parser.add_argument(
            f"--{side}-ssh", default="", metavar="[USER@]HOST[:PORT]", help=f"dial the {side} from this SSH host"
        )
        parser.add_argument(
            f"--{side}-ssh-key",
            default="",
            metavar="FILE",
            help=f"private key for it, mode 0600; else the password in TOWPATH_{side.upper()}_SSH_PASSWORD",
        )
    parser.add_argument(
        "--known-hosts",
        default="",
        metavar="FILE",
        help=f"keys of SSH hosts, as ssh-keyscan prints them; default: {_KNOWN_HOSTS}",
    )


def behind(endpoint: EndpointData, options: dict[str, Any], side: str) -> EndpointData:
    """Return the endpoint as it is reached: by itself, or through the SSH host that the options of its side name.

    Raises CommandError: no host, no secret, a key that cannot be used, or a host that is not known.
    """
    wanted, key_file = options[f"{side}_ssh"], options[f"{side}_ssh_key"]
    if not wanted:
        if key_file:
            raise CommandError(f"--{side}-ssh-key needs --{side}-ssh: which SSH host it is for.")
        return endpoint
    user, host, port = _place(wanted, side)
    password = "" if key_file else os.environ.get(f"TOWPATH_{side.upper()}_SSH_PASSWORD", "")
    if not key_file and not password:
        raise CommandError(
            f"--{side}-ssh needs --{side}-ssh-key FILE, or the password in TOWPATH_{side.upper()}_SSH_PASSWORD."
        )
    return replace(
        endpoint,
        ssh_host=host,
        ssh_port=port,
        ssh_user=user,
        ssh_password=password,
        ssh_private_key=private_key(Path(key_file)) if key_file else "",
        ssh_host_key=host_key(Path(options["known_hosts"] or _KNOWN_HOSTS).expanduser(), host, port),
    )


def _place(text: str, side: str) -> tuple[str, str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or 22) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise CommandError(f"--{side}-ssh takes [USER@]HOST[:PORT], such as jump@bastion.example.org:22, not {text!r}.")
    return found["user"] or getpass.getuser(), found["six"] or found["host"], port


def private_key(path: Path) -> str:
    """Return the private key of a file. Raises CommandError for anything else, also for one with a passphrase."""
    from ...engine.bastion import usable_key  # loads the SSH library, which takes half a second

    text = read_secrets(path, "SSH key")
    if not usable_key(text):
        raise CommandError(
            f"The SSH key {path} is not a private key, or is locked with a passphrase, which nobody can type while a "
            "migration runs. Make a copy without one: ssh-keygen -p -N '' -f COPY"
        )
    return text


def host_key(path: Path, host: str, port: int) -> str:
    """Return the key by which a file of known hosts knows an SSH host. Raises CommandError when it does not."""
    from ...engine.bastion import known_key

    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise CommandError(f"The known hosts {path} cannot be read: {error.strerror}.") from None
    key = known_key(text, host, port)
    if not key:
        scan = f"ssh-keyscan -p {port} {host}"
        raise CommandError(
            f"{path} holds no key of the SSH host {host}:{port}, so nobody could tell it from another one. Write what "
            f"`{scan}` prints into a file, compare its fingerprint (ssh-keygen -lf FILE) with the host's own, and name "
            "the file by --known-hosts."
        )
    return key
