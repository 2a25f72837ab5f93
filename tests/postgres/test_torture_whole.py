"""The torture database whole, from 16 to 18 and from 18 to 18 under a writer: each row of odd data by its name.

Everything that the servers of the tests know of `tests/matrix/torture.sql` is migrated twice. Each of its pieces, which
bear the numbers of the rows of docs/proofs.md, is a test: its objects are on the target, and its tables hold the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.comparator_catalog import plain_name
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.matrix import torture
from tests.postgres.compare_kit import plan_for, server
from tests.servers import older

pytestmark = pytest.mark.long

EXTENSIONS = ("hstore", "citext", "ltree", "cube", "seg", "isn")
WITHOUT = frozenset(
    {
        # The wheel's servers come without contrib, ICU and libxml; `make test-matrix` has servers with all of them.
        *(f"D11 extension {name}" for name in EXTENSIONS),
        *(f"D8-D12 type {name}" for name in (*EXTENSIONS[:-1], "isbn", "xml", "xml document")),
        "D12 a collation that finds unlike texts equal",
        "D12 a collation of ICU",
        "D14 constraints that are not enforced, NOT NULL not yet valid, periods",
        "D20 foreign tables",
    }
)
NOT_CARRIED = [("publication of_others", "missing on the target: publications are not carried over", "")]
DIRECTIONS = {"16 to 18": "16", "18 to 18 under a writer": "18"}
_OBJECTS = """
SELECT i.type, i.identity FROM (
  SELECT 'pg_class'::regclass c, oid, xmin FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace
  UNION ALL SELECT 'pg_proc'::regclass, oid, xmin FROM pg_proc
  UNION ALL SELECT 'pg_type'::regclass, oid, xmin FROM pg_type WHERE typcategory <> 'A'
  UNION ALL SELECT 'pg_namespace'::regclass, oid, xmin FROM pg_namespace
  UNION ALL SELECT 'pg_constraint'::regclass, oid, xmin FROM pg_constraint WHERE contype <> 'n' AND conparentid = 0
  UNION ALL SELECT 'pg_trigger'::regclass, oid, xmin FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT 'pg_rewrite'::regclass, oid, xmin FROM pg_rewrite
  UNION ALL SELECT 'pg_policy'::regclass, oid, xmin FROM pg_policy
  UNION ALL SELECT 'pg_event_trigger'::regclass, oid, xmin FROM pg_event_trigger
  UNION ALL SELECT 'pg_operator'::regclass, oid, xmin FROM pg_operator WHERE oprcode <> 0
  UNION ALL SELECT 'pg_opclass'::regclass, oid, xmin FROM pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid, xmin FROM pg_opfamily
  UNION ALL SELECT 'pg_cast'::regclass, oid, xmin FROM pg_cast
  UNION ALL SELECT 'pg_collation'::regclass, oid, xmin FROM pg_collation
  UNION ALL SELECT 'pg_conversion'::regclass, oid, xmin FROM pg_conversion
  UNION ALL SELECT 'pg_ts_config'::regclass, oid, xmin FROM pg_ts_config
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid, xmin FROM pg_ts_dict
  UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, xmin FROM pg_statistic_ext
  UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, xmin FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, xmin FROM pg_foreign_server
  UNION ALL SELECT 'pg_user_mapping'::regclass, oid, xmin FROM pg_user_mapping
  UNION ALL SELECT 'pg_language'::regclass, oid, xmin FROM pg_language
  UNION ALL SELECT 'pg_transform'::regclass, oid, xmin FROM pg_transform
  UNION ALL SELECT 'pg_am'::regclass, oid, xmin FROM pg_am
  UNION ALL SELECT 'pg_largeobject'::regclass, oid, xmin FROM pg_largeobject_metadata
  UNION ALL SELECT 'pg_default_acl'::regclass, oid, xmin FROM pg_default_acl
) o, pg_identify_object(o.c, o.oid, 0) i WHERE o.xmin::text::bigint >= %s
"""
_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND c.xmin::text::bigint >= %s
"""

Objects = frozenset[tuple[str, str]]


def names_of(version: str) -> list[str]:
    """Return the pieces that the wheel's server of this version can have."""
    return [one.name for one in torture.pieces() if not older(version, one.first) and one.name not in WITHOUT]


@dataclass(frozen=True)
class Made:
    """What a piece made."""

    objects: Objects
    tables: tuple[str, ...]


@dataclass
class Arrived:
    """Both ends of a migration that is over."""

    source: psycopg.Connection[Any]
    target: psycopg.Connection[Any]
    made: dict[str, Made] = field(default_factory=dict)
    told: list[tuple[str, str, str]] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    writer: torture.Change = field(default_factory=torture.Change)
    rounds: int = 0

    @cached_property
    def there(self) -> Objects:
        """All that is on the target."""
        return objects_since(self.target, 0)


def made_by_pieces(connection: psycopg.Connection[Any], version: str) -> dict[str, Made]:
    """Fill the database and return what each piece made in it."""
    made = {}
    before = _transaction(connection)
    for piece in torture.fill(connection, version, WITHOUT):
        tables = [str(row[0]) for row in connection.execute(_TABLES.encode(), (before,)).fetchall()]
        made[piece.name] = Made(objects_since(connection, before), tuple(tables))
        before = _transaction(connection)
    return made


def objects_since(connection: psycopg.Connection[Any], transaction: int) -> Objects:
    """Return what was made or changed in this transaction or a later one; 0 stands for everything."""
    found = connection.execute(_OBJECTS.encode(), (transaction,)).fetchall()
    return frozenset((kind, plain_name(identity)) for kind, identity in found)


def _transaction(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT txid_current() % 4294967296").fetchone()
    return int(cast(tuple[Any, ...], row)[0])


@pytest.fixture(scope="module")
def roles(source_cluster: Cluster, target_cluster: Cluster) -> None:
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            for name in torture.ROLES:
                with contextlib.suppress(psycopg.errors.DuplicateObject):
                    connection.execute("CREATE ROLE {}".format('"' + name.replace('"', '""') + '"').encode())


@pytest.fixture(scope="module", params=list(DIRECTIONS))
def arrived(
    request: pytest.FixtureRequest, source_cluster: Cluster, target_cluster: Cluster, roles: None, tmp_path_factory: Any
) -> Iterator[Arrived]:
    """Migrate all pieces: 16 to 18 at rest, or 18 to 18 with a sync while an application changes every piece."""
    version = DIRECTIONS[request.param]
    source = {"16": source_cluster, "18": target_cluster}[version]
    here, there = f"torture_{version}", f"torture_{version}_copy"
    for cluster, name in ((source, here), (target_cluster, there)):
        with cluster.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    with source.connect() as connection:
        connection.execute(f"CREATE DATABASE {here}".encode())
    plan = plan_for(
        server(source), server(target_cluster), here, there,
        work_dir=tmp_path_factory.mktemp("torture"), incremental=version == "18",
    )  # fmt: skip
    with source.connect(here) as one:
        made = made_by_pieces(one, version)
        store, writer = migrate(plan, source, version)
        refresh(one)
        with target_cluster.connect(there) as other:
            found = Arrived(one, other, made, told(store), writer=writer.done, rounds=writer.rounds)
            found.unlike = differences(one, other, rights=True)
            yield found
    for cluster, name in ((source, here), (target_cluster, there)):
        with cluster.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def migrate(plan: Plan, source: Cluster, version: str) -> tuple[FakeStore, torture.Writer]:
    """Run all steps; an incremental task's rows change while they are copied and until the sync is on."""
    ports = fake_ports()
    store, control = cast(FakeStore, ports.store), cast(FakeControl, ports.control)
    (database,) = plan.databases
    store.targets[database.source_name] = database.target_name
    known = [piece for piece in torture.pieces() if piece.name in names_of(version)]
    writer = torture.Writer(cast(Any, source), database.source_name, known, seed=7)
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=plan.incremental):
            if plan.incremental and step is StepName.COPY:
                writer.start()
            if step is StepName.SYNC:
                wait_until(lambda: writer.rounds >= 1, 60, "a round of changes")
                writer.stop()
                control.complete = True
            if step is not StepName.CHECK:
                assert executor.run(step).done
    assert ports.ledger.items() == []
    return store, writer


def told(store: FakeStore) -> list[tuple[str, str, str]]:
    return [(note.title, note.what, note.statement) for notes in store.notes.values() for note in notes]


def refresh(connection: psycopg.Connection[Any]) -> None:
    """Fill those materialized views anew that are filled, as the end of a migration does on the target."""
    filled = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY oid"
    for (name,) in connection.execute(filled).fetchall():
        connection.execute(f"REFRESH MATERIALIZED VIEW {name}".encode())


def rows_of(arrived: Arrived, tables: Sequence[str]) -> list[str]:
    return differences(arrived.source, arrived.target, tables=tables)


def test_nothing_differs_in_rows_structure_owners_and_grants(arrived: Arrived) -> None:
    assert arrived.unlike == []


def test_only_what_cannot_be_carried_is_told(arrived: Arrived) -> None:
    assert arrived.told == NOT_CARRIED


@pytest.mark.parametrize("arrived", ["18 to 18 under a writer"], indirect=True)
def test_the_writer_changed_every_piece_without_an_error(arrived: Arrived) -> None:
    assert arrived.writer.errors == []
    assert arrived.rounds >= 1


@pytest.mark.parametrize("arrived", ["16 to 18"], indirect=True)
@pytest.mark.parametrize("piece", names_of("16"))
def test_it_arrives_from_16_on_18(arrived: Arrived, piece: str) -> None:
    made = arrived.made[piece]
    assert made.objects - arrived.there == set()
    assert rows_of(arrived, made.tables) == []


@pytest.mark.parametrize("arrived", ["18 to 18 under a writer"], indirect=True)
@pytest.mark.parametrize("piece", names_of("18"))
def test_it_arrives_from_18_on_18_while_it_changes(arrived: Arrived, piece: str) -> None:
    made = arrived.made[piece]
    assert made.objects - arrived.there == set()
    assert rows_of(arrived, made.tables) == []
