"""What the lists of a form offer, how old it is, and what to do when a list is empty. Reads our rows only."""

from __future__ import annotations

from dataclasses import field, replace
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Max, Q, QuerySet
from django.utils.translation import gettext as _

from .. import sources
from ..engine.values import frozen
from ..models import ProviderAccount, Resource, ResourceListing
from ..sources.verify import find, known
from ..telling import tell
from .wording import told

RESOURCES_A_PAGE = 50
MOST_OPTIONS = 1000


@frozen
class FieldList:
    """One list of a form. `empty`: what to do when nothing is offered; `problem`: what the provider said.

    `cut_of`: how many there are, when not all of them are offered; else 0.
    """

    options: list[tuple[str, str]] = field(default_factory=list)
    waits_for: str = ""  # a field above has to be chosen first
    empty: str = ""
    problem: str = ""
    as_of: datetime | None = None
    cut_of: int = 0


@frozen
class ResourceCount:
    """How many things of a kind the local inventory and the provider hold."""

    kind: str
    label: str
    number: int


def kinds_of(side: str) -> tuple[str, ...]:
    """Return the types that a side has, in the manual's order."""
    return sources.KINDS_OF[side]


def place_fields(side: str, kind: str, *, network: str = "", vpn_type: str = "") -> tuple[str, ...]:
    """Return the fields of a type, in order."""
    return sources.fields_of(side, kind, network=network, vpn_type=vpn_type)


def deciding_fields(side: str, kind: str) -> set[str]:
    """Return the fields of a type on which other fields or lists depend."""
    listed = sources.LISTS.get((side, kind), {})
    return {"network", "vpn_type", "region"} | {above for field in listed.values() for above in field.within}


def lists_of(side: str, kind: str, values: dict[str, str]) -> list[tuple[str, str]]:
    """Return the (kind, region) lists that the fields of a type show now: what may have to be asked for first."""
    region = values.get("region", "")
    wanted = []
    for name, listed in sources.LISTS.get((side, kind), {}).items():
        if name == "region":
            wanted.append(("region", ""))
        elif "region" not in listed.within:
            wanted.append((listed.resource, _region_of_gateway(values) if listed.within else ""))
        elif region:
            wanted.append((listed.resource, region))
    return wanted


def _region_of_gateway(values: dict[str, str]) -> str:
    gateway = find("direct_connect_gateway", values.get("gateway_id", ""))
    return gateway.region if gateway else ""


def field_list(side: str, kind: str, name: str, values: dict[str, str]) -> FieldList:
    """Return what one list offers, given what was chosen above it."""
    listed = sources.LISTS[side, kind][name]
    missing = [above for above in listed.within if not values.get(above) and _is_shown(above, kind, values)]
    if missing:
        return FieldList(waits_for=missing[0])
    every = _rows(side, kind, name, values)
    rows = list(every[: MOST_OPTIONS + 1])
    is_cut, rows = len(rows) > MOST_OPTIONS, rows[:MOST_OPTIONS]
    if is_cut and (chosen := values.get(name)):  # it counts as chosen, wherever in the list it stands
        rows += every.filter(external_id=chosen)[:1]
    seen: dict[str, str] = {}
    for row in rows:
        seen.setdefault(row.external_id, option_label(row, with_region="region" not in listed.within))
    options = sorted(seen.items(), key=lambda pair: pair[1].lower())
    answer = FieldList(options=options, cut_of=every.count() if is_cut else 0)
    answer = _with_age(answer, listed.resource, values.get("region", "") if "region" in listed.within else None)
    return answer if answer.options else replace(answer, empty=_what_to_do(listed.resource))


def _is_shown(name: str, kind: str, values: dict[str, str]) -> bool:
    shown = sources.fields_of("source", kind, network=values.get("network", ""), vpn_type=values.get("vpn_type", ""))
    return name in shown


def _rows(side: str, kind: str, name: str, values: dict[str, str]) -> QuerySet[Resource]:
    listed, region = sources.LISTS[side, kind][name], values.get("region", "")
    if name == "region":
        return known("region")
    if name == "vpc_id" and kind != "cvm":
        gateway = _gateway(kind, values)
        rows = known("vpc", region=gateway.region if gateway else region)
        return rows.filter(external_id=gateway.vpc_id) if gateway and gateway.vpc_id else rows
    if "region" not in listed.within:
        return known(listed.resource)
    inside = [above for above in ("vpc_id", "subnet_id") if above in listed.within]
    # Without a network of its own an instance stands in the basic network: both columns are empty.
    chain = {above: values.get(above, "") if values.get("network") == "vpc" else "" for above in inside}
    return known(listed.resource, region=region, **chain)


def _gateway(kind: str, values: dict[str, str]) -> Resource | None:
    if kind == "vpn":
        if values.get("vpn_type") != "connections":
            return None
        return find("vpn_gateway", values.get("gateway_id", ""), region=values.get("region", ""))
    return find("direct_connect_gateway", values.get("gateway_id", ""))


def option_label(row: Resource, *, with_region: bool = False) -> str:
    """Return a resource as a list shows it: name, id, and what tells it from its namesakes."""
    label = f"{row.name} ({row.external_id})" if row.name and row.name != row.external_id else row.external_id
    if row.kind == "region":
        return label
    address = f"{row.address}:{row.port}" if row.address and row.port else row.address
    more = [row.region if with_region else "", str(row.attrs.get("cidr") or address), _state(row)]
    return " · ".join([label, *(part for part in more if part)])


def _state(row: Resource) -> str:
    """Return how a machine stands, unless it runs: as far as the cloud has told."""
    state = str(row.attrs.get("state") or "RUNNING") if row.kind == "cvm" else "RUNNING"
    known = {
        "RUNNING": "",
        "PENDING": _("being created"),
        "LAUNCH_FAILED": _("creation failed"),
        "STARTING": _("starting"),
        "REBOOTING": _("restarting"),
        "STOPPING": _("stopping"),
        "STOPPED": _("stopped"),
        "SHUTDOWN": _("stopped, to be destroyed"),
        "TERMINATING": _("being destroyed"),
    }
    return known.get(state, state)


def _with_age(answer: FieldList, kind: str, region: str | None) -> FieldList:
    """Add when the provider last answered, and its error if the last answer was one."""
    if kind == "region":
        region = ""
    rows = ResourceListing.objects.filter(kind=kind)
    if region is not None:
        rows = rows.filter(region=region)
    failed = rows.exclude(error_code="").first()
    oldest = rows.order_by("refreshed_at").values_list("refreshed_at", flat=True).first()
    return replace(answer, as_of=oldest, problem=listing_problem(failed) if failed else "")


def listing_problem(listing: ResourceListing) -> str:
    """Return what the provider said, with its code and the id that its support asks for; or why nothing was said."""
    if listing.error_code in sources.NETWORK_CODES:
        return told(listing, "error_message")
    said = _("The provider answered %(code)s: %(message)s") % {
        "code": listing.error_code,
        "message": told(listing, "error_message"),
    }
    return f"{said} ({listing.request_id})" if listing.request_id else said


def _what_to_do(kind: str) -> str:
    label = dict(Resource.KINDS)[kind]
    if Resource.objects.filter(kind=kind).exists():
        return _("Nothing of this kind there: %(kind)s. Choose another place above.") % {"kind": label}
    if ProviderAccount.objects.exists():
        return _("Nothing of this kind was found: %(kind)s. Refresh, or add it to the inventory under Resources.") % {
            "kind": label
        }
    return _(
        "The resource directory holds nothing of this kind: %(kind)s. An administrator imports an inventory, "
        "or sets up the provider account, under Resources."
    ) % {"kind": label}


def judge(side: str, values: dict[str, str], *, target: dict[str, str] | None = None) -> sources.Judgement:
    """Look up everything that was chosen for a side, as saving will do it. `target`: the other side, of a source."""
    return sources.judge(_choice(side, values), target=_choice("target", target) if target else None)


def _choice(side: str, values: dict[str, str]) -> sources.Choice:
    names = ("kind", "host", *sources.DIRECTORY_FIELDS)
    chosen: dict[str, Any] = {name: str(values.get(name) or "") for name in names}
    return sources.Choice(side=side, **chosen)


def region_advice(values: dict[str, str], target: dict[str, str]) -> str:
    """Return the manual's advice when the source has to stand in the target's region and does not; else ''."""
    choice = _choice("source", values)
    return sources.advice(choice.kind) if sources.is_elsewhere(choice, _choice("target", target)) else ""


def known_port(side: str, values: dict[str, str]) -> int | None:
    """Return the port that the directory knows of the chosen instance, or None."""
    return judge(side, values).port


def why_no_host(text: str) -> str:
    """Return what is wrong with the name or address of one server, with the remedy; else ''."""
    reason = sources.why_no_host(text)
    return tell(reason) if reason else ""


def public_address(values: dict[str, str]) -> str:
    """Return the address under which the chosen server is reached from elsewhere, if it is known."""
    judgement = judge("source", values)
    return judgement.public_address or judgement.choice.host


def resources(*, kind: str = "", region: str = "", search: str = "", page: int = 1) -> Page[Resource]:
    """Return one page of everything that the directory knows."""
    rows = Resource.objects.all()
    if kind:
        rows = rows.filter(kind=kind)
    if region:
        rows = rows.filter(Q(region=region) | Q(kind="region", external_id=region))
    if search:
        text = search[:200]
        rows = rows.filter(Q(external_id__icontains=text) | Q(name__icontains=text) | Q(address__icontains=text))
    return Paginator(rows.order_by("region", "kind", "name", "external_id", "provider"), RESOURCES_A_PAGE).get_page(
        page
    )


def resource_counts() -> list[ResourceCount]:
    """Return how many things of each kind there are, kinds of none included."""
    numbers = dict(Resource.objects.order_by().values_list("kind").annotate(number=Count("id")))
    return [ResourceCount(kind=kind, label=str(label), number=numbers.get(kind, 0)) for kind, label in Resource.KINDS]


def resource_regions() -> list[str]:
    """Return the ids of all regions that the directory knows."""
    return sorted(set(Resource.objects.filter(kind="region").values_list("external_id", flat=True)))


def resource(resource_id: int) -> Resource | None:
    """Return a row of the local inventory, or None."""
    return Resource.objects.filter(pk=resource_id, provider="local").first()


def provider_account() -> ProviderAccount | None:
    """Return the provider's account, or None. Its key is never shown."""
    return ProviderAccount.objects.first()


def listing_problems() -> list[str]:
    """Return what the provider answered last, for each list that it refused; repeated answers once."""
    rows = ResourceListing.objects.exclude(error_code="").order_by("kind", "region")[:200]
    found = {}
    for row in rows:
        said = listing_problem(row)
        found[said.split(" (")[0]] = f"{row.get_kind_display()} {row.region}".rstrip() + f": {said}"
    return list(found.values())[:5]


def last_answer() -> datetime | None:
    """Return when the provider last answered well."""
    moment: datetime | None = ResourceListing.objects.aggregate(at=Max("refreshed_at"))["at"]
    return moment
