"""The servers that are measured: the wheel's 16 and 18, and Debian's, whose version is the one that knows TLS."""

from __future__ import annotations

from pathlib import Path

from migrations_app.demo.clusters import wheel_bin

DEBIAN_MAJOR = 15
_DEBIAN = Path(f"/usr/lib/postgresql/{DEBIAN_MAJOR}/bin")
MAJORS = f"of 16, 18 and Debian's {DEBIAN_MAJOR}"


def bench_binaries(major: int) -> Path:
    """Return the folder of the binaries of a version. Raises SystemExit for one that is not here."""
    found = _DEBIAN if major == DEBIAN_MAJOR else wheel_bin(major) if major in (16, 18) else None
    if found is None or not found.exists():
        raise SystemExit(f"PostgreSQL {major} is not here: servers are measured that are {MAJORS}")
    return found


def majors(text: str) -> tuple[int, int]:
    """Read two versions joined by a comma. Raises ValueError."""
    source, target = map(int, text.split(","))
    return source, target
