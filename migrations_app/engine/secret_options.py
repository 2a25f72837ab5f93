"""Options of foreign servers and user mappings that may hold a secret: left out, set apart, or masked for people."""

from __future__ import annotations

import re

from .toc import Entry

_OPTION = re.compile(rb"""("(?:[^"]|"")+"|[a-z_0-9]+) (E?'(?:[^'\\]|''|\\.)*')""")
_SECRET = re.compile(rb"pass|secret|key|token|credential", re.IGNORECASE)
_SECRET_OPTION = re.compile(
    rb"""((?:"[^"]*(?:pass|secret|key|token|credential)[^"]*"|\w*(?:pass|secret|key|token|credential)\w*)\s+)"""
    rb"""E?'(?:[^'\\]|''|\\.)*'""",
    re.IGNORECASE,
)
_WITH_OPTIONS = frozenset({"USER MAPPING", "SERVER", "FOREIGN TABLE", "FOREIGN DATA WRAPPER"})


def is_secret(name: str) -> bool:
    """Say whether an option of this name may hold a secret."""
    return _SECRET.search(name.encode()) is not None


def without_secrets(definition: bytes) -> bytes:
    """Return the text of a user mapping without the options that hold passwords, keys and the like."""
    head, found, options = definition.partition(b" OPTIONS (")
    if not found:
        return definition
    kept = [name + b" " + value for name, value in _OPTION.findall(options) if not _SECRET.search(name)]
    return head + (b" OPTIONS (" + b", ".join(kept) + b");" if kept else b";")


def hidden_options(definition: bytes) -> list[tuple[str, str]]:
    """Return the options that `without_secrets` leaves out: each name as it is written, and its value as a literal."""
    _, found, options = definition.partition(b" OPTIONS (")
    pairs = _OPTION.findall(options) if found else []
    return [(name.decode(), value.decode()) for name, value in pairs if _SECRET.search(name)]


def shown_sql(entry: Entry) -> str:
    """Return an entry's SQL as people may read it: values of options that may be secrets are masked."""
    text = entry.definition
    if entry.type in _WITH_OPTIONS:
        text = _SECRET_OPTION.sub(rb"\1'...'", text)
    return text.decode(errors="replace").strip()
