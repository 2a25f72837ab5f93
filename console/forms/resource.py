"""Forms of the resources page: one row of the inventory, a file of many, the provider's account."""

from __future__ import annotations

from typing import Any

from crispy_forms.layout import Div, Field
from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migrations_app import services
from migrations_app.models import ProviderAccount, Resource

from .fields import PLAIN, clean_host, clean_host_and_port, helper, port_field

_FILE_BYTES = 2_000_000
_NEEDED = {
    "vpc": ("region",),
    "subnet": ("region", "vpc_id"),
    "cvm": ("region", "address"),
    "direct_connect_gateway": ("region",),
    "vpn_gateway": ("region", "vpc_id"),
    "vpn_connection": ("region", "gateway_id"),
    "tencentdb": ("region", "address"),
}
_INSTANCES = ("cvm", "tencentdb")


def _text(label: Any, *, required: bool = False, longest: int = 120, help_text: Any = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        max_length=longest,
        help_text=help_text,
        widget=forms.TextInput(attrs=PLAIN),
        error_messages={
            "required": gettext_lazy("Fill in this field."),
            "max_length": gettext_lazy("This text is too long. Check for text pasted by mistake."),
        },
    )


class ResourceForm(forms.Form):
    """One row of the local inventory."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        choices=Resource.KINDS,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the offered kinds.")},
    )
    external_id = _text(gettext_lazy("ID"), required=True, help_text=gettext_lazy("For example vpc-1a2b3c."))
    name = _text(gettext_lazy("Name"), longest=200)
    region = _text(gettext_lazy("Region"), longest=60, help_text=gettext_lazy("Its ID. Empty for a region itself."))
    vpc_id = _text(gettext_lazy("VPC"), help_text=gettext_lazy("Its ID. Empty for a CVM in the basic network."))
    subnet_id = _text(gettext_lazy("Subnet"))
    gateway_id = _text(gettext_lazy("VPN gateway"), help_text=gettext_lazy("Only for a VPN connection."))
    address = _text(gettext_lazy("Address"), longest=255, help_text=gettext_lazy("What the workers dial."))
    port = port_field(gettext_lazy("Port"), required=False)
    public_address = _text(
        gettext_lazy("Public address"), longest=255, help_text=gettext_lazy("Only for a CVM: used from other regions.")
    )

    def __init__(self, data: Any = None, *, stored: Resource | None = None) -> None:
        first: dict[str, Any] = {}
        if stored is not None:
            first = {name: getattr(stored, name) for name in self.base_fields if name != "public_address"}
            first["public_address"] = stored.attrs.get("public_address", "")
        self._attrs = dict(stored.attrs) if stored else {}
        super().__init__(data, initial=first)
        self.fields["port"].initial = None
        self.helper = helper(
            Div(Field("kind"), Field("external_id"), css_class="pair"),
            Div(Field("name"), Field("region"), css_class="pair"),
            Div(Field("vpc_id"), Field("subnet_id"), css_class="pair"),
            Div(Field("address"), Field("port"), css_class="pair port"),
            Div(Field("public_address"), Field("gateway_id"), css_class="pair"),
        )

    def clean_address(self) -> str:
        """Accept one host name or address, or none."""
        value: str = self.cleaned_data["address"]
        return clean_host(value) if value else ""

    def clean_public_address(self) -> str:
        """Accept one host name or address, or none."""
        value: str = self.cleaned_data["public_address"]
        return clean_host(value) if value else ""

    def clean(self) -> dict[str, Any]:
        """Ask for what this kind needs, and forget what it does not have."""
        data = super().clean() or self.cleaned_data
        kind = data.get("kind", "")
        for name in _NEEDED.get(kind, ()):
            if not data.get(name) and name not in self.errors:
                self.add_error(name, _("This kind needs it. Fill in this field."))
        if kind == "region":
            data |= dict.fromkeys(("region", "vpc_id", "subnet_id", "gateway_id", "address"), "")
        if kind != "vpn_connection":
            data["gateway_id"] = ""
        if kind not in _INSTANCES:
            data["port"] = None
        if data.get("subnet_id") and not data.get("vpc_id"):
            self.add_error("vpc_id", _("A subnet is inside a VPC. Fill in this field."))
        return data

    def resource(self) -> services.ResourceData:
        """Return the typed values."""
        data = dict(self.cleaned_data)
        attrs = {name: value for name, value in self._attrs.items() if name != "public_address"}
        if public := data.pop("public_address"):
            attrs["public_address"] = public
        return services.ResourceData(**data, attrs=attrs)


class InventoryForm(forms.Form):
    """A file of the inventory."""

    file = forms.FileField(
        label=gettext_lazy("Inventory file (YAML)"),
        help_text=gettext_lazy("You see what would change before anything does."),
        error_messages={
            "required": gettext_lazy("Choose the inventory file."),
            "empty": gettext_lazy("This file is empty. Check which file it is."),
        },
    )

    def clean_file(self) -> str:
        """Return the text of the file."""
        upload = self.cleaned_data["file"]
        if upload.size > _FILE_BYTES:
            raise forms.ValidationError(_("An inventory file has at most 2 MB."))
        try:
            text: str = upload.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise forms.ValidationError(_("This is not a text in UTF-8. Check which file it is.")) from None
        return text


class AccountForm(forms.Form):
    """The account that the cloud is asked with. The key is write-only."""

    secret_id = _text(gettext_lazy("Secret ID"), required=True)
    secret_key = forms.CharField(
        label=gettext_lazy("Secret key"),
        required=False,
        max_length=200,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
    )
    root_domain = _text(
        gettext_lazy("Root domain"),
        longest=200,
        help_text=gettext_lazy("Empty: tencentcloudapi.com. International site: intl.tencentcloudapi.com."),
    )
    endpoint = _text(
        gettext_lazy("Fixed endpoint"),
        longest=200,
        help_text=gettext_lazy("Host and port that answer for all products, for example a gateway of your own."),
    )
    use_https = forms.BooleanField(label=gettext_lazy("Use HTTPS"), required=False, initial=True)

    def __init__(self, data: Any = None, *, stored: ProviderAccount | None = None) -> None:
        self._stored = stored
        names = ("secret_id", "root_domain", "endpoint", "use_https")
        super().__init__(data, initial={name: getattr(stored, name) for name in names} if stored else None)
        if stored is not None:
            self.fields["secret_key"].widget.attrs["placeholder"] = _("stored, leave empty to keep")
        self.helper = helper(
            Div(Field("secret_id"), Field("secret_key"), css_class="pair"),
            Div(Field("root_domain"), Field("endpoint"), css_class="pair"),
            Field("use_https"),
        )

    def clean_root_domain(self) -> str:
        """Accept a domain, or none."""
        return clean_host(self.cleaned_data["root_domain"]) if self.cleaned_data["root_domain"] else ""

    def clean_endpoint(self) -> str:
        """Accept a host with or without a port, or none."""
        value: str = self.cleaned_data["endpoint"].strip()
        return clean_host_and_port(value) if value else ""

    def clean(self) -> dict[str, Any]:
        """Ask for the key when none is stored, or the stored one would go elsewhere."""
        data = super().clean() or self.cleaned_data
        stored = self._stored
        place = [data.get(name) for name in ("secret_id", "root_domain", "endpoint", "use_https")]
        kept = stored and place == [stored.secret_id, stored.root_domain, stored.endpoint, stored.use_https]
        if not self.errors and not data.get("secret_key") and not kept:
            self.add_error("secret_key", _("Enter the secret key: a stored one never follows to another address."))
        return data

    def values(self) -> dict[str, Any]:
        """Return the keyword arguments of set_account."""
        return {**self.cleaned_data, "secret_key": self.cleaned_data["secret_key"] or None}
