"""Where a server is and how it is reached."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..crypto import EncryptedTextField


class Endpoint(models.Model):
    """One side of a task, or a saved endpoint: an address, how to reach it, an account and its secrets.

    Secrets are encrypted and write-only. A task owns its endpoint: taking a saved one copies it, so that editing the
    saved one never changes a task that runs.
    """

    KINDS: ClassVar = [
        ("public_ip", _("PostgreSQL with public IP")),
        ("cvm", _("CVM-based self-created PostgreSQL")),
        ("direct_connect", _("Direct Connect-based PostgreSQL")),
        ("vpn", _("VPN-based PostgreSQL")),
        ("tencentdb", _("TencentDB for PostgreSQL")),
    ]
    TLS_MODES: ClassVar = [
        ("disable", _("Off: plain connection")),
        ("prefer", _("If offered (not verified)")),
        ("require", _("Required (certificate not verified)")),
        ("verify-ca", _("Required, certificate authority verified")),
        ("verify-full", _("Required, certificate and host name verified")),
    ]
    NETWORKS: ClassVar = [("basic", _("Basic network")), ("vpc", _("VPC"))]
    VPN_TYPES: ClassVar = [("connections", _("VPN Connections")), ("cvm", _("CVM-based self-created VPN"))]
    SIGN_INS: ClassVar = [
        ("scram-sha-256", _("SCRAM only: the password itself is never sent")),
        ("password", _("Any password method (md5 and older servers)")),
        ("any", _("Any method, none included")),
    ]
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    saved_name = models.CharField(max_length=120, null=True, blank=True, unique=True)
    saved_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="copies")
    kind = models.CharField(max_length=30, choices=KINDS, default="public_ip")

    # Where the resource directory looks; which of them a kind has is in sources.kinds.
    provider = models.CharField(max_length=20, blank=True, default="")
    region = models.CharField(max_length=60, blank=True, default="")
    network = models.CharField(max_length=10, choices=NETWORKS, blank=True, default="")
    vpc_id = models.CharField(max_length=120, blank=True, default="")
    subnet_id = models.CharField(max_length=120, blank=True, default="")
    instance_id = models.CharField(max_length=120, blank=True, default="")
    gateway_id = models.CharField(max_length=120, blank=True, default="")
    vpn_type = models.CharField(max_length=20, choices=VPN_TYPES, blank=True, default="")

    # What is dialled: typed, or resolved from the directory.
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField(default=5432)
    account = models.CharField(max_length=63)
    password = EncryptedTextField(blank=True, default="")
    database = models.CharField(max_length=63, default="postgres")

    tls_mode = models.CharField(max_length=12, choices=TLS_MODES, default="require")
    ca_file = models.CharField(max_length=500, blank=True, default="")  # a path on the workers: command line only
    ca_pem = models.TextField(blank=True, default="")
    client_cert_pem = models.TextField(blank=True, default="")
    client_key_pem = EncryptedTextField(blank=True, default="")
    require_auth = models.CharField(max_length=20, choices=SIGN_INS, default="scram-sha-256")

    # An SSH host between us and the server; empty host = none.
    ssh_host = models.CharField(max_length=255, blank=True, default="")
    ssh_port = models.PositiveIntegerField(default=22)
    ssh_user = models.CharField(max_length=120, blank=True, default="")
    ssh_password = EncryptedTextField(blank=True, default="")
    ssh_private_key = EncryptedTextField(blank=True, default="")
    ssh_host_key = models.TextField(blank=True, default="")  # OpenSSH public key that the operator confirmed

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def has_password(self) -> bool:
        """Whether a password is stored; the password itself is never shown."""
        return bool(self.password)

    @property
    def uses_bastion(self) -> bool:
        """Whether an SSH host stands between."""
        return bool(self.ssh_host)
