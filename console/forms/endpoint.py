"""One side of a task, or a saved endpoint: where the server stands, the account, and how the connection is protected.

Passwords, keys and certificates go in and never come out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.utils.translation import gettext as _

from migrations_app import selectors, services
from migrations_app.models import Endpoint

from . import files
from .access import KEPT, MORE, SECRETS, AccessFields
from .fields import clean_host, tls_choices
from .place import LISTED, PLACE, arrange, kind_field, place_fields, stored_values, typed


class EndpointForm(AccessFields):
    """One side. `stored`: what is kept for empty secrets; `typed_in`: a request whose values are shown, not judged."""

    side: ClassVar[str] = ""

    def __init__(
        self,
        data: Any = None,
        uploads: Any = None,
        *,
        stored: Endpoint | None = None,
        typed_in: Mapping[str, Any] | None = None,
        other: Mapping[str, str] | None = None,
    ) -> None:
        self.saved_gone = False
        asked = data if data is not None else typed_in
        self.stored = self._taken(asked, stored)
        self.other = dict(other or {})
        super().__init__(data, uploads, prefix=self.side)
        self.fields = {"kind": kind_field(self.side), **place_fields(), **self.fields}
        self._offer_tls()
        self._start(typed_in)
        values = typed(data, self.side) if data is not None else {n: str(self._now(n)) for n in ("kind", *PLACE)}
        kept = stored_values(self.stored) if self.stored else None
        arranged = arrange(self.fields, self.side, values, forget=data is None, stored=kept)
        self.place, self.list_note, self.values = arranged
        if data is None:
            self.initial.update({name: self.values[name] for name in LISTED})
        self._tell_what_is_stored()

    def _taken(self, asked: Mapping[str, Any] | None, stored: Endpoint | None) -> Endpoint | None:
        """Return the saved endpoint that was chosen instead of what the task has."""
        wanted = str((asked or {}).get(f"{self.side}-saved") or "")
        if not wanted:
            return stored
        try:
            return selectors.saved_endpoint(wanted)
        except selectors.NotFound:
            self.saved_gone = True
            return stored

    def _start(self, typed_in: Mapping[str, Any] | None) -> None:
        """Fill in what is shown at first: what is stored, then what was typed."""
        if self.stored is not None:
            self.initial = {**stored_values(self.stored), **{name: getattr(self.stored, name) for name in KEPT}}
            self.initial["saved"] = self.stored.pk if self.stored.saved_name else ""
        if typed_in is not None:
            self.initial.update({name: value for name, value in typed(typed_in, self.side).items() if value})
            for name in (*KEPT, "save_as"):
                if f"{self.side}-{name}" in typed_in:
                    self.initial[name] = typed_in[f"{self.side}-{name}"]
        for name in ("kind", "port"):
            self.initial.setdefault(name, self.fields[name].initial)

    def _offer_tls(self) -> None:
        tls = self.fields["tls_mode"]
        assert isinstance(tls, forms.ChoiceField)  # noqa: S101 - for mypy
        tls.choices = tls_choices(self.stored.tls_mode if self.stored else "")

    def _now(self, name: str) -> Any:
        return self.initial.get(name) or ""

    def _tell_what_is_stored(self) -> None:
        """Say at empty fields that something is stored; never what it is, certificates excepted."""
        if self.stored is None:
            return
        for name in SECRETS:
            if getattr(self.stored, name):
                self.fields[name].widget.attrs["placeholder"] = _("stored, leave empty to keep")
        for name, pem in (("ca", self.stored.ca_pem), ("client_certificate", self.stored.client_cert_pem)):
            if pem:
                self.fields[name].help_text = _("Stored: %(what)s.") % {"what": selectors.certificate_words(pem)}
        if self.stored.client_key_pem:
            self.fields["client_key"].help_text = _("A key is stored.")
        if self.stored.ssh_private_key:
            self.fields["ssh_key"].help_text = _("A key is stored. No passphrase.")

    def tell_what_to_type_again(self) -> None:
        """Say at secrets, once the form was refused, what has to be typed again: no page carries one back."""
        for name in SECRETS:
            attrs = self.fields[name].widget.attrs
            if name in self.errors:
                attrs.pop("placeholder", None)  # that nothing has to be typed
            elif self.is_bound and self.data.get(self.add_prefix(name)):
                attrs["placeholder"] = _("type it again")

    # What templates ask.

    @property
    def kind(self) -> str:
        """The chosen type."""
        return self.values.get("kind", "")

    @property
    def chosen(self) -> list[forms.BoundField]:
        """The fields that say which network, gateway or instance: they change with each other."""
        return [self[name] for name in self.place if name not in ("host", "port")]

    @property
    def address(self) -> list[forms.BoundField]:
        """Server address and port, as far as this type has them."""
        return [self[name] for name in ("host", "port") if name in self.place]

    @property
    def carried(self) -> list[tuple[str, str]]:
        """What was typed into fields that this type does not have: not lost when the type is changed back."""
        names = [name for name in ("host", "port") if name not in self.place]
        return [(self.add_prefix(name), self.values[name]) for name in names if self.values.get(name)]

    @property
    def advice(self) -> str:
        """The manual's advice when the source stands in another region than the target; else ''."""
        return selectors.region_advice(self.values, self.other) if self.side == "source" and self.other else ""

    @property
    def more_is_open(self) -> bool:
        """Whether the rarer settings show at once: something of them is set, or is wrong."""
        stored = self.stored
        is_set = stored is not None and (stored.ssh_host or stored.client_cert_pem or stored.ca_pem)
        return bool(is_set) or any(name in self.errors for name in MORE)

    @property
    def has_stored(self) -> dict[str, bool]:
        """Which certificates are stored, for the boxes that remove them."""
        stored = self.stored
        return {"ca": bool(stored and stored.ca_pem), "client": bool(stored and stored.client_cert_pem)}

    # Judging.

    def clean_host(self) -> str:
        """Accept one host name or address."""
        return clean_host(self.cleaned_data["host"])

    def clean_save_as(self) -> str:
        """Refuse a name that another saved endpoint has."""
        name: str = self.cleaned_data["save_as"].strip()
        if name and selectors.name_is_taken(name):
            raise forms.ValidationError(_("There is a saved endpoint with this name already. Choose another name."))
        return name

    def clean(self) -> dict[str, Any]:
        """Look the whole chain up, and ask again for every secret that would go to another place."""
        data = super().clean() or self.cleaned_data
        if self.saved_gone:
            gone = _("The saved endpoint was deleted meanwhile. Choose another one, or fill in all fields.")
            self.add_error(None, gone)
        self._judge_place(data)
        self._judge_client_certificate(data)
        self._judge_ssh(data)
        if not self.errors and self.stored is not None:
            self._judge_kept(self.stored, self.endpoint())
        return data

    def _judge_place(self, data: dict[str, Any]) -> None:
        if "kind" in self.errors:
            return
        judged = selectors.judge(self.side, {**data, "kind": data["kind"]}, target=self.other or None)
        for name, message in judged.errors.items():
            if name not in self.errors:
                self.add_error(name if name in self.fields else None, message)
        if "host" not in self.place:
            data["host"] = judged.choice.host
        if "port" not in self.place:
            data["port"] = judged.choice.port or 5432

    def _judge_client_certificate(self, data: dict[str, Any]) -> None:
        """Certificate and key come together, and belong together."""
        if {"client_certificate", "client_key"} & set(self.errors):
            return
        certificate, key = data.get("client_certificate"), data.get("client_key")
        if certificate and not key:
            self.add_error("client_key", _("Choose the key of this certificate as well."))
        elif key and not certificate:
            self.add_error("client_certificate", _("Choose the certificate of this key as well."))
        elif certificate and key and not files.belong_together(certificate, key):
            self.add_error("client_key", _("This key does not belong to the certificate. Choose the matching pair."))

    def _judge_ssh(self, data: dict[str, Any]) -> None:
        """An SSH host needs a user, and a password or a key."""
        if not data.get("ssh_host") or {"ssh_host", "ssh_key", "ssh_password"} & set(self.errors):
            return
        if not data.get("ssh_user"):
            self.add_error("ssh_user", _("Enter the user of the SSH host."))
        elif not data.get("ssh_password") and not data.get("ssh_key") and not self._has_ssh_secret():
            self.add_error("ssh_password", _("Enter the password of this user, or choose a private key."))

    def _has_ssh_secret(self) -> bool:
        return self.stored is not None and bool(self.stored.ssh_password or self.stored.ssh_private_key)

    def _judge_kept(self, stored: Endpoint, wanted: services.EndpointData) -> None:
        if stored.has_password and wanted.password is None and not services.keeps_password(stored, wanted):
            self.add_error(
                "password",
                _(
                    "Enter the password again: the stored one is not sent to another address or account, "
                    "nor over weaker TLS, nor through another SSH host."
                ),
            )
        typed_secret = wanted.ssh_password or wanted.ssh_private_key
        if wanted.ssh_host and not typed_secret and not services.keeps_ssh_secrets(stored, wanted):
            self.add_error(
                "ssh_password",
                _("Enter the SSH password or choose the key again: a stored one is not sent to another SSH host."),
            )

    def endpoint(self) -> services.EndpointData:
        """Return the typed values; an empty secret means: keep the stored one."""
        data = self.cleaned_data
        place: dict[str, Any] = {name: data.get(name) or "" for name in PLACE if name not in ("host", "port")}
        return services.EndpointData(
            kind=data["kind"],
            **place,
            host=data["host"],
            port=data["port"],
            account=data["account"],
            password=data["password"] or None,
            database=data["database"],
            tls_mode=data["tls_mode"],
            ca_pem="" if data["ca_remove"] and not data["ca"] else data["ca"],
            **self._client(),
            require_auth=data["require_auth"] or None,
            **self._ssh(),
            saved_id=self._saved_id(),
            save_as=data["save_as"],
        )

    def _client(self) -> dict[str, Any]:
        certificate, key = self.cleaned_data["client_certificate"], self.cleaned_data["client_key"]
        if self.cleaned_data["client_remove"] and not certificate:
            return {"client_cert_pem": "", "client_key_pem": ""}
        return {"client_cert_pem": certificate, "client_key_pem": key}

    def _ssh(self) -> dict[str, Any]:
        """A new password takes the place of a stored key, and the other way round."""
        data = self.cleaned_data
        if not data["ssh_host"]:
            return {"ssh_host": "", "ssh_user": "", "ssh_port": 22, "ssh_password": "", "ssh_private_key": ""}
        password, key = data["ssh_password"] or None, data["ssh_key"]
        if password or key:
            password, key = password or "", key or ""
        return {
            "ssh_host": data["ssh_host"],
            "ssh_port": data["ssh_port"] or 22,
            "ssh_user": data["ssh_user"],
            "ssh_password": password,
            "ssh_private_key": key,
        }

    def _saved_id(self) -> UUID | None:
        """Return the saved endpoint whose secrets are to be taken."""
        chosen: UUID | None = self.cleaned_data.get("saved")
        return chosen if chosen and not self.saved_gone else None


class SourceForm(EndpointForm):
    """The source: one of the five types."""

    side = "source"


class TargetForm(EndpointForm):
    """The target: a TencentDB instance, or any PostgreSQL by its address."""

    side = "target"
