"""The resource directory: regions, networks, gateways and instances that the five source types choose from."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..crypto import EncryptedTextField


class Resource(models.Model):
    """One thing that the resource directory knows: a region, a network, a gateway or an instance.

    `provider` local: a row of ours, managed in the console and by import_inventory. Any other: a cached answer.
    """

    KINDS: ClassVar = [
        ("region", _("Region")),
        ("vpc", _("VPC")),
        ("subnet", _("Subnet")),
        ("cvm", _("CVM instance")),
        ("direct_connect_gateway", _("Direct Connect gateway")),
        ("vpn_gateway", _("VPN gateway")),
        ("vpn_connection", _("VPN connection")),
        ("tencentdb", _("TencentDB for PostgreSQL instance")),
    ]
    provider = models.CharField(max_length=20)
    kind = models.CharField(max_length=30, choices=KINDS)
    region = models.CharField(max_length=60, blank=True, default="")  # '' for a region itself
    external_id = models.CharField(max_length=120)
    name = models.CharField(max_length=200, blank=True, default="")
    vpc_id = models.CharField(max_length=120, blank=True, default="")  # '' of an instance = basic network
    subnet_id = models.CharField(max_length=120, blank=True, default="")
    gateway_id = models.CharField(max_length=120, blank=True, default="")  # of a VPN connection
    address = models.CharField(max_length=255, blank=True, default="")
    port = models.PositiveIntegerField(null=True, blank=True)
    attrs = models.JSONField(default=dict, blank=True)  # whitelisted facts only, never a secret
    refreshed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["kind", "region", "name", "external_id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "kind", "region", "external_id"], name="one_resource_of_an_id")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.external_id}"


class ResourceListing(models.Model):
    """When a provider was last asked for one list, and what went wrong if something did."""

    provider = models.CharField(max_length=20)
    kind = models.CharField(max_length=30, choices=Resource.KINDS)
    region = models.CharField(max_length=60, blank=True, default="")
    refreshed_at = models.DateTimeField(null=True, blank=True)  # of the last good answer
    failed_at = models.DateTimeField(null=True, blank=True)  # of the last answer, when that was an error
    error_code = models.CharField(max_length=120, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    words = models.JSONField(default=dict, blank=True)  # what the message was made from
    request_id = models.CharField(max_length=80, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "kind", "region"], name="one_listing_of_a_kind")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.kind} {self.region}"


class ProviderAccount(models.Model):
    """The account that a cloud provider's directory is asked with. The key is encrypted and write-only."""

    provider = models.CharField(max_length=20, unique=True)
    secret_id = models.CharField(max_length=120)
    secret_key = EncryptedTextField()
    root_domain = models.CharField(max_length=200, blank=True, default="")  # '' = the SDK's own
    endpoint = models.CharField(max_length=200, blank=True, default="")  # a fixed address instead of <product>.<domain>
    use_https = models.BooleanField(default=True)
    changed_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.provider
