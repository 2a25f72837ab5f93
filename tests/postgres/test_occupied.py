"""What stands on the target already is refused, kept, emptied or made anew, as chosen; nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import checks
from migrations_app.engine.checks import CheckResult, CheckStatus
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.states import StepName
from migrations_app.engine.target_objects import drop_made
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.occupied_kit import choose, migrate

SHOP = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i * 2';
CREATE TABLE a (id int PRIMARY KEY, b int, m mood DEFAULT 'ok');
CREATE TABLE b (id serial PRIMARY KEY, a int REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;
CREATE TABLE part (id int NOT NULL, d date NOT NULL) PARTITION BY RANGE (d);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE INDEX by_b ON a (b);
CREATE VIEW v AS SELECT id, twice(b) AS t FROM a;
"""
ROWS = """
INSERT INTO a (id) SELECT generate_series(1, 50); INSERT INTO b (a) SELECT generate_series(1, 40);
UPDATE a SET b = id WHERE id < 30; INSERT INTO part SELECT i, '2020-03-01'::date + i FROM generate_series(1, 60) i;
"""
OTHERS = "CREATE TABLE theirs (id int); INSERT INTO theirs VALUES (7);"


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute((SHOP + ROWS).encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


def there(cluster: Cluster, plan: Plan, text: str) -> None:
    with cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute(text.encode())


def same(source: Cluster, target: Cluster, plan: Plan) -> list[str]:
    (database,) = plan.databases
    with source.connect(database.source_name) as one, target.connect(database.target_name) as other:
        found = differences(one, other)
        assert other.execute("SELECT id FROM public.theirs").fetchall() == [(7,)]
    return [text for text in found if "theirs" not in text]


def look(plan: Plan) -> CheckResult:
    only = frozenset({"target-conflicts"})
    (result,) = checks.run_checks(plan, FakeControl(), report=lambda result: None, only=only)
    return result


@pytest.mark.parametrize("incremental", [False, True])
def test_tables_with_rows_are_emptied_and_loaded(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    there(target_cluster, plan, SHOP + "INSERT INTO a (id) VALUES (999); INSERT INTO b (a) VALUES (999);" + OTHERS)
    there(target_cluster, plan, "DROP INDEX by_b; DROP VIEW v")
    chosen = replace(choose(plan, "truncate"), incremental=incremental)
    result = look(chosen)
    assert result.status is CheckStatus.WARNING
    assert "2 tables with rows will be emptied: public.a, public.b." in result.found
    store = migrate(chosen)
    assert same(source_cluster, target_cluster, plan) == []  # what was missing was added as well
    assert "DST-EMPTIED" in {code for _, code, _ in store.events}


class Died(Exception):
    """Stands for a worker that is killed."""


def test_a_run_that_died_before_it_emptied_them_is_followed_by_one_that_does(
    plan: Plan, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(target_cluster, plan, SHOP + "INSERT INTO a (id) VALUES (999); DROP VIEW v")
    chosen, ports = choose(plan, "truncate"), fake_ports()
    real = ports.ledger.intend

    def dying(*items: LedgerItem) -> None:
        real(*items)
        if any(item.kind is Kind.ADOPTED for item in items):
            raise Died

    with monkeypatch.context() as patched, Executor(chosen, ports) as executor:
        patched.setattr(ports.ledger, "intend", dying)
        with pytest.raises(Died):
            executor.run(StepName.SCHEMA)
    with Executor(replace(chosen, epoch=2), ports) as executor:
        assert executor.run(StepName.SCHEMA).done
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,)
    assert "DST-EMPTIED" in {code for _, code, _ in cast(FakeStore, ports.store).events}


def test_objects_are_dropped_and_made_anew(plan: Plan, source_cluster: Cluster, target_cluster: Cluster) -> None:
    other = SHOP.replace("b int, m mood", "b int, old text, m mood").replace("i * 2", "i * 3")
    there(target_cluster, plan, other + "INSERT INTO a (id) VALUES (999);" + OTHERS)
    result = look(choose(plan, "recreate"))
    assert result.status is CheckStatus.WARNING
    assert "will be dropped and made anew" in result.found
    assert 'DROP TABLE "public"."a";' in result.sql
    store = migrate(choose(plan, "recreate"))
    assert same(source_cluster, target_cluster, plan) == []
    assert "DST-DROPPED" in {code for _, code, _ in store.events}


def test_empty_tables_are_kept_with_what_they_have_and_filled(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    there(target_cluster, plan, SHOP + "CREATE INDEX mine ON a (m); COMMENT ON TABLE a IS 'mine';" + OTHERS)
    assert look(choose(plan, "keep")).status is CheckStatus.WARNING
    store = migrate(choose(plan, "keep"))
    found = same(source_cluster, target_cluster, plan)
    assert sorted(found) == ["comment table public.a: only on the target", "index public.mine: only on the target"]
    notes = [note.what for notes in store.notes.values() for note in notes]
    assert notes == ["comment: none on the source, mine on the target"]


OWN_TYPE = """
CREATE TYPE own;
CREATE FUNCTION own_in(cstring) RETURNS own LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION own_out(own) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE own (INPUT = own_in, OUTPUT = own_out, LIKE = integer); CREATE TABLE of_own (o own, n int);
"""


@pytest.mark.parametrize("policy", ["truncate", "recreate"])
def test_a_base_type_of_ones_own_may_be_there(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, policy: str
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute((OWN_TYPE + "INSERT INTO of_own VALUES ('7', 1)").encode())
    there(target_cluster, plan, OWN_TYPE + OTHERS)
    migrate(choose(plan, policy))
    assert same(source_cluster, target_cluster, plan) == []


def test_an_index_of_a_table_that_is_kept_stays_what_it_is(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, SHOP + "DROP INDEX by_b; CREATE INDEX by_b ON a (b) INCLUDE (m)")
    store = migrate(choose(plan, "keep"))
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        definition = connection.execute("SELECT pg_get_indexdef('by_b'::regclass)").fetchone()
    assert definition == ("CREATE INDEX by_b ON public.a USING btree (b) INCLUDE (m)",)
    notes = [note for notes in store.notes.values() for note in notes]
    assert [(note.title, note.what.partition(":")[0]) for note in notes] == [("index by_b on public.a", "definition")]


def test_rows_that_are_to_be_kept_are_not_touched(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, SHOP + "INSERT INTO a (id) VALUES (999);" + OTHERS)
    result = look(choose(plan, "keep"))
    assert result.status is CheckStatus.FAILED
    assert "public.a" in result.found
    with Executor(choose(plan, "keep"), fake_ports()) as executor, pytest.raises(ConflictError, match="to be kept"):
        executor.run(StepName.SCHEMA)
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT id FROM a").fetchall() == [(999,)]


@pytest.mark.parametrize(
    ("policy", "theirs"),
    [
        ("truncate", "CREATE TABLE theirs_too (a int REFERENCES a)"),
        ("recreate", "CREATE VIEW theirs_too AS SELECT * FROM a"),
    ],
)
def test_nothing_is_changed_when_something_of_others_depends_on_it(
    plan: Plan, target_cluster: Cluster, policy: str, theirs: str
) -> None:
    there(target_cluster, plan, SHOP + "INSERT INTO a (id) VALUES (999);" + theirs)
    ports = fake_ports()
    with Executor(choose(plan, policy), ports) as executor, pytest.raises(ConflictError) as caught:
        executor.run(StepName.SCHEMA)
    assert "theirs_too" in caught.value.message
    assert "Nothing was changed" in caught.value.hint
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT id FROM a").fetchall() == [(999,)]
        assert connection.execute("SELECT count(*) FROM v").fetchone() == (1,)
    assert [item for item in ports.ledger.items() if item.kind not in (Kind.FILE,)] == []


def test_without_a_choice_everything_is_refused(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, SHOP)
    result = look(plan)
    assert result.status is CheckStatus.FAILED
    assert "kept, emptied or made anew" in result.hint
    with Executor(plan, fake_ports()) as executor, pytest.raises(ConflictError, match="already has"):
        executor.run(StepName.SCHEMA)


def test_tables_with_other_columns_cannot_take_the_rows(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, SHOP.replace("m mood DEFAULT 'ok'", "m text"))
    result = look(choose(plan, "truncate"))
    assert result.status is CheckStatus.FAILED
    assert "public.a (m is text instead of public.mood)" in result.found


def test_columns_that_only_one_side_has_are_named_up_to_a_few(plan: Plan, target_cluster: Cluster) -> None:
    more = ", ".join(f"extra{number} int" for number in range(7))
    there(target_cluster, plan, SHOP.replace("m mood DEFAULT 'ok'", more))
    found = look(choose(plan, "truncate")).found
    assert "public.a (without m public.mood; with extra0 integer, extra1 integer" in found
    assert "extra4 integer and 2 more)" in found


def test_what_is_kept_keeps_its_grants_and_comments(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    watch = (
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER watching ON sql_drop EXECUTE FUNCTION watch();"
    )
    said = (
        "COMMENT ON TABLE a IS '{0}'; COMMENT ON COLUMN a.id IS '{0}'; COMMENT ON FUNCTION twice(int) IS '{0}';"
        "COMMENT ON EVENT TRIGGER watching IS '{0}'; {1} ALL ON a, b {2} PUBLIC;"
    )
    with source_cluster.connect(database.source_name) as source:
        source.execute((watch + said.format("ours", "GRANT", "TO")).encode())
    there(target_cluster, plan, SHOP + OTHERS + watch + said.format("theirs", "REVOKE", "FROM"))
    ports = fake_ports()
    with Executor(choose(plan, "keep"), ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
    assert [one for one in ports.ledger.items() if one.name == "watching"] == []
    with target_cluster.connect(database.target_name) as connection:
        comments = "SELECT description FROM pg_description WHERE objoid >= 16384 AND description IN ('ours', 'theirs')"
        assert connection.execute(comments.encode()).fetchall() == [("theirs",)] * 4
        assert connection.execute("SELECT relacl FROM pg_class WHERE relname = 'a'").fetchone() != (None,)
        granted = "SELECT count(*) FROM pg_class c, aclexplode(relacl) g WHERE relname IN ('a', 'b') AND grantee = 0"
        assert connection.execute(granted).fetchone() == (0,)


CIRCLES = """
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); INSERT INTO t (v) VALUES ('a'), ('b');
CREATE FUNCTION whole(t) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1.v || $1.id';
CREATE INDEX by_whole ON t (whole(t));
CREATE FUNCTION sound(t) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.id > 0'; ALTER TABLE t ADD CHECK (sound(t));
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'DECLARE one t; BEGIN RETURN NEW; END';
CREATE TRIGGER tells BEFORE UPDATE ON t FOR EACH ROW WHEN (sound(NEW)) EXECUTE FUNCTION told();
CREATE TABLE tree (id int, k int, up int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES IN (1); CREATE TABLE tree_2 PARTITION OF tree FOR VALUES IN (2);
ALTER TABLE tree ADD FOREIGN KEY (up, k) REFERENCES tree; INSERT INTO tree VALUES (1, 1, NULL), (2, 1, 1), (1, 2, 1);
CREATE MATERIALIZED VIEW m AS SELECT id, v, count(*) AS n FROM t GROUP BY id; CREATE INDEX m_i ON m (n);
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watching ON sql_drop EXECUTE FUNCTION watch();
"""


@pytest.mark.parametrize("policy", ["keep", "truncate", "recreate"])
def test_what_needs_each_other_in_circles_is_used_emptied_and_made_anew(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, policy: str
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute(CIRCLES.encode())
    there(target_cluster, plan, OTHERS + CIRCLES)
    if policy == "keep":
        there(target_cluster, plan, "TRUNCATE t, tree")
    assert look(choose(plan, policy)).status is CheckStatus.WARNING
    migrate(choose(plan, policy))
    assert same(source_cluster, target_cluster, plan) == []


NAMESAKES = """
CREATE OPERATOR <~> (LEFTARG = {one}, RIGHTARG = {one}, FUNCTION = {one}eq);
CREATE OPERATOR <~> (LEFTARG = {one}, RIGHTARG = {other}, FUNCTION = {mixed});
CREATE OPERATOR FAMILY fam USING {method}; CREATE OPERATOR CLASS cls FOR TYPE {one} USING hash FAMILY {family}
  AS OPERATOR 1 =, FUNCTION 1 {hash}({one});
"""


def test_what_shares_its_name_with_something_else_of_its_kind_is_made_beside_it(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    ours = NAMESAKES.format(one="int4", other="int8", mixed="int48eq", method="hash", family="fam", hash="hashint4")
    theirs = NAMESAKES.format(one="int8", other="int2", mixed="int82eq", method="btree", family="oth", hash="hashint8")
    theirs = theirs.replace("CREATE OPERATOR CLASS", "CREATE OPERATOR FAMILY oth USING hash; CREATE OPERATOR CLASS")
    with source_cluster.connect(database.source_name) as source:
        source.execute(ours.encode())
    there(target_cluster, plan, OTHERS + theirs.replace("cls", "cls_2"))
    ports = fake_ports()
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
    found = (
        "SELECT oprleft::regtype::text, oprright::regtype::text FROM pg_operator WHERE oprname = '<~>' ORDER BY 1, 2"
    )
    families = "SELECT a.amname FROM pg_opfamily f JOIN pg_am a ON a.oid = opfmethod WHERE opfname = 'fam' ORDER BY 1"
    with target_cluster.connect(database.target_name) as connection:
        theirs_only = [("bigint", "bigint"), ("bigint", "smallint")]
        assert connection.execute(found).fetchall() == [*theirs_only, ("integer", "bigint"), ("integer", "integer")]
        assert connection.execute(families).fetchall() == [("btree",), ("hash",)]
        with running(replace(plan, epoch=2), ports) as run:
            assert drop_made(run, database.target_name) == []
        assert connection.execute(found).fetchall() == theirs_only
        assert connection.execute(families).fetchall() == [("btree",)]


def test_a_cast_and_a_mapping_that_were_there_before_stay_with_their_owners(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    text = (
        "CREATE TYPE named AS ENUM ('a'); CREATE CAST (named AS int) WITH INOUT; CREATE FOREIGN DATA WRAPPER no;"
        "CREATE SERVER far FOREIGN DATA WRAPPER no; CREATE USER MAPPING FOR PUBLIC SERVER far;"
        "CREATE FUNCTION turn(internal) RETURNS internal LANGUAGE internal IMMUTABLE STRICT AS 'int4recv';"
        "CREATE TRANSFORM FOR named LANGUAGE plpgsql (FROM SQL WITH FUNCTION turn(internal));"
    )
    with source_cluster.connect(database.source_name) as source:
        source.execute(text.encode())
    there(target_cluster, plan, OTHERS + text)
    ports = fake_ports()
    with Executor(choose(plan, "keep"), ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
    events = cast(FakeStore, ports.store).events
    assert "SCHEMA-REFUSED" not in {code for _, code, _ in events}
    with running(replace(plan, epoch=2), ports) as run:
        assert drop_made(run, database.target_name) == []
    with target_cluster.connect(database.target_name) as connection:
        for catalog in ("pg_cast", "pg_transform", "pg_user_mapping"):
            asked = f"SELECT count(*) FROM {catalog} WHERE oid >= 16384"
            assert connection.execute(asked.encode()).fetchone() == (1,)


@pytest.mark.parametrize("policy", ["keep", "truncate", "recreate"])
def test_no_choice_makes_room_where_something_else_has_the_name(
    plan: Plan, target_cluster: Cluster, policy: str
) -> None:
    there(target_cluster, plan, OTHERS + "CREATE VIEW a AS SELECT 1 AS id; CREATE INDEX by_b ON theirs (id)")
    result = look(choose(plan, policy))
    assert result.status is CheckStatus.FAILED
    assert "2 objects" in result.found
    assert "view public.a (table on the source)" in result.found
    assert "index public.by_b (index on the source)" in result.found
    there(target_cluster, plan, result.sql)
    assert look(choose(plan, policy)).status is CheckStatus.PASSED


def test_cancel_never_drops_what_was_there_before(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, SHOP + OTHERS)
    ports = fake_ports()
    with Executor(choose(plan, "truncate"), ports) as executor:
        executor.run(StepName.SCHEMA)
        executor.run(StepName.COPY)
        executor.cancelled()
        assert executor.clear_target() == []
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT count(*) FROM a, theirs").fetchone() == (50,)
    assert ports.ledger.items() == []


LOOSE = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE keyed (id int REFERENCES p); CREATE TABLE loose (id int);"


def test_tables_that_a_key_which_is_not_enforced_leads_to_are_emptied_and_loaded(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute((LOOSE + "INSERT INTO p VALUES (1); INSERT INTO keyed VALUES (1)").encode())
    there(target_cluster, plan, LOOSE + "ALTER TABLE loose ADD FOREIGN KEY (id) REFERENCES p NOT ENFORCED")
    there(target_cluster, plan, "INSERT INTO p VALUES (9); INSERT INTO loose VALUES (9);" + OTHERS)
    migrate(choose(plan, "truncate"))
    found = same(source_cluster, target_cluster, plan)
    assert [text.partition(":")[2] for text in found] == [" only on the target"]
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'loose'::regclass"
        assert connection.execute(triggers).fetchone() == (0,)


def test_nothing_is_changed_when_a_key_of_others_is_not_enforced(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, SHOP + "INSERT INTO a (id) VALUES (999);")
    there(target_cluster, plan, "CREATE TABLE theirs_too (a int REFERENCES a NOT ENFORCED)")
    with Executor(choose(plan, "truncate"), fake_ports()) as executor, pytest.raises(ConflictError, match="theirs_too"):
        executor.run(StepName.SCHEMA)
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT id FROM a").fetchall() == [(999,)]
