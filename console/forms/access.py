"""The account of one side and how its connection is protected: TLS, certificates, sign-in methods, SSH host."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from migrations_app.models import Endpoint

from . import files
from .fields import PLAIN, clean_host, clean_name, port_field, tls_choices

KEPT = ("account", "database", "tls_mode", "require_auth", "ssh_host", "ssh_port", "ssh_user")
SECRETS = ("password", "ssh_password")
MORE = (
    "ca",
    "ca_remove",
    "client_certificate",
    "client_key",
    "client_remove",
    "require_auth",
    "ssh_host",
    "ssh_port",
    "ssh_user",
    "ssh_password",
    "ssh_key",
    "save_as",
)


def _secret(label: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        error_messages={
            "max_length": gettext_lazy(
                "A password has at most 1,000 characters here. Check for text pasted by mistake."
            )
        },
    )


def _upload(label: Any, help_text: Any = "") -> forms.FileField:
    return forms.FileField(
        label=label,
        required=False,
        help_text=help_text,
        error_messages={"empty": gettext_lazy("This file is empty. Check which file it is.")},
    )


class AccessFields(forms.Form):
    """Account, login database, TLS and SSH host. Files are judged as they come in and kept as text."""

    saved = forms.UUIDField(required=False, widget=forms.HiddenInput())
    account = forms.CharField(
        label=gettext_lazy("Account"),
        strip=False,
        widget=forms.TextInput(attrs=PLAIN),
        error_messages={"required": gettext_lazy("Enter the account that the migration signs in with.")},
    )
    password = _secret(gettext_lazy("Password"))
    database = forms.CharField(
        label=gettext_lazy("Database for the login"),
        strip=False,
        initial="postgres",
        widget=forms.TextInput(attrs=PLAIN),
        help_text=gettext_lazy("Any one that this account may connect to. What migrates is chosen in the next step."),
        error_messages={
            "required": gettext_lazy("Enter a database that this account may connect to, for example postgres.")
        },
    )
    tls_mode = forms.ChoiceField(
        label=gettext_lazy("TLS"),
        choices=tls_choices(),
        initial="require",
        help_text=gettext_lazy("Only the last choice proves that it is the right server."),
        error_messages={"invalid_choice": gettext_lazy("Choose one of the offered TLS modes.")},
    )
    ca = _upload(
        gettext_lazy("Certificate authority (PEM file)"),
        gettext_lazy("Whom the last two TLS modes trust. Without a file: what the workers' system trusts."),
    )
    ca_remove = forms.BooleanField(label=gettext_lazy("Remove the stored certificate authority"), required=False)
    client_certificate = _upload(gettext_lazy("Client certificate (PEM file)"))
    client_key = _upload(gettext_lazy("Its key (PEM file)"))
    client_remove = forms.BooleanField(
        label=gettext_lazy("Remove the stored client certificate and its key"), required=False
    )
    require_auth = forms.ChoiceField(
        label=gettext_lazy("Accepted sign-in methods"),
        required=False,
        choices=Endpoint.SIGN_INS,
        initial="scram-sha-256",
        help_text=gettext_lazy("A server that asks for anything weaker is refused."),
        error_messages={"invalid_choice": gettext_lazy("Choose one of the offered sign-in methods.")},
    )
    ssh_host = forms.CharField(
        label=gettext_lazy("SSH host"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs=PLAIN),
        help_text=gettext_lazy("The server address above is then dialled from there. Empty: no SSH host between."),
    )
    ssh_port = port_field(gettext_lazy("SSH port"), usual=22, required=False)
    ssh_user = forms.CharField(
        label=gettext_lazy("SSH user"), required=False, max_length=120, widget=forms.TextInput(attrs=PLAIN)
    )
    ssh_password = _secret(gettext_lazy("SSH password"))
    ssh_key = _upload(gettext_lazy("SSH private key (file)"), gettext_lazy("Instead of a password. No passphrase."))
    save_as = forms.CharField(
        label=gettext_lazy("Save this endpoint as"),
        required=False,
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("A name under which later tasks find it, with its secrets."),
        error_messages={"max_length": gettext_lazy("Use at most 120 characters.")},
    )

    def clean_ssh_host(self) -> str:
        """Accept one host name or address, or none."""
        value: str = self.cleaned_data["ssh_host"]
        return clean_host(value) if value.strip() else ""

    def clean_account(self) -> str:
        """Accept what PostgreSQL accepts as a name."""
        return clean_name(self.cleaned_data["account"])

    def clean_database(self) -> str:
        """Accept what PostgreSQL accepts as a name."""
        return clean_name(self.cleaned_data["database"])

    def clean_ca(self) -> str | None:
        """Return the certificates of the file, or None."""
        upload = self.cleaned_data["ca"]
        return files.read_certificates(upload) if upload else None

    def clean_client_certificate(self) -> str | None:
        """Return the certificates of the file, or None."""
        upload = self.cleaned_data["client_certificate"]
        return files.read_certificates(upload) if upload else None

    def clean_client_key(self) -> str | None:
        """Return the key of the file, or None."""
        upload = self.cleaned_data["client_key"]
        return files.read_key(upload) if upload else None

    def clean_ssh_key(self) -> str | None:
        """Return the key of the file, or None."""
        upload = self.cleaned_data["ssh_key"]
        return files.read_ssh_key(upload) if upload else None
