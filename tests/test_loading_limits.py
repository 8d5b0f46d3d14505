"""Files that declare more than they hold are refused before memory is taken for it."""

import io
import json
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from netwright import NetwrightError, load
from netwright.bundle.save import save_bundle
from netwright.engine.checkpoint import read_checkpoint
from netwright.models import create_model
from netwright.models._weights import read
from netwright.recipes._recipe import read_recipe
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder

MODEL = "mlp(widths=(8,), image_size=8)"
BOMB = 400_000_000  # bytes, more than the process may grow by
MOST = 300_000  # kB
DEEP = 200_000


def by_torch(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def tensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with a header of our own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], *offsets: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": list(offsets)}


def many(count: int) -> dict[str, Any]:
    return {f"w{number}": entry([0], 0, 0) for number in range(count)}


SAFETENSORS: dict[str, bytes] = {
    "a header of 100 MB": tensors({"w": entry([1], 0, 4)}, bytes(4), length=100_000_000),
    "a header of more than any disk": tensors({"w": entry([1], 0, 4)}, bytes(4), length=2**63),
    "a header that ends with the file": tensors({"w": entry([1], 0, 4)}, length=400),
    "a header of blanks": tensors(b"{" + b" " * 12_000_000 + b"}"),
    "half a million tensors": tensors(many(500_000)),
    "overlapping": tensors({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
    "negative": tensors({"w": entry([1], -4, 0)}, bytes(4)),
    "backwards": tensors({"w": entry([1], 4, 0)}, bytes(4)),
    "past the end": tensors({"w": entry([2], 0, 8)}, bytes(4)),
    "a shape of 10^12": tensors({"w": entry([10**6, 10**6], 0, 4)}, bytes(4)),
    "a shape whose size overflows": tensors({"w": entry([2**32, 2**32], 0, 0)}),
    "a negative shape": tensors({"w": entry([-1], 0, 4)}, bytes(4)),
    "nested": tensors(b"[" * DEEP + b"]" * DEEP),
    "empty": b"",
    "seven bytes": bytes(7),
    "cut short": save({"w": torch.ones(100)})[:-40],
}
PICKLED: dict[str, Callable[[], bytes]] = {
    "expanded": lambda: by_torch({"w": torch.zeros(1).expand(10**6, 10**6)}),
    "sparse": lambda: by_torch({"w": torch.sparse_coo_tensor((10**12,), check_invariants=True)}),
    "without values": lambda: by_torch({"w": torch.empty(10**12, device="meta")}),
    "a sparse one": lambda: by_torch({"w": torch.sparse_coo_tensor((1,), check_invariants=True)}),
    "one without values": lambda: by_torch({"w": torch.empty(1, device="meta")}),
    "names that are numbers": lambda: by_torch({1: torch.zeros(1)}),
    "an archive of nothing": lambda: b"PK\5\6" + bytes(18),
    "the beginning of an archive": lambda: by_torch({"w": torch.zeros(100)})[:200],
    "nested": lambda: b"\x80\2" + b"(" * DEEP + b"." * 2,
    "empty": lambda: b"",
    "an allocation": lambda: pickle.dumps({"w": bytearray(3)}, 2).replace(b"\x03\x00\x00\x00", b"\xff" * 4),
}


@pytest.mark.fault(65, "forged safetensors (headers, offsets, shapes, sizes) are refused with a fix")
@pytest.mark.parametrize("name", SAFETENSORS)
def test_forged_safetensors(name: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(SAFETENSORS[name])
    with pytest.raises(NetwrightError) as caught:
        read(tmp_path / "w.safetensors")
    assert caught.value.fix


@pytest.mark.fault(65, "forged .pt files (expanded, sparse or absent tensors, damaged archives) are refused with a fix")
@pytest.mark.parametrize("name", PICKLED)
def test_forged_pickles(name: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(PICKLED[name]())
    with pytest.raises(NetwrightError) as caught:
        read(tmp_path / "w.pt")
    assert caught.value.fix


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that can be loaded."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    save_bundle(
        folder,
        create_model(MODEL, classes=2, in_channels=1),
        spec=MODEL,
        structure=[],
        classes=["a", "b"],
        in_channels=1,
        macs=1000,
        task="classification",
        preprocess={"image_size": 8, "stored_size": 8, "fit": "crop", "channels": 1, "mean": [0.5], "std": [0.5]},
        temperature=1.0,
        metrics={},
        recipe={"precision": "fp32"},
        versions={},
        write=write_atomic,
    )
    assert load(folder).classes == ("a", "b")
    return folder


CARDS: dict[str, dict[str, Any]] = {
    "pictures of 10^9": {"preprocess.image_size": 10**9, "preprocess.stored_size": 10**9},
    "pictures of 10^9 kept": {"preprocess.stored_size": 10**9},
    "pictures of -1": {"preprocess.image_size": -1},
    "no deviation": {"preprocess.std": [0.0]},
    "a mean of words": {"preprocess.mean": ["0.5"]},
    "10^8 channels": {"model.in_channels": 10**8},
    "channels in words": {"model.in_channels": "1"},
    "channels that are true": {"model.in_channels": True},
    "10^8 classes": {"classes": 10**8},
    "no classes": {"classes": []},
    "100,000 classes": {"classes": [str(number) for number in range(100_000)]},
    "classes that are numbers": {"classes": [1, 2]},
    "another number of classes": {"classes": ["a", "b", "c"]},
    "10^10 weights": {"model.spec": "mlp(widths=(100000, 100000), image_size=8)"},
    "wider than any": {"model.spec": "mlp(widths=(1000000000000,), image_size=8)"},
    "a network 10^5 wide": {"model.spec": "resnet20(width=100000)"},
    "a network 10^5 deep": {"model.spec": "resnet20(blocks=100000)"},
    "pyramids": {"model.spec": "pyramidnet110_a48(depth=99998)"},
    "2^40 paths": {"model.spec": "fractalnet20(columns=40)"},
    "a fat embedding": {"model.spec": "mlp(widths=(8,), image_size=100000)"},
    "no temperature": {"temperature": 0},
    "a temperature that is none": {"temperature": float("nan")},
    "an endless temperature": {"temperature": float("inf")},
    "a precision of words": {"recipe.precision": "fp8"},
    "no model": {"model": None},
    "a list for a model": {"model": []},
    "a list for a recipe": {"recipe": []},
    "nothing said of pictures": {"preprocess": {}},
    "a newer format": {"format": 10**9},
    "a format in words": {"format": "1"},
}


def forged(card: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    copy = json.loads(json.dumps(card))
    for path, value in changes.items():
        *outer, last = path.split(".")
        (copy[outer[0]] if outer else copy)[last] = value
    return copy


@pytest.mark.fault(65, "a bundle that declares absurd sizes, numbers or kinds of values is refused with a fix")
@pytest.mark.parametrize("name", CARDS)
def test_forged_bundles(name: str, bundle: Path) -> None:
    path = bundle / "bundle.json"
    path.write_text(json.dumps(forged(json.loads(path.read_text()), CARDS[name])))
    with pytest.raises(NetwrightError) as caught:
        load(bundle)
    assert caught.value.fix and len(str(caught.value)) < 10_000


@pytest.mark.fault(65, "JSON nested 200,000 deep is refused with a fix: in bundle, recipe, record and checkpoint")
def test_nested_json(bundle: Path, tmp_path: Path) -> None:
    for name in ("bundle/bundle.json", "recipe.json", "record.json", "step-00000001.json"):
        (tmp_path / name).write_text('{"recipe": ' + "[" * DEEP + "]" * DEEP + "}")
    doors: list[Callable[[], object]] = [
        lambda: load(bundle),
        lambda: read_recipe(tmp_path / "recipe.json"),
        lambda: RunFolder(tmp_path).record(),
        lambda: read_checkpoint(tmp_path),
    ]
    for door in doors:
        with pytest.raises(NetwrightError) as caught:
            door()
        assert caught.value.fix


def packed(path: Path, name: str, start: bytes, **others: str) -> None:
    """An archive with a member of `start` and then zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        member.write(start)
        for _ in range(BOMB // 1_000_000):
            member.write(bytes(1_000_000))
    with zipfile.ZipFile(path, "a") as archive:
        for other, text in others.items():
            archive.writestr(f"archive/{other}", text)


def npy(shape: tuple[int, ...]) -> bytes:
    """The header of an array of bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


SCRIPT = """
import json, re, sys
from netwright import NetwrightError, load
from netwright.bundle.evaluate import evaluate_bundle
from netwright.data import open_data
from netwright.data.arrays import listing
from netwright.models import create_model
from netwright.models._weights import read
from pathlib import Path

def peak():  # not getrusage, whose peak is inherited from the process that forked this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def opened(path):
    return {"bundle": load, "weights": lambda path: read(Path(path)), "arrays": open_data}[path.parent.name](str(path))

load(sys.argv[1] + "/good")
before, told = peak(), {}
for path in map(Path, sys.argv[2:]):
    try:
        opened(path)
        told[str(path)] = "it was believed"
    except NetwrightError as error:
        told[str(path)] = "" if error.fix else "no fix"
    except Exception as error:
        told[str(path)] = repr(error)
print(json.dumps([peak() - before, {path: words for path, words in told.items() if words}]))
"""


@pytest.mark.fault(65, "over fifty forged files and bombs together raise the memory of a process by less than 300 MB")
def test_memory_stays(bundle: Path, tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's own peak memory")
    for name in ("weights", "arrays"):
        (tmp_path / name).mkdir()
    paths: list[Path] = []
    for number, data in enumerate(SAFETENSORS.values()):
        paths.append(tmp_path / "weights" / f"{number}.safetensors")
        paths[-1].write_bytes(data)
    for number, make in enumerate(PICKLED.values()):
        paths.append(tmp_path / "weights" / f"{number}.pt")
        paths[-1].write_bytes(make())
    paths += [tmp_path / "weights" / "bomb.pt", tmp_path / "arrays" / "bomb.npz", tmp_path / "arrays" / "shape.npz"]
    packed(paths[-3], "archive/data.pkl", b"", version="3\n", byteorder="little")
    packed(paths[-2], "x_train.npy", npy((BOMB,)))
    with zipfile.ZipFile(paths[-1], "w") as archive:
        archive.writestr("x_train.npy", npy((10**6, 10**6)))
    good = shutil.copytree(bundle, tmp_path / "good")
    card = json.loads((good / "bundle.json").read_text())
    shutil.rmtree(bundle)
    for number, changes in enumerate(CARDS.values()):
        paths.append(Path(shutil.copytree(good, tmp_path / "bundle" / str(number))))
        (paths[-1] / "bundle.json").write_text(json.dumps(forged(card, changes)))
    assert len(paths) > 57
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    grown, wrong = json.loads(done.stdout.splitlines()[-1])
    assert not wrong
    assert grown < MOST
