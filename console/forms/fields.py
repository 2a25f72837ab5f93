"""Parts that several forms share: segmented choices, names, ports, host names."""

from __future__ import annotations

import re
from typing import Any

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Field, Layout
from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migrations_app import selectors
from migrations_app.models import Endpoint

NAME_BYTES = 63
PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


def tls_choices(stored: str = "") -> list[tuple[str, Any]]:
    """Return the TLS modes that forms offer. `prefer` protects from nobody who can answer, so it is not offered; an
    endpoint of the command line that has it keeps it until it is changed."""
    return [(mode, label) for mode, label in Endpoint.TLS_MODES if mode != "prefer" or stored == "prefer"]


def helper(*layout: Any) -> FormHelper:
    """Return a crispy helper for a form that stands inside the page's own form element."""
    made = FormHelper()
    made.form_tag = False
    made.disable_csrf = True
    made.layout = Layout(*layout)
    return made


class Segments(forms.RadioSelect):
    """A choice shown side by side, each with one line that says what it means."""

    def __init__(self, lines: dict[str, Any], attrs: dict[str, str] | None = None) -> None:
        super().__init__(attrs)
        self.lines = lines

    def __deepcopy__(self, memo: Any) -> Segments:
        copied: Segments = super().__deepcopy__(memo)
        copied.lines = self.lines
        return copied


def segments(name: str) -> Field:
    """Return the layout of a field with `Segments`."""
    return Field(name, template="console/fields/segmented.html")


def port_field(label: Any, *, usual: int = 5432, required: bool = True) -> forms.IntegerField:
    """Return a port; `usual` is the number that its messages name."""
    between = format_lazy(gettext_lazy("A port lies between 1 and 65535, usually {usual}."), usual=usual)
    return forms.IntegerField(
        label=label,
        required=required,
        min_value=1,
        max_value=65535,
        initial=usual,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        error_messages={
            "required": format_lazy(gettext_lazy("Enter the port; PostgreSQL's usual one is {usual}."), usual=usual),
            "invalid": format_lazy(gettext_lazy("A port is a number, usually {usual}."), usual=usual),
            "min_value": between,
            "max_value": between,
        },
    )


def clean_host(value: str) -> str:
    """Accept one host name or address, an IPv6 address in brackets too. Raises ValidationError."""
    host = value.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if reason := selectors.why_no_host(host):
        raise forms.ValidationError(reason)
    return host


def clean_host_and_port(value: str) -> str:
    """Accept one host name or address, with a port or without. Raises ValidationError."""
    text = value.strip()
    parts = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?", text)
    clean_host(parts[1] if parts else text)
    if parts and parts[2] and not 1 <= int(parts[2]) <= 65535:
        raise forms.ValidationError(_("A port lies between 1 and 65535."))
    return text


def clean_name(value: str) -> str:
    """Accept what PostgreSQL accepts as a name. Raises ValidationError."""
    if len(value.encode(errors="replace")) > NAME_BYTES:
        raise forms.ValidationError(
            _("PostgreSQL names have at most %(bytes)d bytes. Check for text pasted by mistake.")
            % {"bytes": NAME_BYTES}
        )
    return value
