"""Published weights: those of a variant's reference, or a repository on the Hugging Face hub; fetched once, checked."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from netwright.core.errors import NetwrightError
from netwright.models._timm import timm_weights

Moments = tuple[tuple[float, ...], tuple[float, ...], str]

IMAGENET: Moments = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet's")
# torchvision keeps these two as they were trained elsewhere, on values in [-1, 1], and rescales images inside them.
IN_UNIT_RANGE = ("googlenet", "inception_v3")
HUB = "hf-hub:"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Published:
    """Weights with what a user of them must know.

    Attributes:
        state: tensors by name.
        moments: mean and deviation of each channel they were trained with, and whose these are.
    """

    state: dict[str, Any]
    moments: Moments


def published(reference: str | None) -> Published:
    """The ImageNet weights of a reference such as "torchvision/resnet18".

    Raises:
        NetwrightError: the model has no reference, the download failed, or the file is damaged.
    """
    if reference is None:
        raise NetwrightError("nobody publishes ImageNet weights for this model", "give a file: weights='weights.pt'")
    library, name = reference.split("/", 1)
    return _from_timm(name) if library == "timm" else _from_torchvision(name)


def from_hub(name: str) -> tuple[Path, Moments]:
    """The weights file of a hub repository "owner/name" or "owner/name@revision", and its moments.

    Raises:
        NetwrightError: no such repository, no weights in it, or no network.
    """
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = name.partition("@")
    for file in HUB_FILES:
        try:
            path = Path(hf_hub_download(repository, file, revision=revision or None))
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client lets its transport's errors through
            fix = f"fetch {_url(hf_hub_url, repository, file)} where there is a network and give the file's path"
            raise NetwrightError(f"cannot download {HUB}{name}: {_first_line(error)}", fix) from error
        return path, _hub_moments(hf_hub_download, repository, revision)
    raise NetwrightError(f"{HUB}{name} holds none of {', '.join(HUB_FILES)}", "give the path of a weights file")


def _from_torchvision(name: str) -> Published:
    from torchvision.models import get_model, get_model_weights  # costs seconds: only when its weights are wanted

    weights: Any = get_model_weights(name)["DEFAULT"]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        _refuse_damaged(file)
        # Not weights.get_state_dict: older files name their tensors otherwise, and torchvision's builders mend that.
        state = get_model(name, weights=weights).state_dict()
    except OSError as error:
        fix = f"fetch {weights.url} where there is a network and place it at {file}"
        raise NetwrightError(f"cannot download the weights of torchvision/{name}: {_first_line(error)}", fix) from error
    preset = weights.transforms()
    half = ((0.5,) * 3, (0.5,) * 3, "the Inception networks'")
    return Published(state, half if name in IN_UNIT_RANGE else (tuple(preset.mean), tuple(preset.std), "ImageNet's"))


def _from_timm(name: str) -> Published:
    try:
        state, configured = timm_weights(name)
    except Exception as error:  # timm's loaders share no error type
        fix = f"fetch {_timm_url(name)} where there is a network and give the file's path as weights"
        raise NetwrightError(f"cannot download the weights of timm/{name}: {_first_line(error)}", fix) from error
    return Published(state, (tuple(configured["mean"]), tuple(configured["std"]), "timm's"))


def _timm_url(name: str) -> str:
    import timm
    from huggingface_hub import hf_hub_url

    configured = timm.get_pretrained_cfg(name)
    if configured is not None and configured.hf_hub_id:
        return _url(hf_hub_url, configured.hf_hub_id, HUB_FILES[0])
    return str(configured.url if configured else "its weights")


def _url(hf_hub_url: Any, repository: str, file: str) -> str:
    try:
        return hf_hub_url(repository, file)
    except ValueError:  # no such name can be
        return f"{file} of {repository}"


def _hub_moments(fetch: Any, repository: str, revision: str) -> Moments:
    """What timm writes beside its weights; ImageNet's where nobody did."""
    try:
        config = json.loads(Path(fetch(repository, "config.json", revision=revision or None)).read_text("utf-8"))
        configured = config.get("pretrained_cfg", config)
        return tuple(configured["mean"]), tuple(configured["std"]), f"{repository}'s"
    except Exception:  # the configuration is a courtesy: whatever is wrong with it, there is a usual value
        return IMAGENET


def _refuse_damaged(file: Path) -> None:
    """A cached file whose name says how its SHA-256 begins must have it; torchvision checks fresh downloads only."""
    found = re.search(r"-([0-9a-f]{8,})\.", file.name)
    if not file.is_file() or found is None:
        return
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(found[1]):
        raise NetwrightError(
            f"{file} is not what was published: its SHA-256 begins with {digest[: len(found[1])]}, not {found[1]}",
            "delete it; it will be fetched again",
        )


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__
