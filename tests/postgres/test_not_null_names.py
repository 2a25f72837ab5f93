"""Names of NOT NULL constraints on inherited columns arrive, though pg_dump 18 writes them without quotes."""

from __future__ import annotations

from dataclasses import replace
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


LIKE_A_DEFAULT = r"t text DEFAULT E'\n    CONSTRAINT Own NOT NULL a'"
INJECTED = "int);CREATE TABLE public.q();/*"


@pytest.mark.parametrize(
    ("tables", "columns"),
    [
        (f"{PARENT} {CHILD} ALTER TABLE child ADD {LIKE_A_DEFAULT};", ["a", "b", "c", "t"]),
        (
            'CREATE TABLE parent (a int CONSTRAINT "Own" NOT NULL);'
            f"CREATE TABLE child ({LIKE_A_DEFAULT}) INHERITS (parent);",
            ["a", "t"],
        ),
        (
            f'CREATE TABLE parent (a int CONSTRAINT "{INJECTED}" NOT NULL);'
            f'CREATE TABLE child ("x\n    CONSTRAINT {INJECTED} NOT NULL y" int, "*/CREATE TABLE public.z(a int--" int)'
            " INHERITS (parent);",
            ["a", f"x\n    CONSTRAINT {INJECTED} NOT NULL y", "*/CREATE TABLE public.z(a int--"],
        ),
        (
            "CREATE TABLE parent (a int);"
            f'CREATE TABLE child ("x\n    CONSTRAINT {INJECTED} NOT NULL y" int, "*/CREATE TABLE public.z(a int--" int,'
            f' CONSTRAINT "{INJECTED}" NOT NULL a) INHERITS (parent);',
            ["a", f"x\n    CONSTRAINT {INJECTED} NOT NULL y", "*/CREATE TABLE public.z(a int--"],
        ),
    ],
    ids=["own and default", "inherited and default", "inherited and columns", "own and columns"],
)
def test_what_only_looks_like_one_stays(
    target_cluster: Cluster, target_db: str, tmp_path: Path, tables: str, columns: list[str]
) -> None:
    shown = (
        "SELECT a.attname, pg_get_expr(d.adbin, d.adrelid), o.conname FROM pg_attribute a"
        " LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)"
        " LEFT JOIN pg_constraint o ON o.conrelid = a.attrelid AND o.conkey[1] = a.attnum AND o.contype = 'n'"
        " WHERE a.attrelid = 'child'::regclass AND a.attnum > 0 ORDER BY a.attnum"
    )
    with on_one_server(target_cluster, target_db, tables, tmp_path) as plan:
        with target_cluster.connect(target_db) as connection:
            wanted = connection.execute(shown).fetchall()
        store = run_steps(plan, fake_ports())
        assert [(note.title, note.what) for note in store.notes[target_db]] == []
        with target_cluster.connect(plan.databases[0].target_name) as connection:
            assert connection.execute(shown).fetchall() == wanted
            assert [name for name, *_ in wanted] == columns
            others = connection.execute("SELECT to_regclass('public.q'), to_regclass('public.z')").fetchone()
            assert others == (None, None)


TWO_WAYS = (
    "CREATE TABLE parent (a int, b int); CREATE TABLE other (id int PRIMARY KEY);"
    'CREATE TABLE child (CONSTRAINT "Own NOT NULL b" NOT NULL a, CONSTRAINT "Own" NOT NULL b) INHERITS (parent)'
)


def test_a_name_that_could_be_taken_for_another_is_refused(
    target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    with (
        on_one_server(target_cluster, target_db, TWO_WAYS, tmp_path) as plan,
        pytest.raises(SourceError, match=r'"Own" of public\.child has a name that cannot be carried over'),
    ):
        run_steps(plan, fake_ports())


def test_such_a_table_stops_no_task_that_leaves_it_out(target_cluster: Cluster, target_db: str, tmp_path: Path) -> None:
    with on_one_server(target_cluster, target_db, TWO_WAYS, tmp_path) as plan:
        rules = {(target_db,): True, (target_db, "public", "child"): False}
        store = run_steps(replace(plan, selection=replace(plan.selection, rules=rules)), fake_ports())
        assert {comparison.equal for comparison in store.comparisons} == {True}
