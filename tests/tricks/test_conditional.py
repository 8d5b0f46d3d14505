"""Tricks on a network that is told each picture's class: those that call the network themselves tell it too."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment, labelled_batches, plain_batches
from netwright.engine.run import Run
from netwright.engine.signal_scale import measure
from netwright.engine.trick import Trick
from netwright.engine.unit_statistics import unit_statistics
from netwright.models.vae import VAE
from netwright.nn.init import executed
from netwright.nn.norm import refresh_
from netwright.nn.output import given
from netwright.nn.places import stage_ends
from netwright.tricks import TRICKS
from tests.support import CLASSES
from tests.tricks.autoencoders import LATENT, SIDE, TinyAutoencoder, tiny_picture_run

MAKERS: dict[str, Any] = {name: TRICKS.load(name) for name in TRICKS.names()}
NAMES = [name for name, make in MAKERS.items() if "reconstruction" in make.card.tasks and name != "sparse"]


class Conditional(TinyAutoencoder):
    """With random codes; encoder and decoder are told the class."""

    conditional, classes = True, CLASSES

    def __init__(self) -> None:
        super().__init__(random=True)
        self.to_mean = nn.Linear(6 * 16 + CLASSES, LATENT)
        self.decoder[0] = nn.Linear(LATENT + CLASSES, 4 * 16)

    def encoded(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        features = self.maps(x)[-1].flatten(1)
        assert self.to_log_variance is not None
        return self.to_mean(self.with_label(features, label)), self.to_log_variance(features)

    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        return self.decoder(self.with_label(code, label))


def run_with(trick: Trick | str, network: Callable[[], nn.Module] = Conditional) -> Run:
    return tiny_picture_run(trick, n=4, network=network)


def vae() -> nn.Module:
    return VAE(
        encoder="resnet20", latent=LATENT, width=2, image_size=SIDE, in_channels=3, classes=CLASSES, conditional=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_trick_works_with_classes(name: str) -> None:
    """From the first station to the last, with one step between them."""
    run = run_with(MAKERS[name](**MAKERS[name].card.strong))
    batch = Augment(run)(next(iter(run.loader.epoch(0))))
    run.model.train()
    assert torch.isfinite(run.gradient(batch, run).loss)
    run.finished = True
    with torch.no_grad():
        assert given(run.predictor(), batch.image, batch.label).natural.shape == batch.image.shape


@pytest.mark.parametrize("spec", ["init(kind='lsuv')", "init(kind='he')", "zero_init_residual", "drop_block"])
def test_of_the_library_too(spec: str) -> None:
    assert all(torch.isfinite(parameter).all() for parameter in run_with(spec, vae).model.parameters())


def test_sparse_refuses_random_codes_whatever_they_are_told() -> None:
    with pytest.raises(NetwrightError, match="codes that are not random"):
        run_with("sparse")


class Told(nn.Module):
    """Gives pictures times their class, which a batch norm sees."""

    conditional = True

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.rectifier = nn.ReLU()

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.rectifier(self.norm(x * label.view(-1, 1, 1, 1)))


def test_statistics_are_those_of_pictures_with_their_classes() -> None:
    image, label = torch.rand(6, 3, 4, 4), torch.tensor([1, 2, 3, 1, 2, 3])
    network = Told()
    refresh_(network, [(image, label)])
    seen = image * label.view(-1, 1, 1, 1)
    torch.testing.assert_close(network.norm.running_mean, seen.mean((0, 2, 3)))
    (moved,) = unit_statistics(network, [(image, label)]).norms
    assert moved.shift.max() < 1e-6
    refresh_(network, [image])  # of class 0, where nothing is known
    torch.testing.assert_close(network.norm.running_mean, torch.zeros(3))


def test_training_pictures_come_with_their_classes() -> None:
    run = tiny_picture_run(n=8, network=Conditional)
    pairs, plain, raw = list(labelled_batches(run)), list(plain_batches(run)), list(run.loader.epoch(0))
    assert all(torch.equal(pair[0], image) for pair, image in zip(pairs, plain, strict=True))
    assert [pair[1].tolist() for pair in pairs] == [each.label.tolist() for each in raw]


def test_probes_need_no_classes() -> None:
    network = vae()
    images = torch.rand(2, 3, SIDE, SIDE)
    assert executed(network, images) and stage_ends(network, 2)
    assert all(layer.forward > 0 for layer in measure(network, images))
