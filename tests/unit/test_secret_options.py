"""Options of foreign servers and mappings that may be secrets are neither carried nor shown."""

from __future__ import annotations

import pytest

from migrations_app.engine.secret_options import shown_sql, without_secrets
from migrations_app.engine.toc import Entry
from tests import entries as made


def entry(definition: str, kind: str = "USER MAPPING") -> Entry:
    return made.entry(definition.encode(), kind, class_oid=1418, schema="")


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("\n    password 'hush',\n    \"user\" 'u'\n", " OPTIONS (\"user\" 'u')"),
        ("\"My Key\" 'hush'", ""),
        ("password E'hu\\'sh', host 'a,b)''c'", " OPTIONS (host 'a,b)''c')"),
        ("auth_token 'hush', client_secret 'hush', sslpassword 'hush'", ""),
    ],
)
def test_a_mapping_is_made_without_its_secrets(options: str, kept: str) -> None:
    made = without_secrets(f"CREATE USER MAPPING FOR a SERVER b OPTIONS ({options});\n".encode())
    assert made == f"CREATE USER MAPPING FOR a SERVER b{kept};".encode()


def test_a_mapping_without_options_stays_as_it_is() -> None:
    assert without_secrets(b"CREATE USER MAPPING FOR a SERVER b;") == b"CREATE USER MAPPING FOR a SERVER b;"


@pytest.mark.parametrize("kind", ["USER MAPPING", "SERVER", "FOREIGN TABLE"])
def test_what_people_read_masks_the_values(kind: str) -> None:
    shown = shown_sql(entry("CREATE X OPTIONS (password 'hu''sh', \"My Key\" E'hu\\'sh', host 'h');", kind))
    assert shown == "CREATE X OPTIONS (password '...', \"My Key\" '...', host 'h');"


def test_other_objects_are_shown_as_they_are() -> None:
    text = "CREATE FUNCTION f() RETURNS text AS 'password ''x''';"
    assert shown_sql(entry(text, "FUNCTION")) == text
