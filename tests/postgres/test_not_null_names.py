"""Names of NOT NULL constraints on inherited columns arrive, though pg_dump 18 writes them without quotes."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import SourceError
from tests.fakes import fake_ports
from tests.postgres.compare_kit import on_one_server, run_steps

AS_SQL = "x NOT NULL c); CREATE TABLE public.mine (c int); --"
PARENT = "CREATE TABLE parent (a int, b int, c int);"
CHILD = (
    f'CREATE TABLE child (CONSTRAINT "Own" NOT NULL a, CONSTRAINT "two ""words""" NOT NULL b,'
    f' CONSTRAINT "{AS_SQL}" NOT NULL c) INHERITS (parent); INSERT INTO child VALUES (1, 2, 3);'
)


def test_they_are_quoted_whatever_is_in_them(target_cluster: Cluster, target_db: str, tmp_path: Path) -> None:
    with on_one_server(target_cluster, target_db, PARENT + CHILD, tmp_path) as plan:
        store = run_steps(plan, fake_ports())
        assert [(note.title, note.what) for note in store.notes[target_db]] == []
        assert all(comparison.equal for comparison in store.comparisons)
        with target_cluster.connect(plan.databases[0].target_name) as connection:
            names = connection.execute(
                "SELECT conname FROM pg_constraint WHERE conrelid = 'child'::regclass ORDER BY conkey"
            ).fetchall()
            assert [name for (name,) in names] == ["Own", 'two "words"', AS_SQL]
            assert connection.execute("SELECT to_regclass('public.mine')").fetchone() == (None,)


def test_a_table_with_a_text_that_looks_like_one_is_refused(
    target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    alike = "ALTER TABLE child ADD t text DEFAULT E'\\n    CONSTRAINT Own NOT NULL a'"
    with (
        on_one_server(target_cluster, target_db, PARENT + CHILD + alike, tmp_path) as plan,
        pytest.raises(SourceError, match=r'"Own" of public\.child has a name that cannot be carried over'),
    ):
        run_steps(plan, fake_ports())
