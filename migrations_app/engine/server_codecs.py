"""Codecs that read names as PostgreSQL does, where Python takes some bytes for other characters, or for none.

A name that comes with the stream must be the one that the catalog tells through a session in UTF8, and go to the target
as the same bytes. In EUC_JP nearly 200 characters are concerned, such as circled numbers and the full-width tilde.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PREFIX = "towpath_"
_CHARACTER = re.compile(rb"\x8f[\xa1-\xfe]{2}|[\x8e\xa1-\xfe][\xa1-\xfe]|[\x00-\x7f]+|.", re.DOTALL)

# By the codec of Python: what the server means by the bytes from here on. The first is true in both directions.
_TABLES: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "euc_jp": (
        {
            "a1c1": "\uff5e\u2225",
            "a1dd": "\uff0d",
            "a1f1": "\uffe0\uffe1",
            "a2cc": "\uffe2",
            "ada1": "\u2460\u2461\u2462\u2463\u2464\u2465\u2466\u2467\u2468\u2469\u246a\u246b\u246c\u246d\u246e\u246f"
            "\u2470\u2471\u2472\u2473\u2160\u2161\u2162\u2163\u2164\u2165\u2166\u2167\u2168\u2169",
            "adc0": "\u3349\u3314\u3322\u334d\u3318\u3327\u3303\u3336\u3351\u3357\u330d\u3326\u3323\u332b\u334a\u333b"
            "\u339c\u339d\u339e\u338e\u338f\u33c4\u33a1",
            "addf": "\u337b\u301d\u301f\u2116\u33cd\u2121\u32a4\u32a5\u32a6\u32a7\u32a8\u3231\u3232\u3239\u337e\u337d"
            "\u337c",
            "adf3": "\u222e\u2211",
            "adf8": "\u221f\u22bf",
            "8fa2c3": "\uffe4",
            "8ff3f3": "\u2170\u2171\u2172\u2173\u2174\u2175\u2176\u2177\u2178\u2179",
            "8ff4a9": "\uff07\uff02",
            "8ff4ae": "\u70bb\u4efc\u50f4\u51ec\u5307\u5324\ufa0e\u548a\u5759\ufa0f\ufa10\u589e\u5bec\u5cf5\u5d53\ufa11"
            "\u5fb7\u6085\u6120\u654e\u663b\u6665\ufa12\uf929\u6801\ufa13\ufa14\u6a6b\u6ae2\u6df8\u6df2\u7028\ufa15\ufa16"
            "\u7501\u7682\u769e\ufa17\u7930\ufa18\ufa19\ufa1a\ufa1b\u7ae7\ufa1c\ufa1d\u7da0\u7dd6\ufa1e\u8362\ufa1f\u85b0"
            "\ufa20\ufa21\u8807\ufa22\u8b7f\u8cf4\u8d76\ufa23\ufa24\ufa25\u90de\ufa26\u9115\ufa27\ufa28\u9592\uf9dc\ufa29"
            "\u973b\u974d\u9751\ufa2a\ufa2b\ufa2c\u999e\u9ad9\u9b72\ufa2d\u9ed1",
        },
        {
            "adf0": "\u2252\u2261\u222b",
            "adf5": "\u221a\u22a5\u2220",
            "adfa": "\u2235\u2229\u222a",
            "8ff3fd": "\u2160\u2161",
            "8ff4a1": "\u2162\u2163\u2164\u2165\u2166\u2167\u2168\u2169",
            "8ff4ab": "\u3231\u2116\u2121",
        },
    ),
    "euc_kr": ({"a2e8": "\u327e"}, {"a4d4": "\u3164"}),
    "euc_jis_2004": ({"a1b1": "\u203e", "a1bd": "\u2014", "a1ef": "\xa5", "a2d6": "\uff5f\uff60"}, {}),
}


def codec_for(python: str) -> str:
    """Return the codec that reads as the server does what this codec of Python stands for: mostly the same."""
    return _PREFIX + python if python in _TABLES else python


def _pairs(table: Mapping[str, str]) -> dict[bytes, str]:
    found = {}
    for start, characters in table.items():
        for number, character in enumerate(characters, int(start, 16)):
            found[number.to_bytes(len(start) // 2, "big")] = character
    return found


def _info(python: str) -> codecs.CodecInfo:
    both, only_read = map(_pairs, _TABLES[python])
    read = {**both, **only_read}
    written = {character: data for data, character in both.items()}
    special = re.compile(f"([{''.join(map(re.escape, written))}])")  # what is between may combine: it stays together

    def decode(data: ReadableBuffer, errors: str = "strict") -> tuple[str, int]:
        whole = bytes(data)
        parts = (read.get(one[0]) or one[0].decode(python, errors) for one in _CHARACTER.finditer(whole))
        return "".join(parts), len(whole)

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        return b"".join(written.get(one) or one.encode(python, errors) for one in special.split(text)), len(text)

    return codecs.CodecInfo(encode, decode, name=_PREFIX + python)


def _search(name: str) -> codecs.CodecInfo | None:
    python = name.removeprefix(_PREFIX)
    return _info(python) if name.startswith(_PREFIX) and python in _TABLES else None


codecs.register(_search)
