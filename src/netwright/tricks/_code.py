"""What tricks on codes share: what an autoencoder says of itself, and why other tasks cannot have such tricks."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.trick import LossFn, TaskName
from netwright.nn.output import Decoded, main_output

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run

NO_CODE: Mapping[TaskName, str] = {
    "classification": "it acts on codes that pictures are made from, and here none are; it is for autoencoders",
    "multi_label": "it acts on codes that pictures are made from, and here none are; it is for autoencoders",
    "segmentation": "it acts on codes that pictures are made from, and here none are; it is for autoencoders",
}


@runtime_checkable
class Coder(Protocol):
    """What every autoencoder says of itself."""

    latent: int
    random: bool
    code: nn.Module


def coder(name: str, network: nn.Module) -> Coder:
    """A network as an autoencoder.

    Raises:
        NetwrightError: it is none.
    """
    if isinstance(network, Coder):
        return network
    problem = f"{name} acts on codes, and {type(network).__name__} has none"
    raise NetwrightError(problem, f"take an autoencoder, as with --model autoencoder, or --without {name}")


def require_random(name: str, network: nn.Module) -> None:
    """Refuse a network whose codes are not random: nothing of their divergence is in its loss.

    Raises:
        NetwrightError: it is such a network.
    """
    if not coder(name, network).random:
        problem = f"{name} changes what the divergence of random codes costs, and {type(network).__name__} has none"
        raise NetwrightError(problem, f"take --model vae or conditional_vae, or leave it out: --without {name}")


def charged(loss: LossFn, change: Callable[[Decoded, "Run"], Decoded]) -> LossFn:
    """A loss of outputs that were changed first, which only changes what their divergence costs."""

    def wrapped(output: Any, batch: "Batch", run: "Run") -> Tensor:
        return loss(change(main_output(output), run), batch, run)

    return wrapped
