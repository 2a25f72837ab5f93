"""Plays every stream of `tests/regress` again: each once ended with a target that was not as the source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import stream_runs
from tests.postgres.stream_kit import Stage
from tests.postgres.stream_record import REGRESS, Record

# Fixtures that stand there.
stage = stream_runs.stage
path = stream_runs.path


def _files() -> Iterator[Path]:
    yield from sorted(REGRESS.glob("*.sql"))


@pytest.mark.parametrize("file", list(_files()), ids=lambda file: file.stem)
def test_what_once_went_wrong_ends_equal(stage: Stage, path: str, file: Path) -> None:
    record = Record.read(file.read_text())
    assert record.setup
    assert record.steps
    with stage.play(sorted(record.options)) as player:
        player.again(record)
