"""Test connection of saved endpoints: asked here, done by a worker, polled by the page."""

from __future__ import annotations

import base64
import hashlib
import uuid

from django.db import transaction
from django.utils.translation import gettext as _

from .. import queue
from ..models import Endpoint, EndpointTest
from .audit import record
from .base import Actor, Refused, actor_name
from .endpoints import get_saved
from .limits import count_test

HOST_KEY_UNKNOWN = "SSH-HOST-KEY-UNKNOWN"


@transaction.atomic
def request_endpoint_test(*, saved_id: uuid.UUID, actor: Actor) -> EndpointTest:
    """Ask a worker to test the connection to a saved endpoint. One at a time.

    Raises NotFound, and Refused when the user asked for too many of late.
    """
    endpoint = Endpoint.objects.select_for_update().get(pk=get_saved(saved_id).pk)
    waiting = endpoint.tests.filter(state__in=["waiting", "running"]).first()
    if waiting is not None:
        return waiting
    count_test(actor, str(endpoint.saved_name), str(endpoint))
    endpoint.tests.all().delete()
    test = EndpointTest.objects.create(endpoint=endpoint)
    queue.wake("test", str(test.pk))
    return test


@transaction.atomic
def confirm_endpoint_key(*, saved_id: uuid.UUID, actor: Actor, test_id: uuid.UUID) -> Endpoint:
    """Trust the SSH host key that a test of a saved endpoint found. Raises NotFound, and Refused when it found none."""
    endpoint = get_saved(saved_id)
    test = EndpointTest.objects.filter(pk=test_id, endpoint=endpoint, code=HOST_KEY_UNKNOWN).first()
    key = str(test.detail.get("host_key", "")).strip() if test is not None else ""
    if test is None or not endpoint.ssh_host or not is_key_of(key, test.detail.get("fingerprint")):
        raise Refused(_("There is no SSH host key to confirm any more. Test the connection again."))
    endpoint.ssh_host_key = key
    endpoint.save(update_fields=["ssh_host_key"])
    fingerprint = str(test.detail["fingerprint"])
    record(actor=actor_name(actor), action="endpoint-host-key", subject=str(endpoint.saved_name), message=fingerprint)
    return endpoint


def is_key_of(key: str, fingerprint: object) -> bool:
    """Say whether an OpenSSH public key line is the one whose fingerprint the operator saw."""
    try:
        digest = hashlib.sha256(base64.b64decode(key.split()[1], validate=True)).digest()
    except (IndexError, ValueError):
        return False
    return "\n" not in key and fingerprint == "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
