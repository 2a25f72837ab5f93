"""The torture database holds values of every type that a client can write: a type of a newer server is added here."""

from __future__ import annotations

from migrations_app.demo.clusters import Cluster
from tests.matrix import torture

NOBODY_WRITES = {
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
}
"""Types of the catalogs and of indexes whose input the server refuses."""
_BUILT_IN = """
SELECT pg_catalog.format_type(oid, NULL) FROM pg_catalog.pg_type
 WHERE typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A'
"""


def test_every_built_in_type_of_the_newest_server_has_values(target_cluster: Cluster) -> None:
    with target_cluster.connect() as connection:
        known = {str(name) for (name,) in connection.execute(_BUILT_IN).fetchall()}
        kinds = sorted({kind for _, _, kind, _ in torture._TYPES if not kind.startswith("public.")})
        named = "SELECT pg_catalog.format_type(pg_catalog.to_regtype(name), NULL) FROM unnest(%s::text[]) name"
        written = {str(name) for (name,) in connection.execute(named, (kinds,)).fetchall()}
    assert known - written - NOBODY_WRITES == set()
