"""Depths of layers, against what gradients say of each map, and against what one knows of well-known networks."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.spec import Spec
from netwright.models import create_model, variant
from netwright.models._family import Family
from netwright.nn.depth import Depths, Segmenting, depths
from netwright.nn.headed import Headed
from tests.models.test_conformance import EACH_FAMILY, SMALLEST, meta_model
from tests.support import TinyNetwork

WITHOUT_MAPS_IN_SPACE = ("mlp",)


@cache
def looked_at(name: str) -> tuple[Family, Depths]:
    """A family's network without values, and its depths."""
    model = meta_model(name, classes=7, in_channels=variant(Spec.parse(name).name).in_channels).eval()
    return model, depths(model)


def under(of: dict[str, int], top: str) -> set[int]:
    """The depths of all tensors below a module."""
    found = {depth for name, depth in of.items() if name.startswith(f"{top}.")}
    assert found, top
    return found


class TestFamilies:
    @EACH_FAMILY
    def test_a_layer_lies_in_the_first_stage_whose_map_has_a_gradient_for_it(self, name: str) -> None:
        model, found = looked_at(name)
        if name in WITHOUT_MAPS_IN_SPACE:
            assert found.stages == 2
            return
        own = dict(model.named_parameters())
        side = max(model.smallest, 32)
        maps = model.stages(torch.rand(1, variant(Spec.parse(name).name).in_channels, side, side, device="meta"))
        heads = (model.head_name, *model.auxiliary_names)
        last = len(maps) + isinstance(model, Segmenting)  # the heads', after the maps' and a decoder's
        wanted = dict.fromkeys(own, last)
        for place, map_ in reversed([*enumerate(maps)]):
            gradients = torch.autograd.grad(map_.sum(), list(own.values()), allow_unused=True, retain_graph=True)
            wanted |= {name: place for name, gradient in zip(own, gradients, strict=True) if gradient is not None}
        between = {name for name in own if wanted[name] == last and not name.startswith(heads)}
        wanted |= dict.fromkeys(between, last - 1)
        with_parameters = sorted({*wanted.values()} - {last})  # of a stage without, nothing is known
        ranks = {depth: place for place, depth in enumerate([*with_parameters, last])}
        assert {name: found.of[name] for name in own} == {name: ranks[depth] for name, depth in wanted.items()}
        assert found.stages == len(with_parameters)
        assert found.encoder == len([depth for depth in with_parameters if depth < len(maps)])

    @EACH_FAMILY
    def test_depths_never_decrease_as_the_pass_goes_on(self, name: str) -> None:
        model, found = looked_at(name)
        order: list[str] = []
        hooks: list[Any] = []
        for layer, module in model.named_modules():
            if not list(module.children()) and list(module.parameters()):
                hooks.append(module.register_forward_pre_hook(lambda *_, layer=layer: order.append(layer)))
        side = max(model.smallest, 32)
        model(torch.rand(1, variant(Spec.parse(name).name).in_channels, side, side, device="meta"))
        for hook in hooks:
            hook.remove()
        walked = [max(under(found.of, layer)) for layer in dict.fromkeys(order)]
        assert walked == sorted(walked)
        assert {*found.of.values()} == {*range(found.stages + 1)}
        assert walked[-1] == found.stages

    @EACH_FAMILY
    def test_heads_and_nothing_else_are_deepest(self, name: str) -> None:
        model, found = looked_at(name)
        heads = tuple(f"{each}." for each in (model.head_name, *model.auxiliary_names))
        assert {tensor for tensor, depth in found.of.items() if depth == found.stages} == {
            tensor for tensor in model.state_dict() if tensor.startswith(heads)
        }
        assert {*found.of} == {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
        assert {*found.layers} == {layer for layer, _ in model.named_modules()}
        assert found.layers[""] == found.stages

    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            ("resnet18", {"conv1": 0, "bn1": 0, "layer1": 1, "layer2": 2, "layer3": 3, "layer4": 4, "fc": 5}),
            ("resnet50(stem='cifar')", {"conv1": 0, "layer1": 0, "layer2": 1, "layer3": 2, "layer4": 3, "fc": 4}),
            ("squeezenet1_0", {
                "features.0": 0, "features.3": 1, "features.5": 1, "features.7": 2, "features.10": 2, "features.12": 3,
                "classifier.1": 4,
            }),
            ("vgg16", {
                "features.0": 0, "features.2": 0, "features.5": 1, "features.7": 1, "features.10": 2, "features.14": 2,
                "features.17": 3, "features.24": 4, "features.28": 4, "classifier.0": 5, "classifier.3": 5,
                "classifier.6": 6,
            }),
            ("vgg", {"features.0": 0, "features.8": 1, "features.18": 2, "classifier.1": 3}),
            ("convnext_tiny", {
                "features.0": 0, "features.1": 0, "features.2": 1, "features.5": 2, "features.7": 3, "classifier.0": 3,
                "classifier.2": 4,
            }),
            ("mobilenet_v3_large", {
                "features.0": 0, "features.1": 0, "features.2": 1, "features.16": 4, "classifier.0": 4,
                "classifier.3": 5,
            }),
            ("densenet121", {
                "features.conv0": 0, "features.norm0": 0, "features.denseblock1": 1, "features.transition1": 2,
                "features.denseblock2": 2, "features.transition3": 4, "features.norm5": 4, "classifier": 5,
            }),
            ("googlenet", {"conv1": 0, "conv2": 1, "inception3b": 2, "inception4e": 3, "aux1": 5, "aux2": 5, "fc": 5}),
        ],
    )  # fmt: skip
    def test_known_networks(self, name: str, wanted: dict[str, int]) -> None:
        found = depths(meta_model(name))
        assert {top: under(found.of, top) for top in wanted} == {top: {depth} for top, depth in wanted.items()}
        assert found.stages == max(wanted.values())

    def test_real_tensors_tell_the_same_as_those_without_values(self) -> None:
        for name in ("resnet18", SMALLEST["densenet"], SMALLEST["squeezenet"]):
            assert depths(create_model(name)) == depths(meta_model(name))

    def test_a_module_is_as_deep_as_the_deepest_in_it(self) -> None:
        found = depths(meta_model("convnext_tiny")).layers
        assert [found[name] for name in ("features", "features.3", "classifier", "classifier.1.1")] == [3, 1, 4, 3]

    def test_looking_leaves_the_network_as_it_was(self) -> None:
        model = create_model("resnet20", classes=7)
        before = copy.deepcopy(model.state_dict())
        torch.manual_seed(3)
        depths(model.train())
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(3)))
        assert all(layer.training for layer in model.modules())
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


class TestTimm:
    def test_a_convolutional_network(self) -> None:
        found = depths(create_model("timm/resnet10t", classes=3))
        wanted = {"conv1": 0, "bn1": 0, "layer1": 1, "layer2": 2, "layer3": 3, "layer4": 4, "fc": 5}
        assert {top: under(found.of, f"model.{top}") for top in wanted} == {top: {each} for top, each in wanted.items()}

    def test_maps_that_are_copies_in_another_order(self) -> None:
        small = "depths=(1, 1, 1, 1), embed_dim=8, num_heads=(1, 1, 1, 1)"
        found = depths(create_model(f"timm/swin_tiny_patch4_window7_224({small})", classes=3))
        wanted = {"patch_embed": 0, "layers.0": 0, "layers.1": 1, "layers.2": 2, "layers.3": 3, "norm": 3, "head": 4}
        assert {top: under(found.of, f"model.{top}") for top in wanted} == {top: {each} for top, each in wanted.items()}

    def test_a_plain_transformer_of_another_size_has_one_map(self) -> None:
        small = "depth=2, embed_dim=12, num_heads=2, img_size=48"
        found = depths(create_model(f"timm/vit_tiny_patch16_224({small})", classes=3))
        assert {found.of[f"model.{name}"] for name in ("cls_token", "pos_embed", "norm.weight")} == {0}
        assert under(found.of, "model.head") == {1}
        assert found.layers["model.blocks"] == 0
        assert found.layers["model"] == 1


class Odd(Family):
    """Maps that are sums, blocks that write over what they are given, layers that are read and not called."""

    head_name = "head"
    smallest = 8

    def __init__(self) -> None:
        super().__init__()
        self.first, self.beside = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.flat = nn.Sequential(nn.Conv2d(4, 4, 2, 2), Adding(4), Adding(4), nn.Identity(), nn.Conv2d(4, 4, 2, 2))
        self.reads = Reading()
        self.never = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(()))

    def maps(self, x: Tensor) -> list[Tensor]:
        full = F.relu(self.first(x) + self.beside(x))
        half = full
        for layer in self.flat[:3]:
            half = layer(half)
        return [full, half, self.flat[4](self.flat[3](half))]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.reads(self.stages(x)[-1].mean((2, 3)))) * self.scale


class Dropping(Family):
    """A stage that ends with dropout, which gives back what it is given when it is off, and dropout after a map."""

    head_name = "head"
    smallest = 4

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Dropout(0.5))
        self.second = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 4, 2, 2))
        self.after = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def maps(self, x: Tensor) -> list[Tensor]:
        first = self.first(x)
        return [first, self.second(first)]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.after(self.stages(x)[-1]).mean((2, 3)))


class Adding(nn.Module):
    """x + f(x) in the memory of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x += self.branch(x)
        return x


class Reading(nn.Module):
    """A layer that uses the weights of another without calling it, as torch's attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.read.weight, self.read.bias)


class TestOddNetworks:
    def test_sums_overwriting_and_reading(self) -> None:
        found = depths(Odd())
        wanted = {"first": 0, "beside": 0, "flat.0": 1, "flat.1": 1, "flat.2": 1, "flat.4": 2, "reads": 2}
        wanted |= {"never": 3, "head": 3}
        assert {top: under(found.of, top) for top in wanted} == {top: {depth} for top, depth in wanted.items()}
        assert found.of["scale"] == 0
        assert found.stages == 3

    def test_what_drops_parts_of_a_map_still_makes_it(self) -> None:
        found = depths(Dropping()).layers
        assert [found[name] for name in ("first.1", "first", "second.0", "second", "after")] == [0, 0, 1, 1, 1]

    def test_of_a_plain_network_parts_with_kernels_are_stages(self) -> None:
        found = depths(TinyNetwork())
        assert found.stages == 2
        wanted = {"body.0": 0, "body.1": 0, "body.3": 1, "head.1": 2, "side": 2}
        assert {top: under(found.of, top) for top in wanted} == {top: {depth} for top, depth in wanted.items()}
        assert [found.layers[name] for name in ("body.2", "body.4", "body", "drop_path", "head.0", "head")] == [
            0, 1, 1, 1, 2, 2,
        ]  # fmt: skip

    def test_an_only_child_is_looked_into(self) -> None:
        parts = [nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 6)), nn.Linear(6, 3)]
        found = depths(nn.Sequential(nn.Sequential(*parts)))
        assert found.stages == 2
        assert [under(found.of, f"0.{place}") for place in range(4)] == [{0}, {0}, {1}, {2}]

    def test_a_head_alone_has_no_stages(self) -> None:
        found = depths(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
        assert found.stages == 0
        assert {*found.of.values()} == {0}


def headed(name: str, features: int, **options: Any) -> Headed:
    head = nn.Sequential(nn.BatchNorm1d(features, affine=False), nn.Linear(features, 3))
    return Headed(create_model(name, classes=0), head, **options)


class TestUnderAHead:
    def test_all_of_the_backbone_counts_to_its_stages(self) -> None:
        found = depths(headed("resnet20", 64))
        wanted = {"conv1": 0, "layer1": 0, "layer2": 1, "layer3": 2}
        assert {top: under(found.of, f"backbone.{top}") for top in wanted} == {t: {each} for t, each in wanted.items()}
        assert under(found.of, "head") == {3}  # the statistics of its norm too
        assert (found.stages, found.layers["backbone"], found.layers["head.0"], found.layers[""]) == (3, 2, 3, 3)

    @pytest.mark.parametrize("stage", [1, -2])
    def test_what_lies_beyond_the_map_that_is_pooled_counts_to_its_stage(self, stage: int) -> None:
        found = depths(headed("resnet20", 32, stage=stage))
        wanted = {"layer1": 0, "layer2": 1, "layer3": 1}
        assert {top: under(found.of, f"backbone.{top}") for top in wanted} == {t: {each} for t, each in wanted.items()}
        assert (found.stages, under(found.of, "head")) == (2, {2})

    def test_a_backbones_own_heads_are_none_here(self) -> None:
        found = depths(Headed(create_model("googlenet", classes=9), nn.Linear(9, 3)))
        assert under(found.of, "backbone.fc") == under(found.of, "backbone.aux1") == {4}
        assert under(found.of, "head") == {5}

    def test_a_backbone_that_shows_no_maps(self) -> None:
        body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1))
        found = depths(Headed(body, nn.Linear(5, 5)))
        assert [under(found.of, top) for top in ("backbone.0", "backbone.2", "head")] == [{0}, {1}, {2}]
