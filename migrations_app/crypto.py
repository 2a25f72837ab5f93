"""Passwords at rest: a text field that is encrypted in the database and never shows itself.

MultiFernet: the first key encrypts, every key decrypts, so keys can be rotated while tasks run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

_DUMPED = "encrypted:"


class Secret(str):
    """A string that hides itself in `repr`, so that tracebacks and logs of values stay clean."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')" if self else "Secret('')"


class UnreadableSecret(Exception):
    """A stored value cannot be opened with the keys that this installation has."""


@cache
def _box(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured("no encryption key: set TOWPATH_ENCRYPTION_KEYS")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured("TOWPATH_ENCRYPTION_KEYS holds something that is not a Fernet key") from error


def box() -> MultiFernet:
    """Return the cipher made from the current settings. Raises ImproperlyConfigured without a usable key."""
    return _box(tuple(settings.ENCRYPTION_KEYS))


def encrypt(value: str) -> str:
    """Return the token of a secret; the empty string stays empty (= not set)."""
    return box().encrypt(value.encode()).decode() if value else ""


def decrypt(token: str) -> Secret:
    """Return the secret of a token. Raises UnreadableSecret when no key opens it."""
    if not token:
        return Secret("")
    try:
        return Secret(box().decrypt(token.encode()).decode())
    except InvalidToken as error:
        raise UnreadableSecret(
            "a stored password cannot be opened with this installation's encryption keys; "
            "put the old key back into TOWPATH_ENCRYPTION_KEYS"
        ) from error


def rotate(token: str) -> str:
    """Return the token encrypted anew with the first key. Raises UnreadableSecret."""
    return encrypt(decrypt(token)) if token else ""


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """A text field whose column holds a token; Python sees a `Secret`."""

    def from_db_value(self, value: str | None, *_: Any) -> Secret | None:
        """Open the token as it is read."""
        return None if value is None else decrypt(value)

    def get_prep_value(self, value: Any) -> Any:
        """Encrypt as it is written."""
        return None if value is None else encrypt(str(value))

    def value_to_string(self, obj: models.Model) -> str:
        """Return what `dumpdata` writes: the token, so that a dump tells no secret."""
        value = str(self.value_from_object(obj) or "")
        return _DUMPED + encrypt(value) if value else ""

    def to_python(self, value: Any) -> Any:
        """Open what `value_to_string` wrote, for `loaddata`; any other text is the secret itself."""
        if isinstance(value, str) and value.startswith(_DUMPED):
            with contextlib.suppress(UnreadableSecret):
                return decrypt(value.removeprefix(_DUMPED))
        return super().to_python(value)


def secret_columns(models_of: Iterable[type[models.Model]]) -> list[tuple[type[models.Model], list[str]]]:
    """Return each model with the names of its encrypted columns; models without one are left out."""
    found = []
    for model in models_of:
        names = [field.name for field in model._meta.concrete_fields if isinstance(field, EncryptedTextField)]
        if names:
            found.append((model, names))
    return found
