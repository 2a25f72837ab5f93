"""Tags: words under which operators file tasks. A tag that no task carries is gone."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from ..engine.wording import say
from ..models import MigrationTask, Tag
from .base import Actor, Refused, TaskId, locked, note

MOST_TAGS = 12


@transaction.atomic
def add_tag(*, task_id: TaskId, actor: Actor, name: str) -> Tag:
    """File the task under `name`; upper and lower case are one tag. Idempotent. Raises Refused."""
    task, words = locked(task_id), _clean(name)
    tag = _known(words)
    if tag is not None and task.tags.filter(pk=tag.pk).exists():
        return tag
    if task.tags.count() >= MOST_TAGS:
        raise Refused(_("A task carries at most %(most)d tags. Remove one first.") % {"most": MOST_TAGS})
    tag = tag or _make(words)
    task.tags.add(tag)
    note(task, say("Tag {name} added.", name=tag.name), actor=actor, code="TASK-TAGGED")
    return tag


@transaction.atomic
def remove_tag(*, task_id: TaskId, actor: Actor, name: str) -> None:
    """Take the tag off the task. Idempotent."""
    task = locked(task_id)
    tag = task.tags.filter(name__iexact=name.strip()[:40]).first()
    if tag is None:
        return
    task.tags.remove(tag)
    note(task, say("Tag {name} removed.", name=tag.name), actor=actor, code="TASK-UNTAGGED")
    drop_unused([tag.pk])


def drop_unused(keys: list[int]) -> None:
    """Delete those of the tags that no task carries."""
    Tag.objects.filter(pk__in=keys, tasks=None).delete()


def copy_tags(task: MigrationTask, copy: MigrationTask) -> None:
    """File `copy` under the same tags."""
    copy.tags.set(task.tags.all())


def _known(words: str) -> Tag | None:
    return Tag.objects.filter(name__iexact=words).first()


def _make(words: str) -> Tag:
    try:
        with transaction.atomic():
            return Tag.objects.create(name=words)
    except IntegrityError:  # somebody made it in this moment
        return Tag.objects.get(name=words)


def _clean(name: str) -> str:
    words = " ".join(name.split())
    if not words or len(words) > 40:
        raise Refused(_("A tag has 1 to 40 characters."))
    if "," in words or not words.isprintable():
        raise Refused(_("A tag is one plain word or a few, without commas and without invisible characters."))
    return words
