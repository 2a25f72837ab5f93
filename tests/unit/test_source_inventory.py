"""Inventory files: what they say, and that everything wrong in one is named with its line."""

from __future__ import annotations

import pytest

from migrations_app.demo.inventory import inventory_text
from migrations_app.sources import KINDS_OF, LISTS, InventoryError, fields_of
from migrations_app.sources.inventory import read_inventory

GOOD = """\
resources:
  - kind: region
    id: east
    name: East
  - kind: vpc
    region: east
    id: vpc-1
    cidr: 10.0.0.0/16
  - kind: cvm
    region: east
    id: ins-1
    address: 10.0.0.5
    port: 5433
"""


def _problems(text: str) -> list[str]:
    try:
        return [str(problem) for problem in sorted(read_inventory(text).problems)]
    except InventoryError as refused:
        return [str(problem) for problem in refused.problems]


def test_a_file_gives_entries_with_their_lines() -> None:
    region, vpc, machine = read_inventory(GOOD).entries
    assert (region.line, region.external_id, region.name) == (2, "east", "East")
    assert (vpc.region, vpc.attrs) == ("east", {"cidr": "10.0.0.0/16"})
    assert (machine.line, machine.address, machine.port, machine.vpc_id) == (9, "10.0.0.5", 5433, "")


def test_the_demos_file_is_right() -> None:
    read = read_inventory(inventory_text(source_port=5431, target_port=5433))
    assert not read.problems
    kinds = {entry.kind for entry in read.entries}
    assert {"region", "vpc", "subnet", "cvm", "direct_connect_gateway", "vpn_gateway", "tencentdb"} <= kinds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the file is empty"),
        ("[]", "line 1: the file needs a list named resources"),
        ("resources: 5", "line 1: resources has to be a list"),
        ("things: []", "line 1: unknown key things"),
        ("resources: []\nresources: []", "line 2: resources is given twice"),
        ("resources:\n - 5", "line 2: each resource has to be a mapping"),
        ("resources:\n - id: a", "line 2: kind is missing"),
        ("resources:\n - id: a\n   kind: floppy", "line 3: unknown kind floppy"),
        ("resources:\n - kind: [region]\n   id: a", "line 2: unknown kind"),
        ("resources:\n - kind: region\n   id: 5", "line 3: id has to be a text"),
        ("resources:\n - kind: region\n   id: null", "line 3: id has to be a text"),
        ("resources:\n - kind: region\n   id: [a]", "line 3: id has to be a text"),
        ("resources:\n - kind: region\n   id: a\n   id: b", "line 4: id is given twice"),
        ("resources:\n - kind: region\n   id: a\n   address: b", "line 4: unknown key address"),
        ("resources:\n - kind: region\n   id: ' a '", "line 3: id is too long, or has blanks"),
        (f"resources:\n - kind: region\n   id: {'a' * 121}", "line 3: id is too long"),
        ("resources:\n - kind: vpc\n   id: a", "line 2: vpc: region is missing"),
        ("resources:\n - kind: cvm\n   id: a\n   region: r", "line 2: cvm: address is missing"),
        (GOOD.replace("5433", "70000"), "line 13: port has to be a number from 1 to 65535"),
        (GOOD.replace("5433", "'5433'"), "line 13: port has to be a number"),
        (GOOD.replace("5433", "5433.0"), "line 13: port has to be a number"),
        (GOOD.replace("5433", "0x1539"), "line 13: port has to be a number"),
        (GOOD.replace("5433", "99999999999999999999"), "line 13: port has to be a number"),
        (GOOD.replace("10.0.0.5", "bad address"), "line 12: address: Enter one host name or IP address alone"),
        (GOOD.replace("10.0.0.5", "/var/run/x,10.0.0.1"), "line 12: address: Enter one host name"),
        (GOOD.replace("10.0.0.5", "10.0.0.5:5432"), "line 12: address: Leave the port out here"),
        (GOOD + "    public_address: 1.2.3", "line 14: public_address: This is no IPv4 address"),
        (GOOD.replace("10.0.0.0/16", "hello"), "line 8: cidr: This is no range of addresses"),
        (GOOD.replace("10.0.0.0/16", "10.0.0.0"), "line 8: cidr: This is no range of addresses"),
        (GOOD + "    subnet: s", "line 9: cvm: a subnet needs its vpc"),
        (GOOD + "  - kind: region\n    id: east", "line 14: region east stands in line 2 already"),
        ("resources:\n - kind: region\n  id: a", "line 3: not readable as YAML"),
        ("resources:\n - {kind: region", "line 2: not readable as YAML"),
        ("a: 1\n---\nb: 2", "line 2: not readable as YAML"),
        ("resources: *nothing", "line 1: not readable as YAML"),
        ("resources:\n\t- a", "line 2: not readable as YAML"),
        ("resources: \x00", "line 1: not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("resources:\n - !!python/object/apply:os.system [id]", "line 2: each resource has to be a mapping"),
        ("resources:\n - kind: region\n   id: !!python/name:os.system x", "line 3: id has to be a text"),
    ],
)
def test_anything_wrong_is_refused_with_its_line(text: str, said: str) -> None:
    assert any(said in problem for problem in _problems(text)), _problems(text)


def test_everything_wrong_is_said_at_once() -> None:
    text = GOOD.replace("kind: vpc", "kind: floppy").replace("5433", "x")
    assert [problem.split(":")[0] for problem in _problems(text)] == ["line 5", "line 13"]


def test_a_bomb_of_references_stays_small() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for here, there in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{here}: &{here} [{','.join([f'*{there}'] * 9)}]\n"
    assert "unknown key a" in _problems(f"{bomb}resources: *i\n")[0]


def test_a_very_large_file_is_refused_unread() -> None:
    assert "larger than" in _problems("#" * 2_000_001)[0]


def test_every_type_has_the_fields_of_the_manual() -> None:
    assert fields_of("source", "public_ip") == ("host", "port")
    assert fields_of("source", "cvm", network="basic") == ("region", "network", "instance_id", "port")
    assert fields_of("source", "cvm", network="vpc") == (
        "region",
        "network",
        "vpc_id",
        "subnet_id",
        "instance_id",
        "port",
    )
    assert fields_of("source", "direct_connect") == ("gateway_id", "vpc_id", "host", "port")
    assert fields_of("source", "vpn", vpn_type="connections") == (
        "region",
        "vpn_type",
        "gateway_id",
        "vpc_id",
        "host",
        "port",
    )
    assert "gateway_id" not in fields_of("source", "vpn", vpn_type="cvm")
    assert fields_of("source", "tencentdb") == ("instance_id",)
    assert fields_of("target", "tencentdb") == ("region", "instance_id")
    with pytest.raises(KeyError):
        fields_of("target", "cvm")


def test_every_list_belongs_to_a_field_of_its_type() -> None:
    for (side, kind), lists in LISTS.items():
        assert kind in KINDS_OF[side]
        shown = set(fields_of(side, kind, network="vpc", vpn_type="connections"))
        assert set(lists) <= shown
        assert all(set(listed.within) <= shown for listed in lists.values())
