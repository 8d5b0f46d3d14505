"""Pictures without labels through all layers: opened, trained on, measured, handed on, compared; or refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netwright import fit, load, recipe
from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.core.errors import Interrupted, NetwrightError
from netwright.engine.loop import Watcher
from netwright.lab.job import Job
from netwright.lab.measure import measure
from netwright.lab.trial import data_of
from netwright.models._autoencoder import Autoencoding
from netwright.recipes._assemble import assemble
from netwright.recipes._choose import suited
from netwright.recipes._fit import Result
from netwright.recipes._inputs import read_inputs
from netwright.recipes._recipe import Recipe, recipe_for
from netwright.tasks.reconstruction import Reconstruction
from tests.recipes.test_fit import StopAfter, same_history, same_weights

DENSE = "mlp_autoencoder(hidden=(24,), latent=3)"
RANDOM = "vae(encoder='mlp(widths=(24,))', latent=3, observation='gaussian(sigma=0.2)')"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder of grey pictures: discs at random places."""
    folder, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    y, x = np.mgrid[:12, :12]
    for number in range(40):
        row, column = draw.uniform(3, 9, 2)
        disc = ((y - row) ** 2 + (x - column) ** 2 < 9) * 200 + draw.integers(0, 30, (12, 12))
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def short(photos: Path, **values: object) -> Recipe:
    given = {"data": str(photos), "model": DENSE, "epochs": 2, "batch_size": 8, "threads": 1, "device": "cpu"}
    return recipe("autoencode", **{**given, "precision": "fp32", **values})


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return fit(short(photos, model=RANDOM), output=tmp_path_factory.mktemp("runs"))


class TestARun:
    def test_measures_pictures_and_codes_on_every_split(self, run: Result) -> None:
        assert list(run.splits["test"]) == ["psnr", "mse", "rate", "distortion", "elbo", "loss"]
        latent = run.record["result"]["latent"]["test"]
        assert latent["n"] == run.splits["test"]["psnr"]["n"]
        assert len(latent["divergence"]) == 3
        assert set(run.record["result"]["latent"]) == {"val", "test"}

    def test_its_bundle_gives_the_pictures_that_were_measured(self, run: Result, photos: Path) -> None:
        made = load(run.path)
        assert isinstance(made, AutoencoderBundle)
        assert "image_size=12" in made.card["model"]["spec"]
        seen = data_of(short(photos)).splits["test"]
        names = [photos / name for name in seen.names]
        truth = np.stack([np.asarray(Image.open(name)) for name in names])[:, None] / 255
        found = made.reconstruct(names).numpy()
        errors = np.square(found - truth).mean((1, 2, 3))
        assert errors.mean() == pytest.approx(run.splits["test"]["mse"]["value"], rel=1e-4)

    def test_its_page_is_drawn(self, run: Result) -> None:
        assert "could not be drawn" not in (run.path / "report.html").read_text()

    def test_goes_on_as_if_it_had_not_been_stopped(self, photos: Path, run: Result, tmp_path: Path) -> None:
        """Codes are drawn, and draws are functions of seed and step."""
        with pytest.raises(Interrupted):
            fit(short(photos, model=RANDOM), output=tmp_path, watcher=StopAfter(3))
        cut = next(tmp_path.glob("*/record.json")).parent
        resumed = fit(resume=cut)
        assert same_weights(run.path, resumed.path)
        assert same_history(run.path, resumed.path)


class TestData:
    def test_a_flat_folder_is_divided_and_needs_no_classes(self, run: Result) -> None:
        splits = run.record["data"]["splits"]
        assert sum(side["n"] for side in splits.values()) == 40
        assert set(splits) == {"train", "val", "test"}

    def test_folders_named_as_sides_divide_flat_pictures(self, photos: Path, tmp_path: Path) -> None:
        for side, numbers in {"train": range(28), "val": range(28, 34), "test": range(34, 40)}.items():
            (tmp_path / side).mkdir()
            for number in numbers:
                (tmp_path / side / f"{number}.png").write_bytes((photos / f"{number:02d}.png").read_bytes())
        data = data_of(short(tmp_path))
        assert any("classes are not used" in note for note in data.notes)
        assert {side: len(held) for side, held in data.splits.items()} == {"train": 28, "val": 6, "test": 6}

    def test_one_class_is_enough_and_no_fault(self, photos: Path) -> None:
        inputs = read_inputs(short(photos, gate="error"), None, None)
        assert inputs.classes == (photos.name,)
        assert not any("only one class" in note for note in inputs.record["notes"])
        images = np.zeros((30, 8, 8), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None]
        np.savez(photos.parent / "one.npz", x_train=images, y_train=np.zeros(30, np.int64))
        assert data_of(short(photos.parent / "one.npz")).classes == ("0",)

    def test_classification_still_wants_classes(self, photos: Path) -> None:
        with pytest.raises(NetwrightError, match="class"):
            data_of(short(photos, task="classification", model="lenet5"))

    def test_pictures_with_masks_are_refused_with_the_way_out(self) -> None:
        with pytest.raises(NetwrightError, match="masks") as caught:
            fit(recipe("autoencode", data="generated:disks(n=16)", epochs=1, threads=1))
        assert "images" in caught.value.fix


class TestChoices:
    def test_the_task_chooses_the_recipe(self) -> None:
        assert recipe_for(None, "reconstruction") == recipe_for("photos", "reconstruction") == "autoencode"

    @pytest.mark.parametrize(("task", "model"), [("reconstruction", "lenet5"), ("classification", "vae")])
    def test_a_network_for_another_task_is_refused(self, photos: Path, task: str, model: str) -> None:
        with pytest.raises(NetwrightError, match=model):
            fit(short(photos, task=task, model=model))

    def test_the_network_suits_the_pictures(self, photos: Path) -> None:
        chosen = short(photos, model="auto", batch_size="auto")
        found = suited(chosen, read_inputs(chosen, None, None))
        assert found.model == "autoencoder(encoder='resnet20')"
        assert found.sources["model"] == "auto"
        assert found.batch_size == 16

    @pytest.mark.parametrize("model", [DENSE, "autoencoder(encoder='resnet20', latent=4, observation='bernoulli')"])
    @pytest.mark.parametrize("normalise", ["z_score", "unit", "global"])
    def test_a_network_begins_at_the_mean_colour(self, photos: Path, model: str, normalise: str) -> None:
        asked = short(photos, model=model, normalise=normalise)
        pixels = data_of(asked).splits["train"].images[:] / 255
        network = assemble(asked).run.model
        assert isinstance(network, Autoencoding)
        *_, bias = network.decoder.parameters()
        mean = torch.tensor(pixels.mean(), dtype=torch.float32).expand_as(bias)
        torch.testing.assert_close(network.observation.pixels(bias), mean, rtol=0, atol=1e-4)  # of four decimals

    def test_of_pictures_on_a_scale_of_their_own_no_colour_is_known(self) -> None:
        own = [(torch.full((1, 12, 12), 2.0), label) for label in (0, 1) * 4]
        network = assemble(recipe("autoencode", model=DENSE, batch_size=4, epochs=1), data=(own, own)).run.model
        assert isinstance(network, Autoencoding)
        *_, bias = network.decoder.parameters()
        assert not bias.any()

    def test_a_network_for_other_channels_says_so(self, photos: Path) -> None:
        with pytest.raises(NetwrightError, match="takes pictures of 3 channels, and these have 1"):
            fit(short(photos, model="mlp_autoencoder(hidden=(8,), latent=2, in_channels=3)"))

    def test_weights_that_were_learnt_keep_where_they_begin(self, photos: Path, run: Result) -> None:
        network = assemble(short(photos, model="auto", weights=str(run.path / "bundle"))).run.model
        learnt = load(run.path).network
        for own, given in zip(network.parameters(), learnt.parameters(), strict=True):
            torch.testing.assert_close(own, given, rtol=0, atol=0)

    def test_a_network_that_wants_classes_is_refused_where_there_are_none(self, photos: Path) -> None:
        with pytest.raises(NetwrightError, match="all are of one"):
            fit(short(photos, model="conditional_vae(encoder='mlp(widths=(8,))', latent=2)"))

    def test_a_network_for_another_size_says_which(self, photos: Path) -> None:
        with pytest.raises(NetwrightError, match="8") as caught:
            fit(short(photos, model="mlp_autoencoder(hidden=(8,), latent=2, image_size=8)"))
        assert "--image-size 8" in caught.value.fix

    def test_values_outside_0_and_1_are_refused(self) -> None:
        draw = np.random.default_rng(0)
        sides = [[(torch.from_numpy(draw.normal(size=(1, 8, 8)).astype(np.float32)), 0)] * 16 for _ in range(2)]
        with pytest.raises(NetwrightError, match=r"\[0, 1\]"):
            fit("autoencode", data=tuple(sides), classes=["a", "b"], model=DENSE, epochs=1, threads=1)

    def test_a_task_object_learns_how_pictures_were_normalised(self, photos: Path) -> None:
        parts = assemble(short(photos), task=Reconstruction())
        assert parts.run.task == Reconstruction(tuple(parts.inputs.normalise.mean), tuple(parts.inputs.normalise.std))


class Told(Watcher):
    def __init__(self) -> None:
        self.words: list[str] = []

    def told(self, words: str) -> None:
        self.words.append(words)


class TestAlarm:
    COLLAPSED = "vae(encoder='mlp(widths=(24,))', latent=3, beta=1e4, observation='gaussian(sigma=1.0)')"

    def test_is_raised_once_while_it_trains_and_kept(self, photos: Path, tmp_path: Path) -> None:
        watcher = Told()
        made = fit(short(photos, model=self.COLLAPSED, epochs=12, lr=0.02), output=tmp_path, watcher=watcher)
        alarms = [words for words in watcher.words if "collaps" in words]
        assert len(alarms) == 1
        assert "kl_warmup" in alarms[0]
        assert made.record["result"]["latent"]["test"]["collapsed"] is True
        assert "kl_warmup" in made.record["result"]["latent"]["test"]["alarm"]

    def test_is_not_raised_of_a_code_that_says_something(self, photos: Path, tmp_path: Path) -> None:
        watcher = Told()
        healthy = "vae(encoder='mlp(widths=(24,))', latent=3, observation='gaussian(sigma=0.1)')"
        made = fit(short(photos, model=healthy, epochs=16, lr=0.01), output=tmp_path, watcher=watcher)
        assert not [words for words in watcher.words if "collaps" in words]
        assert made.record["result"]["latent"]["test"]["alarm"] == ""


def test_an_arm_with_another_network_is_of_the_pictures_size(photos: Path) -> None:
    asked = short(photos, model="mlp_autoencoder(hidden=(24,), latent=2)", epochs=1)
    data = data_of(asked)
    outcome = measure(Job(asked, data.fingerprint, split="test", like=DENSE), data)
    assert 0 < outcome.machine["shared_tensors"][0] < outcome.machine["shared_tensors"][1]


def test_an_arm_with_the_same_network_begins_and_ends_as_the_baseline(photos: Path) -> None:
    asked = short(photos, epochs=1)
    data = data_of(asked)
    job = Job(asked, data.fingerprint, split="test")
    one, other = (
        measure(replace(job, like=like), data) for like in ("", DENSE.replace("latent=3", "latent=3, tied=False"))
    )
    assert other.machine["shared_tensors"][0] == other.machine["shared_tensors"][1]
    assert np.array_equal(one.values["mse"], other.values["mse"])


def test_the_lab_compares_it_in_hundredths_of_100_db(photos: Path) -> None:
    asked = short(photos)
    data = data_of(asked)
    outcome = measure(Job(asked, data.fingerprint, split="test"), data)
    assert outcome.headline == "psnr"
    assert 0 < outcome.mean("psnr") < 1
    assert outcome.mean("psnr") == pytest.approx(
        float(-0.1 * np.log10(np.maximum(outcome.values["mse"], 1e-10)).mean()), rel=1e-4
    )
