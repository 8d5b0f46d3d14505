"""A variant beside the network of the library it was proven against: same weights, same images, same answers?"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant
from netwright.models._family import Family, Variant
from netwright.nn.output import Outputs

State = Mapping[str, Tensor]
ODD = 65  # side in pixels of images for networks that take any: no stride divides it


@dataclass(frozen=True)
class Parity:
    """The largest relative errors |ours - theirs| / |theirs| in float32: over outputs, and over all gradients."""

    output: float
    gradient: float


def reference_network(reference: str, **options: Any) -> nn.Module:
    """The network named as "torchvision/resnet18" or "timm/inception_v4", with fresh weights.

    Raises:
        NetwrightError: no such library.
    """
    library, _, name = reference.partition("/")
    if library == "timm":
        import timm

        return timm.create_model(name, **options)
    if library == "torchvision":
        import torchvision

        if name in ("googlenet", "inception_v3"):
            options = {"init_weights": False, "aux_logits": True, **options}  # else a warning, and minutes in scipy
        if name.startswith("fcn_"):
            options = {"weights_backbone": None, "aux_loss": True, **options}  # else it would fetch an encoder's
        return torchvision.models.get_model(name, **options)
    raise NetwrightError(f"unknown library in '{reference}'", "references are torchvision/… or timm/…")


def parity(name: str, *, side: int | None = None, samples: int = 2, seed: int = 0) -> Parity:
    """Load a reference's random weights into our variant, and compare outputs and gradients.

    Layers that draw or that look at the whole batch (dropout, batch normalisation) are in evaluation mode, the
    network itself in training mode, so that auxiliary heads are compared too.

    Args:
        name: a variant with a reference.
        side: of the square images in pixels; by default the smallest that leaves maps of 2x2, or the published one
            where a classifier has auxiliary heads, which references have for that size only.
        samples: images.
        seed: of weights and images.

    Raises:
        NetwrightError: the variant has no reference.
    """
    row = variant(name)
    if row.reference is None:
        raise NetwrightError(f"{name} has no reference", "it is proven by its published number of parameters")
    torch.manual_seed(seed)
    theirs, ours = reference_network(row.reference), create_model(name, classes=row.classes)
    spread(theirs)
    ours.load_state_dict(theirs.state_dict())
    side = side or _least(ours, row)
    x = torch.randn(samples, row.in_channels, side, side)
    wanted, given = answers(theirs, x), answers(ours, x)
    gradients = [part for part in wanted if not part.startswith("output")]
    outputs = [part for part in wanted if part.startswith("output")]
    return Parity(largest_error(given, wanted, outputs), largest_error(given, wanted, gradients))


def _least(model: Family, row: Variant) -> int:
    if row.task == "segmentation":
        return min(row.image_size, ODD)
    return row.image_size if model.auxiliary_names else min(row.image_size, 2 * model.smallest)


@torch.no_grad()
def spread(network: nn.Module) -> None:
    """Draw everything that starts constant, such as norms and layer scales, so that no layer is without effect."""
    for tensor in network.parameters():
        if tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
            nn.init.uniform_(tensor, 0.5, 1.5) if tensor.any() else nn.init.normal_(tensor, std=0.1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)


def answers(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Outputs ("output", "output1", …) and the gradients of a random combination of them, by name."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d) or not list(layer.children()):
            layer.eval()
    x = x.clone().requires_grad_()
    outputs = heads(network(x))
    generator = torch.Generator().manual_seed(0)
    torch.stack([(y * torch.randn(y.shape, generator=generator)).sum() for y in outputs]).sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    named = {f"output{number or ''}": y.detach() for number, y in enumerate(outputs)}
    return {**named, "image": x.grad, **gradients} if x.grad is not None else {**named, **gradients}


def heads(output: Any) -> list[Tensor]:
    """The scores of every head, the main one's first: ours, and torchvision's tuples and dictionaries alike."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return list(output.values())
    return [output.scores, *output.auxiliary] if isinstance(output, Outputs) else list(output)


def largest_error(given: State, wanted: State, parts: Iterable[str]) -> float:
    """The largest |given - wanted| / |wanted| over some tensors; infinite where one is missing."""
    return max(relative_error(given[part], wanted[part]) if part in given else float("inf") for part in parts)


def relative_error(given: Tensor, wanted: Tensor) -> float:
    """|given - wanted| / |wanted|, Euclidean norms; infinite where either is not a number."""
    error = float((given - wanted).detach().norm() / wanted.detach().norm().clamp_min(1e-30))
    return error if math.isfinite(error) else math.inf


def tensors_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of everything in a state_dict, by name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
