"""The one grammar for everything chosen by name: `name(option=value)`. Literals only; nothing is ever executed."""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netwright.core.errors import NetwrightError

NAME = re.compile(r"[A-Za-z_][\w./-]*")


@dataclass(frozen=True)
class Spec:
    """A name and its options, as a user writes them: `mixup(alpha=0.4)`.

    Two specs with the same options in another order are equal and print the same, so specs can be hashed and stored.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def parse(cls, text: "str | Spec") -> "Spec":
        """Read a spec from text.

        Raises:
            NetwrightError: the text is not a name with literal options in brackets.
        """
        if isinstance(text, Spec):
            return text
        text = text.strip()
        match = NAME.match(text)
        if match is None:
            raise NetwrightError(f"cannot read '{text}'", "write a name, or a name with options: mixup(alpha=0.4)")
        return cls(match.group(), _options(text, text[match.end() :].strip()))

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}({', '.join(f'{key}={_written(value)}' for key, value in sorted(self.options.items()))})"

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.options))))

    def with_options(self, **options: Any) -> "Spec":
        """The same name with some options replaced."""
        return Spec(self.name, {**self.options, **options})


def literal(text: str) -> Any:
    """A literal from the command line: `3e-3`, `True`, `(1, 2)`; a bare word is a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _written(value: Any) -> str:
    """A literal that reads back as the value; infinity has none but a number past the largest."""
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return repr(value)


def _options(text: str, bracket: str) -> dict[str, Any]:
    if not bracket:
        return {}
    try:
        call = ast.parse(f"_{bracket}", mode="eval").body
    except SyntaxError:
        raise NetwrightError(
            f"cannot read '{text}'", "close the bracket and quote words: name(option='word')"
        ) from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "_":
        raise NetwrightError(f"cannot read '{text}'", "options go in brackets after the name: mixup(alpha=0.4)")
    if call.args:
        given = ast.unparse(call.args[0])
        raise NetwrightError(f"'{text}' has a value without a name: {given}", "name it, as in alpha=0.4")
    names = [_keyword(text, keyword) for keyword in call.keywords]
    for name in names:
        if names.count(name) > 1:
            raise NetwrightError(f"'{text}' gives {name} twice", "give it once")
    return {name: _value(text, keyword) for name, keyword in zip(names, call.keywords, strict=True)}


def _keyword(text: str, keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise NetwrightError(f"'{text}' spreads options with **", "write each option: name(option=value)")
    return keyword.arg


def _value(text: str, keyword: ast.keyword) -> Any:
    try:
        return ast.literal_eval(keyword.value)
    except (ValueError, TypeError):
        given = ast.unparse(keyword.value)
        fix = (
            f"literals only: {keyword.arg}='{given}'"
            if given.isidentifier()
            else "literals only: numbers, 'words', (1, 2)"
        )
        raise NetwrightError(f"option {keyword.arg} of '{text}' is not a literal: {given}", fix) from None
