"""What tests of changes that do not fit the target share."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.conflicts import Conflict, Permission
from migrations_app.engine.errors import ConflictError
from tests.fakes import FakeStore
from tests.postgres.sync_kit import Pair

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def stopped(pair: Pair) -> Conflict:
    with pytest.raises(ConflictError) as caught:
        pair.catch_up()
    assert caught.value.conflict is not None
    return caught.value.conflict


def permission(conflict: Conflict, number: int = 1, **other: Any) -> Permission:
    facts = {name: getattr(conflict, name) for name in ("schema", "name", "digest", "lsn")}
    return Permission(number=number, **facts | other)


def allow(store: FakeStore, *permissions: Permission, database: str) -> None:
    store.allowed.setdefault(database, []).extend(permissions)
