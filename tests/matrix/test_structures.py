"""The structure comparison of a run between versions: what arrived is called equal, and damage is told by its name.

The torture database and the shop are moved from each old server; 10 is the first that is asked like the newest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.engine.comparing.things import Thing, read_things
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Note
from migrations_app.engine.states import StepName, steps_for
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.matrix import shop, torture
from tests.matrix.conftest import Servers
from tests.postgres.compare_kit import plan_for, server, structure_now
from tests.servers import Server, older, why_unavailable

pytestmark = pytest.mark.matrix

_OLD = ("9.3", "9.4", "9.5", "9.6")
_PAIRS = [(source, target) for source in (*_OLD, "10") for target in ("13", "18")]
_DATABASES = ("shop", "torture", "hardened")
"""What everybody may do in `public` is as usual in the first, nothing in the second, to look into it in the third."""
_NOT_CARRIED = ("publication of_others", "missing on the target: publications are not carried over", "")

_CHANGES = {
    "DROP INDEX public.indexed_7": ("index indexed_7 on public.indexed", "missing on the target"),
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.indexed_8'::regclass": (
        "index indexed_8 on public.indexed",
        "invalid on the target",
    ),
    "DROP INDEX public.indexed_9; CREATE INDEX indexed_9 ON public.indexed (a)": (
        "index indexed_9 on public.indexed",
        "definition: ",
    ),
    "ALTER TABLE public.moods ALTER m SET DEFAULT 'sad'": ("column m on public.moods", "default: 'ok'::public.mood"),
    "ALTER TABLE public.keyless ALTER b TYPE varchar(99)": ("column b on public.keyless", "type: text on the source"),
    "ALTER TABLE public.far ALTER v DROP NOT NULL": ("column v on public.far", "not null: yes on the source"),
    "ALTER TABLE public.big ALTER b SET STORAGE MAIN": ("column b on public.big", "storage: e on the source"),
    "ALTER TABLE public.with_options RESET (fillfactor)": (
        "table public.with_options",
        "options: autovacuum_enabled=false, fillfactor=50 on the source",
    ),
    "DROP TABLE public.of_type": ("table public.of_type", "missing on the target"),
    "ALTER TABLE public.checked DROP CONSTRAINT unproved": (
        "constraint unproved on public.checked",
        "missing on the target",
    ),
    "ALTER TABLE public.checked DROP CONSTRAINT twice; ALTER TABLE public.checked ADD CONSTRAINT twice UNIQUE (w)": (
        "constraint twice on public.checked",
        "definition: UNIQUE (w) DEFERRABLE INITIALLY DEFERRED on the source",
    ),
    "ALTER TABLE public.ring_c DROP CONSTRAINT ring_c_next_fkey, ADD CONSTRAINT ring_c_next_fkey FOREIGN KEY (next)"
    " REFERENCES public.ring_b ON UPDATE CASCADE ON DELETE CASCADE NOT VALID": (
        "constraint ring_c_next_fkey on public.ring_c",
        "not validated on the target",
    ),
    "ALTER TABLE public.watched DISABLE TRIGGER ordinary": (
        "trigger ordinary on public.watched",
        "enabled: O on the source, D on the target",
    ),
    "DROP TRIGGER late ON public.watched": ("trigger late on public.watched", "missing on the target"),
    "CREATE OR REPLACE RULE also AS ON DELETE TO public.watched DO ALSO INSERT INTO public.fired (what) VALUES ('x')": (
        "rule also on public.watched",
        "definition: ",
    ),
    "ALTER TABLE public.watched ENABLE RULE off": ("rule off on public.watched", "enabled: D on the source"),
    "ALTER EVENT TRIGGER sleeping ENABLE": ("event trigger sleeping", "enabled: D on the source"),
    "CREATE OR REPLACE FUNCTION public.quotes() RETURNS text LANGUAGE sql AS 'SELECT 1::text'": (
        "function public.quotes()",
        "body: differs",
    ),
    "ALTER FUNCTION public.within(int) SECURITY DEFINER COST 0.7": (
        "function public.within(v integer)",
        "cost: 100 on the source, 0.7 on the target",
    ),
    "DROP AGGREGATE public.total(int)": ("aggregate public.total(integer)", "missing on the target"),
    "CREATE OR REPLACE VIEW public.joined AS SELECT a.id, a.v, 1 AS w FROM public.viewed a": (
        "view public.joined",
        "definition: ",
    ),
    "DROP MATERIALIZED VIEW public.mat_1": ("materialized view public.mat_1", "missing on the target"),
    "ALTER SEQUENCE public.down INCREMENT -4": (
        "sequence public.down",
        "increment: -3 on the source, -4 on the target",
    ),
    "ALTER SEQUENCE public.cached CACHE 1": (
        "sequence cached on public.shares_a",
        "cache: 20 on the source, 1 on the target",
    ),
    "ALTER SEQUENCE public.cycles NO CYCLE": ("sequence public.cycles", "cycle: true on the source"),
    "DROP SEQUENCE public.never_called": ("sequence public.never_called", "missing on the target"),
    "ALTER TYPE public.mood ADD VALUE 'late'": ("enum public.mood", "labels: "),
    "ALTER DOMAIN public.word DROP CONSTRAINT \"no blank\"": ("domain public.word", "constraints: "),
    "ALTER TEXT SEARCH CONFIGURATION public.mine DROP MAPPING FOR asciiword": (
        "text search configuration public.mine",
        "mappings: ",
    ),
    "DROP CAST (public.boxed AS int)": ("cast public.boxed as integer", "missing on the target"),
    'REVOKE SELECT (id) ON owned.things FROM "torture ""reader" CASCADE': (
        "column id on owned.things",
        'privileges missing: SELECT to "torture ""reader" with grant option',
    ),
    "REVOKE TRUNCATE ON owned.things FROM PUBLIC": ("table owned.things", "privileges missing: TRUNCATE to PUBLIC"),
    "GRANT EXECUTE ON FUNCTION owned.act() TO PUBLIC": (
        "function owned.act()",
        "privileges only on the target: EXECUTE to PUBLIC",
    ),
    "REVOKE SELECT ON LARGE OBJECT 770001 FROM torture_owner": (
        "large object 770001",
        'privileges missing: SELECT to "torture_owner"',
    ),
    "ALTER DEFAULT PRIVILEGES IN SCHEMA owned REVOKE SELECT ON TABLES FROM \"torture \"\"reader\"": (
        "default privileges of postgres for tables in schema owned",
        "missing on the target",
    ),
    "COMMENT ON COLUMN owned.things.v IS 'w'": ("column v on owned.things", "comment: v on the source"),
    "ALTER TABLE public.viewed OWNER TO torture_owner": (
        "owner postgres",
        '1 object owned by torture_owner on the target instead of postgres: public.viewed',
    ),
}  # fmt: skip
_CHANGES_SINCE_9_5 = {
    'ALTER POLICY "see own" ON public.secret USING (true)': ("policy see own on public.secret", "using: "),
    'DROP POLICY "write own" ON public.secret': ("policy write own on public.secret", "missing on the target"),
    "ALTER TABLE public.secret NO FORCE ROW LEVEL SECURITY": (
        "row security public.secret",
        "forced: true on the source, false on the target",
    ),
    "ALTER TABLE public.pointing_at_roles ENABLE ROW LEVEL SECURITY": ("row security public.pointing_at_roles", ""),
    "DROP FUNCTION public.transformed(int)": ("function public.transformed(integer)", "missing on the target"),
}
_CHANGES_ON_18 = {  # on 13 every function of integers hangs on the transform
    "DROP TRANSFORM FOR int LANGUAGE sql": ("transform integer for sql", "missing on the target"),
}


def _server(versions: Servers, version: str, side: str) -> Server:
    if reason := why_unavailable(version):
        pytest.skip(reason)
    return versions.of(version, side)


@contextmanager
def _database(one: Server, name: str) -> Iterator[None]:
    with one.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0".encode())
    try:
        yield
    finally:
        _drop(one, name)


def _drop(one: Server, name: str) -> None:
    with one.connect() as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())


class _Moved:
    """Both databases once they have been moved, and what was told of them."""

    def __init__(self, source: Server, target: Server, folder: Path) -> None:
        self.source, self.target = source, target
        self._folder = folder
        self.plans: dict[str, Plan] = {}
        self.told: dict[str, list[Note]] = {}

    def move(self, name: str) -> None:
        """Run all steps of a migration, with a sync where the source can have one."""
        ports = fake_ports()
        store, control = cast(FakeStore, ports.store), cast(FakeControl, ports.control)
        sync = not older(self.source.version, "9.4")
        ends = server(self.source), server(self.target)
        plan = plan_for(*ends, name, name, work_dir=self._folder, incremental=sync)
        store.targets[name] = name
        with Executor(plan, ports) as executor:
            for step in steps_for(incremental=sync):
                control.complete = control.complete or step is StepName.SYNC
                if step is not StepName.CHECK:
                    assert executor.run(step).done
        self.plans[name] = plan
        self.told[name] = [note for notes in store.notes.values() for note in notes]

    def now(self, name: str) -> list[Note]:
        """Compare the structure as it stands."""
        return structure_now(self.plans[name], final=True)

    def damage(self, name: str, statements: list[str]) -> None:
        """Change the target."""
        with self.target.connect(name) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture(scope="module", params=_PAIRS, ids=lambda pair: "-to-".join(pair))
def moved(
    request: pytest.FixtureRequest, versions: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Moved]:
    source, target = (_server(versions, *end) for end in zip(request.param, ("source", "target"), strict=True))
    found = _Moved(source, target, tmp_path_factory.mktemp("structures"))
    with ExitStack() as stack:
        for name in _DATABASES:
            stack.callback(_drop, target, name)
            stack.enter_context(_database(source, name))
        shop.load(source, "shop", 0.01)
        torture.load(source, "torture")
        with source.connect("hardened") as connection:
            connection.execute(b"REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE TABLE t (id int PRIMARY KEY)")
        for name in _DATABASES:
            found.move(name)
        yield found


def _shown(notes: list[Note]) -> list[tuple[str, str, str]]:
    return [(str(note.title), str(note.what), note.words) for note in notes]


@pytest.mark.parametrize("name", _DATABASES)
def test_nothing_that_arrived_is_told_as_different(moved: _Moved, name: str) -> None:
    published = name == "torture" and not older(moved.source.version, "10")
    assert _shown(moved.told[name]) == [_NOT_CARRIED] * published


def test_every_damage_is_told_by_name_and_mended_by_its_statement(moved: _Moved) -> None:
    changes: dict[str, Any] = dict(_CHANGES)
    if not older(moved.source.version, "9.5"):
        changes |= _CHANGES_SINCE_9_5 | ({} if older(moved.target.version, "18") else _CHANGES_ON_18)
    before = _shown(moved.now("torture"))
    moved.damage("torture", list(changes))
    notes = moved.now("torture")
    found = [(str(note.title), str(note.what)) for note in notes]
    wanted = [change for change in changes.values() if change]
    untold = [one for one in wanted if not any(title == one[0] and what.startswith(one[1]) for title, what in found)]
    assert untold == [], found
    surplus = {title for title, _ in found} - {title for title, _ in wanted} - {title for title, *_ in before}
    assert surplus == set()
    _mend(moved, notes)
    _mend(moved, moved.now("torture"))  # what hangs on something that was missing is told once that stands
    left = {str(note.title) for note in moved.now("torture")} - {title for title, *_ in before}
    assert left == {str(note.title) for note in notes if not note.statement} - {title for title, *_ in before}


def _mend(moved: _Moved, notes: list[Note]) -> None:
    """Run the statements, those again that needed what a later one makes."""
    left = [note.statement for note in notes if note.statement]
    with moved.target.connect("torture") as connection:
        while left:
            refused = [statement for statement in left if not _runs(connection, statement)]
            assert len(refused) < len(left), refused
            left = refused


def _runs(connection: psycopg.Connection[Any], statement: str) -> bool:
    try:
        connection.execute(statement.encode())
    except psycopg.Error:
        return False
    return True


@pytest.fixture(params=[*_OLD, "10", "11"])
def any_old(request: pytest.FixtureRequest, versions: Servers) -> Iterator[Server]:
    one = _server(versions, request.param, "source")
    with _database(one, "odd_forms"):
        yield one


def test_what_older_servers_say_otherwise_is_brought_into_one_form(any_old: Server) -> None:
    with any_old.connect("odd_forms") as connection:
        connection.execute(b"CREATE FUNCTION f() RETURNS SETOF int LANGUAGE sql COST 0.1 ROWS 0.3 AS 'SELECT 1'")
        connection.execute(b"CREATE FUNCTION w() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number'")
        connection.execute(b"CREATE VIEW v AS SELECT 'x' AS label")
        connection.execute(b"SET extra_float_digits = 3")
        things = {one.name: one for one in read_things(cast(Any, connection)).by_identity.values()}
    assert (things["f()"].values["cost"], things["f()"].values["rows"]) == (0.1, 0.3)
    assert (things["f()"].values.get("window"), things["w()"].values.get("window")) == (None, True)
    assert things["label"].values["type"] == "text"


@pytest.fixture(params=_OLD)
def old(request: pytest.FixtureRequest, versions: Servers) -> Iterator[Server]:
    one = _server(versions, request.param, "source")
    with _database(one, "counting"):
        yield one


def _sequences(connection: psycopg.Connection[Any]) -> dict[str, Thing]:
    things = read_things(cast(Any, connection)).by_identity.values()
    return {one.name: one for one in things if one.kind == "sequence"}


def test_an_old_sequence_tells_how_it_counts(old: Server) -> None:
    with old.connect("counting") as connection:
        connection.execute(
            b'CREATE SEQUENCE "o\'dd "" one" INCREMENT -5 MINVALUE -10 MAXVALUE 100 START 99 CACHE 3 CYCLE'
        )
        connection.execute(b"CREATE TABLE t (id serial); CREATE SEQUENCE gone")
        found = _sequences(connection)
    odd, serial = found["o'dd \" one"].values, found["t_id_seq"]
    counting = ("type", "start", "increment", "minimum", "maximum", "cache", "cycle")
    assert [odd.get(part) for part in counting] == ["bigint", 99, -5, -10, 100, 3, True]
    assert [serial.values.get(part) for part in counting] == ["bigint", 1, 1, 1, 2**63 - 1, 1, None]
    assert (serial.table, serial.values["owned by"]) == ("t", "id")


def test_of_many_old_sequences_one_that_is_locked_does_not_hold_up_the_others(old: Server) -> None:
    with old.connect("counting") as connection, old.connect("counting") as stranger:
        connection.execute(
            b"DO $$ BEGIN FOR g IN 1..450 LOOP EXECUTE 'CREATE SEQUENCE q' || g || ' START ' || g; END LOOP; END $$"
        )
        with stranger.transaction(force_rollback=True):
            stranger.execute(b"DROP SEQUENCE q300")
            found = _sequences(connection)
    assert found.pop("q300").values.get("unseen") == "lock"
    assert {name: one.values.get("start") for name, one in found.items()} == {
        f"q{number}": number for number in range(1, 451) if number != 300
    }


def test_an_old_sequence_that_the_account_may_not_read_is_known_without_its_counting(old: Server) -> None:
    with old.connect("counting") as connection:
        connection.execute(b"CREATE SCHEMA shut; CREATE SEQUENCE shut.a; CREATE SEQUENCE b; CREATE SEQUENCE c")
        connection.execute(b"GRANT SELECT ON SEQUENCE shut.a, c TO torture_owner; SET ROLE torture_owner")
        found = _sequences(connection)
    assert [(name, found[name].values.get("unseen"), found[name].values.get("start")) for name in "abc"] == [
        ("a", "right", None),
        ("b", "right", None),
        ("c", None, 1),
    ]
