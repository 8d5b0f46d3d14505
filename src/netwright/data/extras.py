"""Packages that not everybody has."""

from importlib import import_module
from typing import Any

from netwright.core.errors import NetwrightError


def optional(module: str, package: str, purpose: str, instead: str = "") -> Any:
    """A module of a package that not everybody has.

    Raises:
        NetwrightError: it is not installed; the message has the command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        fix = f"python -m pip install {package}" + (f"; or {instead}" if instead else "")
        raise NetwrightError(f"{purpose} needs {package}, which cannot be imported ({error})", fix) from None
