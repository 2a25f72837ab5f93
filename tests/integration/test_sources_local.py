"""The local inventory: import, rows, chains of choices, and what becomes of an instance later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from django.utils import translation
from pytest_django.asserts import assertContains, assertRedirects

from migrations_app import selectors, services, sources
from migrations_app.demo.inventory import inventory_text
from migrations_app.models import AuditEntry, Resource
from tests import factories

pytestmark = pytest.mark.django_db
DEMO = inventory_text(source_port=5431, target_port=5433)


@pytest.fixture
def inventory() -> None:
    services.import_inventory(actor=None, text=DEMO, apply=True)


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(factories.user("root", role="admin"))
    return client


def _file(text: str) -> SimpleUploadedFile:
    return SimpleUploadedFile("inventory.yaml", text.encode())


CVM = {"kind": "cvm", "region": "demo-east", "network": "vpc", "vpc_id": "vpc-shop", "subnet_id": "subnet-data"}
CHAINS: dict[str, tuple[dict[str, str], str]] = {
    "cvm in a VPC": (CVM | {"instance_id": "ins-shop"}, ""),
    "cvm in the basic network": (
        {"kind": "cvm", "region": "demo-east", "network": "basic", "instance_id": "ins-classic"},
        "",
    ),
    "cvm of another network": (CVM | {"instance_id": "ins-classic"}, "instance_id"),
    "cvm of another region": (CVM | {"instance_id": "ins-west"}, "instance_id"),
    "cvm in the basic network that has a VPC": (
        {"kind": "cvm", "region": "demo-east", "network": "basic", "instance_id": "ins-shop"},
        "instance_id",
    ),
    "subnet of another VPC": (CVM | {"vpc_id": "vpc-office", "instance_id": "ins-shop"}, "subnet_id"),
    "VPC of another region": (CVM | {"vpc_id": "vpc-west", "instance_id": "ins-shop"}, "vpc_id"),
    "region that nobody knows": (CVM | {"region": "mars", "instance_id": "ins-shop"}, "region"),
    "no network": (CVM | {"network": "", "instance_id": "ins-shop"}, "network"),
    "no instance": (CVM, "instance_id"),
    "direct connect": ({"kind": "direct_connect", "gateway_id": "dcg-office", "vpc_id": "vpc-office"}, ""),
    "direct connect, another VPC": (
        {"kind": "direct_connect", "gateway_id": "dcg-office", "vpc_id": "vpc-shop"},
        "vpc_id",
    ),
    "direct connect, a VPN gateway": (
        {"kind": "direct_connect", "gateway_id": "vpngw-office", "vpc_id": "vpc-office"},
        "gateway_id",
    ),
    "vpn": (
        {
            "kind": "vpn",
            "region": "demo-east",
            "vpn_type": "connections",
            "gateway_id": "vpngw-office",
            "vpc_id": "vpc-office",
        },
        "",
    ),
    "vpn of one's own needs no gateway": (
        {"kind": "vpn", "region": "demo-east", "vpn_type": "cvm", "vpc_id": "vpc-shop", "gateway_id": "nonsense"},
        "",
    ),
    "vpn, gateway of another VPC": (
        {
            "kind": "vpn",
            "region": "demo-east",
            "vpn_type": "connections",
            "gateway_id": "vpngw-office",
            "vpc_id": "vpc-shop",
        },
        "vpc_id",
    ),
    "vpn without a type": ({"kind": "vpn", "region": "demo-east", "vpc_id": "vpc-shop"}, "vpn_type"),
    "vpn in another region than its VPC": (
        {"kind": "vpn", "region": "demo-west", "vpn_type": "cvm", "vpc_id": "vpc-shop"},
        "vpc_id",
    ),
    "tencentdb": ({"kind": "tencentdb", "instance_id": "postgres-source"}, ""),
    "tencentdb that nobody knows": ({"kind": "tencentdb", "instance_id": "postgres-9"}, "instance_id"),
    "unknown type": ({"kind": "floppy"}, "kind"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_every_link_of_a_chain_is_looked_up_again(name: str, inventory: None) -> None:
    values, wrong = CHAINS[name]
    errors = selectors.judge("source", values).errors
    assert set(errors) == ({wrong} if wrong else set()), errors


def test_a_type_that_a_side_does_not_have_is_refused(inventory: None) -> None:
    assert set(selectors.judge("target", CVM | {"instance_id": "ins-shop"}).errors) == {"kind"}


def test_an_id_in_two_regions_is_not_guessed(inventory: None) -> None:
    Resource.objects.create(
        provider="local", kind="tencentdb", region="demo-west", external_id="postgres-source", address="10.9.9.9"
    )
    assert "instance_id" in selectors.judge("source", {"kind": "tencentdb", "instance_id": "postgres-source"}).errors


def test_an_instance_without_an_address_is_refused(inventory: None) -> None:
    Resource.objects.filter(external_id="postgres-source").update(address="")
    errors = selectors.judge("source", {"kind": "tencentdb", "instance_id": "postgres-source"}).errors
    assert "no private address" in errors["instance_id"]


@pytest.mark.parametrize("kind", ["cvm", "vpn"])
def test_another_region_than_the_targets_is_refused_with_the_manuals_advice(kind: str, inventory: None) -> None:
    values = {"cvm": CVM | {"instance_id": "ins-shop"}, "vpn": CHAINS["vpn"][0]}[kind]
    target = {"kind": "tencentdb", "region": "demo-west"}
    judged = selectors.judge("source", values, target=target)
    assert judged.other_region
    assert "choose PostgreSQL with public IP" in judged.errors["region"]
    assert not selectors.judge("source", values, target={"kind": "tencentdb", "region": "demo-east"}).errors
    assert not selectors.judge("source", values, target={"kind": "public_ip", "host": "x"}).errors


def test_a_row_of_ours_comes_before_a_clouds_answer(inventory: None) -> None:
    Resource.objects.create(
        provider="tencent", kind="tencentdb", region="demo-east", external_id="postgres-source", address="10.9.9.9"
    )
    judged = selectors.judge("source", {"kind": "tencentdb", "instance_id": "postgres-source"})
    assert (judged.choice.host, judged.provider) == ("127.0.0.1", "local")


def _data(**fields: Any) -> services.EndpointData:
    return services.EndpointData(**({"host": "", "port": 5431, "account": "mover", "password": "x"} | fields))


def test_saving_looks_the_chain_up_and_stores_the_address(inventory: None) -> None:
    task = services.create_draft(
        actor=None,
        name="shop",
        scheduled_at=None,
        incremental=True,
        source=_data(**CVM, instance_id="ins-shop"),
        target=_data(kind="tencentdb", region="demo-east", instance_id="postgres-target"),
    )
    assert (task.source.host, task.source.port, task.source.provider) == ("127.0.0.1", 5431, "local")
    assert (task.target.host, task.target.port) == ("127.0.0.1", 5433)


def test_a_foreign_id_is_refused_by_the_service_as_well(inventory: None) -> None:
    with pytest.raises(services.Refused, match="ins-west"):
        services.create_draft(
            actor=None,
            name="shop",
            scheduled_at=None,
            incremental=True,
            source=_data(**CVM, instance_id="ins-west"),
            target=_data(host="10.0.4.9"),
        )


def _stored(**fields: Any) -> Any:
    return factories.endpoint(host="127.0.0.1", port=5431, **{**CVM, "instance_id": "ins-shop"}, **fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "is not in the resource directory of demo-east any more"),
        ({"address": "10.7.7.7"}, r"is 10\.7\.7\.7:5431 now; 127\.0\.0\.1:5431 was saved"),
        ({"address": ""}, "is unknown:5431 now"),
        ({"vpc_id": "vpc-office", "subnet_id": ""}, "moved to another network: vpc-office"),
    ],
)
def test_an_instance_that_vanished_or_moved_is_said_so(change: Any, said: str, inventory: None) -> None:
    rows = Resource.objects.filter(external_id="ins-shop")
    rows.update(**change) if change else rows.delete()
    with pytest.raises(sources.Vanished, match=said) as vanished:
        sources.resolve(_stored())
    assert "Open the settings" in vanished.value.hint


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "demo-east 的资源目录中已没有"),
        ({"address": "10.7.7.7"}, "10.7.7.7:5431"),
        ({"vpc_id": "vpc-office", "subnet_id": ""}, "已移到其他网络：vpc-office"),
    ],
)
def test_what_vanished_or_moved_is_told_in_the_readers_language(change: Any, told: str, inventory: None) -> None:
    rows = Resource.objects.filter(external_id="ins-shop")
    rows.update(**change) if change else rows.delete()
    with pytest.raises(sources.Vanished) as vanished:
        sources.resolve(_stored())
    with translation.override("zh-hans"):
        message, hint = selectors.tell(vanished.value.message), selectors.tell(vanished.value.hint)
    assert told in message
    assert "实例" in message
    assert hint.startswith("请打开任务设置")
    assert "Open the settings" not in hint


def test_an_endpoint_that_is_as_it_was_resolves(inventory: None) -> None:
    assert sources.resolve(_stored()) == ("127.0.0.1", 5431)
    assert sources.resolve(factories.endpoint()) == ("db1.internal", 5432)


def test_importing_twice_changes_nothing(inventory: None) -> None:
    plan = services.import_inventory(actor=None, text=DEMO, apply=True)
    assert plan.is_empty
    assert plan.same == Resource.objects.count()


def test_a_dry_run_shows_the_difference_and_writes_nothing(inventory: None) -> None:
    text = DEMO.replace("name: shop database\n", "name: renamed\n") + "  - kind: region\n    id: north\n"
    plan = services.import_inventory(actor=None, text=text, apply=False)
    assert [change.entry.external_id for change in plan.added] == ["north"]
    assert plan.changed[0].fields == [("name", "shop database", "renamed")]
    assert not Resource.objects.filter(external_id="north").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resources:\n- kind: vpc\n  region: r\n  id: v", "line 2: vpc v: there is no region r"),
        (
            "resources:\n- {kind: region, id: r}\n- {kind: subnet, region: r, vpc: v, id: s}",
            "line 3: subnet s: there is no vpc v",
        ),
        (
            "resources:\n- {kind: cvm, region: demo-east, vpc: vpc-office, subnet: subnet-data, id: i, address: a}",
            "line 2: cvm i: subnet subnet-data is in vpc-shop, not in vpc-office",
        ),
    ],
)
def test_a_missing_parent_refuses_the_whole_file(text: str, said: str, inventory: None) -> None:
    before = Resource.objects.count()
    with pytest.raises(services.InventoryError) as refused:
        services.import_inventory(actor=None, text=text, apply=True)
    assert [str(problem) for problem in refused.value.problems] == [said]
    assert Resource.objects.count() == before


WRONG_AND_MISSING = """\
resources:
- {kind: region, id: r}
- {kind: vpc, region: r, id: v, cidr: hello}
- {kind: subnet, region: r, vpc: v, id: s}
- {kind: cvm, region: r, vpc: v, subnet: s, id: i, address: a b}
- {kind: cvm, region: mars, id: j, address: c d}
- {kind: vpc, id: w}
- {kind: subnet, region: r, vpc: w, id: t}
"""


def test_missing_parents_are_told_together_with_what_else_is_wrong() -> None:
    with pytest.raises(services.InventoryError) as refused:
        services.import_inventory(actor=None, text=WRONG_AND_MISSING, apply=True)
    said = [str(problem).split(",")[0][:40] for problem in refused.value.problems]
    assert said == [
        "line 3: cidr: This is no range of addres",
        "line 5: address: Enter one host name or ",
        "line 6: address: Enter one host name or ",
        "line 6: cvm j: there is no region mars",
        "line 7: vpc: region is missing",
    ]


def test_the_command_shows_then_applies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "inventory.yaml"
    file.write_text(DEMO)
    call_command("import_inventory", str(file))
    assert "+ region demo-east" in capsys.readouterr().out
    assert not Resource.objects.exists()
    call_command("import_inventory", str(file), "--apply")
    assert "imported." in capsys.readouterr().out
    assert Resource.objects.filter(kind="tencentdb").count() == 2
    file.write_text(DEMO.replace("kind: vpc\n", "kind: floppy\n", 1))
    with pytest.raises(CommandError, match=r"line 11: unknown kind floppy"):
        call_command("import_inventory", str(file), "--apply")


def test_a_file_is_uploaded_looked_at_and_confirmed(admin: Client) -> None:
    url = reverse("resources:import")
    assertContains(admin.post(url, {"file": _file(DEMO)}), "What would change")
    assert not Resource.objects.exists()
    assertRedirects(admin.post(url, {"text": DEMO}), reverse("resources:list"))
    assertContains(admin.get(reverse("resources:list")), "ins-shop")
    assert AuditEntry.objects.filter(action="inventory-imported").exists()


def test_a_wrong_file_is_refused_with_its_lines(admin: Client) -> None:
    url = reverse("resources:import")
    answer = admin.post(url, {"file": _file("resources:\n - kind: '<b>x</b>'")})
    assertContains(answer, "line 2", status_code=422)
    assertContains(answer, "&lt;b&gt;x&lt;/b&gt;", status_code=422)
    assertContains(admin.post(url, {"text": "resources: 5"}), "line 1", status_code=422)
    assertContains(admin.post(url, {}), "Choose the inventory file.", status_code=422)
    binary = SimpleUploadedFile("x", b"\xff\xfe\x00")
    assertContains(admin.post(url, {"file": binary}), "not a text in UTF-8", status_code=422)


def _row(**changes: str) -> dict[str, str]:
    return {"kind": "vpc", "external_id": "vpc-new", "region": "demo-east", **changes}


def test_a_row_is_added_changed_and_removed(admin: Client, inventory: None) -> None:
    admin.post(reverse("resources:create"), _row())
    row = Resource.objects.get(external_id="vpc-new")
    admin.post(reverse("resources:edit", args=[row.pk]), _row(name="renamed"))
    row.refresh_from_db()
    assert row.name == "renamed"
    admin.post(reverse("resources:delete", args=[row.pk]))
    assert not Resource.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"region": ""}, "This kind needs it."),
        ({"region": "mars"}, "there is no region mars"),
        ({"external_id": "vpc-shop"}, "There is vpc-shop in this region already."),
        ({"kind": "floppy"}, "Choose one of the offered kinds."),
        ({"kind": "cvm", "address": "a b"}, "Enter one host name or IP address alone"),
        ({"kind": "cvm", "address": "a", "port": "0"}, "A port lies between 1 and 65535"),
        ({"kind": "cvm", "address": "a", "subnet_id": "s"}, "A subnet is inside a VPC."),
        ({"external_id": ""}, "Fill in this field."),
    ],
)
def test_a_wrong_row_is_refused(changes: dict[str, str], said: str, admin: Client, inventory: None) -> None:
    before = Resource.objects.count()
    assertContains(admin.post(reverse("resources:create"), _row(**changes)), said, status_code=422)
    assert Resource.objects.count() == before


def test_a_row_with_others_inside_stays(admin: Client, inventory: None) -> None:
    row = Resource.objects.get(kind="vpc", external_id="vpc-shop")
    answer = admin.post(reverse("resources:delete", args=[row.pk]), follow=True)
    assertContains(answer, "resources belong to vpc-shop")
    with pytest.raises(services.Refused, match="belong to vpc-shop"):
        services.save_resource(
            actor=None,
            data=services.ResourceData(kind="vpc", region="demo-east", external_id="vpc-other"),
            resource_id=row.pk,
        )


def test_a_clouds_answer_cannot_be_edited_as_a_row(admin: Client) -> None:
    row = Resource.objects.create(provider="tencent", kind="region", external_id="ap-x")
    assert admin.get(reverse("resources:edit", args=[row.pk])).status_code == 404
    admin.post(reverse("resources:delete", args=[row.pk]))
    assert Resource.objects.filter(pk=row.pk).exists()


def test_the_list_is_filtered_and_paged(admin: Client, inventory: None) -> None:
    Resource.objects.bulk_create(
        Resource(provider="local", kind="vpc", region="demo-east", external_id=f"vpc-{number:03}")
        for number in range(60)
    )
    page = admin.get(reverse("resources:list"), {"kind": "vpc", "page": "2"})
    assertContains(page, "Page 2 of 2")
    assertContains(admin.get(reverse("resources:list"), {"search": "nothing like it"}), "Nothing like this")
    assert admin.get(reverse("resources:list"), {"page": "x"}).status_code == 200
