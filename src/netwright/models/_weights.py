"""Weights from a file or from the reference a variant names; only data is ever read, never code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from netwright.core.errors import NetwrightError, listed
from netwright.models._family import Family
from netwright.models._timm import timm_state

State = Mapping[str, Tensor]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONTAINERS = ("state_dict_ema", "state_dict", "model")  # averaged weights first: published numbers are theirs
WRAPPERS = ("module.", "_orig_mod.", "model.")  # what DataParallel, torch.compile and holders of a model put in front


@dataclass(frozen=True)
class Loaded:
    """Which tensors of a model were loaded, and which stayed as they were made because the head's shape differs."""

    loaded: list[str]
    fresh: list[str]


def load_weights(model: Family, source: str | Path) -> Loaded:
    """Load weights into a model.

    A head of another shape stays fresh. One-channel models get the sum of the first kernel over its colours, which is
    what the pretrained model would answer to a grey image.

    Args:
        model: what to load into.
        source: a .safetensors, .pt, .pth or .th file, or "imagenet" for the weights of the model's reference.

    Raises:
        NetwrightError: no such file, an unreadable or unsafe one, a failed download, or weights of another model.
    """
    given = download(model.reference) if str(source) == "imagenet" else read(Path(source))
    given, own = _unwrapped(given), model.state_dict()
    prefix = _wrapper(own)
    fitted = _fit_first_kernel({prefix + name: tensor for name, tensor in given.items()}, own)
    fresh = [name for name in own if name.startswith(f"{model.head_name}.")] if _head_differs(model, fitted) else []
    fitted = {name: tensor for name, tensor in fitted.items() if name not in fresh}
    _refuse_misfits(fitted, {name: tensor for name, tensor in own.items() if name not in fresh}, source)
    model.load_state_dict({**{name: own[name] for name in fresh}, **fitted})
    return Loaded(loaded=[name for name in own if name in fitted], fresh=fresh)


def moments_of(source: str | Path, model: Any) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Mean and deviation of each channel with which weights were trained, and whose they are.

    A netwright bundle says it beside its weights and timm in its configuration; elsewhere ImageNet's are usual.
    """
    bundle = Path(source).with_name("bundle.json")
    if bundle.is_file() and (preprocess := json.loads(bundle.read_text("utf-8")).get("preprocess")):
        return tuple(preprocess["mean"]), tuple(preprocess["std"]), "the bundle's"
    configured = getattr(getattr(model, "model", model), "pretrained_cfg", None) or {}
    if "mean" in configured and "std" in configured:
        return tuple(configured["mean"]), tuple(configured["std"]), "timm's"
    return IMAGENET_MEAN, IMAGENET_STD, "ImageNet's"


def read(path: Path) -> State:
    """The tensors in a file by name, on the CPU.

    Raises:
        NetwrightError: no such file, unreadable, holding code, or holding no tensors.
    """
    if not path.is_file():
        raise NetwrightError(f"there is no weights file '{path}'", "give the path of a file, or the word 'imagenet'")
    if path.suffix not in (".safetensors", ".pt", ".pth", ".th"):
        raise NetwrightError(f"cannot tell what '{path}' is", "give a .safetensors, .pt, .pth or .th file")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except UnpicklingError as error:
        fix = "where you trust it, load it with torch and save only model.state_dict(), best as .safetensors"
        raise NetwrightError(f"'{path}' holds more than tensors, and reading it could run its code", fix) from error
    except Exception as error:  # a damaged file makes the readers raise nearly anything
        raise NetwrightError(f"cannot read '{path}': {error}", "it is damaged or cut short: fetch it again") from error
    return _tensors(content, path)


def download(reference: str | None) -> State:
    """The ImageNet weights of a reference such as "torchvision/resnet18".

    Raises:
        NetwrightError: the model has no reference, or the download failed.
    """
    if reference is None:
        raise NetwrightError("nobody publishes ImageNet weights for this model", "give a file: weights='weights.pt'")
    library, name = reference.split("/", 1)
    try:
        return timm_state(name) if library == "timm" else _torchvision_state(name)
    except Exception as error:  # the libraries' downloaders share no error type
        fix = f"fetch the file where there is a network and give its path: weights='{name}.safetensors'"
        raise NetwrightError(f"cannot download the weights of {reference}: {error}", fix) from error


def _torchvision_state(name: str) -> State:
    from torchvision.models import get_model_weights  # costs seconds: only when its weights are wanted

    return get_model_weights(name)["DEFAULT"].get_state_dict(check_hash=True)


def _unpickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _tensors(content: Any, path: Path) -> State:
    for container in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
            break
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        fix = f"save model.state_dict(), alone or under one of: {listed(CONTAINERS)}"
        raise NetwrightError(f"'{path}' holds no state_dict", fix)
    return content


def _wrapper(names: State) -> str:
    return next((wrapper for wrapper in WRAPPERS if all(name.startswith(wrapper) for name in names)), "")


def _unwrapped(state: State) -> State:
    while wrapper := _wrapper(state):
        state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state


def _fit_first_kernel(given: State, own: State) -> State:
    name = next((name for name, tensor in own.items() if tensor.ndim == 4), "")
    if name not in given or not _only_channels_differ(given[name], own[name]):
        return given
    theirs, ours = given[name].shape[1], own[name].shape[1]
    if (theirs, ours) == (3, 1):
        return {**given, name: given[name].sum(1, keepdim=True)}
    problem = f"the weights are for images of {theirs} channels, the model for {ours}"
    raise NetwrightError(problem, f"make the model with in_channels={theirs}" + (" or 1" if theirs == 3 else ""))


def _only_channels_differ(one: Tensor, other: Tensor) -> bool:
    return one.ndim == 4 and one.shape[1] != other.shape[1] and one[:, 0].shape == other[:, 0].shape


def _head_differs(model: Family, given: State) -> bool:
    head = {f"{model.head_name}.{name}": tensor for name, tensor in model.get_head().state_dict().items()}
    return all(name in given for name in head) and any(given[name].shape != head[name].shape for name in head)


def _refuse_misfits(given: State, own: State, source: str | Path) -> None:
    # Weights saved before torch 0.4.1 lack the batch counters, and torch fills them in itself.
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in own]
    misshapen = [name for name in own if name in given and own[name].shape != given[name].shape]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    said = [f"{len(names)} {how} ({listed(names, most=3)})" for how, names in found.items() if names]
    if said:
        fix = "make the model with the variant and the options that these weights were trained with"
        raise NetwrightError(f"the weights in '{source}' are not this model's: {'; '.join(said)}", fix)
