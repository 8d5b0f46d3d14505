"""Options are typed fields or parameters; this checks values against their annotations and says what is allowed."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from netwright.core.errors import NetwrightError, nearest, unknown

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Between:
    """Bounds of a numeric option, both inclusive: `Annotated[float, Between(0, 1)]`."""

    low: float
    high: float = float("inf")

    def __str__(self) -> str:
        return f"between {self.low:g} and {self.high:g}" if self.high != float("inf") else f"at least {self.low:g}"


@dataclass(frozen=True)
class Option:
    """One option of something chosen by name: its annotation and its default."""

    name: str
    annotation: Any
    default: Any

    @property
    def allowed(self) -> str:
        """What values may be given, in words."""
        return _allowed(self.annotation)


def options_of(make: Callable[..., Any]) -> dict[str, Option]:
    """The options of a dataclass or function: every keyword it takes, in order of definition."""
    hints = get_type_hints(make.__init__ if inspect.isclass(make) else make, include_extras=True)
    if inspect.isclass(make):
        hints = get_type_hints(make, include_extras=True) | hints  # a parameter says more than an attribute
    parameters = inspect.signature(make).parameters.values()
    return {p.name: Option(p.name, hints.get(p.name, Any), p.default) for p in parameters if _is_option(p)}


def check(kind: str, make: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Given options, checked against `make`'s annotations; integers become floats where floats are wanted.

    Raises:
        NetwrightError: an option does not exist, has the wrong type, or is out of range.
    """
    known = options_of(make)
    for name in given:
        if name not in known:
            raise unknown(f"option of {kind}", name, known)
    return {name: value_of(f"{kind}: {name}", known[name].annotation, value) for name, value in given.items()}


def value_of(what: str, annotation: Any, value: Any) -> Any:
    """`value` if the annotation allows it.

    Raises:
        NetwrightError: it does not; the message says what is allowed.
    """
    bounds = [extra for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, Between)]
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if plain is float and type(value) is int:
        value = float(value)
    if not _matches(plain, value):
        raise NetwrightError(f"{what} cannot be {value!r}", _fix(annotation, value))
    for bound in bounds:
        if isinstance(value, int | float) and not bound.low <= value <= bound.high:
            raise NetwrightError(f"{what} cannot be {value!r}", f"give a value {bound}")
    return value


def _is_option(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _matches(annotation: Any, value: Any) -> bool:
    origin = get_origin(annotation)
    if annotation is Any:
        return True
    if origin is Annotated:
        bounds = [extra for extra in annotation.__metadata__ if isinstance(extra, Between)]
        return _matches(get_args(annotation)[0], value) and all(b.low <= value <= b.high for b in bounds)
    if origin is Literal:
        return value in get_args(annotation)
    if origin in (Union, UnionType):
        return any(_matches(part, value) for part in get_args(annotation))
    if origin in (tuple, list):
        return isinstance(value, tuple | list) and _parts_match(get_args(annotation), list(cast(Any, value)))
    if annotation in (None, NoneType):
        return value is None
    if annotation is float:
        return type(value) in (int, float)
    if annotation is int:
        return type(value) is int
    return isinstance(value, origin or annotation)


def _parts_match(parts: tuple[Any, ...], values: list[Any]) -> bool:
    """Whether values fit `tuple[A, B]`, `tuple[A, ...]` or `list[A]`."""
    if (len(parts) == 2 and parts[1] is not Ellipsis) or len(parts) > 2:
        return len(values) == len(parts) and all(map(_matches, parts, values))
    return not parts or all(_matches(parts[0], value) for value in values)


def _allowed(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        first, *extras = get_args(annotation)
        return " ".join([_allowed(first), *(str(extra) for extra in extras if isinstance(extra, Between))])
    if origin is Literal:
        return " | ".join(repr(choice) for choice in get_args(annotation))
    if origin in (Union, UnionType):
        return " or ".join(_allowed(part) for part in get_args(annotation))
    if annotation in (None, NoneType):
        return "None"
    if origin in (tuple, list):
        parts = ["…" if part is Ellipsis else _allowed(part) for part in get_args(annotation)]
        return f"({', '.join(parts)})"
    names = {float: "a number", int: "a whole number", bool: "True or False", str: "a word"}
    return names.get(annotation, str(getattr(annotation, "__name__", annotation)))


def _fix(annotation: Any, value: Any) -> str:
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    words = [choice for choice in choices if isinstance(choice, str)]
    close = nearest(value, words) if isinstance(value, str) else None
    return (f"did you mean '{close}'? " if close else "") + f"allowed: {_allowed(annotation)}"
