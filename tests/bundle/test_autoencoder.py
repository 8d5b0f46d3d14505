"""Pictures to codes and back, from a bundle; codes that are drawn; and what is told of others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from netwright import NetwrightError, load
from netwright.bundle import autoencoder as module
from netwright.bundle.autoencoder import AutoencoderBundle, load_autoencoder
from netwright.bundle.embedder import make_embedder
from netwright.bundle.evaluate import evaluate_bundle
from netwright.bundle.predictor import load_classifier
from netwright.bundle.seeing import opened
from netwright.tasks.reconstruction import psnr, squared_error
from tests.bundle.autoencoders import (
    CLASSES,
    CONDITIONAL,
    CONVOLUTIONAL,
    LATENT,
    PLAIN,
    RECURRENT,
    SIDE,
    VAE,
    bundle,
    pictures,
)  # fmt: skip


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> AutoencoderBundle:
    return load_autoencoder(bundle(tmp_path_factory.mktemp("vae")), device="cpu")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> AutoencoderBundle:
    return load_autoencoder(bundle(tmp_path_factory.mktemp("conditional"), CONDITIONAL), device="cpu")


@pytest.mark.parametrize("spec", [VAE, PLAIN, CONDITIONAL, RECURRENT, CONVOLUTIONAL])
def test_codes_and_reconstructions_are_those_of_the_network(spec: str, tmp_path: Path) -> None:
    found = load(bundle(tmp_path, spec), device="cpu")
    assert isinstance(found, AutoencoderBundle)
    labels = [0, 1] if found.conditional else None
    given = pictures(2)
    mean, log_variance = found.encode(given, labels)
    told = None if labels is None else torch.tensor(labels)
    with torch.no_grad():
        output = found.model(found.prepared(given), told)
    torch.testing.assert_close(mean, output.mean)
    torch.testing.assert_close(found.reconstruct(given, labels), output.pixels.clamp(0, 1))
    torch.testing.assert_close(found.decode(mean, labels), output.pixels.clamp(0, 1))
    assert (log_variance is None) == (not found.random)
    if log_variance is not None:
        torch.testing.assert_close(log_variance, output.log_variance)


class TestPictures:
    def test_files_pillow_images_arrays_and_ready_values_are_the_same(
        self, vae: AutoencoderBundle, tmp_path: Path
    ) -> None:
        array = pictures(1)[0]
        picture = Image.fromarray(array)
        picture.save(tmp_path / "a.png")
        expected = vae.encode(array)[0]
        stored = vae.preprocess_or_error().stored(tmp_path / "a.png")
        ready = vae.pictures(array)
        for same in (tmp_path / "a.png", [picture], stored[None], torch.from_numpy(stored[None]), ready, ready[0]):
            assert torch.equal(vae.encode(same)[0], expected)

    def test_they_are_what_is_seen_and_the_input_is_normalised(self, vae: AutoencoderBundle) -> None:
        middle = np.arange(100, dtype=np.uint8).reshape(10, 10)  # of the stored size: only cut
        seen = vae.pictures(middle)
        np.testing.assert_allclose(seen[0, 0].numpy(), middle[1:9, 1:9] / 255, atol=1e-7)
        torch.testing.assert_close(vae.prepared(middle), (seen - 0.5) / 0.25)

    def test_parts_give_what_all_together_give(self, vae: AutoencoderBundle, monkeypatch: pytest.MonkeyPatch) -> None:
        many = vae.pictures(pictures(5))
        whole, reconstructed = vae.encode(many)[0], vae.reconstruct(many)
        monkeypatch.setattr(vae, "at_once", 2)
        torch.testing.assert_close(vae.encode(many)[0], whole)
        torch.testing.assert_close(vae.reconstruct(many), reconstructed)
        assert [len(part) for part in vae.decoded_parts(whole)] == [2, 2, 1]

    def test_large_pictures_are_fewer_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "AT_ONCE", 5 * SIDE * SIDE)
        assert load_autoencoder(bundle(tmp_path), device="cpu").at_once == 5

    def test_none_give_none(self, vae: AutoencoderBundle) -> None:
        mean, log_variance = vae.encode([])
        assert mean.shape == (0, 3)
        assert log_variance is not None and log_variance.shape == (0, 3)
        assert vae.pictures([]).shape == vae.reconstruct([]).shape == (0, 1, SIDE, SIDE)

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            (torch.zeros(1, 1, 9, 9), "takes pictures of 1x8x8 values in .0, 1., and these are 1 x 1 x 9 x 9"),
            (torch.zeros(1, 1, SIDE, SIDE, dtype=torch.long), "of torch.int64"),
            (torch.full((1, 1, SIDE, SIDE), 1.5), "have 1.5 to 1.5"),
            (torch.full((1, 1, SIDE, SIDE), torch.nan), "have nan"),
            (np.zeros((5, 5, 5), np.uint8), "5 channels"),
            ("nowhere.png", "nowhere.png"),
        ],
    )
    def test_what_is_no_picture_is_refused(self, vae: AutoencoderBundle, given: Any, told: str) -> None:
        with pytest.raises(NetwrightError, match=told):
            vae.encode(given)


class TestCodes:
    def test_pictures_are_clipped(self, vae: AutoencoderBundle) -> None:
        found = vae.decode(torch.full((2, 3), 1e3))
        assert found.min() >= 0 and found.max() <= 1

    @pytest.mark.parametrize(
        ("codes", "told"),
        [
            (torch.zeros(2, 4), "are N x 3, and these are 2 x 4"),
            (torch.zeros(3), "are N x 3, and these are 3"),
            (np.full((1, 3), np.nan), "are not numbers"),
            ("x", "codes are numbers, one row a picture, and this is str"),
            ([[1.0], [1.0, 2.0]], "and this is list"),
        ],
    )
    def test_those_of_another_network_are_refused(self, vae: AutoencoderBundle, codes: Any, told: str) -> None:
        with pytest.raises(NetwrightError, match=told):
            vae.decode(codes)

    def test_a_seed_draws_the_same_and_more_of_them_begin_alike(self, vae: AutoencoderBundle) -> None:
        assert torch.equal(vae.sample(4, 7), vae.sample(4, 7))
        assert not torch.equal(vae.sample(4, 7), vae.sample(4, 8))

    def test_the_prior_is_standard_normal(self, vae: AutoencoderBundle) -> None:
        found = vae.sample(40_000).double()  # standard errors of 0.005 and at most 0.007: five of each
        torch.testing.assert_close(found.mean(0), torch.zeros(3).double(), atol=0.025, rtol=0)
        torch.testing.assert_close(found.T.cov(), torch.eye(3).double(), atol=0.036, rtol=0)

    def test_fitted_codes_lie_as_those_of_training(self, vae: AutoencoderBundle) -> None:
        found = vae.sample(40_000, fitted=True).double()  # a variance of 4 has a standard error of 0.028
        mean, covariance = (torch.tensor(LATENT[name]).double() for name in ("mean", "covariance"))
        torch.testing.assert_close(found.mean(0), mean, atol=0.05, rtol=0)
        torch.testing.assert_close(found.T.cov(), covariance, atol=0.14, rtol=0)
        torch.testing.assert_close(found[:, 2], torch.full((40_000,), 0.5).double())

    @pytest.mark.parametrize("kept", [LATENT, None, {"mean": [0.0] * 3, "covariance": None}])
    def test_without_a_prior_only_what_was_fitted_is_drawn(self, kept: Any, tmp_path: Path) -> None:
        found = load_autoencoder(bundle(tmp_path, PLAIN, latent=kept), device="cpu")
        with pytest.raises(NetwrightError, match="has no prior") as caught:
            found.sample(2)
        assert "--model vae" in caught.value.fix
        if kept is LATENT:
            assert found.sample(2, fitted=True).shape == (2, 3)
            return
        with pytest.raises(NetwrightError, match="no fitted Gaussian"):
            found.sample(2, fitted=True)

    @pytest.mark.parametrize("n", [0, -1, module.MOST_CODES + 1])
    def test_a_number_that_cannot_be_is_refused(self, vae: AutoencoderBundle, n: int) -> None:
        with pytest.raises(NetwrightError, match="n cannot be"):
            vae.sample(n)

    def test_what_is_known_of_them_is_told(self, vae: AutoencoderBundle, tmp_path: Path) -> None:
        assert vae.statistics == {"mean": LATENT["mean"], "n": 9}
        assert load_autoencoder(bundle(tmp_path, latent=None), device="cpu").statistics is None


class TestClasses:
    @pytest.mark.parametrize("labels", [["dog", "7"], [1, 2], np.array([1, 2]), torch.tensor([1, 2]), ("dog", 2)])
    def test_names_and_numbers_are_the_same(self, conditional: AutoencoderBundle, labels: Any) -> None:
        assert conditional.label_numbers(labels, 2).tolist() == [1, 2]  # pyright: ignore[reportOptionalMemberAccess]

    def test_one_is_for_all_and_decides_the_picture(self, conditional: AutoencoderBundle) -> None:
        codes = conditional.sample(3, labels="dog")
        dogs = conditional.decode(codes, "dog")
        assert torch.equal(dogs, conditional.decode(codes, [1, 1, 1]))
        assert not torch.equal(dogs, conditional.decode(codes, "cat"))

    def test_each_part_has_its_own(self, conditional: AutoencoderBundle, monkeypatch: pytest.MonkeyPatch) -> None:
        many, labels = conditional.pictures(pictures(3)), ["cat", "dog", "7"]
        whole = conditional.reconstruct(many, labels)
        monkeypatch.setattr(conditional, "at_once", 1)
        torch.testing.assert_close(conditional.reconstruct(many, labels), whole)

    @pytest.mark.parametrize(
        ("labels", "told"),
        [
            (None, "is conditional: it wants the class of each picture"),
            ("dgo", "unknown class of this autoencoder 'dgo'"),
            (3, "3 is no class"),
            (-1, "-1 is no class"),
            (True, "True is no class"),
            (["cat"], "1 labels for 2 pictures"),
        ],
    )
    def test_others_are_refused(self, conditional: AutoencoderBundle, labels: Any, told: str) -> None:
        with pytest.raises(NetwrightError, match=told):
            conditional.encode(pictures(2), labels)

    def test_a_network_that_takes_none_says_so(self, vae: AutoencoderBundle) -> None:
        with pytest.raises(NetwrightError, match="takes no classes"):
            vae.encode(pictures(1), "cat")


class TestCard:
    """It may come from anywhere."""

    @pytest.mark.parametrize(
        ("latent", "told"),
        [
            ([], "latent cannot be"),
            ({}, "latent.lacks mean"),
            ({"mean": ["a"]}, "latent.mean cannot be"),
            ({"mean": [0.0] * 3, "covariance": [[1.0] * 3] * 2}, "covariance has 2 rows for 3"),
            ({"mean": [0.0] * 3, "covariance": [[1.0] * 2] * 3}, "covariance has 2 numbers for 3"),
            ({"mean": [0.0] * 3, "covariance": []}, "covariance has 0 rows for 3"),
            ({"mean": [0.0] * 3, "covariance": [[1e13] * 3] * 3}, "latent.covariance cannot be"),
            ({"mean": [0.0] * 3, "dimensions": 4}, "mean has 3 numbers for 4"),
            ({"mean": [1e7] * 3}, "latent.mean cannot be"),
            ({"mean": [0.0] * 3, "deviation": [-1.0] * 3}, "latent.deviation cannot be"),
            ({"mean": [0.0] * 3, "divergence": [1.0]}, "divergence has 1 numbers for 3"),
            ({"mean": [0.0] * 3, "active": -1}, "latent.active cannot be"),
            ({"mean": [0.0] * 2}, "2 dimensions for codes of 3"),
        ],
    )
    def test_forged_statistics_are_refused(self, latent: Any, told: str, tmp_path: Path) -> None:
        _forge(bundle(tmp_path, latent=None), lambda card: card.update(latent=latent))
        with pytest.raises(NetwrightError, match=told):
            load(tmp_path, device="cpu")

    def test_a_preparation_for_another_size_is_refused(self, tmp_path: Path) -> None:
        _forge(bundle(tmp_path), lambda card: card["preprocess"].update(image_size=9))
        with pytest.raises(NetwrightError, match="prepares pictures of 9 px for a network of 8x8"):
            load(tmp_path, device="cpu")

    def test_a_network_far_larger_than_its_weights_is_refused(self, tmp_path: Path) -> None:
        huge = "autoencoder(encoder='resnet20', image_size=512, latent=300)"
        _forge(bundle(tmp_path), lambda card: card["model"].update(spec=huge))
        with pytest.raises(NetwrightError, match="far fewer weights"):
            load(tmp_path, device="cpu")

    @pytest.mark.parametrize("task", ["classification", "segmentation", "a_users_own"])
    def test_an_autoencoder_that_says_it_is_none_is_refused(self, tmp_path: Path, task: str) -> None:
        masks = {"background": False, "several": False, "colours": [[0, 0, 0]] * 3, "crop": 8}
        _forge(bundle(tmp_path), lambda card: card.update(task=task, masks=masks))
        with pytest.raises(NetwrightError, match=f"is an autoencoder, and says that it is for {task}"):
            load(tmp_path, device="cpu")

    @pytest.mark.parametrize("tricks", ["denoise", [3], ["denoise("]])
    def test_tricks_that_nobody_can_read_are_refused(self, tmp_path: Path, tricks: Any) -> None:
        _forge(bundle(tmp_path), lambda card: card["recipe"].update(tricks=tricks))
        with pytest.raises(NetwrightError, match="damaged or forged"):
            load(tmp_path, device="cpu")

    def test_a_classifier_that_says_it_is_one_is_refused(self, tmp_path: Path) -> None:
        _forge(bundle(tmp_path), lambda card: card.update(task="classification"))
        with pytest.raises(NetwrightError, match="gives each picture a class, and this needs an autoencoder"):
            load_autoencoder(tmp_path)

    def test_without_classes_it_works_as_well(self, tmp_path: Path) -> None:
        _forge(bundle(tmp_path), lambda card: card.update(classes=[]))
        assert load_autoencoder(tmp_path, device="cpu").reconstruct(pictures(1)).shape == (1, 1, SIDE, SIDE)

    @pytest.mark.parametrize("mean", [float("nan"), 1.1e6, -1.1e6])
    def test_statistics_that_no_bundle_may_have_are_not_kept(self, tmp_path: Path, mean: float) -> None:
        assert _card(bundle(tmp_path, latent={"mean": [mean] * 3}))["latent"] is None
        huge = {"mean": [0.0] * 3, "covariance": [[1.1e12] * 3] * 3}
        assert _card(bundle(tmp_path, latent=huge))["latent"] is None

    def test_covariances_of_many_dimensions_are_not_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("netwright.bundle.save.MOST_DIMENSIONS", 2)
        assert _card(bundle(tmp_path))["latent"] == LATENT | {"covariance": None}


def test_what_needs_classes_refuses_and_says_what_can_be_done(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    for refused in (load_classifier, lambda path: opened(str(path))):
        with pytest.raises(NetwrightError, match="is an autoencoder") as caught:
            refused(folder)
        assert "denoise" in caught.value.fix
        assert f'--weights {folder} --model "mlp(image_size=8, widths=(8,))"' in caught.value.fix
    with pytest.raises(NetwrightError, match="vae is an autoencoder") as caught:
        opened("vae", "weights.pt")
    assert '--model "resnet20"' in caught.value.fix


def test_codes_of_a_conditional_one_are_not_offered_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="is an autoencoder") as caught:
        load_classifier(bundle(tmp_path, CONDITIONAL))
    assert "embed" not in caught.value.fix
    assert "synthesize" in caught.value.fix


def test_no_classifier_is_named_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="is an autoencoder") as caught:
        load_classifier(bundle(tmp_path, RECURRENT))
    assert "train" not in caught.value.fix


class TestEmbedding:
    def test_a_vector_is_the_mean_code(self, tmp_path: Path) -> None:
        folder = bundle(tmp_path)
        made, found = make_embedder(str(folder), device="cpu"), load_autoencoder(folder, device="cpu")
        stored = torch.from_numpy(np.stack([found.preprocess_or_error().from_array(each) for each in pictures(3)]))
        torch.testing.assert_close(torch.from_numpy(made.vectors(stored)), found.encode(stored)[0])

    def test_a_stage_is_pooled(self, tmp_path: Path) -> None:
        made = make_embedder(str(bundle(tmp_path, CONVOLUTIONAL)), stage=-1, device="cpu")
        assert made.vectors(torch.zeros(2, 10, 10, 1, dtype=torch.uint8)).shape == (2, 8)

    def test_a_model_by_name_has_the_size_of_its_own(self, tmp_path: Path) -> None:
        folder = bundle(tmp_path)
        name = VAE.replace("image_size", "in_channels=1, image_size")
        made = make_embedder(name, weights=str(folder), device="cpu")
        assert made.preprocess.image_size == SIDE
        assert made.meta["digest"] == make_embedder(str(folder), device="cpu").meta["digest"]

    def test_what_cannot_be_is_refused(self, tmp_path: Path) -> None:
        folder = str(bundle(tmp_path / "vae"))
        with pytest.raises(NetwrightError, match="takes pictures of 8x8 pixels, and --image-size 16"):
            make_embedder(folder, image_size=16, device="cpu")
        with pytest.raises(NetwrightError, match="codes are of pictures whose class it is told") as caught:
            make_embedder(str(bundle(tmp_path / "conditional", CONDITIONAL)), device="cpu")
        assert "--stage -1" in caught.value.fix


class TestEvaluation:
    def test_metrics_are_those_of_reconstructions_of_pictures_without_classes(
        self, vae: AutoencoderBundle, tmp_path: Path
    ) -> None:
        for place, array in enumerate(pictures(4)):
            Image.fromarray(array).save(tmp_path / f"{place}.png")
        found = evaluate_bundle(vae, str(tmp_path))
        files = sorted(tmp_path.glob("*.png"))
        mse = squared_error(vae.reconstruct(files), vae.pictures(files))
        assert found["n"] == 4
        assert found["metrics"]["mse"]["value"] == pytest.approx(float(mse.mean()), rel=1e-5)
        assert found["metrics"]["psnr"]["value"] == pytest.approx(float(psnr(mse).mean()), rel=1e-5)
        assert {"rate", "distortion", "elbo"} < set(found["metrics"])
        assert found["latent"]["dimensions"] == 3

    def test_a_side_that_the_folder_has_is_measured_alone(self, vae: AutoencoderBundle, tmp_path: Path) -> None:
        for place, array in enumerate(pictures(4)):
            side = tmp_path / ("test" if place == 0 else "train")
            side.mkdir(exist_ok=True)
            Image.fromarray(array).save(side / f"{place}.png")
        found = evaluate_bundle(vae, str(tmp_path))
        assert (found["split"], found["n"]) == ("test", 1)

    def test_a_conditional_one_is_told_the_classes(self, conditional: AutoencoderBundle, tmp_path: Path) -> None:
        for name, array in zip(CLASSES[:2], pictures(2), strict=True):
            (tmp_path / name).mkdir()
            Image.fromarray(array).save(tmp_path / name / "a.png")
        files = [tmp_path / name / "a.png" for name in CLASSES[:2]]
        mse = squared_error(conditional.reconstruct(files, CLASSES[:2]), conditional.pictures(files))
        found = evaluate_bundle(conditional, str(tmp_path))
        assert found["metrics"]["mse"]["value"] == pytest.approx(float(mse.mean()), rel=1e-5)
        (tmp_path / "cat").rename(tmp_path / "bird")
        with pytest.raises(NetwrightError, match="unknown class for this model 'bird'"):
            evaluate_bundle(conditional, str(tmp_path))

    def test_flags_of_masks_are_refused(self, vae: AutoencoderBundle) -> None:
        with pytest.raises(NetwrightError, match="--ignore is for masks"):
            evaluate_bundle(vae, ".", ignore=3)


def _card(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text())


def _forge(folder: Path, change: Any) -> None:
    card = _card(folder)
    change(card)
    (folder / "bundle.json").write_text(json.dumps(card))
