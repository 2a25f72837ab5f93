"""Task settings: name, when to run, whether changes follow until Complete."""

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
    scheduled_at = forms.DateTimeField(
        label=gettext_lazy("Start at"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        error_messages={
            "invalid": gettext_lazy("Enter a date and a time that exist here, for example 2030-01-31 23:00.")
        },
    )
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
        elif moment.year > _LAST_YEAR:
            self.add_error("scheduled_at", self.fields["scheduled_at"].error_messages["invalid"])
        elif moment <= timezone.now():
            clock = timezone.localtime().strftime("%H:%M on %Y-%m-%d")
            self.add_error(
                "scheduled_at",
                _("This time has passed: it is %(clock)s here. Choose a later time, or Now.") % {"clock": clock},
            )
