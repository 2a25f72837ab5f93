"""Names that are meant to break quoting, paths, formats, pages and terminals."""

from __future__ import annotations

import itertools
import random
import unicodedata

NAMES = [
    'double " quote', '""', "single ' quote", "''", "`back`", "back\\slash", "\\", "\\.", "%s", "%(x)s", "100%",
    "%%", "{}", "{0.__class__}", "--", "-- comment", "/* comment", "*/", "; DROP SCHEMA public CASCADE; --",
    "'); DROP TABLE x; --", "$$", "$1", "$body$", "new\nline", "\ncarriage\rreturn", "tab\tstop", "-leading",
    "--version", ".", "..", "a.b", '"a"."b"', "/", "../../etc/passwd", " ", "   ", " padded ", "emoji 🐘🧨",
    "שלום rtl", "\u202eoverride", "e\u0301 combining", "ﬁ ligature", "zero\u200bwidth", "x" * 63,
    "ü" * 31 + "x", "select", "user", "NULL", "null", "Twin", "twin", "<script>alert(1)</script>", "&amp;",
    "=cmd()", "@SUM(1)", "host=evil.example dbname=x", "postgresql://u:p@evil.example/x", "\x01control\x1f",
    "\x7f", "$(id)", "|id", "!", "*", "?", "[a]", "(", ",", ":", "~", "0", "towpath_", "public.x", "pgoutput",
]  # fmt: skip

_BEFORE = ("", " ", "-", ".", "/", "\\", '"', "'", "$", "%", "\n", "\t", "\x1b[2J", "\ufeff", "0", "#", "@", "\u202e")
_CORES = (
    "DROP TABLE x;", "%s%n", "$(id)", "`id`", "{0}", "${x}", "--", "*/", "\\connect x", "\\! id", "\\.", "E'\\\\'",
    '"."', "NULL", "select 1", "a=b host=x", "../x", "<b onclick=x>", "{{ x }}", "&lt;",
)  # fmt: skip
_CATEGORIES = ("Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp", "So", "Sk", "Sm", "Lo", "Lm", "Nl", "No", "Co")
_SOME = 6


def many_names(seed: int) -> list[str]:
    """Return more than 300 names, no two alike: what people thought of, pairs, odd categories, cuts and twins."""
    chance = random.Random(seed)  # noqa: S311 - sample data
    pairs = [before + core + before for before, core in itertools.product(_BEFORE, _CORES)]
    signs = [chr(code) for code in range(1, 0x1FFFF) if not 0xD800 <= code <= 0xDFFF]
    kinds = {kind: [sign for sign in signs if unicodedata.category(sign) == kind] for kind in _CATEGORIES}
    odd = [chance.choice(kinds[kind]) + "x" + chance.choice(kinds[kind]) for kind in _CATEGORIES for _ in range(_SOME)]
    alone = [chance.choice(kinds[kind]) for kind in _CATEGORIES]
    long = [cut(sign * 63 + tail) for sign in ("x", '"', "ü", "🐘", "e\u0301", "漢", "\\") for tail in ("", "y")]
    long += [("%s" * 40)[:62], ("'" * 62), ("\u200b" * 20) + "ab", "a" * 62 + "\n"]
    twins = [
        base + tail
        for base in ("x" * 60, "\N{GREEK SMALL LETTER ALPHA}" * 30, '"' * 60)
        for tail in ("_1", "_2", "_3", "_3a")
    ]
    return list(dict.fromkeys([*NAMES, *chance.sample(pairs, 130), *odd, *alone, *long, *twins]))


def quoted(name: str) -> str:
    """Return a name in quotes, without the product's help."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a string literal, without the product's help."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def cut(name: str, prefix: str = "") -> str:
    """Return the name with something in front, no longer than PostgreSQL takes."""
    return (prefix + name).encode()[:63].decode(errors="ignore")
