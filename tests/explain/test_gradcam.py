"""Grad-CAM against the closed forms of networks that have one, and on every kind of network."""

import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.explain import METHODS
from netwright.explain._colour import enlarged
from netwright.explain._maps import gradient_at, passed
from netwright.explain._method import Subject
from netwright.explain.gradcam import Gradcam, cam
from netwright.explain.gradcam_plus_plus import cam_plus_plus
from netwright.models import _class_of, create_model, list_models, summaries
from netwright.nn.headed import Headed
from netwright.tricks import TRICKS
from tests.explain.networks import Cam, plain

TARGET = torch.tensor([2, 0])
# The variant with the fewest weights of every family whose networks keep places apart, which `mlp` does not. Those of
# more than 50 million weights take a second each to draw.
FAMILIES = {
    _class_of(name): name
    for name in sorted(list_models(), key=lambda name: -summaries()[name].params)
    if not name.startswith("mlp") and summaries()[name].params < 50_000_000
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def pictures(side: int = 8, n: int = 2, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, side, side)


@pytest.mark.parametrize("inplace", [True, False])
def test_it_is_the_class_activation_map_where_that_exists(inplace: bool) -> None:
    """Zhou et al. 2016: Σ_k w_ck A_k; Grad-CAM's a_k is w_ck / Z, Z places, with what is negative cut off."""
    network, image = Cam(inplace=inplace), pictures()
    map_ = network.maps(image)[-1].detach()
    closed = torch.einsum("nk,nkhw->nhw", network.head.weight.detach()[TARGET], map_).relu() / map_[0, 0].numel()
    found = Gradcam().heat(Subject(network), image, TARGET)
    torch.testing.assert_close(found, enlarged(closed, 8, 8), rtol=1e-5, atol=1e-6)
    assert found.max() > 0


def test_weights_are_mean_gradients() -> None:
    map_, gradient = torch.rand(1, 2, 2, 2), torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[-4.0, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(cam(map_, gradient), (map_[:, 0] - map_[:, 1]).relu())


def test_plus_plus_against_its_closed_form() -> None:
    """Behind a mean over Z places every gradient is w/Z: w_k = Z · α · (w/Z)⁺ with α = 1 / (2 + (w/Z) Σ A)."""
    network, image = Cam(), pictures()
    map_ = network.maps(image)[-1].detach()
    places = map_[0, 0].numel()
    g = network.head.weight.detach()[TARGET] / places
    weight = places * g.relu() / (2 + g * map_.sum((2, 3)))
    closed = torch.einsum("nk,nkhw->nhw", weight, map_).relu()
    found = METHODS.build("gradcam_plus_plus").heat(Subject(network), image, TARGET)
    torch.testing.assert_close(found, enlarged(closed, 8, 8), rtol=1e-5, atol=1e-6)


def test_plus_plus_of_nothing_is_nothing() -> None:
    assert torch.equal(cam_plus_plus(torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)), torch.zeros(1, 3, 3))


def test_a_batch_gives_what_each_picture_gives() -> None:
    subject, image = Subject(create_model("resnet20(width=4)", classes=3)), pictures(32)
    together = Gradcam().heat(subject, image, TARGET)
    alone = torch.cat([Gradcam().heat(subject, image[i : i + 1], TARGET[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5 * float(alone.max()))


@pytest.mark.parametrize("name", ["lenet5", "resnet20(width=4)", "squeezenet1_1", "preact_resnet18", "densenet40_k12"])
@pytest.mark.parametrize("stage", [0, -1])
def test_families(name: str, stage: int) -> None:
    try:
        network = create_model(name, classes=3, in_channels=3)
    except NetwrightError as error:
        pytest.fail(str(error))
    image = pictures(40)
    subject = Subject(network)
    target = subject.scores(image).argmax(1).detach()
    heat = Gradcam(stage=stage).heat(subject, image, target)
    assert heat.shape == (2, 40, 40)
    assert heat.min() >= 0
    assert "maps" not in vars(network)


@pytest.mark.parametrize("name", sorted(FAMILIES.values()))
def test_of_small_pictures_the_last_map_with_places_is_read(name: str) -> None:
    """Many families' last map is a single place there, which would be "most" everywhere."""
    network = create_model(name, classes=3, in_channels=3)
    side = max(32, network.smallest)
    subject, image = Subject(network), pictures(side)
    seen = passed(subject, image)
    map_, _ = gradient_at(seen, TARGET, -1)
    sizes = [each.shape[2:].numel() for each in seen.maps]
    assert map_.shape[2:].numel() == [size for size in sizes if size > 1][-1]
    if sizes[-1] == 1:
        with pytest.raises(NetwrightError, match="is 1x1"):
            gradient_at(seen, TARGET, len(sizes) - 1)


def test_heat_of_a_small_picture_is_not_the_same_everywhere() -> None:
    network = create_model("mobilenet_v1_025", classes=3)
    for method in ("gradcam", "gradcam_plus_plus"):
        heat = METHODS.build(method).heat(Subject(network), pictures(32, 4), torch.tensor([0, 1, 2, 0]))
        spread = heat.flatten(1).amax(1) - heat.flatten(1).amin(1)
        assert spread.max() > 0
        assert ((spread > 0) | (heat.flatten(1).amax(1) == 0)).all()


def test_where_no_map_with_places_leads_to_the_scores() -> None:
    class Aside(Cam):
        """Its maps have places; its scores come from the picture's mean."""

        def forward(self, x: Tensor) -> Tensor:
            self.maps(x)
            return self.head(x.mean((2, 3)).repeat(1, 2)[:, :5])

    with pytest.raises(NetwrightError, match="no feature map with more than one place") as told:
        Gradcam().heat(Subject(Aside()), pictures(), TARGET)
    assert "occlusion" in told.value.fix


def test_a_timm_model_is_read_at_the_layers_that_give_its_maps() -> None:
    network = create_model("timm/resnet10t", classes=3)
    image = pictures(64)
    seen = passed(Subject(network), image)
    expected = network.maps(image)
    assert [tuple(map_.shape) for map_ in seen.maps] == [tuple(map_.shape) for map_ in expected]
    torch.testing.assert_close(seen.maps[-1], expected[-1])
    assert Gradcam().heat(Subject(network), image, TARGET).max() > 0


def test_a_network_of_ones_own_is_read_after_its_last_convolutions() -> None:
    network, image = plain(), pictures()
    seen = passed(Subject(network), image)
    assert [tuple(map_.shape[1:]) for map_ in seen.maps] == [(6, 8, 8), (8, 4, 4)]
    assert Gradcam().heat(Subject(network), image, TARGET).shape == (2, 8, 8)


def test_a_new_head_is_asked_where_it_looks() -> None:
    """A head on an earlier stage: the last stage that counts is that one, and later ones are refused."""
    backbone = create_model("resnet20(width=4)", classes=0)
    network, image = Headed(backbone, nn.Linear(8, 3), stage=1), pictures(32)
    subject = Subject(network)
    torch.testing.assert_close(
        Gradcam(stage=-1).heat(subject, image, TARGET), Gradcam(stage=1).heat(subject, image, TARGET)
    )
    with pytest.raises(NetwrightError, match="do not depend on the map of stage 2"):
        Gradcam(stage=2).heat(subject, image, TARGET)
    whole = Headed(create_model("resnet20(width=4)", classes=0), nn.Linear(16, 3))
    assert Gradcam().heat(Subject(whole), image, TARGET).max() > 0


def test_a_network_that_looks_twice_is_read_at_its_first_look() -> None:
    network = TRICKS.build("test_time_augmentation").predictor(create_model("resnet20(width=4)", classes=3))
    assert Gradcam().heat(Subject(network), pictures(32), TARGET).max() > 0


def test_frozen_weights_and_switched_off_gradients_do_not_matter() -> None:
    network, image = Cam(), pictures()
    wanted = Gradcam().heat(Subject(network), image, TARGET)
    network.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(Gradcam().heat(Subject(network), image, TARGET), wanted)
    with torch.inference_mode():
        assert torch.equal(Gradcam().heat(Subject(network), image.clone(), TARGET), wanted)


def test_nothing_is_left_behind() -> None:
    network = create_model("resnet20(width=4)", classes=3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Gradcam().heat(Subject(network), pictures(32), TARGET)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())


def test_what_has_no_maps_is_told_what_to_use() -> None:
    for network in (create_model("mlp", classes=3, in_channels=3), nn.Sequential(nn.Flatten(), nn.Linear(192, 3))):
        with pytest.raises(NetwrightError, match="no feature maps") as told:
            Gradcam().heat(Subject(network), pictures(8), TARGET)
        assert "occlusion" in told.value.fix


def test_a_stage_too_many() -> None:
    with pytest.raises(NetwrightError, match="there is no 5") as told:
        Gradcam(stage=5).heat(Subject(Cam()), pictures(), TARGET)
    assert "stage=1" in told.value.fix


def test_masks_are_no_scores() -> None:
    with pytest.raises(NetwrightError, match="not a score for each class"):
        Gradcam().heat(Subject(nn.Conv2d(3, 2, 1)), pictures(), TARGET)
