"""What a network looks at and looks for, one method a file. Importing this package imports no torch."""

from typing import TYPE_CHECKING, Any

from netwright.core.registry import Registry

if TYPE_CHECKING:
    from netwright.explain._method import Sheet, Subject, What, Where

__all__ = ["METHODS", "Sheet", "Subject", "What", "Where"]

METHODS = Registry("netwright.explain", "method", "methods")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'netwright.explain' has no attribute '{name}'")
    from netwright.explain import _method

    return getattr(_method, name)
