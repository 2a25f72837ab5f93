"""`@frozen` makes what `@dataclass(frozen=True, kw_only=True)` makes, without compiling code."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import pytest

from migrations_app.engine.values import frozen


@frozen
class Place:
    """A place."""

    kind: ClassVar[str] = "place"
    schema: str
    name: str = "t"
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)

    @cached_property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"


@frozen
class Column(Place):
    """A place in a place."""

    number: int = 0


@frozen(kw_only=False)
class Span:
    """Two numbers."""

    first: int
    last: int = 9


@frozen
class Finished:
    """Works out what it was not given."""

    text: str
    digest: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", self.digest or self.text.upper())


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What a dataclass does, to compare with."""

    schema: str
    name: str = "t"


def test_fields_are_given_by_name_and_have_their_defaults() -> None:
    place = Place(schema="s")
    assert (place.schema, place.name, place.tags, place.secret, place.seen) == ("s", "t", [], "", 0)


def test_a_default_that_is_made_is_made_for_each() -> None:
    assert Place(schema="s").tags is not Place(schema="s").tags


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "needs 'schema'"),
        ({"schema": "s", "nmae": "t"}, "has no 'nmae'"),
        ({"nmae": "s"}, "has no 'nmae', needs 'schema'"),
        # as many as there are fields
        ({"nmae": "s", "name": "t", "tags": [], "secret": "", "seen": 0}, "has no 'nmae', needs 'schema'"),
        ({"nmae": "s", "schema": "t", "tags": [], "secret": "", "seen": 0}, "has no 'nmae'"),
    ],
)
def test_what_is_missing_or_unknown_is_refused_with_its_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError) as refused:
        Place(**given)
    assert str(refused.value) == f"Place() {told}"


def test_a_place_is_refused_where_fields_have_names_only() -> None:
    with pytest.raises(TypeError, match="0 fields with a place"):
        Place("s")


def test_fields_may_have_places() -> None:
    assert Span(1) == Span(1, 9) == Span(first=1) == Span(1, last=9)


@pytest.mark.parametrize(("places", "given"), [((1, 2, 3), {}), ((1,), {"first": 1})])
def test_too_many_places_and_one_given_twice_are_refused(places: tuple[int, ...], given: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="2 fields with a place"):
        Span(*places, **given)


def test_equal_fields_make_equal_values_with_one_hash() -> None:
    assert Span(1, 2) == Span(1, 2)
    assert hash(Span(1, 2)) == hash(Span(1, 2))
    assert Span(1, 2) != Span(1, 3)


def test_what_is_not_compared_makes_no_difference() -> None:
    assert Place(schema="s", seen=1) == Place(schema="s", seen=2)


def test_a_value_of_another_class_is_never_equal() -> None:
    assert Place(schema="s") != Column(schema="s")
    assert Span(1, 2).__eq__((1, 2)) is NotImplemented


def test_a_value_with_a_list_has_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Place(schema="s"))


def test_nothing_changes_a_value() -> None:
    place = Place(schema="s")
    with pytest.raises(FrozenInstanceError):
        place.schema = "other"
    with pytest.raises(FrozenInstanceError):
        place.new = "other"
    with pytest.raises(FrozenInstanceError):
        del place.schema


def test_a_cached_property_is_kept_and_not_compared() -> None:
    place = Place(schema="s")
    assert place.full is place.full
    assert place == Place(schema="s")


def test_repr_shows_the_fields_but_for_hidden_ones() -> None:
    assert repr(Place(schema="s", secret="hunter2")) == "Place(schema='s', name='t', tags=[], seen=0)"


def test_repr_equals_that_of_a_dataclass() -> None:
    made: Any = frozen(type("Usual", (), {"__annotations__": {"schema": "str", "name": "str"}, "__module__": __name__}))
    assert repr(made(schema="s", name="t")) == repr(Usual(schema="s"))


def test_dataclasses_know_it_as_one_of_theirs() -> None:
    assert dataclasses.is_dataclass(Place)
    assert [item.name for item in fields(Column)] == ["schema", "name", "tags", "secret", "seen", "number"]
    assert asdict(Span(1, 2)) == {"first": 1, "last": 2}
    assert replace(Column(schema="s", number=3), name="u") == Column(schema="s", name="u", number=3)


def test_it_is_matched_by_its_places() -> None:
    match Span(1, 2):
        case Span(first, last):
            assert (first, last) == (1, 2)
        case _:
            pytest.fail("not matched")


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301
def test_a_copy_is_equal(again: Any) -> None:
    assert again(Column(schema="s", tags=["x"], number=3)) == Column(schema="s", tags=["x"], number=3)


def test_what_is_worked_out_after_the_fields_is_part_of_the_value() -> None:
    assert Finished(text="a") == Finished(text="a", digest="A")
    assert replace(Finished(text="a"), digest="").digest == "A"


def test_what_the_class_says_itself_stays() -> None:
    @frozen
    class Own:
        password: str

        def __repr__(self) -> str:
            return "hidden"

    assert repr(Own(password="hunter2")) == "hidden"


def test_no_code_is_compiled_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    run = exec

    def noted(text: Any, *more: Any) -> None:
        compiled.append(str(text))
        run(text, *more)

    monkeypatch.setattr("builtins.exec", noted)
    facts = {"__annotations__": {"schema": "str"}, "__module__": __name__}
    frozen(type("Another", (), dict(facts)))
    ours, compiled[:] = list(compiled), []
    dataclass(frozen=True)(type("Another", (), dict(facts)))
    methods = ("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__")
    assert any(method in text for text in compiled for method in methods), "this is how dataclasses do it"
    assert not [text for text in ours if any(method in text for method in methods)]
