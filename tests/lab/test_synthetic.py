"""Drawn pictures: written as data that can be trained on, tested on real ones, and looked at for copies."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from scipy.stats import hypergeom

from netwright.bundle.autoencoder import AutoencoderBundle, load_autoencoder
from netwright.bundle.save import save_bundle
from netwright.cli.synthesize import synthesize
from netwright.core.errors import NetwrightError
from netwright.data import open_data
from netwright.data.preprocess import Preprocess
from netwright.lab.copied import copied
from netwright.lab.synthetic import Drawn, drawn, write
from netwright.lab.trial import Trial
from netwright.lab.tstr import BOTH, DRAWN, REAL, Seen, _arms, _prepared, _recipe, seen_by, worth
from netwright.models import create_model
from netwright.records.atomic import write_atomic
from netwright.report.synthetic import copied_words, page, rows_of, words

CLASSES = tuple("0123456789")
SIDE = 16
Pixels = NDArray[np.uint8]


def saved(
    folder: Path, model: str = "conditional_vae", classes: tuple[str, ...] = CLASSES, data: str = "digits"
) -> Path:
    """An untrained network's bundle."""
    torch.manual_seed(0)
    spec = f"{model}(encoder='mlp(widths=(16,))', latent=2, image_size={SIDE})"
    network = create_model(spec, classes=len(classes), in_channels=1)
    folder.mkdir(parents=True, exist_ok=True)
    save_bundle(
        folder,
        network,
        spec=spec,
        structure=[],
        classes=classes,
        in_channels=1,
        macs=0,
        task="reconstruction",
        preprocess=Preprocess(SIDE, SIDE, channels=1, mean=(0.3,), std=(0.4,)).to_json(),
        temperature=1.0,
        metrics={},
        recipe={"precision": "fp32", "data": data, "val_fraction": 0.1, "test_fraction": 0.1},
        versions={},
        write=write_atomic,
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def bundle(run: Path) -> AutoencoderBundle:
    return load_autoencoder(run, device="cpu")


def test_pictures_are_of_their_class_and_follow_from_the_seed(bundle: AutoencoderBundle) -> None:
    made = drawn(bundle, 3, seed=5)
    assert made.images.shape == (30, SIDE, SIDE, 1)
    assert made.images.dtype == np.uint8
    assert made.labels.tolist() == [number for number in range(10) for _ in range(3)]
    assert np.array_equal(made.images, drawn(bundle, 3, seed=5).images)
    assert not np.array_equal(made.images, drawn(bundle, 3, seed=6).images)
    codes = bundle.sample(30, 5, made.labels)
    seven = bundle.decode(codes[21:24], "7").mul(255).round().byte().numpy()[:, 0]
    assert np.array_equal(made.images[21:24, :, :, 0], seven)


def test_a_written_folder_is_data_to_train_on(bundle: AutoencoderBundle, tmp_path: Path) -> None:
    made = drawn(bundle, 20)
    write(made, tmp_path / "drawn")
    assert [each.name for each in tmp_path.iterdir()] == ["drawn"]
    data = open_data(str(tmp_path / "drawn"))
    assert data.classes == CLASSES
    assert sum(len(split) for split in data.splits.values()) == 200
    assert data.preprocess.channels == 1
    image = Image.open(tmp_path / "drawn" / "7" / "00003.png")
    assert np.array_equal(np.asarray(image), made.images[7 * 20 + 3, :, :, 0])
    assert "no photograph" in image.info["Description"]


def test_names_that_lead_elsewhere_become_numbers(tmp_path: Path) -> None:
    classes = ("../../out", "a/b", "..", ".hidden", "plain one", "")
    images = np.zeros((6, 4, 4, 3), np.uint8)
    named = write(Drawn(images, np.arange(6), classes, 0), tmp_path / "in" / "drawn")
    assert sorted(each.name for each in (tmp_path / "in" / "drawn").iterdir()) == [
        "class_0", "class_1", "class_2", "class_3", "class_5", "plain one",
    ]  # fmt: skip
    assert named["../../out"] == "class_0"
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_drawn_pictures_are_not_mixed_with_others(tmp_path: Path) -> None:
    made = Drawn(np.zeros((1, 4, 4, 1), np.uint8), np.zeros(1, np.int64), ("a",), 0)
    (tmp_path / "own").mkdir()
    write(made, tmp_path / "own")  # an empty folder is as good as none
    with pytest.raises(NetwrightError, match="not mixed"):
        write(made, tmp_path / "own")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NetwrightError, match="not mixed"):
        write(made, tmp_path / "file")


def test_other_networks_are_refused(tmp_path: Path) -> None:
    plain = load_autoencoder(saved(tmp_path / "b", "vae"), device="cpu")
    with pytest.raises(NetwrightError, match="without classes") as told:
        drawn(plain, 3)
    assert "conditional_vae" in told.value.fix


def test_nothing_asked_for_is_refused(bundle: AutoencoderBundle) -> None:
    with pytest.raises(NetwrightError, match="at least 1"):
        drawn(bundle, 0)


# Copies


def scattered(n: int, seed: int, noise: float = 0.0) -> Pixels:
    """Pictures of one distribution: two blobs at random places, under noise."""
    draw, grid = np.random.default_rng(seed), np.arange(8)
    places, widths = draw.uniform(1, 7, (n, 2, 2)), draw.uniform(1, 2, (n, 2, 1, 1))
    rows, columns = grid[:, None] - places[..., 0, None, None], grid - places[..., 1, None, None]
    blobs = np.exp(-(rows**2 + columns**2) / (2 * widths**2)).sum(1)
    blobs += noise * draw.standard_normal(blobs.shape)
    return (255 * blobs.clip(0, 1)).astype(np.uint8)[..., None]


def reader(pictures: Pixels) -> Callable[[slice], Pixels]:
    return lambda chosen: pictures[chosen]


def test_distances_are_scipys() -> None:
    training, held_out, made = scattered(90, 0), scattered(50, 1), scattered(20, 2)
    found = copied(made, reader(training), 90, held_out)
    flat = [each.reshape(len(each), -1) / 255.0 for each in (made, training, held_out)]
    ours, usual = cdist(flat[0], flat[1]), cdist(flat[2], flat[1])
    np.testing.assert_allclose(found.distances, ours.min(1) / 8, rtol=1e-6)
    np.testing.assert_allclose(found.usual, usual.min(1) / 8, rtol=1e-6)
    assert found.places.tolist() == ours.argmin(1).tolist()
    assert found.share == pytest.approx((ours.min(1) <= cdist(flat[0], flat[2]).min(1)).mean())
    assert found.chance == 90 / 140
    closer = (ours.min(1)[:, None] < usual.min(1)).mean()
    assert found.closer == pytest.approx(closer, abs=1e-9)


def test_copies_raise_the_alarm() -> None:
    training, held_out = scattered(300, 0), scattered(150, 1)
    noise = np.random.default_rng(3).integers(0, 6, (60, 8, 8, 1)).astype(np.uint8)
    found = copied(np.maximum(training[:60], 5) - 5 + noise, reader(training), 300, held_out)
    assert found.alarm
    assert found.share == 1
    assert found.places.tolist() == list(range(60))
    assert "has partly learnt" in copied_words(found.to_json() | {"of": "trained on", "against": "val"})[0]
    said = copied_words(found.to_json() | {"of": "trained on", "against": "test"})[0]
    assert said.startswith("perhaps copied") and "differ by themselves" in said


@pytest.mark.parametrize("seed", range(2))
def test_new_pictures_raise_none_even_where_they_are_smoother(seed: int) -> None:
    training, held_out = scattered(300, 0, 0.3), scattered(150, 1, 0.3)
    assert not copied(scattered(100, seed + 2, 0.3), reader(training), 300, held_out).alarm
    found = copied(scattered(100, seed + 2), reader(training), 300, held_out)
    assert not found.alarm
    assert found.closer > 0.6  # by distance alone, blur would look like copying
    assert len(copied_words(found.to_json() | {"of": "trained on", "against": "val"})) == 2


def test_p_is_a_binomial_tail_where_no_picture_is_hit_twice() -> None:
    """Ten drawn pictures, each of which is a real one: p of seven training pictures among ten of 40 and 40."""
    training, held_out = scattered(40, 0), scattered(40, 1)
    found = copied(np.concatenate([training[:7], held_out[:3]]), reader(training), 40, held_out)
    expected = float(hypergeom.sf(6, 80, 40, 10))
    assert found.p == pytest.approx(expected, abs=5 * (expected * (1 - expected) / 1999) ** 0.5)


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(NetwrightError, match="cannot be compared"):
        copied(scattered(2, 0), reader(scattered(2, 1)), 0, scattered(2, 2))


# Train on synthetic, test on real


SHARES = {REAL: 0.9, DRAWN: 0.5, BOTH: 0.95}


class Counting:
    """Trains nothing: each kind of pictures is right about a share of the test pictures."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, Any, Any]] = []

    def run(self, recipe: Any, data: Any, **_: Any) -> Trial:
        name = data.notes[-1].split(": ")[1].split(",")[0]
        self.seen.append((name, recipe.seed, recipe, data))
        n = len(data.splits["test"])
        draw = np.random.default_rng(recipe.seed)
        correct = (draw.permutation(n) < SHARES[name] * n).astype(np.float64)
        labels = data.splits["test"].labels
        return Trial(correct, labels, labels, 0.0, 1.0)


@pytest.fixture(scope="module")
def digits(bundle: AutoencoderBundle) -> Seen:
    return seen_by(Path("nowhere"), bundle, "digits")


def test_the_training_pictures_are_found_by_the_card(digits: Seen) -> None:
    assert digits.data is not None
    assert digits.notes == ()
    assert digits.data.splits["train"].images[:3].shape == (3, SIDE, SIDE, 1)


def test_a_network_from_elsewhere_is_told(tmp_path: Path) -> None:
    other = load_autoencoder(saved(tmp_path / "b", data="cats"), device="cpu")
    found = seen_by(tmp_path / "b", other, "digits")
    assert found.data is None
    assert "'cats', which is not here" in found.notes[0]


def test_all_kinds_have_as_many_updates_and_the_same_test_pictures(bundle: AutoencoderBundle, digits: Seen) -> None:
    trials: Any = Counting()
    made = drawn(bundle, 2)
    tested = worth(bundle, made, "digits", digits, seeds=3, real_per_class=5, epochs=2, trials=trials, threads=1)
    assert [name for name, *_ in trials.seen] == [REAL, DRAWN, BOTH] * 3
    assert [seed for _, seed, *_ in trials.seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert {len(data.splits["train"]) for *_, data in trials.seen} == {70}
    assert len({recipe.batch_size for *_, recipe, _ in trials.seen}) == 1
    for *_, data in trials.seen:
        assert set(data.splits) == {"train", "test"}
        assert np.array_equal(data.splits["test"].ids, trials.seen[0][3].splits["test"].ids)
        assert len(set(data.splits["train"].ids.tolist())) == 70
    found = tested.found
    assert found["pictures"] == {REAL: 50, DRAWN: 20, BOTH: 70}
    assert found["updates"] == 2 * (70 // 16)
    assert found["arms"][DRAWN]["difference"]["value"] == pytest.approx(-0.4, abs=0.01)
    assert digits.data is not None and digits.data.splits.keys() == {"train", "val", "test"}
    assert (found["copied"]["against"], found["copied"]["held_out"]) == ("val", len(digits.data.splits["val"]))
    said = words(found)
    assert "do not stand in for the real ones" in said[0]
    assert any("did not get" in line for line in said)
    assert len(rows_of(found)) == 4
    assert "<table" in page(found, "run <1>", [("data:,a", "data:,b")])
    json.dumps(found)


def test_short_sets_are_repeated_evenly(bundle: AutoencoderBundle, digits: Seen) -> None:
    assert digits.data is not None
    arms = _arms(drawn(bundle, 1), digits.data, 3, 0)
    images = arms[DRAWN].splits["train"].images
    _, counts = np.unique(np.asarray(images).reshape(40, -1), axis=0, return_counts=True)
    assert sorted(counts.tolist()) == [4] * 10
    assert np.bincount(arms[REAL].splits["train"].labels, minlength=10).sum() == 40
    assert np.bincount(arms[BOTH].splits["train"].labels).tolist() == [4] * 10
    assert arms[DRAWN].preprocess.mean != arms[REAL].preprocess.mean


def test_pictures_that_the_network_was_trained_on_are_not_tested_on(bundle: AutoencoderBundle, digits: Seen) -> None:
    assert digits.data is not None
    held = digits.data.splits
    train = held["train"].taken(np.arange(40))
    test = held["test"]
    some = np.flatnonzero(np.arange(len(test)) < 25)
    leaked = replace(train, ids=np.concatenate([train.ids[:15], test.ids[some]]))
    seen = Seen(replace(digits.data, splits=held | {"train": leaked}))
    trials: Any = Counting()
    tested = worth(bundle, drawn(bundle, 1), "digits", seen, seeds=1, real_per_class=2, trials=trials)
    assert tested.found["tested"] == len(test) - 25
    without = Seen(replace(digits.data, splits={"train": leaked, "test": test}))
    found = worth(bundle, drawn(bundle, 1), "digits", without, seeds=1, real_per_class=2, trials=trials).found["copied"]
    assert (found["against"], found["held_out"]) == ("test", len(test) - 25)
    assert any("25 test pictures" in note for note in tested.found["notes"])


def test_other_classes_are_refused(tmp_path: Path) -> None:
    other = load_autoencoder(saved(tmp_path / "b", classes=("0", "1", "cat")), device="cpu")
    with pytest.raises(NetwrightError, match="the data has no cat"):
        worth(other, drawn(other, 1), "digits", Seen(None))


def test_fewer_classes_in_another_order_are_matched(tmp_path: Path) -> None:
    other = load_autoencoder(saved(tmp_path / "b", classes=("7", "1")), device="cpu")
    whole = open_data("digits", image_size=SIDE)
    data = _prepared(whole, other)
    assert data.classes == ("7", "1")
    sevens = whole.splits["test"].ids[whole.splits["test"].labels == 7]
    assert sorted(data.splits["test"].ids[data.splits["test"].labels == 0]) == sorted(sevens)


def test_the_classifier_does_not_mirror() -> None:
    chosen = _recipe(Preprocess(SIDE, SIDE, channels=1, mean=(0.3,), std=(0.4,)), 100, None, 3, 1)
    assert not any(trick.startswith("flip") for trick in chosen.tricks)
    assert chosen.epochs == 3


# The verb


def test_the_verb_draws_and_tests(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, sheet = tmp_path / "drawn", tmp_path / "page.html"
    model = "mlp(widths=(8,))"
    synthesize(
        run, 2, out, test="digits", seeds=1, real_per_class=2, epochs=1, model=model, page=sheet, threads=1,
        device="cpu",
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "20 pictures in" in said
    assert "real + synthetic" in said
    assert "Nearest to training pictures" in sheet.read_text()
    assert len(list(out.rglob("*.png"))) == 20


def test_the_verb_as_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthesize(run, 1, tmp_path / "drawn", device="cpu", as_json=True)
    assert json.loads(capsys.readouterr().out)["pictures"] == 10


def test_flags_of_the_test_want_a_test(run: Path, tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="--real-per-class is for the test"):
        synthesize(run, 1, tmp_path / "drawn", real_per_class=5)
    assert not (tmp_path / "drawn").exists()
