"""An autoencoder's encoder into a classifier, a classifier into an autoencoder's encoder, and the model to name."""

from pathlib import Path
from typing import Any

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._bodied import layers_behind, suited_to
from netwright.models._family import Family
from netwright.models._weights import load_weights, model_of
from tests.bundle.autoencoders import CONVOLUTIONAL, PLAIN, RECURRENT, VAE, bundle

CLASSES = ("ship", "plane")


def network(name: str, seed: int = 1, **options: Any) -> Family:
    torch.manual_seed(seed)
    return create_model(name, classes=2, in_channels=1, **options)


@pytest.mark.parametrize(
    ("spec", "classifier"),
    [
        (CONVOLUTIONAL, "resnet20(width=2)"),
        (VAE, "mlp(widths=(8,), image_size=8)"),
        (PLAIN, "mlp(widths=(8,), image_size=8)"),
    ],
)
class TestIntoAClassifier:
    def test_the_encoder_is_taken_and_a_head_is_new(self, spec: str, classifier: str, tmp_path: Path) -> None:
        folder, model = bundle(tmp_path, spec), network(classifier)
        head = {name: value.clone() for name, value in model.get_head().state_dict().items()}
        loaded = load_weights(model, folder, classes=CLASSES)
        trained = torch_state(folder)
        body = [name for name in model.state_dict() if not name.startswith(f"{model.head_name}.")]
        assert body and all(torch.equal(model.state_dict()[name], trained[f"encoder.{name}"]) for name in body)
        assert all(torch.equal(value, head[name]) for name, value in model.get_head().state_dict().items())
        told = str(loaded)
        assert told.startswith(f"the encoder of an autoencoder, {len(body)} tensors; a new head, 2 tensors")
        assert loaded.moments == ((0.5,), (0.25,), "the bundle's")

    def test_who_names_no_model_gets_it(self, spec: str, classifier: str, tmp_path: Path) -> None:
        folder = str(bundle(tmp_path, spec))
        found = model_of(folder, "classification")
        assert found is not None
        load_weights(network(found), folder, classes=CLASSES)
        assert str(network(found)) == str(network(classifier))
        assert model_of(folder) == model_of(folder, "reconstruction") == spec


class TestIntoAnEncoder:
    @pytest.mark.parametrize(
        ("spec", "classifier"), [(CONVOLUTIONAL, "resnet20(width=2)"), (VAE, "mlp(widths=(8,), image_size=8)")]
    )
    def test_a_classifier_goes_into_it_and_nowhere_else(self, spec: str, classifier: str, tmp_path: Path) -> None:
        trained, model = network(classifier, 2), network(spec)
        beside = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("encoder.")}
        torch.save(trained.state_dict(), tmp_path / "w.pt")
        loaded = load_weights(model, tmp_path / "w.pt")
        state, own = model.state_dict(), trained.state_dict()
        names = [name for name in state if name.startswith("encoder.")]
        assert names and all(torch.equal(state[name], own[name.removeprefix("encoder.")]) for name in names)
        assert all(torch.equal(state[name], value) for name, value in beside.items())
        assert "into the encoder" in str(loaded)
        assert "code and decoder stay as drawn" in str(loaded)

    def test_another_classifier_is_refused_and_an_autoencoder_of_it_named(self, tmp_path: Path) -> None:
        torch.save(create_model("squeezenet1_1", classes=2).state_dict(), tmp_path / "w.pt")
        with pytest.raises(NetwrightError, match="Autoencoder's encoder, a ResNetCifar") as caught:
            load_weights(network(CONVOLUTIONAL), tmp_path / "w.pt")
        assert "autoencoder(encoder='squeezenet1_1')" in caught.value.fix


class TestOthers:
    def test_another_width_is_refused_and_the_right_one_named(self, tmp_path: Path) -> None:
        folder = bundle(tmp_path, CONVOLUTIONAL)
        with pytest.raises(NetwrightError) as caught:
            load_weights(network("resnet20(width=4)"), folder, classes=CLASSES)
        assert caught.value.fix.endswith('--model "resnet20(width=2)"')

    def test_an_autoencoder_without_a_classifier_inside_says_so(self, tmp_path: Path) -> None:
        folder = bundle(tmp_path, RECURRENT)
        with pytest.raises(NetwrightError) as caught:
            load_weights(network("resnet20(width=2)"), folder, classes=CLASSES)
        assert "in which no classifier is: `netwright embed`" in caught.value.fix

    def test_an_autoencoder_of_its_kind_is_loaded_whole(self, tmp_path: Path) -> None:
        loaded = load_weights(network(VAE), bundle(tmp_path), classes=CLASSES)
        assert not loaded.missing and not loaded.left_over
        assert "encoder" not in str(loaded)

    def test_a_network_for_pixels_takes_the_encoder(self, tmp_path: Path) -> None:
        model = network("unet(encoder='resnet20(width=2)', width=2)")
        told = str(load_weights(model, bundle(tmp_path, CONVOLUTIONAL)))
        assert told.startswith("the encoder of an autoencoder")
        assert "decoder and head stay as drawn" in told


@pytest.mark.parametrize(
    ("spec", "task", "own"),
    [
        ("resnet20", "classification", "resnet20"),
        ("resnet20", "multi_label", "resnet20"),
        ("resnet20", "segmentation", "unet(encoder='resnet20')"),
        ("resnet20", "reconstruction", "autoencoder(encoder='resnet20')"),
        ("vae(latent=2)", "classification", "resnet20"),
        ("vae(latent=2)", "segmentation", "unet(encoder='resnet20')"),
        ("unet(encoder='vgg11')", "classification", "vgg11"),
        ("unet(encoder='vgg11')", "reconstruction", "autoencoder(encoder='vgg11')"),
        ("timm/resnet10t", "reconstruction", "autoencoder(encoder='timm/resnet10t')"),
        ("mlp_autoencoder(hidden=(4, 2), activation='none')", "classification",
         "mlp_autoencoder(hidden=(4, 2), activation='none')"),
        ("recurrent_autoencoder", "classification", "recurrent_autoencoder"),
        ("unet_2015", "classification", "unet_2015"),
    ],
)  # fmt: skip
def test_the_network_of_the_same_encoder_for_another_task(spec: str, task: str, own: str) -> None:
    assert suited_to(spec, task) == own


def test_dense_layers_keep_their_activation_and_size() -> None:
    found = suited_to("mlp_autoencoder(hidden=(4, 2), activation='tanh', image_size=16)", "classification")
    assert found == "mlp(activation='tanh', image_size=16, widths=(4, 2))"


def test_layers_behind_the_maps_are_drawn_as_a_head_is() -> None:
    assert layers_behind("autoencoder(encoder='vgg11')") == ("classifier",)
    assert layers_behind("vgg11") == layers_behind(None) == layers_behind("vae(encoder='nothing')") == ()


def torch_state(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
