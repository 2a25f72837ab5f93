"""Sentences that remember how they were made."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.errors import EngineError
from migrations_app.engine.wording import (
    as_data,
    closed,
    count,
    listing,
    noun,
    pair,
    retell,
    rewritten,
    say,
    together,
    verbatim,
)

GERMAN = {
    "{number} without a key: {names}.": "Ohne Schlüssel {number}: {names}.",
    "{number} table": "{number} Tabelle",
    "{number} tables": "{number} Tabellen",
    "{names}, {name}": "{names}; {name}",
    "{names} and {number} more": "{names} und {number} weitere",
    "source": "Quelle",
}


def german(text: str) -> str:
    return GERMAN.get(text, text)


def told(sentence: str) -> str:
    data = json.loads(json.dumps(as_data(text=sentence)))["text"]
    return retell(data, german, lambda one, many, number: german(one if number == 1 else many))


def test_a_sentence_is_its_english_text() -> None:
    sentence = say(
        "The {side} has {number}.", side=noun("source"), number=count(2, "{number} table", "{number} tables")
    )
    assert sentence == "The source has 2 tables."
    assert isinstance(sentence, str)


def test_a_sentence_is_told_anew_from_data_that_went_through_json() -> None:
    number = count(3, "{number} table", "{number} tables")
    sentence = say("{number} without a key: {names}.", number=number, names=listing(["a", "b", "c"], 2))
    assert sentence == "3 tables without a key: a, b and 1 more."
    assert told(sentence) == "Ohne Schlüssel 3 Tabellen: a; b und 1 weitere."


def test_sentences_that_are_added_stay_told_piece_by_piece() -> None:
    one = say("{number} without a key: {names}.", number=count(1, "{number} table", "{number} tables"), names="a")
    assert told(one + " As it is." + noun("source")) == "Ohne Schlüssel 1 Tabelle: a. As it is.Quelle"
    assert told(together([one, noun("source")], "\n")) == "Ohne Schlüssel 1 Tabelle: a.\nQuelle"


@pytest.mark.parametrize(("words", "told"), [("lost", "lost."), ("Lost.", "Lost."), ("why?", "why?")])
def test_words_of_a_server_get_a_full_stop_that_sentences_have(words: str, told: str) -> None:
    assert closed(words) == told


def test_a_pair_is_joined_by_and() -> None:
    assert pair(["a"]) == "a"
    assert pair(["a", "b"]) == "a and b"


def test_a_large_number_is_counted_in_groups_of_three() -> None:
    assert str(count(1_522_694, "{number} row", "{number} rows")) == "1,522,694 rows"


@given(st.text())
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    sentence = say("It said: {words}", words=value)
    assert sentence == f"It said: {value}"
    assert told(sentence) == sentence


def test_a_doubled_brace_is_a_brace() -> None:
    assert say("{{{name}}}", name="x") == "{x}"


def test_values_that_the_template_does_not_name_are_not_kept() -> None:
    assert as_data(text=say("Who is {user}?", user="olga", password="s3cret")) == {
        "text": {"say": "Who is {user}?", "with": {"user": "olga"}}
    }


def test_a_place_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        say("{number} tables")


def test_plain_text_has_no_data() -> None:
    assert as_data(message="as the server said", hint=verbatim("x")) == {}


def test_names_in_a_list_are_printable_inside_sentences_too() -> None:
    assert listing([say("table {name}", name="a\nb"), "c\td"]) == "table a b, c d"


def test_a_sentence_is_changed_in_its_values_only() -> None:
    sentence = say("insert of {row} refused", row="t (refused)")
    assert rewritten(sentence, lambda text: text.replace(" (refused)", "")) == "insert of t refused"


def test_the_key_of_a_row_is_left_out_of_the_data_as_well() -> None:
    error = EngineError(say("The {what} found no row.", what="update of t (id=7)"))
    error.detail["key"] = "id=7"
    assert error.public_message == "The update of t found no row."
    assert "id=7" not in json.dumps(as_data(message=error.public_message))


def test_a_sentence_survives_copying_and_pickling() -> None:
    sentence = say("{number} without a key: {names}.", number=1, names="a")
    for twin in (copy.deepcopy(sentence), pickle.loads(pickle.dumps(sentence))):  # noqa: S301 - our own
        assert twin == sentence
        assert twin.how == sentence.how
