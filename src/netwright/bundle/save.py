"""Writes a bundle: `model.safetensors` and `bundle.json`. No pickle, and nothing that names this machine."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from netwright.tasks._latent import MOST_DIMENSIONS

FORMAT = 1
WEIGHTS, CARD = "model.safetensors", "bundle.json"
LARGEST_CODE = 1e6  # of what is kept of codes; of covariances its square


def save_bundle(
    folder: Path,
    model: nn.Module,
    *,
    spec: str | None,
    structure: Sequence[str],
    classes: Sequence[str],
    in_channels: int,
    macs: int,
    task: str,
    preprocess: dict[str, Any] | None,
    temperature: float,
    metrics: dict[str, Any],
    recipe: dict[str, Any],
    versions: dict[str, str],
    write: Callable[[Path, bytes | str], Any],
    masks: dict[str, Any] | None = None,
    latent: dict[str, Any] | None = None,
) -> None:
    """Write a bundle into `folder`, which exists.

    Args:
        folder: where to.
        model: the network to hand on.
        spec: the name that builds it, or None for a user's own network.
        structure: specs of tricks that changed the network's structure, in order.
        classes: class names, in the order of the outputs.
        in_channels: channels of the network's input.
        macs: multiply-adds for one picture.
        task: the task's name.
        preprocess: how a picture becomes an input, or None if the user's own dataset did that.
        temperature: divides the logits, fitted on validation.
        metrics: what the model reached, with intervals.
        recipe: how it was trained.
        versions: of what it was made with.
        masks: what the classes of masks are, for a network that gives each pixel one; else None.
        latent: what codes of training pictures are like, for an autoencoder: their `mean`, D, `covariance`, D D, and
            perhaps `deviation`, `spread`, `used` and `divergence`, D each, and counts; else None.
        write: writes one file so that it is there whole or not at all.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    card = {
        "format": FORMAT,
        "task": task,
        "model": {"spec": spec, "structure": list(structure), "in_channels": in_channels, "macs": macs},
        "classes": list(classes),
        "preprocess": preprocess,
        "temperature": temperature,
        "masks": masks,
        "latent": _kept(latent),
        "metrics": metrics,
        "recipe": recipe,
        "versions": versions,
    }
    write(folder / WEIGHTS, save(tensors))
    write(folder / CARD, json.dumps(card, indent=2, ensure_ascii=False))


def _kept(latent: dict[str, Any] | None) -> dict[str, Any] | None:
    """What can be kept: nothing where some of it is no number or too large, and no covariances of many dimensions."""
    try:
        json.dumps(latent, allow_nan=False)
    except ValueError:
        return None
    if latent is None or max(map(_size, latent.values()), default=0) > LARGEST_CODE:
        return None
    if latent.get("covariance") and max(map(_size, latent["covariance"])) > LARGEST_CODE**2:
        return None
    if len(latent["mean"]) <= MOST_DIMENSIONS:
        return latent
    return {**latent, "covariance": None}


def _size(row: Any) -> float:
    """The largest number of a row, without its sign; 0 of what is no row of numbers."""
    numbers = row if isinstance(row, list) and not any(isinstance(each, list) for each in row) else []
    return max(map(abs, numbers), default=0)
