"""What comes in as a file: certificates and keys. Only what was understood is kept, written anew."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from django.utils.translation import gettext as _

MOST_BYTES = 256_000
_PEM = serialization.Encoding.PEM
_HOST_KEYS = ("ssh-", "ecdsa-")


def _read(upload: UploadedFile[bytes]) -> bytes:
    if (upload.size or 0) > MOST_BYTES:
        raise forms.ValidationError(_("This file is too large for a certificate or key. Check which file it is."))
    content: bytes = upload.read()
    return content


def read_certificates(upload: UploadedFile[bytes]) -> str:
    """Return the certificates of a PEM file. Raises ValidationError for anything else, and for expired ones."""
    content = _read(upload)
    if b"PRIVATE KEY" in content:
        raise forms.ValidationError(_("This file holds a private key. Choose the file that holds certificates only."))
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise forms.ValidationError(
            _("This is not a certificate in PEM format. It begins with -----BEGIN CERTIFICATE-----.")
        ) from None
    now = timezone.now()
    for certificate in certificates:
        _judge_time(certificate, now)
    return b"".join(certificate.public_bytes(_PEM) for certificate in certificates).decode()


def _judge_time(certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc < now:
        raise forms.ValidationError(
            _("This certificate expired on %(day)s. Choose the one that replaced it.")
            % {"day": f"{certificate.not_valid_after_utc:%Y-%m-%d}"}
        )
    if certificate.not_valid_before_utc > now:
        raise forms.ValidationError(
            _("This certificate is not valid before %(day)s. Choose one that is valid now.")
            % {"day": f"{certificate.not_valid_before_utc:%Y-%m-%d}"}
        )


def read_key(upload: UploadedFile[bytes]) -> str:
    """Return the private key of a PEM file. Raises ValidationError, also for one with a passphrase."""
    key = _load(_read(upload), ssh=False)
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def read_ssh_key(upload: UploadedFile[bytes]) -> str:
    """Return an SSH private key in OpenSSH format. Raises ValidationError, also for one with a passphrase."""
    key = _load(_read(upload), ssh=True)
    try:
        return key.private_bytes(_PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()
    except ValueError:
        raise forms.ValidationError(
            _("SSH does not know this kind of key. Use an Ed25519, ECDSA or RSA key.")
        ) from None


def read_host_key(text: str) -> str:
    """Return the public key of an SSH host from a line of a .pub file or of known hosts. Raises ValidationError."""
    words = text.split()
    pairs = pairwise(words[:4])  # a host may be called ssh-… as well
    found = (at for at, (kind, data) in enumerate(pairs) if kind.startswith(_HOST_KEYS) and data.startswith("AAAA"))
    at = next(found, len(words))
    key = " ".join(words[at : at + 2])
    try:
        serialization.load_ssh_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise forms.ValidationError(
            _("This is not the public key of an SSH host. It looks like ssh-ed25519 AAAA…, on one line.")
        ) from None
    return key


def _load(content: bytes, *, ssh: bool) -> PrivateKeyTypes:
    """Return the key of a file in PEM or OpenSSH format."""
    if b"PUBLIC KEY" in content or content.startswith((b"ssh-", b"ecdsa-")):
        raise forms.ValidationError(_("This is the public key. Choose the file with the private key."))
    is_openssh = b"BEGIN OPENSSH PRIVATE KEY" in content
    load = serialization.load_ssh_private_key if is_openssh else serialization.load_pem_private_key
    try:
        return load(content, password=None)
    except (TypeError, UnsupportedAlgorithm):
        raise forms.ValidationError(_locked(ssh)) from None
    except ValueError as error:
        if "encrypted" in str(error).lower() or "password" in str(error).lower():
            raise forms.ValidationError(_locked(ssh)) from None
        raise forms.ValidationError(
            _("This is not a private key. It begins with -----BEGIN and the words PRIVATE KEY.")
        ) from None


def _locked(ssh: bool) -> str:
    command = "ssh-keygen -p -N '' -f" if ssh else "openssl pkey -in FILE -out"
    return _(
        "This key is locked with a passphrase, which nobody can type while a migration runs. Make a copy without one "
        "(%(command)s COPY) and choose the copy; it is stored encrypted."
    ) % {"command": command}


def belong_together(certificates: str, key: str) -> bool:
    """Say whether the first certificate was issued for this key."""
    certificate = x509.load_pem_x509_certificates(certificates.encode())[0]
    private = serialization.load_pem_private_key(key.encode(), password=None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*form) == private.public_key().public_bytes(*form)
