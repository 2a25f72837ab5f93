"""The binaries of old versions: nothing unexpected is unpacked, and what is missing is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests import servers


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOWPATH_TEST_SERVERS", str(tmp_path))
    monkeypatch.setattr(servers, "reachable_by_others", lambda folder: True)
    return tmp_path


def _tool(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    tool = folder / "tools" / name
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")


def test_another_package_than_the_pinned_one_is_not_unpacked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(cache, monkeypatch, "npm", "echo something else > package.tgz")

    with pytest.raises(servers.Unavailable, match="not the package that was pinned"):
        servers.binaries("13")

    assert not [path for path in cache.iterdir() if path.is_dir() and path.name != "tools"]


def test_a_missing_client_is_named_with_the_way_to_get_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))

    with pytest.raises(servers.Unavailable, match=r"mvn is needed .* apt-get install maven"):
        servers.binaries("9.6")


def test_the_words_of_a_registry_that_refuses_are_handed_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(cache, monkeypatch, "npm", "echo registry is away >&2; exit 1")

    with pytest.raises(servers.Unavailable, match="registry is away"):
        servers.binaries("13")


def test_a_version_that_no_registry_has_is_named() -> None:
    with pytest.raises(servers.Unavailable, match=r"no registry has PostgreSQL 9\.4"):
        servers.binaries("9.4")


def test_every_package_is_pinned_to_the_major_that_it_stands_for() -> None:
    for version, package in servers.PACKAGES.items():
        assert len(package.digest) == 88, version
        assert package.registry != "npm" or package.version.startswith(f"{version}."), dataclasses.asdict(package)
