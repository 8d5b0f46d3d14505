"""A head of our own on a backbone: what it sees, from which stage, and how maps become vectors."""

from typing import Any

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.nn.depth import depths
from netwright.nn.headed import Headed, pooled, stage_of
from netwright.tricks import TRICKS
from netwright.tricks.head import Head, last_layer

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_pooling_is_the_mean_the_maximum_or_both() -> None:
    map_ = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, -4.0]]]])
    assert pooled(map_, "avg").tolist() == [[3.0, -1.0]]
    assert pooled(map_, "max").tolist() == [[6.0, 0.0]]
    assert pooled(map_, "avg_max").tolist() == [[3.0, -1.0, 6.0, 0.0]]


@pytest.mark.parametrize("name", ["resnet20", "squeezenet1_1", "mobilenet_v2", "googlenet", "convnext_tiny", "lenet5"])
def test_without_a_stage_the_head_sees_what_the_networks_own_head_saw(name: str) -> None:
    torch.manual_seed(0)
    channels = 1 if name == "lenet5" else 3
    x = IMAGES[:, :channels]
    network = create_model(name, classes=5, in_channels=channels).eval()
    given: list[torch.Tensor] = []
    layer = network.get_head()
    layer.register_forward_pre_hook(lambda _, args: given.append(args[0].detach()))
    with torch.no_grad():
        network(x)
        headed = Head().model(network).eval()
        features = headed.features(x)
    seen = given[0] if given[0].dim() == 2 else given[0].mean((2, 3))  # SqueezeNet's head is a convolution of maps
    torch.testing.assert_close(features, seen.flatten(1), rtol=1e-6, atol=1e-6)
    assert headed(x).shape == (2, 5)


@pytest.mark.parametrize("stage", [0, 1, -1])
def test_a_head_on_a_stage_sees_its_pooled_map(stage: int) -> None:
    torch.manual_seed(0)
    network = create_model("resnet20", classes=4).eval()
    with torch.no_grad():
        map_ = network.stages(IMAGES)[stage]
        headed = Head(stage=stage, pool="avg_max").model(network).eval()
        assert torch.equal(headed.features(IMAGES), pooled(map_, "avg_max"))
        assert headed(IMAGES).shape == (2, 4)


def test_features_go_to_the_head_as_they_are() -> None:
    headed = Head().model(create_model("resnet20", classes=4)).eval()
    with torch.no_grad():
        assert torch.equal(headed(headed.features(IMAGES)), headed(IMAGES))


def test_a_users_own_network_gives_its_last_linear_layer_away() -> None:
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    headed = Head().model(own)
    assert headed.features(IMAGES).shape == (2, 4)
    assert headed(IMAGES).shape == (2, 3)
    with pytest.raises(NetwrightError, match="does not show its feature maps"):
        headed.stages(IMAGES)


class Small(nn.Module):
    """A user's network for pictures of 32 × 32, with two linear layers, or three."""

    def __init__(self, *, side: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        self.hidden = nn.Linear(4 * 16 * 16, 6)
        self.scores = nn.Linear(6, 3)
        self.side = nn.Linear(6, 3) if side else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(self.hidden(self.body(x)).relu())


def test_a_network_made_for_one_size_gives_the_last_linear_layer_that_it_registers() -> None:
    headed = Head().model(Small())
    assert isinstance(headed.backbone.scores, nn.Identity)
    assert headed.features(IMAGES).shape == (2, 6)
    assert headed(IMAGES).shape == (2, 3)
    assert not headed.backbone.hidden._forward_hooks


def test_the_layer_whose_output_is_the_networks_is_the_head_wherever_it_is_registered() -> None:
    own = nn.Sequential()
    own.scores = nn.Linear(4, 3)
    own.hidden = nn.Linear(4, 4)
    own.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    own.forward = lambda x: own.scores(own.hidden(own.body(x)).relu())
    assert last_layer(own)[0] == "scores"


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize(("name", "classes"), [("resnet20", 4), ("squeezenet1_0", 3), ("convnext_tiny", 3)])
def test_what_lies_beyond_a_heads_stage_does_not_train(name: str, classes: int, pool: Any) -> None:
    torch.manual_seed(0)
    network = create_model(name, classes=classes)
    of = depths(network).of
    before = {key for key, _ in network.named_parameters()}
    headed = Head(stage=1, pool=pool).model(network)
    trained = {key for key, parameter in headed.backbone.named_parameters() if parameter.requires_grad}
    assert trained == {key for key in before if of[key] <= 1}
    assert 0 < len(trained) < len(before) - 2
    headed(torch.rand(2, 3, 32, 32)).sum().backward()
    wanting = {key for key, parameter in headed.named_parameters() if parameter.requires_grad}
    assert {key for key, parameter in headed.named_parameters() if parameter.grad is not None} == wanting


def test_without_a_stage_all_of_the_backbone_trains() -> None:
    assert all(parameter.requires_grad for parameter in Head().model(create_model("resnet20")).parameters())


def test_what_is_frozen_below_a_stage_stays_so() -> None:
    network = create_model("resnet20")
    network.get_parameter("conv1.weight").requires_grad_(False)
    headed = Head(stage=0).model(network)
    assert not headed.backbone.conv1.weight.requires_grad


def test_too_many_stages_are_told_of_the_backbone() -> None:
    headed = Head().model(create_model("resnet20"))
    with pytest.raises(NetwrightError, match="last cannot be 9, since ResNetCifar has 3 stages"):
        TRICKS.build("freeze(last=9)").model(headed)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NetwrightError, match="3 stages, and no stage 3") as error:
        stage_of([torch.zeros(1)] * 3, 3)
    assert "0 to 2" in error.value.fix
    with pytest.raises(NetwrightError, match="no last linear layer"):
        Head().model(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(NetwrightError, match="no stage 9"):
        Head(stage=9).model(create_model("resnet20"))


def test_small_pictures_are_refused_as_by_the_backbone() -> None:
    headed: Headed = Head(stage=-1).model(create_model("squeezenet1_0"))
    with pytest.raises(NetwrightError, match="at least 21x21"):
        headed(IMAGES[:, :, :16, :16])
