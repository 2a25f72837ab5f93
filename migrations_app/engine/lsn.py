"""WAL positions as plain integers inside the engine, as text at its borders."""

from __future__ import annotations

_PAGE = 8192
_LONG_PAGE_HEADER = 40


def parse_lsn(text: str) -> int:
    """Return the integer value of an LSN such as `0/16B3748`. Raises ValueError on anything else."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def format_lsn(lsn: int) -> str:
    """Return the text form that PostgreSQL prints and reads."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def before_page_header(lsn: int) -> int:
    """Return `lsn`, or the start of its page when it lies just behind the page's header.

    The insert position skips a page header that is not written yet; what the stream reports stops before it.
    """
    inside = lsn % _PAGE
    return lsn - inside if inside <= _LONG_PAGE_HEADER else lsn
