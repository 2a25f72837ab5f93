"""What moves, and under which name: every change to the selection of a task that has not been started."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from django.db import transaction
from django.utils.translation import gettext as _

from ..draft_facts import draft_hash, existing_mark, follow_mark, missing_parents, names_mark, roles_mark
from ..engine.patterns import compile_glob
from ..engine.plan import DatabasePlan
from ..engine.selection import DESTRUCTIVE, EXISTING, FOLLOW, FOREIGN_KEYS, MODES, ROLES, Mode, Path, Selection
from ..engine.states import Action
from ..engine.wording import say
from ..models import Level, MigrationTask, SourceObject
from ..telling import tell_kept
from .base import Actor, Refused, TaskId, Untyped, locked, note, refuse_stale, require, touch
from .drafts import void_check
from .renaming import refuse_bad_targets

_EXISTING_SAID = {
    "refuse": say("What is in the way on the target makes the check fail."),
    "keep": say("What is in the way on the target is used as it is; tables have to be empty."),
    "truncate": say("Confirmed by the task's name: tables that are in the way on the target are emptied."),
    "recreate": say("Confirmed by the task's name: what is in the way on the target is dropped and made anew."),
}
MOST_RULES = 20_000
_MOST_DATABASES = 20
_NAMES_AT_ONCE = 500


@transaction.atomic
def set_selection(*, task_id: TaskId, actor: Actor, selection: Selection) -> MigrationTask:
    """Replace the whole selection. Raises Refused when the task was started."""
    return _change(task_id, actor, lambda task, current: selection)


def _change(task_id: TaskId, actor: Actor, change: Callable[[MigrationTask, Selection], Selection]) -> MigrationTask:
    """Change the selection of a locked task; a check result that no longer fits is void."""
    task = locked(task_id)
    require(Action.EDIT, task)
    before = draft_hash(task)
    selection = change(task, Selection.from_json(task.selection))
    if len(selection.rules) > MOST_RULES:
        raise Refused(_("That would be too many single rules. Select whole schemas, or use a pattern such as app_*."))
    task.selection = selection.to_json()
    task.save(update_fields=["selection"])
    void_check(task, before, actor)
    touch(task)
    return task


def set_selected(*, task_id: TaskId, actor: Actor, path: Iterable[str], selected: bool) -> MigrationTask:
    """Select or leave out the whole subtree at `path`: (), (database,), (database, schema), (…, table).

    Raises Refused for a path that the source does not have, or that cannot move.
    """
    at = tuple(path)
    with transaction.atomic():
        return _change(task_id, actor, lambda task, now: now.toggle(_known(task, at), selected))


def set_mode(*, task_id: TaskId, actor: Actor, path: Iterable[str], mode: str) -> MigrationTask:
    """Let the whole subtree at `path` move with its data (`data`), without (`structure`) or not at all (empty).

    Raises Refused for an unknown path or mode.
    """
    at, wanted = tuple(path), _mode(mode)
    with transaction.atomic():
        return _change(task_id, actor, lambda task, now: now.choose(_known(task, at), wanted))


def set_matching(*, task_id: TaskId, actor: Actor, scope: Iterable[str], pattern: str, mode: str) -> MigrationTask:
    """Let everything below `scope` whose name matches a glob move by `mode`, also what appears later, as one rule.

    `scope` is (), (database,) or (database, schema); () stands for each database in which something matches now.
    Raises Refused for a pattern that cannot be read and for a scope that the source does not have.
    """
    at = tuple(scope)
    wanted = _mode(mode)

    def change(task: MigrationTask, selection: Selection) -> Selection:
        scopes = [_known(task, at)] if at else _matched(task, pattern)
        if not scopes:
            raise Refused(_("No table matches this pattern."))
        if len(scopes) > _MOST_DATABASES:
            raise Refused(_("The instance has too many databases for one pattern. Open one database and search there."))
        for scope in scopes:
            selection = selection.choose_matching(scope, pattern, wanted)
        return selection

    with transaction.atomic():
        try:
            return _change(task_id, actor, change)
        except ValueError as error:
            raise Refused(error.args[0]) from error


def set_listed(*, task_id: TaskId, actor: Actor, paths: Iterable[tuple[str, ...]], mode: str) -> MigrationTask:
    """Let exactly these tables move by `mode`, each by a rule of its own. Raises Refused for too many."""
    wanted, chosen = _mode(mode), list(paths)

    with transaction.atomic():
        return _change(task_id, actor, lambda task, now: now.choose_tables(chosen, wanted))


def drop_pattern(*, task_id: TaskId, actor: Actor, scope: Iterable[str], text: str) -> MigrationTask:
    """Forget a pattern. Nothing happens when it is not there."""
    at = tuple(scope)
    with transaction.atomic():
        return _change(task_id, actor, lambda task, now: now.forget_pattern(at, text))


def include_parents(*, task_id: TaskId, actor: Actor) -> int:
    """Select the foreign-key parents that are left out, and their parents. Returns how many tables were added.

    Raises Refused when one of them cannot move.
    """
    added = 0

    def change(task: MigrationTask, selection: Selection) -> Selection:
        nonlocal added
        while missing := {parent for _, parent in missing_parents(task, selection)}:
            _refuse_unknown(task, missing)
            selection = selection.choose_tables(missing, None)
            added += len(missing)
        return replace(selection, foreign_keys="require")

    with transaction.atomic():
        _change(task_id, actor, change)
    return added


def set_foreign_keys(*, task_id: TaskId, actor: Actor, policy: str) -> MigrationTask:
    """Say what happens to foreign keys whose parent is left out: `require` it, or go `without` the key."""
    if policy not in FOREIGN_KEYS:
        raise Refused(_("Foreign keys are either required or left out."))
    with transaction.atomic():
        return _change(task_id, actor, lambda task, now: replace(now, foreign_keys=policy))


def _stale_choice() -> str:
    return _(
        "Somebody chose something else here meanwhile. Nothing was saved. Look at the choice and save yours again."
    )


def set_roles(*, task_id: TaskId, actor: Actor, roles: str, passwords: bool, seen: str | None = None) -> MigrationTask:
    """Say which roles are made on the target when they are missing there, and whether with their passwords.

    `seen`: the `roles_mark` that the form was drawn from. Raises Refused, and Changed when it is another one by now.
    """
    if roles not in ROLES:
        raise Refused(_("Roles are left out, or those that objects need are made, or all of them."))

    def change(task: MigrationTask, now: Selection) -> Selection:
        refuse_stale(seen, roles_mark(now), _stale_choice())
        return replace(now, roles=roles, role_passwords=passwords and roles != "none")

    with transaction.atomic():
        return _change(task_id, actor, change)


def set_existing(
    *, task_id: TaskId, actor: Actor, policy: str, typed: str = "", seen: str | None = None
) -> MigrationTask:
    """Say what happens to objects of the target that are in the way.

    What empties or drops them has to be confirmed by the task's name (`typed`). `seen`: the `existing_mark` that the
    form was drawn from. Raises Refused, Untyped without that name, and Changed when it is another one by now.
    """
    if policy not in EXISTING:
        raise Refused(_("Choose what happens to what the target has already."))

    def change(task: MigrationTask, now: Selection) -> Selection:
        refuse_stale(seen, existing_mark(now), _stale_choice())
        if policy in DESTRUCTIVE and typed.strip() != task.name.strip():
            raise Untyped(_("Type the task's name to confirm that objects of the target are emptied or dropped."))
        if now.existing != policy:
            level = "warning" if policy in DESTRUCTIVE else "info"
            note(task, _EXISTING_SAID[policy], actor=actor, code="TASK-EXISTING", level=level)
        return replace(now, existing=policy)

    with transaction.atomic():
        return _change(task_id, actor, change)


def set_follow(*, task_id: TaskId, actor: Actor, follow: str, seen: str | None = None) -> MigrationTask:
    """Say whether the sync applies by itself what is only added to tables of the source, or stops and asks.

    `seen`: the `follow_mark` that the form was drawn from. Raises Refused, and Changed when it is another one by now.
    """
    if follow not in FOLLOW:
        raise Refused(_("Choose whether added columns and partitions are applied, or the sync stops and asks."))

    def change(task: MigrationTask, now: Selection) -> Selection:
        refuse_stale(seen, follow_mark(now), _stale_choice())
        return replace(now, follow=follow)

    with transaction.atomic():
        return _change(task_id, actor, change)


def set_targets(
    *,
    task_id: TaskId,
    actor: Actor,
    databases: Mapping[str, str],
    schemas: Mapping[tuple[str, str], str],
    seen: str | None = None,
) -> MigrationTask:
    """Set the names on the target of the given databases and schemas; an empty name is the one of the source.

    What is not given keeps its name. `seen`: the `names_mark` of the given ones that the form was drawn from.
    Raises renaming.BadTargets, whose `errors` name each wrong field, and Changed when they have other names by now.
    """

    def change(task: MigrationTask, now: Selection) -> Selection:
        refuse_stale(seen, names_mark(now, [*((name,) for name in databases), *schemas]))
        targets = {**now.targets, **databases}
        schema_targets = {**now.schema_targets, **schemas}
        changed = replace(
            now,
            targets={name: target for name, target in targets.items() if target and target != name},
            schema_targets={path: name for path, name in schema_targets.items() if name and name != path[1]},
        )
        refuse_bad_targets(task, changed, databases, schemas)
        _forget_marks(task, now, changed)
        return changed

    with transaction.atomic():
        return _change(task_id, actor, change)


def _forget_marks(task: MigrationTask, before: Selection, after: Selection) -> None:
    """Forget what was found on the target under names that are other ones now, until somebody looks there again."""
    marked = SourceObject.objects.filter(task=task).exclude(at_target="")
    for database in {*before.targets, *after.targets}:
        if before.target_name(database) != after.target_name(database):
            marked.filter(database=database).update(at_target="", at_target_rows=None)
    for database, schema in {*before.schema_targets, *after.schema_targets}:
        if before.target_schema(database, schema) != after.target_schema(database, schema):
            marked.filter(database=database, schema=schema).update(at_target="", at_target_rows=None)


def _mode(mode: str) -> Mode:
    found = next((each for each in MODES if each == mode), None)
    if found is None:
        raise Refused(_("Choose structure and data, structure only, or nothing."))
    return found


def _databases(task: MigrationTask) -> list[str]:
    rows = SourceObject.objects.filter(task=task, schema="", name="", selectable=True)
    return list(rows.order_by("database").values_list("database", flat=True))


def _matched(task: MigrationTask, pattern: str) -> list[Path]:
    """Return the databases that have a table which matches a glob. Raises PatternError."""
    compile_glob(pattern)
    schema, dot, name = pattern.partition(".")
    named = {"schema__glob": schema, "name__glob": name} if dot else {"name__glob": pattern}
    rows = SourceObject.objects.filter(task=task, level=Level.TABLE, selectable=True, **named)
    return [(database,) for database in rows.order_by("database").values_list("database", flat=True).distinct()]


def _known(task: MigrationTask, path: tuple[str, ...]) -> tuple[str, ...]:
    """Return `path` when the source has it, as it was read, and it can move. Raises Refused."""
    if not path:
        return path
    if not 1 <= len(path) <= 3 or "" in path:
        raise Refused(_("There is no such object. Load the page again."))
    names = dict(zip(("database", "schema", "name"), (*path, "", ""), strict=False))
    row = SourceObject.objects.filter(task=task, **names).only("selectable", "reason", "words", "root").first()
    if row is None:
        raise Refused(_("The source does not have this object any more. Read the objects again."))
    if not row.selectable:
        why = tell_kept(row.words.get("reason"), row.reason)
        raise Refused(_("%(name)s cannot move. %(why)s") % {"name": ".".join(path), "why": why})
    if row.root:
        raise Refused(_("A partition moves with its table. Select the table."))
    return path


def _refuse_unknown(task: MigrationTask, tables: Iterable[tuple[str, str, str]]) -> None:
    """Raise Refused as `_known` does when one of these tables cannot be selected; they may be very many."""
    by_schema: dict[tuple[str, str], list[str]] = defaultdict(list)
    for database, schema, name in sorted(tables):
        by_schema[database, schema].append(name)
    for (database, schema), names in by_schema.items():
        rows = SourceObject.objects.filter(
            task=task, level=Level.TABLE, selectable=True, database=database, schema=schema
        )
        for at in range(0, len(names), _NAMES_AT_ONCE):
            wanted = names[at : at + _NAMES_AT_ONCE]
            found = set(rows.filter(name__in=wanted).values_list("name", flat=True))
            for name in wanted:
                if name not in found:
                    _known(task, (database, schema, name))


def planned_databases(task: MigrationTask) -> list[DatabasePlan]:
    """Return the databases that the selection touches, by the stored object list. Raises Refused without one."""
    selection = Selection.from_json(task.selection)
    known = _databases(task)
    chosen = [name for name in known if selection.touches(name)]
    ruled = {path[0] for path, value in selection.rules.items() if path and value}
    ruled |= {rule.scope[0] for rule in selection.patterns if rule.mode}
    names = sorted({*chosen, *(ruled if not known else ())})
    if not names and not known:
        raise Refused(_("The objects of the source have not been read yet. Open the Objects step first."))
    return [DatabasePlan(source_name=name, target_name=selection.target_name(name)) for name in names]
