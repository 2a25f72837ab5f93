"""Task settings: name, when to run, whether changes follow until Complete; and another time later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from crispy_forms.layout import Div, Field
from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migrations_app import selectors

from .fields import Segments, helper, segments

_LAST_YEAR = 9000
"""Later times end beyond the calendar in another time zone."""


def _start_at(*, required: bool) -> forms.DateTimeField:
    invalid = gettext_lazy("Enter a date and a time that exist here, for example 2030-01-31 23:00.")
    return forms.DateTimeField(
        label=gettext_lazy("Start at"),
        required=required,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        error_messages={"invalid": invalid, "required": gettext_lazy("Enter the time at which the task may start.")},
    )


def _problem(moment: datetime, passed: str) -> str:
    """Return why a task cannot start then; '' when it can. `passed`: for a time before now, which is its %(clock)s."""
    if moment.year > _LAST_YEAR:
        return str(_start_at(required=True).error_messages["invalid"])
    if moment <= timezone.now():
        return passed % {"clock": timezone.localtime().strftime("%H:%M on %Y-%m-%d")}
    return ""


class TimeForm(forms.Form):
    """Another time for a task that waits for one."""

    scheduled_at = _start_at(required=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scheduled_at"].help_text = _("Times are in %(zone)s.") % {"zone": selectors.time_zone_name()}

    def clean_scheduled_at(self) -> datetime:
        """Refuse a past time."""
        moment: datetime = self.cleaned_data["scheduled_at"]
        if problem := _problem(moment, _("This time has passed: it is %(clock)s here. Choose a later time.")):
            raise forms.ValidationError(problem)
        return moment


class TaskForm(forms.Form):
    """Task settings: name, when to run, whether changes follow until Complete."""

    name = forms.CharField(
        label=gettext_lazy("Task name"),
        max_length=120,
        error_messages={
            "required": gettext_lazy("Give the task a name, for example the application that moves."),
            "max_length": gettext_lazy("Use at most 120 characters; this name has %(show_value)d."),
        },
    )
    when = forms.ChoiceField(
        label=gettext_lazy("Scheduled execution"),
        widget=Segments(
            {
                "now": gettext_lazy("Begins as soon as you press Start and its turn comes."),
                "at": gettext_lazy("Begins queuing at that time once you have pressed Start."),
            }
        ),
        choices=[("now", gettext_lazy("Now")), ("at", gettext_lazy("At a set time"))],
        initial="now",
        error_messages={
            "required": gettext_lazy("Choose when the migration starts: now, or at a set time."),
            "invalid_choice": gettext_lazy("Choose one of the two: now, or at a set time."),
        },
    )
    scheduled_at = _start_at(required=False)
    incremental = forms.BooleanField(
        label=gettext_lazy("Incremental sync"),
        required=False,
        initial=True,
        help_text=gettext_lazy(
            "Changes on the source keep arriving on the target until you press Complete. "
            "Without it the application has to stop writing before the start."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scheduled_at"].help_text = _("Times are in %(zone)s.") % {"zone": selectors.time_zone_name()}
        later = Div(Field("scheduled_at"), css_class="only-later")
        self.helper = helper(
            Div(
                Div(Field("name", autocomplete="off"), Field("incremental")),
                Div(segments("when"), later),
                css_class="task-grid",
            )
        )

    def clean(self) -> dict[str, Any]:
        """Refuse a missing or past time; forget a time that was typed and then not chosen."""
        data = super().clean() or self.cleaned_data
        if data.get("when") != "at":
            data["scheduled_at"] = None
        elif "scheduled_at" not in self.errors:
            self._judge_time(data.get("scheduled_at"))
        return data

    def _judge_time(self, moment: datetime | None) -> None:
        if moment is None:
            self.add_error("scheduled_at", _("Enter the time at which the task may start, or choose Now."))
        elif problem := _problem(moment, _("This time has passed: it is %(clock)s here. Choose a later time, or Now.")):
            self.add_error("scheduled_at", problem)
