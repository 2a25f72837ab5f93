"""Forms of accounts and audit: text of a request becomes typed values; nothing is saved here."""

from __future__ import annotations

from typing import Any

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Layout
from django import forms
from django.contrib.auth.forms import AuthenticationForm, UsernameField
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from migrations_app.models import Role, User


def helper(*layout: Any) -> FormHelper:
    """Return crispy's settings for a form whose tag and token the template writes."""
    made = FormHelper()
    made.form_tag = False
    made.disable_csrf = True
    made.layout = Layout(*layout)
    return made


class SignInForm(AuthenticationForm):
    """Django's own sign-in form; the text is the same for an unknown account and a wrong password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wrong = _("This account and password do not match. Check both; upper and lower case count.")
        self.error_messages = {"invalid_login": wrong, "inactive": wrong}
        self.fields["username"].label = _("Account")
        self.fields["username"].error_messages["required"] = _("Enter the name of your account.")
        self.fields["password"].label = _("Password")
        self.fields["password"].error_messages["required"] = _("Enter your password.")
        self.helper = helper("username", "password")
        if self.data.get("username"):  # it is still there; the password has to be typed again
            self.fields["username"].widget.attrs.pop("autofocus", None)
            self.fields["password"].widget.attrs["autofocus"] = True


class _AccountField(UsernameField):
    def __init__(self) -> None:
        super().__init__(
            label=_("Account"),
            max_length=150,
            validators=[User.username_validator],
            error_messages={"required": _("Enter a name for the account.")},
            help_text=_("Letters, digits and @ . + - _"),
        )


def _password_field(label: Any, *, required: bool = True, help_text: Any = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        strip=False,
        max_length=1000,
        help_text=help_text,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": _("Enter a password.")},
    )


_RULES = _("At least 12 characters, and nothing that is easily guessed. A short sentence is good.")


class _NewPassword(forms.Form):
    """Two fields that must agree, judged by the validators of the settings."""

    # Whose name the password must not resemble.
    owner: User | None = None

    def clean(self) -> dict[str, Any]:
        """Judge the password, and compare the repetition."""
        values: dict[str, Any] = super().clean() or {}
        password = values.get("password", "")
        if password and "repeated" in self.fields and password != values.get("repeated"):
            self.add_error("repeated", _("The two passwords differ. Type the same one twice."))
        if password:
            try:
                validate_password(password, self.owner or User(username=values.get("account", "")))
            except ValidationError as error:
                self.add_error("password", error)
        return values


class FirstAdministratorForm(_NewPassword):
    """Name and password of the first administrator."""

    account = _AccountField()
    password = _password_field(_("Password"), help_text=_RULES)
    repeated = _password_field(_("The same password again"))
    helper = helper("account", "password", "repeated")


class UserForm(_NewPassword):
    """A new account. Without a password a one-time password is made."""

    account = _AccountField()
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.VIEWER)
    password = _password_field(
        _("Password"), required=False, help_text=_("Leave it empty for a one-time password, which is shown once.")
    )
    helper = helper("account", "role", "password")


class RoleForm(forms.Form):
    """What a user may do."""

    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)
    helper = helper("role")


class ResetForm(_NewPassword):
    """A new password for somebody else. Without one a one-time password is made."""

    password = _password_field(
        _("New password"), required=False, help_text=_("Leave it empty for a one-time password, which is shown once.")
    )
    helper = helper("password")

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner


class OwnPasswordForm(_NewPassword):
    """One's own new password, with the old one as the proof."""

    old = _password_field(_("Present password"))
    password = _password_field(_("New password"), help_text=_RULES)
    repeated = _password_field(_("The same password again"))
    helper = helper("old", "password", "repeated")

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner
        self.fields["old"].widget.attrs["autocomplete"] = "current-password"

    def clean_old(self) -> str:
        """Refuse a wrong present password."""
        old: str = self.cleaned_data["old"]
        if self.owner is None or not self.owner.check_password(old):
            raise ValidationError(_("This is not your present password."))
        return old


class AuditForm(forms.Form):
    """Which entries of the audit trail are looked for."""

    actor = forms.CharField(label=_("Account"), required=False, max_length=150)
    action = forms.CharField(label=_("Action"), required=False, max_length=60)
    first_day = forms.DateField(
        label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    last_day = forms.DateField(
        label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
