"""DenseNet beyond what every family promises: tables 1 and 2 of its paper, dense connections, where dropout acts."""

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, list_models, variant
from netwright.models._parity import reference_network, relative_error
from netwright.models.densenet import DenseBlock, DenseLayer, DenseNet, Transition

IMAGENET = ["densenet121", "densenet161", "densenet169", "densenet201"]
MILLIONS = {  # table 2
    "densenet40_k12": 1.0,
    "densenet100_k12": 7.0,
    "densenet100_k24": 27.2,
    "densenetbc100_k12": 0.8,
    "densenetbc250_k24": 15.3,
    "densenetbc190_k40": 25.6,
}


def on_meta(name: str) -> DenseNet:
    with torch.device("meta"):
        model = create_model(name, classes=variant(name).classes)
    assert isinstance(model, DenseNet)
    return model


def shapes(name: str) -> list[tuple[int, ...]]:
    side = variant(name).image_size
    return [tuple(map_.shape[1:]) for map_ in on_meta(name).eval().stages(torch.rand(1, 3, side, side, device="meta"))]


@pytest.mark.parametrize("name", MILLIONS)
def test_the_small_ones_have_the_papers_millions_of_parameters(name: str) -> None:
    assert round(sum(p.numel() for p in on_meta(name).parameters()) / 1e6, 1) == MILLIONS[name]


@pytest.mark.parametrize("name", list_models("densenet*"))
def test_names_count_the_layers_with_weights(name: str) -> None:
    layers = [layer for layer in on_meta(name).modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix("densenet").removeprefix("bc").split("_")[0])


def test_densenet121_has_the_shapes_of_table_one() -> None:
    wanted = [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (1024, 7, 7)]
    assert shapes("densenet121") == wanted


def test_densenet40_grows_by_twelve_maps_a_layer_and_keeps_them_all() -> None:
    width = 16 + 12 * 12
    assert shapes("densenet40_k12") == [(width, 32, 32), (width + 144, 16, 16), (width + 288, 8, 8)]


def test_a_transition_keeps_its_share_rounded_down() -> None:
    model = create_model("densenetbc100_k12(layers=(1, 1), growth=5, compression=0.3)")
    transition = model.get_submodule("features.transition1")
    assert isinstance(transition, Transition)
    assert transition.conv.weight.shape[:2] == (int(0.3 * 29), 29)
    none = create_model("densenetbc100_k12(layers=(1, 1), compression=0)").get_submodule("features.transition1")
    assert isinstance(none, Transition)
    assert none.conv.weight.shape[:2] == (1, 36)


@pytest.mark.parametrize("bottleneck", [True, False])
@torch.no_grad()
def test_each_layer_sees_the_input_and_all_the_layers_before(bottleneck: bool) -> None:
    torch.manual_seed(0)
    model = create_model(f"densenet40_k12(layers=(3,), bottleneck={bottleneck})").eval()
    block = model.get_submodule("features.denseblock1")
    assert isinstance(block, DenseBlock)
    seen = [torch.randn(2, 16, 8, 8)]
    for layer in block.values():
        y = torch.cat(seen, 1)
        for step in (1, 2)[: 1 + bottleneck]:
            y = layer.get_submodule(f"conv{step}")(layer.get_submodule(f"norm{step}")(y).relu())
        seen.append(y)
    assert [map_.shape[1] for map_ in seen] == [16, 12, 12, 12]
    assert relative_error(block(seen[0]), torch.cat(seen, 1)) <= 1e-6


@pytest.mark.parametrize("spec", ["densenet40_k12(layers=(2, 3))", "densenetbc100_k12(layers=(2, 3))"])
def test_dropout_follows_each_convolution_but_the_first(spec: str) -> None:
    model, calls = create_model(spec), []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Dropout):
            layer.register_forward_hook(lambda layer, _, __: calls.append(type(layer).__name__))
    model(torch.rand(2, 3, 8, 8))
    assert calls[0] == "Conv2d"
    assert calls[1:] == ["Conv2d", "Dropout"] * (len(calls) // 2)


def test_without_bottleneck_a_layer_has_one_convolution() -> None:
    assert sum(isinstance(layer, DenseLayer) for layer in on_meta("densenet40_k12").modules()) == 36
    assert not any(isinstance(layer, DenseLayer) for layer in on_meta("densenetbc100_k12").modules())


@pytest.mark.parametrize("layers", ["()", "(6, 0)"])
def test_densenets_that_cannot_be_built_are_refused(layers: str) -> None:
    with pytest.raises(NetwrightError, match="layers cannot be"):
        create_model(f"densenet121(layers={layers})")


def test_it_is_torchvisions_on_batch_statistics_too() -> None:
    torch.manual_seed(0)
    reference, model = reference_network("torchvision/densenet121"), create_model("densenet121", classes=1000)
    model.load_state_dict(reference.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(model(x), reference(x)) <= 1e-5
    for given, wanted in zip(model.buffers(), reference.buffers(), strict=True):
        assert relative_error(given.float(), wanted.float()) <= 1e-5


def test_weights_start_with_torchvisions_spread() -> None:
    torch.manual_seed(0)
    reference, model = reference_network("torchvision/densenet121"), create_model("densenet121", classes=1000)
    for (name, wanted), given in zip(reference.named_parameters(), model.parameters(), strict=True):
        assert given.std().item() == pytest.approx(wanted.std().item(), rel=0.1), name
        assert given.mean().item() == pytest.approx(wanted.mean().item(), abs=0.1 * wanted.std().item() + 1e-9), name
