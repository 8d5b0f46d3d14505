"""netwright trains deep vision networks and tells you why they train or don't.

Nothing heavy is imported until it is used: `import netwright` takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.bundle import Prediction, Predictor, load
    from netwright.core.errors import NetwrightError
    from netwright.data import from_arrays, open_data
    from netwright.engine.trick import Card, Trick
    from netwright.lab.ablate import ablate
    from netwright.lab.verify import verify
    from netwright.models import create_model, list_models
    from netwright.recipes._fit import Result, fit
    from netwright.recipes._recipe import Recipe, recipe

__version__ = "0.1.0"

_HOME = {
    "Card": "netwright.engine.trick",
    "NetwrightError": "netwright.core.errors",
    "Prediction": "netwright.bundle",
    "Predictor": "netwright.bundle",
    "Recipe": "netwright.recipes._recipe",
    "Result": "netwright.recipes._fit",
    "Trick": "netwright.engine.trick",
    "ablate": "netwright.lab.ablate",
    "create_model": "netwright.models",
    "fit": "netwright.recipes._fit",
    "from_arrays": "netwright.data",
    "list_models": "netwright.models",
    "load": "netwright.bundle",
    "open_data": "netwright.data",
    "recipe": "netwright.recipes._recipe",
    "verify": "netwright.lab.verify",
}

__all__ = [
    "Card",
    "NetwrightError",
    "Prediction",
    "Predictor",
    "Recipe",
    "Result",
    "Trick",
    "__version__",
    "ablate",
    "create_model",
    "fit",
    "from_arrays",
    "list_models",
    "load",
    "open_data",
    "recipe",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'netwright' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
