"""What a test leaves on a server that all tests share changes what the next one sees, in some orders only."""

from __future__ import annotations

from migrations_app.demo.clusters import Cluster

# Everything that belongs to a server as a whole. Databases go with the fixtures that made them.
SHARED = """
SELECT 'role ' || quote_ident(rolname) || CASE WHEN rolsuper THEN ', superuser' ELSE '' END FROM pg_roles
UNION ALL SELECT 'database ' || quote_ident(datname) FROM pg_database
UNION ALL SELECT 'tablespace ' || quote_ident(spcname) FROM pg_tablespace
UNION ALL SELECT 'setting ' || unnest(setconfig) || coalesce(' of role ' || setrole::regrole::text, '')
            FROM pg_db_role_setting WHERE setdatabase = 0
UNION ALL SELECT 'ALTER SYSTEM ' || name || ' = ' || coalesce(setting, '')
            FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'
UNION ALL SELECT 'member ' || roleid::regrole::text || ' to ' || member::regrole::text FROM pg_auth_members
UNION ALL SELECT 'rights on ' || parname || ' ' || paracl::text FROM pg_parameter_acl
UNION ALL SELECT 'subscription ' || quote_ident(subname) FROM pg_subscription
UNION ALL SELECT 'origin ' || quote_ident(roname) FROM pg_replication_origin
UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
UNION ALL SELECT 'prepared transaction ' || quote_literal(gid) FROM pg_prepared_xacts
"""


def on_the_server(cluster: Cluster) -> set[str]:
    """All that a test could leave on this server, in words; asked in one statement."""
    with cluster.connect() as connection:
        return {str(text) for (text,) in connection.execute(SHARED.encode()).fetchall()}


def drop_role(cluster: Cluster, role: str, database: str) -> None:
    """Drop a role and what it owns in this one database, which itself stays, with the superuser as its owner."""
    with cluster.connect(database) as connection:
        connection.execute(f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER'.encode())
        connection.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"'.encode())
