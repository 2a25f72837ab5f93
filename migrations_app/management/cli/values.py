"""Single values of the command line's options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from ... import services

_LONGEST_NAME = 120
_POSITIONAL = ("action", "id", "table")
_LAST_YEAR = 9000
"""As on the pages: later times end beyond the calendar in another time zone."""


def is_text(value: str) -> bool:
    """Say whether a word is text: Python gives bytes of the command line that are not UTF-8 as halves of characters."""
    return not any("\ud800" <= char <= "\udfff" for char in value)


def refuse_no_text(options: dict[str, Any]) -> None:
    """Raise CommandError for an option that is no text; its message never repeats it, as it may be a password."""
    for name, value in options.items():
        words = value if isinstance(value, list | tuple) else [value]
        if not all(is_text(word) for word in words if isinstance(word, str)):
            option = name if name in _POSITIONAL else f"--{name.replace('_', '-')}"
            raise CommandError(f"{option} holds bytes that are not text in UTF-8.")


def task_name(text: str) -> str:
    """Return the name of a task, "" for blanks alone. Raises CommandError when it is longer than the console takes."""
    text = text.strip()
    if len(text) > _LONGEST_NAME:
        raise CommandError(f"--name takes at most {_LONGEST_NAME} characters; this name has {len(text)}.")
    return text


def number_to(most: int) -> Callable[[str], int]:
    """Return what reads an option's whole number from 1 to `most`, for argparse."""

    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"takes a whole number from 1 to {most}, not {text!r}")
        return int(text)

    return number


def knob(text: str | None, option: str, nothing: str, before: int | None) -> int | None:
    """Return what an option sets: `nothing` takes the setting back, and without the option it stays."""
    if text is None:
        return before
    if text == nothing:
        return None
    if not text.isdecimal():
        raise CommandError(f"{option} takes a whole number, or {nothing}.")
    return int(text)


def size(text: str | None, before: int | None) -> int | None:
    """Return what an option sets: `none` takes the size back, and without the option it stays."""
    return before if text is None else services.parse_bytes("" if text == "none" else text)


def start_time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
        value = (value if value.tzinfo else timezone.make_aware(value)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CommandError("--at takes a time such as 2026-12-24T23:00.") from error
    if value.year > _LAST_YEAR:
        raise CommandError(f"--at takes a time before the year {_LAST_YEAR + 1}.")
    if value <= timezone.now():
        raise CommandError("--at is in the past. Give a later time, or leave it out to start at once.")
    return value
