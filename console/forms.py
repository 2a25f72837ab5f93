"""The wizard's forms: text of a POST becomes typed values; nothing is saved here. Every error names its remedy."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar

from crispy_forms.helper import FormHelper
from crispy_forms.layout import HTML, Div, Field, Layout
from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils import timezone

from migrations_app import selectors, services
from migrations_app.models import Endpoint, MigrationTask

_TLS_STRENGTH = [mode for mode, _ in Endpoint.TLS_MODES]
_NAME_BYTES = 63


def _helper(*layout: Any) -> FormHelper:
    helper = FormHelper()
    helper.form_tag = False
    helper.disable_csrf = True
    helper.layout = Layout(*layout)
    return helper


class Segments(forms.RadioSelect):
    """A choice shown side by side, each with one line that says what it means."""

    def __init__(self, lines: dict[str, str]) -> None:
        super().__init__()
        self.lines = lines

    def __deepcopy__(self, memo: Any) -> Segments:
        copied: Segments = super().__deepcopy__(memo)
        copied.lines = self.lines
        return copied


def _segments(name: str) -> Field:
    return Field(name, template="console/fields/segmented.html")


class SignInForm(AuthenticationForm):
    """Django's own sign-in form; the text is the same for an unknown account and a wrong password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wrong = "This account and password do not match. Check both; upper and lower case count."
        self.error_messages = {"invalid_login": wrong, "inactive": wrong}
        self.fields["username"].label = "Account"
        self.fields["username"].error_messages["required"] = "Enter the name of your account."
        self.fields["password"].error_messages["required"] = "Enter your password."
        self.helper = _helper("username", "password")


class TaskForm(forms.Form):
    """Task settings: name, when to run, whether changes follow until Complete."""

    name = forms.CharField(
        label="Task name",
        max_length=120,
        error_messages={
            "required": "Give the task a name, for example the application that moves.",
            "max_length": "Use at most 120 characters; this name has %(show_value)d.",
        },
    )
    when = forms.ChoiceField(
        label="Scheduled execution",
        widget=Segments(
            {
                "now": "Begins as soon as you press Start and its turn comes.",
                "at": "Begins queuing at that time once you have pressed Start.",
            }
        ),
        choices=[("now", "Now"), ("at", "At a set time")],
        initial="now",
        error_messages={
            "required": "Choose when the migration starts: now, or at a set time.",
            "invalid_choice": "Choose one of the two: now, or at a set time.",
        },
    )
    scheduled_at = forms.DateTimeField(
        label="Start at",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        error_messages={"invalid": "Enter a date and a time that exist here, for example 2030-01-31 23:00."},
    )
    incremental = forms.BooleanField(
        label="Incremental sync",
        required=False,
        initial=True,
        help_text="Changes on the source keep arriving on the target until you press Complete. "
        "Without it the application has to stop writing before the start.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scheduled_at"].help_text = f"Times are in {selectors.time_zone_name()}."
        later = Div(Field("scheduled_at"), css_class="only-later")
        self.helper = _helper(
            Div(
                Div(Field("name", autocomplete="off"), Field("incremental")),
                Div(_segments("when"), later),
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
            self.add_error("scheduled_at", "Enter the time at which the task may start, or choose Now.")
        elif moment <= timezone.now():
            clock = timezone.localtime().strftime("%H:%M on %Y-%m-%d")
            self.add_error("scheduled_at", f"This time has passed: it is {clock} here. Choose a later time, or Now.")


class EndpointForm(forms.Form):
    """One side of a task. The password is write-only: it goes in and never comes out again."""

    host = forms.CharField(
        label="Server address",
        max_length=255,
        help_text="A host name or an IP address that the workers can reach.",
        error_messages={
            "required": "Enter the address of the server, for example db1.example.com or 192.0.2.14.",
            "max_length": "An address has at most 255 characters. Check for text pasted by mistake.",
        },
    )
    port = forms.IntegerField(
        label="Port",
        min_value=1,
        max_value=65535,
        initial=5432,
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
        error_messages={
            "required": "Enter the port; PostgreSQL's usual one is 5432.",
            "invalid": "A port is a number, usually 5432.",
            "min_value": "A port lies between 1 and 65535, usually 5432.",
            "max_value": "A port lies between 1 and 65535, usually 5432.",
        },
    )
    account = forms.CharField(
        label="Account",
        strip=False,
        error_messages={"required": "Enter the account that the migration signs in with."},
    )
    password = forms.CharField(
        label="Password",
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        error_messages={
            "max_length": "A password has at most 1,000 characters here. Check for text pasted by mistake."
        },
    )
    database = forms.CharField(
        label="Database for the login",
        strip=False,
        initial="postgres",
        help_text="Any one that this account may connect to. What migrates is chosen in the next step.",
        error_messages={"required": "Enter a database that this account may connect to, for example postgres."},
    )
    tls_mode = forms.ChoiceField(
        label="TLS",
        choices=Endpoint.TLS_MODES,
        initial="require",
        help_text="Only the last choice proves that it is the right server.",
        error_messages={"invalid_choice": "Choose one of the offered TLS modes."},
    )
    side: ClassVar[str] = ""

    def __init__(self, data: Any = None, *, stored: Endpoint | None = None) -> None:
        self.stored = stored
        super().__init__(data, prefix=self.side)
        if stored is not None:
            for name in ("host", "port", "account", "database", "tls_mode"):
                self.initial[name] = getattr(stored, name)
        if stored is not None and stored.has_password:
            self.fields["password"].widget.attrs["placeholder"] = "stored, leave empty to keep"
        plain = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        self.helper = _helper(
            *self.before(),
            Div(Field("host", **plain), Field("port", autocomplete="off"), css_class="pair port"),
            Div(Field("account", **plain), Field("password"), css_class="pair"),
            Div(Field("database", **plain), Field("tls_mode"), css_class="pair"),
        )

    def before(self) -> list[Any]:
        """Return what stands above the address."""
        return []

    def clean_host(self) -> str:
        """Accept one host name or address: no path, no list, no blank, no credentials."""
        host: str = self.cleaned_data["host"].strip().removeprefix("[").removesuffix("]")
        if not re.fullmatch(
            r"[A-Za-z0-9_\u00a1-\uffff]([A-Za-z0-9_.:%\u00a1-\uffff-]*[A-Za-z0-9_.\u00a1-\uffff])?|::[0-9A-Fa-f:.]*",
            host,
        ):
            raise forms.ValidationError(
                "Enter one host name or IP address alone, without blanks, path, port or account; "
                "the port has its own field."
            )
        return host

    def clean_account(self) -> str:
        """Accept what PostgreSQL accepts as a name."""
        return self._name("account")

    def clean_database(self) -> str:
        """Accept what PostgreSQL accepts as a name."""
        return self._name("database")

    def _name(self, field: str) -> str:
        value: str = self.cleaned_data[field]
        if len(value.encode(errors="replace")) > _NAME_BYTES:
            raise forms.ValidationError(
                f"PostgreSQL names have at most {_NAME_BYTES} bytes. Check for text pasted by mistake."
            )
        return value

    def clean(self) -> dict[str, Any]:
        """Ask for the password again when the stored one would go to another address or over weaker TLS."""
        data = super().clean() or self.cleaned_data
        kept = self.stored is not None and self.stored.has_password and not data.get("password")
        if kept and not self.errors and self._moved(self.stored, data):
            self.add_error(
                "password",
                "Enter the password again: the stored one is not sent to another address or account, "
                "nor over weaker TLS.",
            )
        return data

    @staticmethod
    def _moved(stored: Endpoint | None, data: dict[str, Any]) -> bool:
        if stored is None:
            return False
        there = (stored.host, stored.port, stored.account)
        weaker = _TLS_STRENGTH.index(data["tls_mode"]) < _TLS_STRENGTH.index(stored.tls_mode)
        return weaker or there != (data["host"], data["port"], data["account"])

    def endpoint(self) -> services.EndpointData:
        """Return the typed values; an empty password means: keep the stored one."""
        data = self.cleaned_data
        return services.EndpointData(
            host=data["host"],
            port=data["port"],
            account=data["account"],
            password=data["password"] or None,
            database=data["database"],
            tls_mode=data["tls_mode"],
            kind=data.get("kind", "public_ip"),
        )


class SourceForm(EndpointForm):
    """The source: its type first."""

    side = "source"
    KINDS: ClassVar = [("public_ip", "PostgreSQL with public IP")]

    kind = forms.ChoiceField(
        label="Source database type",
        widget=Segments({"public_ip": "Reached by its address and port, for example over the internet."}),
        choices=KINDS,
        initial="public_ip",
        error_messages={
            "required": "Choose the type of the source database.",
            "invalid_choice": "Choose one of the offered types of source database.",
        },
    )

    def before(self) -> list[Any]:
        """The type as a segmented choice."""
        return [_segments("kind")]


class TargetForm(EndpointForm):
    """The target: any PostgreSQL that the workers can reach."""

    side = "target"

    def before(self) -> list[Any]:
        """One line instead of a choice."""
        return [HTML('<p class="small">Any PostgreSQL that the workers can reach. Missing databases are created.</p>')]


class SettingsForms:
    """The three forms of step 1, bound and judged as one."""

    def __init__(self, data: Any = None, *, task: MigrationTask | None = None) -> None:
        first: dict[str, Any] = {}
        if task is not None:
            first = {"name": task.name, "incremental": task.incremental, "scheduled_at": task.scheduled_at}
            first["when"] = "at" if task.scheduled_at else "now"
        self.task = TaskForm(data, initial=first)
        self.source = SourceForm(data, stored=task.source if task else None)
        self.target = TargetForm(data, stored=task.target if task else None)

    def is_valid(self) -> bool:
        """Judge all three, so that every error shows at once."""
        return all([self.task.is_valid(), self.source.is_valid(), self.target.is_valid()])

    @property
    def error_count(self) -> int:
        """How many fields need another look."""
        return sum(len(form.errors) for form in (self.task, self.source, self.target))

    def values(self) -> dict[str, Any]:
        """Return the keyword arguments that create_draft and save_settings share."""
        data = self.task.cleaned_data
        return {
            "name": data["name"],
            "scheduled_at": data["scheduled_at"],
            "incremental": data["incremental"],
            "source": self.source.endpoint(),
            "target": self.target.endpoint(),
        }
