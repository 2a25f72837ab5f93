"""Tables that the target has already may number rows in another way than the source's, or allow less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import EngineError
from migrations_app.engine.plan import Plan
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.occupied_kit import choose, migrate
from tests.postgres.test_torture import told


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.mark.parametrize(("policy", "theirs"), [("keep", " OWNED BY theirs_too.id"), ("truncate", ""), ("keep", "")])
def test_an_identity_column_goes_on_where_the_source_is_under_whatever_name_its_sequence_has(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, policy: str, theirs: str
) -> None:
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            b"CREATE TABLE public.numbered (id int GENERATED ALWAYS AS IDENTITY, x int);"
            b"CREATE TABLE public.plain (id int GENERATED ALWAYS AS IDENTITY, x int);"
            b"INSERT INTO public.numbered (x) SELECT generate_series(1, 50); INSERT INTO public.plain (x) VALUES (1)"
        )
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(
            b"CREATE TABLE public.theirs_too (id int); CREATE SEQUENCE public.numbered_id_seq" + theirs.encode() + b";"
            b"CREATE TABLE public.numbered (id int GENERATED ALWAYS AS IDENTITY, x int);"
            b"CREATE TABLE public.plain (id int NOT NULL, x int)"
        )
    store = migrate(choose(plan, policy))
    with target_cluster.connect(database.target_name) as connection:
        value = connection.execute("INSERT INTO public.numbered (x) VALUES (0) RETURNING id").fetchone()
        assert value == (51,)
        assert connection.execute("SELECT is_called FROM public.numbered_id_seq").fetchone() == (False,)
    titles = {title for title, _, _ in told(store)}
    assert {"column id on public.plain", "sequence plain_id_seq on public.plain"} <= titles


@pytest.mark.parametrize("stricter", ["CREATE UNIQUE INDEX u ON t (x)", "ALTER TABLE t ALTER y SET NOT NULL"])
def test_rows_that_a_table_of_the_target_does_not_allow_are_said_to_be_so(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, stricter: str
) -> None:
    (database,) = plan.databases
    table = b"CREATE TABLE public.t (id int, x int, y int);"
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(table + b"INSERT INTO public.t VALUES (1, 1), (2, 1)")
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(table + stricter.encode())
    with pytest.raises(EngineError) as caught:
        migrate(choose(plan, "truncate"))
    assert "public.t" in caught.value.message
    assert "which was there before, allows less" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "there",
    [
        "CREATE TABLE t (id int, CHECK (id < 2))",
        "CREATE TABLE t (id int) PARTITION BY LIST (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1)",
    ],
)
def test_a_row_that_a_check_or_no_partition_of_the_target_takes_is_said_to_be_so(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, there: str
) -> None:
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(b"CREATE TABLE public.t (id int); INSERT INTO public.t VALUES (1), (2)")
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(there.encode())
    with pytest.raises(EngineError) as caught:
        migrate(choose(plan, "truncate"))
    assert "has a check that refuses it, or no partition that takes it" in (caught.value.hint or "")


def test_the_check_refuses_to_empty_what_tables_of_others_refer_to(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    tables = (
        b"CREATE TABLE public.p (id int PRIMARY KEY) PARTITION BY LIST (id);"
        b"CREATE TABLE public.p_1 PARTITION OF public.p DEFAULT;"
        b"CREATE TABLE public.c (id int REFERENCES public.p);"
    )
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(tables)
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(tables)
        assert check(choose(plan, "truncate"), "target-conflicts").status == "warning"
        connection.execute(b"CREATE SCHEMA s; CREATE TABLE s.theirs (id int CONSTRAINT k REFERENCES public.p)")
    assert check(choose(plan, "keep"), "target-conflicts").status == "warning"
    result = check(choose(plan, "truncate"), "target-conflicts")
    assert result.status == "failed"
    assert ", 1 foreign key leads from tables" in result.found
    assert "s.theirs (k)" in result.found
    assert result.sql == 'ALTER TABLE "s"."theirs" DROP CONSTRAINT "k";'


@pytest.mark.parametrize(
    ("policy", "incremental", "lacking"),
    [
        ("keep", False, "DELETE"),
        ("truncate", False, "DELETE, TRUNCATE"),
        ("keep", True, "DELETE, UPDATE, TRUNCATE"),
    ],
)
def test_the_check_names_the_rights_that_the_account_lacks_on_what_stays(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, policy: str, incremental: bool, lacking: str
) -> None:
    (database,) = plan.databases
    tables = b"CREATE TABLE public.t (id serial PRIMARY KEY); CREATE SEQUENCE public.alone"
    name = f"mover_{database.target_name}"
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(tables)
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(tables)
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'given'; GRANT ALL ON SCHEMA public TO {name}".encode())
        try:
            account = replace(plan.target, user=name, password="given")
            asked = replace(choose(plan, policy), target=account, incremental=incremental)
            result = check(asked, "target-conflicts")
            assert (result.status, "3 objects of" in result.found) == ("failed", True)
            connection.execute(f"GRANT SELECT, INSERT ON public.t TO {name}".encode())
            result = check(asked, "target-conflicts")
            assert f"table public.t ({lacking})" in result.found
            assert f'GRANT {lacking} ON TABLE "public"."t" TO "{name}";' in result.sql
            assert f'GRANT SELECT, UPDATE ON SEQUENCE "public"."alone" TO "{name}";' in result.sql
            connection.execute(result.sql.encode())
            assert check(asked, "target-conflicts").status == "warning"
        finally:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_a_sequence_of_a_table_that_stays_is_set_with_the_rights_that_the_check_asks_for(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    tables = b"CREATE TABLE public.t (id serial PRIMARY KEY);"
    name = f"mover_{database.target_name}"
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(tables + b"INSERT INTO public.t SELECT FROM generate_series(1, 40)")
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(tables)
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'given'; GRANT ALL ON SCHEMA public TO {name}".encode())
        try:
            connection.execute(f"GRANT CREATE ON DATABASE {database.target_name} TO {name}".encode())
            asked = replace(choose(plan, "keep"), target=replace(plan.target, user=name, password="given"))
            connection.execute(check(asked, "target-conflicts").sql.encode())
            migrate(asked)
            assert connection.execute("SELECT last_value FROM public.t_id_seq").fetchone() == (40,)
            assert connection.execute("SELECT count(*) FROM public.t").fetchone() == (40,)
        finally:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
