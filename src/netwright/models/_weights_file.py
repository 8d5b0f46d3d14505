"""Files of weights: tensors are read, code never, and a file that holds no weights is called what it is."""

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors.torch import load_file
from torch import Tensor

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError, listed, nearest

State = Mapping[str, Tensor]

# Averaged weights first: published numbers are theirs.
CONTAINERS = (
    "state_dict_ema", "ema_state_dict", "model_ema", "state_dict", "model_state_dict", "model_state", "model",
    "network", "net", "weights", "params_ema", "params",
)  # fmt: skip
DEEPEST = 4  # containers in containers
OPTIMISER = "param_groups"  # what only an optimiser's state has
SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ".tar")
LONGEST_HEADER = 10_000_000  # bytes of a safetensors header; ten thousand tensors take one
HEAD = 2048  # bytes that tell what a file is
CHUNK = 1 << 20
ZIP = b"PK\3\4"  # how a file begins that torch takes for an archive
LFS = b"version https://git-lfs"
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
ANEW = "fetch it again from where you trust it"
SAVE = "save model.state_dict() of the torch network it was made from, best as .safetensors"
FOREIGN = {
    b"\x89HDF\r\n": ("an HDF5 file, as Keras writes them", SAVE),
    b"\x93NUMPY": ("one NumPy array", SAVE),
    b"\x1f\x8b": ("compressed with gzip", "unpack it, and give what comes out"),
}


def read(path: Path) -> State:
    """The tensors in a file by name, on the CPU.

    Raises:
        NetwrightError: no such file, unreadable, holding code, or holding no tensors.
    """
    if not path.is_file():
        raise _absent(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    _refuse_foreign(path, head)
    if path.suffix not in SUFFIXES:
        raise NetwrightError(f"cannot tell what '{path}' is", "give a .safetensors, .pt, .pth or .th file")
    try:
        content = _mapped(path, head) if path.suffix == ".safetensors" else _unpickled(path, head)
    except NetwrightError:
        raise
    except Exception as error:  # a damaged file makes the readers raise nearly anything
        raise _unreadable(path, error) from error
    return _tensors(content, path)


def _absent(path: Path) -> NetwrightError:
    if path.is_dir():
        found = sorted(file.name for file in path.iterdir() if file.suffix in SUFFIXES)
        fix = f"give one of its files: {listed(found, most=3)}" if found else "give a file, or the folder of a run"
        if (path / "record.json").is_file():
            fix = f"let the run finish: netwright train --resume {path}"
        return NetwrightError(f"the folder '{path}' holds no bundle", fix)
    there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    close = nearest(str(path), ["imagenet"]) or nearest(path.name, there)
    meant = close if close == "imagenet" else str(path.parent / str(close))
    fix = "give the path of a file or bundle, 'hf-hub:owner/name', or the word 'imagenet'"
    return NetwrightError(f"there is no weights file '{path}'", f"did you mean '{meant}'? {fix}" if close else fix)


def _refuse_foreign(path: Path, head: bytes) -> None:
    """What is known by its first bytes, or its suffix, to hold no weights.

    Raises:
        NetwrightError: says what it is.
    """
    if not head:
        raise NetwrightError(f"'{path}' is empty", ANEW)
    for start, (what, fix) in FOREIGN.items():
        if head.startswith(start):
            raise NetwrightError(f"'{path}' is {what}, and no file of torch's weights", fix)
    if path.suffix == ".onnx" or (head[0] == 8 and head[1:2] < b"\x20" and head[2:3] == b"\x12"):
        raise NetwrightError(f"'{path}' is an ONNX model, which holds a graph and not a network's state_dict", SAVE)
    if text := _text(head):
        raise _no_weights_but_text(path, text)


def _text(head: bytes) -> str:
    """The beginning of a file that is text; else nothing."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8-sig") if error.start > len(head) - 4 else ""
    return text if all(letter.isprintable() or letter in "\r\n\t" for letter in text) else ""


def _no_weights_but_text(path: Path, text: str) -> NetwrightError:
    if text.encode().startswith(LFS):
        size = re.search(r"^size (\d{1,15})$", text, re.MULTILINE)
        whole = f" of {int(size[1]):,} bytes" if size else ""
        fix = f"fetch the file itself{whole}: `git lfs pull` in its repository, or its page's download link"
        return NetwrightError(f"'{path}' is not the weights but the pointer that Git LFS leaves in their place", fix)
    if text.lstrip().lower().encode().startswith(PAGES):
        title = re.search(r"<title[^>]*>([^<]{1,80})", text, re.IGNORECASE)
        said = f' ("{" ".join(title[1].split())}")' if title else ""
        fix = "the download led to a page, of an error or a log-in: open its address in a browser, and fetch the file"
        return NetwrightError(f"'{path}' is a web page{said}, not weights", fix)
    start = " ".join(text[:40].split())
    return NetwrightError(f"'{path}' is text, not weights: it begins with '{start}'", "give the weights file itself")


def _unreadable(path: Path, error: Exception) -> NetwrightError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, BadZipFile):
        problem = f"cannot read '{path}': it is a torch file whose end is missing, which lists its tensors"
        return NetwrightError(problem, f"its download or its writing broke off: {ANEW}")
    # torch refuses code in several ways, and recommends `weights_only=False` in all but the first.
    if isinstance(error, UnpicklingError) or "weights_only" in str(error):
        if re.search(r"truncated|ran out of input|unexpected eof", str(error), re.IGNORECASE):
            return NetwrightError(f"cannot read '{path}': it is cut short", ANEW)
        named = re.search(r"(?:GLOBAL|global|class) `?([A-Za-z_][\w.]{2,80})", str(error))
        what = f" (it names {named[1]})" if named and "." in named[1] else ""
        fix = "where you trust it, load it with torch and save only model.state_dict(), best as .safetensors"
        return NetwrightError(f"'{path}' holds more than tensors{what}, and reading it could run its code", fix)
    return NetwrightError(f"cannot read '{path}': {reason}", f"it is damaged or cut short: {ANEW}")


def _mapped(path: Path, head: bytes) -> State:
    if head.startswith(ZIP) or (head[0] == 0x80 and 2 <= head[1] <= 5):
        problem = f"'{path}' is named a safetensors file, but it is one of torch's, a pickle"
        raise NetwrightError(problem, f"{ANEW}; what torch saved is called .pt or .pth, and read more warily")
    length, size = int.from_bytes(head[:8], "little"), path.stat().st_size
    if length > min(LONGEST_HEADER, size):
        fix = f"it is damaged, forged or of another kind: {ANEW}"
        raise NetwrightError(f"cannot read '{path}': its header would have {length} bytes, as no weights' has", fix)
    _refuse_cut(path, length, size)
    return load_file(path)


def _refuse_cut(path: Path, length: int, size: int) -> None:
    """A file that ends before its last tensor; whatever else is wrong with the header is for safetensors to say."""
    with path.open("rb") as file:
        header = file.read(8 + length)[8:]
    try:
        ends = [entry["data_offsets"][1] for name, entry in parsed(header).items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return
    if size < wanted:
        problem = f"cannot read '{path}': it is cut short, with {size:,} of the {wanted:,} bytes its header speaks of"
        raise NetwrightError(problem, ANEW)


def _unpickled(path: Path, head: bytes) -> Any:
    if head.startswith(ZIP):
        _refuse_other_archives(path)
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        named = path.with_suffix(".safetensors").name
        raise NetwrightError(f"'{path}' is a safetensors file under another name", f"rename it to {named}")
    return torch.load(path, map_location="cpu", weights_only=True)


def _refuse_other_archives(path: Path) -> None:
    """Those of another kind, damaged ones, and those that would fill the memory when unpacked: torch packs nothing."""
    with ZipFile(path) as archive:
        size, names = sum(member.file_size for member in archive.infolist()), archive.namelist()
        damaged = [] if size > path.stat().st_size else _damaged(archive)
    if size > path.stat().st_size:
        fix = f"{ANEW}, or save model.state_dict() anew, best as .safetensors"
        raise NetwrightError(f"'{path}' would unpack to {size} bytes, more than it has", fix)
    inside = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in inside:
        fix = "where you trust it: torch.save(torch.jit.load(file).state_dict(), 'weights.pt')"
        raise NetwrightError(f"'{path}' is a TorchScript archive: a program, with its weights inside", fix)
    if "data.pkl" not in inside:
        fix = f"it holds {listed(names, most=3) or 'nothing'}: unpack it, and give the weights file"
        raise NetwrightError(f"'{path}' is a zip archive, but not one that torch wrote weights into", fix)
    if len(damaged) in range(1, len(names)):  # all of them are where torch was told to leave checksums out
        problem = f"cannot read '{path}': {len(damaged)} of its {len(names)} parts are not what was written (checksums)"
        raise NetwrightError(problem, f"it is damaged: {ANEW}")


def _damaged(archive: ZipFile) -> list[str]:
    """The parts of an archive that are not what their checksums say, which torch reads without a word."""
    found: list[str] = []
    for name in archive.namelist():
        try:
            with archive.open(name) as part:
                while part.read(CHUNK):
                    pass
        except BadZipFile:
            found.append(name)
    return found


def _tensors(content: Any, path: Path) -> State:
    state = _state_in(content, path, DEEPEST)
    fix = f"save model.state_dict(), alone or under one of: {listed(CONTAINERS)}"
    if state is None:
        raise NetwrightError(f"'{path}' holds no state_dict: {_described(content)}", fix)
    size = path.stat().st_size
    if larger := [name for name, tensor in state.items() if tensor.numel() * tensor.element_size() > size]:
        raise NetwrightError(f"'{path}' declares tensors larger than itself: {listed(larger, most=3)}", fix)
    return state


def _state_in(content: Any, path: Path, depth: int) -> State | None:
    """The one state_dict in what a checkpoint holds: by the usual names, else the only one there is."""
    if not isinstance(content, dict) or not content or not depth or OPTIMISER in content:
        return None
    if all(_is_entry(*pair) for pair in content.items()):
        return content
    for name in CONTAINERS:
        if (found := _state_in(content.get(name), path, depth - 1)) is not None:
            return found
    inner = ((str(name), _state_in(value, path, depth - 1)) for name, value in content.items())
    found = {name: state for name, state in inner if state is not None}
    if len(found) > 1:
        fix = "save the one you mean: torch.save(torch.load(file, weights_only=True)[NAME], 'weights.pt')"
        raise NetwrightError(f"'{path}' holds several state_dicts: {listed(found, most=6)}", fix)
    return next(iter(found.values()), None)


def _described(content: Any) -> str:
    if not isinstance(content, dict):
        return f"it is a {type(content).__name__}"
    if not content:
        return "it is an empty dict"
    if OPTIMISER in content:
        return "it is the state of an optimiser, not of a network"
    tensors = [name for name, value in content.items() if isinstance(value, Tensor)]
    others = [str(name)[:40] for name in content if name not in tensors]
    if not others:
        return "its tensors are sparse or without values"
    return f"it holds {listed(others, most=4)}" + (f" beside {len(tensors)} tensors" if tensors else "")


def _is_entry(name: Any, value: Any) -> bool:
    """Whether this is a name with a tensor that has its values in memory, as all in a state_dict are."""
    plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and plain
