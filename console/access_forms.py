"""The form that changes how the servers of a started task are reached. Nothing is saved here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from migrations_app import selectors, services
from migrations_app.models import Endpoint

from .forms import files
from .forms.access import AccessFields
from .forms.fields import clean_host, clean_name, tls_choices

_OPTIONS = ("ca", "ca_remove", "client_certificate", "client_key", "client_remove")
_OF_SSH = ("ssh_user", "ssh_password", "ssh_key")


class AccessForm(forms.Form):
    """One side. Secrets are write-only; an address that may not change is shown and cannot be sent.

    Where an SSH host stands before the server, its user, secrets and key may change, but never which host it is.
    """

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

    ssh_host_key = forms.CharField(
        label=_("Key of the SSH host"),
        required=False,
        max_length=5000,
        help_text=_(
            "Only if it has changed: the line that the host's administrator reads out of its .pub file or ssh-keyscan."
        ),
    )

    def __init__(
        self, data: QueryDict | None, uploads: Any = None, *, endpoint: Endpoint, movable: bool, side: str
    ) -> None:
        initial = {name: getattr(endpoint, name) for name in ("host", "port", "account", "tls_mode", "ssh_user")}
        super().__init__(data, uploads, prefix=side, initial=initial)
        self.side, self._endpoint = side, endpoint
        self._offer_options()
        self.fields["tls_mode"] = forms.ChoiceField(label=_("TLS"), choices=tls_choices(endpoint.tls_mode))
        for name in ("host", "port"):
            self.fields[name].disabled = not movable
        for name, field in self.fields.items():
            style = "form-select" if name == "tls_mode" else "form-control"
            style = "form-check-input" if name.endswith("_remove") else style
            field.widget.attrs.setdefault("class", style)
            field.widget.attrs.setdefault("autocomplete", "off")

    def _offer_options(self) -> None:
        """Add the fields of certificates, and of the SSH host where there is one; say at each what is stored."""
        endpoint, offered = self._endpoint, [*_OPTIONS, *(_OF_SSH if self._endpoint.uses_bastion else ())]
        for name, pem in (("ca_remove", endpoint.ca_pem), ("client_remove", endpoint.client_cert_pem)):
            if not pem:
                offered.remove(name)
        key = self.fields.pop("ssh_host_key")
        self.fields.update({name: AccessFields(prefix=self.side).fields[name] for name in offered})
        for name, pem in (("ca", endpoint.ca_pem), ("client_certificate", endpoint.client_cert_pem)):
            if pem:
                self.fields[name].help_text = _("Stored: %(what)s.") % {"what": selectors.certificate_words(pem)}
        if endpoint.uses_bastion:
            self.fields["ssh_host_key"] = key
            self.fields["ssh_user"].required = True
            self.fields["ssh_password"].widget.attrs["placeholder"] = _("stored, leave empty to keep")

    def clean(self) -> dict[str, Any]:
        """Read files and the key of the SSH host; a certificate and its key come together, and belong together."""
        data = super().clean() or self.cleaned_data
        readers: dict[str, Callable[[Any], str]] = {
            "ca": files.read_certificates,
            "client_certificate": files.read_certificates,
            "client_key": files.read_key,
            "ssh_key": files.read_ssh_key,
            "ssh_host_key": files.read_host_key,
        }
        for name, read in readers.items():
            if data.get(name):
                try:
                    data[name] = read(data[name])
                except forms.ValidationError as error:
                    self.add_error(name, error)
        if {"client_certificate", "client_key"} & set(self.errors):
            return data
        certificate, key = data.get("client_certificate"), data.get("client_key")
        if bool(certificate) != bool(key):
            missing = "client_key" if certificate else "client_certificate"
            self.add_error(missing, _("Choose the certificate and its key, both."))
        elif certificate and key and not files.belong_together(certificate, key):
            self.add_error("client_key", _("This key does not belong to the certificate. Choose the matching pair."))
        return data

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
            ca_pem=data["ca"] or ("" if data.get("ca_remove") else None),
            client_cert_pem=data["client_certificate"] or ("" if data.get("client_remove") else None),
            client_key_pem=data["client_key"] or ("" if data.get("client_remove") else None),
            **self._ssh(),
        )

    def _ssh(self) -> dict[str, Any]:
        """Return what concerns the SSH host: a new password takes the place of a stored key, and the other way."""
        data = self.cleaned_data
        if not self._endpoint.uses_bastion:
            return {}
        password, key = data["ssh_password"] or None, data["ssh_key"] or None
        if password or key:
            password, key = password or "", key or ""
        return {
            "ssh_user": data["ssh_user"],
            "ssh_password": password,
            "ssh_private_key": key,
            "ssh_host_key": data["ssh_host_key"] or None,
        }
