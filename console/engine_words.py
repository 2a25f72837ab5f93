"""Words of the engine, which speaks English only, listed so that they are collected for translation.

Tests compare these lists with the engine's own.
"""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.utils.translation import gettext_noop as _

RESULTS: dict[str, Promise] = {
    "passed": gettext_lazy("passed"),
    "warning": gettext_lazy("warning"),
    "failed": gettext_lazy("failed"),
    "waiting": gettext_lazy("waiting"),
    "done": gettext_lazy("done"),
    "running": gettext_lazy("running"),
    "pending": gettext_lazy("pending"),
    "stopped": gettext_lazy("stopped"),
    "paused": gettext_lazy("paused"),
}
STANDS: dict[str, Promise] = {
    "draft": pgettext_lazy("where a task stands", "draft"),
    "checking": pgettext_lazy("where a task stands", "checking"),
    "check_failed": pgettext_lazy("where a task stands", "check failed"),
    "check_passed": pgettext_lazy("where a task stands", "check passed"),
    "scheduled": pgettext_lazy("where a task stands", "scheduled"),
    "queued": pgettext_lazy("where a task stands", "queued"),
    "running": pgettext_lazy("where a task stands", "running"),
    "paused": pgettext_lazy("where a task stands", "paused"),
    "ready": pgettext_lazy("where a task stands", "ready"),
    "completing": pgettext_lazy("where a task stands", "completing"),
    "completed": pgettext_lazy("where a task stands", "completed"),
    "cancelling": pgettext_lazy("where a task stands", "cancelling"),
    "cancelled": pgettext_lazy("where a task stands", "cancelled"),
    "failed": pgettext_lazy("where a task stands", "failed"),
}
REFUSALS = (
    _("Only a task that has not been started can be edited. Clone it, and edit the clone."),
    _("The check runs before the start. This task is past it, or a check is running now."),
    _("Start is possible when the check has run and nothing is Failed. Run the check first."),
    _("Only a task that waits for its scheduled time can be started now."),
    _("Only the time of a task that still waits for it can be changed."),
    _("Only a task that waits for its scheduled time can be unscheduled. Cancel it instead."),
    _("Only a running or syncing task can be paused."),
    _("Only a paused task can be resumed."),
    _("Only a failed task can be retried."),
    _("A comparison needs a task that is in sync. Wait until it is ready."),
    _("A table can be copied once more while the task syncs, is paused or has failed."),
    _("The source's row can be taken only where a conflict stopped the sync."),
    _("A statement can be applied only where a table that changed on the source stopped the sync."),
    _("A table can be quarantined only while the task has failed, so that no change of it is under way."),
    _("A table can be dropped while the task has failed, a quarantined one also while the task syncs or is paused."),
    _("A new table can be added while the task syncs, is paused or has failed."),
    _("A new table can be ignored while the task syncs, is paused or has failed."),
    _("Complete is possible once the target is in sync with the source. Wait until the task is ready."),
    _("Only a task that is completing can go back to its sync."),
    _("Only a task that was started and has not ended can be cancelled."),
    _("Only a cancelled task can be started again."),
    _("Only a task that was started and is at work can be handed over to the workers."),
    _("Only what a task that has ended has left on its servers can be cleaned up."),
    _("Only a failed task can be restarted with a new copy. Cancel it first, then start it again."),
    _("Only a failed task can become a draft again. Cancel it first."),
    _("How a started task reaches its servers can be changed only while it is failed or paused."),
    _("A task that was started must be completed or cancelled before it can be deleted."),
    _("Complete was pressed already: the last changes are moved, then both sides are compared."),
    _("Complete was pressed, and cannot be paused."),
    _("Complete was pressed, and compares both sides by itself."),
    _("It has been cancelled already."),
    _("It has completed, and nothing of it runs any more. Clone it to migrate once more."),
    _("It has completed, so nothing is left that could be cancelled."),
    _("It has failed. Mend the cause and press Retry first."),
    _("It has not been started yet, and can be edited as it is."),
    _("It has not been started yet."),
    _("It is being cancelled already."),
    _("It is being cancelled. Wait until that has ended."),
    _("It is paused already."),
    _("It is paused. Resume it first."),
    _("It is scheduled, and starts by itself at its time. Start now does not wait for that."),
    _("It waits for its turn, and nothing of it runs that could be paused."),
    _("It was cancelled, and nothing of it runs any more. Press Start again to begin anew."),
    _("It was started already, and is at work."),
    _("It was started already, and waits for its turn."),
    _("It was started already. Resume lets it go on where it was paused."),
    _("It was started already. Retry lets it go on from where it stopped."),
    _("The check is running. Wait until it has ended."),
)
FIXES = (
    _("Set the replica identity"),
    _("Create the extensions"),
    _("Create the database"),
    _("Create the schemas"),
    _("Create the owners"),
    _("Create the roles"),
    _("Write the setting"),
    _(
        "Changes on the source how PostgreSQL recognises rows of these tables in its WAL: by their unique "
        "index where they have one over columns that are never NULL, else by the whole old row (FULL), which "
        "writes more WAL for each UPDATE and DELETE. Each table is locked for a moment. It stays after the "
        "migration."
    ),
    _(
        "Makes on the target, with the target account, what the source's extensions need there. Some vendors "
        "allow their accounts to do that; if this one refuses, its reason is shown."
    ),
    _(
        "Makes the target database, empty and with the source's encoding and sort order. It belongs to the "
        "target account; Cancel leaves it there."
    ),
    _("Makes the missing schemas on the target, empty. They belong to the target account."),
    _(
        "Makes the owning roles on the target, without login and without rights of their own, and lets the "
        "target account act for them. Objects then keep their owners. The roles stay after the migration."
    ),
    _(
        "Makes the roles on the target, without login and without rights of their own, so that grants and "
        "policies can name them. The roles stay after the migration."
    ),
    _(
        "Writes the setting into the source's postgresql.auto.conf. It takes effect when you restart the "
        "source; nothing restarts it for you. It stays after the migration."
    ),
    _(
        "Writes the setting into the source's postgresql.auto.conf. The source reads its configuration again "
        "at once, for all databases; nothing is interrupted. It stays after the migration."
    ),
)
# What stands in the ledger; the kinds that pg_dump names are the usual ones, any other is shown as it is.
KINDS: dict[str, Promise] = {
    "Slot": pgettext_lazy("kind of object", "Slot"),
    "Publication": pgettext_lazy("kind of object", "Publication"),
    "Replica identity": pgettext_lazy("kind of object", "Replica identity"),
    "Database": pgettext_lazy("kind of object", "Database"),
    "Schema": pgettext_lazy("kind of object", "Schema"),
    "Table": pgettext_lazy("kind of object", "Table"),
    "Object": pgettext_lazy("kind of object", "Object"),
    "Extension": pgettext_lazy("kind of object", "Extension"),
    "Role": pgettext_lazy("kind of object", "Role"),
    "Membership": pgettext_lazy("kind of object", "Membership"),
    "Adopted": pgettext_lazy("kind of object", "Table that was there before"),
    "Large objects": pgettext_lazy("kind of object", "Large objects"),
    "Bookmark": pgettext_lazy("kind of object", "Bookmark"),
    "Truncate log": pgettext_lazy("kind of object", "Truncate log"),
    "Truncate trigger": pgettext_lazy("kind of object", "Truncate trigger"),
    "Trigger state": pgettext_lazy("kind of object", "Trigger state"),
    "Identity state": pgettext_lazy("kind of object", "Identity state"),
    "File": pgettext_lazy("kind of object", "File"),
    "View": pgettext_lazy("kind of object", "View"),
    "Materialized view": pgettext_lazy("kind of object", "Materialized view"),
    "Materialized view data": pgettext_lazy("kind of object", "Materialized view data"),
    "Index": pgettext_lazy("kind of object", "Index"),
    "Constraint": pgettext_lazy("kind of object", "Constraint"),
    "Check constraint": pgettext_lazy("kind of object", "Check constraint"),
    "Fk constraint": pgettext_lazy("kind of object", "Fk constraint"),
    "Sequence": pgettext_lazy("kind of object", "Sequence"),
    "Sequence set": pgettext_lazy("kind of object", "Sequence set"),
    "Sequence owned by": pgettext_lazy("kind of object", "Sequence owned by"),
    "Function": pgettext_lazy("kind of object", "Function"),
    "Procedure": pgettext_lazy("kind of object", "Procedure"),
    "Aggregate": pgettext_lazy("kind of object", "Aggregate"),
    "Type": pgettext_lazy("kind of object", "Type"),
    "Domain": pgettext_lazy("kind of object", "Domain"),
    "Trigger": pgettext_lazy("kind of object", "Trigger"),
    "Default": pgettext_lazy("kind of object", "Default"),
    "Rule": pgettext_lazy("kind of object", "Rule"),
    "Policy": pgettext_lazy("kind of object", "Policy"),
    "Row security": pgettext_lazy("kind of object", "Row security"),
    "Comment": pgettext_lazy("kind of object", "Comment"),
    "Acl": pgettext_lazy("kind of object", "Acl"),
    "Default acl": pgettext_lazy("kind of object", "Default acl"),
    "Collation": pgettext_lazy("kind of object", "Collation"),
    "Operator": pgettext_lazy("kind of object", "Operator"),
    "Cast": pgettext_lazy("kind of object", "Cast"),
    "Event trigger": pgettext_lazy("kind of object", "Event trigger"),
    "Server": pgettext_lazy("kind of object", "Server"),
    "User mapping": pgettext_lazy("kind of object", "User mapping"),
    "Foreign table": pgettext_lazy("kind of object", "Foreign table"),
    "Statistics": pgettext_lazy("kind of object", "Statistics"),
    "Table attach": pgettext_lazy("kind of object", "Table attach"),
    "Index attach": pgettext_lazy("kind of object", "Index attach"),
}
SETTINGS: dict[str, Promise] = {
    "kind": gettext_lazy("Type"),
    "region": gettext_lazy("Region"),
    "network": gettext_lazy("Network"),
    "vpc_id": gettext_lazy("VPC"),
    "subnet_id": gettext_lazy("Subnet"),
    "instance_id": gettext_lazy("Instance ID"),
    "gateway_id": gettext_lazy("Gateway"),
    "vpn_type": gettext_lazy("VPN type"),
    "host": gettext_lazy("Server address"),
    "port": gettext_lazy("Port"),
    "account": gettext_lazy("Account"),
    "database": gettext_lazy("Database for the login"),
    "tls_mode": gettext_lazy("TLS"),
    "require_auth": gettext_lazy("Accepted sign-in methods"),
    "ssh_host": gettext_lazy("SSH host"),
    "ssh_port": gettext_lazy("SSH port"),
    "ssh_user": gettext_lazy("SSH user"),
}
VERDICTS: dict[str, Promise] = {
    "equal": gettext_lazy("equal"),
    "differs": gettext_lazy("differs"),
    "not_compared": gettext_lazy("not compared"),
    "structure_only": gettext_lazy("structure only"),
    "left_out": gettext_lazy("left out"),
    "ahead": gettext_lazy("further on than the source's"),
}
