"""Checkpoints without pickle: tensors in safetensors, everything else in JSON, and a pointer to the newest.

`step-N.json` names its tensors by their SHA-256 and ends with its own, so that no changed bit passes for a checkpoint.
It is written after the tensors and deleted before them: at any moment it stands for both or is not there.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError

FORMAT = 2
NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,11})")
TENSORS = re.compile(rf"({NAME.pattern})-[0-9a-f]{{8}}")
SEAL = ', "seal": "{}"}}'
SEAL_BYTES = len(SEAL.format("0" * 64))
POINTER = "latest.json"
Write = Callable[[Path, bytes], Any]


class UnusableError(ValueError):
    """A file that is no checkpoint of this run."""


def write_checkpoint(folder: Path, memory: dict[str, Any], write: Write, *, owner: str = "", keep: int = 2) -> Path:
    """Save a run's memory as `step-N`, then point `latest.json` at it, then drop the oldest of the owner's.

    Args:
        folder: the run's `checkpoints`.
        memory: nested dicts and lists of tensors, numbers and words.
        write: writes one file so that it is there whole or not at all.
        owner: the run's id. Only what bears it is ever deleted.
        keep: how many to keep.

    Raises:
        NetwrightError: another run's checkpoint has that name.
    """
    name = f"step-{memory['step']:08d}"
    state = folder / f"{name}.json"
    if state.is_symlink() or _owner_of(state) not in (owner, None):
        raise NetwrightError(f"{state} is not this run's", "move it to another folder")
    _drop_orphans(folder, owner)
    tensors: dict[str, Tensor] = {}
    tree = _flatten(memory, "", tensors)
    data = save({key: value.contiguous() for key, value in tensors.items()}, {"owner": owner})
    digest = hashlib.sha256(data).hexdigest()
    content = _sealed({"format": FORMAT, "owner": owner, "tensors": digest, "tree": tree})
    write(_tensors_of(state, digest), data)
    write(state, content)
    write(folder / POINTER, json.dumps({"latest": name}).encode())
    _retire(folder, name, owner, keep)
    return state


def read_checkpoint(
    folder: Path, *, owner: str | None = None, before: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The newest checkpoint that is whole, and the newer ones that cannot be used, each with the reason.

    Args:
        folder: the run's `checkpoints`.
        owner: the run's id; None takes a checkpoint of any run.
        before: only those of steps below this one.

    Raises:
        NetwrightError: there is none.
    """
    skipped: list[str] = []
    names = {name for name in _names(folder) | _pointed(folder) if before is None or _step(name) < before}
    for name in sorted(names, key=_step, reverse=True):
        try:
            return _read(folder / f"{name}.json", owner), skipped
        except UnusableError as error:
            skipped.append(f"{name} ({error})")
        except OSError as error:
            skipped.append(f"{name} ({error.strerror or error})")
        except (ValueError, KeyError, TypeError, SafetensorError):
            skipped.append(f"{name} (damaged)")
    problem = f"no checkpoint to go on from in {folder}" + (f"; left out: {', '.join(skipped)}" if skipped else "")
    raise NetwrightError(problem, "start again without --resume")


def _names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("step-*.json") if NAME.fullmatch(path.stem)}


def _pointed(folder: Path) -> set[str]:
    """What the pointer names, so that it is missed if it is not there; nothing that is not a checkpoint's name."""
    try:
        name = parsed((folder / POINTER).read_bytes())["latest"]
        return {name} if NAME.fullmatch(name) else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))


def _tensors_of(state: Path, digest: str) -> Path:
    """Where the tensors of a checkpoint are; saved anew at the same step, other ones are beside them until then."""
    return state.with_name(f"{state.stem}-{digest[:8]}.safetensors")


def _sealed(content: dict[str, Any]) -> bytes:
    text = json.dumps(content)[:-1].encode()
    return text + SEAL.format(hashlib.sha256(text).hexdigest()).encode()


def _opened(data: bytes) -> dict[str, Any]:
    text, seal = data[:-SEAL_BYTES], data[-SEAL_BYTES:]
    if seal != SEAL.format(hashlib.sha256(text).hexdigest()).encode():
        raise UnusableError("damaged")
    return parsed(data)


def _read(path: Path, owner: str | None) -> dict[str, Any]:
    data = path.read_bytes()
    content = parsed(data)
    if content["format"] == 1:
        return _read_format_1(path, content)
    content = _opened(data)
    if content["format"] != FORMAT:
        raise UnusableError("written by a newer netwright")
    if owner not in (content["owner"], None):
        raise UnusableError("another run's")
    tensors = _tensors_of(path, content["tensors"]).read_bytes()
    if hashlib.sha256(tensors).hexdigest() != content["tensors"]:
        raise UnusableError("damaged")
    return _restore(content["tree"], load(tensors))


def _read_format_1(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """One checksum over both files, and no owner."""
    tensors = path.with_suffix(".safetensors").read_bytes()
    tree = json.dumps(content["tree"], sort_keys=True).encode()
    if hashlib.sha256(tensors + tree).hexdigest() != content["sha256"]:
        raise UnusableError("damaged")
    return _restore(content["tree"], load(tensors))


def _retire(folder: Path, newest: str, owner: str, keep: int) -> None:
    """Drop the owner's checkpoints but the last `keep`; those past the newest are of a way that the run left."""
    ours = {name for name in _names(folder) if _owner_of(folder / f"{name}.json") == owner}
    past = sorted((name for name in ours if _step(name) <= _step(newest)), key=_step)
    for name in ours.difference(past[-keep:]):
        (folder / f"{name}.json").unlink(missing_ok=True)
    _drop_orphans(folder, owner)


def _drop_orphans(folder: Path, owner: str) -> None:
    """Drop the owner's tensors that no checkpoint names, as a process leaves them that is killed amid a save."""
    for path in folder.glob("step-*.safetensors"):
        match = TENSORS.fullmatch(path.stem)
        if match and _is_orphan(path, folder / f"{match[1]}.json", owner):
            path.unlink(missing_ok=True)


def _is_orphan(path: Path, state: Path, owner: str) -> bool:
    """Whether tensors are surely the owner's and surely not needed."""
    try:
        named = _tensors_of(state, _opened(state.read_bytes())["tensors"])
    except FileNotFoundError:
        named = None
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return path != named and not path.is_symlink() and _owner_of_tensors(path) == owner


def _owner_of(state: Path) -> str | None:
    """Whose a checkpoint is; None if that is not certain."""
    try:
        return None if state.is_symlink() else _opened(state.read_bytes())["owner"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _owner_of_tensors(path: Path) -> str | None:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("owner")
    except (OSError, SafetensorError):
        return None


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
