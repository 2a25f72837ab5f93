"""The fields that say where a server stands: which of them a type has, and what their lists offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migrations_app import selectors
from migrations_app.models import Endpoint

from .fields import PLAIN, Segments, port_field

LISTED = ("region", "gateway_id", "vpc_id", "subnet_id", "instance_id")
PLACE = ("region", "network", "vpn_type", "gateway_id", "vpc_id", "subnet_id", "instance_id", "host", "port")
_BASIC, _VPC = gettext_lazy("An older network without a VPC."), gettext_lazy("In a VPC and one of its subnets.")
KIND_LINES = {
    "public_ip": gettext_lazy("Reached by its address and port, for example over the internet."),
    "cvm": gettext_lazy("On a CVM instance in the basic network or a VPC."),
    "direct_connect": gettext_lazy("In a local IDC, reached through a Direct Connect gateway."),
    "vpn": gettext_lazy("In a local IDC, reached through VPN Connections or a VPN on a CVM."),
    "tencentdb": gettext_lazy("A TencentDB for PostgreSQL instance, chosen by its ID."),
}
_LABELS = {
    "region": gettext_lazy("Region"),
    "gateway_id": gettext_lazy("VPN gateway"),
    "vpc_id": gettext_lazy("VPC"),
    "subnet_id": gettext_lazy("Subnet"),
    "instance_id": gettext_lazy("Instance ID"),
}
_NETWORK = gettext_lazy("CVM network")
_DIRECT_CONNECT = gettext_lazy("Direct Connect gateway")


@dataclass(frozen=True)
class ListNote:
    """What stands below the lists: how old they are, and what the provider said."""

    as_of: datetime | None
    problem: str


class Suggestions(forms.TextInput):
    """A field for an ID with suggestions that browsers search while one types: for lists that are too long."""

    def __init__(self, options: Sequence[tuple[str, str]]) -> None:
        super().__init__(PLAIN)
        self.options = options

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return the field with its suggestions behind it."""
        place = f"{name}-suggestions"
        field = super().render(name, value, {**(attrs or {}), "list": place}, renderer)
        options = format_html_join("", '<option value="{}">{}</option>', self.options)
        return format_html('{}<datalist id="{}">{}</datalist>', field, place, options)


def swapping(side: str, part: str) -> dict[str, str]:
    """Return the attributes of a control whose change replaces a part of its side: `where` or only its `lists`.

    Only what says where the servers stand is sent: never an account or a secret.
    """
    return {
        "hx-get": reverse("endpoints:fields", args=[side]),
        "hx-target": f"#{side}-{part}",
        "hx-select": f"#{side}-{part}",
        "hx-swap": "outerHTML settle:0ms",
        "hx-trigger": "change",
        "hx-include": "#source-where, #target-where",
        "hx-sync": f"#{side}-side:replace",
    }


def kind_field(side: str) -> forms.ChoiceField:
    """Return the type of database as a segmented choice."""
    labels = dict(Endpoint.KINDS)
    if side == "target":
        labels["public_ip"] = gettext_lazy("PostgreSQL by address")
    label = gettext_lazy("Source database type") if side == "source" else gettext_lazy("Target database type")
    lines = dict(KIND_LINES)
    if side == "target":
        lines["public_ip"] = gettext_lazy("Any PostgreSQL that the workers can reach. Missing databases are created.")
    return forms.ChoiceField(
        label=label,
        widget=Segments(lines),
        choices=[(kind, labels[kind]) for kind in selectors.kinds_of(side)],
        initial="public_ip",
        error_messages={
            "required": gettext_lazy("Choose the type of the database."),
            "invalid_choice": gettext_lazy("Choose one of the offered types."),
        },
    )


def place_fields() -> dict[str, forms.Field]:
    """Return all fields that any type has, fresh for one form."""
    made: dict[str, forms.Field] = {
        name: forms.CharField(label=label, required=False, max_length=120, widget=forms.Select())
        for name, label in _LABELS.items()
    }
    made["network"] = forms.ChoiceField(
        label=_NETWORK,
        required=False,
        widget=Segments({"basic": _BASIC, "vpc": _VPC}),
        choices=Endpoint.NETWORKS,
        error_messages={"invalid_choice": gettext_lazy("Choose basic network or VPC.")},
    )
    made["vpn_type"] = forms.ChoiceField(
        label=gettext_lazy("VPN type"),
        required=False,
        widget=Segments(
            {
                "connections": gettext_lazy("The VPN Connections service, by its gateway."),
                "cvm": gettext_lazy("A VPN service of your own on a CVM instance."),
            }
        ),
        choices=Endpoint.VPN_TYPES,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the two types of VPN.")},
    )
    made["host"] = forms.CharField(
        label=gettext_lazy("Server address"),
        max_length=255,
        widget=forms.TextInput(attrs=PLAIN),
        error_messages={
            "required": gettext_lazy("Enter the address of the server, for example db1.example.com or 192.0.2.14."),
            "max_length": gettext_lazy("An address has at most 255 characters. Check for text pasted by mistake."),
        },
    )
    made["port"] = port_field(gettext_lazy("Port"))
    return made


def arrange(
    fields: dict[str, forms.Field],
    side: str,
    values: Mapping[str, str],
    *,
    forget: bool,
    stored: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], ListNote, dict[str, str]]:
    """Drop the fields that the chosen type lacks and fill the lists of the others.

    `forget`: a value that its list does not offer (any more) counts as not chosen, and so does what hangs below it;
    of what is `stored`, the field says so.
    Returns the fields in order, the note about the lists, and the values that are left.
    """
    kept = dict(values)
    kind = kept.get("kind", "")
    names: tuple[str, ...] = ()
    if kind in selectors.kinds_of(side):
        names = selectors.place_fields(side, kind, network=kept.get("network", ""), vpn_type=kept.get("vpn_type", ""))
    for name in PLACE:
        if name not in names:
            fields.pop(name, None)
    notes = []
    for name in (name for name in names if name in LISTED):
        former = kept.get(name, "") if stored and _is_as_stored(name, kept, stored) else ""
        notes.append(_fill(fields[name], side, kind, name, kept, forget))
        if former and not kept[name] and not notes[-1].problem:
            fields[name].help_text = _gone(former, str(fields[name].help_text))
    deciding = selectors.deciding_fields(side, kind)
    for name in names:
        if name in deciding:
            fields[name].widget.attrs.update(swapping(side, "lists"))
    fields["kind"].widget.attrs.update(swapping(side, "where"))
    if kind == "cvm":  # its port may be known, and stands beside the lists
        fields["instance_id"].widget.attrs.update(swapping(side, "where"))
    _word(fields, side, kind)
    problems = [note.problem for note in notes if note.problem]
    ages = [note.as_of for note in notes if note.as_of]
    return names, ListNote(min(ages) if ages else None, problems[0] if problems else ""), kept


def _fill(
    field: forms.Field, side: str, kind: str, name: str, values: dict[str, str], forget: bool
) -> selectors.FieldList:
    listed = selectors.field_list(side, kind, name, values)
    known = {value for value, _label in listed.options}
    if forget and values.get(name, "") not in known:
        values[name] = ""
    if listed.waits_for:
        first = _("Choose first: %(field)s") % {"field": _label(kind, listed.waits_for)}
    else:
        first = _("Choose …") if listed.options else _("Nothing to choose from")
    field.widget = forms.Select(choices=[("", first), *listed.options])
    field.help_text = listed.empty
    if listed.cut_of:
        field.widget = Suggestions(listed.options)
        field.help_text = _("%(shown)s of %(all)s are suggested. Type any other one's ID in full.") % {
            "shown": f"{len(listed.options):,}",
            "all": f"{listed.cut_of:,}",
        }
    return listed


def _is_as_stored(name: str, values: Mapping[str, str], stored: Mapping[str, str]) -> bool:
    """Say whether a field and everything above it still are what is stored."""
    above = ("kind", *PLACE[: PLACE.index(name) + 1])
    return all(values.get(each, "") == stored.get(each, "") for each in above)


def _gone(former: str, more: str) -> SafeString:
    said = _("%(id)s was chosen, and is not there any more. Choose again.") % {"id": former}
    return format_html('<span class="gone">{}</span> {}', said, more)


def _label(kind: str, name: str) -> Any:
    if name == "network":
        return _NETWORK
    return _DIRECT_CONNECT if (kind, name) == ("direct_connect", "gateway_id") else _LABELS[name]


def _word(fields: dict[str, forms.Field], side: str, kind: str) -> None:
    """Name fields as the manual does for this type."""
    if kind == "direct_connect" and "gateway_id" in fields:
        fields["gateway_id"].label = _DIRECT_CONNECT
    if kind == "cvm" and "instance_id" in fields:
        fields["instance_id"].label = _("CVM instance ID")
    if "host" in fields:
        fields["host"].help_text = {
            "public_ip": _("A host name or an IP address that the workers can reach."),
        }.get(kind, _("The address in your IDC, as the gateway maps it."))


def typed(source: Mapping[str, Any], side: str) -> dict[str, str]:
    """Return what a request says about the place of one side."""
    return {name: str(source.get(f"{side}-{name}") or "")[:300] for name in ("kind", *PLACE)}


def stored_values(endpoint: Endpoint) -> dict[str, str]:
    """Return what is stored about the place of an endpoint."""
    return {name: str(getattr(endpoint, name) or "") for name in ("kind", *PLACE)}
