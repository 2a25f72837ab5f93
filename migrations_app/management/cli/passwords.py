"""Passwords of the target on the command line: from a file, or typed. Never words of the command itself."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from pathlib import Path

from django.core.management.base import CommandError

from ... import selectors, services
from ...models import MigrationTask
from .address import read_secrets

_FORM = "DATABASE:SERVER:ROLE:USER:PASSWORD"
_LINE = re.compile(":".join([r"((?:\\.|[^:\\])*)"] * 4) + r":((?:\\.|[^\\])*)$")


def file_argument(parser: argparse.ArgumentParser, name: str) -> None:
    """Declare the file."""
    parser.add_argument(
        name,
        metavar="FILE",
        default="",
        help=f"file with lines {_FORM}, mode 0600, \\ before each : and \\ inside: what user mappings sign in with"
        " (ROLE public = everybody), or with an empty DATABASE, SERVER and USER a password of a role that the"
        " task makes",
    )


def from_file(name: str) -> list[services.PasswordData]:
    """Return the passwords of a file. Raises CommandError, whose text never repeats a line."""
    given = []
    for number, line in enumerate(read_secrets(Path(name), "password file").split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise CommandError(f"Line {number} of {name} is not {_FORM}.")
        database, server, role, user, password = (re.sub(r"\\(.)", r"\1", part) for part in match.groups())
        given.append(services.PasswordData(database=database, server=server, role=role, user=user, password=password))
    return given


def typed(task: MigrationTask) -> list[services.PasswordData]:
    """Ask on the terminal for each password that the check asks for. Raises CommandError without a terminal."""
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to type passwords on. Give them with --file.")
    given = []
    for line in selectors.passwords(task):
        if not services.takes_passwords(task, server=line.server):
            continue
        whose = f"{line.role} on {line.server} ({line.database})" if line.server else f"role {line.role}"
        user = input(f"User of {whose} [{line.user}]: ").strip() or line.user if line.server else ""
        if password := getpass.getpass(f"Password of {whose}, empty to leave it: "):
            given.append(
                services.PasswordData(
                    database=line.database, server=line.server, role=line.role, user=user, password=password
                )
            )
    return given
