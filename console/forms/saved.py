"""A saved endpoint: the fields of a source, and a name."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migrations_app import selectors

from .endpoint import EndpointForm


class SavedEndpointForm(EndpointForm):
    """A saved endpoint. Its types are those of a source; a target can take the ones that it has as well."""

    side = "source"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["save_as"]
        del self.fields["saved"]
        self.fields["saved_name"] = forms.CharField(
            label=gettext_lazy("Name"),
            max_length=120,
            initial=self.stored.saved_name if self.stored else "",
            widget=forms.TextInput(attrs={"autocomplete": "off"}),
            help_text=gettext_lazy("How operators find it when they create a task."),
            error_messages={
                "required": gettext_lazy("Give the endpoint a name."),
                "max_length": gettext_lazy("Use at most 120 characters."),
            },
        )
        self.fields["database"].help_text = gettext_lazy("Any one that this account may connect to.")
        self.fields["kind"].label = gettext_lazy("Database type")

    def clean_saved_name(self) -> str:
        """Refuse a name that another saved endpoint has."""
        name: str = self.cleaned_data["saved_name"]
        if selectors.name_is_taken(name, but=self.stored.pk if self.stored else None):
            raise forms.ValidationError(_("There is a saved endpoint with this name already. Choose another name."))
        return name

    def clean(self) -> dict[str, Any]:
        """Judge as an endpoint of a task, which may bear a name to save it under."""
        self.cleaned_data["save_as"] = ""
        return super().clean()
