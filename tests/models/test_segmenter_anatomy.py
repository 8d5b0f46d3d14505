"""Networks for each pixel as `list` and `show` lay them out."""

import json

import pytest
import torch

from netwright.cli.catalogue import Kind, catalogue
from netwright.cli.main import code_of
from netwright.models import create_model, list_models, summaries, variant
from netwright.models._anatomy import anatomy

NAMES = list_models(task="segmentation")


@pytest.mark.parametrize("name", NAMES)
def test_parts_add_up_and_show_every_map_and_the_decoder(name: str) -> None:
    row = variant(name)
    parts = anatomy(name)
    *stages, decoder = [part for part in parts if part.shape]
    assert sum(part.params for part in parts) == row.params
    with torch.device("meta"):
        model = create_model(name, in_channels=row.in_channels).eval()
        maps = model.maps(torch.empty(1, row.in_channels, row.image_size, row.image_size))
    assert [part.shape for part in stages] == [tuple(map_.shape[1:]) for map_ in maps]
    assert decoder.name == "decoder"
    assert decoder.shape == (row.classes, row.image_size, row.image_size)
    assert decoder.receptive_field and decoder.receptive_field > max(part.receptive_field or 0 for part in stages)


def test_stages_are_named_for_their_strides_whatever_was_padded() -> None:
    named = {name: [part.name for part in anatomy(name)] for name in ("segnet", "unet_2015", "fcn_resnet50")}
    assert named["segnet"] == ["1/1", "1/2", "1/4", "1/8", "1/16", "1/32", "decoder"]
    assert named["unet_2015"] == ["1/1", "1/2", "1/4", "1/8", "1/16", "decoder"]
    assert named["fcn_resnet50"] == ["1/2", "1/4", "1/8", "1/8", "1/8", "decoder", "auxiliary heads"]


def test_the_list_has_classifiers_first_and_marks_the_others() -> None:
    found = catalogue(Kind.models)
    assert set(found) == set(summaries())
    marked = [summaries()[name].task for name in found]
    assert marked == sorted(marked), "classification, reconstruction, segmentation"
    assert sum("segmentation: " in line for line in found.values()) == len(NAMES)
    assert found["segnet"].startswith("  29.45 M  segmentation: SegNet")
    assert found["resnet18"].startswith("  11.69 M  Residual networks")


def test_show_says_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["show", "fcn_resnet50"]) == 0
    said = capsys.readouterr().out
    assert "35,322,218 parameters as published for 21 classes" in said
    assert "takes the weights of torchvision/fcn_resnet50" in said and "for segmentation" in said
    assert code_of(["show", "resnet18"]) == 0
    assert "segmentation" not in capsys.readouterr().out
    assert code_of(["show", "fcn(encoder='resnet18')", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in told["stages"]] == ["1/2", "1/4", "1/8", "1/16", "1/32", "decoder"]
