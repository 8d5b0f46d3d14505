"""The study `anomaly`: a class that is left out is nowhere in training, and the page says what the intervals say."""

import json
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.data import open_data
from netwright.lab._anomaly_baselines import BASELINES
from netwright.lab.studies import STUDIES
from netwright.lab.studies._anomaly_found import LeftOut, found
from netwright.lab.studies._networks import Networks
from netwright.lab.studies._study import Setting, study
from netwright.lab.studies.anomaly import EPOCHS, RATE, Anomaly, network_for, protocol_of, resolved, without
from netwright.lab.trial import Trials
from netwright.recipes._recipe import Recipe, recipe

SIDE = 8


@pytest.fixture
def bars(tmp_path: Path) -> str:
    """Three classes, told by where a bright bar is."""
    draw, arrays = np.random.default_rng(0), {}
    for side, n in (("train", 48), ("val", 12), ("test", 30)):
        labels = np.arange(n) % 3
        images = draw.integers(0, 60, (n, SIDE, SIDE, 1)).astype(np.uint8)
        for place, label in enumerate(labels):
            images[place, 3 * label : 3 * label + 2] += 150
        arrays |= {f"x_{side}": images, f"y_{side}": labels}
    np.savez(tmp_path / "bars.npz", **arrays)
    return str(tmp_path / "bars.npz")


def protocol(data: str) -> Recipe:
    """As the command line gives it: the study's own recipe, with what the user said."""
    return recipe("autoencode", data=data, epochs=2, device="cpu", threads=1)


def test_it_is_listed() -> None:
    assert "anomaly" in STUDIES.names()


def test_a_class_is_left_out_of_everything_that_is_trained_on(bars: str) -> None:
    data = open_data(bars)
    part = without(data, "1", limit=10, seed=0)
    assert part.classes == ("0", "2") and np.bincount(part.splits["train"].labels).tolist() == [10, 10]
    lost = {int(each) for split in data.splits.values() for each in split.ids[split.labels == 1]}
    assert not lost & {int(each) for side in ("train", "val") for each in part.splits[side].ids}
    assert without(data, "1", limit=10, seed=0).fingerprint == part.fingerprint
    assert len({without(data, name, limit=10, seed=0).fingerprint for name in data.classes}) == 3
    train = part.splits["train"].images[:] / 255
    assert part.preprocess.mean == pytest.approx([train.mean()], abs=1e-4), "normalised by what is left"
    assert part.preprocess.std == pytest.approx([train.std()], abs=1e-4)


def test_what_a_user_said_stays_and_the_rest_suits_the_network(bars: str) -> None:
    data, said = open_data(bars), protocol(bars).changed(lr=0.01).with_("denoise")
    found = protocol_of(said, data)
    assert found.task == "reconstruction" and found.model == network_for(data) == "mlp_autoencoder(latent=16)"
    assert found.epochs == 2 and "lr=0.01" in found.optimizer and found.optimizer.startswith("adamw")
    assert sorted(trick.split("(")[0] for trick in found.tricks) == ["denoise", "no_decay"]
    open_ = protocol_of(recipe("autoencode", data=bars), data)
    assert open_.epochs == EPOCHS and f"lr={RATE}" in open_.optimizer and "weight_decay=0.01" in open_.optimizer
    asked = protocol_of(recipe("autoencode", data=bars, lr=1e-3, epochs=20), data)
    assert asked.epochs == 20 and "lr=0.001" in asked.optimizer, "said, though it is what the recipe says"
    own = recipe("autoencode", data=bars, model="vae(latent=3)", epochs=7)
    assert protocol_of(own, data) == own
    with pytest.raises(NetwrightError, match="may have seen the class that is left out"):
        protocol_of(own.changed(weights="some.pt"), data)


def test_a_batch_that_was_left_open_and_one_that_was_named_are_one_training(bars: str) -> None:
    part = without(open_data(bars), "1", limit=10, seed=0)
    open_ = resolved(protocol_of(protocol(bars), open_data(bars)), part)
    assert isinstance(open_.batch_size, int)
    assert open_.key == protocol_of(protocol(bars).changed(batch_size=open_.batch_size), open_data(bars)).key


def test_the_study_is_written_and_not_repeated(bars: str, tmp_path: Path) -> None:
    told: list[str] = []
    first = study("anomaly(classes=('0', '2'), limit=8)", protocol(bars), output=tmp_path / "out", told=told.append)
    assert len(told) == 2 and told[1].startswith("2 of 2: without 2, seed 0: AUROC")
    for name in ("study.json", "study.html", "study.md", "study.png"):
        assert (tmp_path / "out" / name).stat().st_size > 500
    measured = first["measured"]
    assert first["options"] == {"classes": ["0", "2"], "limit": 8, "seeds": 1}
    assert first["protocol"]["model"] == "mlp_autoencoder(latent=16)" and first["protocol"]["batch_size"] == 16
    assert measured["left_out"] == ["0", "2"] and len(measured["auroc"]["error"]) == 2
    assert {"error", "relative", "patch", "latent", "pca", "nearest", "mean"} <= set(measured["means"])
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trials").iterdir()}
    again = study("anomaly(classes=('0', '2'), limit=8)", protocol(bars), output=tmp_path / "out")
    assert again["measured"] == measured
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trials").iterdir()} == files


def setting_of(bars: str, tmp_path: Path) -> Setting:
    return Setting(protocol(bars), open_data(bars), Trials(tmp_path), Networks(tmp_path), lambda words: None)


def test_auroc_is_1_where_scores_separate_and_one_half_where_they_are_identical(bars: str, tmp_path: Path) -> None:
    setting = setting_of(bars, tmp_path)
    odd = (setting.measured.labels == 0).astype(float)
    scores = dict.fromkeys(("relative", *BASELINES), np.ones(len(odd))) | {"error": odd}
    shown = found(setting, [[LeftOut("error", scores, 2, 9, 1.0)]], ["0"], 8)
    told = json.loads(json.dumps(shown, allow_nan=False))["measured"]
    assert told["auroc"]["error"][0]["value"] == 1.0 and 0.6 < told["auroc"]["error"][0]["low"] < 1
    for name in ("relative", *BASELINES):
        assert told["auroc"][name][0]["value"] == 0.5 and told["means"][name]["value"] == 0.5
        assert told["ahead"][name]["value"] == 0.5
    assert told["flagged"] == {"false_alarms": 0.05, "shares": [1.0]}


def test_sentences_follow_from_the_intervals(bars: str, tmp_path: Path) -> None:
    setting = setting_of(bars, tmp_path)
    labels, draw = setting.measured.labels, np.random.default_rng(0)

    def left(label: int, ahead: float) -> LeftOut:
        odd, noise = (labels == label).astype(float), draw.normal(size=len(labels))
        scores = {name: noise + 0.1 * draw.normal(size=len(labels)) for name in ("pca", "mean", "relative")}
        scores |= {"error": noise + ahead * odd, "nearest": noise + 9 * odd}
        return LeftOut("error", scores | {f"{name}/contrast": scores[name] for name in ("pca", "nearest")}, 2, 9, 1.0)

    said = " ".join(found(setting, [[left(0, 4.0), left(1, -5.0)]], ["0", "1"], 8)["said"])
    assert "The class told best is 0" in said and "the best and the worst of 2" in said
    assert "Worse than chance: 1. Pictures of these score lower more often" in said
    assert "at that threshold, of 1 it flags 0.0 %" in said, "counted, and not concluded from AUROC"
    assert "easier to give back" not in said and "flags 50.0 % of those left out, on average over 2" in said
    assert "is behind nearest" in said and "which needs no network" in said
    one = found(setting, [[left(0, 4.0 + 0.1 * seed)] for seed in range(6)], ["0"], 8)
    low = one["measured"]["means"]["error"]["low"]
    assert low < 0.99, "perfect separation of 30 pictures is not certain"
    assert one["seeds"] == 6 and "is ahead of pca" in " ".join(one["said"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"classes": ("3",)}, "unknown class '3'"), ({"classes": ("0", "0")}, "cannot be 0, 0")],
)
def test_classes_that_cannot_be_left_out(bars: str, options: dict[str, tuple[str, ...]], problem: str) -> None:
    with pytest.raises(NetwrightError, match=problem):
        Anomaly(**options).left_out(open_data(bars))


def test_networks_that_cannot_say_what_is_odd(bars: str, tmp_path: Path) -> None:
    for model, problem in (("conditional_vae(latent=2)", "has to be told the class"), ("lenet5", "does not show")):
        with pytest.raises(NetwrightError, match=problem):
            study("anomaly", protocol(bars).changed(model=model), output=tmp_path / "out")
