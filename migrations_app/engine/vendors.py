"""Managed services, recognised by the role that stands for a superuser there, and what is done differently on each."""

from __future__ import annotations

from collections.abc import Container

from .wording import Sentence, say

ROLES = {
    "rds_superuser": "rds",
    "cloudsqlsuperuser": "cloudsql",
    "azure_pg_admin": "azure",
    "pg_tencentdb_superuser": "tencentdb",
    "alloydbsuperuser": "alloydb",
    "pg_rds_superuser": "alibaba",
    "neon_superuser": "neon",
    "supabase_admin": "supabase",
}

ROLE_NAMES = frozenset(
    {
        *ROLES,
        *("rdsadmin", "rdsrepladmin", "rdstopmgr", "rdsproxyadmin", "rdswriteforwarduser"),
        *("rds_replication", "rds_password", "rds_iam", "rds_ad", "rds_extension", "rds_reserved"),
        *("cloudsqladmin", "cloudsqlagent", "cloudsqlreplica", "cloudsqlimportexport", "cloudsqliamuser"),
        *("alloydbadmin", "alloydbagent", "alloydbreplica", "alloydbimportexport", "alloydbiamuser"),
        *("azuresu", "azure_superuser"),
        *("supabase_auth_admin", "supabase_storage_admin", "supabase_replication_admin", "supabase_read_only_user"),
        *("doadmin", "tencentroot"),
    }
)
"""Roles that belong to a vendor wherever they are met."""

_ROLE_BEGINNINGS: dict[str, tuple[str, ...]] = {
    "rds": ("rds",),
    "alibaba": ("rds",),
    "cloudsql": ("cloudsql", "google"),
    "alloydb": ("alloydb", "google"),
    "azure": ("azure",),
    "tencentdb": ("tencentdb",),
    "neon": ("neon_",),
    "supabase": ("supabase_",),
}
"""Beginnings of the names of further roles on a vendor's server; elsewhere an application may call its own so."""


def vendor_of(roles: Container[str]) -> str:
    """Return whose managed service it is by the names of a server's roles; '' when nobody's that is known."""
    return next((vendor for role, vendor in ROLES.items() if role in roles), "")


def is_vendors_role(name: str, vendor: str) -> bool:
    """Say whether the role belongs to the vendor of a server (see `vendor_of`), or to some vendor by its whole name."""
    return name in ROLE_NAMES or name.startswith(_ROLE_BEGINNINGS.get(vendor, ()))


# Name, how settings are changed, who decides on access.
WORDS: dict[str, tuple[str, Sentence, Sentence]] = {
    "rds": (
        "Amazon RDS or Aurora",
        say("Set rds.logical_replication = 1 and the settings below in the parameter group, then reboot."),
        say("The instance's security group decides who may connect: add an inbound rule for the address below."),
    ),
    "cloudsql": (
        "Google Cloud SQL",
        say("Set the flag cloudsql.logical_decoding = on; the instance restarts by itself."),
        say("Add the address below to the authorized networks, or connect through a private address."),
    ),
    "alloydb": (
        "Google AlloyDB",
        say("Set the flag alloydb.logical_decoding = on; the instance restarts by itself."),
        say("Connections come through its private network or the Auth Proxy; there is no pg_hba.conf to edit."),
    ),
    "azure": (
        "Azure Database for PostgreSQL",
        say("Set the server parameter wal_level = logical and save it with a restart."),
        say("Add the address below to the firewall rules of the server."),
    ),
    "tencentdb": (
        "TencentDB for PostgreSQL",
        say("Set wal_level = logical among the instance's parameters and restart the instance."),
        say("The instance's security group decides who may connect: allow the address below."),
    ),
    "alibaba": (
        "Alibaba Cloud ApsaraDB RDS",
        say("Set wal_level = logical among the instance's parameters; it restarts."),
        say("Add the address below to the instance's whitelist."),
    ),
    "neon": (
        "Neon",
        say("Enable logical replication in the project's settings; its computes restart."),
        say("Use the direct address of the server, not the one with -pooler in it."),
    ),
    "supabase": (
        "Supabase",
        say("wal_level is logical from the start; other settings are changed with its command line."),
        say("Use the direct address of the server, not the one of the pooler."),
    ),
}

OWN_WAYS = {
    "timescaledb": say(
        "Its hypertables keep their rows in chunks that only its own functions may make: follow its guide"
        " for migrating, with the same version of the extension on both ends."
    ),
    "citus": say("Distributed tables live on many nodes: migrate with the extension's own tools."),
    "pglogical": say("Its nodes and sets are not migrated; make them anew on the target."),
    "age": say("Graphs are kept in schemas that the extension makes: export and import them with its own functions."),
    "pg_partman": say(
        "Its configuration is not migrated: switch its maintenance off during the migration, and call"
        " create_parent() on the target afterwards."
    ),
    "pg_cron": say("Its jobs are not migrated: schedule them on the target after Complete."),
    "postgis_topology": say("Topologies are kept in schemas that the extension makes: export and import them."),
}
"""Extensions whose data is more than what tables show; the first three make an unaided migration impossible."""

EXTENSIONS = frozenset(
    {
        "aiven_extras",
        "aiven_gatekeeper",
        "aws_commons",
        "aws_lambda",
        "aws_ml",
        "aws_s3",
        "azure",
        "azure_storage",
        "google_columnar_engine",
        "google_db_advisor",
        "google_insights",
        "google_ml_integration",
        "google_vacuum_mgmt",
        "neon",
        "neon_utils",
        "pgaadauth",
        "rds_tools",
        "tencentdb_ai",
    }
)
"""Extensions that a vendor puts into every database, that its customers cannot drop, and that no other server has."""
