"""Names to things: a package of one thing a file *is* the registry, and listing it imports nothing."""

import ast
import re
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.options import check
from netwright.core.spec import Spec


def camel(stem: str) -> str:
    """`label_smoothing` -> `LabelSmoothing`."""
    return "".join(part.capitalize() for part in stem.split("_"))


def snake(name: str) -> str:
    """`LabelSmoothing` -> `label_smoothing`; `L2Penalty` -> `l2_penalty`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Registry:
    """The things of one package: file `label_smoothing.py` holds class `LabelSmoothing` or function `label_smoothing`.

    Files whose name starts with an underscore are not entries. A user's own things are added with `register`.
    """

    def __init__(self, package: str, kind: str, plural: str = "") -> None:
        self.package = package
        self.kind = kind
        self.plural = plural or f"{kind}s"
        self._added: dict[str, Callable[..., Any]] = {}

    def names(self) -> list[str]:
        """Every name, sorted; no entry is imported."""
        return sorted({*self._stems, *self._added})

    def summary(self, name: str) -> str:
        """The first line of the entry's description, read without importing it."""
        if name in self._added:
            return (self._added[name].__doc__ or "").strip().split("\n")[0]
        docstring = ast.get_docstring(ast.parse((self._folder / f"{name}.py").read_text("utf-8"))) or ""
        return docstring.split("\n")[0]

    def load(self, name: str) -> Callable[..., Any]:
        """The class or function that a name stands for.

        Raises:
            NetwrightError: nothing has this name.
        """
        if name in self._added:
            return self._added[name]
        if name not in self.names():
            raise unknown(self.kind, name, self.names(), see=f"netwright list {self.plural}")
        module = import_module(f"{self.package}.{name}")
        return getattr(module, camel(name), None) or getattr(module, name)

    def build(self, spec: str | Spec) -> Any:
        """The object a spec describes, its options checked.

        Raises:
            NetwrightError: unknown name or option, or a value out of range.
        """
        spec = Spec.parse(spec)
        make = self.load(spec.name)
        return make(**check(spec.name, make, spec.options))

    def register(self, thing: Callable[..., Any]) -> Callable[..., Any]:
        """Add a user's own class or function under its own name; usable as a decorator.

        Raises:
            NetwrightError: one of ours has that name.
        """
        name = snake(thing.__name__)
        if name in self._stems and thing.__module__ != f"{self.package}.{name}":
            raise NetwrightError(f"there is a {self.kind} named {name} already", "give your class another name")
        self._added[name] = thing
        return thing

    @cached_property
    def _stems(self) -> tuple[str, ...]:
        """The names of its files; they are looked for once."""
        return tuple(path.stem for path in self._folder.glob("*.py") if not path.stem.startswith("_"))

    @cached_property
    def _folder(self) -> Path:
        found = find_spec(self.package)
        return Path(next(iter((found and found.submodule_search_locations) or ["."])))
