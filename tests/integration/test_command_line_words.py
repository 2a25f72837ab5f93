"""What the command line cannot keep is refused in one line, and nothing is made: bytes that are no text, odd times."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from migrations_app.models import MigrationTask

pytestmark = pytest.mark.django_db
ENDS = ("--source", "postgresql://u@h/d", "--target", "postgresql://u@h/d")
NO_TEXT = os.fsdecode(b"a\xff")


def _refused(*words: str) -> str:
    """Run the command; return the line that it ends with."""
    with pytest.raises(CommandError) as refused:
        call_command("task", *words)
    assert refused.value.returncode == 1
    assert "\n" not in str(refused.value)
    assert not MigrationTask.objects.exists()
    return str(refused.value)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("create", *ENDS, "--name", NO_TEXT), "--name"),
        (("create", *ENDS, "--include", "a", "--include", NO_TEXT), "--include"),
        (("create", *ENDS, "--map-schema", f"a={NO_TEXT}"), "--map-schema"),
        (("create", *ENDS, "--database", NO_TEXT), "--database"),
        (("create", "--source", f"postgresql://u:secret{NO_TEXT}@h/d", *ENDS[2:]), "--source"),
        (("create", *ENDS, "--passfile", NO_TEXT), "--passfile"),
        (("create", *ENDS, "--at", NO_TEXT), "--at"),
        (("run", *ENDS, "--name", NO_TEXT), "--name"),
        (("show", NO_TEXT), "id"),
        (("recopy", "1", NO_TEXT), "table"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_words_that_are_no_text_are_refused_by_name(words: tuple[str, ...], option: str) -> None:
    said = _refused(*words)
    assert f"{option} holds bytes that are not text in UTF-8" in said
    assert "secret" not in said


def test_an_address_with_bytes_that_are_no_text_is_refused() -> None:
    said = _refused("create", "--source", "postgresql://u:secret%ffword@h/d", *ENDS[2:])
    assert "The source is not a connection URI" in said
    assert "secret" not in said


def test_a_password_of_the_environment_has_to_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TOWPATH_TARGET_PASSWORD", NO_TEXT)
    assert "TOWPATH_TARGET_PASSWORD is not text in UTF-8" in _refused("create", *ENDS)


@pytest.mark.parametrize(
    "at",
    [
        "9999-12-31T23:59",
        "9999-12-31T23:59-05:00",
        "9002-01-01T00:00",
        "0001-01-01T00:00",
        "0001-01-01T00:00+05:00",
        "10000-01-01T00:00",
        "2030-02-30T00:00",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_a_time_beyond_the_calendar_is_refused(at: str, zone: str) -> None:
    with timezone.override(zone):
        assert "--at" in _refused("create", *ENDS, "--at", at)


def test_a_task_is_made_with_all_that_was_asked_for_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text(f"::anna::{'x' * 1001}\n")
    file.chmod(0o600)
    with pytest.raises(CommandError, match="at most 1,000 characters"):
        call_command("task", "create", *ENDS, "--target-passwords", str(file))
    assert not MigrationTask.objects.exists()
