"""What every source is asked has to be known to the oldest one, 9.3, which takes no empty list of columns."""

from __future__ import annotations

import pytest

from migrations_app.engine import connect, foreign_keys, orphans
from migrations_app.engine.comparing import own_account, usual_path


@pytest.mark.parametrize("module", [connect, foreign_keys, orphans, own_account, usual_path])
def test_a_statement_for_any_source_has_columns(module: object) -> None:
    texts = {name: text for name, text in vars(module).items() if isinstance(text, str) and "SELECT" in text}
    assert texts
    assert [name for name, text in texts.items() if "SELECT FROM" in text] == []
