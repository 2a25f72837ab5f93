"""Every kind of change arrives on the target exactly as it was on the source."""

from __future__ import annotations

import pytest

from migrations_app.demo.clusters import Cluster
from tests.postgres.sync_kit import Pair, force_path


@pytest.fixture(autouse=True, params=["rows", "batches"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both paths bring the same."""
    force_path(monkeypatch, request.param)


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, what text, paid numeric(10,2))"


def test_inserts_updates_and_deletes_arrive(pair: Pair) -> None:
    pair.build(ORDERS)
    pair.at_source(
        "INSERT INTO orders SELECT g, 'thing ' || g, g FROM generate_series(1, 50) g",
        "UPDATE orders SET what = NULL, paid = 1.5 WHERE id % 3 = 0",
        "DELETE FROM orders WHERE id % 7 = 0",
    )
    pair.catch_up()
    pair.assert_equal()


def test_a_changed_key_moves_the_row(pair: Pair) -> None:
    pair.build(ORDERS)
    pair.at_source(
        "INSERT INTO orders VALUES (1, 'a', 1), (2, 'b', 2)",
        "UPDATE orders SET id = id + 100 WHERE id = 1",
        "UPDATE orders SET id = 1, what = 'c' WHERE id = 2",
    )
    pair.catch_up()
    pair.assert_equal()


def test_two_keys_may_be_swapped_in_one_transaction(pair: Pair) -> None:
    pair.build("CREATE TABLE seats (id int, who text, PRIMARY KEY (id) DEFERRABLE INITIALLY IMMEDIATE)")
    pair.at_source("ALTER TABLE seats REPLICA IDENTITY FULL")
    pair.at_source(
        "INSERT INTO seats VALUES (1, 'ann'), (2, 'bob')",
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE seats SET id = 2 WHERE who = 'ann';"
        " UPDATE seats SET id = 1 WHERE who = 'bob'; COMMIT",
    )
    pair.catch_up()
    pair.assert_equal()


def test_values_that_name_objects_arrive_by_their_names(pair: Pair, source_db: str) -> None:
    pair.at_source(f"ALTER DATABASE {source_db} SET search_path = hidden, public")
    pair.build(
        "CREATE SCHEMA hidden; CREATE TABLE hidden.thing (id int PRIMARY KEY); CREATE TYPE hidden.mood AS ENUM ('sad');"
        "CREATE FUNCTION hidden.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 2';"
        "CREATE TABLE public.named (id int PRIMARY KEY, rel regclass, kind regtype, proc regprocedure, rels regclass[],"
        " m hidden.mood[])"
    )
    pair.at_source(
        "INSERT INTO public.named VALUES (1, 'hidden.thing', 'hidden.mood', 'hidden.twice(int)',"
        " '{hidden.thing,public.named}', '{sad}')",
        "INSERT INTO public.named VALUES (2, 'pg_class', 'int4[]', NULL, NULL, NULL)",
        "UPDATE public.named SET rel = 'public.named' WHERE id = 2",
    )
    pair.catch_up()
    pair.at_source(f"ALTER DATABASE {source_db} RESET search_path")  # both sides are to print alike
    pair.assert_equal()
    assert pair.value("SELECT rel::oid = 'hidden.thing'::regclass FROM public.named WHERE id = 1", "target") is True


def test_a_row_inserted_deleted_and_inserted_again_in_one_transaction_ends_right(pair: Pair) -> None:
    pair.build(ORDERS)
    pair.at_source(
        "BEGIN; INSERT INTO orders VALUES (1, 'a', 1); DELETE FROM orders;"
        " INSERT INTO orders VALUES (1, 'b', 2); COMMIT",
        "DO $$ BEGIN FOR i IN 1..1000 LOOP UPDATE orders SET paid = i; END LOOP; END $$",
    )
    pair.catch_up()
    pair.assert_equal()


def test_rolled_back_savepoints_do_not_arrive(pair: Pair) -> None:
    pair.build(ORDERS)
    pair.at_source(
        "BEGIN; INSERT INTO orders VALUES (1, 'kept', 1); SAVEPOINT s; INSERT INTO orders VALUES (2, 'gone', 2);"
        " ROLLBACK TO s; INSERT INTO orders VALUES (3, 'kept', 3); COMMIT",
        "BEGIN; INSERT INTO orders VALUES (4, 'gone', 4); ROLLBACK",
    )
    pair.catch_up()
    pair.assert_equal()


def test_one_of_several_equal_rows_is_deleted_and_updated(pair: Pair) -> None:
    pair.build("CREATE TABLE notes (a int, b text, c numeric); ALTER TABLE notes REPLICA IDENTITY FULL")
    pair.at_source(
        "INSERT INTO notes SELECT 1, NULL, 1.0 FROM generate_series(1, 5)",
        "INSERT INTO notes VALUES (1, NULL, 1.00), (NULL, NULL, NULL), (NULL, NULL, NULL)",
        "DELETE FROM notes WHERE ctid = (SELECT max(ctid) FROM notes WHERE c::text = '1.00')",
        "DELETE FROM notes WHERE ctid = (SELECT min(ctid) FROM notes WHERE a = 1)",
        "UPDATE notes SET b = 'x' WHERE ctid = (SELECT min(ctid) FROM notes WHERE a IS NULL)",
    )
    pair.catch_up()
    pair.assert_equal()


def test_values_without_equality_identify_rows_too(pair: Pair) -> None:
    pair.build(
        "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TYPE spot AS (x int, y text);"
        " CREATE DOMAIN code AS char(5);"
        "CREATE TABLE odd (j json, x path, p point, f float8, ch char(4), m mood, s spot, c code, ja json[], ia int[],"
        ' b bit(3), i interval, r numrange, jb jsonb, ty "char"); ALTER TABLE odd REPLICA IDENTITY FULL'
    )
    pair.at_source(
        *(
            f"INSERT INTO odd VALUES ('{{\"a\": {n}}}', '[(0,0),({n},1)]', '({n},2)', '-0', 'ab', 'sad',"
            f" '({n},\"q \")', 'ab', array['{{\"z\":1}}']::json[], '{{1,NULL,{n}}}', '101', '1 mon {n} days',"
            f" '[1.0,{n}2.50)', '{{\"k\": 1.{n}0}}', 'x')"
            for n in (1, 2, 3)
        ),
        "UPDATE odd SET x = '((1,1))', j = NULL WHERE ch = 'ab' AND p[0] = 1",
        "DELETE FROM odd WHERE p[0] = 2",
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize(
    ("kind", "rows", "where"),
    [
        ("bpchar", "('a'), ('a ')", "octet_length(v) = 2"),
        ("spot", "(ROW(NULL, NULL)), (NULL)", "v::text IS NULL"),
        ("spots", "(ROW(NULL, NULL)), (NULL)", "v::text IS NULL"),
    ],
    ids=["blanks", "composite", "domain"],
)
def test_values_that_count_as_equal_tell_rows_apart_all_the_same(pair: Pair, kind: str, rows: str, where: str) -> None:
    pair.build(
        "CREATE TYPE spot AS (x int, y text); CREATE DOMAIN spots AS spot;"
        f"CREATE TABLE odd (v {kind}); ALTER TABLE odd REPLICA IDENTITY FULL"
    )
    pair.at_source(f"INSERT INTO odd VALUES {rows}", f"DELETE FROM odd WHERE {where}")
    pair.catch_up()
    pair.assert_equal()


def test_full_identity_uses_the_targets_key_when_there_is_one(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, big text, j json); ALTER TABLE t REPLICA IDENTITY FULL")
    pair.at_source("INSERT INTO t SELECT g, repeat('x', g), '{}' FROM generate_series(1, 20) g")
    pair.catch_up()
    pair.at_target("UPDATE t SET big = 'not the same' WHERE id = 7")
    pair.at_source("DELETE FROM t WHERE id = 7", "UPDATE t SET id = 99 WHERE id = 8")
    pair.catch_up()
    pair.assert_equal()


def test_an_index_as_identity_finds_rows(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (a int NOT NULL, b text NOT NULL, c text); CREATE UNIQUE INDEX u ON t (b, a);"
        " ALTER TABLE t REPLICA IDENTITY USING INDEX u"
    )
    pair.at_source(
        "INSERT INTO t SELECT g, 'b' || g, 'c' FROM generate_series(1, 9) g",
        "UPDATE t SET c = 'd' WHERE a = 3",
        "UPDATE t SET b = 'moved' WHERE a = 4",
        "DELETE FROM t WHERE a = 5",
    )
    pair.catch_up()
    pair.assert_equal()


def test_an_unchanged_toasted_value_is_kept(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (id int PRIMARY KEY, n int, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL;"
        "CREATE TABLE f (id int, n int, big text); ALTER TABLE f ALTER big SET STORAGE EXTERNAL;"
        " ALTER TABLE f REPLICA IDENTITY FULL"
    )
    pair.at_source(
        "INSERT INTO t SELECT g, g, repeat(md5(g::text), 400) FROM generate_series(1, 5) g; INSERT INTO f TABLE t",
        "UPDATE t SET n = n + 1 WHERE id < 3; UPDATE f SET n = n + 1 WHERE id < 3",
        "UPDATE t SET id = id + 10 WHERE id = 4; UPDATE f SET id = id + 10 WHERE id = 4",
        "UPDATE t SET id = id; DELETE FROM f WHERE id = 5",
    )
    pair.catch_up()
    pair.assert_equal()


def test_a_value_that_looks_like_a_marker_is_data(pair: Pair) -> None:
    pair.build(ORDERS)
    pair.at_source(
        "INSERT INTO orders VALUES (1, 'unchanged-toast-datum', 1), (2, 'null', 2), (3, '', 3), (4, E'\\\\N', 4)",
        "UPDATE orders SET what = what || ' '",
    )
    pair.catch_up()
    pair.assert_equal()


def test_generated_and_identity_columns_keep_the_sources_values(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int,"
        " twice int GENERATED ALWAYS AS (a * 2) STORED, d int GENERATED BY DEFAULT AS IDENTITY)"
    )
    pair.at_source(
        "INSERT INTO g (a) SELECT generate_series(1, 9)",
        "DELETE FROM g WHERE id = 2",
        "INSERT INTO g (id, a) OVERRIDING SYSTEM VALUE VALUES (2, 77)",
        "UPDATE g SET id = DEFAULT WHERE id = 3",
        "UPDATE g SET a = a + 1",
    )
    pair.catch_up()
    pair.assert_equal()


def test_rows_move_between_partitions(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE m (id int, day date, x text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
        "CREATE TABLE m1 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
        "CREATE TABLE m2 PARTITION OF m FOR VALUES FROM ('2024-02-01') TO ('2024-03-01') PARTITION BY LIST (id);"
        "CREATE TABLE m2a PARTITION OF m2 FOR VALUES IN (1, 2); CREATE TABLE m2b PARTITION OF m2 DEFAULT;"
        "CREATE TABLE mx PARTITION OF m DEFAULT"
    )
    pair.at_source(
        "INSERT INTO m SELECT g, '2024-01-05', 'x' FROM generate_series(1, 9) g",
        "UPDATE m SET day = '2024-02-07' WHERE id < 5",
        "UPDATE m SET day = '2025-02-07' WHERE id = 2",
        "TRUNCATE m2b",
    )
    pair.catch_up()
    pair.assert_equal()


def test_rows_whose_key_is_computed_are_found_by_their_other_columns(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (a int, b text, k int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY);"
        "ALTER TABLE t REPLICA IDENTITY FULL"
    )
    pair.at_source(
        "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 9) g",
        "UPDATE t SET b = NULL WHERE k = 4; UPDATE t SET a = a + 100 WHERE k = 6; DELETE FROM t WHERE k = 8",
        "DELETE FROM t WHERE b IS NULL",
    )
    pair.catch_up()
    pair.assert_equal()


def test_rows_written_to_a_partition_while_it_is_detached_arrive(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10); CREATE TABLE mx PARTITION OF m DEFAULT"
    )
    pair.at_source(
        "INSERT INTO m SELECT generate_series(1, 20)",
        "ALTER TABLE m DETACH PARTITION m1",
        "INSERT INTO m1 VALUES (0); DELETE FROM m1 WHERE id = 5",
        "ALTER TABLE m ATTACH PARTITION m1 FOR VALUES FROM (0) TO (10)",
        "DELETE FROM m WHERE id IN (6, 12)",
    )
    pair.catch_up()
    pair.assert_equal()


def test_a_parent_of_plain_inheritance_keeps_its_childs_rows_apart(pair: Pair) -> None:
    pair.build("CREATE TABLE p (id int PRIMARY KEY, x text); CREATE TABLE c (PRIMARY KEY (id)) INHERITS (p)")
    pair.at_source(
        "INSERT INTO p VALUES (1, 'p'); INSERT INTO c VALUES (1, 'c')",
        "UPDATE ONLY p SET x = 'q'",
        "DELETE FROM ONLY p",
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize(
    "name",
    [
        "100%s done",
        'quo"te',
        "line\nbreak",
        "back\\slash",
        "'; DROP TABLE x; --",
        "SELECT",
        "ü 表 🐘",
        "$1",
        "a.b",
        " ",
    ],
)
def test_hostile_names_are_only_names(pair: Pair, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    pair.build(
        f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} ({quoted} int PRIMARY KEY, v{quoted} text)".replace(
            f" v{quoted}", " v"
        )
    )
    table = f"{quoted}.{quoted}"
    pair.at_source(
        f"INSERT INTO {table} SELECT g, 'x' FROM generate_series(1, 5) g",
        f"UPDATE {table} SET v = 'y' WHERE {quoted} = 1",
        f"UPDATE {table} SET {quoted} = 9 WHERE {quoted} = 2",
        f"DELETE FROM {table} WHERE {quoted} = 3",
        f"INSERT INTO {table} VALUES (50)",
        f"TRUNCATE {table}",
        f"INSERT INTO {table} VALUES (51)",
    )
    pair.catch_up()
    pair.assert_equal()


def test_columns_are_matched_by_name(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (gone int, id int PRIMARY KEY, a text, b int); ALTER TABLE t DROP COLUMN gone",
        target="CREATE TABLE t (b int, a text, id int PRIMARY KEY)",
    )
    pair.at_source(
        "INSERT INTO t VALUES (1, 'x', 5), (2, 'y', 6)", "UPDATE t SET b = 7 WHERE id = 1", "DELETE FROM t WHERE id = 2"
    )
    pair.catch_up()
    pair.assert_equal()


def test_a_table_without_columns_takes_rows(pair: Pair) -> None:
    pair.build("CREATE TABLE empty (); ALTER TABLE empty REPLICA IDENTITY FULL")
    pair.at_source("INSERT INTO empty DEFAULT VALUES; INSERT INTO empty DEFAULT VALUES")
    pair.catch_up()
    assert pair.value("SELECT count(*) FROM empty", "target") == 2


def test_settings_of_the_source_role_do_not_change_values(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, d date, f float8, i interval, b bytea, z timestamptz, m money)")
    pair.at_source(
        f"ALTER DATABASE \"{pair.source_db}\" SET datestyle = 'SQL, DMY'",
        f'ALTER DATABASE "{pair.source_db}" SET extra_float_digits = -15',
        f"ALTER DATABASE \"{pair.source_db}\" SET intervalstyle = 'sql_standard'",
        f"ALTER DATABASE \"{pair.source_db}\" SET bytea_output = 'escape'",
    )
    pair.at_source("INSERT INTO t VALUES (1, '04/03/2024', 0.1 + 0.2, '-1 day 2 hours', '\\x00ff', now(), 12.5)")
    pair.catch_up()
    query = (
        "SELECT (d - '2024-01-01'::date)::text || (f = 0.1::float8 + 0.2) || extract(epoch FROM i)"
        " || encode(b, 'hex') || extract(epoch FROM z) FROM t"
    )
    assert pair.value(query, "target") == pair.value(query)


def test_a_setting_of_the_target_does_not_make_texts_of_nulls_in_arrays(pair: Pair) -> None:
    pair.build("CREATE TYPE mood AS ENUM ('NULL', 'ok'); CREATE TABLE t (id int PRIMARY KEY, m mood[])")
    pair.at_target(f'ALTER DATABASE "{pair.target_db}" SET array_nulls = off')
    pair.at_source("INSERT INTO t VALUES (1, '{\"NULL\", NULL, ok}')", "UPDATE t SET m = m || NULL::mood")
    pair.catch_up()
    pair.assert_equal()


def test_triggers_and_rules_of_the_target_keep_silent(pair: Pair) -> None:
    noisy = (
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE log (id int);"
        "CREATE FUNCTION noise() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN INSERT INTO public.log VALUES (NEW.id); RETURN NEW; END';"
        "CREATE TRIGGER o AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION noise();"
        "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION noise();"
        "ALTER TABLE t ENABLE ALWAYS TRIGGER a;"
        "CREATE TRIGGER r AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION noise();"
        "ALTER TABLE t ENABLE REPLICA TRIGGER r;"
        "CREATE RULE ru AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (NEW.id); ALTER TABLE t ENABLE ALWAYS RULE ru"
    )
    pair.build(noisy)
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    pair.assert_equal()


def test_many_tables_share_a_bounded_number_of_prepared_statements(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.prepared._MAX_PREPARED", 7)
    pair.build("; ".join(f"CREATE TABLE t{n} (id int PRIMARY KEY, v text)" for n in range(20)))
    pair.at_source(
        *(f"INSERT INTO t{n} SELECT g FROM generate_series(1, 3) g" for n in range(20)),
        *(f"UPDATE t{n} SET v = 'x'" for n in range(20)),
        *(f"DELETE FROM t{n} WHERE id = 2" for n in range(20)),
    )
    pair.catch_up()
    pair.assert_equal()
