"""Inception-ResNet-v2: the published code's shapes, and what its modules add to their input."""

import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._parity import reference_network
from netwright.models.inception_resnet_v2 import InceptionResNetV2, ResidualModule

TABLE = {
    "conv2d_1a": (32, 149),
    "conv2d_2a": (32, 147),
    "conv2d_2b": (64, 147),
    "conv2d_3b": (80, 73),
    "conv2d_4a": (192, 71),
    "mixed_5b": (320, 35),
    "repeat": (320, 35),
    "mixed_6a": (1088, 17),
    "repeat_1": (1088, 17),
    "mixed_7a": (2080, 8),
    "repeat_2": (2080, 8),
    "block8": (2080, 8),
    "conv2d_7b": (1536, 8),
}


def residual_modules(model: InceptionResNetV2) -> list[ResidualModule]:
    return [layer for layer in model.modules() if isinstance(layer, ResidualModule)]


def test_it_has_the_published_sizes_and_depths() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        model = InceptionResNetV2().eval()
        for name in TABLE:
            layer = model.get_submodule(name)
            layer.register_forward_hook(lambda _, __, y, name=name: shapes.__setitem__(name, tuple(y.shape[1:])))
        model(torch.rand(1, 3, 299, 299))
    assert shapes == {name: (channels, side, side) for name, (channels, side) in TABLE.items()}


def test_smaller_images_than_it_asks_for_would_leave_nothing() -> None:
    with torch.device("meta"):
        model = InceptionResNetV2()
        assert model.maps(torch.rand(2, 3, 75, 75))[-1].shape[-2:] == (1, 1)
        with pytest.raises(RuntimeError):
            model.maps(torch.rand(2, 3, 74, 74))


def test_reduction_a_has_the_widths_of_table_1() -> None:
    with torch.device("meta"):
        reduction = InceptionResNetV2().mixed_6a
    widths = [layer.out_channels for layer in reduction.modules() if isinstance(layer, nn.Conv2d)]
    assert widths == [384, 256, 256, 384]  # n, then k, l, m


@pytest.mark.parametrize(("scale", "activation"), [(0.25, "relu"), (1.0, None), (None, "relu")])
def test_a_module_adds_a_part_of_what_its_branches_make(scale: float | None, activation: str | None) -> None:
    torch.manual_seed(0)
    branches: list[nn.Module] = [nn.Conv2d(6, 2, 1), nn.Conv2d(6, 3, 3, padding=1)]
    module = ResidualModule(6, branches, 5, scale=scale, activation=activation)
    x = torch.randn(2, 6, 4, 4)
    seen = torch.cat([branch(x) for branch in branches], 1)  # N 5 H W
    made = torch.einsum("kc,nchw->nkhw", module.conv2d.weight[:, :, 0, 0], seen) + module.conv2d.bias[:, None, None]
    wanted: Tensor = made if scale is None else x + scale * made
    assert torch.allclose(module(x), wanted.clamp_min(0) if activation else wanted, atol=1e-5)


def test_each_resolution_has_its_scale_and_the_last_module_neither_scale_nor_activation() -> None:
    with torch.device("meta"):
        modules = residual_modules(InceptionResNetV2(scales=(0.3, 0.2, 0.1)))
        usual = residual_modules(InceptionResNetV2())
        plain = residual_modules(InceptionResNetV2(skip=False))
    assert [module.scale for module in modules] == [0.3] * 10 + [0.2] * 20 + [0.1] * 9 + [1.0]
    assert [module.scale for module in usual] == [0.17] * 10 + [0.1] * 20 + [0.2] * 9 + [1.0]
    assert [module.scale for module in plain] == [None] * 40
    activations = [type(module.activation) for module in modules]
    assert activations == [nn.ReLU] * 39 + [nn.Identity]


@pytest.mark.parametrize("scales", ["(0, 0.1, 0.2)", "(0.17, 0.1, 1.5)", "(0.17, 0.1)", "0.1"])
def test_scales_that_make_no_sense_are_refused(scales: str) -> None:
    with pytest.raises(NetwrightError, match="scales"), torch.device("meta"):
        create_model(f"inception_resnet_v2(scales={scales})")


def test_its_norms_have_timms_constants() -> None:
    def constants(network: nn.Module) -> dict[str, tuple[float, float | None]]:
        layers = network.named_modules()
        return {name: (layer.eps, layer.momentum) for name, layer in layers if isinstance(layer, nn.BatchNorm2d)}

    with torch.device("meta"):
        assert constants(InceptionResNetV2()) == constants(reference_network("timm/inception_resnet_v2"))


def test_its_convolutions_start_as_he_et_al_have_it_so_that_signals_keep_their_scale() -> None:
    torch.manual_seed(0)
    model = InceptionResNetV2(classes=7, norm="none")
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(2, rel=0.15), name
            assert layer.bias is not None and not layer.bias.any()
    last = model.stages(torch.randn(2, 3, 107, 107))[-1]
    assert 0.03 < last.std().item() < 100
