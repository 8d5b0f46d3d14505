"""Checkpoints: what goes in comes out, damage is seen, and only our own files are dropped."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.engine.checkpoint import read_checkpoint, write_checkpoint
from netwright.records.atomic import write_atomic
from tests.support import hash_of

SHARED = torch.arange(12.0)


def memory(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "words": ["a", "ü", ""],
        "numbers": {"whole": 2**60, "part": 0.1, "none": None, "yes": True, "inf": float("inf")},
        "tensors": {
            "float": torch.linspace(-1, 1, 7) * step,
            "half": torch.ones(2, 3, dtype=torch.bfloat16),
            "double": torch.tensor(0.1, dtype=torch.float64),
            "whole": torch.tensor([1, -(2**62)]),
            "flag": torch.tensor([True, False]),
            "empty": torch.zeros(0, 3),
            "strided": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
            "view": SHARED[2:5],
            "shared": SHARED,
        },
        "nested": [{"deep": [torch.ones(1), {"deeper": torch.zeros(2)}]}, [], {}],
        "state": {"0.weight": torch.ones(2), "0": {"weight": torch.zeros(3)}},
    }


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, Tensor):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert torch.equal(one, other)
    else:
        assert one == other


def write(folder: Path, *steps: int, keep: int = 2) -> None:
    for step in steps:
        write_checkpoint(folder, memory(step), write_atomic, keep=keep)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_round_trip(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, memory(3), write_atomic)
    assert path.name == "step-00000003.json"
    found, damaged = read_checkpoint(tmp_path)
    assert damaged == []
    assert_same(found, memory(3))


def test_what_is_read_shares_no_memory_with_what_was_written(tmp_path: Path) -> None:
    given = memory(1)
    write_checkpoint(tmp_path, given, write_atomic)
    given["tensors"]["float"].zero_()
    assert hash_of(read_checkpoint(tmp_path)[0]) == hash_of(memory(1))


def test_no_pickle(tmp_path: Path) -> None:
    write(tmp_path, 1)
    json.loads((tmp_path / "step-00000001.json").read_text("utf-8"))
    assert b"torch" not in (tmp_path / "step-00000001.safetensors").read_bytes()
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path, {"step": 2, "object": object()}, write_atomic)
    assert read_checkpoint(tmp_path)[0]["step"] == 1


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_a_flipped_bit_in_the_weights_is_seen(part: float, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    path = tmp_path / "step-00000002.safetensors"
    flip(path, int(part * path.stat().st_size), 3)
    found, damaged = read_checkpoint(tmp_path)
    assert found["step"] == 1
    assert damaged == ["step-00000002"]


def test_a_flipped_bit_in_the_numbers_is_seen(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    path = tmp_path / "step-00000002.json"
    flip(path, path.read_bytes().index(b'"part": 0.1') + len(b'"part": 0.'), 1)  # 0.1 becomes 0.3: still JSON
    assert b'"part": 0.3' in path.read_bytes()
    found, damaged = read_checkpoint(tmp_path)
    assert found["step"] == 1
    assert damaged == ["step-00000002"]


@pytest.mark.parametrize("name", ["step-00000002.safetensors", "step-00000002.json"])
@pytest.mark.parametrize("left", [0, 10, -1])
def test_truncation_is_seen(name: str, left: int, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:left])
    found, damaged = read_checkpoint(tmp_path)
    assert found["step"] == 1
    assert damaged == ["step-00000002"]


@pytest.mark.parametrize("name", ["step-00000002.safetensors", "step-00000002.json"])
def test_a_missing_half_is_seen(name: str, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / name).unlink()
    assert read_checkpoint(tmp_path)[0]["step"] == 1


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"latest": "step-00000002"}', '{"kept": 3}', "null"])
def test_a_damaged_pointer_loses_nothing(content: str | None, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    pointer = tmp_path / "latest.json"
    pointer.unlink() if content is None else pointer.write_text(content)
    assert read_checkpoint(tmp_path)[0]["step"] == 2


def test_nothing_whole_is_an_error_that_names_the_damaged(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="no checkpoint"):
        read_checkpoint(tmp_path)
    write(tmp_path, 1, 2)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(NetwrightError, match="step-00000002, step-00000001"):
        read_checkpoint(tmp_path)


def test_a_crash_between_the_files_leaves_the_one_before(tmp_path: Path) -> None:
    for allowed in (0, 1, 2):
        folder = tmp_path / str(allowed)
        folder.mkdir()
        write(folder, 1)
        written: list[Path] = []

        def failing(path: Path, data: bytes, written=written, allowed=allowed) -> None:
            if len(written) == allowed:
                raise OSError("power cut")
            written.append(path)
            write_atomic(path, data)

        with pytest.raises(OSError, match="power cut"):
            write_checkpoint(folder, memory(2), failing)
        assert read_checkpoint(folder)[0]["step"] == 1


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(keep: int, tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 30, 400, keep=keep)
    kept = [1, 2, 30, 400][-keep:]
    names = {f"step-{step:08d}{end}" for step in kept for end in (".json", ".safetensors")}
    assert files(tmp_path) == names | {"latest.json"}
    assert read_checkpoint(tmp_path)[0]["step"] == 400


@pytest.mark.parametrize("pointer", [True, False], ids=["pointer", "no pointer"])
def test_foreign_files_are_left_alone(pointer: bool, tmp_path: Path) -> None:
    foreign = ["step-a.json", "step-0.json", "step-z.safetensors", "notes.txt", "best.safetensors", "step-9.json"]
    for name in foreign:
        (tmp_path / name).write_text("mine")
    write(tmp_path, 1)
    if not pointer:
        (tmp_path / "latest.json").unlink()
    write(tmp_path, 2, 3, 4)
    assert set(foreign) <= files(tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in foreign)
    found, damaged = read_checkpoint(tmp_path)
    assert found["step"] == 4
    assert damaged == []


def test_going_on_from_an_older_one_keeps_it_until_there_is_a_newer(tmp_path: Path) -> None:
    write(tmp_path, 4, 8)
    flip(tmp_path / "step-00000008.safetensors", 100)
    write(tmp_path, 6)
    assert read_checkpoint(tmp_path)[0]["step"] == 6
    write(tmp_path, 8, 10)
    found, damaged = read_checkpoint(tmp_path)
    assert (found["step"], damaged) == (10, [])
