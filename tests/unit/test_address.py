"""Addresses on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management.base import CommandError

from migrations_app.management.cli.address import endpoint_from_uri, object_path, password_from_file
from migrations_app.management.cli.passwords import from_file


def test_a_uri_gives_every_part() -> None:
    data = endpoint_from_uri("postgresql://mover:p%40ss@db.example:6543/shop?sslmode=verify-full", "source")
    assert (data.host, data.port, data.account, data.password) == ("db.example", 6543, "mover", "p@ss")
    assert (data.database, data.tls_mode) == ("shop", "verify-full")


def test_the_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_SOURCE_PASSWORD", "from-env")
    assert endpoint_from_uri("postgresql://mover@h/shop", "source").password == "from-env"
    assert endpoint_from_uri("postgresql://mover@h/shop", "target").password == ""


def test_the_password_may_come_from_a_passfile(tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_text("# comment\nother:*:*:*:no\nh:5432:*:mover:a\\:b\n")
    file.chmod(0o600)
    assert endpoint_from_uri("postgresql://mover@h/shop", "source", str(file)).password == "a:b"


def test_a_passfile_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_text("*:*:*:*:x\n")
    file.chmod(0o644)
    with pytest.raises(CommandError, match="chmod 600"):
        password_from_file(file, ["h", "5432", "d", "u"])


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("h:1:d:u:a\\:b", "a:b"),
        ("h:1:d:u:a\\\\", "a\\"),
        ("h:1:d:u:a\\", "a\\"),
        ("h:1:d:u:a\\\\:more", "a\\"),
        ("h:1:d:u:a\u2028b\x85c\x0cd\x1ee", "a\u2028b\x85c\x0cd\x1ee"),
        ("h:1:d:u:", ""),
        ("h:1:d:u", ""),
        ("h\\:1:d:u:p", ""),
    ],
)
def test_a_passfile_is_read_as_libpq_reads_it(line: str, password: str, tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_text(line + "\n", encoding="utf-8")
    file.chmod(0o600)
    assert password_from_file(file, ["h", "1", "d", "u"]) == password


def test_a_passfile_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_bytes(b"*:*:*:*:\xff\n")
    file.chmod(0o600)
    with pytest.raises(CommandError, match="pass cannot be read: it is not text in UTF-8"):
        password_from_file(file, ["h", "5432", "d", "u"])


@pytest.mark.parametrize("port", ["0", "65536", "99999999999999999999", "²", "a"])
def test_a_port_that_does_not_exist_is_refused(port: str) -> None:
    with pytest.raises(CommandError, match=r"a number from 1 to 65535|not a connection URI"):
        endpoint_from_uri(f"host=h port={port} dbname=d user=u", "source")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:s3cret@h/db?options=-csearch_path%3Dx",
        "postgresql://u:s3cret@a,b/db",
        "postgresql:///db?host=/tmp",
        "postgresql://u:s3cret@h/db?sslmode=maybe",
        "host=h s3cret",
        "postgresql://u:s3cret%zz@h/db",
    ],
)
def test_what_cannot_be_used_is_refused_without_repeating_a_password(uri: str) -> None:
    with pytest.raises(CommandError) as caught:
        endpoint_from_uri(uri, "source")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("public", ("public",)),
        ("public.orders", ("public", "orders")),
        ('"Back Office"."Order.Lines"', ("Back Office", "Order.Lines")),
        ('"a""b"', ('a"b',)),
    ],
)
def test_object_names_are_read_as_sql_writes_them(text: str, path: tuple[str, ...]) -> None:
    assert object_path(text) == path


@pytest.mark.parametrize("text", ["", "a.b.c", '"open', ".t"])
def test_what_is_no_object_name_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="Not an object name"):
        object_path(text)


@pytest.mark.parametrize(
    ("uri", "chosen"),
    [
        ("postgresql://mover@h/shop", "any"),
        ("postgresql://mover:x@h/shop", "password"),
        ("postgresql://mover:x@h/shop?require_auth=scram-sha-256", "scram-sha-256"),
        ("postgresql://mover:x@h/shop?require_auth=md5,scram-sha-256", "password"),
        ("postgresql://mover@h/shop?require_auth=none", "any"),
    ],
)
def test_the_ways_of_signing_in_follow_the_uri_and_its_password(uri: str, chosen: str) -> None:
    assert endpoint_from_uri(uri, "source").require_auth == chosen


def test_a_way_of_signing_in_that_is_not_offered_here_is_refused() -> None:
    with pytest.raises(CommandError, match="require_auth=gss"):
        endpoint_from_uri("postgresql://mover:x@h/shop?require_auth=gss", "source")


def test_certificate_files_are_read(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(f"the {name}")
    files = f"sslrootcert={tmp_path}/ca&sslcert={tmp_path}/cert&sslkey={tmp_path}/key"
    data = endpoint_from_uri(f"postgresql://mover:x@h/shop?sslmode=verify-full&{files}", "source")
    assert (data.ca_pem, data.client_cert_pem, data.client_key_pem) == ("the ca", "the cert", "the key")
    with pytest.raises(CommandError, match="cannot be read"):
        endpoint_from_uri(f"postgresql://mover:x@h/shop?sslrootcert={tmp_path}/none", "source")


def test_a_password_of_the_file_for_the_target_may_hold_other_ends_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("# one\nd:s:r:u:a\u2028b\x85c\n", encoding="utf-8")
    file.chmod(0o600)
    (given,) = from_file(str(file))
    assert given.password == "a\u2028b\x85c"
