"""Addresses on the command line: connection URIs, passwords from the environment or a passfile, object names."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path

import psycopg
from django.core.management.base import CommandError
from psycopg.conninfo import conninfo_to_dict

from ...services import EndpointData
from .values import is_text

_KNOWN = {"host", "port", "user", "password", "dbname", "sslmode", "passfile", "connect_timeout", "application_name"}
_KNOWN |= {"require_auth", "sslrootcert", "sslcert", "sslkey"}
_LONGEST_NAME = 63
# A backslash takes the character after it as it is; what follows a fifth colon is not looked at.
_PASSFILE_LINE = re.compile(":".join([r"((?:\\.|[^:\\])*(?:\\$)?)"] * 5) + "(?::|$)")
TLS_MODES = {"disable", "prefer", "require", "verify-ca", "verify-full"}


def endpoint_from_uri(uri: str, side: str, passfile: str = "") -> EndpointData:
    """Return the endpoint that a URI (or keyword string) names.

    The password is that of the URI, else of `TOWPATH_SOURCE_PASSWORD` / `TOWPATH_TARGET_PASSWORD`, else of the
    passfile (`--passfile`, `PGPASSFILE`), else empty, which works with a server that asks for none.
    Raises CommandError; its text never repeats the URI, which may hold a password.
    """
    try:
        parts = conninfo_to_dict(uri)
    except (psycopg.Error, UnicodeError):
        raise CommandError(
            f"The {side} is not a connection URI. It looks like postgresql://user@host:5432/database; "
            "special characters in it are percent-encoded."
        ) from None
    unknown = sorted(set(parts) - _KNOWN)
    if unknown:
        raise CommandError(f"The {side} URI holds settings that are not supported here: {', '.join(unknown)}.")
    host, port = _place(str(parts.get("host") or ""), str(parts.get("port") or "5432"), side)
    tls = str(parts.get("sslmode") or "prefer")
    if tls not in TLS_MODES:
        raise CommandError(f"The {side} URI asks for sslmode {tls}; known are {', '.join(sorted(TLS_MODES))}.")
    user = str(parts.get("user") or getpass.getuser())
    database = str(parts.get("dbname") or user)
    if max(len(user), len(database)) > _LONGEST_NAME:
        raise CommandError(f"The {side} URI holds a name of more than {_LONGEST_NAME} characters.")
    password = str(parts.get("password") or _from_environment(f"TOWPATH_{side.upper()}_PASSWORD"))
    file = passfile or str(parts.get("passfile") or "") or os.environ.get("PGPASSFILE", "")
    if not password and file:
        password = password_from_file(Path(file), [host, str(port), database, user])
    return EndpointData(
        host=host,
        port=port,
        account=user,
        password=password,
        database=database,
        tls_mode=tls,
        require_auth=_sign_in(str(parts.get("require_auth") or ""), bool(password), side),
        ca_pem=_file(parts.get("sslrootcert"), side),
        client_cert_pem=_file(parts.get("sslcert"), side),
        client_key_pem=_file(parts.get("sslkey"), side),
    )


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not is_text(value):
        raise CommandError(f"{name} is not text in UTF-8.")
    return value


def _place(host: str, port: str, side: str) -> tuple[str, int]:
    if not host or "," in host or host.startswith("/"):
        raise CommandError(f"The {side} URI must name one host (no socket folder, no list).")
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise CommandError(f"The {side} URI must name one port, a number from 1 to 65535; 5432 is usual.")
    return host, int(port)


def _sign_in(wanted: str, with_password: bool, side: str) -> str:
    """Return the accepted ways of signing in. Without a choice: any password method, or none when there is none."""
    if not wanted:
        return "password" if with_password else "any"
    methods = set(wanted.split(","))
    if methods == {"scram-sha-256"}:
        return "scram-sha-256"
    if methods <= {"scram-sha-256", "md5", "password"}:
        return "password"
    if methods <= {"scram-sha-256", "md5", "password", "none"}:
        return "any"
    raise CommandError(f"The {side} URI asks for require_auth={wanted}; known are scram-sha-256, md5, password, none.")


def _file(name: object, side: str) -> str | None:
    if not name or name == "system":  # libpq's word for the system's trust store, which is used without a file
        return None
    try:
        return Path(str(name)).read_text()
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"The {side} URI names the file {name}, which cannot be read.") from None


def password_from_file(path: Path, wanted: list[str]) -> str:
    """Return the password of the first matching line `host:port:database:user:password`; empty when none matches.

    Raises CommandError when the file is missing, open to others or cannot be read.
    """
    text = read_secrets(path, "passfile")
    for line in text.split("\n"):  # a password may hold other characters that end lines of text
        if not line or line.startswith("#"):
            continue
        match = _PASSFILE_LINE.match(line)
        fields = [re.sub(r"\\(.)", r"\1", part) for part in match.groups()] if match else []
        if match and all(field in ("*", value) for field, value in zip(fields, wanted, strict=False)):
            return fields[4]
    return ""


def read_secrets(path: Path, what: str) -> str:
    """Return the text of a file that only its owner may read. Raises CommandError, which calls it `what`."""
    try:
        if not path.is_file():
            raise CommandError(f"The {what} {path} does not exist.")
        if path.stat().st_mode & 0o077:
            raise CommandError(f"The {what} {path} can be read by others; run: chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise CommandError(f"The {what} {path} cannot be read: {why}.") from None


def object_path(text: str) -> tuple[str, ...]:
    """Return (schema,) or (schema, table) of `SCHEMA[.TABLE]`; parts with dots or quotes are written in double quotes.

    Raises CommandError.
    """
    part = r'(?:"((?:[^"]|"")+)"|([^".]+))'
    match = re.fullmatch(rf"{part}(?:\.{part})?", text, re.DOTALL)
    if match is None:
        raise CommandError(f'Not an object name: {text}. Write SCHEMA or SCHEMA.TABLE, odd names in "double quotes".')
    quoted_schema, schema, quoted_table, table = match.groups()
    names = [(quoted_schema or "").replace('""', '"') or schema, (quoted_table or "").replace('""', '"') or table]
    return tuple(name for name in names if name)


def new_name(text: str, *, qualified: bool) -> tuple[str, str, str]:
    """Return (database, old, new) of `OLD=NEW`, or with `qualified` also of `DATABASE.OLD=NEW`; "" for no database.

    Parts with dots, quotes or = are written in double quotes. Raises CommandError.
    """
    part = r'(?:"((?:[^"]|"")+)"|([^".=]+))'
    match = re.fullmatch(rf"(?:{part}\.)?{part}={part}", text, re.DOTALL)
    if match is None or (not qualified and (match[1] or match[2])):
        form = "[DATABASE.]OLD=NEW" if qualified else "OLD=NEW"
        raise CommandError(f'Not a new name: {text}. Write {form}, odd names in "double quotes".')
    found = [(match[at] or "").replace('""', '"') or match[at + 1] or "" for at in (1, 3, 5)]
    return found[0], found[1], found[2]
