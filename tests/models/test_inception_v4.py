"""Inception-v4: the paper's figures of its stem and modules, and how its weights start."""

import pytest
import torch
from torch import nn

from netwright.models._parity import reference_network
from netwright.models.googlenet import Branches
from netwright.models.inception_v4 import InceptionV4, neighbourhood

# Figures 3 and 9: channels and side of what each layer of the stem and each module gives.
STEM = [(32, 149), (32, 147), (64, 147), (160, 73), (192, 71), (384, 35)]
MODULES = [*[(384, 35)] * 4, *[(1024, 17)] * 8, *[(1536, 8)] * 4]


def test_it_has_the_papers_sizes_and_depths() -> None:
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        model = InceptionV4().eval()
        for layer in model.features:
            layer.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
        maps = model.stages(torch.rand(1, 3, 299, 299))
    assert shapes == [(channels, side, side) for channels, side in [*STEM, *MODULES]]
    assert [tuple(map_.shape[1:3]) for map_ in maps] == [(64, 147), (192, 71), (384, 35), (1024, 17), (1536, 8)]


def test_smaller_images_than_it_asks_for_would_leave_nothing() -> None:
    with torch.device("meta"):
        model = InceptionV4()
        assert model.maps(torch.rand(2, 3, 75, 75))[-1].shape[-2:] == (1, 1)
        with pytest.raises(RuntimeError):
            model.maps(torch.rand(2, 3, 74, 74))


def test_reduction_a_has_the_widths_of_table_1() -> None:
    with torch.device("meta"):
        reduction = InceptionV4().features[10]
    assert isinstance(reduction, Branches)
    widths = [layer.out_channels for layer in reduction.modules() if isinstance(layer, nn.Conv2d)]
    assert widths == [384, 192, 224, 256]  # n, then k, l, m


def test_a_neighbourhood_leaves_out_what_is_beyond_the_edge() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert torch.equal(neighbourhood()(x), torch.full_like(x, 3.0))


def test_its_norms_have_timms_constants() -> None:
    def constants(network: nn.Module) -> dict[str, tuple[float, float | None]]:
        layers = network.named_modules()
        return {name: (layer.eps, layer.momentum) for name, layer in layers if isinstance(layer, nn.BatchNorm2d)}

    with torch.device("meta"):
        assert constants(InceptionV4()) == constants(reference_network("timm/inception_v4"))


def test_its_convolutions_start_as_he_et_al_have_it_so_that_signals_keep_their_scale() -> None:
    torch.manual_seed(0)
    model = InceptionV4(classes=7, norm="none")
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(2, rel=0.15), name
            assert layer.bias is not None and not layer.bias.any()
    last = model.stages(torch.randn(2, 3, 107, 107))[-1]
    assert 0.03 < last.std().item() < 30
