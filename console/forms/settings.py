"""The three forms of step 1, bound and judged as one, or one side alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from migrations_app import services
from migrations_app.models import MigrationTask

from .endpoint import SourceForm, TargetForm
from .task import TaskForm


class SettingsForms:
    """The three forms of step 1. `typed_in`: show what a request says without judging it.

    `only`: judge this side alone, and show the rest of `data` as it was typed.
    """

    def __init__(
        self,
        data: Any = None,
        uploads: Any = None,
        *,
        task: MigrationTask | None = None,
        typed_in: Mapping[str, Any] | None = None,
        only: str = "",
    ) -> None:
        self.only = only
        judged = {"data": data, "uploads": uploads, "typed_in": typed_in}
        shown = {"typed_in": data}
        given = {side: judged if only in ("", side) else shown for side in ("source", "target")}
        self.task = TaskForm(None if only else data, initial=_first(task, data if only else typed_in))
        self.target = TargetForm(**given["target"], stored=task.target if task else None)
        # Whether both stand in one region is nothing that a single side can be blamed for.
        other = {} if only else self.target.values
        self.source = SourceForm(**given["source"], stored=task.source if task else None, other=other)

    @property
    def judged(self) -> list[forms.Form]:
        """The forms whose errors count."""
        return [getattr(self, self.only)] if self.only else [self.task, self.source, self.target]

    def is_valid(self) -> bool:
        """Judge all of them, so that every error shows at once."""
        valid = [form.is_valid() for form in self.judged]
        return all(valid)

    @property
    def error_count(self) -> int:
        """How many fields need another look."""
        return sum(len(form.errors) for form in self.judged)

    def tell_what_to_type_again(self) -> None:
        """Say at secrets of both sides what has to be typed again, once something was refused."""
        for form in (self.source, self.target):
            form.tell_what_to_type_again()

    def values(self) -> dict[str, Any]:
        """Return the keyword arguments that create_draft and save_settings share."""
        data = self.task.cleaned_data
        return {
            "name": data["name"],
            "scheduled_at": data["scheduled_at"],
            "incremental": data["incremental"],
            "source": self.source.endpoint(),
            "target": self.target.endpoint(),
        }

    def side(self) -> services.EndpointData:
        """Return what was typed for the only side that was judged."""
        form = self.target if self.only == "target" else self.source
        return form.endpoint()

    def name(self) -> str:
        """Return the name for a draft that begins with one side: what was typed, where a name can be that."""
        try:
            name: str = self.task.fields["name"].clean(self.task.initial.get("name"))
        except forms.ValidationError:
            return _("Untitled draft")
        return name


def _first(task: MigrationTask | None, typed_in: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the task's own fields show at first: what was typed, else what is stored."""
    if typed_in is not None:
        first = {name: typed_in.get(name, "") for name in ("name", "when", "scheduled_at")}
        return {**first, "incremental": "incremental" in typed_in}
    if task is None:
        return {}
    when = "at" if task.scheduled_at else "now"
    return {"name": task.name, "when": when, "scheduled_at": task.scheduled_at, "incremental": task.incremental}
