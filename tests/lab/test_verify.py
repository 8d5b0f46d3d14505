"""`verify`: equal paths hold, broken ones are caught, and runs with any tricks can be checked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright import NetwrightError, fit, recipe, verify
from netwright.cli.main import code_of
from netwright.lab import verify as lab
from netwright.models.resnet_cifar import ResNetCifar
from netwright.tricks import accumulate

SMALL = "resnet20(width=4)"


def checked(target: str | Path, samples: int = 8) -> lab.Verification:
    return verify(str(target), samples=samples, device="cpu")


@pytest.mark.parametrize("model", ["lenet5", SMALL])
def test_equal_paths_hold(model: str) -> None:
    found = checked(model)
    assert found.holds
    assert (found.samples, found.accuracy) == (8, None)
    assert [path.name.split(",")[0] for path in found.paths] == ["fp32", "fp32", "bf16", "bf16"]
    assert all(path.holds and path.accuracy_delta is None for path in found.paths)
    assert all(path.relative > 1e-4 for path in found.paths[2:]), "bf16 rounds: it cannot be float32"
    assert found.accumulation.relative < 1e-5


def test_batch_statistics_are_told_from_what_accumulates_exactly() -> None:
    batch, group = checked(SMALL).accumulation, checked("resnet20(width=4, norm='group')").accumulation
    assert batch.statistics == 19
    assert batch.holds and not batch.everywhere
    assert batch.in_training > 1e-2
    assert group.statistics == 0
    assert group.everywhere


def test_layers_that_draw_are_told_from_those_that_might() -> None:
    assert checked("lenet5").accumulation.everywhere
    drawing = checked("mlp(dropout=0.5)").accumulation
    assert drawing.holds and not drawing.everywhere
    assert drawing.statistics == 0


def forward_with(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    forward = ResNetCifar.forward
    monkeypatch.setattr(ResNetCifar, "forward", lambda self, x: change(forward(self, x), x))


def channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


BROKEN = {
    "fp32, NCHW, one at a time": lambda out, x: out + 0.01 * (len(x) == 1),
    "fp32, channels_last": lambda out, x: out.flip(1) if channels_last(x) and out.dtype == torch.float32 else out,
    "bf16, NCHW": lambda out, x: out.sign() if out.dtype == torch.bfloat16 and not channels_last(x) else out,
    "bf16, channels_last": lambda out, x: out * (float("nan") if out.dtype != x.dtype and channels_last(x) else 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_path_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward_with(monkeypatch, BROKEN[name])
    assert code_of(["verify", SMALL, "--samples", "8", "--device", "cpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1].strip() for line in lines if line.endswith("DIFFERS")] == [name]


def test_parts_that_are_weighted_wrongly_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    weighted = accumulate._weighted
    monkeypatch.setattr(
        accumulate, "_weighted", lambda gradient, part, run, share: weighted(gradient, part, run, share * 8 / 9)
    )
    found = checked("lenet5")
    assert not found.holds
    assert all(path.holds for path in found.paths)
    assert found.accumulation.relative == pytest.approx(1 / 9, rel=1e-4)  # eight pictures, each taken for a ninth


def test_json_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["verify", "lenet5", "--samples", "4", "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is True
    assert len(told["paths"]) == 4
    assert told["accumulation"]["parts"] == 4


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["verify", SMALL, "--samples", "4", "--device", "cpu"]) == 0
    assert "19 layers compute batch statistics" in capsys.readouterr().out
    assert code_of(["verify", "lenet5", "--samples", "4", "--device", "cpu"]) == 0
    assert "in training mode too" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "words"), [("lenet55", "did you mean 'lenet5'"), ("nowhere/at/all", "unknown model")]
)
def test_what_cannot_be_verified(target: str, words: str) -> None:
    with pytest.raises(NetwrightError, match=words):
        checked(target)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Bright or dark squares in noise, as an .npz with its splits."""
    draw, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 48), ("val", 12), ("test", 20)):
        labels = np.arange(n) % 2
        images = draw.integers(0, 120, (n, 12, 12, 3)).astype(np.uint8)
        images[labels == 1, 3:9, 3:9] += 100
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    np.savez(tmp_path / "squares.npz", **arrays)
    return tmp_path / "squares.npz"


def trained(data: Path, *tricks: str, **values: Any) -> Any:
    plain = {"data": str(data), "model": SMALL, "epochs": 1, "batch_size": 12, "device": "cpu", "threads": 1}
    return fit(recipe("cifar", **plain).without("flip").with_(*tricks).changed(**values), output=data.parent / "runs")


def test_a_run_is_judged_by_its_accuracy(data: Path) -> None:
    threads = torch.get_num_threads()
    done = trained(data)
    found = checked(done.path, samples=100)
    assert found.holds
    assert found.samples == 20
    assert found.accuracy == done.accuracy
    assert all(path.accuracy_delta == 0 for path in found.paths[:2])
    assert all(abs(path.accuracy_delta or 0) <= 1 - path.same for path in found.paths)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "tricks",
    [("test_time_augmentation(shift=1)",), ("norm(kind='group')", "ema"), ("accumulate(parts=3)", "mixup")],
    ids=str,
)
def test_a_run_with_tricks(tricks: tuple[str, ...], data: Path) -> None:
    done = trained(data, *tricks)
    found = checked(done.path, samples=100)
    assert found.holds
    assert found.accuracy == done.accuracy
    assert found.accumulation.statistics == (0 if "norm" in tricks[0] else 19)


def test_a_run_that_began_with_foreign_weights_sees_pictures_as_it_did(data: Path) -> None:
    first = trained(data)
    weights = data.parent / "foreign.safetensors"
    weights.write_bytes((first.path / "bundle/model.safetensors").read_bytes())
    done = trained(data, weights=str(weights))
    assert done.record["data"]["mean"] != first.record["data"]["mean"]
    seen = list[Any]()
    evaluate = lab.evaluate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            lab, "evaluate", lambda *args, **options: (seen.append(args[3].mean), evaluate(*args, **options))[1]
        )
        found = checked(done.path, samples=100)
    assert found.accuracy == done.accuracy
    assert list(seen[0]) == done.record["data"]["mean"]


def test_fresh_networks_are_not_silent() -> None:
    parts = lab._of_model(SMALL, 16, "cpu")
    network = lab._in_use(parts.run)
    assert isinstance(network, nn.Module)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(layer.momentum == 0.1 for layer in norms)
    assert not torch.equal(norms[0].running_var, torch.ones(norms[0].num_features))
