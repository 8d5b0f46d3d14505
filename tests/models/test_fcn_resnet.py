"""FCN on a dilated residual network: torchvision's weights, outputs and gradients; and what dilation is."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant
from netwright.models._parity import parity, reference_network, spread, tensors_of
from netwright.models._weights import load_weights
from netwright.nn.output import Outputs

SMALL = "fcn_resnet50(encoder='resnet18')"
NAMES = ("fcn_resnet50", "fcn_resnet101")


@pytest.mark.parametrize("name", NAMES)
def test_its_tensors_and_their_number_are_torchvisions(name: str) -> None:
    row = variant(name)
    with torch.device("meta"):
        ours, theirs = create_model(name, classes=row.classes), reference_network(row.reference or "")
    assert tensors_of(ours) == tensors_of(theirs)
    weights = torchvision.models.get_model_weights(name)["DEFAULT"]
    assert sum(p.numel() for p in ours.parameters()) == row.params == weights.meta["num_params"]


@pytest.mark.parametrize("side", [65, 1, 24])
def test_scores_auxiliary_scores_and_gradients_are_torchvisions(side: int) -> None:
    found = parity("fcn_resnet50", side=side)
    assert found.output <= 1e-5
    assert found.gradient <= 1e-4  # sums over whole maps, in another order


def test_oblong_images_too() -> None:
    torch.manual_seed(0)
    theirs, ours = reference_network("torchvision/fcn_resnet50"), create_model("fcn_resnet50", classes=21)
    spread(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 37, 90)
    with torch.no_grad():
        wanted = theirs.eval()(x)["out"]
        torch.testing.assert_close(ours.eval()(x), wanted, rtol=1e-5, atol=1e-5 * wanted.std().item())


def test_a_wrong_dilation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.models import fcn_resnet

    right = fcn_resnet._dilate_stage
    monkeypatch.setattr(fcn_resnet, "_dilate_stage", lambda stage, before, after: right(stage, after, after))
    assert parity("fcn_resnet50", side=33).output > 1e-3


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50(layers=(1, 1, 2, 1))"])
@pytest.mark.parametrize("stride", [8, 16])
def test_a_dilated_map_has_the_strided_ones_values_at_each_of_its_places(encoder: str, stride: int) -> None:
    torch.manual_seed(0)
    coarse = create_model(f"fcn_resnet50(encoder='{encoder}', stride=32)").eval()
    fine = create_model(f"fcn_resnet50(encoder='{encoder}', stride={stride})").eval()
    spread(coarse)
    fine.load_state_dict(coarse.state_dict())
    x = torch.randn(1, 3, 97, 75)
    every = 32 // stride
    with torch.no_grad():
        wanted, given = coarse.maps(x)[-1], fine.maps(x)[-1]
    assert given.shape[-2:] == (-(-97 // stride), -(-75 // stride))
    torch.testing.assert_close(given[..., ::every, ::every], wanted, rtol=1e-4, atol=1e-4 * wanted.std().item())


def test_strides_say_where_maps_are() -> None:
    model = create_model(SMALL)
    x = torch.rand(1, 3, 64, 64)
    assert [64 // map_.shape[-1] for map_ in model.eval().maps(x)] == [2, 4, 8, 8, 8]
    assert model.get_submodule("backbone").strides == (2, 4, 8, 8, 8)


@pytest.mark.parametrize("size", [(1, 1), (7, 2), (33, 50)])
def test_any_size_trains_with_both_heads(size: tuple[int, int]) -> None:
    model = create_model(SMALL, classes=5).train()
    output = model(torch.rand(2, 3, *size))
    assert isinstance(output, Outputs)
    assert [scores.shape for scores in (output.scores, *output.auxiliary)] == [(2, 5, *size)] * 2
    (output.scores.sum() + output.auxiliary[0].square().sum()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.eval()(torch.rand(1, 3, *size)).shape == (1, 5, *size)


def test_the_auxiliary_head_can_be_left_out_and_needs_classes() -> None:
    for model in (create_model(f"{SMALL[:-1]}, aux=False)"), create_model(SMALL, classes=0)):
        assert isinstance(model.train()(torch.rand(2, 3, 16, 16)), Tensor)
        assert not [name for name, _ in model.named_parameters() if name.startswith("aux")]


def test_an_embedding_is_what_the_head_would_see() -> None:
    assert create_model(SMALL, classes=0).eval()(torch.rand(1, 3, 9, 16)).shape == (1, 128, 9, 16)


def test_norm_and_activation_are_the_encoders_too_unless_it_says_otherwise() -> None:
    model = create_model(f"{SMALL[:-1]}, norm='group', activation='silu')")
    assert not any(isinstance(layer, nn.BatchNorm2d | nn.ReLU) for layer in model.modules())
    model = create_model("fcn_resnet50(encoder=\"resnet18(norm='group')\")")
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.get_submodule("classifier").modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.get_submodule("backbone").modules())


@pytest.mark.parametrize("encoder", ["vgg16", "resnet20", "timm/resnet18", "resnet19"])
def test_encoders_of_other_names_are_refused(encoder: str) -> None:
    with pytest.raises(NetwrightError, match=f"not of '{encoder}'") as caught:
        create_model(f"fcn_resnet50(encoder='{encoder}')")
    assert f"fcn(encoder='{encoder}')" in caught.value.fix and "resnet34" in caught.value.fix


@pytest.mark.parametrize(
    ("encoder", "stride", "fix"), [("resnet18(stem='cifar')", 32, "8"), ("resnet18", 7, "8|16|32")]
)
def test_a_stride_that_no_map_has_is_refused(encoder: str, stride: int, fix: str) -> None:
    with pytest.raises(NetwrightError, match="stride") as caught:
        create_model(f'fcn_resnet50(encoder="{encoder}", stride={stride})')
    assert fix.split("|")[0] in caught.value.fix


def test_a_classifiers_weights_go_into_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor, model = create_model("resnet18", classes=10), create_model(SMALL)
    torch.save(donor.state_dict(), tmp_path / "w.pt")
    loaded = load_weights(model, tmp_path / "w.pt")
    assert loaded.left_over == ["fc.weight", "fc.bias"]
    assert torch.equal(
        model.state_dict()["backbone.layer4.1.conv2.weight"], donor.state_dict()["layer4.1.conv2.weight"]
    )
    assert {name.split(".")[0] for name in loaded.beside} == {"classifier", "aux_classifier"}


def test_published_weights_come_with_their_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as torchvision would have fetched it."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    donor = reference_network("torchvision/fcn_resnet50")
    made = tmp_path / "checkpoints" / "made.pth"
    torch.save(donor.state_dict(), made)
    path = made.rename(made.with_name(f"fcn-{hashlib.sha256(made.read_bytes()).hexdigest()[:8]}.pth"))
    weights = torchvision.models.get_model_weights("fcn_resnet50")["DEFAULT"]
    monkeypatch.setattr(weights, "_value_", replace(weights.value, url=f"https://published.invalid/{path.name}"))
    model = create_model("fcn_resnet50", classes=21)
    loaded = load_weights(model, "imagenet")
    assert loaded.missing == loaded.left_over == []
    assert loaded.moments[:2] == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert all(torch.equal(tensor, donor.state_dict()[name]) for name, tensor in model.state_dict().items())
    fresh = load_weights(create_model("fcn_resnet50", classes=3), "imagenet").missing
    assert fresh == [f"{head}.4.{part}" for head in ("classifier", "aux_classifier") for part in ("weight", "bias")]


def test_scores_are_enlarged_as_by_interpolation() -> None:
    model = create_model(SMALL, classes=2).eval()
    x = torch.rand(1, 3, 41, 23)
    with torch.no_grad():
        small = model.get_submodule("classifier")(model.maps(x)[-1])
        wanted = F.interpolate(small, size=(41, 23), mode="bilinear", align_corners=False)
        assert torch.equal(model(x), wanted)


def test_its_grid_is_that_of_its_maps() -> None:
    """An image moved by it gives the same maps, moved, although images are not padded to it."""
    with torch.device("meta"):
        specs = [f"fcn_resnet50(encoder='resnet18', stride={stride})" for stride in (8, 16, 32)]
        models = [create_model(spec, classes=2) for spec in specs]
    assert [model.grid for model in models] == [8, 16, 32]
    assert {model.stride for model in models} == {1}
