"""Keys of partitioned tables that work by exclusion: constraints EXCLUDE, and keys WITHOUT OVERLAPS.

A dump makes them on each partition and attaches these to the whole table's, which every server up to 18 refuses: it
does not compare such indexes. So the whole table gets its key by one statement, which makes those of the partitions as
well, and these then get the names that they have on the source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .connect import Connection
from .names import literal
from .renaming import Renaming
from .sql import query
from .toc import Entry

_SINCE = 170000
_ALONE = b"ALTER TABLE ONLY "
# A name that something else has on the target stays with it: the comparison of the structure tells.
_RENAME = """
DECLARE one record;
BEGIN
  FOR one IN
    WITH RECURSIVE keys AS (
      SELECT k.oid, k.conrelid, k.conname FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = {schema} AND c.relname = {table} AND k.conname = {name}
       UNION ALL
      SELECT k.oid, k.conrelid, k.conname FROM keys o
        JOIN pg_catalog.pg_constraint k ON k.conparentid = o.oid AND k.contype <> 'f'
    )
    SELECT n.nspname, c.relname, o.conname, w.name FROM keys o
      JOIN pg_catalog.pg_class c ON c.oid = o.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN (VALUES {wanted}) w(space, place, name) ON w.space = n.nspname AND w.place = c.relname
     WHERE o.conname <> w.name
  LOOP
    BEGIN
      EXECUTE pg_catalog.format('ALTER TABLE %I.%I RENAME CONSTRAINT %I TO %I',
                                one.nspname, one.relname, one.conname, one.name);
    EXCEPTION WHEN duplicate_table OR duplicate_object THEN NULL;
    END;
  END LOOP;
END"""

SpreadKey = tuple[int, int, str, str, str]
"""The oids of the topmost key and of the key itself, its schema, table and name on the source."""


def spread_keys(source: Connection) -> list[SpreadKey]:
    """Return the keys by exclusion of the source's partitioned tables, and those of their partitions."""
    if source.info.server_version < _SINCE:
        return []
    rows = source.execute(query("spread_keys")).fetchall()
    return [(int(str(row[0])), int(str(row[1])), str(row[2]), str(row[3]), str(row[4])) for row in rows]


def as_wholes(entries: Iterable[Entry], keys: Sequence[SpreadKey], renaming: Renaming) -> tuple[Entry, ...]:
    """Return the entries with such keys made as wholes: those of partitions and their attachments fall away."""
    trees: dict[int, list[SpreadKey]] = defaultdict(list)
    for key in keys:
        trees[key[0]].append(key)
    parts = {key[1] for key in keys if key[0] != key[1]}
    attached = {(renaming.schema(key[2]), key[4]) for key in keys if key[1] in parts}
    found = []
    for entry in entries:
        if entry.type == "CONSTRAINT" and entry.oid in trees:
            found.append(_whole(entry, trees[entry.oid], renaming))
        elif not (
            (entry.type == "CONSTRAINT" and entry.oid in parts)
            or (entry.type == "INDEX ATTACH" and (entry.schema, entry.tag) in attached)
        ):
            found.append(entry)
    return tuple(found)


def _whole(entry: Entry, tree: Sequence[SpreadKey], renaming: Renaming) -> Entry:
    (_, _, schema, table, name), *parts = sorted(tree, key=lambda one: one[1] != entry.oid)
    definition = entry.definition.replace(_ALONE, b"ALTER TABLE ", 1)
    if parts:
        places = [(*renaming.place((one[2], one[3])), one[4]) for one in parts]
        wanted = ", ".join(f"({', '.join(f'{literal(word)}::name' for word in place)})" for place in places)
        top = renaming.schema(schema)
        text = _RENAME.format(schema=literal(top), table=literal(table), name=literal(name), wanted=wanted)
        definition += f"\nDO LANGUAGE plpgsql {literal(text)};\n".encode()
    return replace(entry, definition=definition)
