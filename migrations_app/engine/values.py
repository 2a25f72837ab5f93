"""Frozen values, made without compiling code.

`@dataclass(frozen=True, kw_only=True)` writes six functions as text for each class and compiles them at every start of
every process: 0.8 ms a class, of which there are two hundred. `@frozen` gives the same class with closures instead.
Why not another library: docs/decisions/0016-frozen-values.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from reprlib import recursive_repr
from typing import Any, Never, TypeVar, dataclass_transform, overload

Value = TypeVar("Value")
_Facts = Callable[[Any], Any]


@overload
def frozen(cls: type[Value], /) -> type[Value]: ...


@overload
def frozen(*, kw_only: bool = True) -> Callable[[type[Value]], type[Value]]: ...


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, Field))
def frozen(cls: type[Any] | None = None, /, *, kw_only: bool = True) -> Any:
    """Make a class of annotated fields a value: given by name, compared by its fields, hashable, never changed.

    It is a dataclass to everybody: `field`, `fields`, `replace`, `asdict`, `match` and `__post_init__` do what they
    always do, and methods that the class defines itself stay. `kw_only=False`: its fields may be given by place too.
    Every field is an argument; there is no `init=False`.
    """

    def made(of: type[Any]) -> type[Any]:
        of.__doc__ = of.__doc__ or of.__name__  # or a signature is worked out for it, which takes long
        dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(of)  # describes the fields, compiles nothing
        _equip(of, fields(of))
        return of

    return made if cls is None else made(cls)


def _equip(cls: type[Any], known: tuple[Field[Any], ...]) -> None:
    methods: dict[str, Callable[..., Any]] = {
        "__init__": _init(known, hasattr(cls, "__post_init__")),
        "__repr__": _repr([item.name for item in known if item.repr]),
        "__eq__": _eq(_facts(item.name for item in known if item.compare)),
        "__hash__": _hash(_facts(item.name for item in known if (item.compare if item.hash is None else item.hash))),
        "__setattr__": _refuse_set,
        "__delattr__": _refuse_delete,
    }
    for name, method in methods.items():
        if name not in cls.__dict__:
            setattr(cls, name, method)


def _init(known: tuple[Field[Any], ...], is_finished: bool) -> Callable[..., None]:
    names = tuple(item.name for item in known)
    order = [item.name for item in known if not item.kw_only]
    defaults = {item.name: item.default for item in known if item.default is not MISSING}
    factories = {item.name: item.default_factory for item in known if item.default_factory is not MISSING}
    number = len(names)
    needed = set(names) - defaults.keys() - factories.keys()
    store = object.__setattr__  # keeps the compact form of instances, which a change of `__dict__` would not

    def __init__(self: Any, /, *places: Any, **given: Any) -> None:
        if places:
            given = _placed(self, order, places, given)
        if len(given) != number:
            given = {**defaults, **{name: make() for name, make in factories.items() if name not in given}, **given}
            if len(given) > number:
                raise _mismatch(self, names, needed, given)
        try:
            for name in names:
                store(self, name, given[name])
        except KeyError:
            raise _mismatch(self, names, needed, given) from None
        if is_finished:
            self.__post_init__()

    return __init__


def _placed(one: object, order: list[str], places: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
    placed = dict(zip(order, places, strict=False))
    if len(places) > len(order) or placed.keys() & given.keys():
        raise TypeError(f"{type(one).__qualname__}() has {len(order)} fields with a place, and takes each once")
    return placed | given


def _mismatch(one: object, names: tuple[str, ...], needed: set[str], given: dict[str, Any]) -> TypeError:
    unknown, missing = sorted(given.keys() - set(names)), sorted(needed - given.keys())
    wrong = [f"has no {what!r}" for what in unknown] + [f"needs {what!r}" for what in missing]
    return TypeError(f"{type(one).__qualname__}() {', '.join(wrong)}")


def _repr(shown: list[str]) -> Callable[[Any], str]:
    @recursive_repr()
    def __repr__(self: Any) -> str:
        facts = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({facts})"

    return __repr__


def _eq(compared: _Facts) -> Callable[[Any, object], bool]:
    def __eq__(self: Any, other: object) -> bool:
        if self is other:
            return True
        return compared(self) == compared(other) if type(other) is type(self) else NotImplemented

    return __eq__


def _hash(hashed: _Facts) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:
        return hash(hashed(self))

    return __hash__


def _facts(names: Iterable[str]) -> _Facts:
    listed = tuple(names)
    return attrgetter(*listed) if listed else lambda _: ()


def _refuse_set(self: object, name: str, value: object) -> Never:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: object, name: str) -> Never:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
