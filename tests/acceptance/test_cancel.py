"""Cancel in any step leaves nothing of ours within 30 seconds, and Start again clears exactly what we made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.kit import Migration, Refused, World, ends_well
from tests.acceptance.places import Place, database_pair, nothing_of_ours, slow_copy, slow_structures
from tests.fakes import wait_until

CANCEL_SECONDS = 30
# A bit of everything that the ledger has to list: the clean-up must know each kind.
_SHOP = """
CREATE TYPE public.mood AS ENUM ('good', 'bad');
CREATE DOMAIN public.percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE public.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE, mood public.mood);
CREATE TABLE public.orders (id serial PRIMARY KEY, customer int REFERENCES public.customers, share public.percent);
CREATE TABLE public.notes (customer int, note text);
CREATE TABLE public.days (day date NOT NULL, n int) PARTITION BY RANGE (day);
CREATE TABLE public.days_old PARTITION OF public.days FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE public.days_new PARTITION OF public.days DEFAULT;
CREATE TABLE public.egg (id int PRIMARY KEY, hen int);
CREATE TABLE public.hen (id int PRIMARY KEY, egg int REFERENCES public.egg);
ALTER TABLE public.egg ADD FOREIGN KEY (hen) REFERENCES public.hen;
CREATE INDEX ON public.orders (customer) WHERE share > 50;
CREATE VIEW public.happy AS SELECT * FROM public.customers WHERE mood = 'good';
CREATE MATERIALIZED VIEW public.totals AS SELECT customer, count(*) FROM public.orders GROUP BY 1;
CREATE SEQUENCE public.alone START 7;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION public.touch();
ALTER TABLE public.orders ENABLE ALWAYS TRIGGER touch;
CREATE PROCEDURE public.nothing() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE public.sums (int) (SFUNC = int4pl, STYPE = int);
CREATE STATISTICS public.both ON id, customer FROM public.orders;
SELECT lo_from_bytea(0, 'a large object'), lo_from_bytea(0, 'another');
INSERT INTO public.customers (name, mood) SELECT 'c' || g, 'good' FROM generate_series(1, 200) g;
INSERT INTO public.orders (customer, share) SELECT 1 + g % 200, g % 100 FROM generate_series(1, 800) g;
INSERT INTO public.notes SELECT g % 9, 'n' FROM generate_series(1, 200) g;
INSERT INTO public.days SELECT date '2025-12-01' + g, g FROM generate_series(1, 60) g;
"""
_THEIRS = (
    "CREATE SCHEMA theirs",
    "CREATE TABLE theirs.precious (id int PRIMARY KEY, v text)",
    "INSERT INTO theirs.precious VALUES (1, 'mine')",
    "CREATE TABLE public.theirs_too (id int)",
    "CREATE FUNCTION public.theirs_as_well() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)
_ALL_OBJECTS = """
SELECT 'relation ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL SELECT 'type ' || t.oid::regtype FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND t.typtype IN ('e', 'd')
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL SELECT 'large object ' || oid FROM pg_largeobject_metadata
UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
"""


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    """A small database with one of everything, and a target database that holds things of somebody else."""
    with database_pair(world, _SHOP, make_target=True) as (source, target):
        target.run(*_THEIRS)
        yield source, target


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place]) -> Iterator[Migration]:
    made = Migration(world, *pair)
    yield made
    made.close()


def objects(place: Place) -> set[str]:
    """Return every object of the database, in words."""
    with place.connect() as connection:
        return {str(row[0]) for row in connection.execute(_ALL_OBJECTS.encode()).fetchall()}


def cancel(migration: Migration) -> None:
    """Press Cancel and assert that nothing of ours is left within the promised time."""
    began = time.monotonic()
    migration.press("cancel_task")
    migration.until("cancelled", seconds=CANCEL_SECONDS)
    nothing_of_ours(migration.source, migration.target)
    assert time.monotonic() - began < CANCEL_SECONDS
    assert migration.ledger("source") == []
    assert {kind for kind, _, _ in migration.ledger("target")} <= {"table", "object", "schema", "large_objects"}


def again(migration: Migration, theirs: set[str]) -> None:
    """Start again with a cleared target, and assert that only ours was dropped."""
    migration.press("start_again", clear_target=True)
    migration.until("check_passed")
    assert objects(migration.target) == theirs
    assert migration.target.value("SELECT v FROM theirs.precious") == "mine"
    assert migration.ledger("target") == []


def to_the_end(migration: Migration) -> None:
    """Run the task to its end, and assert that all is well without the things of somebody else."""
    migration.press("start_task")
    migration.complete()
    migration.target.run(
        "DROP SCHEMA theirs CASCADE", "DROP TABLE public.theirs_too", "DROP FUNCTION public.theirs_as_well()"
    )
    ends_well(migration)


@pytest.mark.long
@pytest.mark.parametrize("step", ["schema", "copy", "index"])
def test_a_task_cancelled_before_its_sync_can_start_again(migration: Migration, step: str) -> None:
    theirs = objects(migration.target)
    if step == "copy":
        with migration.source.connect() as connection:
            slow_copy(connection)
        migration.source.remember()
    migration.check()
    with slow_structures(migration.target):
        migration.press("start_task")
        migration.until_step(step)
        cancel(migration)
    again(migration, theirs)
    if step == "copy":
        to_the_end(migration)


@pytest.mark.long
@pytest.mark.sample(1)
@pytest.mark.parametrize("state", ["syncing", "paused", "failed"])
def test_a_task_cancelled_after_its_copy_can_start_again(migration: Migration, state: str) -> None:
    theirs = objects(migration.target)
    migration.start()
    migration.until("ready")
    migration.source.run("INSERT INTO public.notes VALUES (1, 'in sync')")
    wait_until(lambda: migration.target.value("SELECT count(*) FROM public.notes") == 201, 30, "the row arriving")
    if state == "paused":
        migration.press("pause_task")
        wait_until(lambda: not migration.column("worker"), 30, "the worker letting go")
    elif state == "failed":
        migration.target.run("DROP TABLE public.notes")
        migration.source.run("INSERT INTO public.notes VALUES (2, 'has no place')")
        migration.until("failed")
    cancel(migration)
    again(migration, theirs)
    if state == "failed":
        to_the_end(migration)


@contextlib.contextmanager
def holding(place: Place, statement: str) -> Iterator[None]:
    """Leave a transaction open that ran this statement, and roll it back at the end."""
    with place.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(statement.encode())
        yield


def held_up(place: Place) -> None:
    """Wait until a session of ours waits for the transaction that holds it up, and is not only about to."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^towpath' AND wait_event_type = 'Lock'"
        f" AND datname = '{place.name}'"
    )
    wait_until(lambda: place.value(waits) > 0, 60, "a session of ours waiting")


@pytest.mark.long
@pytest.mark.sample(1)
@pytest.mark.parametrize("asked", ["compare_task", "complete_task"])
def test_a_task_cancelled_in_its_comparison_can_start_again(migration: Migration, asked: str) -> None:
    theirs = objects(migration.target)
    migration.start()
    migration.until("ready")
    # A comparison makes a slot for the sake of its snapshot, and that waits for every open transaction that writes.
    with holding(migration.source, "SELECT pg_current_xact_id()"):
        migration.press(asked)
        held_up(migration.source)
        assert migration.step == ("sync" if asked == "compare_task" else "compare")
        assert migration.source.value("SELECT count(*) FROM pg_replication_slots WHERE temporary") > 0
        cancel(migration)
    again(migration, theirs)


_COMPLETE = {
    "sequences": "ALTER SEQUENCE public.orders_id_seq CACHE 2",
    "views": "ALTER MATERIALIZED VIEW public.totals SET (fillfactor = 90)",
}


@pytest.mark.long
@pytest.mark.sample(1)
@pytest.mark.parametrize("stage", _COMPLETE)
def test_a_task_cancelled_in_complete_can_start_again(migration: Migration, stage: str) -> None:
    theirs = objects(migration.target)
    migration.start()
    migration.until("ready")
    migration.source.run("SELECT nextval('public.orders_id_seq')")
    with holding(migration.target, _COMPLETE[stage]):
        migration.press("complete_task")
        migration.until_step("complete")
        held_up(migration.target)
        assert (migration.status, migration.step) == ("completing", "complete")
        cancel(migration)
    again(migration, theirs)
    to_the_end(migration)


@pytest.mark.long
def test_a_task_that_already_cleans_up_refuses_to_be_cancelled_and_ends_well(migration: Migration) -> None:
    migration.start()
    migration.until("ready")
    with holding(migration.target, "LOCK TABLE towpath.bookmark IN ACCESS SHARE MODE"):  # who drops it has to wait
        migration.press("complete_task")
        migration.until_step("cleanup")
        with pytest.raises(Refused, match="past the point where it can be cancelled"):
            migration.press("cancel_task")
    migration.until("completed")
    migration.target.run("DROP SCHEMA theirs CASCADE")
    migration.target.run("DROP TABLE public.theirs_too", "DROP FUNCTION public.theirs_as_well()")
    ends_well(migration)


@pytest.mark.long
def test_retry_of_a_task_that_could_not_open_its_target_goes_on_with_that(migration: Migration) -> None:
    migration.start()
    migration.until("ready")
    with holding(migration.target, _COMPLETE["views"]):
        migration.press("complete_task")
        held_up(migration.target)
        migration.target.run(
            "ALTER TABLE public.customers RENAME TO customers_away",
            "CREATE MATERIALIZED VIEW public.customers AS SELECT * FROM public.customers_away",
        )
    migration.until("failed")
    assert migration.step == "complete"
    migration.target.run(
        "DROP MATERIALIZED VIEW public.customers", "ALTER TABLE public.customers_away RENAME TO customers"
    )
    told = len(migration.events())
    migration.press("retry_task")
    migration.until("completed")
    assert "TASK-READY" not in [code for code, _ in migration.events()[told:]]
    migration.target.run("DROP SCHEMA theirs CASCADE", "DROP TABLE public.theirs_too")
    migration.target.run("DROP FUNCTION public.theirs_as_well()")
    ends_well(migration)


@pytest.mark.long
def test_the_objects_that_stay_on_the_target_are_listed(migration: Migration) -> None:
    theirs = objects(migration.target)
    migration.start()
    migration.until("ready")
    cancel(migration)
    listed = {name for _, _, name in migration.ledger("target")}
    ours = {name for name in objects(migration.target) - theirs if not name.startswith("large object")}
    assert len(ours) > 15
    missing = [name for name in ours if not any(part in name for part in listed)]
    assert missing == []
    assert any(kind == "large_objects" for kind, _, _ in migration.ledger("target"))


@pytest.mark.long
def test_without_clearing_the_check_says_what_is_in_the_way(migration: Migration) -> None:
    migration.start()
    migration.until("ready")
    cancel(migration)
    before = objects(migration.target)
    migration.press("start_again", clear_target=False)
    migration.until("check_failed")
    assert objects(migration.target) == before
    nothing_of_ours(migration.source, migration.target)


@pytest.mark.long
def test_an_object_that_others_built_on_ours_keeps_ours_alive(migration: Migration) -> None:
    migration.start()
    migration.until("ready")
    cancel(migration)
    migration.target.run("CREATE VIEW theirs.on_top AS SELECT count(*) AS n FROM public.customers")
    migration.press("start_again", clear_target=True)
    migration.until("check_failed")
    assert migration.target.value("SELECT n FROM theirs.on_top") == 200
    assert any(code == "TARGET-CLEARED" and "could not be dropped" in text for code, text in migration.events())


def test_a_task_cancelled_while_it_waits_for_its_turn_never_touches_a_server(
    world: World, migration: Migration
) -> None:
    migration.check()
    world.operator.do("from django.utils import timezone; from datetime import timedelta")
    world.operator.do(
        f"MigrationTask.objects.filter(pk={migration.id!r}).update(scheduled_at=timezone.now() + timedelta(hours=1))"
    )
    migration.press("start_task")
    assert migration.status == "scheduled"
    migration.press("cancel_task")
    assert migration.status == "cancelled"
    nothing_of_ours(migration.source, migration.target, seconds=0)


@pytest.mark.long
@pytest.mark.parametrize("by_itself", [False, True], ids=["pressed", "by itself"])
def test_a_source_that_is_away_is_named_and_cleaned_up_once_it_is_back(
    world: World, migration: Migration, by_itself: bool
) -> None:
    migration.start()
    migration.until("ready")
    migration.press("pause_task")
    wait_until(lambda: not migration.column("worker"), 30, "the worker letting go")
    port = migration.source.cluster.port
    # Port 1 refuses at once: to the product the server is away, and other tests can go on using it.
    world.operator.do(f"Endpoint.objects.filter(source_of={migration.id!r}).update(port=1)")
    migration.press("cancel_task")
    migration.until("cancelled", seconds=CANCEL_SECONDS)
    told = [text for code, text in migration.events() if code == "CANCEL-LEFT"]
    assert any("pg_drop_replication_slot" in text and "DROP PUBLICATION" in text for text in told), told
    assert {kind for kind, _, _ in migration.ledger("source")} >= {"slot", "publication"}
    with pytest.raises(Refused, match="still on its servers"):
        migration.press("delete_task", typed=None)
    migration.press("clean_up_task")
    migration.until("cancelled", seconds=CANCEL_SECONDS)
    assert {kind for kind, _, _ in migration.ledger("source")} >= {"slot", "publication"}, "it is still away"
    world.operator.do(f"Endpoint.objects.filter(source_of={migration.id!r}).update(port={port})")
    if by_itself:
        world.operator.do(f"MigrationTask.objects.filter(pk={migration.id!r}).update(not_before='2026-01-01T00:00Z')")
    else:
        migration.press("clean_up_task")
    wait_until(lambda: not migration.ledger("source"), CANCEL_SECONDS, "the clean-up")
    migration.until("cancelled", seconds=CANCEL_SECONDS)
    nothing_of_ours(migration.source, migration.target)
    migration.press("delete_task", typed=None)
