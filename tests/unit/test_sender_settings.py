"""How much memory the source's sender is allowed for the decoding of a transaction."""

from __future__ import annotations

import pytest

from migrations_app.engine.replication.sender_settings import decoding_bytes

MB = 1 << 20


@pytest.mark.parametrize(
    ("chosen", "buffers", "wanted"),
    [
        pytest.param(64 * MB, 128 * MB, 128 * MB, id="as much as its buffers"),
        pytest.param(64 * MB, 8192 * MB, 256 * MB, id="and no more than 256 MB"),
        pytest.param(64 * MB, 16 * MB, None, id="a small server keeps its own"),
        pytest.param(64 * MB, 64 * MB, None, id="what is no more is not asked for"),
        pytest.param(32 * MB, 8192 * MB, None, id="what somebody made smaller stays"),
        pytest.param(1024 * MB, 8192 * MB, None, id="what somebody made larger stays"),
    ],
)
def test_memory_for_decoding(chosen: int, buffers: int, wanted: int | None) -> None:
    assert decoding_bytes(chosen, buffers) == wanted
