"""Check items about what somebody made in the schemas of the system."""

from __future__ import annotations

from migrations_app.engine.plan import Plan
from tests.postgres import shape_kit
from tests.postgres.checks_kit import check
from tests.postgres.shape_kit import Connection

# Fixtures that stand in the kit.
task = shape_kit.task
shop = shape_kit.shop
there = shape_kit.there
writer = shape_kit.writer


def test_an_extension_in_a_system_schema_needs_a_superuser(shop: Connection, task: Plan, writer: Plan) -> None:
    assert check(task, "extension-schemas").status == "passed"
    shop.execute("CREATE EXTENSION vector SCHEMA pg_catalog")
    assert check(task, "extension-schemas").status == "passed"
    assert check(writer, "extension-schemas").status == "warning"


def test_what_somebody_made_in_the_systems_schemas_is_told(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE information_schema.mine (id int)")
    shop.execute("CREATE FUNCTION pg_catalog.mine(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    result = check(task, "extension-schemas")
    assert result.status == "warning"
    assert "2 objects in the system's schemas" in result.found
    assert "information_schema.mine, pg_catalog.mine(integer)." in result.found


def test_what_somebody_made_there_does_not_hide_an_extension(shop: Connection, writer: Plan) -> None:
    shop.execute("CREATE EXTENSION vector SCHEMA pg_catalog; CREATE TABLE information_schema.mine (id int)")
    result = check(writer, "extension-schemas")
    assert "1 object in the system's schemas" in result.found
    assert "Only a superuser of the target can create extensions" in result.found
    assert result.sql == 'CREATE EXTENSION "vector" SCHEMA pg_catalog;'


def test_what_the_target_has_built_in_is_not_lacking(shop: Connection, task: Plan) -> None:
    shop.execute("DROP VIEW information_schema.tables CASCADE")
    shop.execute("CREATE VIEW information_schema.tables AS SELECT 1 AS one")
    assert check(task, "extension-schemas").status == "passed"
