"""What a process keeps of an object list: exactly as long as the list is the same, and whatever is selected."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

import pytest

from migrations_app import kept, selectors, services
from migrations_app.draft_facts import missing_parents
from migrations_app.engine import inventory
from migrations_app.engine.selection import MODES, Path, Selection
from migrations_app.models import MigrationTask, SourceObject
from migrations_app.runner import reading
from migrations_app.selectors.tallies import Tally, tallies
from tests import factories

SCHEMAS, TABLES = ("app", "log", "ü.1"), ("app_1", "app_2", "log", "50%*", "part")
GLOBS = ("app_*", "*", "*1", "l?g", "app.*", "50%*")


@pytest.fixture
def task(db: None) -> MigrationTask:
    """Two databases of three schemas of five tables, a partition in each, keys in rings; a reading with a name."""
    made = factories.task(objects_read=uuid.uuid4())
    rows = []
    for database in ("shop", "wiki"):
        rows.append(SourceObject(task=made, database=database, kind="database"))
        for number, schema in enumerate(SCHEMAS):
            rows.append(SourceObject(task=made, database=database, schema=schema, kind="schema"))
            other = SCHEMAS[number - 1]
            for place, name in enumerate(TABLES):
                keys = [[schema, TABLES[place - 1]], [other, TABLES[place - 2]], [schema, "part_01"]]
                needs = [["sequence", schema, f"{name}_seq"], ["type", "", "mood"]]
                rows.append(_table(made, database, schema, name, bytes=10**place, fk_parents=keys, needs=needs))
            root = {"root_schema": schema, "root": "part", "parent_schema": schema, "parent": "part"}
            keys = [[other, "log"]]
            rows.append(_table(made, database, schema, "part_01", kind="partition", fk_parents=keys, **root))
    SourceObject.objects.bulk_create(rows)
    return made


def _table(task: MigrationTask, database: str, schema: str, name: str, **fields: object) -> SourceObject:
    return SourceObject(task=task, database=database, schema=schema, name=name, **{"kind": "table", **fields})


def _selections(seed: int, number: int) -> Iterator[Selection]:
    chance = random.Random(seed)  # noqa: S311 - the same selections for a seed, no secret
    for _ in range(number):
        selection = Selection()
        for _ in range(chance.randrange(7)):
            path = (chance.choice(("shop", "wiki")), chance.choice(SCHEMAS), chance.choice((*TABLES, "part_01")))
            mode = chance.choice(MODES)
            if chance.random() < 0.35:
                glob, scope = chance.choice(GLOBS), path[: chance.choice((1, 2))]
                if glob != "app.*" or len(scope) == 1 or scope[1] == "app":
                    selection = selection.choose_matching(scope, glob, mode)
            else:
                selection = selection.choose(path[: chance.randrange(4)], mode)
        yield selection


def _naive_tallies(task: MigrationTask, selection: Selection) -> dict[Path, Tally]:
    found: dict[Path, Tally] = {}
    for row in SourceObject.objects.filter(task=task, level=2):
        mode = selection.mode(row.database, row.schema, row.name)
        for path in ((), (row.database,), (row.database, row.schema)):
            tally = found.setdefault(path, Tally())
            tally.total += 1
            tally.bytes += row.bytes
            tally.add(mode, 1, row.bytes)
    return found


def _naive_parents(task: MigrationTask, selection: Selection) -> list[tuple[Path, Path]]:
    tables = {
        (row.database, row.schema, row.name): row for row in SourceObject.objects.filter(task=task).exclude(name="")
    }

    def moves(path: Path) -> bool:
        row = tables[path]
        own = (row.schema, row.name)
        return selection.mode_of(row.database, own, (row.root_schema, row.root) if row.root else own) != ""

    found = []
    for path, row in tables.items():
        for schema, name in row.fk_parents:
            parent = tables[row.database, schema, name]
            whole = (parent.database, parent.root_schema, parent.root) if parent.root else (row.database, schema, name)
            if moves(path) and not selection.includes(row.database, schema, name) and not selection.includes(*whole):
                found.append((path, whole))
    return sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_missing_parents_are_those_of_a_naive_look_at_every_table(seed: int, task: MigrationTask) -> None:
    for selection in _selections(seed, 40):
        naive = _naive_tallies(task, selection)
        assert dict(tallies(task, selection)) == naive, selection
        assert dict(tallies(task, selection)) == naive, "the second time from what was kept"
        assert sorted(missing_parents(task, selection)) == _naive_parents(task, selection), selection


def test_what_comes_along_is_that_of_the_selection_at_hand(task: MigrationTask) -> None:
    for selection in _selections(7, 25):
        task.selection = selection.to_json()
        chosen = [
            row
            for row in SourceObject.objects.filter(task=task, level=2)
            if selection.includes(row.database, row.schema, row.name)
        ]
        named = {f"{schema}.{name}" if schema else name for row in chosen for _, schema, name in row.needs}
        found = selectors.closure(task)
        assert {name for names in found.along.values() for name in names} == named
        assert sum(found.along_counts.values()) == len(named)


def test_a_new_reading_is_counted_anew_and_leaves_the_old_one_behind(
    task: MigrationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Selection.everything()
    assert tallies(task, everything)[()].total == 30
    assert len(selectors.tree(task, (), search="/^log$/").nodes) == 6
    rows = [
        inventory.InventoryDatabase(name="shop", bytes=1, can_connect=True),
        inventory.InventorySchema(database="shop", name="app"),
        inventory.InventoryTable(database="shop", schema="app", name="log", kind="table", bytes=5),
    ]
    monkeypatch.setattr(inventory, "read_inventory", lambda server: iter(rows))
    reading.read_objects(task)
    before, task = task.objects_read, MigrationTask.objects.get(pk=task.pk)
    assert task.objects_read not in (None, before)
    assert tallies(task, everything)[()].total == 1
    assert [node.path for node in selectors.tree(task, (), search="/^log$/").nodes] == [("shop", "app", "log")]
    assert missing_parents(task, everything.toggle(("shop", "app", "app_1"), False)) == []


def test_another_source_leaves_no_reading(task: MigrationTask) -> None:
    side = services.EndpointData(host="other.example", port=5432, account="mover", password="another one")
    services.save_settings(
        task_id=task.pk,
        actor=factories.user("anna"),
        name="x",
        scheduled_at=None,
        incremental=True,
        source=side,
        target=side,
    )
    task.refresh_from_db()
    assert task.objects_read is None
    assert not tallies(task, Selection.everything())


def test_without_a_named_reading_nothing_is_kept(task: MigrationTask) -> None:
    task.objects_read = None
    assert tallies(task, Selection.everything())[()].total == 30
    SourceObject.objects.filter(task=task, database="wiki").delete()
    assert tallies(task, Selection.everything())[()].total == 15


def test_what_is_kept_has_a_bound_and_what_was_used_last_stays(
    task: MigrationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_ROWS", 2500)
    made: list[int] = []

    def ask(number: int) -> None:
        kept.of_reading(task, ("bound", number), lambda: made.append(number) or [0] * 900)  # type: ignore[func-returns-value]

    for number in (1, 2, 1, 3, 1, 2):
        ask(number)
    assert made == [1, 2, 3, 2]
    kept.of_reading(task, "huge", lambda: [0] * 10_000)
    ask(1)
    assert made[-1] == 1
