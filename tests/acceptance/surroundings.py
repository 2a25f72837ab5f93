"""What stands beside the tasks of the gallery: workers, users, saved endpoints, resources, the audit trail."""

from __future__ import annotations

from django.utils import timezone

from migrations_app import services
from migrations_app.demo.inventory import inventory_text
from migrations_app.engine.wording import as_data, noun, say
from migrations_app.models import (
    AuditEntry,
    Endpoint,
    EndpointTest,
    User,
)
from tests import factories


def around(anna: User) -> None:
    """Fill what stands beside the tasks: workers, users, saved endpoints, resources, the audit trail."""
    factories.workers()
    services.import_inventory(actor=anna, text=inventory_text(source_port=5431, target_port=5433), apply=True)
    for name, role in (("ben", "operator"), ("clara", "viewer"), ("dora", "operator")):
        factories.user(name, role=role, is_active=name != "dora")
    factories.endpoint(
        saved_name="Shop, production", host="shop-db.example.net", account="towpath", tls_mode="verify-full"
    )
    factories.endpoint(
        saved_name="ERP behind the bastion",
        host="10.20.0.5",
        account="towpath",
        ssh_host="bastion.example.net",
        ssh_user="towpath",
    )
    cluster = factories.endpoint(saved_name="New cluster", host="pg18.example.net", account="towpath")
    tested = say("PostgreSQL {version}, {latency} ms, {protection}.", version="18.1", latency=3, protection="TLSv1.3")
    EndpointTest.objects.create(
        endpoint=cluster,
        state="passed",
        message=tested,
        words=as_data(message=tested),
        finished_at=timezone.now(),
    )
    for actor, action, subject, message in _TRAIL:
        words = as_data(message=message)
        AuditEntry.objects.create(
            actor=actor, action=action, subject=subject, message=message, words=words, address="192.0.2.71"
        )


_TRAIL = [
    ("anna", "user-created", "ben", say("Role {role}.", role=noun("operator"))),
    ("ben", "sign-in", "ben", ""),
    ("ben", "tasks:create", "Human resources", say("Task {name} created.", name="Human resources")),
    ("ben", "tasks:action-start", "Human resources", say("Start pressed; the task waits for its turn.")),
    (
        "ben",
        "tasks:action-complete",
        "Human resources",
        say("Complete pressed: draining the last changes, then comparing."),
    ),
    ("", "sign-in-failed", "unknown account", ""),
    ("anna", "tasks:check-acknowledge", "Legacy ERP", "The volume has 200 GB, asked the platform team."),
    ("clara", "sign-in", "clara", ""),
]


def saved(name: str) -> Endpoint:
    """Return a saved endpoint."""
    return Endpoint.objects.get(saved_name=name)
