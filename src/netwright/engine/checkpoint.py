"""Checkpoints without pickle: tensors in safetensors, everything else in JSON, one checksum over both."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from netwright.core.errors import NetwrightError

FORMAT = 1
Write = Callable[[Path, bytes], Any]


def write_checkpoint(folder: Path, memory: dict[str, Any], write: Write, *, keep: int = 2) -> Path:
    """Save a run's memory as `step-N`, then point `latest.json` at it, then drop the oldest of ours.

    Args:
        folder: the run's `checkpoints`.
        memory: nested dicts and lists of tensors, numbers and words.
        write: writes one file so that it is there whole or not at all.
        keep: how many to keep.
    """
    tensors: dict[str, Tensor] = {}
    tree = _flatten(memory, "", tensors)
    name = f"step-{memory['step']:08d}"
    weights = save({key: value.contiguous() for key, value in tensors.items()})
    state = json.dumps({"format": FORMAT, "tree": tree, "sha256": _checksum(weights, tree)})
    write(folder / f"{name}.safetensors", weights)
    write(folder / f"{name}.json", state.encode())
    written = [*_listed(folder), name]
    kept = sorted(set(written))[-keep:]
    write(folder / "latest.json", json.dumps({"latest": name, "kept": kept}).encode())
    for old in set(written) - set(kept):
        (folder / f"{old}.json").unlink(missing_ok=True)
        (folder / f"{old}.safetensors").unlink(missing_ok=True)
    return folder / f"{name}.json"


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The newest checkpoint that is whole, and the names of newer ones that are not.

    Raises:
        NetwrightError: there is none.
    """
    damaged: list[str] = []
    for name in reversed(_listed(folder)):
        try:
            return _read(folder / name), damaged
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            damaged.append(name)
    problem = f"no checkpoint to go on from in {folder}" + (f"; damaged: {', '.join(damaged)}" if damaged else "")
    raise NetwrightError(problem, "start again without --resume")


def _listed(folder: Path) -> list[str]:
    """The checkpoints that this run wrote, oldest first."""
    try:
        return sorted(json.loads((folder / "latest.json").read_text("utf-8"))["kept"])
    except (OSError, ValueError, KeyError, TypeError):
        return sorted(path.stem for path in folder.glob(f"step-{'[0-9]' * 8}.json"))


def _read(path: Path) -> dict[str, Any]:
    state = json.loads(path.with_suffix(".json").read_text("utf-8"))
    weights = path.with_suffix(".safetensors").read_bytes()
    if _checksum(weights, state["tree"]) != state["sha256"] or state["format"] != FORMAT:
        raise ValueError("the checksum does not fit")
    return _restore(state["tree"], load(weights))


def _checksum(weights: bytes, tree: Any) -> str:
    digest = hashlib.sha256(weights)
    digest.update(json.dumps(tree, sort_keys=True).encode())
    return digest.hexdigest()


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON in the shape of `value`, with each tensor moved to `tensors` and a reference left in its place."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().to("cpu", copy=True)  # safetensors refuses tensors that share memory
        return {"__tensor__": path}
    if isinstance(value, dict):
        return {str(k): _flatten(v, f"{path}/{k}", tensors) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_flatten(v, f"{path}/{i}", tensors) for i, v in enumerate(cast(list[Any], value))]
    return value


def _restore(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(tree, list):
        return [_restore(part, tensors) for part in cast(list[Any], tree)]
    if not isinstance(tree, dict):
        return tree
    branch = cast(dict[str, Any], tree)
    if set(branch) == {"__tensor__"}:
        return tensors[branch["__tensor__"]]
    return {name: _restore(part, tensors) for name, part in branch.items()}
