"""What tests of the batch path share: a pair, batches from the first change on, and the rows that went alone."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.replication.row_path import RowPath
from tests.postgres.sync_kit import APPLY, Pair, force_path


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    force_path(monkeypatch, "batches")


@pytest.fixture
def by_rows(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Which batches, or tables of them, went row by row."""
    seen: list[object] = []
    real = RowPath.apply

    def apply(self: RowPath, batch: Any, only: Any = None) -> None:
        seen.append(only)
        real(self, batch, only)

    monkeypatch.setattr(RowPath, "apply", apply)
    return seen


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches so small that they end within transactions too."""
    small_batches(monkeypatch)


def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let batches end after few changes."""
    monkeypatch.setattr(f"{APPLY}._WORTH_CHANGES", 30)
    monkeypatch.setattr(f"{APPLY}._MOST_CHANGES", 90)
    monkeypatch.setattr("migrations_app.engine.replication.stream._READ_BYTES", 3000)
