"""Typed readers of environment variables: a setting that is wrong fails at start, with its name."""

from __future__ import annotations

import fcntl
import ipaddress
import math
import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """Return the value, or that of the file named by `NAME_FILE`, or the default."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        return Path(path).read_text().strip()
    return os.environ.get(name, default)


def integer(name: str, default: int, *, least: int = 0) -> int:
    """Return a whole number. Raises ImproperlyConfigured on anything else, or below `least`."""
    value = text(name, str(default))
    if not value.lstrip("-").isdigit() or int(value) < least:
        raise ImproperlyConfigured(f"{name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def number(name: str, default: float, *, above: float) -> float:
    """Return a decimal number. Raises ImproperlyConfigured on anything else, or at `above` and below."""
    value = text(name, str(default))
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or found <= above:
        raise ImproperlyConfigured(f"{name} must be a number above {above:g}, not {value!r}")
    return found


def flag(name: str, default: bool) -> bool:
    """Return a truth value: 1/0, true/false, yes/no, on/off. Raises ImproperlyConfigured on anything else."""
    value = text(name, "1" if default else "0").lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off", ""):
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}")


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def networks(name: str) -> list[str]:
    """Return a comma-separated list of address ranges. Raises ImproperlyConfigured on one that is none."""
    found = words(name)
    for word in found:
        try:
            ipaddress.ip_network(word)
        except ValueError as error:
            raise ImproperlyConfigured(
                f"{name} holds {word!r}, which is not an address range such as 10.0.0.0/8 or 2001:db8::/32: {error}"
            ) from error
    return found


def private_file(path: Path, make: object) -> str:
    """Return the content of a 0600 file, made with `make()` when missing.

    Raises ImproperlyConfigured when others can read it: a key that others know protects nothing.
    """
    if not path.exists() or not path.stat().st_size:
        _fill(path, make)
    if path.stat().st_mode & 0o077:
        raise ImproperlyConfigured(f"{path} can be read by others; run: chmod 600 {path}")
    return path.read_text().strip()


def _fill(path: Path, make: object) -> None:
    """Write a file that is missing or empty. Who comes second waits for the first one, and leaves it as it is."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not file.read():
            os.fchmod(file.fileno(), 0o600)  # somebody else may have made it, for all to read
            file.write(make())  # type: ignore[operator]
