"""Figures and names as pages print them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template
from django.utils import timezone

from console.templatetags import console_extras as extras


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (4100, "4.1 kB"),
        (38_000_000, "38 MB"),
        (999_999, "1 MB"),
        (1.2e12, "1.2 TB"),
        (5e18, "5000 PB"),
    ],
)
def test_bytes_are_in_powers_of_a_thousand(value: float | None, text: str) -> None:
    assert extras.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.2, "0.2 s"),
        (4, "4 s"),
        (-3, "0 s"),
        (45.4, "45 s"),
        (59.7, "1 min"),
        (360, "6 min"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (86400, "1 d"),
        (273_600, "3 d 4 h"),
        (float("nan"), "–"),
    ],
)
def test_durations_have_at_most_two_units(value: float | None, text: str) -> None:
    assert extras.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0"), (1204, "1,204"), (48_210, "48.2 k"), (1_300_000, "1.3 M"), (2e9, "2 G")]
)
def test_large_numbers_are_short(value: float | None, text: str) -> None:
    assert extras.short_count(value) == text


def test_a_log_position_reads_as_postgresql_writes_it() -> None:
    assert extras.lsn(0x1_2A3B4C5D) == "1/2A3B4C5D"
    assert extras.lsn(None) == "–"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("orders", "orders"),
        ("Ärzte 表", "Ärzte 表"),
        ("a\nb\tc", r"a\nb\tc"),
        ("a\u202eb", r"a\u202eb"),
        ("\x1b[31m", r"\u001b[31m"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028sep", r"line\u2028sep"),
    ],
)
def test_invisible_characters_of_a_name_are_shown(name: str, shown: str) -> None:
    assert extras.visible(name) == shown


def test_markup_in_a_name_is_escaped() -> None:
    page = Template("{% load console_extras %}{{ name|visible }}{{ name|visible_lines }}{{ path|dotted }}")
    assert "<" not in page.render(Context({"name": "<b>", "path": ("<i>", "x")}))


def test_a_moment_carries_its_exact_time() -> None:
    value = timezone.now() - timedelta(days=40)
    text = str(extras.moment(value))
    assert f'datetime="{value:%Y-%m-%dT%H:%M:%SZ}"' in text
    assert 'tabindex="0"' in text
    assert "title" not in text
    assert extras.moment(None) == "–"


def test_a_time_is_as_short_as_it_can_be() -> None:
    now = timezone.now()
    assert extras.clock(now) == f"{now:%H:%M}"
    assert extras.clock(datetime(2001, 2, 3, 4, 5, tzinfo=UTC)) == "3 Feb 2001"
    assert extras.left(timezone.now() - timedelta(seconds=5)) == "any moment"
    assert extras.left(timezone.now() + timedelta(minutes=6, seconds=1)) == "6 min left"


def test_node_ids_are_safe_and_different() -> None:
    ids = {extras.node_id(path) for path in [(), ("a",), ("a", "b"), ("a.b",), ('"><script>',)]}
    assert len(ids) == 5
    assert all(value.isalnum() for value in ids)
