"""What happens to a small shop while its workers are killed: each story ends with everything as it should be."""

from __future__ import annotations

from migrations_app.engine.failpoints import Moment, Shot, arm, armed
from tests.acceptance.places import Place, nothing_of_ours
from tests.faults.failpoint_kit import Killed

SCHEMA = """
CREATE ROLE "{role}";
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO %I', current_database(), '{role}'); END $$;
CREATE SCHEMA shop;
CREATE TABLE shop.item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text UNIQUE,
  price int CHECK (price >= 0));
CREATE TABLE shop.sold (id serial PRIMARY KEY, item int NOT NULL REFERENCES shop.item, at timestamptz DEFAULT now());
CREATE TABLE shop.loose (n int, v text);
CREATE UNLOGGED TABLE shop.fleeting (n int);
CREATE INDEX ON shop.item (price);
CREATE VIEW shop.dear AS SELECT * FROM shop.item WHERE price > 50;
CREATE FUNCTION shop.kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER kept BEFORE INSERT ON shop.sold FOR EACH ROW EXECUTE FUNCTION shop.kept();
ALTER TABLE shop.sold ENABLE ALWAYS TRIGGER kept;
CREATE SEQUENCE shop.number;
INSERT INTO shop.item (note, price) SELECT 'item ' || g, g % 100 FROM generate_series(1, 800) g;
INSERT INTO shop.sold (item) SELECT 1 + g % 800 FROM generate_series(1, 300) g;
INSERT INTO shop.loose SELECT g % 7, 'same' FROM generate_series(1, 100) g;
INSERT INTO shop.fleeting SELECT generate_series(1, 20);
CREATE MATERIALIZED VIEW shop.total AS SELECT count(*) FROM shop.sold;
ALTER TABLE shop.sold OWNER TO "{role}";
GRANT SELECT ON shop.item TO "{role}";
SELECT nextval('shop.number') FROM generate_series(1, 9);
SELECT lo_from_bytea(4711, 'large');
ALTER LARGE OBJECT 4711 OWNER TO "{role}";
GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC;
ANALYZE;
"""
CHANGES = """
INSERT INTO shop.item (note, price) SELECT 'later ' || g, g FROM generate_series(1, 60) g;
UPDATE shop.item SET price = price + 1 WHERE id % 3 = 0;
INSERT INTO shop.loose SELECT 3, 'same' FROM generate_series(1, 5);
DELETE FROM shop.loose WHERE ctid IN (SELECT ctid FROM shop.loose WHERE n = 3 LIMIT 2);
UPDATE shop.loose SET v = 'other' WHERE ctid = (SELECT ctid FROM shop.loose WHERE n = 4 LIMIT 1);
DELETE FROM shop.sold WHERE id % 10 = 0;
INSERT INTO shop.fleeting VALUES (99);
SELECT nextval('shop.number');
SELECT lo_from_bytea(4712, 'more');
"""

HAND_MADE = """
CREATE EXTENSION vector;
CREATE TABLE systems (id int, words text, builtin boolean); CREATE SEQUENCE counted;
ALTER EXTENSION vector ADD TABLE systems; ALTER EXTENSION vector ADD SEQUENCE counted;
UPDATE pg_extension SET extconfig = ARRAY['systems'::regclass::oid, 'counted'::regclass::oid],
  extcondition = ARRAY['WHERE NOT builtin', ''] WHERE extname = 'vector';
"""


# All of it belongs to a role that rows are hidden from, and that has taken rights from itself.
BOUND = """
DO $$ DECLARE one record; owner text := '{role}'; BEGIN
  EXECUTE format('ALTER SCHEMA shop OWNER TO %I', owner);
  FOR one IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = 'shop'::regnamespace
      AND (c.relkind IN ('r', 'v', 'm') OR c.relname = 'number') LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO %I', one.name, owner);
  END LOOP;
END $$;
ALTER FUNCTION shop.kept() OWNER TO "{role}";
ALTER TABLE shop.item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE shop.sold ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY even ON shop.sold USING (id % 2 = 0);
REVOKE INSERT, UPDATE, TRUNCATE ON shop.sold FROM "{role}";
REVOKE ALL ON shop.loose, shop.fleeting FROM "{role}";
REVOKE ALL ON SEQUENCE shop.number, shop.sold_id_seq FROM "{role}";
REVOKE ALL ON LARGE OBJECT 4711 FROM "{role}";
"""
ORDINARY = """
CREATE ROLE "{role}"; CREATE ROLE "{role}_account" LOGIN PASSWORD 'plain'; GRANT "{role}" TO "{role}_account";
"""


def as_they_are(source: Place, target: Place) -> None:
    """Change nothing: the target database is to be made."""


def _make(target: Place) -> None:
    with target.cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{target.name}"'.encode())


def already_there(source: Place, target: Place) -> None:
    """Make some of the tables on the target, with other rows."""
    _make(target)
    target.run(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.loose (n int, v text)",
        "INSERT INTO shop.loose VALUES (1, 'of somebody else')",
    )


def without_public(source: Place, target: Place) -> None:
    """Make a target database that lacks the schema which every dump takes for granted."""
    _make(target)
    target.run("DROP SCHEMA public")
    source.run("CREATE TABLE public.plain (n int PRIMARY KEY)", "INSERT INTO public.plain VALUES (1)")


def with_extension(source: Place, target: Place) -> None:
    """Keep rows in the tables of an extension."""
    _make(target)
    for place in (source, target):
        place.run(HAND_MADE)
    source.run("INSERT INTO systems VALUES (50, 'mine', false)", "SELECT setval('counted', 9)")


def with_an_orphan(source: Place, target: Place) -> None:
    """Have a row whose foreign key leads nowhere, as somebody made it who had the checks switched off."""
    source.run("SET session_replication_role = replica; INSERT INTO shop.sold (item) VALUES (99999)")


def with_bound_owners(source: Place, target: Place) -> None:
    """Have owners who may not do everything with what is theirs, and an account of the target that is one of them."""
    role = _owner(source)
    source.run(BOUND.format(role=role))
    with target.cluster.connect() as connection:
        connection.execute(ORDINARY.format(role=role).encode())
        connection.execute(f'CREATE DATABASE "{target.name}" OWNER "{role}"'.encode())


def as_an_ordinary_account(source: Place, target: Place) -> str:
    """Return how the account of `with_bound_owners` gets into the target."""
    return f"postgresql://{_owner(source)}_account:plain@127.0.0.1:{target.cluster.port}/postgres"


def _owner(source: Place) -> str:
    return str(source.value("SELECT relowner::regrole FROM pg_class WHERE oid = 'shop.sold'::regclass"))


def until_ready(task: Killed) -> None:
    """Start, and have workers work until the target is in sync."""
    task.press("start_task")
    task.work("ready")


def complete(task: Killed, *, but_for: str = "nothing") -> None:
    """Change rows on the source, press Complete, and look at what has become of it all.

    `but_for`: what may differ, as `differences` says it; rows never may.
    """
    task.migration.source.run(CHANGES)
    task.press("complete_task")
    task.work("completed")
    task.rest()
    found = [one for one in task.migration.differences() if one.startswith("table ") or but_for not in one]
    assert found == [], f"{found}\n{task.story()}"
    assert [code for code, _ in task.migration.events()].count("TASK-COMPLETED") == 1, task.story()
    assert task.migration.ledger("target") == [], task.story()


def to_the_end(task: Killed) -> None:
    """Copy, sync, complete."""
    until_ready(task)
    complete(task)


def to_bound_owners(task: Killed) -> None:
    """Copy, sync, complete, by an account that owns what it makes; a large object of a superuser becomes its own."""
    until_ready(task)
    complete(task, but_for="4712")


def to_an_unproved_key(task: Killed) -> None:
    """Copy, sync, complete, with a foreign key that the target cannot prove."""
    until_ready(task)
    complete(task, but_for="sold_item_fkey")


def to_another_public(task: Killed) -> None:
    """Copy, sync, complete, where the target's schema `public` lacks what comes with a new database."""
    until_ready(task)
    complete(task, but_for="public")


def cancelled(task: Killed) -> None:
    """Copy, and cancel in the sync."""
    until_ready(task)
    task.press("cancel_task")
    task.work("cancelled")
    task.rest()


def begun_again(task: Killed) -> None:
    """Cancel, clear the target, and go through to the end."""
    cancelled(task)
    task.press("start_again", clear_target=True)
    task.check()
    to_the_end(task)


def copied_once_more(task: Killed) -> None:
    """Copy a table once more in the sync, which has another column meanwhile; then complete."""
    until_ready(task)
    database = task.migration.source.name
    task.migration.source.run("ALTER TABLE shop.item ADD COLUMN more text")
    task.press("recopy_table", database=database, schema="shop", name="item")
    task.until_copied_once_more()
    task.migration.source.run("UPDATE shop.item SET more = 'x' WHERE id = 7")
    complete(task)


def compared(task: Killed) -> None:
    """Compare in the sync, then complete."""
    until_ready(task)
    task.press("compare_task")
    task.until_compared()
    complete(task)


def index_replaced(task: Killed) -> None:
    """Somebody puts another index in the place of one, right after the copy."""
    orders = armed(task.yard.folder)
    arm(task.yard.folder, Shot("task.step", Moment.DONE, detail="copy"))
    task.press("start_task")
    task.until_killed()
    task.migration.target.run("DROP INDEX shop.item_price_idx", "CREATE INDEX item_price_idx ON shop.item (note)")
    arm(task.yard.folder, *orders)
    task.kills = 0
    task.work("ready")
    complete(task)


def assert_nothing_left(task: Killed) -> None:
    """Every order was carried out, and nothing of ours is on the servers or on the worker's disk."""
    assert armed(task.yard.folder) == [], task.story()
    nothing_of_ours(task.migration.source, task.migration.target)
    assert task.migration.ledger("source") == [], task.story()
    assert task.files() == [], task.story()
