"""The three forms of step 1, bound and judged as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrations_app.models import MigrationTask

from .endpoint import SourceForm, TargetForm
from .task import TaskForm


class SettingsForms:
    """The three forms of step 1. `typed_in`: show what a request says without judging it."""

    def __init__(
        self,
        data: Any = None,
        uploads: Any = None,
        *,
        task: MigrationTask | None = None,
        typed_in: Mapping[str, Any] | None = None,
    ) -> None:
        first: dict[str, Any] = {}
        if task is not None:
            first = {"name": task.name, "incremental": task.incremental, "scheduled_at": task.scheduled_at}
            first["when"] = "at" if task.scheduled_at else "now"
        if typed_in is not None:
            first = {name: typed_in.get(name, "") for name in ("name", "when", "scheduled_at")}
            first["incremental"] = "incremental" in typed_in
        self.task = TaskForm(data, initial=first)
        self.target = TargetForm(data, uploads, stored=task.target if task else None, typed_in=typed_in)
        self.source = SourceForm(
            data, uploads, stored=task.source if task else None, typed_in=typed_in, other=self.target.values
        )

    def is_valid(self) -> bool:
        """Judge all three, so that every error shows at once."""
        return all([self.task.is_valid(), self.source.is_valid(), self.target.is_valid()])

    @property
    def error_count(self) -> int:
        """How many fields need another look."""
        return sum(len(form.errors) for form in (self.task, self.source, self.target))

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
