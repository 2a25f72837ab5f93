"""What README and docs name exists: targets, commands, options, settings, links, pictures."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = "\n".join(path.read_text() for folder in ("console", "migrations_app") for path in (ROOT / folder).rglob("*.py"))
OF_TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
OF_PROJECT = ("CONTRIBUTING.md", "faults.md", "proofs.md")
pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
_ACTION = argparse._SubParsersAction  # the only way to look into subcommands


def _parser(command: str) -> argparse.ArgumentParser:
    app = get_commands().get(command)
    assert app, f"manage.py {command} does not exist"
    found = load_command_class(app, command) if isinstance(app, str) else app
    return found.create_parser("manage.py", command)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next((dict(action.choices) for action in parser._actions if isinstance(action, _ACTION)), {})


def _calls(text: str) -> list[list[str]]:
    """Return the words of every `manage.py …`, up to the end of its line or of its code mark."""
    joined = text.replace("\\\n", " ")
    return [found.split() for found in re.findall(r"manage\.py ([^`\n]+)", joined)]


@pages
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


@pages
def test_every_command_and_option_exists(page: Path) -> None:
    for words in _calls(page.read_text()):
        name = words[0].strip(".,:;)…")
        parser = _parser(name)
        below = _subparsers(parser)
        if below and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
            assert words[1] in below, f"manage.py {name} {words[1]}"
            parser = below[words[1]]
        options = {re.split(r"[=\s]", word)[0].strip(".,:;)") for word in words if word.startswith("--")}
        known = set(parser._option_string_actions)
        assert options <= known, f"manage.py {' '.join(words)}"


@pages
def test_every_setting_is_read_by_the_code(page: Path) -> None:
    named = set(re.findall(r"\b(?:TOWPATH_[A-Z_]+|DATABASE_URL)\b", page.read_text()))
    sides = {f"TOWPATH_{side}_{whose}" for side in ("SOURCE", "TARGET") for whose in ("PASSWORD", "SSH_PASSWORD")}
    code = CODE + OF_TESTS if page.name in OF_PROJECT else CODE  # who changes the project may set up its tests
    unknown = {name for name in named - sides if name.removesuffix("_FILE") not in code}
    assert unknown == set()
    assert 'f"TOWPATH_{side.upper()}_PASSWORD"' in CODE


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    for address in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = address.partition("#")
        if "://" in address:
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), address
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}, address


def test_every_picture_is_small_and_used() -> None:
    folder = ROOT / "docs" / "img"
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.png")}
    shown = {(page.parent / name).resolve() for page in PAGES for name in _pictures(page.read_text())}
    assert {path.name for path in shown} == set(sizes)
    assert [name for name, size in sizes.items() if size >= 120_000] == []
    assert sum(sizes.values()) < 6_000_000


def _pictures(text: str) -> set[str]:
    return set(re.findall(r"!\[[^\]]*\]\(([^)\s]+\.png)\)", text)) | set(
        re.findall(r'(?:src|href)="([^"]+\.png)"', text)
    )
