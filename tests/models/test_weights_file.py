"""Files that are no weights are called what they are, and weights are found wherever a checkpoint holds them."""

import argparse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models._weights_file import read

STATE = {"w": torch.arange(4.0), "b": torch.ones(2)}


def torch_file(content: Any) -> Callable[[Path], Any]:
    return lambda path: torch.save(content, path)


def bytes_(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def optimiser() -> dict[str, Any]:
    """State after a step, so that there are tensors in it."""
    layer = nn.Linear(2, 2)
    chosen = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    layer(torch.ones(1, 2)).sum().backward()
    chosen.step()
    return chosen.state_dict()


def script(path: Path) -> None:
    """As `torch.jit.save` lays a file out."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"net/{name}", "x")


def arrays(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", "x")


def half(path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def damaged(path: Path) -> None:
    """One value of a tensor is another; torch reads such a file without a word."""
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes().replace(STATE["w"].numpy().tobytes(), torch.arange(1, 5.0).numpy().tobytes()))
    assert torch.load(path, weights_only=True)["w"][0] == 1


PAGE = b"\n <!DOCTYPE html><html><head><title>404:\n Not Found</title>" + bytes(8)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:12fc\nsize 5011511\n"
CUT = save({"w": torch.ones(100)})
# What is written, under which name, and what must be said: of the problem, then of the fix.
STRANGERS: dict[str, tuple[str, Callable[[Path], Any], str, str]] = {
    "empty": ("w.pth", bytes_(b""), "is empty", "fetch it again"),
    "a pointer of Git LFS": ("w.pth", bytes_(LFS), "pointer that Git LFS", "5,011,511 bytes: `git lfs pull`"),
    "such a pointer by another name": ("w.safetensors", bytes_(LFS), "pointer that Git LFS", "git lfs pull"),
    "a web page": ("w.pt", bytes_(PAGE.rstrip(b"\0")), 'a web page ("404: Not Found")', "in a browser"),
    "text": ("w.bin", bytes_("naïve".encode()), "is text, not weights: it begins with 'naïve'", "give the weights"),
    "text cut in a letter": ("w.pt", bytes_(b"a" * 2047 + "é".encode()), "is text", "give the weights"),
    "TorchScript": ("w.pt", script, "TorchScript archive", "torch.jit.load(file).state_dict()"),
    "ONNX": ("w.onnx", bytes_(b"x"), "an ONNX model", "save model.state_dict()"),
    "ONNX by another name": ("w.pth", bytes_(b"\x08\x07\x12\x07pytorch"), "an ONNX model", "save model"),
    "HDF5": ("w.bin", bytes_(b"\x89HDF\r\n\x1a\n"), "an HDF5 file, as Keras", "save model"),
    "gzip": ("w.pth", bytes_(b"\x1f\x8b\x08" + bytes(9)), "compressed with gzip", "unpack it"),
    "arrays": ("w.pth", arrays, "a zip archive, but not one that torch", "it holds w.npy: unpack"),
    "cut short": ("w.pth", half, "whose end is missing", "broke off"),
    "cut short, mapped": ("w.safetensors", bytes_(CUT[:-40]), f"{len(CUT) - 40:,} of the {len(CUT):,} bytes", "again"),
    "damaged": ("w.pth", damaged, "parts are not what was written (checksums)", "it is damaged: fetch it again"),
    "safetensors by another name": ("w.pth", bytes_(CUT), "safetensors file under another name", "to w.safetensors"),
    "torch's by another name": ("w.safetensors", torch_file(STATE), "one of torch's, a pickle", "called .pt"),
    "an optimiser": ("w.pt", torch_file(optimiser()), "state of an optimiser, not of a network", "model.state_dict()"),
    "a number": ("w.pt", torch_file(3), "no state_dict: it is a int", "model.state_dict()"),
    "an empty dict": ("w.pt", torch_file({"state_dict": {}}), "no state_dict: it holds state_dict",
        "model.state_dict()"),
    "tensors and more": ("w.pt", torch_file({**STATE, "n": 3}), "it holds n beside 2 tensors", "model.state_dict()"),
    "two networks": ("w.pt", torch_file({"student": STATE, "teacher": STATE}), "several state_dicts: student, teacher",
        "save the one you mean"),
    "code": ("w.pt", torch_file({"args": argparse.Namespace(), "model": STATE}), "(it names argparse.Namespace)",
        "save only model.state_dict()"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_weights_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    file, write, problem, fix = STRANGERS[name]
    write(tmp_path / file)
    with pytest.raises(NetwrightError) as caught:
        read(tmp_path / file)
    assert problem in caught.value.problem
    assert fix in caught.value.fix


def test_files_that_were_saved_without_checksums_are_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(False)
        torch.save(STATE, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read(tmp_path / "w.pth")["w"], STATE["w"])


NESTED: dict[str, Any] = {
    "under a usual name": {"net": STATE, "epoch": 3, "optimizer": optimiser()},
    "twice": {"checkpoint": {"state_dict": STATE, "best": 0.3}},
    "as the only one": {"anything": STATE, "args": {"lr": 0.1}},
    "averaged before plain": {"state_dict": {"w": torch.zeros(1)}, "state_dict_ema": STATE},
}


@pytest.mark.parametrize("name", NESTED)
def test_weights_are_found_in_a_checkpoint(name: str, tmp_path: Path) -> None:
    torch.save(NESTED[name], tmp_path / "w.ckpt")
    found = read(tmp_path / "w.ckpt")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_names_that_are_nearly_right(tmp_path: Path) -> None:
    (tmp_path / "best.pth").write_bytes(b"x")
    for given, meant in (("imagnet", "'imagenet'"), (str(tmp_path / "bset.pth"), f"'{tmp_path / 'best.pth'}'")):
        with pytest.raises(NetwrightError, match="there is no weights file") as caught:
            read(Path(given))
        assert f"did you mean {meant}?" in caught.value.fix


def test_folders_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="holds no bundle") as caught:
        read(tmp_path)
    assert "the folder of a run" in caught.value.fix
    (tmp_path / "best.pth").write_bytes(b"x")
    with pytest.raises(NetwrightError) as caught:
        read(tmp_path)
    assert "best.pth" in caught.value.fix
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(NetwrightError) as caught:
        read(tmp_path)
    assert f"netwright train --resume {tmp_path}" in caught.value.fix
