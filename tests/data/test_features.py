"""Features that are kept are those that the network would compute in every step, to the last bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netwright.data import features as features_module
from netwright.data.features import FeatureSource
from netwright.engine.augment import prepare
from netwright.engine.device import Profile
from netwright.models import create_model
from netwright.nn.headed import Headed
from netwright.tricks.head import Head
from tests.support import CPU, NORMALISE, Pictures


@pytest.fixture
def network() -> Headed:
    torch.manual_seed(0)
    return Head().model(create_model("resnet20", classes=4))


def source(network: Headed, pictures: Any, *, batch_size: int = 8, made_by: str | None = None, profile: Profile = CPU):
    kept = {"normalise": NORMALISE, "profile": profile, "batch_size": batch_size, "made_by": made_by}
    return FeatureSource(network, pictures, **kept)


class Counted(Pictures):
    """Knows how many pictures were read."""

    read = 0

    def batches(self, positions: Any, *, stream: int = 0) -> Iterator[Any]:
        for raw in super().batches(positions, stream=stream):
            self.read += len(raw.id)
            yield raw


@pytest.mark.parametrize("made_by", [None, "resnet20"])
def test_features_are_the_networks_own_in_any_order(
    network: Headed, made_by: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    pictures = Pictures(21)
    features = source(network, pictures, made_by=made_by)
    assert network.training
    chosen = np.array([20, 3, 3, 0, 17, 9, 8, 1])
    (raw,) = features.batches([chosen])
    (whole,) = pictures.batches([chosen])
    network.eval()
    with torch.no_grad():
        assert torch.equal(raw.image, network.features(prepare(whole, NORMALISE, CPU)))
    assert torch.equal(raw.label, whole.label)
    assert torch.equal(raw.id, whole.id)
    assert len(features) == 21
    np.testing.assert_array_equal(features.labels, pictures.labels)


def test_they_are_computed_once_and_when_they_are_asked_for(network: Headed) -> None:
    pictures = Counted(20)
    features = source(network, pictures)
    with torch.no_grad():
        network.backbone.get_parameter("conv1.weight").zero_()  # as a checkpoint that is read brings other weights
    assert pictures.read == 0
    (raw,) = features.batches([np.arange(20)])
    assert (raw.image == raw.image[0]).all()
    once = pictures.read
    list(features.batches([np.arange(8), np.arange(8)]))
    assert pictures.read == once == 24  # the last batch is filled up to the size of the others


def test_another_run_finds_them_on_disk(network: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    pictures = Pictures(20)
    first = source(network, pictures, made_by="resnet20").held.image
    passed: list[int] = []
    network.backbone.register_forward_hook(lambda _, args, output: passed.append(len(args[0])))
    assert torch.equal(source(network, pictures, made_by="resnet20").held.image, first)
    assert passed == [1]  # one picture, for the number of features and what no name tells
    more = Pictures(26)
    more.images[:20] = pictures.images
    found = source(network, more, made_by="resnet20").held.image
    assert torch.equal(found[:20], first)
    assert passed == [1, 1, 8]


CHANGES = ("weights", "buffers", "made_by", "normalise", "precision", "batch_size", "stage")
SHAPE, PROBE = (8, 8, 3), np.zeros(64, np.float32)


@pytest.mark.parametrize("change", [*CHANGES, "threads", "shape", "probe", "version"])
def test_whatever_changes_features_has_others(
    network: Headed, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    pictures = Pictures(8)
    before = source(network, pictures, made_by="resnet20")
    digest = before._digest("resnet20", SHAPE, PROBE)
    assert before._digest("resnet20", SHAPE, PROBE) == digest
    made_by, shape, probe = "resnet20", SHAPE, PROBE
    with torch.no_grad():
        match change:
            case "weights":
                network.backbone.get_parameter("conv1.weight")[0, 0, 0, 0] += 1
            case "buffers":
                next(network.backbone.buffers())[0] += 1
            case "made_by":
                made_by = "resnet20(activation='gelu')"
            case "normalise":
                before.normalise = type(NORMALISE)((0.5, 0.5, 0.5), NORMALISE.std)
            case "precision":
                before.profile = Profile(torch.device("cpu"), "test", "bf16", channels_last=False, threads=1)
            case "batch_size":
                before.batch_size = 4
            case "stage":
                network.stage = 0
            case "threads":
                before.profile = Profile(torch.device("cpu"), "test", "fp32", channels_last=False, threads=2)
            case "shape":
                shape = (4, 16, 3)
            case "probe":
                probe = np.nextafter(PROBE, 1, dtype=np.float32)
            case "version":
                monkeypatch.setattr(features_module, "_version", lambda: "9.9")
    assert before._digest(made_by, shape, probe) != digest


def test_what_no_name_tells_of_a_network_shows_in_other_features(
    network: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the code of a layer was changed, or another processor rounds otherwise."""
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    pictures = Pictures(20)
    first = source(network, pictures, made_by="resnet20").held.image
    with torch.no_grad():
        hook = network.backbone.register_forward_hook(lambda _, __, output: output * (1 + 2**-20))
        other = source(network, pictures, made_by="resnet20").held.image
        assert torch.equal(other, source(network, pictures).held.image)
        assert not torch.equal(other, first)
        hook.remove()
    assert torch.equal(source(network, pictures, made_by="resnet20").held.image, first)


def test_pictures_of_the_same_bytes_and_another_shape_have_other_features(
    network: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    pictures = Pictures(8)
    square = source(network, pictures, made_by="resnet20").held.image
    pictures.images = pictures.images.reshape(8, 4, 16, 3)
    found = source(network, pictures, made_by="resnet20").held.image
    assert torch.equal(found, source(network, pictures).held.image)
    assert not torch.equal(found, square)


def test_pictures_that_differ_in_a_byte_have_other_features(
    network: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    pictures = Pictures(8)
    before = source(network, pictures, made_by="resnet20").held.image
    pictures.images[3, 0, 0, 0] ^= 255
    after = source(network, pictures, made_by="resnet20").held.image
    assert (before != after).any(1).nonzero().flatten().tolist() == [3]


def test_no_more_is_kept_than_the_cache_may_hold(
    network: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0.000001")
    held = source(network, Pictures(8), made_by="resnet20").held.image
    assert torch.isfinite(held).all()
    assert not list((tmp_path / "features").rglob("*.npy"))


def test_a_users_own_floats_are_not_written(network: Headed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    assert len(source(network, Pictures(8, floats=True), made_by="resnet20").held.image) == 8
    assert not (tmp_path / "features").exists()
