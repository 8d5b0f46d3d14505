"""`multi_label` against torch and scikit-learn, and end to end with a user's own dataset."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, hamming_loss
from torch import Tensor
from torch.utils.data import Dataset

from netwright import NetwrightError, fit, load, recipe
from netwright.bundle.evaluate import evaluate_bundle
from netwright.data.loader import DatasetSource
from netwright.engine.run import Batch
from netwright.recipes._recipe import Recipe
from netwright.tasks.multi_label import MultiLabel
from tests.support import CPU, tiny_run

K = 5
TASK = MultiLabel(K)


def drawn(n: int = 20, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, K, generator=draw), (torch.rand(n, K, generator=draw) < 0.4).long()


def some_unknown(label: Tensor) -> Tensor:
    hidden = torch.rand(label.shape, generator=torch.Generator().manual_seed(9)) < 0.4
    hidden[:, 0] = False  # so that something is known of each
    return label.masked_fill(hidden, -1)


def test_loss_is_torchs() -> None:
    output, label = drawn()
    target = TASK.batch(output, label)
    assert torch.equal(target, label.float())
    expected = F.binary_cross_entropy_with_logits(output, label.float())
    torch.testing.assert_close(TASK.loss(output, target), expected)
    torch.testing.assert_close(TASK.metrics(output, label)["loss"].mean(), expected)


def test_unknown_labels_count_in_no_loss_and_get_no_gradient() -> None:
    output, label = drawn()
    label = some_unknown(label)
    output.requires_grad_()
    loss = TASK.loss(output, TASK.batch(output, label))
    known = label >= 0
    each = [
        F.binary_cross_entropy_with_logits(o[k], t[k].float()) for o, t, k in zip(output, label, known, strict=True)
    ]
    torch.testing.assert_close(loss, torch.stack(each).mean())
    (slope,) = torch.autograd.grad(loss, output)
    assert (slope[~known] == 0).all()
    assert (slope[known] != 0).all()


def test_labels_may_be_unknown_as_minus_one_or_nan() -> None:
    output, label = drawn()
    label = some_unknown(label)
    floats = label.float().masked_fill(label < 0, math.nan)
    assert torch.equal(TASK.batch(output, label).nan_to_num(-1), TASK.batch(output, floats).nan_to_num(-1))
    for name, values in TASK.metrics(output, label).items():
        assert torch.equal(values, TASK.metrics(output, floats)[name])


def test_metrics_are_scikit_learns() -> None:
    output, label = drawn(200)
    label[:10] = 0
    output[:6] = -1.0  # nothing to find, and nothing found
    output[20:30] = (label[20:30] * 2 - 1).float()
    found = (output > 0).long()
    metrics = TASK.metrics(output, label)
    means = {name: values.mean().item() for name, values in metrics.items()}
    assert list(metrics) == ["label_accuracy", "accuracy", "f1_samples", "loss"]
    assert means["label_accuracy"] == pytest.approx(1 - hamming_loss(label, found), rel=1e-5)
    assert means["accuracy"] == pytest.approx(accuracy_score(label, found), rel=1e-5)
    assert means["f1_samples"] == pytest.approx(f1_score(label, found, average="samples", zero_division=1), rel=1e-5)


def test_metrics_leave_unknown_labels_out() -> None:
    output, label = drawn(50)
    label = some_unknown(label)
    metrics = TASK.metrics(output, label)
    for i in range(50):
        known = label[i] >= 0
        alone = MultiLabel(int(known.sum())).metrics(output[i : i + 1, known], label[i : i + 1, known])
        for name, value in alone.items():
            torch.testing.assert_close(metrics[name][i : i + 1], value)


def test_a_sample_of_which_nothing_is_known_costs_nothing() -> None:
    output, _ = drawn(3)
    values = TASK.metrics(output, torch.full((3, K), -1))
    assert {name: value.tolist() for name, value in values.items()} == {
        "label_accuracy": [1.0] * 3, "accuracy": [1.0] * 3, "f1_samples": [1.0] * 3, "loss": [0.0] * 3,
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, K, 1)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(NetwrightError, match="multi_label wants 5 labels a picture") as caught:
        TASK.batch(torch.zeros(4, 3, 2, 2), torch.zeros(shape).long())
    assert "-1 or NaN" in caught.value.fix


def test_smoothing_moves_each_label_towards_a_half() -> None:
    from timm.loss import BinaryCrossEntropy

    run = tiny_run("label_smoothing(smoothing=0.2)")
    run.task = TASK
    output, label = drawn()
    given = Batch(torch.zeros(20, 3, 2, 2), label, TASK.batch(output, label), torch.arange(20))
    smoothed = run.tricks.through("batch", given, run)
    expected = BinaryCrossEntropy(smoothing=0.2, smooth_dense=True)(output, label.float())
    torch.testing.assert_close(TASK.loss(output, smoothed.target), expected)


class Quarters(Dataset[Any]):
    """Pictures whose quarters may each be bright; of some it is not known whether they are."""

    def __init__(self, n: int, *, unknown: float, listed: bool) -> None:
        draw = np.random.default_rng(n)
        self.truth = draw.integers(0, 2, (n, 4))
        self.labels = np.where(draw.random((n, 4)) < unknown, unknown and np.nan, self.truth.astype(float))
        if listed:
            self.targets = list(self.labels)

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image = 0.2 * torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(index))
        for quarter in np.flatnonzero(self.truth[index]):
            top, left = 6 * (quarter // 2), 6 * (quarter % 2)
            image[:, top : top + 6, left : left + 6] += 0.7
        return image, self.labels[index]


def small(*tricks: str, **changes: Any) -> Any:
    plain: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu", "optimizer": "sgd(lr=0.3)"}
    return recipe("cifar", **plain | changes, task="multi_label").changed(tricks=tricks)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.AvgPool2d(6), torch.nn.Flatten(), torch.nn.Linear(12, 4))


@pytest.mark.parametrize("listed", [True, False])
def test_a_users_dataset_from_end_to_end(tmp_path: Path, listed: bool) -> None:
    data = tuple(Quarters(n, unknown=0.3, listed=listed) for n in (128, 40))
    result = fit(small(epochs=12), data=data, model=network(), output=tmp_path)
    assert result.record["data"]["classes"] == ["0", "1", "2", "3"]
    values = result.splits["val"]
    assert values["label_accuracy"]["value"] > 0.9
    assert values["accuracy"]["value"] <= values["label_accuracy"]["value"]
    assert result.accuracy == values["accuracy"]["value"]
    assert (result.path / "report.html").stat().st_size > 0


def test_with_tricks_and_a_task_of_ones_own(tmp_path: Path) -> None:
    tricks = ["label_smoothing", "mixup_or_cutmix", "focal", "confidence_penalty", "l1_penalty", "flip", "ema"]
    data = tuple(Quarters(n, unknown=0.2, listed=False) for n in (64, 32))
    names = ["top left", "top right", "bottom left", "bottom right"]
    plan = small(*tricks)
    result = fit(plan, data=data, model=network(), task=MultiLabel(classes=4), classes=names, output=tmp_path)
    assert result.record["data"]["classes"] == names
    assert np.isfinite(result.splits["val"]["loss"]["value"])


def test_what_is_unknown_reaches_the_task() -> None:
    source = DatasetSource(Quarters(16, unknown=0.5, listed=True), CPU)
    (raw,) = source.batches([np.arange(16)])
    labels = source.dataset.labels
    assert raw.label.dtype == torch.int64
    assert np.array_equal(raw.label.numpy(), np.where(np.isnan(labels), -1, labels))
    assert source.labels is not None
    assert np.array_equal(source.labels, raw.label.numpy())


def test_labels_between_0_and_1_are_refused() -> None:
    data = Quarters(16, unknown=0.0, listed=False)
    data.labels = data.labels * 0.5
    with pytest.raises(NetwrightError, match=r"a label of 0\.5 is no whole number"):
        next(DatasetSource(data, CPU).batches([np.arange(16)]))


def labelled_table(root: Path, *, several: bool) -> str:
    """Red and blue pictures, and in some both."""
    draw = np.random.default_rng(0)
    rows = ["path,label,split"]
    for number in range(36):
        red, blue = [(1, 0), (0, 1), (1, 1)][number % 3] if several else [(1, 0), (0, 1)][number % 2]
        pixels = draw.integers(0, 60, (32, 32, 3), np.uint8)
        pixels[:16, :, 0] += np.uint8(150 * red)
        pixels[16:, :, 2] += np.uint8(150 * blue)
        Image.fromarray(pixels).save(root / f"{number}.png")
        label = "|".join(name for name, there in (("red", red), ("blue", blue)) if there)
        rows.append(f"{number}.png,{label},{'train' if number < 24 else 'val' if number < 30 else 'test'}")
    (root / "labels.csv").write_text("\n".join(rows))
    return str(root / "labels.csv")


def test_a_table_with_several_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    data = labelled_table(tmp_path, several=True)
    plan = Recipe(data=data, model="lenet5", epochs=2, batch_size=8, threads=1)
    with pytest.raises(NetwrightError, match=r"several labels.*\n  fix: .*task=multi_label"):
        fit(plan, output=tmp_path / "runs")
    run = fit(plan.changed(task="multi_label"), output=tmp_path / "runs")
    predictor = load(run.path)
    measured = evaluate_bundle(predictor, data)
    assert measured["n"] == 6 and measured["metrics"] == run.record["result"]["splits"]["test"]
    likely = predictor.predict(tmp_path / "2.png")[0].top
    assert len(likely) == 2 and sum(probability for _, probability in likely) != pytest.approx(1)


def test_one_label_each_is_no_multi_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    plan = Recipe(data=labelled_table(tmp_path, several=False), model="lenet5", epochs=1, task="multi_label")
    with pytest.raises(NetwrightError, match="one label each"):
        fit(plan, output=tmp_path / "runs")
