"""The form that changes how the servers of a failed task are reached. Nothing is saved here."""

from __future__ import annotations

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from migrations_app import services
from migrations_app.models import Endpoint

from .forms.fields import clean_host, clean_name, tls_choices


class AccessForm(forms.Form):
    """One side. The password is write-only; an address that may not change is shown and cannot be sent."""

    host = forms.CharField(
        label=_("Server address"),
        max_length=255,
        error_messages={"required": _("Enter the address of the server.")},
    )
    port = forms.IntegerField(
        label=_("Port"),
        min_value=1,
        max_value=65535,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        error_messages={"invalid": _("A port is a number, usually 5432.")},
    )
    account = forms.CharField(label=_("Account"), max_length=63, error_messages={"required": _("Enter the account.")})
    password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(
            attrs={"autocomplete": "new-password", "placeholder": _("stored, leave empty to keep")}
        ),
    )
    tls_mode = forms.ChoiceField(label=_("TLS"), choices=tls_choices())

    def __init__(self, data: QueryDict | None, *, endpoint: Endpoint, movable: bool, side: str) -> None:
        initial = {name: getattr(endpoint, name) for name in ("host", "port", "account", "tls_mode")}
        super().__init__(data, prefix=side, initial=initial)
        self.side = side
        self.fields["tls_mode"] = forms.ChoiceField(label=_("TLS"), choices=tls_choices(endpoint.tls_mode))
        for name in ("host", "port"):
            self.fields[name].disabled = not movable
        for name, field in self.fields.items():
            style = "form-select" if name == "tls_mode" else "form-control"
            field.widget.attrs.setdefault("class", style)
            field.widget.attrs.setdefault("autocomplete", "off")

    def clean_host(self) -> str:
        """Accept one host name or address."""
        host: str = self.cleaned_data["host"]
        return host if self.fields["host"].disabled else clean_host(host)

    def clean_account(self) -> str:
        """Accept what PostgreSQL accepts as a name."""
        return clean_name(self.cleaned_data["account"])

    def access(self) -> services.Access:
        """Return what was entered, once the form is valid."""
        data = self.cleaned_data
        return services.Access(
            host=data["host"],
            port=data["port"],
            account=data["account"],
            password=data["password"] or None,
            tls_mode=data["tls_mode"],
        )
