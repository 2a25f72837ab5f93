"""Saved endpoints as pages list them, and what a form may say about what is stored."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from .. import sources
from ..engine.values import frozen
from ..models import Endpoint, EndpointTest
from .rows import NotFound


@frozen
class SavedRow:
    """One saved endpoint of the list."""

    endpoint: Endpoint
    place: str
    copies: int
    test: EndpointTest | None = None


def saved_endpoints(*, side: str = "") -> list[SavedRow]:
    """Return the saved endpoints by name; with `side` only those of types that this side has."""
    rows = (
        Endpoint.objects.exclude(saved_name=None)
        .annotate(copies_made=Count("copies", distinct=True))
        .order_by("saved_name")
    )
    if side:
        rows = rows.filter(kind__in=sources.KINDS_OF[side])
    tests = {test.endpoint_id: test for test in EndpointTest.objects.order_by("created_at")}
    return [SavedRow(endpoint=row, place=place_of(row), copies=row.copies_made, test=tests.get(row.pk)) for row in rows]


def endpoint_test(test_id: uuid.UUID) -> EndpointTest:
    """Return a test of a saved endpoint. Raises NotFound."""
    test = EndpointTest.objects.select_related("endpoint").filter(pk=test_id).first()
    if test is None:
        raise NotFound("There is no such connection test.")
    return test


def saved_endpoint(saved_id: uuid.UUID | str) -> Endpoint:
    """Return a saved endpoint. Raises NotFound."""
    try:
        return Endpoint.objects.exclude(saved_name=None).get(pk=uuid.UUID(str(saved_id)))
    except (Endpoint.DoesNotExist, ValueError) as error:
        raise NotFound(_("There is no such saved endpoint.")) from error


def name_is_taken(name: str, *, but: uuid.UUID | None = None) -> bool:
    """Say whether another saved endpoint has this name."""
    rows = Endpoint.objects.filter(saved_name=name)
    return (rows.exclude(pk=but) if but else rows).exists()


def place_of(endpoint: Endpoint) -> str:
    """Return where an endpoint of a chosen type stands: region, network, gateway, instance."""
    parts = [endpoint.region, endpoint.gateway_id, endpoint.vpc_id, endpoint.subnet_id, endpoint.instance_id]
    return " · ".join(part for part in parts if part)


def certificate_words(pem: str) -> str:
    """Return a stored certificate in few words: whose it is and until when it is valid."""
    from cryptography import x509  # only pages with certificates need it

    try:
        certificate = x509.load_pem_x509_certificates(pem.encode())[0]
    except (ValueError, IndexError):
        return _("stored")
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(names[0].value) if names else certificate.subject.rfc4514_string()
    return _("%(name)s, valid until %(day)s") % {"name": name, "day": f"{certificate.not_valid_after_utc:%Y-%m-%d}"}


_CHOICES: dict[str, Any] = {
    "kind": Endpoint.KINDS,
    "tls_mode": Endpoint.TLS_MODES,
    "network": Endpoint.NETWORKS,
    "vpn_type": Endpoint.VPN_TYPES,
    "require_auth": Endpoint.SIGN_INS,
}


def setting_words(name: str, value: object) -> str:
    """Return the value of a setting of an endpoint in the reader's language, where it is one of a few."""
    return str(dict(_CHOICES.get(name, [])).get(str(value), value))


def endpoint_kind(kind: str) -> str:
    """Return what a type of server is called in the reader's language."""
    return str(dict(Endpoint.KINDS).get(kind, kind))
