"""`fit` from end to end: records, reports, bundles, resuming, and a user's own network, data, task and trick."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from netwright import NetwrightError, Trick, fit, from_arrays, load, recipe
from netwright.core.errors import Interrupted
from netwright.engine.loop import Watcher
from netwright.engine.run import Run
from netwright.records.folder import RunFolder
from netwright.records.store import RunStore
from netwright.tasks.classification import Classification, cross_entropy
from netwright.tricks import TRICKS


def pictures(n: int, seed: int, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Bright or dark squares in noise: two classes that can be learnt."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = draw.integers(0, 120, (n, size, size, 3)).astype(np.uint8)
    images[labels == 1, 3:9, 3:9] += 100
    return images, labels


def small_data() -> Any:
    return from_arrays(train=pictures(64, 0), val=pictures(24, 1), test=pictures(24, 2))


def small(**values: Any) -> Any:
    plain = {"model": "resnet20(width=4)", "epochs": 3, "batch_size": 16, "device": "cpu", "optimizer": "sgd(lr=0.1)"}
    return recipe("cifar", **plain).changed(**values)


def same_history(first: Path, second: Path) -> bool:
    timing = {"seconds", "images_per_second"}
    rows = [
        [{k: v for k, v in row.items() if k not in timing} for row in RunFolder.open(path).metrics()]
        for path in (first, second)
    ]
    return rows[0] == rows[1]


def same_weights(first: Path, second: Path) -> bool:
    return (first / "bundle/model.safetensors").read_bytes() == (second / "bundle/model.safetensors").read_bytes()


class StopAfter(Watcher):
    """Stops a run as Ctrl-C would, after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def stepped(self, run: Run) -> None:
        if run.step == self.steps:
            run.interrupted = 130


def test_a_run_learns_and_leaves_everything_behind(tmp_path: Path) -> None:
    result = fit(small(epochs=12), data=small_data(), output=tmp_path)
    assert result.accuracy >= 0.9
    names = {path.name for path in result.path.iterdir()}
    assert {
        "record.json",
        "metrics.jsonl",
        "checkpoints",
        "bundle",
        "report.html",
        "evaluation.npz",
        "samples",
    } <= names
    record = json.loads((result.path / "record.json").read_text())
    assert record["status"] == "done"
    assert set(record["recipe"]) == set(record["sources"]) & set(record["recipe"])
    test = record["result"]["splits"]["test"]["accuracy"]
    assert (test["n"], test["method"]) == (24, "wilson")
    assert test["low"] <= test["value"] <= test["high"]
    assert len(RunFolder.open(result.path).metrics()) == 12
    assert "epoch 12" in (result.path / "log.txt").read_text()
    stored = RunStore.beside(tmp_path).list()
    assert [(row.name, row.status) for row in stored] == [(result.path.name, "done")]


@pytest.mark.usefixtures("no_reports")
@pytest.mark.fault(41, "the same seed gives the same weights, metrics and history; another seed another run")
def test_same_seed_same_run_other_seed_another(tmp_path: Path) -> None:
    first, again = (fit(small(seed=3), data=small_data(), output=tmp_path) for _ in range(2))
    other = fit(small(seed=4), data=small_data(), output=tmp_path)
    assert same_weights(first.path, again.path)
    assert same_history(first.path, again.path)
    assert not same_weights(first.path, other.path)


@pytest.mark.fault(
    1, "a run that was interrupted and resumed hands on the same model, bit for bit, and the same results"
)
@pytest.mark.parametrize("steps", [3, 4, 7])  # four steps an epoch: inside the first, at its end, inside the second
def test_resuming_equals_not_stopping(tmp_path: Path, steps: int) -> None:
    tricks = ["ema", "mixup", "early_stopping", "noise", "balanced_sampling"]
    whole = fit(small().with_(*tricks), data=small_data(), output=tmp_path)
    with pytest.raises(Interrupted, match=f"after step {steps}"):
        fit(small().with_(*tricks), data=small_data(), output=tmp_path / "cut", watcher=StopAfter(steps))
    cut = RunFolder.newest(tmp_path / "cut").path
    assert json.loads((cut / "record.json").read_text())["status"] == "interrupted"
    resumed = fit(resume=cut, data=small_data())
    assert resumed.path == cut
    assert same_weights(whole.path, cut)
    assert same_history(whole.path, cut)
    assert resumed.record["result"]["splits"] == whole.record["result"]["splits"]
    page = (cut / "report.html").read_text()
    assert "This run was interrupted" not in page and "could not be drawn" not in page


class Net(nn.Module):
    """A user's own network."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def tensors(n: int, seed: int) -> TensorDataset:
    images, labels = pictures(n, seed)
    return TensorDataset(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels))


def test_own_network_and_datasets_with_every_kind_of_trick(tmp_path: Path) -> None:
    tricks = ["flip", "rotate", "brightness", "cutout", "mixup", "label_smoothing", "sam", "grad_clip", "ema"]
    chosen = small(epochs=2).with_(*tricks)
    result = fit(chosen, data=(tensors(64, 0), tensors(24, 1), tensors(24, 2)), model=Net(), output=tmp_path)
    assert result.record["model"]["name"] == "Net"
    assert result.record["data"]["classes"] == ["0", "1"]
    with pytest.raises(NetwrightError, match="your own network"):
        load(result.path)
    again = load(result.path, model=Net())
    image = torch.rand(1, 3, 12, 12)
    assert torch.equal(again.model(image), result.model(image))
    with pytest.raises(NetwrightError, match="your own dataset"):
        again.predict(np.zeros((12, 12, 3), np.uint8))


def test_normalised_datasets_refuse_tricks_that_need_values_between_0_and_1(tmp_path: Path) -> None:
    images, labels = tensors(32, 0).tensors
    normalised = TensorDataset((images - 0.5) / 0.2, labels)
    with pytest.raises(NetwrightError, match=r"brightness need values in \[0, 1\]"):
        fit(small().with_("brightness"), data=(normalised, normalised), model=Net(), output=tmp_path)


@dataclass(frozen=True)
class Doubled(Classification):
    """A user's own task."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 2 * cross_entropy(output, target).mean()


@dataclass
class StopAtOnce(Trick):
    """A user's own trick."""

    epochs: int = 1

    def after_epoch(self, run: Run) -> None:
        if run.epoch >= self.epochs:
            run.stopped = "stop_at_once"


def test_own_task_and_own_trick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRICKS, "_added", {})
    plain = fit(small(epochs=1), data=small_data(), output=tmp_path).record
    result = fit(small().with_(StopAtOnce()), data=small_data(), task=Doubled(classes=2), output=tmp_path)
    assert "stop_at_once" in TRICKS.names()
    assert result.record["result"]["epochs"] == 1
    assert result.record["result"]["stopped"] == "stop_at_once"
    # Validation's loss is the task's metric, unchanged; the training loss is doubled. One step in, both start alike.
    assert result.record["result"]["splits"].keys() == plain["result"]["splits"].keys()


def test_no_validation_is_said_and_nothing_breaks(tmp_path: Path) -> None:
    data = (tensors(32, 0),)
    result = fit(small(epochs=1), data=data, model=Net(), output=tmp_path)
    assert result.record["result"]["splits"] == {}
    assert (result.path / "report.html").exists()
    with pytest.raises(NetwrightError, match="early_stopping needs validation"):
        fit(small().with_("early_stopping"), data=data, model=Net(), output=tmp_path)


@pytest.mark.fault(
    35, "a run that ends on NaN says epoch, step and learning rate, and names the pictures in non_finite.json"
)
def test_a_failed_run_says_so_in_its_record(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="epoch 1, step") as caught:
        fit(small(lr=1e30), data=small_data(), output=tmp_path)
    run = RunFolder.newest(tmp_path)
    record = run.record()
    assert record["status"] == "failed"
    assert "the update was not made" in record["problem"]
    kept = json.loads((run.path / "non_finite.json").read_text())
    assert f"named in {run.path / 'non_finite.json'}" in caught.value.fix
    assert f"epoch {kept['epoch']}, step {kept['step']} (learning rate {kept['lr']:.3g})" in kept["problem"]
    assert kept["loss"] is None or kept["gradient_norm"] is None, "what is no number is null, not hidden"
    names = [sample["name"] for sample in kept["samples"]]
    assert len(set(names)) == 16
    assert set(names) <= set(small_data().splits["train"].names)


@pytest.mark.fault(
    35, "batches that were skipped, and going back, are in the metrics, the log, the record and on the terminal"
)
@pytest.mark.parametrize(("policy", "count"), [("skip", "skipped"), ("rollback", "rollbacks")])
def test_what_is_not_a_number_is_told(policy: str, count: str, tmp_path: Path) -> None:
    class Poisons(Watcher):
        def __init__(self) -> None:
            self.words: list[str] = []

        def started(self, run: Run) -> None:
            loss = run.loss
            run.loss = lambda output, batch, run: (
                loss(output, batch, run) * (float("nan") if run.step == 5 and not run.rollbacks else 1.0)
            )

        def told(self, words: str) -> None:
            self.words.append(words)

    watcher = Poisons()
    result = fit(small(non_finite=policy), data=small_data(), output=tmp_path, watcher=watcher)
    assert result.record["result"][count] == 1
    (words,) = watcher.words
    assert words.startswith("the loss is nan at epoch 2, step 6 (learning rate")
    assert words in (result.path / "log.txt").read_text()
    assert len(json.loads((result.path / "non_finite.json").read_text())["samples"]) == 16
    rows = RunFolder.open(result.path).metrics()
    usual = RunFolder.open(fit(small(), data=small_data(), output=tmp_path).path).metrics()
    if policy == "skip":
        assert [row["skipped"] for row in rows] == [0, 1, 0]
        assert [row["lr"] for row in rows] == [row["lr"] for row in usual]
    else:
        assert [row["lr"] for row in rows] == [usual[0]["lr"], usual[1]["lr"] / 2, usual[2]["lr"] / 2]


@pytest.mark.fault(38, "a validation loss that is NaN is null in the metrics, told, and never the best epoch")
def test_validation_that_is_not_a_number_is_told(tmp_path: Path) -> None:
    class Blind(Watcher):
        def __init__(self) -> None:
            self.words: list[str] = []

        def started(self, run: Run) -> None:
            validate = run.validate
            assert validate is not None
            run.validate = lambda: validate() | ({"loss": float("nan")} if run.epoch == 1 else {})

        def told(self, words: str) -> None:
            self.words.append(words)

    watcher = Blind()
    result = fit(small(), data=small_data(), output=tmp_path, watcher=watcher)
    rows = RunFolder.open(result.path).metrics()
    assert [row["val_loss"] is None for row in rows] == [True, False, False]
    assert watcher.words == ["val_loss is nan after epoch 1"]
    assert result.record["result"]["best_epoch"] in (2, 3)


def test_loaded_weights_arrive_and_what_they_lack_is_said(tmp_path: Path) -> None:
    source = fit(small(epochs=1), data=small_data(), output=tmp_path)
    weights = source.path / "bundle/model.safetensors"
    still = small(epochs=1, weights=str(weights), optimizer="sgd(lr=0.0, weight_decay=0.0)")
    again = fit(still, data=small_data(), output=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(source.model.parameters(), again.model.parameters(), strict=True))
    assert again.record["data"]["mean"] == source.record["data"]["mean"]  # the bundle's, beside the weights
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(weights.read_bytes())
    usual = fit(small(epochs=1, weights=str(foreign)), data=small_data(), output=tmp_path)
    assert usual.record["data"]["mean"] == [0.485, 0.456, 0.406]  # ImageNet's, where nothing says otherwise
    images, labels = pictures(48, 0)
    three = from_arrays(train=(images, np.arange(48) % 3), val=(images, np.arange(48) % 3))
    other = fit(still, data=three, output=tmp_path)
    assert any("drawn afresh" in note for note in other.record["data"]["notes"])
    assert torch.equal(other.model.get_parameter("conv1.weight"), source.model.get_parameter("conv1.weight"))
    assert labels.max() == 1


def test_resuming_refuses_other_data_and_other_choices(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(small(), data=small_data(), output=tmp_path, watcher=StopAfter(2))
    cut = RunFolder.newest(tmp_path).path
    other = from_arrays(train=pictures(64, 9), val=pictures(24, 1), test=pictures(24, 2))
    with pytest.raises(NetwrightError, match="not what this run began with"):
        fit(resume=cut, data=other)
    with pytest.raises(NetwrightError, match="cannot change optimizer"):
        fit(resume=cut, data=small_data(), lr=0.5)


def test_pairs_of_arrays_are_data(tmp_path: Path) -> None:
    by_place = fit(small(epochs=1), data=(pictures(64, 0), pictures(24, 1), pictures(24, 2)), output=tmp_path)
    by_name = fit(small(epochs=1), data={"train": pictures(64, 0), "val": pictures(24, 1)}, output=tmp_path)
    assert set(by_place.splits) == {"val", "test"}
    assert set(by_name.splits) == {"val"}
    assert same_weights(by_place.path, by_name.path)
