"""Pictures of any number of channels and of 16 bits, from a user's own datasets, into networks of coloured pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from netwright import NetwrightError, fit, load, recipe
from netwright.data.loader import as_tensor
from netwright.models import create_model
from netwright.recipes._inputs import read_inputs

NAME = "resnet20(width=4)"
SIZE = 12


class Pictures(Dataset[Any]):
    """Pictures of one kind with two classes in turn."""

    def __init__(self, pictures: list[Any]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        return self.pictures[position], position % 2


def deep(n: int, channels: int | None, seed: int) -> list[np.ndarray]:
    """Pictures of 16 bits, H W or H W C, those of the second class brighter."""
    draw = np.random.default_rng(seed)
    shape = (SIZE, SIZE) if channels is None else (SIZE, SIZE, channels)
    return [(draw.integers(0, 30000, shape) + 30000 * (i % 2)).astype(np.uint16) for i in range(n)]


def floats(n: int, channels: int, seed: int) -> TensorDataset:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    return TensorDataset(torch.randn(n, channels, SIZE, SIZE, generator=draw) + labels.view(-1, 1, 1, 1), labels)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network for coloured pictures and ten classes."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("rgb") / "rgb.pt"
    torch.save(create_model(NAME).state_dict(), path)
    return path


def trained(data: Any, weights: Path, output: Path) -> Any:
    plain = {"epochs": 1, "batch_size": 8, "device": "cpu", "threads": 1, "precision": "fp32"}
    chosen = recipe("cifar", model=NAME, weights=str(weights), optimizer="sgd(lr=0.01)", **plain)
    return fit(chosen, data=data, output=output)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
def test_floats_of_any_number_of_channels_train_from_coloured_weights(
    channels: int, weights: Path, tmp_path: Path
) -> None:
    result = trained((floats(16, channels, 0), floats(8, channels, 1)), weights, tmp_path)
    data = result.record["data"]
    assert (data["channels"], data["mean"], data["std"]) == (channels, [0.0] * channels, [1.0] * channels)
    assert any("1 adapted (conv1.weight)" in note for note in data["notes"])
    assert any("not normalised again" in note for note in data["notes"])
    assert not any("mean and deviation" in note for note in data["notes"])
    assert load(result.path).model(torch.zeros(1, channels, SIZE, SIZE)).shape == (1, 2)


def test_floats_of_colours_are_used_as_they_are_and_bytes_are_not(weights: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8) for _ in range(8)]
    prepared = [torch.from_numpy((each.transpose(2, 0, 1) / 255 - 0.4) / 0.2).float() for each in pictures]
    seen: list[torch.Tensor] = []
    said: list[str] = []
    for kind, held in (
        ("floats", prepared),
        ("bytes", pictures),
        ("deep", [each.astype(np.uint16) * 257 for each in pictures]),
    ):
        result = trained((Pictures(list(held)), Pictures(list(held))), weights, tmp_path / kind)
        moments = result.record["data"]["mean"]
        seen.append(torch.tensor(moments))
        said.append(next(note for note in result.record["data"]["notes"] if "pictures are" in note))
    assert seen[0].tolist() == [0.0, 0.0, 0.0]
    assert seen[1].tolist() == seen[2].tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert said[0] == "pictures are floats of your own dataset, and are not normalised again"
    assert said[1] == said[2] != said[0]
    assert "pictures are normalised with" in said[1]


@pytest.mark.parametrize("channels", [None, 1, 2, 13])
def test_sixteen_bits_train_and_their_moments_are_measured(channels: int | None, weights: Path, tmp_path: Path) -> None:
    train, val = deep(16, channels, 0), deep(8, channels, 1)
    data = trained((Pictures(train), Pictures(val)), weights, tmp_path).record["data"]
    values = np.stack(train).reshape(-1, channels or 1) / 65535
    assert data["channels"] == (channels or 1)
    assert data["mean"] == pytest.approx(values.mean(0), abs=6e-5)  # of four decimals
    assert data["std"] == pytest.approx(values.std(0, ddof=1), abs=6e-5)


def test_bytes_have_the_moments_of_their_scale() -> None:
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (SIZE, SIZE, 5)).astype(np.uint8) for _ in range(6)]
    inputs = read_inputs(recipe("cifar"), {"train": Pictures(list(pictures))}, ["a", "b"])
    values = np.stack(pictures).reshape(-1, 5) / 255
    assert inputs.normalise.mean == pytest.approx(values.mean(0), abs=6e-5)
    assert inputs.normalise.std == pytest.approx(values.std(0, ddof=1), abs=6e-5)


SIXTEEN = np.arange(6 * 5, dtype=np.uint16).reshape(6, 5) * 2184
DEEP: dict[str, Any] = {
    "array": SIXTEEN,
    "the other byte order": SIXTEEN.astype(">u2"),
    "tensor": torch.from_numpy(SIXTEEN),
    "tensor C H W": torch.from_numpy(SIXTEEN)[None],
    "I;16": Image.fromarray(SIXTEEN),
    "I": Image.fromarray(SIXTEEN.astype(np.int32)),
}


@pytest.mark.parametrize("kind", DEEP)
def test_sixteen_bits_are_scaled_whatever_holds_them(kind: str) -> None:
    found = as_tensor(DEEP[kind])
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(SIXTEEN.astype(np.float32) / np.float32(65535))[None])


def test_channels_last_of_sixteen_bits() -> None:
    picture = np.zeros((6, 9, 7), np.uint16)  # six rows, not channels: whole numbers are H W C
    assert as_tensor(picture).shape == (7, 6, 9)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, ">u2"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_whole_numbers_with_channels_first_are_refused(kind: Any, channels: int) -> None:
    picture = np.zeros((channels, 64, 64), kind)
    with pytest.raises(NetwrightError, match=rf"shape \({channels}, 64, 64\): 64 channels") as caught:
        as_tensor(picture)
    assert "np.moveaxis(x, 0, -1)" in caught.value.fix
    assert channels in (moved := as_tensor(np.moveaxis(picture, 0, -1))).shape
    assert moved.shape == ((64, 64, channels) if kind == np.uint8 else (channels, 64, 64))
    assert as_tensor(np.zeros((channels, 64, 3), kind)).numel() == channels * 64 * 3  # a strip of few rows


def test_more_than_sixteen_bits_are_refused() -> None:
    with pytest.raises(NetwrightError, match="from 0 to 70000, more than 16 bits") as caught:
        as_tensor(Image.fromarray(np.array([[0, 70000]], np.int32)))
    assert "scale them" in caught.value.fix


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((13, 64, 64), 13), ((64, 64, 13), 13), ((13, 48, 64), 13), ((48, 64, 13), 13), ((8, 8, 13), 13),
        ((13, 8, 8), 13), ((3, 32, 32), 3), ((32, 32, 3), 3), ((4, 4, 4), 4), ((1, 5, 9), 1), ((5, 9, 2), 2),
    ],
)  # fmt: skip
def test_arrays_of_floats_tell_their_channels_by_their_sides(shape: tuple[int, ...], channels: int) -> None:
    assert len(as_tensor(np.zeros(shape, np.float32))) == channels


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal but for rounding: some 20 layers of sums of up to 144 products, each of relative error 2^-24."""
    return float((one - other).abs().max()) <= 20 * 144 * 2**-24 * max(1.0, float(other.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3, 6, 9])
def test_pictures_that_say_the_same_get_the_same_answer(channels: int, weights: Path) -> None:
    """Grey is a picture whose colours are equal; twice the colours have the same mean as once."""
    model = create_model(NAME, in_channels=channels, weights=weights).eval()
    coloured = create_model(NAME, weights=weights).eval()
    x = torch.rand(4, 1 if channels == 1 else 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    given = x if channels == 1 else x.repeat(1, channels // 3, 1, 1)
    assert close(model(given), coloured(x.expand(-1, 3, -1, -1)))
