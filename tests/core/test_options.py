"""Options are checked against their annotations before anything is built."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from netwright.core.errors import NetwrightError
from netwright.core.options import REQUIRED, Between, check, options_of
from netwright.optim import OPTIMIZERS


@dataclass
class Thing:
    part: Annotated[float, Between(0, 1)] = 0.5
    count: Annotated[int, Between(1)] = 2
    kind: Literal["soft", "hard"] = "soft"
    on: bool = True
    word: str = "a"
    size: Annotated[int, Between(1, 9)] | None = None
    pair: tuple[float, float] = (0.1, 0.2)
    free: Any = None


def function(first: int, *, second: float = 2.0, **rest: int) -> None: ...


@pytest.mark.parametrize(
    "given",
    [
        {"part": 0}, {"part": 1}, {"part": 0.25}, {"count": 10**9}, {"kind": "hard"}, {"on": False}, {"word": ""},
        {"size": None}, {"size": 9}, {"pair": (1.0, 2.0)}, {"free": object}, {},
    ],
)  # fmt: skip
def test_allowed(given: dict) -> None:
    assert check("thing", Thing, given) == given


def test_whole_numbers_become_floats_where_floats_are_wanted() -> None:
    found = check("thing", Thing, {"part": 1, "count": 1})
    assert type(found["part"]) is float
    assert type(found["count"]) is int


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({"part": 1.01}, "between 0 and 1"),
        ({"part": -0.01}, "between 0 and 1"),
        ({"part": float("nan")}, "between 0 and 1"),
        ({"part": "0.5"}, "a number"),
        ({"part": True}, "a number"),
        ({"part": None}, "a number"),
        ({"count": 0}, "at least 1"),
        ({"count": 1.0}, "a whole number"),
        ({"count": True}, "a whole number"),
        ({"kind": "sofd"}, "did you mean 'soft'?"),
        ({"kind": 3}, "'soft' | 'hard'"),
        ({"on": 1}, "True or False"),
        ({"word": 1}, "a word"),
        ({"size": 0}, "a whole number between 1 and 9 or None"),
        ({"size": "x"}, "a whole number between 1 and 9 or None"),
        ({"pair": 0.5}, ""),
    ],
)
def test_refused_with_what_is_allowed(given: dict, fix: str) -> None:
    with pytest.raises(NetwrightError) as caught:
        check("thing", Thing, given)
    assert f"thing: {next(iter(given))} cannot be" in caught.value.problem
    assert fix in caught.value.fix


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(NetwrightError, match="unknown option of thing 'cuont'") as caught:
        check("thing", Thing, {"cuont": 3})
    assert "did you mean 'count'?" in caught.value.fix
    assert "kind" in caught.value.fix


@pytest.mark.parametrize("betas", ["('a', 'b')", "(0.9,)", "(0.9, 0.99, 0.999)"])
def test_the_parts_of_a_tuple_are_checked_too(betas: str) -> None:
    with pytest.raises(NetwrightError, match="betas cannot be"):
        OPTIMIZERS.build(f"adam(betas={betas})")


def test_options_of_classes_and_functions() -> None:
    assert list(options_of(Thing)) == ["part", "count", "kind", "on", "word", "size", "pair", "free"]
    found = options_of(function)
    assert list(found) == ["first", "second"]
    assert found["first"].default is REQUIRED
    assert found["second"].default == 2.0
    assert options_of(Thing)["part"].allowed == "a number between 0 and 1"
