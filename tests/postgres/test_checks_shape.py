"""Check items about the shape of the selected tables, and about what the source takes from outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks.context import Context
from migrations_app.engine.checks.fixes import fix_of
from migrations_app.engine.names import quote
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.selection import Selection
from tests.postgres import shape_kit
from tests.postgres.checks_kit import check
from tests.postgres.shape_kit import Connection

# Fixtures that stand in the kit.
task = shape_kit.task
shop = shape_kit.shop
there = shape_kit.there
writer = shape_kit.writer


def only(task: Plan, *names: str) -> Plan:
    database = task.databases[0].source_name
    return replace(task, selection=Selection(rules={(database, "public", name): True for name in names}))


def test_a_deferrable_primary_key_is_a_warning_until_the_identity_is_full(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE t (i int PRIMARY KEY, u int UNIQUE DEFERRABLE)")
    found = check(task, "deferrable-keys").found
    assert "Kept as they are" in found
    assert "Do not write into the target" in found
    assert check(task, "deferrable-keys").status == "passed"
    shop.execute("CREATE TABLE d (i int PRIMARY KEY DEFERRABLE)")
    result = check(task, "deferrable-keys")
    assert result.status == "warning"
    assert check(only(task, "t"), "deferrable-keys").status == "passed"
    shop.execute(result.sql)
    assert check(task, "deferrable-keys").status == "passed"


def test_a_deferrable_primary_key_of_another_account_fails(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE d (i int PRIMARY KEY DEFERRABLE); GRANT SELECT ON d TO PUBLIC")
    shop.execute("CREATE ROLE shape_reader LOGIN PASSWORD 'x'")
    try:
        reader = replace(task, source=replace(task.source, user="shape_reader", password="x"))
        assert check(reader, "deferrable-keys").status == "failed"
    finally:
        shop.execute("DROP ROLE shape_reader")


def test_a_key_of_long_texts_is_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE t (a text PRIMARY KEY)")
    shop.execute("INSERT INTO t SELECT repeat(md5(i::text), 20) FROM generate_series(1, 9) i; ANALYZE t")
    result = check(task, "wide-keys")
    assert result.status == "warning"
    assert "public.t.a" in result.found
    shop.execute("TRUNCATE t; INSERT INTO t VALUES ('short'), ('key'); ANALYZE t")
    assert check(task, "wide-keys").status == "passed"


def test_names_that_differ_in_case_or_hold_control_characters_are_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute('CREATE TABLE thing (a int, b int); CREATE TABLE "other" (i int)')
    assert check(task, "odd-names").status == "passed"
    shop.execute('CREATE TABLE "Thing" ("A" int, a int); CREATE TABLE "tab\tbed" (i int)')
    result = check(task, "odd-names")
    assert result.status == "warning"
    assert "public.Thing.A and public.Thing.a differ only in case" in result.found
    assert "control characters" in result.found
    assert "\t" not in result.found
    assert check(only(task, "Thing", "thing"), "odd-names").status == "warning"
    assert check(only(task, "thing", "other"), "odd-names").status == "passed"


def test_a_child_without_its_parent_fails_and_a_parent_without_its_child_is_a_warning(
    shop: Connection, task: Plan
) -> None:
    shop.execute("CREATE TABLE parent (i int); CREATE TABLE child () INHERITS (parent)")
    assert check(task, "table-families").status == "passed"
    result = check(only(task, "child"), "table-families")
    assert (result.status, "public.parent (parent of public.child)" in result.found) == ("failed", True)
    assert check(only(task, "parent"), "table-families").status == "warning"


def test_partitions_below_partitions_pass_but_a_foreign_one_is_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE root (i int, j int) PARTITION BY LIST (i)")
    shop.execute("CREATE TABLE middle PARTITION OF root DEFAULT PARTITION BY LIST (j)")
    shop.execute("CREATE TABLE leaf PARTITION OF middle DEFAULT")
    assert "2 partitioned tables with 1 partition" in check(task, "table-families").found
    shop.execute("CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing")
    shop.execute("CREATE FOREIGN TABLE away PARTITION OF root FOR VALUES IN (1) SERVER far")
    assert "public.away is a foreign table" in check(task, "table-families").found


def test_a_foreign_table_as_parent_comes_along_whatever_is_selected(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing")
    shop.execute("CREATE FOREIGN TABLE away (i int) SERVER far; CREATE TABLE near () INHERITS (away)")
    assert check(task, "table-families").status == "passed"
    assert check(only(task, "near"), "table-families").status == "passed"


def test_rows_that_are_spread_by_the_hash_of_an_enum_fail(shop: Connection, task: Plan, source_db: str) -> None:
    shop.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN feeling AS mood")
    shop.execute("CREATE TABLE by_text (m text) PARTITION BY HASH (m)")
    assert check(task, "table-families").status == "passed"
    shop.execute("CREATE TABLE by_enum (i int, m feeling) PARTITION BY HASH (i, m)")
    shop.execute("CREATE TABLE by_enum_0 PARTITION OF by_enum FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    result = check(task, "table-families")
    assert (result.status, "1 partitioned table spread by the hash of an enum" in result.found) == ("failed", True)
    assert "public.by_enum" in result.found
    bare = replace(task.selection, rules={**task.selection.rules, (source_db, "public", "by_enum"): "structure"})
    assert check(replace(task, selection=bare), "table-families").status == "passed"


@pytest.mark.parametrize("key", ["mood[]", "feeling[]", "feelings", "state", "state[]", "moods"])
def test_rows_that_are_spread_by_the_hash_of_what_holds_enums_fail(shop: Connection, task: Plan, key: str) -> None:
    shop.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN feeling AS mood; CREATE DOMAIN feelings AS mood[]"
    )
    shop.execute("CREATE TYPE state AS (i int, m feelings); CREATE TYPE moods AS RANGE (subtype = mood)")
    shop.execute("CREATE TYPE other AS (i int, t text[]); CREATE TABLE by_text (m other) PARTITION BY HASH (m)")
    assert check(task, "table-families").status == "passed"
    shop.execute(f"CREATE TABLE by_enums (i int, m {key}) PARTITION BY HASH (m)".encode())
    shop.execute("CREATE TABLE by_enums_0 PARTITION OF by_enums FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    result = check(task, "table-families")
    assert (result.status, "public.by_enums" in result.found) == ("failed", True)


def test_materialized_views_are_a_warning(shop: Connection, task: Plan) -> None:
    assert check(task, "materialized-views").status == "passed"
    shop.execute("CREATE MATERIALIZED VIEW sums AS SELECT 1 AS one")
    result = check(task, "materialized-views")
    assert (result.status, "public.sums" in result.found) == ("warning", True)


def test_money_is_a_warning_unless_both_ends_show_it_alike(
    shop: Connection, there: Connection, task: Plan, source_db: str, target_db: str
) -> None:
    assert "no selected table" in check(task, "money-columns").found.lower()
    shop.execute("CREATE TABLE t (price money)")
    for connection, name in ((shop, source_db), (there, target_db)):
        connection.execute(f"ALTER DATABASE {quote(name)} SET lc_monetary = 'C'")
    assert check(task, "money-columns").status == "passed"
    there.execute(f"ALTER DATABASE {quote(target_db)} SET lc_monetary = 'POSIX'")
    result = check(task, "money-columns")
    assert result.status == "warning"
    assert "C on the source and POSIX on the target" in result.found
    there.execute(result.sql)
    assert check(task, "money-columns").status == "passed"


def test_money_is_compared_for_ordinary_accounts_too(shop: Connection, task: Plan, writer: Plan) -> None:
    shop.execute("CREATE TABLE t (price money)")
    source, target = (cluster_setting(task, side) for side in Side)
    result = check(writer, "money-columns")
    assert result.status == ("passed" if source == target else "warning")
    assert "unknown" not in result.found


def cluster_setting(task: Plan, side: Side) -> str:
    """The server's own lc_monetary."""
    with psycopg.connect(
        host="127.0.0.1",
        port=(task.source if side is Side.SOURCE else task.target).port,
        user="postgres",
        password=(task.source if side is Side.SOURCE else task.target).password,
        dbname="postgres",
    ) as connection:
        row = connection.execute("SHOW lc_monetary").fetchone()
    return str(row[0] if row else "")


def test_security_labels_are_a_warning(shop: Connection, task: Plan) -> None:
    assert check(task, "security-labels").status == "passed"
    shop.execute("CREATE TABLE t (i int)")
    shop.execute("INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'dummy', 'secret')")
    result = check(task, "security-labels")
    assert (result.status, "1 of dummy" in result.found) == ("warning", True)
    shop.execute("DELETE FROM pg_seclabel")


def test_an_older_extension_on_the_target_is_a_warning(shop: Connection, task: Plan) -> None:
    assert check(task, "extension-versions").status == "passed"
    shop.execute("CREATE EXTENSION vector")
    assert check(task, "extension-versions").status == "passed"
    shop.execute("UPDATE pg_extension SET extversion = '99.1' WHERE extname = 'vector'")
    result = check(task, "extension-versions")
    assert (result.status, "vector (99.1 on the source" in result.found) == ("warning", True)


def test_an_extension_that_the_vendor_does_not_allow_fails(
    shop: Connection, there: Connection, task: Plan, target_db: str
) -> None:
    shop.execute("CREATE EXTENSION vector")
    there.execute(f"ALTER DATABASE {quote(target_db)} SET azure.extensions = 'HSTORE,VECTOR'")
    assert check(task, "extension-versions").status == "passed"
    there.execute(f"ALTER DATABASE {quote(target_db)} SET azure.extensions = 'HSTORE'")
    assert check(task, "extension-versions").status == "failed"


def renamed(shop: Connection, name: str) -> None:
    """Make the database look as if it had an extension that is not installed here."""
    if shop.execute("SELECT 1 FROM pg_extension WHERE extname <> 'plpgsql'").fetchone() is None:
        shop.execute("CREATE EXTENSION vector")
    shop.execute("UPDATE pg_extension SET extname = %s WHERE extname <> 'plpgsql'", (name,))


def test_an_extension_that_must_be_preloaded_is_a_warning(shop: Connection, task: Plan) -> None:
    renamed(shop, "vector")
    assert check(task, "extension-preload").status == "passed"
    renamed(shop, "pg_stat_statements")
    result = check(task, "extension-preload")
    assert (result.status, result.needs_restart) == ("warning", True)
    assert result.sql == "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';"


def preloading(words: str) -> Any:
    """Let the target say that this is its list of preloaded libraries."""
    one = Context.one

    def told(self: Context, side: Side, text: str, *more: Any, **options: Any) -> Any:
        return words if "shared_preload_libraries" in text else one(self, side, text, *more, **options)

    return told


def test_what_the_target_preloads_already_stays(shop: Connection, task: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed(shop, "pg_stat_statements")
    monkeypatch.setattr(Context, "one", preloading('auto_explain, "$libdir/pgaudit"'))
    sql = "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', '$libdir/pgaudit', 'pg_stat_statements';"
    assert check(task, "extension-preload").sql == sql
    renamed(shop, "pgaudit")
    assert check(task, "extension-preload").status == "passed"


def test_a_list_of_libraries_that_the_account_may_not_see_is_not_written_anew(
    shop: Connection, there: Connection, task: Plan, writer: Plan
) -> None:
    renamed(shop, "pg_stat_statements")
    result = check(writer, "extension-preload")
    assert result.status == "warning"
    assert "may not see what it preloads" in result.found
    assert "ALTER SYSTEM" not in result.sql
    there.execute(result.sql)
    assert "does not preload" in check(writer, "extension-preload").found


def test_extensions_with_data_of_their_own_are_told_apart(shop: Connection, task: Plan) -> None:
    renamed(shop, "vector")
    assert check(task, "extension-data").status == "passed"
    shop.execute("CREATE TABLE settings (i int); ALTER EXTENSION vector ADD TABLE settings")
    shop.execute("UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid], extcondition = '{\"\"}'")
    assert "settings (of vector)" in check(task, "extension-data").found
    assert check(task, "extension-data").status == "passed"  # its rows come along with the whole database
    renamed(shop, "pg_partman")
    assert check(task, "extension-data").status == "warning"
    renamed(shop, "timescaledb")
    result = check(task, "extension-data")
    assert (result.status, "hypertables" in result.hint) == ("failed", True)


def test_a_language_that_the_target_cannot_get_fails_and_an_untrusted_one_is_a_warning(
    shop: Connection, task: Plan, writer: Plan
) -> None:
    assert check(task, "languages").status == "passed"
    shop.execute("CREATE TRUSTED LANGUAGE mine HANDLER plpgsql_call_handler")
    assert check(task, "languages").status == "passed"
    assert check(writer, "languages").status == "failed"
    shop.execute("CREATE LANGUAGE wild HANDLER plpgsql_call_handler")
    result = check(task, "languages")
    assert (result.status, "wild (0 functions)" in result.found) == ("warning", True)


def test_a_language_that_no_extension_brings_is_looked_for_where_it_is_needed(
    shop: Connection, there: Connection, target_cluster: Cluster, writer: Plan
) -> None:
    shop.execute("CREATE TRUSTED LANGUAGE mine HANDLER plpgsql_call_handler")
    with target_cluster.connect() as elsewhere:
        try:
            elsewhere.execute("CREATE TRUSTED LANGUAGE mine HANDLER plpgsql_call_handler")
            result = check(writer, "languages")
            assert (result.status, result.sql) == ("failed", "")
            assert "superuser" in result.hint
        finally:
            elsewhere.execute("DROP LANGUAGE mine")
    there.execute("CREATE TRUSTED LANGUAGE mine HANDLER plpgsql_call_handler")
    assert check(writer, "languages").status == "passed"


def test_rows_that_are_spread_by_the_hash_of_an_expression_fail_where_it_gives_enums(
    shop: Connection, task: Plan
) -> None:
    shop.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE state AS (i int, m mood)")
    shop.execute("CREATE TABLE fine (i int, m mood[]) PARTITION BY HASH (cardinality(m), (i + 1), ('a, b' || i))")
    assert check(task, "table-families").status == "passed"
    shop.execute("CREATE TABLE arrays (i int, m mood[]) PARTITION BY HASH ((i + 1), i, (m || m))")
    shop.execute("CREATE TABLE rows (i int, m mood) PARTITION BY HASH ((ROW(i, m)::state))")
    result = check(task, "table-families")
    assert result.status == "failed"
    assert result.found.endswith("public.arrays, public.rows.")


@pytest.mark.parametrize(
    "grant",
    [
        "SELECT (i) ON TABLE bare",
        "USAGE ON TYPE feeling",
        "USAGE ON FOREIGN DATA WRAPPER far",
        "USAGE ON FOREIGN SERVER branch",
        "SELECT ON LARGE OBJECT 4711",
    ],
)
def test_a_role_that_one_grant_alone_names_is_a_warning(shop: Connection, task: Plan, grant: str) -> None:
    shop.execute(
        "CREATE TABLE bare (i int); CREATE TYPE feeling AS ENUM ('ok'); CREATE FOREIGN DATA WRAPPER far;"
        " CREATE SERVER branch FOREIGN DATA WRAPPER far; SELECT lo_create(4711); CREATE ROLE shape_reader"
    )
    assert check(task, "named-roles").status == "passed"
    shop.execute(f"GRANT {grant} TO shape_reader".encode())
    try:
        result = check(task, "named-roles")
        assert (result.status, "shape_reader" in result.found) == ("warning", True)
    finally:
        shop.execute(f"REVOKE {grant} FROM shape_reader; DROP ROLE shape_reader".encode())


def test_roles_that_the_target_lacks_are_a_warning_and_fail_for_policies(
    shop: Connection, there: Connection, task: Plan
) -> None:
    shop.execute("CREATE TABLE t (i int)")
    assert check(task, "named-roles").status == "passed"
    shop.execute("CREATE ROLE shape_clerk; GRANT SELECT ON t TO shape_clerk")
    try:
        assert check(task, "named-roles").status == "warning"
        shop.execute("CREATE POLICY p ON t TO shape_clerk USING (true)")
        result = check(task, "named-roles")
        assert result.status == "failed"
        assert "Roles on the objects step" in result.hint
        fix = fix_of(result.fix, result.fix_arguments)
        assert [one.sql for one in fix.statements] == [result.sql]
        there.execute(result.sql)
        assert check(task, "named-roles").status == "passed"
    finally:
        there.execute("DROP ROLE IF EXISTS shape_clerk")
        shop.execute("DROP TABLE t; DROP ROLE shape_clerk")


def test_changed_rights_on_system_objects_are_a_warning(shop: Connection, task: Plan) -> None:
    assert check(task, "system-grants").status == "passed"
    shop.execute("GRANT SELECT ON pg_catalog.pg_authid TO PUBLIC")
    shop.execute("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC")
    result = check(task, "system-grants")
    assert result.status == "warning"
    assert "pg_sleep(double precision)" in result.found
    assert "pg_authid" in result.found


def test_foreign_servers_are_a_warning(shop: Connection, task: Plan) -> None:
    assert check(task, "foreign-servers").status == "passed"
    shop.execute("CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing")
    shop.execute("CREATE USER MAPPING FOR PUBLIC SERVER far")
    result = check(task, "foreign-servers")
    assert (result.status, "with 1 user mapping: far (nothing)" in result.found) == ("warning", True)
