"""Managed services, recognised by the role that stands for a superuser there, and what is done differently on each."""

from __future__ import annotations

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

# Name, how settings are changed, who decides on access.
WORDS: dict[str, tuple[str, str, str]] = {
    "rds": (
        "Amazon RDS or Aurora",
        "Set rds.logical_replication = 1 and the settings below in the parameter group, then reboot.",
        "The instance's security group decides who may connect: add an inbound rule for the address below.",
    ),
    "cloudsql": (
        "Google Cloud SQL",
        "Set the flag cloudsql.logical_decoding = on; the instance restarts by itself.",
        "Add the address below to the authorized networks, or connect through a private address.",
    ),
    "alloydb": (
        "Google AlloyDB",
        "Set the flag alloydb.logical_decoding = on; the instance restarts by itself.",
        "Connections come through its private network or the Auth Proxy; there is no pg_hba.conf to edit.",
    ),
    "azure": (
        "Azure Database for PostgreSQL",
        "Set the server parameter wal_level = logical and save it with a restart.",
        "Add the address below to the firewall rules of the server.",
    ),
    "tencentdb": (
        "TencentDB for PostgreSQL",
        "Set wal_level = logical among the instance's parameters and restart the instance.",
        "The instance's security group decides who may connect: allow the address below.",
    ),
    "alibaba": (
        "Alibaba Cloud ApsaraDB RDS",
        "Set wal_level = logical among the instance's parameters; it restarts.",
        "Add the address below to the instance's whitelist.",
    ),
    "neon": (
        "Neon",
        "Enable logical replication in the project's settings; its computes restart.",
        "Use the direct address of the server, not the one with -pooler in it.",
    ),
    "supabase": (
        "Supabase",
        "wal_level is logical from the start; other settings are changed with its command line.",
        "Use the direct address of the server, not the one of the pooler.",
    ),
}
