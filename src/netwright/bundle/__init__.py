"""The model that is handed on: weights and one JSON file that says everything `predict` needs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.bundle.predictor import Prediction, Predictor, load
    from netwright.bundle.save import save_bundle

__all__ = ["Prediction", "Predictor", "load", "save_bundle"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'netwright.bundle' has no attribute '{name}'")
    return getattr(
        import_module("netwright.bundle.save" if name == "save_bundle" else "netwright.bundle.predictor"), name
    )
