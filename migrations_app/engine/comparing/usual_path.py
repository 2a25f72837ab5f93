"""The schemas that functions take from what they call without a schema, where nobody else has put anything there."""

from __future__ import annotations

from ..connect import Connection
from ..names import quote

_OF_OTHERS = """
SELECT EXISTS (
  SELECT 1 FROM pg_catalog.pg_namespace n
    JOIN (SELECT pronamespace, proowner FROM pg_catalog.pg_proc
          UNION ALL SELECT oprnamespace, oprowner FROM pg_catalog.pg_operator) f(space, owner) ON f.space = n.oid
    JOIN pg_catalog.pg_roles r ON r.oid = f.owner
   WHERE n.nspname = ANY(%(schemas)s) AND NOT r.rolsuper AND r.rolname <> current_user
     AND r.oid <> ALL (SELECT c.relowner FROM pg_catalog.pg_class c
                         JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
                        WHERE s.nspname = %(schema)s AND c.relname = %(name)s))
"""


def search_usual(connection: Connection, schema: str, name: str, public: str) -> bool:
    """Have this transaction search a table's own schema and `public`; say whether it is safe, and do nothing else.

    To plan any query of a table a server reads the functions of its indexes, and works out what is constant in them,
    with our rights. Whoever owns the table may have that anyway; where others than he, superusers and ourselves have
    functions or operators in these schemas, theirs could be found instead of what was meant. Raises psycopg.Error.
    """
    wanted = {"schemas": [schema, public], "schema": schema, "name": name}
    [(of_others,)] = connection.execute(_OF_OTHERS, wanted).fetchall()
    if not of_others:
        connection.execute(f"SET LOCAL search_path = {quote(schema)}, {quote(public)}".encode())
    return not of_others
