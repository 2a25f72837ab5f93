"""How fast a task copies."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy

from migrations_app import services


class SpeedForm(forms.Form):
    """Two numbers; an empty one means as usual, or no cap."""

    jobs = forms.IntegerField(
        label=gettext_lazy("Tables at the same time"), required=False, min_value=1, max_value=services.MOST_JOBS
    )
    rate = forms.IntegerField(
        label=gettext_lazy("MB a second at most"), required=False, min_value=1, max_value=services.MOST_MB_PER_SECOND
    )

    def complaint(self) -> str:
        """Return what is wrong, field by field, in one line."""
        return " ".join(
            f"{self.fields[name].label}: {' '.join(map(str, words))}" for name, words in self.errors.items()
        )
