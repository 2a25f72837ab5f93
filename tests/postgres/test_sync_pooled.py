"""A pooler that comes between during the sync: nothing is applied where the session's settings do not hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from migrations_app.engine.errors import ConnectFailed, TargetError
from migrations_app.engine.plan import Plan
from tests import impostors
from tests.postgres import sync_faults_kit
from tests.postgres.sync_faults_kit import TABLE
from tests.postgres.sync_kit import Pair

pair = sync_faults_kit.pair

TWICE = (
    "CREATE TABLE told (id int);"
    "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO told VALUES (new.id); RETURN new; END $$;"
    "CREATE TRIGGER tell AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell()"
)


def through(pair: Pair, monkeypatch: pytest.MonkeyPatch, side: str, port: int) -> None:
    """Reach one side at another port from now on."""
    real = Pair.plan

    def plan(self: Pair, **more: Any) -> Plan:
        made = real(self, **more)
        return replace(made, **{side: replace(getattr(made, side), port=port)})

    monkeypatch.setattr(Pair, "plan", plan)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_pooler_that_drops_settings_is_told_before_anything_is_applied(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    server = pair.source if side == "source" else pair.target
    with impostors.listening(impostors.forgetting_options(server.port)) as port, monkeypatch.context() as patched:
        through(pair, patched, side, port)
        with pytest.raises(ConnectFailed) as caught:
            pair.catch_up()
    error = caught.value
    assert error.code == "POOLER-REFUSED"
    assert f"do not reach the {side}" in error.message
    assert "Enter the address of the PostgreSQL server itself" in error.hint
    assert pair.value("SELECT count(*) FROM t", "target") == 0


def sync_again_and_again(pair: Pair) -> None:
    with pair.syncing() as session:
        for number in range(20):
            pair.at_source(f"INSERT INTO t VALUES ({number})")
            session.advance(until=pair.insert_lsn())


def test_a_pooler_that_shares_out_transactions_applies_nothing_where_triggers_fire(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(TABLE)
    pair.at_target(TWICE)
    talk = impostors.sharing(pair.target.port, pair.target.password)
    with impostors.listening(talk) as port, monkeypatch.context() as patched:
        through(pair, patched, "target", port)
        with pytest.raises(TargetError) as caught:
            sync_again_and_again(pair)
    assert caught.value.code == "POOLER-REFUSED"
    assert pair.value("SELECT count(*) FROM told", "target") == 0
    pair.catch_up()
    pair.assert_equal()
    assert pair.value("SELECT count(*) FROM told", "target") == 0


def test_a_pooler_that_keeps_each_session_to_itself_does_no_harm(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.build(TABLE)
    pair.at_target(TWICE)
    pair.at_source("INSERT INTO t VALUES (1)")
    with impostors.listening(impostors.pooling(pair.target.port)) as port, monkeypatch.context() as patched:
        through(pair, patched, "target", port)
        pair.catch_up()
    pair.assert_equal()
    assert pair.value("SELECT count(*) FROM told", "target") == 0
