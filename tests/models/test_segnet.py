"""SegNet: unpooling against torch's, the mirrored decoder, and the published number of parameters."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant

SMALL = "segnet(layers=(1, 2, 2), width=4)"


def test_the_number_of_its_parameters() -> None:
    """29.45 M in the paper: VGG16's thirteen convolutions and their mirror, batch norms after all but the last."""
    encoder = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 2, (256, 512), *[(512, 512)] * 5]
    decoder = [(after, before) for before, after in reversed(encoder)]
    classes = 11
    decoder[-1] = (64, classes)
    weights = sum(9 * before * after + after for before, after in encoder + decoder)
    norms = sum(2 * after for _, after in encoder + decoder[:-1])
    row = variant("segnet")
    with torch.device("meta"):
        model = create_model("segnet", classes=row.classes)
    assert sum(p.numel() for p in model.parameters()) == row.params == weights + norms
    assert round(row.params / 1e6, 2) == 29.45
    shapes = [(layer.in_channels, layer.out_channels) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert shapes == encoder + decoder


def test_scores_pass_through_the_places_of_each_pooling() -> None:
    """The network written out."""
    torch.manual_seed(0)
    model = create_model(SMALL, classes=3).eval()
    x = torch.rand(2, 3, 16, 24)
    layers = dict(model.get_submodule("encoder.features").named_children())
    with torch.no_grad():
        y, places = x, []
        for layer in layers.values():
            if isinstance(layer, nn.MaxPool2d):
                y, place = F.max_pool2d(y, 2, 2, return_indices=True)
                places.append(place)
            else:
                y = layer(y)
        for block in model.get_submodule("decoder").children():
            y = block(F.max_unpool2d(y, places.pop(), 2))
        torch.testing.assert_close(model(x), model.get_head()(y))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 30)])
def test_any_size(size: tuple[int, int]) -> None:
    model = create_model(SMALL, classes=3)
    assert model.eval()(torch.rand(2, 3, *size)).shape == (2, 3, *size)
    assert [map_.shape[1] for map_ in model.maps(torch.rand(1, 3, *size))] == [4, 8, 16, 16]


def test_every_parameter_learns() -> None:
    model = create_model(SMALL, classes=3).train()
    model(torch.rand(2, 3, 24, 24)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_without_classes_it_gives_what_its_head_would_see() -> None:
    assert create_model(SMALL, classes=0).eval()(torch.rand(1, 3, 9, 5)).shape == (1, 4, 9, 5)


def test_its_encoder_has_the_tensors_of_vgg16_bn() -> None:
    with torch.device("meta"):
        model, vgg = create_model("segnet"), create_model("vgg16_bn")
    body = {name: tensor.shape for name, tensor in vgg.state_dict().items() if name.startswith("features")}
    assert {name: tensor.shape for name, tensor in model.get_submodule("encoder").state_dict().items()} == body


@pytest.mark.parametrize(("layers", "said"), [("()", "layers cannot be"), ("(2, 0)", "cannot be"), ("(1,) * 9", "")])
def test_depths_that_cannot_be_are_refused(layers: str, said: str) -> None:
    layers = "(1, 1, 1, 1, 1, 1, 1, 1, 1)" if "*" in layers else layers
    with pytest.raises(NetwrightError, match=said or "9 blocks, whose last map is at 1/512"):
        create_model(f"segnet(layers={layers})")
