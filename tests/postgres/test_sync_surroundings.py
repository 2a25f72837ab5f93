"""The sync under other accounts, encodings and sizes than the usual ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.conflicts import ConflictKind, Obstacle
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import ConflictError, EngineError
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.replication.session import SyncSession
from tests.postgres.sync_kit import Pair


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


@pytest.fixture
def owner(target_cluster: Cluster, target_db: str) -> Iterator[str]:
    """An account without any privilege but the ownership of the target database."""
    name = f"owner_{secrets.token_hex(4)}"
    with target_cluster.connect() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'own'")
        connection.execute(f"ALTER DATABASE {target_db} OWNER TO {name}")
    yield name
    with target_cluster.connect(target_db) as connection:
        connection.execute(f"REASSIGN OWNED BY {name} TO postgres")
        connection.execute(f"DROP ROLE {name}")


def catch_up_as(pair: Pair, user: str) -> None:
    until = pair.insert_lsn()
    pair.epoch += 1
    plan = pair.plan()
    plan = replace(plan, target=replace(plan.target, user=user, password="own"))
    with (
        Sessions(plan, pair.control) as sessions,
        SyncSession(Run(plan=plan, ports=pair.ports, sessions=sessions), pair.database) as session,
    ):
        session.advance(until=until)


def test_an_owner_without_the_replica_role_applies_everything(pair: Pair, owner: str) -> None:
    ddl = (
        "CREATE TABLE t (id int, v text, PRIMARY KEY (id) DEFERRABLE INITIALLY IMMEDIATE);"
        "ALTER TABLE t REPLICA IDENTITY FULL;"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v || ''!''; RETURN NEW; END'"
    )
    pair.build(ddl)
    pair.at_target(
        "CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        f"ALTER TABLE t OWNER TO {owner}",
    )
    pair.store.save_database(replace(pair.state, replica_role=False))
    pair.at_source(
        "INSERT INTO t VALUES (1, 'ann'), (2, 'bob')",
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE t SET id = 2 WHERE v = 'ann';"
        " UPDATE t SET id = 1 WHERE v = 'bob'; COMMIT",
        "TRUNCATE t",
        "INSERT INTO t VALUES (3, 'cid')",
    )
    catch_up_as(pair, owner)
    pair.assert_equal()


def test_a_column_is_added_behind_changes_whose_checks_an_owner_has_deferred(pair: Pair, owner: str) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, pos int UNIQUE DEFERRABLE); INSERT INTO t VALUES (1, 1), (2, 2)")
    pair.at_target(f"ALTER TABLE t OWNER TO {owner}")
    pair.store.save_database(replace(pair.state, replica_role=False))
    pair.selection = replace(pair.selection, follow="additions")
    pair.at_source(
        "BEGIN; UPDATE t SET pos = 3 - pos; ALTER TABLE t ADD more int; INSERT INTO t VALUES (3, 3, 3);"
        " UPDATE t SET pos = 4 - pos; COMMIT"
    )
    catch_up_as(pair, owner)
    pair.assert_equal()


def test_a_row_of_others_that_only_the_commit_meets_names_its_table(pair: Pair, owner: str) -> None:
    pair.build(
        "CREATE TABLE t (id int CONSTRAINT taken PRIMARY KEY DEFERRABLE, v text); ALTER TABLE t REPLICA IDENTITY FULL"
    )
    pair.at_target(f"ALTER TABLE t OWNER TO {owner}", "INSERT INTO t VALUES (1, 'foreign')")
    pair.store.save_database(replace(pair.state, replica_role=False))
    pair.at_source("INSERT INTO t VALUES (1, 'ours')")
    with pytest.raises(ConflictError) as caught:
        catch_up_as(pair, owner)
    conflict = caught.value.conflict
    assert conflict is not None
    assert (conflict.database, conflict.schema, conflict.name) == (pair.source_db, "public", "t")
    assert (conflict.kind, conflict.obstacle) == (ConflictKind.DUPLICATE_KEY, Obstacle.AT_THE_END)
    assert (conflict.change, conflict.key) == ("change", "taken")
    assert "Copy the table again" in caught.value.hint
    pair.at_target("DELETE FROM t")
    catch_up_as(pair, owner)
    pair.assert_equal()


def test_an_account_that_may_not_take_the_replica_role_is_told_so(pair: Pair, owner: str) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY)")
    pair.at_target(f"ALTER TABLE t OWNER TO {owner}")
    with pytest.raises(EngineError) as caught:
        catch_up_as(pair, owner)
    assert "session_replication_role" in caught.value.message + caught.value.hint


def test_an_account_that_acts_as_another_role_by_itself_replicates_as_what_it_is(pair: Pair, owner: str) -> None:
    acting = f"acting_{secrets.token_hex(4)}"
    pair.at_source(f"CREATE ROLE {owner}; CREATE ROLE {acting} LOGIN REPLICATION PASSWORD 'own' IN ROLE {owner}")
    pair.at_source(f"ALTER ROLE {acting} SET role = {owner}")
    plan = pair.plan()
    plan = replace(plan, source=replace(plan.source, user=acting, password="own"))
    try:
        with Sessions(plan, pair.control) as sessions:
            with sessions.session(Side.SOURCE, pair.source_db) as connection:
                assert connection.execute("SELECT current_user::text").fetchone() == (acting,)
            with sessions.open(Side.SOURCE, pair.source_db, replication=True) as connection:
                connection.execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput")
    finally:
        pair.at_source(f"DROP ROLE {acting}; DROP ROLE {owner}")


@pytest.fixture
def latin_db(source_cluster: Cluster) -> Iterator[str]:
    name = f"latin_{secrets.token_hex(4)}"
    with source_cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    yield name
    with source_cluster.connect() as connection:
        slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
        connection.execute(slots, (name,))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_another_encoding_of_the_source_is_converted(
    source_cluster: Cluster, target_cluster: Cluster, latin_db: str, target_db: str
) -> None:
    pair = Pair(source_cluster, target_cluster, latin_db, target_db)
    pair.build('CREATE TABLE "café" ("clé" int PRIMARY KEY, "ü" text)')
    pair.at_source(
        """INSERT INTO "café" VALUES (1, 'é'), (2, 'ÿ')""",
        """UPDATE "café" SET "ü" = 'ñ' WHERE "clé" = 1""",
        """DELETE FROM "café" WHERE "clé" = 2""",
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.fixture
def no_encoding(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[Pair]:
    """Two databases that take every byte."""
    name = f"bytes_{secrets.token_hex(4)}"
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'")
            connection.execute(f"ALTER DATABASE {name} SET client_encoding = 'UTF8'")  # for this test's own statements
    yield Pair(source_cluster, target_cluster, name, name)
    with source_cluster.connect() as connection:
        slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
        connection.execute(slots, (name,))
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_bytes_of_no_encoding_pass_as_they_are(no_encoding: Pair) -> None:
    pair = no_encoding
    pair.build(
        'CREATE TABLE "café" (id int PRIMARY KEY, v text); CREATE TABLE k (v text);ALTER TABLE k REPLICA IDENTITY FULL'
    )
    pair.at_source(
        "INSERT INTO \"café\" VALUES (1, convert_from('\\xe9ff80', 'SQL_ASCII'))",
        "INSERT INTO k VALUES (convert_from('\\xfe5c0a09', 'SQL_ASCII')), ('x')",
        "UPDATE k SET v = v || v; DELETE FROM k WHERE v = 'xx'",
    )
    pair.catch_up()
    assert pair.value("SELECT encode(convert_to(v, 'SQL_ASCII'), 'hex') FROM k", "target") == "fe5c0a09fe5c0a09"
    query = "SELECT encode(convert_to(v, 'SQL_ASCII'), 'hex') FROM \"café\""
    assert pair.value(query, "target") == "e9ff80"


@pytest.mark.long
def test_huge_values_pass(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, big text, raw bytea)")
    pair.at_source(
        "INSERT INTO t SELECT g, repeat(md5(g::text), 250000), decode(repeat('ab', 3000000), 'hex')"
        " FROM generate_series(1, 4) g",
        "UPDATE t SET big = repeat('z', 5000000) WHERE id = 2",
    )
    pair.catch_up()
    total = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
    assert pair.value(total, "target") == pair.value(total)


def test_many_changes_of_many_tables_in_one_transaction_stay_in_order(pair: Pair) -> None:
    pair.build(*(f"CREATE TABLE t{n} (id int PRIMARY KEY, v int)" for n in range(5)))
    loop = "; ".join(
        f"INSERT INTO t{n} VALUES (i, i); UPDATE t{n} SET v = v + 1 WHERE id = i; DELETE FROM t{n} WHERE id = i - 3"
        for n in range(5)
    )
    pair.at_source(f"DO $$ BEGIN FOR i IN 1..2000 LOOP {loop}; END LOOP; END $$")
    pair.catch_up()
    pair.assert_equal()
