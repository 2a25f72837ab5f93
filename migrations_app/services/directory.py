"""The resource directory: rows of ours, imports, the provider's account, and its answers kept for five minutes."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import sources
from ..engine.values import frozen
from ..engine.wording import as_data, say, together
from ..models import ProviderAccount, Resource, ResourceListing
from .audit import record
from .base import Actor, NotFound, Refused, actor_name

PROVIDER = "tencent"
FRESH_SECONDS = 300
_PAUSE_SECONDS = 30  # after a failure: a cloud that times out must not slow every page down
_AT_ONCE = 8
_CHILDREN = {"vpc": "vpc_id", "subnet": "subnet_id", "vpn_gateway": "gateway_id"}


@frozen
class ResourceData:
    """One row of the local inventory, as a form says it."""

    kind: str
    external_id: str
    region: str = ""
    name: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    gateway_id: str = ""
    address: str = ""
    port: int | None = None
    attrs: dict[str, str] = field(default_factory=dict)


def freshen(lists: Iterable[tuple[str, str]], *, force: bool = False) -> None:
    """Ask the provider for each (kind, region) that is older than five minutes; '' as region means every one.

    Does nothing without an account. Never raises: an error is kept in the listing, with the old rows. Each list takes
    about 5 seconds at most and several are asked for at once.
    """
    account = ProviderAccount.objects.filter(provider=PROVIDER).first()
    if account is None:
        return
    wanted = list(dict.fromkeys(lists))
    if not wanted:
        return
    _ask(account, [("region", "")], force=force and ("region", "") in wanted)
    _ask(account, [pair for asked in wanted for pair in _with_regions(*asked)], force=force)


def _with_regions(kind: str, region: str) -> list[tuple[str, str]]:
    if kind == "region":
        return []
    regions = Resource.objects.filter(provider=PROVIDER, kind="region").values_list("external_id", flat=True)
    return [(kind, name) for name in regions if region in ("", name)]


def _ask(account: ProviderAccount, lists: list[tuple[str, str]], *, force: bool) -> None:
    due = [pair for pair in lists if force or _is_due(*pair)]
    if not due:
        return
    client = sources.Tencent(account)
    # Threads do nothing but ask: rows are written here, in this thread's transactions.
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(due))) as pool:
        answers = list(pool.map(lambda pair: _answer(client, *pair), due))
    for (kind, region), answer in zip(due, answers, strict=True):
        if isinstance(answer, sources.ProviderError):
            _store_error(kind, region, answer)
        else:
            _store_found(kind, region, answer)


def _answer(client: sources.Tencent, kind: str, region: str) -> list[sources.Found] | sources.ProviderError:
    try:
        return client.listed(kind, region)
    except sources.ProviderError as error:
        return error


def _is_due(kind: str, region: str) -> bool:
    now = timezone.now()
    fresh = Q(refreshed_at__gt=now - timedelta(seconds=FRESH_SECONDS), error_code="")
    paused = Q(failed_at__gt=now - timedelta(seconds=_PAUSE_SECONDS))
    asked = ResourceListing.objects.filter(provider=PROVIDER, kind=kind, region=region)
    return not asked.filter(fresh | paused).exists()


def _store_error(kind: str, region: str, error: sources.ProviderError) -> None:
    ResourceListing.objects.update_or_create(
        provider=PROVIDER,
        kind=kind,
        region=region,
        defaults={
            "failed_at": timezone.now(),
            "error_code": error.code[:120],
            "error_message": error.message[:2000],
            "words": as_data(error_message=error.message),
            "request_id": error.request_id[:80],
        },
    )


@transaction.atomic
def _store_found(kind: str, region: str, found: list[sources.Found]) -> None:
    now = timezone.now()
    # Two pages that asked at the same moment take turns here, or both would insert the same rows.
    ResourceListing.objects.select_for_update().get_or_create(provider=PROVIDER, kind=kind, region=region)
    Resource.objects.filter(provider=PROVIDER, kind=kind, region=region).delete()
    Resource.objects.bulk_create(
        Resource(provider=PROVIDER, kind=kind, region=region, refreshed_at=now, **vars(one)) for one in found
    )
    ResourceListing.objects.update_or_create(
        provider=PROVIDER,
        kind=kind,
        region=region,
        defaults={
            "refreshed_at": now,
            "failed_at": None,
            "error_code": "",
            "error_message": "",
            "words": {},
            "request_id": "",
        },
    )


@transaction.atomic
def set_account(
    *, actor: Actor, secret_id: str, secret_key: str | None, root_domain: str, endpoint: str, use_https: bool
) -> ProviderAccount:
    """Set up the provider's account. `secret_key=None` keeps the stored key, for the same account and address only.

    What another account had listed is forgotten. Raises Refused without a key.
    """
    account = ProviderAccount.objects.filter(provider=PROVIDER).first() or ProviderAccount(provider=PROVIDER)
    place = (secret_id, root_domain, endpoint, use_https)
    moved = place != (account.secret_id, account.root_domain, account.endpoint, account.use_https)
    if secret_key is None and (account.pk is None or moved):
        raise Refused(_("Enter the secret key: a stored one never follows to another account or address."))
    if secret_key is not None:
        account.secret_key = secret_key
    account.secret_id, account.root_domain, account.endpoint, account.use_https = place
    account.changed_at = timezone.now()
    account.save()
    _forget_answers()
    record(actor=actor_name(actor), action="provider-account-changed", subject=PROVIDER, message=secret_id)
    return account


@transaction.atomic
def remove_account(*, actor: Actor) -> None:
    """Forget the provider's account, its key and everything that it listed. Idempotent."""
    ProviderAccount.objects.filter(provider=PROVIDER).delete()
    _forget_answers()
    record(actor=actor_name(actor), action="provider-account-removed", subject=PROVIDER)


def _forget_answers() -> None:
    Resource.objects.filter(provider=PROVIDER).delete()
    ResourceListing.objects.filter(provider=PROVIDER).delete()


@transaction.atomic
def save_resource(*, actor: Actor, data: ResourceData, resource_id: int | None = None) -> Resource:
    """Create or change a row of the local inventory. Raises Refused for a taken id or a missing parent."""
    entry = sources.Entry(line=0, **vars(data))
    same = Resource.objects.filter(provider="local", kind=data.kind, region=data.region, external_id=data.external_id)
    if resource_id is not None:
        same = same.exclude(pk=resource_id)
    if same.exists():
        raise Refused(_("There is %(id)s in this region already.") % {"id": data.external_id})
    if resource_id is not None:
        former = get_resource(resource_id)
        if (former.kind, former.region, former.external_id) != (data.kind, data.region, data.external_id):
            _refuse_with_children(former)
    problems = sources.missing_parents([entry])
    if problems:
        raise Refused(say("{problems}.", problems=together((problem.text for problem in problems), "; ")))
    row = get_resource(resource_id) if resource_id is not None else Resource(provider="local")
    for name, value in vars(data).items():
        setattr(row, name, value)
    row.refreshed_at = timezone.now()
    row.save()
    record(actor=actor_name(actor), action="resource-saved", subject=str(row))
    return row


def get_resource(resource_id: int) -> Resource:
    """Return a row of the local inventory. Raises NotFound."""
    row = Resource.objects.filter(pk=resource_id, provider="local").first()
    if row is None:
        raise NotFound(_("There is no such resource in the local inventory."))
    return row


def _refuse_with_children(row: Resource) -> None:
    """Raise Refused while other rows stand inside this one."""
    local = Resource.objects.filter(provider="local").exclude(pk=row.pk)
    if row.kind == "region":
        inside = local.filter(region=row.external_id)
    elif row.kind in _CHILDREN:
        inside = local.filter(Q(**{_CHILDREN[row.kind]: row.external_id}), region=row.region)
    else:
        return
    number = inside.count()
    if number:
        raise Refused(
            _("%(number)d resources belong to %(id)s. Remove or change them first.")
            % {"number": number, "id": row.external_id}
        )


@transaction.atomic
def delete_resource(*, actor: Actor, resource_id: int) -> str:
    """Remove a row of the local inventory; returns its id. Raises Refused while others stand inside, NotFound."""
    row = get_resource(resource_id)
    _refuse_with_children(row)
    row.delete()
    record(actor=actor_name(actor), action="resource-deleted", subject=str(row))
    return row.external_id


@transaction.atomic
def import_inventory(*, actor: Actor, text: str, apply: bool) -> sources.Plan:
    """Compare a file with the local inventory and, with `apply`, take it over: whole or not at all.

    Rows are found by (kind, region, id); rows that the file does not name stay. Raises InventoryError with every
    problem and its line.
    """
    from ..sources.inventory import read_inventory  # with the YAML library, which everything else does without

    read = read_inventory(text)
    problems = [*read.problems, *sources.missing_parents(read.entries, doubtful=read.doubtful)]
    if problems:
        raise sources.InventoryError(problems)
    plan = sources.plan_import(read.entries)
    if not apply:
        return plan
    for change in (*plan.added, *plan.changed):
        values = {name: value for name, value in vars(change.entry).items() if name != "line"}
        key = {name: values.pop(name) for name in ("kind", "region", "external_id")}
        Resource.objects.update_or_create(provider="local", **key, defaults={**values, "refreshed_at": timezone.now()})
    said = say(
        "{added} added, {changed} changed, {same} unchanged",
        added=len(plan.added),
        changed=len(plan.changed),
        same=plan.same,
    )
    record(actor=actor_name(actor), action="inventory-imported", message=said)
    return plan
