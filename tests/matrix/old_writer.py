"""An application that keeps writing into the shop of `old_shop.sql`, with everything that a stream can stumble over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import psycopg

ODD = '"Odd ""one"""."Table, with [odd]: ""name"""'
_TEXTS = (
    "null",
    "unchanged-toast-datum",
    "it''s",
    "''",
    "a\nb\\n\t",
    " new-tuple: a[integer]:1",
    "ä€𝄞",
    "",
    "']: '",
    '"x" b[text]:y',
)


def _text(rng: random.Random) -> str | None:
    return rng.choice([None, *_TEXTS, "x" * rng.randrange(40)])


def _write_one(connection: psycopg.Connection[Any], rng: random.Random) -> None:
    with connection.transaction():
        for _ in range(rng.choice([1, 1, 1, 2, 5, 30])):
            rng.choice(_KINDS)(connection, rng)
        if rng.random() < 0.1:
            raise psycopg.Rollback


def _insert(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute(
        "INSERT INTO stock.customer (name, note, born) VALUES (%s, %s, '2000-02-29')", (_text(rng) or "n", _text(rng))
    )


def _order(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute(
        "INSERT INTO stock.orders (customer_id, total, items) SELECT id, %s, %s FROM stock.customer"
        " ORDER BY id OFFSET %s LIMIT 1",
        (round(rng.random() * 100, 2), [rng.randrange(5), None], rng.randrange(200)),
    )


def _update(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute("UPDATE stock.customer SET note = %s WHERE id = %s", (_text(rng), rng.randrange(1, 400)))


def _delete(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute("DELETE FROM stock.customer WHERE id = %s", (rng.randrange(1, 400),))


def _typed(c: psycopg.Connection[Any], rng: random.Random) -> None:
    number = rng.randrange(1000, 1200)
    c.execute("DELETE FROM stock.typed WHERE id = %s", (number,))
    if rng.random() < 0.8:
        c.execute(
            "INSERT INTO stock.typed (id, b, c, n, f4, f8, t, bp, by, ts, tz, bi, vb, js, a, e, ea, w, s, p, fa, r, iv,"
            " i8) VALUES (%s, %s, 'x', %s, %s, %s, %s, 'ab', %s, now(), now(), B'10101', B'101', %s, %s, 'sad',"
            " '{ok,\"it''s \\\"fine\\\"\"}', '{a,\"b]:c\"}', ROW(3, 4.5, %s), 5, %s, '[1,5)', '1 mon -3 days', -1)",
            (
                number,
                rng.random() < 0.5,
                rng.choice(["NaN", "1.500", "-0.00001"]),
                rng.random(),
                rng.choice([0.1 + 0.2, float("nan"), float("-inf"), 5e-324, -0.0]),
                _text(rng),
                bytes(rng.randrange(256) for _ in range(20)),
                '{"a": [1, null, "it\'s"]}',
                [_text(rng), _text(rng)],
                _text(rng),
                [0.1 + 0.2, 1e300],
            ),
        )
    c.execute(
        "UPDATE stock.typed SET f8 = f8 + %s, t = %s WHERE id %% 7 = %s", (rng.random(), _text(rng), rng.randrange(7))
    )


def _toast(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute("UPDATE stock.big SET small = small + 1 WHERE id = %s", (rng.randrange(1, 60),))
    if rng.random() < 0.2:
        c.execute("UPDATE stock.big SET id = -id WHERE id = %s", (rng.randrange(-60, 60),))
    if rng.random() < 0.1:
        c.execute("UPDATE stock.big SET big = reverse(big) WHERE id = %s", (rng.randrange(1, 60),))


def _keyless(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute(
        "INSERT INTO stock.keyless VALUES (%s, %s, %s, '{}')", (rng.choice([None, 1, 2]), _text(rng), rng.random())
    )
    c.execute("UPDATE stock.keyless SET b = %s WHERE a = %s", (_text(rng), rng.randrange(5)))
    c.execute("DELETE FROM stock.keyless WHERE ctid = (SELECT ctid FROM stock.keyless LIMIT 1)")


def _by_index(c: psycopg.Connection[Any], rng: random.Random) -> None:
    number = rng.randrange(1, 130)
    c.execute("UPDATE stock.by_index SET v = %s WHERE more = %s", (_text(rng), number))
    c.execute("UPDATE stock.by_index SET code = code || '+' WHERE more = %s", (number + 1,))
    c.execute("DELETE FROM stock.by_index WHERE more = %s", (number + 2,))


def _odd(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute(
        f"INSERT INTO {ODD} VALUES ((random() * 1e9)::int, %s, %s, %s)".encode(),
        (_text(rng), _text(rng), rng.randrange(9)),
    )
    c.execute(
        f'UPDATE {ODD} SET "col]:[ ""x""" = %s, "a b" = "a b" + 1 WHERE "a b" = %s'.encode(),
        (_text(rng), rng.randrange(9)),
    )
    c.execute(f'DELETE FROM {ODD} WHERE "a b" > 10'.encode())


def _other(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute("UPDATE stock.dropped_columns SET a = a + 1, b = %s WHERE id = %s", (_text(rng), rng.randrange(1, 20)))
    c.execute("INSERT INTO stock.nothing DEFAULT VALUES")
    c.execute("UPDATE stock.animal SET name = %s", (_text(rng),))
    c.execute("UPDATE stock.scratch SET v = %s", (_text(rng),))


def _emptied(c: psycopg.Connection[Any], rng: random.Random) -> None:
    c.execute("INSERT INTO stock.emptied (v) VALUES (%s)", (_text(rng),))
    if rng.random() < 0.05:
        c.execute("TRUNCATE stock.emptied")
    if rng.random() < 0.02:
        c.execute("TRUNCATE stock.customer CASCADE")  # and with it the orders, whose foreign key points there
        _insert(c, rng)


_KINDS: list[Callable[[psycopg.Connection[Any], random.Random], None]] = [
    _insert, _order, _update, _delete, _typed, _toast, _keyless, _by_index, _odd, _other, _emptied,
]  # fmt: skip


def keep_writing(connection: psycopg.Connection[Any], seed: int, stop: Callable[[], bool], pause: float = 0.01) -> int:
    """Write until `stop` says so; return how many transactions there were. Deadlocks and the like are tried again."""
    rng, count = random.Random(seed), 0  # noqa: S311 - no secret, and it must be repeatable
    while not stop():
        try:
            _write_one(connection, rng)
        except psycopg.OperationalError:
            continue
        count += 1
        time.sleep(pause)
    return count
