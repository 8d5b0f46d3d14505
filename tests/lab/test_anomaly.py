"""Scores against their formulas, baselines against scikit-learn, and which pictures are normal, held out and shown."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.decomposition import PCA
from torch import Tensor, nn

from netwright.bundle.autoencoder import load_autoencoder
from netwright.bundle.save import save_bundle
from netwright.core.errors import NetwrightError
from netwright.data import open_data
from netwright.data.split import Split
from netwright.engine.device import profile
from netwright.engine.normalise import Normalise
from netwright.lab import _anomaly_scores
from netwright.lab._anomaly_baselines import Components, nearest
from netwright.lab._anomaly_pictures import class_named, held_out
from netwright.lab._anomaly_scores import KINDS, Codes, Scorer, worst_patch
from netwright.lab.anomaly import anomalies, anomaly
from netwright.models import create_model
from netwright.models._autoencoder import Autoencoding
from netwright.nn.observation import make_observation
from netwright.recipes._recipe import recipe

SIDE = 8
SPEC = f"mlp_autoencoder(hidden=(16,), latent=2, image_size={SIDE})"
MOMENTS = (0.4,), (0.3,)


class Linear(Autoencoding):
    """Codes and pictures by matrices, so that everything has a closed form."""

    head_name = "encoder"

    def __init__(self, random: bool) -> None:
        super().__init__()
        self.latent, self.image_size, self.random = 3, (SIDE, SIDE), random
        self.observation = make_observation("gaussian(sigma=0.5)")
        self.encoder, self.decoder = nn.Linear(SIDE * SIDE, 3), nn.Linear(3, SIDE * SIDE)
        self.log_variance = torch.tensor([-1.0, -2.0, 0.5])

    def maps(self, x: Tensor) -> list[Tensor]:
        return []

    def encoded(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        mean = self.encoder(x.flatten(1))
        return mean, self.log_variance.expand_as(mean) if self.random else None

    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        return self.decoder(code).unflatten(1, (1, SIDE, SIDE))


def linear(random: bool = False) -> Linear:
    torch.manual_seed(0)
    return Linear(random).eval()


def split_of(n: int, seed: int = 0) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 1)).astype(np.uint8)
    return Split(images, np.zeros(n, np.int64), np.arange(n), [f"{place}.png" for place in range(n)])


def scorer(network: Autoencoding, codes: Codes | None = None) -> Scorer:
    return Scorer(network, Normalise(*MOMENTS, SIDE), profile("cpu", "fp32"), codes)


def given(split: Split) -> tuple[Tensor, Tensor]:
    """Pictures in [0, 1], and as the network takes them."""
    pictures = torch.from_numpy(np.asarray(split.images)).permute(0, 3, 1, 2).float() / 255
    return pictures, (pictures - MOMENTS[0][0]) / MOMENTS[1][0]


class TestScores:
    def test_error_is_the_sum_over_the_picture_of_what_is_shown(self) -> None:
        network, split = linear(), split_of(5)
        pictures, x = given(split)
        with torch.no_grad():
            made = network.decode(network.encode(x)[0]).clamp(0, 1)
        found = scorer(network).scores(split, ["error"])["error"]
        np.testing.assert_allclose(found, (pictures - made).square().sum((1, 2, 3)), rtol=1e-5)

    def test_a_patch_is_the_worst_window(self) -> None:
        squared = torch.rand(3, 2, 20, 32)  # windows of 3 pixels: an eighth of 20, rounded up to the least
        rows = [
            max(float(each[:, y : y + 3, x : x + 3].sum()) for y in range(18) for x in range(30)) for each in squared
        ]
        np.testing.assert_allclose(worst_patch(squared), rows, rtol=1e-5)

    def test_latent_is_the_mahalanobis_distance(self) -> None:
        network, split = linear(), split_of(40)
        codes = scorer(network).mean_codes(split)
        mean, covariance = codes.mean(0), np.cov(codes, rowvar=False)
        found = scorer(network, Codes.fitted(mean, covariance)).scores(split, ["latent"])["latent"]
        inverse = np.linalg.inv(covariance)
        np.testing.assert_allclose(found, [mahalanobis(each, mean, inverse) ** 2 for each in codes], rtol=1e-4)

    def test_a_code_that_never_moves_does_not_decide_alone(self) -> None:
        codes = Codes.fitted(np.zeros(2), np.diag([1.0, 0.0]))
        far = codes.distance(torch.tensor([[0.0, 1e-3]]))
        assert 0 < float(far) < 0.1

    def test_the_elbo_nears_its_closed_form(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """E|x − W z − b|² = |x − W m − b|² + Σ s² |w|², and the divergence is that of two Gaussians."""
        network, split = linear(random=True), split_of(4)
        pictures, x = given(split)
        with torch.no_grad():
            mean, log_variance = network.encode(x)
            variance = network.log_variance.exp()
            off = (pictures.flatten(1) - network.decoder(mean)).square().sum(1)
            off = off + (variance * network.decoder.weight.square().sum(0)).sum()
            distortion = off / (2 * 0.25) + SIDE * SIDE * network.observation.offset
            divergence = torch.distributions.kl_divergence(
                torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
            ).sum(1)
        monkeypatch.setattr(_anomaly_scores, "DRAWS", 2000)
        found = scorer(network).scores(split, ["elbo"])["elbo"]
        # The mean of 1,000 independent squares of a normal is off by √(2 / 1000) of itself.
        extra = float((variance * network.decoder.weight.detach().square().sum(0)).sum()) / 0.5
        np.testing.assert_allclose(found, distortion + divergence, atol=5 * extra * (2 / 1000) ** 0.5)

    def test_a_picture_has_the_same_score_in_any_company(self) -> None:
        network, split = linear(random=True), split_of(300)
        kinds = ["error", "patch", "elbo"]
        whole = scorer(network).scores(split, kinds)
        some = scorer(network).scores(split.taken(np.array([299, 3])), kinds)
        for kind in kinds:
            np.testing.assert_allclose(some[kind], whole[kind][[299, 3]], rtol=1e-5)

    def test_what_a_network_cannot_give_is_told(self) -> None:
        assert scorer(linear()).kinds() == ("error", "relative", "patch")
        assert scorer(linear(True), Codes.fitted(np.zeros(3), np.eye(3))).kinds() == tuple(KINDS)
        with pytest.raises(NetwrightError, match="elbo cannot be had: codes of this network are not drawn"):
            scorer(linear()).refuse("elbo")
        with pytest.raises(NetwrightError, match="nothing was kept of the codes"):
            scorer(linear()).refuse("latent")
        with pytest.raises(NetwrightError) as error:
            scorer(linear()).refuse("errr")
        assert "did you mean 'error'" in error.value.fix

    def test_where_it_differs_is_where_it_is_hot(self) -> None:
        network, split = linear(), split_of(2)
        with torch.no_grad():
            made = network.decode(network.encode(given(split)[1])[0]).clamp(0, 1)
        bytes_ = (made * 255).round().byte().permute(0, 2, 3, 1).numpy().copy()
        bytes_[0, 1:3, 5:7] = np.where(bytes_[0, 1:3, 5:7] > 127, 0, 255)
        looked = Split(bytes_, split.labels, split.ids, split.names)
        monkey = scorer(Fixed(made))
        _, back, heat = monkey.seen(looked, [0, 1])
        assert back.shape == (2, 1, SIDE, SIDE) and heat.shape == (2, SIDE, SIDE)
        y, x = np.unravel_index(heat[0].argmax(), heat[0].shape)
        assert 1 <= y <= 2 and 5 <= x <= 6
        assert heat[1].max() < 1e-4 < heat[0].max()


class Fixed(Linear):
    """Gives the same pictures back, whatever it is shown."""

    def __init__(self, made: Tensor) -> None:
        super().__init__(random=False)
        self.made = made

    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        return self.made[: len(code)]


class TestBaselines:
    @pytest.mark.parametrize("n", [50, 15])
    def test_components_are_those_of_scikit_learn(self, n: int) -> None:
        draw = np.random.default_rng(0)
        rows, others = draw.random((n, 20), np.float32), draw.random((9, 20), np.float32)
        known = PCA(5, svd_solver="full").fit(rows)
        left = ((known.inverse_transform(known.transform(others)).clip(0, 1) - others) ** 2).sum(1)
        np.testing.assert_allclose(Components.of(rows, 5).error(others), left, atol=1e-4)

    def test_the_nearest_is_the_nearest(self) -> None:
        draw = np.random.default_rng(0)
        rows, others = draw.random((30, 6), np.float32), draw.random((9, 6), np.float32)
        np.testing.assert_allclose(nearest(rows, others), cdist(others, rows).min(1) ** 2, atol=1e-5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never trained, the data it validated on, and pictures of two classes to score: to be read only."""
    return made_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def own_world(tmp_path: Path) -> Path:
    """The same, to be changed."""
    return made_world(tmp_path)


def made_world(tmp_path: Path) -> Path:
    draw, arrays = np.random.default_rng(0), {}
    for side, n in (("train", 60), ("val", 40), ("test", 20)):
        arrays |= {
            f"x_{side}": draw.integers(0, 90, (n, SIDE, SIDE, 1)).astype(np.uint8),
            f"y_{side}": np.arange(n) % 2,
        }
    np.savez(tmp_path / "sane.npz", **arrays)
    for name, low, high in (("good", 0, 90), ("scratched", 150, 256)):
        (tmp_path / "new" / name).mkdir(parents=True)
        for place in range(12):
            pixels = draw.integers(low, high, (SIDE, SIDE)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "new" / name / f"{place}.png")
    _write_run(tmp_path)
    return tmp_path


def _write_run(root: Path) -> None:
    torch.manual_seed(0)
    network = create_model(SPEC, classes=2, in_channels=1).eval()
    data = open_data(str(root / "sane.npz"))
    chosen = recipe("autoencode", data=str(root / "sane.npz"), model=SPEC)
    bundle = root / "run" / "bundle"
    bundle.mkdir(parents=True)
    codes = np.random.default_rng(0).normal(size=(50, 2))
    latent = {"mean": codes.mean(0).tolist(), "covariance": np.cov(codes, rowvar=False).tolist()}
    latent |= {"n": 50, "dimensions": 2, "deviation": codes.std(0).tolist()}
    save_bundle(
        bundle, network, spec=SPEC, structure=(), classes=data.classes, in_channels=1, macs=1000, task="reconstruction",
        preprocess=data.preprocess.to_json(), temperature=1.0, metrics={}, recipe={**chosen.model_dump(mode="json"),
        "precision": "fp32"}, versions={}, write=_write, latent=latent,
    )  # fmt: skip
    record = {"recipe": chosen.model_dump(mode="json"), "sources": {}, "own": {}}
    record["data"] = {"fingerprint": data.fingerprint}
    (root / "run" / "record.json").write_text(json.dumps(record))


def _write(path: Path, content: bytes | str) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def scored(world: Path, **options: Any) -> Any:
    return anomalies(str(world / "run"), [str(world / "new")], device="cpu", **options)[0]


class TestAnomalies:
    def test_the_threshold_is_from_the_pictures_that_the_run_validated_on(self, world: Path) -> None:
        found = scored(world, normal_classes=["good"], false_alarms=0.1)
        bundle = load_autoencoder(world / "run", device="cpu")
        val = np.load(world / "sane.npz")["x_val"]
        off = (bundle.pictures(val) - bundle.reconstruct(val)).square().sum((1, 2, 3)).double().numpy()
        np.testing.assert_allclose(np.sort(found.normal), np.sort(off), rtol=1e-4)
        assert found.threshold.rank == 37 and found.threshold.n == 40
        said = found.to_json()
        assert said["auroc"]["value"]["value"] == 1.0 and said["detected"]["value"] == 1.0
        assert said["normal"]["classes"] == ["good"] and said["normal"]["n"] == 40
        assert [row["class"] for row in said["by_class"]] == ["good", "scratched"]
        assert {each["score"] for each in said["auroc"]["by_score"]} == {"error", "relative", "patch", "latent"}

    def test_classes_that_the_run_does_not_know_are_neither_normal_nor_odd(self, world: Path) -> None:
        found = scored(world)
        assert not found.separable and found.to_json()["auroc"] is None
        assert any("--normal-class good" in note for note in found.notes)

    def test_normal_pictures_may_be_named(self, world: Path) -> None:
        found = scored(world, normal=str(world / "new" / "good"), false_alarms=0.2)
        assert found.threshold.n == 12
        assert any(
            "12 of the 24 pictures are among those that the run has its threshold from" in n for n in found.notes
        )

    def test_pictures_that_were_trained_on_are_told(self, own_world: Path) -> None:
        arrays = np.load(own_world / "sane.npz")
        Image.fromarray(arrays["x_train"][0][..., 0]).save(own_world / "new" / "good" / "seen.png")
        notes = scored(own_world).notes
        assert any("1 of the 25 pictures are among those that the run was trained on" in n for n in notes)

    def test_what_the_threshold_is_from_is_told_and_odd_pictures_do_not_set_it(self, own_world: Path) -> None:
        far = ["the threshold is from 40 pictures of 0, 1, none called good: are all of them normal?"]
        assert [each for each in scored(own_world, normal_classes=["good"]).notes if "threshold" in each] == far
        new = str(own_world / "new")
        among = scored(own_world, normal=new, normal_classes=["good"], false_alarms=0.2)
        assert among.threshold.n == 12 and "the threshold is from pictures of good" in among.notes
        (own_world / "new" / "good").rename(own_world / "new" / "fine")
        (own_world / "other" / "scratched").mkdir(parents=True)
        Image.fromarray(np.full((SIDE, SIDE), 200, np.uint8)).save(own_world / "other" / "scratched" / "0.png")
        (own_world / "other" / "bent").mkdir()
        Image.fromarray(np.full((SIDE, SIDE), 220, np.uint8)).save(own_world / "other" / "bent" / "0.png")
        with pytest.raises(NetwrightError, match="have no fine, only bent, scratched, and you do not call") as error:
            scored(own_world, normal=str(own_world / "other"), normal_classes=["fine"], false_alarms=0.4)
        assert "--normal DATA" in error.value.fix

    def test_a_handful_of_odd_pictures_gives_no_interval_of_a_difference(self, own_world: Path) -> None:
        for place in range(4, 12):
            (own_world / "new" / "scratched" / f"{place}.png").unlink()
        said = scored(own_world, normal_classes=["good"], false_alarms=0.1).to_json()
        others = [each for each in said["auroc"]["by_score"] if each["ahead"] is not None]
        assert others and all(each["ahead"]["low"] is None for each in others)
        json.dumps(said, allow_nan=False)

    def test_too_few_normal_pictures_for_a_rate(self, world: Path) -> None:
        with pytest.raises(NetwrightError, match="40 normal pictures cannot give a threshold with 1 % false alarms"):
            scored(world, false_alarms=0.01)

    def test_mistakes_are_told(self, world: Path, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError) as error:
            scored(world, normal_classes=["god"])
        assert "did you mean 'good'" in error.value.fix
        with pytest.raises(NetwrightError, match="have no classes"):
            anomalies(str(world / "run"), [str(world / "new" / "good")], normal_classes=["good"], device="cpu")
        with pytest.raises(NetwrightError, match="none does not exist"):
            anomalies(str(world / "run"), [str(world / "none")], device="cpu")
        sides = tmp_path / "sides"
        for place, side in enumerate(("train/a", "train/b", "test/a")):
            (sides / side).mkdir(parents=True)
            Image.fromarray(np.full((SIDE, SIDE), place, np.uint8)).save(sides / side / "0.png")
        with pytest.raises(NetwrightError, match="train and test pictures, and nothing says which are normal"):
            scored(world, normal=str(sides))

    def test_everything_is_written(self, world: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        said = anomaly(
            str(world / "run"), [str(world / "new")], out, normal_classes=["good"], false_alarms=0.1, device="cpu"
        )
        assert {path.name for path in out.iterdir()} == {
            "anomaly.html", "anomaly.json", "heat.png", "scores.csv", "scores.png",
        }  # fmt: skip
        assert json.loads((out / "anomaly.json").read_text()) == said
        rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
        assert len(rows) == 24 and [float(row["score"]) for row in rows] == sorted(
            (float(row["score"]) for row in rows), reverse=True
        )
        assert all((float(row["p"]) <= 0.1) == (row["flagged"] == "1") for row in rows)
        page = (out / "anomaly.html").read_text()
        parts = {name: _part(page, name) for name in ("worst", "alarms", "ordinary")}
        highest = [row["name"] for row in rows[:12]]
        assert re.findall(r"(good|scratched)/(\d+)\.png", parts["worst"]) == [
            tuple(name.removesuffix(".png").split("/")) for name in highest
        ]
        assert "scratched/" not in parts["ordinary"] and "good/" in parts["ordinary"]
        assert "scratched/" not in parts["alarms"] and 'id="missed"' not in page, "all of them were found"
        assert "squared error of a pixel" in page
        with Image.open(out / "heat.png") as sheet:
            assert sheet.width > 500


def _part(page: str, name: str) -> str:
    """The text of one part of the page, without its pictures."""
    found = re.search(rf'<section id="{name}".*?</section>', page, re.DOTALL)
    return "" if found is None else re.sub(r"<[^>]*>", "\n", found[0])


class TestHeldOut:
    def test_weights_chosen_on_the_pictures_that_set_the_threshold_are_told(self, own_world: Path) -> None:
        assert held_out(str(own_world / "run")).notes == ()
        place = own_world / "run" / "record.json"
        record = json.loads(place.read_text())
        record["recipe"]["tricks"] = [*record["recipe"]["tricks"], "early_stopping(patience=3)"]
        place.write_text(json.dumps(record))
        assert "early_stopping chose the weights" in held_out(str(own_world / "run")).notes[0]

    def test_a_bundle_alone_does_not_know_its_data(self, own_world: Path) -> None:
        (own_world / "run" / "record.json").unlink()
        with pytest.raises(NetwrightError, match="away from its run") as error:
            held_out(str(own_world / "run" / "bundle"))
        assert "--normal DATA" in error.value.fix

    def test_data_that_changed_or_went_is_told(self, own_world: Path) -> None:
        arrays = dict(np.load(own_world / "sane.npz"))
        arrays["x_train"][0] = 255
        np.savez(own_world / "sane.npz", **arrays)
        with pytest.raises(NetwrightError, match="are not those that"):
            held_out(str(own_world / "run"))
        (own_world / "sane.npz").unlink()
        with pytest.raises(NetwrightError, match="cannot be opened again"):
            held_out(str(own_world / "run"))

    def test_data_of_a_program_cannot_be_opened(self, own_world: Path) -> None:
        record = json.loads((own_world / "run" / "record.json").read_text()) | {"own": {"data": "Data"}}
        (own_world / "run" / "record.json").write_text(json.dumps(record))
        with pytest.raises(NetwrightError, match="data of your own program"):
            held_out(str(own_world / "run"))


def test_a_class_may_be_named_by_how_it_begins() -> None:
    assert class_named("1", ["0 - zero", "1 - one"]) == "1 - one"
    assert class_named("1", ["1", "10"]) == "1"
    with pytest.raises(NetwrightError, match="unknown class 'b'"):
        class_named("b", ["bad", "broken"])
