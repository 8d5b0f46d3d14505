"""`netwright show --checkerboard`: scores before training, of trained networks, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from netwright.bundle.save import FORMAT
from netwright.cli.main import code_of
from netwright.models import create_model

BODY = "encoder='vgg(blocks=2, layers=1, width=4)', width=4"
MASKS = {"background": True, "several": False, "colours": [[0, 0, 0], [255, 0, 0]], "crop": 64}


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert code_of(["show", "--checkerboard", *arguments]) == 0
    return capsys.readouterr().out


def rows(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, dict[str, Any]]:
    return {row["kind"]: row for row in json.loads(shown(capsys, name, "--json"))["rows"]}


def bundle(folder: Path, spec: str, change: float = 0.0) -> Path:
    """What training hands on, with filters moved apart by `change`."""
    torch.manual_seed(0)
    model = create_model(spec, classes=2)
    for layer in model.modules():
        if isinstance(layer, nn.ConvTranspose2d | nn.Conv2d):
            layer.weight.data += change * torch.randn_like(layer.weight)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    card: dict[str, Any] = {
        "format": FORMAT,
        "task": "segmentation",
        "classes": ["background", "cell"],
        "temperature": 1.0,
        "model": {"spec": spec, "structure": [], "in_channels": 3, "macs": 1000},
        "recipe": {"precision": "fp32"},
        "preprocess": None,
        "masks": MASKS,
    }
    (folder / "bundle.json").write_text(json.dumps(card))
    return folder


def test_every_kind_is_scored_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, f"unet({BODY})")
    random = "transposed, start='random'"
    assert list(found) == ["nearest", "bilinear", "transposed", "pixel_shuffle", random]
    assert found[random]["score"] > 0.1
    assert all(row["score"] < 5e-3 for kind, row in found.items() if kind != random)
    assert all(0 <= row["low"] <= row["score"] <= row["high"] for row in found.values())


def test_the_table_names_kind_score_and_interval(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, f"unet({BODY}, upsample='transposed')").splitlines()
    assert lines[0].endswith("before training, mean over 3 seeds")
    assert lines[1].split() == ["score", "95", "%", "interval"]
    assert lines[2].split()[0] == "transposed"
    assert len([line for line in lines if line.startswith(("nearest", "bilinear"))]) == 0
    assert "0 is even" in lines[-1]


def test_a_network_without_the_choice_has_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(rows(capsys, "unet_2015(width=1, padding='same')")) == ["unet_2015"]


def test_a_bundle_is_scored_as_it_was_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = bundle(tmp_path, f"unet({BODY}, upsample='pixel_shuffle')", change=0.3)
    found = rows(capsys, str(source))
    assert list(found) == ["pixel_shuffle"]
    assert found["pixel_shuffle"]["score"] > 0.05, "filters that differ are no nearest neighbours any more"
    assert found["pixel_shuffle"]["low"] is None
    assert "after training" in shown(capsys, str(source))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("resnet20",), "resnet20 gives no scores for pixels"),
        (("unett",), "unknown model 'unett'"),
        (("unet(upsample='nearst')",), "did you mean 'nearest'?"),
        (("unet", "--plot"), "--plot means nothing to --checkerboard"),
        (("unet", "--classes", "3"), "--classes means nothing to --checkerboard"),
        (("timm/resnet10t",), "timm/resnet10t gives no scores for pixels"),
    ],
)
def test_what_cannot_be_scored_is_told(
    arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["show", "--checkerboard", *arguments]) == 2
    errors = capsys.readouterr().err
    assert problem in errors
    assert "fix: " in errors
