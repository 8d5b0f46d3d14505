"""Weights from a file, a bundle, the hub or the reference a variant names; only data is ever read, never code."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile

import torch
from safetensors.torch import load_file
from torch import Tensor

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError, listed
from netwright.models._family import Family
from netwright.models._published import HUB, IMAGENET, Moments, from_hub, published
from netwright.models._timm import TimmModel

State = Mapping[str, Tensor]

CONTAINERS = ("state_dict_ema", "state_dict", "model")  # averaged weights first: published numbers are theirs
WRAPPERS = ("module.", "_orig_mod.", "model.")  # what DataParallel, torch.compile and holders of a model put in front
LONGEST_HEADER = 10_000_000  # bytes of a safetensors header; ten thousand tensors take one
ZIP = b"PK\3\4"  # how a file begins that torch takes for an archive
BUNDLE_CARD, BUNDLE_WEIGHTS = "bundle.json", "model.safetensors"


@dataclass(frozen=True)
class Loaded:
    """What became of every tensor, by name.

    Attributes:
        loaded: taken as they were.
        adapted: taken for another number of input channels.
        missing: of the model but not, or of another shape, in the weights: they stay as they were drawn.
        left_over: in the weights, but the model has no place for them.
        moments: mean and deviation of each channel with which the weights were trained, and whose they are.
    """

    loaded: list[str]
    adapted: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    left_over: list[str] = field(default_factory=list[str])
    moments: Moments = IMAGENET

    def __str__(self) -> str:
        parts = {"adapted": self.adapted, "missing and drawn afresh": self.missing, "left over": self.left_over}
        said = [f"{len(names)} {what} ({listed(names, most=4)})" for what, names in parts.items() if names]
        return ", ".join([f"{len(self.loaded)} tensors loaded", *said])


def load_weights(model: Family, source: str | Path, *, strict: bool = True) -> Loaded:
    """Load weights into a model.

    A head for another number of classes stays fresh, and so do auxiliary heads that the weights lack. The first
    kernel is adapted to other input channels: one channel gets the sum over the colours, which is what the pretrained
    model would answer to a grey image; more get the colours' kernels in turn, scaled so that the sum stays.

    Args:
        model: what to load into.
        source: a .safetensors, .pt, .pth or .th file, a bundle or run folder, `hf-hub:owner/name`, or "imagenet" for
            the weights of the model's reference.
        strict: refuse weights that lack anything else or hold more; otherwise what fits is taken, if anything does.

    Raises:
        NetwrightError: no such file, an unreadable or unsafe one, a failed download, or weights of another model.
    """
    state, moments = _opened(model, str(source))
    state, own = _unwrapped(state), model.state_dict()
    prefix = _wrapper(own)
    given = {prefix + name: tensor for name, tensor in state.items()}
    given, adapted = _fit_first_kernel(given, own)
    fitted = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    # Weights saved before torch 0.4.1 lack the batch counters, which nothing depends on.
    missing = [name for name in own if name not in fitted and not name.endswith("num_batches_tracked")]
    left_over = [name for name in given if name not in own]
    if not fitted:
        raise NetwrightError(f"nothing in '{source}' fits {type(model).__name__}", _other_model_fix(given, own))
    if strict:
        _refuse_misfits(model, missing, left_over, given, source)
    model.load_state_dict({**own, **fitted})
    loaded = [name for name in own if name in fitted and name not in adapted]
    return Loaded(loaded, adapted, missing, left_over, moments)


def read(path: Path) -> State:
    """The tensors in a file by name, on the CPU.

    Raises:
        NetwrightError: no such file, unreadable, holding code, or holding no tensors.
    """
    if not path.is_file():
        fix = "give the path of a file or bundle, 'hf-hub:owner/name', or the word 'imagenet'"
        raise NetwrightError(f"there is no weights file '{path}'", fix)
    if path.suffix not in (".safetensors", ".pt", ".pth", ".th", ".bin"):
        raise NetwrightError(f"cannot tell what '{path}' is", "give a .safetensors, .pt, .pth or .th file")
    try:
        content = _mapped(path) if path.suffix == ".safetensors" else _unpickled(path)
    except NetwrightError:
        raise
    except Exception as error:  # a damaged file makes the readers raise nearly anything
        raise _unreadable(path, error) from error
    return _tensors(content, path)


def _opened(model: Family, source: str) -> tuple[State, Moments]:
    if source == "imagenet":
        found = published(model.reference)
        return found.state, found.moments
    if source.startswith(HUB):
        path, moments = from_hub(source.removeprefix(HUB))
        return read(path), moments
    path = _weights_file(Path(source))
    return read(path), _file_moments(path, model)


def _weights_file(path: Path) -> Path:
    """A file itself, or that of the bundle or run in a folder."""
    places = [path / BUNDLE_WEIGHTS, path / "bundle" / BUNDLE_WEIGHTS]
    return next((place for place in places if place.is_file()), path)


def _file_moments(path: Path, model: Family) -> Moments:
    """A netwright bundle says it beside its weights and timm in its configuration; elsewhere ImageNet's are usual."""
    if preprocess := _beside(path.with_name(BUNDLE_CARD)):
        return tuple(preprocess["mean"]), tuple(preprocess["std"]), "the bundle's"
    configured = model.configured if isinstance(model, TimmModel) else {}
    if "mean" in configured and "std" in configured:
        return tuple(configured["mean"]), tuple(configured["std"]), "timm's"
    return IMAGENET


def _beside(card: Path) -> dict[str, Any] | None:
    """What a bundle says of preprocessing; None where nothing is said."""
    if not card.is_file():
        return None
    try:
        preprocess = parsed(card.read_bytes())["preprocess"]
        if preprocess is not None and not _are_moments(preprocess["mean"], preprocess["std"]):
            raise ValueError("no moments")
    except (OSError, ValueError, KeyError, TypeError):
        raise NetwrightError(f"{card} cannot be read", "copy the bundle again") from None
    return preprocess


def _are_moments(mean: list[float], std: list[float]) -> bool:
    return 1 <= len(mean) == len(std) and all(map(math.isfinite, [*mean, *std])) and min(std) > 0


def _unreadable(path: Path, error: Exception) -> NetwrightError:
    # torch refuses code in several ways, and recommends `weights_only=False` in all but the first.
    if isinstance(error, UnpicklingError) or "weights_only" in str(error):
        fix = "where you trust it, load it with torch and save only model.state_dict(), best as .safetensors"
        return NetwrightError(f"'{path}' holds more than tensors, and reading it could run its code", fix)
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return NetwrightError(f"cannot read '{path}': {reason}", "it is damaged or cut short: fetch it again")


def _mapped(path: Path) -> State:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(LONGEST_HEADER, path.stat().st_size):
        fix = "it is damaged, forged or of another kind: fetch it again from where you trust it"
        raise NetwrightError(f"cannot read '{path}': its header would have {length} bytes, as no weights' has", fix)
    return load_file(path)


def _unpickled(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(4) == ZIP
    if zipped:
        _refuse_packed(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _refuse_packed(path: Path) -> None:
    """torch packs nothing: what would be more than the file itself when it is unpacked was made to fill the memory."""
    with ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > path.stat().st_size:
        fix = "fetch it again from where you trust it, or save model.state_dict() anew, best as .safetensors"
        raise NetwrightError(f"'{path}' would unpack to {size} bytes, more than it has", fix)


def _tensors(content: Any, path: Path) -> State:
    for container in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
            break
    fix = f"save model.state_dict(), alone or under one of: {listed(CONTAINERS)}"
    if not isinstance(content, dict) or not content or not all(_is_entry(*pair) for pair in content.items()):
        raise NetwrightError(f"'{path}' holds no state_dict", fix)
    size = path.stat().st_size
    if larger := [name for name, tensor in content.items() if tensor.numel() * tensor.element_size() > size]:
        raise NetwrightError(f"'{path}' declares tensors larger than itself: {listed(larger, most=3)}", fix)
    return content


def _is_entry(name: Any, value: Any) -> bool:
    """Whether this is a name with a tensor that has its values in memory, as all in a state_dict are."""
    plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and plain


def _wrapper(names: State) -> str:
    return next((wrapper for wrapper in WRAPPERS if all(name.startswith(wrapper) for name in names)), "")


def _unwrapped(state: State) -> State:
    while wrapper := _wrapper(state):
        state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state


def _fit_first_kernel(given: State, own: State) -> tuple[State, list[str]]:
    """The weights with their first kernel made for the model's channels, and its name if that changed it."""
    name = next((name for name, tensor in own.items() if tensor.ndim == 4), "")
    if name not in given or not _only_channels_differ(given[name], own[name]):
        return given, []
    return {**given, name: adapted_kernel(given[name], own[name].shape[1])}, [name]


def adapted_kernel(kernel: Tensor, channels: int) -> Tensor:
    """A kernel for another number of input channels: its own in turn, scaled so that sums stay about as large.

    For one channel it is the exact sum. K C h w -> K c h w.
    """
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    before = kernel.shape[1]
    return kernel[:, torch.arange(channels) % before] * (before / channels)


def _only_channels_differ(one: Tensor, other: Tensor) -> bool:
    return one.ndim == 4 and one.shape[1] != other.shape[1] and one[:, 0].shape == other[:, 0].shape


def _refuse_misfits(model: Family, missing: list[str], left_over: list[str], given: State, source: str | Path) -> None:
    """Heads may be missing or left over; anything else means that the weights are of another model."""
    heads = tuple(f"{name}." for name in (model.head_name, *model.auxiliary_names))
    missing, left_over = ([name for name in names if not name.startswith(heads)] for names in (missing, left_over))
    found = {
        "missing": [name for name in missing if name not in given],
        "unexpected": left_over,
        "of another shape": [name for name in missing if name in given],
    }
    said = [f"{len(names)} {how} ({listed(names, most=3)})" for how, names in found.items() if names]
    if said:
        fix = "make the model with the variant and the options that these weights were trained with"
        raise NetwrightError(f"the weights in '{source}' are not this model's: {'; '.join(said)}", fix)


def _other_model_fix(given: State, own: State) -> str:
    return f"its tensors are called {listed(given, most=3)}; the model's are {listed(own, most=3)}"
