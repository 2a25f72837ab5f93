"""The check runs again by itself: before a started task makes anything, and before Complete; a fix mends an item."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.kit import Migration, World, ends_well
from tests.acceptance.places import Place, database_pair
from tests.fakes import wait_until

MOVER = "check_again_mover"
_SHOP = """
CREATE TABLE public.orders (id int PRIMARY KEY, note text);
CREATE TABLE public.log (line text);
INSERT INTO public.orders SELECT g, 'n' FROM generate_series(1, 50) g;
"""
_MOVER = (
    f"CREATE ROLE {MOVER} LOGIN REPLICATION PASSWORD 'moves'",
    "CREATE ROLE check_again_owner",
    f"GRANT check_again_owner TO {MOVER}",
    "ALTER TABLE public.orders OWNER TO check_again_owner",
    "ALTER TABLE public.log OWNER TO check_again_owner",
)
_ACCOUNT = """
task = MigrationTask.objects.get(pk={id!r})
task.source.account, task.source.password = {mover!r}, "moves"
task.source.save()
"""
_FIX = """
item = CheckItem.objects.get(task_id={id!r}, code="table-keys")
services.request_fix(task_id={id!r}, item_id=item.pk, actor=None, mark=services.fix_for(item).mark)
"""
_OLD = """
from datetime import timedelta
from django.utils import timezone
long_ago = timezone.now() - timedelta(hours=1)
MigrationTask.objects.filter(pk={id!r}).update(checked_at=long_ago)
"""


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    """A shop whose tables belong to a role that the migration's account is a member of."""
    with database_pair(world, _SHOP, make_target=True) as (source, target):
        source.run(*_MOVER, f"GRANT CREATE ON DATABASE {source.name} TO {MOVER}")
        yield source, target
        source.run(f"DROP OWNED BY {MOVER}, check_again_owner", f"DROP ROLE {MOVER}, check_again_owner")


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place]) -> Iterator[Migration]:
    made = Migration(world, *pair)
    world.operator.do(_ACCOUNT.format(id=made.id, mover=MOVER))
    yield made
    made.close()


def codes(migration: Migration) -> list[str]:
    return [code for code, _ in migration.events()]


@pytest.mark.long
def test_what_changed_since_the_check_stops_the_start_and_a_right_that_is_gone_refuses_complete(
    migration: Migration,
) -> None:
    operator, source, target = migration.world.operator, migration.source, migration.target
    migration.check()

    # The Fix button: the item is looked at again, and passes.
    operator.do(_FIX.format(id=migration.id))
    wait_until(lambda: codes(migration).count("CHECK-PASSED") == 2, 60, "the item to be checked again after its fix")
    assert "FIX-DONE" in codes(migration)
    assert source.value("SELECT relreplident FROM pg_class WHERE relname = 'log'") == "f"
    source.remember()

    # The start of an old check looks again first, and says what is new.
    target.run("CREATE TABLE public.orders (theirs int)")
    operator.do(_OLD.format(id=migration.id))
    migration.press("start_task")
    migration.until("check_failed")
    assert "Passed, now Failed" in migration.column("error_message")
    assert "public.orders" in migration.column("error_message")
    assert migration.ledger("source") == migration.ledger("target") == []
    target.run("DROP TABLE public.orders")
    migration.check()
    operator.do(_OLD.format(id=migration.id))
    migration.press("start_task")
    migration.until("ready")
    assert "CHECK-AGAIN" in codes(migration)

    # Complete looks at what it needs; when something is missing the sync goes on.
    source.run("REVOKE SELECT ON public.orders FROM check_again_owner")
    migration.press("complete_task")
    wait_until(lambda: "CHECK-COMPLETE" in codes(migration), 60, "Complete to be refused")
    source.run("INSERT INTO public.orders VALUES (51, 'while it goes on')")
    wait_until(lambda: target.value("SELECT count(*) FROM public.orders") == 51, 60, "the sync to go on")
    assert migration.status in ("ready", "running")
    source.run("GRANT SELECT ON public.orders TO check_again_owner")
    migration.complete()
    ends_well(migration)
