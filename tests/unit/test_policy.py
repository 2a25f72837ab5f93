"""What may be dialled: every spelling of a forbidden address is refused, and nothing is dialled to find out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.engine import dialling, probe
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.plan import Bastion, Plan, Server, Side, TlsMode
from migrations_app.engine.policy import AddressPolicy, parse_networks
from migrations_app.engine.selection import Selection
from tests.fakes import FakeControl

STRICT = AddressPolicy()
ROOT = Path(__file__).resolve().parents[2]

LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "2130706433",
    "017700000001",
    "localhost",
    "localhost.",
    "LocalHost",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:7f00:0:100::",
    "2002:7f00:1::",
    "2002:7f00:0001:1::1",
    "2001:0:7f00:1::",
    "2001::80ff:fffe",
    "2001:db8::5efe:7f00:1",
    "2001:db8::200:5efe:127.0.0.1",
]
NEVER = [
    "0",
    "0.0.0.0",  # noqa: S104 - only judged
    "0.1.2.3",
    "::",
    "::0.0.0.0",
    "169.254.169.254",
    "169.254.0.23",
    "0xa9fea9fe",
    "2852039166",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fe80::1",
    "fe80::a9fe:a9fe%1",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.255",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "[::]",
    "[::1]",
]


@pytest.fixture
def nothing_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise AssertionError("something was dialled")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("migrations_app.engine.connect.Session.connect", refuse)


def _server(host: str, **more: Any) -> Server:
    return Server(**{"host": host, "port": 5432, "user": "x", "password": "s3cret", "policy": STRICT, **more})


def _sessions(server: Server, tmp_path: Path) -> Sessions:
    plan = Plan(
        key="0badf00d",
        epoch=1,
        source=server,
        target=server,
        databases=(),
        selection=Selection.everything(),
        incremental=False,
        work_dir=tmp_path,
    )
    return Sessions(plan, FakeControl())


@pytest.mark.usefixtures("nothing_is_dialled")
@pytest.mark.parametrize("host", LOOPBACK + NEVER)
def test_no_spelling_of_a_forbidden_address_is_dialled_by_a_test_or_a_run(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed) as caught:
        probe.probe(_server(host), Side.SOURCE)
    with _sessions(_server(host), tmp_path) as sessions, pytest.raises(ConnectFailed) as run:
        sessions.open(Side.SOURCE)
    assert caught.value.code in ("POLICY-DENIED", "ADDRESS-BAD", "CONNECT-DNS")
    assert (caught.value.code, caught.value.message) == (run.value.code, run.value.message)


@pytest.mark.usefixtures("nothing_is_dialled")
def test_tls_does_not_lead_around_the_policy(tmp_path: Path) -> None:
    server = _server("127.0.0.1", tls=TlsMode.REQUIRE)
    with _sessions(server, tmp_path) as sessions, pytest.raises(ConnectFailed) as caught:
        sessions.open(Side.SOURCE)
    assert caught.value.code == "POLICY-DENIED"


@pytest.mark.parametrize("host", NEVER)
def test_what_is_never_dialled_cannot_be_allowed(host: str) -> None:
    number = host.strip("[]").partition("%")[0]
    policy = AddressPolicy(allow=parse_networks(["0.0.0.0/0", "::/0", "127.0.0.0/8", "::1/128"]), loopback=False)
    assert host == "[::1]" or not policy.allows(number, 5432)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "8.8.8.8", "2a00:1450:4001::1", "fd12:3456::1"]
)
def test_private_and_public_addresses_are_dialled(host: str) -> None:
    assert STRICT.allows(host, 5432)


def test_the_refusal_is_the_same_whatever_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = set()
    for answer in ("127.0.0.1", "169.254.169.254", "10.9.9.9"):
        monkeypatch.setattr(dialling, "resolve", lambda *_args, found=answer: [found])
        with pytest.raises(ConnectFailed) as caught:
            probe.probe(_server("db.example", policy=AddressPolicy(deny=parse_networks(["10.0.0.0/8"]))), Side.SOURCE)
        texts.add((caught.value.code, caught.value.message, caught.value.hint))
    assert len(texts) == 1


@pytest.mark.parametrize(("host", "address"), [("10.0.0.1", "10.0.0.1"), ("127.1", "127.0.0.1"), ("::1", "::1")])
def test_a_number_is_read_without_asking_anybody(monkeypatch: pytest.MonkeyPatch, host: str, address: str) -> None:
    monkeypatch.setattr(dialling.threading, "Thread", None)
    assert dialling.resolve(host, 5432, 1) == [address]


def test_one_forbidden_answer_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "resolve", lambda *_args: ["192.0.2.10", "127.0.0.1"])
    with pytest.raises(ConnectFailed) as caught:
        probe.probe(_server("db.example"), Side.SOURCE)
    assert caught.value.code == "POLICY-DENIED"


def test_a_name_that_changes_its_address_is_judged_again_and_dialled_by_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = [["192.0.2.10"], ["127.0.0.1"]]
    dialled: list[dict[str, Any]] = []

    def connect(**arguments: Any) -> None:
        dialled.append(arguments)
        raise AssertionError("stop here")

    monkeypatch.setattr(dialling, "resolve", lambda *_args: answers.pop(0))
    monkeypatch.setattr("migrations_app.engine.connect.Session.connect", connect)
    with _sessions(_server("db.example"), tmp_path) as sessions:
        with pytest.raises(AssertionError, match="stop here"):
            sessions.open(Side.SOURCE)
        with pytest.raises(ConnectFailed) as caught:
            sessions.open(Side.SOURCE)
    assert caught.value.code == "POLICY-DENIED"
    assert [(one["host"], one["hostaddr"]) for one in dialled] == [("db.example", "192.0.2.10")]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_dialled_when_the_console_listens_there_only(address: str) -> None:
    assert AddressPolicy(loopback=True).allows(address, 5432)


def test_loopback_is_dialled_when_it_is_listed_by_itself() -> None:
    assert AddressPolicy(allow=parse_networks(["127.0.0.0/8"])).allows("127.0.0.1", 5432)
    assert not AddressPolicy(allow=parse_networks(["0.0.0.0/0", "::/0"])).allows("127.0.0.1", 5432)


def test_a_list_of_what_is_allowed_is_all_that_is_allowed() -> None:
    policy = AddressPolicy(allow=parse_networks(["10.1.0.0/16"]), loopback=True)
    assert policy.allows("10.1.2.3", 5432)
    assert not [host for host in ("10.2.0.1", "8.8.8.8", "127.0.0.1", "fd12::1") if policy.allows(host, 5432)]


def test_what_is_denied_wins_in_every_spelling() -> None:
    policy = AddressPolicy(allow=parse_networks(["10.0.0.0/8", "::/0"]), deny=parse_networks(["10.1.0.0/16"]))
    assert policy.allows("10.2.0.1", 5432)
    spellings = ("10.1.0.1", "::ffff:10.1.0.1", "64:ff9b::10.1.0.1", "2002:a01:1::")
    assert not [host for host in spellings if policy.allows(host, 5432)]


def test_the_consoles_own_database_is_closed_at_its_port_only() -> None:
    policy = AddressPolicy(loopback=True, closed=frozenset({("10.0.0.5", 5432), ("127.0.0.1", 6000)}))
    assert not policy.allows("10.0.0.5", 5432)
    assert not policy.allows("::ffff:10.0.0.5", 5432)
    assert policy.allows("10.0.0.5", 5433)
    assert not [host for host in ("127.0.0.1", "127.0.0.2", "::1") if policy.allows(host, 6000)]
    assert policy.allows("127.0.0.1", 6001)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("db.internal", True),
        ("127.0.0.1", True),  # the SSH host's own
        ("10.0.0.7", True),
        ("169.254.169.254", False),
        ("0.0.0.0", False),  # noqa: S104 - only judged
        ("::ffff:169.254.169.254", False),
    ],
)
def test_what_an_ssh_host_is_asked_to_dial_is_judged_as_far_as_it_is_a_number(host: str, allowed: bool) -> None:
    assert STRICT.allows_beyond(host, 5432) is allowed


@pytest.mark.parametrize(
    "host",
    [
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "metadata.tencentyun.com",
        "instance-data",
        "169.254.169.254.",
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "0251.0376.0251.0376",
    ],
)
def test_names_and_spellings_of_metadata_services_are_refused_behind_an_ssh_host_too(host: str) -> None:
    assert not AddressPolicy(loopback=True).allows_beyond(host, 80)


@pytest.mark.parametrize("host", ["db.internal", "10.1", "metadata-db.internal", "metadata.internal"])
def test_other_names_and_numbers_are_left_to_the_ssh_host(host: str) -> None:
    assert AddressPolicy().allows_beyond(host, 5432)


def test_an_ssh_host_is_judged_like_a_server() -> None:
    bastion = Bastion(host="127.0.0.1", port=1, user="x", host_key="")
    with pytest.raises(ConnectFailed) as caught:
        probe.probe(_server("10.0.0.7", bastion=bastion), Side.SOURCE)
    assert caught.value.code == "POLICY-DENIED"


def test_the_policy_travels_to_another_process_unchanged() -> None:
    policy = AddressPolicy(
        allow=parse_networks(["10.0.0.0/8"]), deny=parse_networks(["::/0"]), closed=frozenset({("10.0.0.5", 5432)})
    )
    assert AddressPolicy.from_json(policy.to_json()) == policy
    assert replace(policy, loopback=True).to_json()["loopback"] is True


@pytest.mark.parametrize("name", ["TOWPATH_ALLOW_ADDRESSES", "TOWPATH_DENY_ADDRESSES"])
def test_a_range_that_is_none_stops_the_start_with_its_name(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import console.settings"],
        env={"PATH": os.environ["PATH"], "TOWPATH_DATA_DIR": str(tmp_path), name: "10.0.0.0/8, 10.0.0.1/8"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode
    assert f"{name} holds '10.0.0.1/8', which is not an address range" in done.stderr
