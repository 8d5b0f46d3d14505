"""The table of stages: its sums are the whole, its shapes the maps', its figures those the field knows."""

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.models import create_model, list_models, summaries, variant
from netwright.models._anatomy import anatomy

KINDS = {  # the smallest variant of each family with each set of options
    (summaries()[name].family, frozenset(variant(name).options)): name
    for name in sorted(list_models(), key=lambda name: -variant(name).params)
}


@pytest.mark.parametrize("name", KINDS.values())
def test_parts_add_up_and_show_every_map(name: str) -> None:
    row = variant(name)
    parts = anatomy(name)
    assert sum(part.params for part in parts) == row.params
    with torch.device("meta"):
        model = create_model(name, in_channels=row.in_channels).eval()
        maps = model.stages(torch.empty(1, row.in_channels, row.image_size, row.image_size))
    assert [part.shape for part in parts[: len(maps)]] == [tuple(map_.shape[1:]) for map_ in maps]
    assert parts[len(maps)].name == "head"
    assert parts[len(maps)].shape == (row.classes,)
    assert sum(part.macs for part in parts) > 0
    seen = [part.receptive_field or float("inf") for part in parts[: len(maps)]]
    assert seen == sorted(seen)


def test_resnet50_is_the_one_everybody_knows() -> None:
    parts = anatomy("resnet50")
    assert [part.name for part in parts] == ["1/2", "1/4", "1/8", "1/16", "1/32", "head"]
    assert sum(part.macs for part in parts) == pytest.approx(4.09e9, rel=1e-3)  # torchvision's documentation
    # Stem 7, pooling +4, then a 3x3 a block at the jump before its stride: 3·8, 8 + 3·16, 16 + 5·32, 32 + 2·64.
    assert [part.receptive_field for part in parts[:5]] == [7, 35, 91, 267, 427]


def test_options_size_and_classes_are_heeded() -> None:
    parts = anatomy("resnet20(norm='none')", classes=0, image_size=64)
    assert parts[0].shape == (16, 64, 64)
    assert parts[-1].shape == (64,)
    assert parts[-1].params == 0


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(NetwrightError, match="at least 32x32"):
        anatomy("resnet50", image_size=31)


def test_channels_in_the_spec_are_heeded() -> None:
    assert anatomy("lenet5(in_channels=3)")[0].params == anatomy("lenet5")[0].params + 2 * 150
