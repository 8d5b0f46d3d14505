"""A bundle is all that prediction needs, and it says what is wrong with itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netwright import NetwrightError, fit, load, recipe
from netwright.bundle.evaluate import evaluate_bundle
from tests.conftest import COLOURS, photo


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three colours, with test-time augmentation, whose structure the bundle must name."""
    root = tmp_path_factory.mktemp("bundle")
    for side, n in (("train", 12), ("val", 4), ("test", 5)):
        for place, (name, colour) in enumerate(COLOURS.items()):
            for i in range(n):
                photo(root / "photos" / side / name / f"{i}.png", colour, seed=1000 * place + 100 * len(side) + i)
    chosen = recipe("modern", model="resnet20(width=4)", epochs=4, batch_size=12, device="cpu", image_size=32, lr=0.01)
    return fit(chosen.with_("test_time_augmentation"), data=str(root / "photos"), output=root / "runs").path


def test_predictions_equal_the_runs_own_evaluation(run: Path) -> None:
    saved = np.load(run / "evaluation.npz", allow_pickle=False)
    root = Path(json.loads((run / "record.json").read_text())["data"]["root"])
    predictor = load(run, device="cpu")
    found = predictor.predict([str(root / name) for name in saved["names"]], top=3)
    ours = np.array([[dict(p.top)[name] for name in predictor.classes] for p in found])
    # The same float32 network on the same pixels; batches of other sizes may sum in another order.
    np.testing.assert_allclose(ours, saved["probabilities"], atol=1e-5)
    assert [p.label for p in found] == [predictor.classes[i] for i in saved["probabilities"].argmax(1)]


def test_paths_pictures_and_arrays_agree(run: Path, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", COLOURS["red"], seed=7)
    predictor = load(run, device="cpu")
    picture = Image.open(path)
    by_path, by_picture, by_array = (
        predictor.predict(image)[0].top for image in (str(path), picture, np.asarray(picture))
    )
    assert by_path == by_picture == by_array


def test_a_copied_bundle_is_enough(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "bundle", tmp_path / "handed_on")
    predictor = load(tmp_path / "handed_on", device="cpu")
    path = photo(tmp_path / "b.png", COLOURS["green"], seed=8)
    assert predictor.predict(path) == load(run, device="cpu").predict(path)
    text = (tmp_path / "handed_on" / "bundle.json").read_text()
    assert json.loads(text)["classes"] == ["blue", "green", "red"]
    assert not [p for p in (tmp_path / "handed_on").iterdir() if p.suffix not in (".json", ".safetensors")]


def test_evaluation_of_a_bundle_equals_the_runs(run: Path) -> None:
    record = json.loads((run / "record.json").read_text())
    found = evaluate_bundle(load(run, device="cpu"), record["data"]["root"])
    assert found["split"] == "test"
    assert found["metrics"]["accuracy"] == record["result"]["splits"]["test"]["accuracy"]


def test_an_unknown_class_is_named(run: Path, tmp_path: Path) -> None:
    photo(tmp_path / "more" / "gren" / "a.png", COLOURS["green"], seed=1)
    with pytest.raises(NetwrightError, match="did you mean 'green'"):
        evaluate_bundle(load(run, device="cpu"), str(tmp_path / "more"))


def test_damage_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="no run or bundle"):
        load(tmp_path)
    shutil.copytree(run / "bundle", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(NetwrightError, match="cannot read"):
        load(tmp_path / "cut")
    (tmp_path / "cut" / "bundle.json").write_text("{")
    with pytest.raises(NetwrightError, match=r"bundle\.json cannot be read"):
        load(tmp_path / "cut")


def test_temperature_is_in_the_probabilities(run: Path) -> None:
    predictor = load(run, device="cpu")
    image = torch.randint(0, 256, (1, *[predictor.preprocess_or_error().stored_size] * 2, 3), dtype=torch.uint8)
    as_fitted = predictor.probabilities(image)
    predictor.temperature *= 2
    softer = predictor.probabilities(image)
    # p ∝ exp(z/T): doubling T takes the square root, renormalised.
    expected = np.sqrt(as_fitted) / np.sqrt(as_fitted).sum()
    np.testing.assert_allclose(softer, expected, rtol=1e-4)
