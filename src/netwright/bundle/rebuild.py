"""The untrained network that a bundle describes."""

from collections.abc import Generator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from netwright.core.errors import NetwrightError
from netwright.engine.trick import Tricks
from netwright.models import create_model
from netwright.tricks import TRICKS

HARMLESS = 64_000_000  # bytes that need no comparison
SLACK = 8  # bytes built for each of the file: it may be of 16 bits, and parts of a network may be built and dropped
OVERHEAD = 1000  # bytes that a parameter takes besides its values


def rebuilt(card: dict[str, Any], size: int) -> nn.Module:
    """The network, with the tricks that changed its structure; its weights are as drawn.

    Args:
        card: as `read_card` gives it, naming a model.
        size: bytes of the weights that go with it. A network that is out of proportion is refused while it is being
            built, before memory is used for it.

    Raises:
        NetwrightError: an unknown name or option, or a network that is too large for these weights.
    """
    made = card["model"]
    with _no_larger_than(max(HARMLESS, SLACK * size)):
        try:
            # Without classes, classifiers and autoencoders alike would give their embedding.
            classes = max(1, len(card["classes"]))
            network = create_model(made["spec"], classes=classes, in_channels=made["in_channels"])
            return with_structure(card, network)
        except (RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise NetwrightError(f"no network is {made['spec']}: {reason}", "copy the bundle again") from None


def with_structure(card: dict[str, Any], network: nn.Module) -> nn.Module:
    """A network with the tricks that changed the structure of the trained one."""
    tricks = Tricks(TRICKS.build(spec) for spec in card["model"]["structure"])
    return tricks.through("predictor", tricks.through("model", network))


@contextmanager
def _no_larger_than(most: int) -> Generator[None]:
    """Refuses what this thread builds when its parameters exceed so many bytes; they hold no values yet then."""
    built, own = 0, get_ident()

    def counted(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal built
        if get_ident() == own:
            built += parameter.nbytes + OVERHEAD
            if built > most:
                problem = f"the bundle describes a network of more than {most // 1_000_000} MB, for far fewer weights"
                raise NetwrightError(problem, "copy the bundle again; where it came so, do not use it")

    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()
