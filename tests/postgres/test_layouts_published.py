"""The publication has to bring every partition of a table that has others on the target, all the time."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pytest

from migrations_app.engine.errors import SourceError
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports, TableState, TableStatus
from migrations_app.engine.replication.polling import Poll
from migrations_app.engine.replication.spooled import open_session
from tests.fakes import FakeStore
from tests.postgres import complete_kit, layouts_kit, test_layouts_synced
from tests.postgres.compare_kit import running
from tests.postgres.layouts_kit import ONE_TABLE, complete, copy, replace, rows, run
from tests.postgres.test_layouts_synced import NEW, catch_up, copied_again

# Fixtures that stand elsewhere.
ports = layouts_kit.ports
source = complete_kit.source
target = complete_kit.target
plan = test_layouts_synced.plan

Session = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def copied(plan: Plan, ports: Ports, source: Session, target: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    run(target, ONE_TABLE)
    copy(plan, ports)
    catch_up(plan, ports, source)


def edit(plan: Plan, ports: Ports, source: Session, *statements: str) -> None:
    name = ports.store.database(plan.databases[0].source_name).publication
    run(source, *(one.replace("$p", f'"{name}"') for one in statements))


def look(plan: Plan, ports: Ports) -> None:
    """Look as a running sync does from beside the stream."""
    with running(plan, ports) as run, open_session(run, plan.databases[0]) as session:
        Poll(run, plan.databases[0], session.watch).look(ports.store.database(plan.databases[0].source_name), now=True)


def sales(ports: Ports) -> TableState:
    states = cast(FakeStore, ports.store).table_rows.values()
    assert {one.name for one in states} == {"sales", "items", "plain"}  # no partition became a table of the task
    return next(one for one in states if one.name == "sales")


def whole_again(plan: Plan, ports: Ports, source: Session, target: Session) -> bool:
    later = copied_again(plan, ports)
    run(source, "UPDATE sales SET what = 'last'")
    complete(later, ports)
    return rows(target, "sales") == rows(source, "sales")


@pytest.mark.long
def test_a_partition_that_is_missing_is_told_by_its_name(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    edit(plan, ports, source, "ALTER PUBLICATION $p DROP TABLE ONLY sales, ONLY sales_22")
    with pytest.raises(SourceError, match=r"Missing: public\.sales_22\.") as caught:
        catch_up(plan, ports, source)
    statements = caught.value.hint.partition("Run on the source: ")[2].partition(". Then")[0]
    assert statements.endswith('ADD TABLE ONLY "public"."sales_22"')
    run(source, "INSERT INTO sales VALUES (900, '2022-09-09', 'lost')", statements)
    catch_up(plan, ports, source)
    assert sales(ports).status is TableStatus.QUARANTINED
    assert whole_again(plan, ports, source, target)


@pytest.mark.long
def test_a_partition_that_was_away_between_two_looks_sets_the_table_aside(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    edit(
        plan,
        ports,
        source,
        "ALTER PUBLICATION $p DROP TABLE ONLY sales, ONLY sales_21_low",
        "INSERT INTO sales VALUES (7, '2021-09-09', 'lost')",
        "ALTER PUBLICATION $p ADD TABLE ONLY sales, ONLY sales_21_low",
    )
    with pytest.raises(SourceError, match=r"put them back: public\.sales\."):
        catch_up(plan, ports, source)
    assert sales(ports).status is TableStatus.QUARANTINED
    assert whole_again(plan, ports, source, target)


@pytest.mark.long
@pytest.mark.parametrize("kept", ["sales", "sales_20, ONLY sales_21_low, ONLY sales_21_high, ONLY sales_22"])
def test_what_one_entry_or_another_brings_all_the_time_is_not_told(
    plan: Plan, ports: Ports, source: Session, target: Session, kept: str
) -> None:
    lists = ["sales", "sales_20, ONLY sales_21_low, ONLY sales_21_high, ONLY sales_22"]
    other = next(one for one in lists if one != kept)
    for gone, later in ((other, other), (kept, kept)):
        edit(plan, ports, source, f"ALTER PUBLICATION $p DROP TABLE ONLY {gone}")
        run(source, f"INSERT INTO sales SELECT max(id) + 1, '2022-03-03', '{gone[:9]}' FROM sales")
        edit(plan, ports, source, f"ALTER PUBLICATION $p ADD TABLE ONLY {later}")
        catch_up(plan, ports, source)
    assert sales(ports).status is not TableStatus.QUARANTINED
    complete(plan, ports)
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.long
def test_a_new_partition_is_listed_itself_and_comes_while_it_is_detached(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(source, NEW, "INSERT INTO sales VALUES (1, '2031-01-01', 'one')")
    catch_up(plan, ports, source)
    look(plan, ports)
    run(
        source,
        "ALTER TABLE sales_30 DETACH PARTITION sales_30_1",
        "UPDATE sales_30_1 SET what = 'apart'",
        "ALTER TABLE sales_30 ATTACH PARTITION sales_30_1 FOR VALUES IN (1, 2, 3)",
    )
    complete(replace(plan, epoch=2), ports)
    assert rows(target, "sales") == rows(source, "sales")
    assert target.execute("SELECT id FROM sales WHERE what = 'apart'").fetchall() == [(1,)]


@pytest.mark.long
def test_a_new_partition_that_the_publication_lacks_stops_the_sync(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    edit(plan, ports, source, "ALTER PUBLICATION $p DROP TABLE ONLY sales")
    catch_up(plan, ports, source)
    with running(plan, ports) as at, open_session(at, plan.databases[0]) as session:
        poll, state = Poll(at, plan.databases[0], session.watch), ports.store.database(plan.databases[0].source_name)
        poll.look(state, now=True)
        run(source, NEW, "INSERT INTO sales VALUES (1, '2031-01-01', 'unseen')")
        with pytest.raises(SourceError, match=r"Missing: public\.sales_30_1\."):
            poll.look(state, now=True)
    edit(plan, ports, source, "ALTER PUBLICATION $p ADD TABLE ONLY sales")
    catch_up(plan, ports, source)
    assert sales(ports).status is TableStatus.QUARANTINED
    assert whole_again(plan, ports, source, target)
