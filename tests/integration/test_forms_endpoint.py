"""One side's form: the five types, certificates, SSH host, and secrets that never follow to another place."""

from __future__ import annotations

import base64
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from console.forms import SavedEndpointForm, SettingsForms, SourceForm, TargetForm
from migrations_app import services
from migrations_app.demo.inventory import inventory_text
from migrations_app.models import Endpoint, Resource
from tests import factories
from tests.integration.test_forms import settings_data

pytestmark = pytest.mark.django_db
_PEM, _OPENSSH = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH
_PLAIN = serialization.NoEncryption()


@cache
def _key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number + 7, ec.SECP256R1())


def _key_pem(number: int = 0) -> bytes:
    return _key(number).private_bytes(_PEM, serialization.PrivateFormat.PKCS8, _PLAIN)


@cache
def _certificate(days: int = 30, begins: int = -1, number: int = 0) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "towpath test CA")])
    now = timezone.now()
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_key(number).public_key())
    made = made.serial_number(1).not_valid_before(now + timedelta(days=begins))
    signed = made.not_valid_after(now + timedelta(days=days)).sign(_key(number), hashes.SHA256())
    return signed.public_bytes(_PEM)


def _ssh_key() -> bytes:
    return ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32).private_bytes(_PEM, _OPENSSH, _PLAIN)


def _locked_key() -> bytes:
    lock = serialization.BestAvailableEncryption(b"secret")
    return _key().private_bytes(_PEM, serialization.PrivateFormat.PKCS8, lock)


def _file(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("file.pem", content)


def _source(stored: Endpoint | None = None, files: dict[str, bytes] | None = None, **changes: Any) -> SourceForm:
    uploads = {f"source-{name}": _file(content) for name, content in (files or {}).items()}
    data = settings_data(**{f"source__{name}": value for name, value in changes.items()})
    return SourceForm(data, uploads, stored=stored)


@pytest.fixture
def inventory() -> None:
    services.import_inventory(actor=None, text=inventory_text(source_port=5431, target_port=5433), apply=True)


def test_a_certificate_authority_is_kept_as_it_was_understood() -> None:
    form = _source(files={"ca": b"Bag Attributes\n" + _certificate() + b"\n" + _certificate(60)})
    assert form.is_valid(), form.errors
    kept = form.endpoint().ca_pem or ""
    assert kept.count("BEGIN CERTIFICATE") == 2
    assert "Bag" not in kept


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello", "not a certificate in PEM format"),
        (b"", "This file is empty"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a certificate in PEM format"),
        (b"x" * 300_000, "too large"),
        (b"key", "holds a private key"),
        (b"expired", "expired on"),
        (b"early", "not valid before"),
    ],
)
def test_anything_else_is_refused_as_a_certificate_authority(content: bytes, said: str) -> None:
    made = {b"key": _certificate() + _key_pem(), b"expired": _certificate(-1, -9), b"early": _certificate(30, 2)}
    assert said in _source(files={"ca": made.get(content, content)}).errors["ca"][0]


def test_a_client_certificate_comes_with_its_key() -> None:
    form = _source(files={"client_certificate": _certificate(), "client_key": _key_pem()})
    assert form.is_valid(), form.errors
    assert "PRIVATE KEY" in (form.endpoint().client_key_pem or "")
    assert "key of this certificate" in _source(files={"client_certificate": _certificate()}).errors["client_key"][0]
    assert "certificate of this key" in _source(files={"client_key": _key_pem()}).errors["client_certificate"][0]


def test_a_key_of_another_certificate_is_refused() -> None:
    form = _source(files={"client_certificate": _certificate(), "client_key": _key_pem(1)})
    assert "does not belong to the certificate" in form.errors["client_key"][0]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"hello", "not a private key"), (b"ssh-ed25519 AAAA", "public key"), (b"locked", "locked with a passphrase")],
)
@pytest.mark.parametrize("name", ["client_key", "ssh_key"])
def test_a_key_that_cannot_be_used_is_refused_with_the_remedy(name: str, content: bytes, said: str) -> None:
    form = _source(files={name: _locked_key() if content == b"locked" else content}, ssh_host="jump", ssh_user="u")
    assert said in form.errors[name][0]


def test_an_openssh_key_with_a_passphrase_is_refused_with_the_remedy() -> None:
    header = (
        b"openssh-key-v1\x00\x00\x00\x00\x0aaes256-ctr\x00\x00\x00\x06bcrypt\x00\x00\x00\x18\x00\x00\x00\x10"
        + b"s" * 16
    )
    locked = (
        header
        + b"\x00\x00\x00\x10"
        + b"\x00\x00\x00\x01\x00\x00\x00\x33\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
        + b"p" * 32
    )
    locked += b"\x00\x00\x00\x90" + b"x" * 144
    text = (
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + base64.encodebytes(locked) + b"-----END OPENSSH PRIVATE KEY-----\n"
    )
    form = _source(files={"ssh_key": text}, ssh_host="jump", ssh_user="u")
    assert "ssh-keygen -p" in form.errors["ssh_key"][0]


def test_an_ssh_host_needs_a_user_and_a_secret() -> None:
    assert "ssh_user" in _source(ssh_host="jump").errors
    assert "ssh_password" in _source(ssh_host="jump", ssh_user="u").errors
    assert "ssh_host" in _source(ssh_host="a b", ssh_user="u", ssh_password="x").errors
    assert "usually 22" in _source(ssh_host="jump", ssh_user="u", ssh_password="x", ssh_port="0").errors["ssh_port"][0]
    form = _source(ssh_host="jump", ssh_user="u", files={"ssh_key": _ssh_key()})
    assert form.is_valid(), form.errors
    wanted = form.endpoint()
    assert (wanted.ssh_host, wanted.ssh_port, wanted.ssh_password) == ("jump", 22, "")
    assert "OPENSSH PRIVATE KEY" in (wanted.ssh_private_key or "")


def _stored(**fields: Any) -> Endpoint:
    return factories.endpoint(
        tls_mode="verify-ca",
        ca_pem=_certificate().decode(),
        ssh_host="jump",
        ssh_user="u",
        ssh_password="old",
        ssh_host_key="ssh-ed25519 AAAA",
        **fields,
    )


SAME = {"password": "", "tls_mode": "verify-ca", "require_auth": "scram-sha-256", "ssh_host": "jump", "ssh_user": "u"}


def test_nothing_changed_keeps_every_secret() -> None:
    form = _source(_stored(), **SAME)
    assert form.is_valid(), form.errors
    assert (form.endpoint().password, form.endpoint().ssh_password, form.endpoint().ca_pem) == (None, None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"ssh_host": "other"},
        {"ssh_port": "2222"},
        {"ssh_host": "", "ssh_user": ""},
        {"tls_mode": "require"},
        {"require_auth": "password"},
        {"ca_remove": "on"},
        {"files": {"ca": _certificate(90)}},
    ],
    ids=lambda change: "-".join(change),
)
def test_another_way_to_the_server_asks_for_the_password_again(change: dict[str, Any]) -> None:
    assert "Enter the password again" in _source(_stored(), **(SAME | change)).errors["password"][0]


@pytest.mark.parametrize("change", [{"ssh_host": "other"}, {"ssh_port": "2222"}, {"ssh_user": "v"}], ids=str)
def test_another_ssh_host_or_user_asks_for_its_secret_again(change: dict[str, Any]) -> None:
    form = _source(_stored(), **(SAME | {"password": "typed"} | change))
    assert "not sent to another SSH host" in form.errors["ssh_password"][0]


def test_no_rendering_holds_a_stored_secret() -> None:
    stored = _stored(client_key_pem=_key_pem().decode(), client_cert_pem=_certificate().decode())
    stored.ssh_private_key = _ssh_key().decode()
    stored.ssh_password = factories.CANARY
    stored.save()
    for form in (SourceForm(stored=stored), _source(stored, **SAME), SavedEndpointForm(stored=stored)):
        shown = form.as_p()
        assert factories.CANARY not in shown
        assert "PRIVATE KEY" not in shown
        assert "towpath test CA, valid until" in shown


def test_a_type_shows_its_fields_alone(inventory: None) -> None:
    form = SourceForm(typed_in={"source-kind": "vpn", "source-vpn_type": "connections", "source-host": "10.1.1.1"})
    assert form.place == ("region", "vpn_type", "gateway_id", "vpc_id", "host", "port")
    assert form["host"].value() == "10.1.1.1"
    assert "Choose first: Region" in str(form["vpc_id"])


def test_what_is_not_offered_any_more_is_not_chosen(inventory: None) -> None:
    chosen = {"source-kind": "cvm", "source-region": "demo-east", "source-network": "vpc", "source-vpc_id": "vpc-west"}
    form = SourceForm(typed_in={**chosen, "source-subnet_id": "subnet-west"})
    assert form.values["vpc_id"] == ""
    assert "Choose first: VPC" in str(form["subnet_id"])


def test_what_was_chosen_and_is_gone_is_named_at_its_field(inventory: None) -> None:
    place = {"region": "demo-east", "network": "vpc", "vpc_id": "vpc-shop", "subnet_id": "subnet-data"}
    stored = factories.endpoint(kind="cvm", instance_id="ins-<b>old", **place)
    said = str(SourceForm(stored=stored).fields["instance_id"].help_text)
    assert "ins-&lt;b&gt;old was chosen, and is not there any more." in said
    moved = {f"source-{name}": value for name, value in place.items()} | {"source-kind": "cvm"}
    moved |= {"source-instance_id": "ins-<b>old", "source-subnet_id": "subnet-other"}
    form = SourceForm(stored=stored, typed_in=moved)
    assert "any more" not in str(form.fields["instance_id"].help_text)
    stored.instance_id = "ins-shop"
    assert "any more" not in SourceForm(stored=stored).as_p()


def _machines(**chosen: str) -> SourceForm:
    return SourceForm(typed_in={"source-kind": "cvm", "source-region": "demo-east"} | chosen)


def test_machines_are_listed_once_their_network_is_chosen(inventory: None) -> None:
    assert "Choose first: CVM network" in str(_machines()["instance_id"])
    assert "ins-classic" in str(_machines(**{"source-network": "basic"})["instance_id"])


def test_an_empty_branch_says_that_nothing_is_there(inventory: None) -> None:
    Resource.objects.filter(external_id="ins-classic").delete()
    said = str(_machines(**{"source-network": "basic"}).fields["instance_id"].help_text)
    assert "Nothing of this kind there: CVM instance." in said


def test_a_machine_that_does_not_run_is_marked(inventory: None) -> None:
    basic = {"source-network": "basic"}
    Resource.objects.filter(external_id="ins-classic").update(attrs={"state": "RUNNING"})
    assert "running" not in str(_machines(**basic)["instance_id"]).lower()
    Resource.objects.filter(external_id="ins-classic").update(attrs={"state": "STOPPED"})
    assert "· stopped" in str(_machines(**basic)["instance_id"])


def test_an_empty_list_says_what_to_do() -> None:
    form = SourceForm(typed_in={"source-kind": "direct_connect"})
    assert "imports an inventory" in str(form.fields["gateway_id"].help_text)


def test_an_instance_gives_the_address(inventory: None) -> None:
    form = TargetForm(
        settings_data(target__kind="tencentdb", target__region="demo-east", target__instance_id="postgres-target")
    )
    assert form.is_valid(), form.errors
    assert (form.endpoint().host, form.endpoint().port) == ("127.0.0.1", 5433)


def test_another_region_than_the_targets_is_refused_at_the_region(inventory: None) -> None:
    forms = SettingsForms(
        settings_data(
            source__kind="cvm",
            source__region="demo-west",
            source__network="vpc",
            source__vpc_id="vpc-west",
            source__subnet_id="subnet-west",
            source__instance_id="ins-west",
            target__kind="tencentdb",
            target__region="demo-east",
            target__instance_id="postgres-target",
        )
    )
    assert not forms.is_valid()
    assert "choose PostgreSQL with public IP" in forms.source.errors["region"][0]
    assert forms.source.advice


def test_a_saved_endpoint_gives_values_and_keeps_its_secret() -> None:
    saved = factories.endpoint(saved_name="shop server", host="db7.internal", tls_mode="require")
    form = SourceForm(typed_in={"source-saved": str(saved.pk)})
    assert form["host"].value() == "db7.internal"
    assert "stored, leave empty to keep" in str(form["password"])
    form = _source(saved=str(saved.pk), host="db7.internal", password="")
    assert form.is_valid(), form.errors
    assert (form.endpoint().saved_id, form.endpoint().password) == (saved.pk, None)
    assert "password" in _source(saved=str(saved.pk), host="evil.example", password="").errors


def test_the_endpoint_of_a_task_is_no_saved_one() -> None:
    foreign = factories.endpoint()
    assert "deleted meanwhile" in str(_source(saved=str(foreign.pk)).non_field_errors())


def test_a_name_that_is_taken_is_refused() -> None:
    factories.endpoint(saved_name="shop server")
    assert "already" in _source(save_as="shop server").errors["save_as"][0]
