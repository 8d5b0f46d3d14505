"""Weights of a classifier into the encoder of a network for each pixel: what fits, what is drawn, what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._family import Family
from netwright.models._published import Published
from netwright.models._weights import Loaded, load_weights
from netwright.tricks import TRICKS
from tests.models.test_weights_bundle import ANIMALS, bundle

ENCODER = "resnet20(width=4)"
NAME = f"unet(encoder='{ENCODER}', width=4)"
CLASSIFIERS = {
    NAME: ENCODER,
    f"fcn(encoder='{ENCODER}', stride=4)": ENCODER,
    "segnet(layers=(1, 1, 2), width=4)": "vgg(layers=(1, 1, 2), width=4)",
}


def donor(name: str = ENCODER, **options: Any) -> Family:
    torch.manual_seed(1)
    return create_model(name, **{"classes": 10, **options})


def network(name: str = NAME, **options: Any) -> Family:
    torch.manual_seed(2)
    return create_model(name, **{"classes": 3, **options})


def saved(model: Family, folder: Path) -> Path:
    torch.save(model.state_dict(), folder / "w.pt")
    return folder / "w.pt"


def without(model: Family, prefix: str) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith(prefix)}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifiers_weights_go_into_the_encoder_and_nowhere_else(name: str, tmp_path: Path) -> None:
    trained, model = donor(CLASSIFIERS[name]), network(name)
    drawn = without(model, "encoder.")
    loaded = load_weights(model, saved(trained, tmp_path))
    state, own = model.state_dict(), trained.state_dict()
    names = [part for part in state if part.startswith("encoder.")]
    assert loaded.loaded == names
    assert all(torch.equal(state[part], own[part.removeprefix("encoder.")]) for part in names)
    assert all(torch.equal(state[part], tensor) for part, tensor in drawn.items())
    assert loaded.beside == loaded.missing == [part for part in drawn if "num_batches" not in part]
    assert loaded.left_over == [part for part in own if part.startswith(trained.head_name)]
    assert f"{len(names)} tensors loaded into the encoder" in str(loaded)
    assert str(loaded).endswith(f"decoder and head stay as drawn, {len(loaded.beside)} tensors")


def test_its_maps_are_then_the_classifiers(tmp_path: Path) -> None:
    trained, model = donor().eval(), network()
    load_weights(model, saved(trained, tmp_path))
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        for given, wanted in zip(model.eval().maps(x), trained.stages(x), strict=True):
            assert torch.equal(given, wanted)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_weights_of_the_whole_are_taken_as_a_whole(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trained, model = create_model(name, classes=3), network(name)
    loaded = load_weights(model, saved(trained, tmp_path), classes=ANIMALS)
    assert all(torch.equal(tensor, trained.state_dict()[part]) for part, tensor in model.state_dict().items())
    assert loaded.missing == loaded.left_over == loaded.beside == []
    assert "encoder" not in str(loaded)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_another_number_of_classes_keeps_all_but_heads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trained, model = create_model(name, classes=5), network(name)
    loaded = load_weights(model, saved(trained, tmp_path))
    heads = (model.head_name, *model.auxiliary_names)
    assert loaded.missing == [part for part in model.state_dict() if part.startswith(heads)]
    assert loaded.beside == []


def test_classes_in_another_order_move_the_rows_of_every_head(tmp_path: Path) -> None:
    name = "fcn(encoder='squeezenet1_1')"
    torch.manual_seed(3)
    trained, model = create_model(name, classes=3), network(name)
    with torch.no_grad():
        for part in (part for part in trained.parameters() if not part.any()):
            part.normal_(std=0.1)
    made = bundle(tmp_path, trained, ANIMALS)
    load_weights(model, made, classes=["eel", "cat", "dog"])
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), trained.eval()(x)[:, [2, 0, 1]])


def test_an_encoder_moves_from_one_kind_of_network_to_another(tmp_path: Path) -> None:
    trained, model = network(NAME), network(f"fcn(encoder='{ENCODER}', stride=4)")
    torch.nn.init.normal_(trained.get_parameter("encoder.conv1.weight"))
    loaded = load_weights(model, saved(trained, tmp_path))
    assert torch.equal(model.state_dict()["encoder.conv1.weight"], trained.state_dict()["encoder.conv1.weight"])
    assert "into the encoder from what stands under 'encoder.'" in str(loaded)
    assert loaded.left_over == list(without(trained, "encoder."))


def test_an_encoder_becomes_a_classifier_again(tmp_path: Path) -> None:
    trained, model = network(), donor()
    loaded = load_weights(model, saved(trained, tmp_path))
    assert loaded.missing == ["linear.weight", "linear.bias"]
    assert torch.equal(model.state_dict()["conv1.weight"], trained.state_dict()["encoder.conv1.weight"])


def test_grey_images_get_the_maps_of_coloured_ones(tmp_path: Path) -> None:
    trained, model = donor().eval(), network(in_channels=1).eval()
    loaded = load_weights(model, saved(trained, tmp_path))
    assert loaded.adapted == ["encoder.conv1.weight"]
    assert loaded.moments_for(1) == ((sum((0.485, 0.456, 0.406)) / 3,), (sum((0.229, 0.224, 0.225)) / 3,))
    x = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        for given, wanted in zip(model.maps(x), trained.stages(x.expand(-1, 3, -1, -1)), strict=True):
            torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [".", "bundle"])
def test_a_classifiers_bundle_or_run_brings_its_moments(place: str, tmp_path: Path) -> None:
    trained, model = donor(classes=3), network()
    (tmp_path / place).mkdir(exist_ok=True)
    bundle(tmp_path / place, trained, ["red", "green", "blue"])
    loaded = load_weights(model, tmp_path, classes=ANIMALS)
    assert loaded.moments == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "the bundle's")
    assert torch.equal(model.state_dict()["encoder.conv1.weight"], trained.state_dict()["conv1.weight"])
    assert "red" not in str(loaded)  # whose classes those were does not matter to an encoder


def test_what_a_head_trick_left_in_a_bundle_is_found(tmp_path: Path) -> None:
    trained = TRICKS.build("head").model(donor(classes=3))
    loaded = load_weights(network(), bundle(tmp_path, trained, ANIMALS, ["head"]), classes=ANIMALS)
    assert "into the encoder from what stands under 'backbone.'" in str(loaded)


def test_norms_of_another_kind_name_the_encoder_that_has_them(tmp_path: Path) -> None:
    trained = TRICKS.build("norm").model(donor(classes=3))
    made = bundle(tmp_path, trained, ANIMALS, ["norm"])
    with pytest.raises(NetwrightError, match="trained with norm") as caught:
        load_weights(network(), made)
    assert caught.value.fix.endswith("encoder=\"resnet20(norm='group', width=4)\"")
    model = network("unet(encoder=\"resnet20(norm='group', width=4)\")")  # its decoder has batch norms
    assert load_weights(model, made).beside


def test_filters_of_a_trick_are_standardised(tmp_path: Path) -> None:
    trick = TRICKS.build("weight_standardisation")
    torch.manual_seed(1)
    trained = trick.model(create_model("squeezenet1_1", classes=3)).eval()
    model = network("fcn(encoder='squeezenet1_1', stride=16)").eval()
    loaded = load_weights(model, bundle(tmp_path, trained, ANIMALS, [str(trick.spec)]))
    assert "filters are as weight_standardisation made them" in str(loaded)
    x = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(model.maps(x)[-1], trained.stages(x)[-1])


def test_auxiliary_heads_and_dense_layers_of_a_classifier_are_left_over(tmp_path: Path) -> None:
    trained, model = donor("googlenet", classes=4), network("fcn(encoder='googlenet')")
    loaded = load_weights(model, saved(trained, tmp_path))
    assert {part.split(".")[0] for part in loaded.left_over} == {"fc", "aux1", "aux2"}
    dense = "vgg11(hidden=(8, 8), side=1)"
    trained, model = donor(dense), network(f"fcn(encoder='{dense}')")
    loaded = load_weights(model, saved(trained, tmp_path))
    assert loaded.left_over == [part for part in trained.state_dict() if part.startswith("classifier.")]


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_another_encoder_are_refused_and_the_right_one_named(strict: bool, tmp_path: Path) -> None:
    model = network()
    before = without(model, "nothing")
    with pytest.raises(NetwrightError, match="fits UNet's encoder, a ResNetCifar: no name is the same") as caught:
        load_weights(model, saved(donor("squeezenet1_1"), tmp_path), strict=strict)
    assert "they fit squeezenet1_1" in caught.value.fix
    assert caught.value.fix.endswith("--model \"unet(encoder='squeezenet1_1')\"")
    assert all(torch.equal(tensor, before[part]) for part, tensor in model.state_dict().items())


def test_another_depth_is_counted_within_the_encoder(tmp_path: Path) -> None:
    path = saved(donor("resnet32(width=4)"), tmp_path)
    with pytest.raises(NetwrightError, match="not those of UNet's encoder, a ResNetCifar") as caught:
        load_weights(network(), path)
    assert "95 of its 95 tensors fit" in caught.value.problem
    assert load_weights(network(), path, strict=False).beside


def test_a_name_that_both_heads_have_does_not_make_a_classifier_one_for_pixels(tmp_path: Path) -> None:
    """`classifier.1.weight` is a norm of FCN's head, and the last layer of SqueezeNet."""
    with pytest.raises(NetwrightError, match="fits FCNResNet's encoder"):
        load_weights(network("fcn_resnet50(encoder='resnet18')"), saved(donor("squeezenet1_1"), tmp_path))


def test_the_same_network_with_another_decoder_is_refused_as_a_whole(tmp_path: Path) -> None:
    trained = network(f"unet(encoder='{ENCODER}', width=8)")
    with pytest.raises(NetwrightError, match="not this model's, a UNet") as caught:
        load_weights(network(), saved(trained, tmp_path))
    assert "of another shape" in caught.value.problem


def test_the_hub_has_encoders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, model = donor(), network()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}}')
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda _, file, revision=None: str(tmp_path / file))
    loaded = load_weights(model, "hf-hub:somebody/resnet20")
    assert loaded.moments[:2] == ((0.5,) * 3, (0.2,) * 3) and loaded.beside


def asked_for(monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]) -> list[str | None]:
    """Which published weights were asked for, where these are what came."""
    asked: list[str | None] = []

    def publish(reference: str | None) -> Published:
        asked.append(reference)
        return Published(state, ((0.5,), (0.5,), "somebody's"))

    monkeypatch.setattr("netwright.models._weights.published", publish)
    return asked


def test_imagenet_means_the_encoders_where_nobody_published_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = donor("resnet18", classes=1000)
    asked = asked_for(monkeypatch, dict(trained.state_dict()))
    model = network("unet(encoder='resnet18')")
    loaded: Loaded = load_weights(model, "imagenet")
    assert asked == ["torchvision/resnet18"]
    assert torch.equal(
        model.state_dict()["encoder.layer4.1.conv2.weight"], trained.state_dict()["layer4.1.conv2.weight"]
    )
    assert loaded.left_over == ["fc.weight", "fc.bias"]


def test_an_encoder_without_published_weights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetwrightError, match="nobody publishes"):
        create_model(NAME, weights="imagenet")


@pytest.mark.data
def test_a_pretrained_squeezenet_is_an_encoder() -> None:
    folder = os.environ.get("NETWRIGHT_DATA")
    if folder is None:
        pytest.skip("NETWRIGHT_DATA names no data folder")
    model = network("unet(encoder='squeezenet1_0')")
    loaded = load_weights(model, Path(folder) / "weights" / "squeezenet1_0-imagenet-dc.pth")
    assert len(loaded.loaded) == 50 and loaded.left_over == ["classifier.1.weight", "classifier.1.bias"]
