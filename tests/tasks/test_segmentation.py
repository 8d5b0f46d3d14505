"""`segmentation` against torch and scikit-learn, and what is ignored."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.tasks import segmentation
from netwright.tasks.segmentation import Segmentation, mean_ratio, overlaps

K, SIZE = 4, (9, 13)


def drawn(n: int = 6, *, seed: int = 0, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(K, (n, *SIZE), generator=draw)
    label[torch.rand(label.shape, generator=draw) < ignored] = -1
    return 2 * torch.randn(n, K, *SIZE, generator=draw), label


def drawn_several(n: int = 6) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, K, *SIZE, generator=draw), torch.randint(-1, 2, (n, K, *SIZE), generator=draw)


class TestTarget:
    def test_is_one_hot_and_all_zeros_where_ignored(self) -> None:
        _, label = drawn()
        target = Segmentation(K).batch(torch.zeros(6, 3, *SIZE), label)
        assert target.shape == (6, K, *SIZE)
        assert target.dtype == torch.float32
        assert torch.equal(target.sum(1), (label >= 0).float())
        assert torch.equal(target.argmax(1)[label >= 0], label[label >= 0])

    def test_of_several_is_nan_where_unknown(self) -> None:
        _, label = drawn_several()
        target = Segmentation(K, several=True).batch(torch.zeros(6, 3, *SIZE), label)
        assert torch.equal(target.isnan(), label < 0)
        assert torch.equal(target.nan_to_num(-1), label.float())

    @pytest.mark.parametrize("shape", [(6,), (6, K), (6, K, *SIZE)])
    def test_labels_of_another_shape_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(NetwrightError, match="a class id for each pixel") as caught:
            Segmentation(K).batch(torch.zeros(6, 3, *SIZE), torch.zeros(shape).long())
        assert "classification" in caught.value.fix

    @pytest.mark.parametrize("shape", [(6,), (6, *SIZE), (6, K + 1, *SIZE)])
    def test_stacks_of_another_shape_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(NetwrightError, match=rf"wants labels N {K} H W, and these are \(6,"):
            Segmentation(K, several=True).batch(torch.zeros(6, 3, *SIZE), torch.zeros(shape).long())

    def test_one_class_is_refused_unless_it_is_a_yes_or_no(self) -> None:
        with pytest.raises(NetwrightError, match="nothing to decide"):
            Segmentation(1)
        assert Segmentation(1, several=True).classes == 1


class TestLoss:
    def test_is_torchs_over_labelled_pixels(self) -> None:
        output, label = drawn()
        output.requires_grad_()
        task = Segmentation(K)
        found, expected = task.loss(output, task.batch(output, label)), F.cross_entropy(output, label, ignore_index=-1)
        torch.testing.assert_close(found, expected)
        slopes = [torch.autograd.grad(loss, output, retain_graph=True)[0] for loss in (found, expected)]
        torch.testing.assert_close(*slopes)
        assert (slopes[0].movedim(1, 3)[label < 0] == 0).all()

    def test_soft_targets_are_torchs(self) -> None:
        output, _ = drawn()
        soft = torch.rand(output.shape, generator=torch.Generator().manual_seed(2)).softmax(1)
        torch.testing.assert_close(Segmentation(K).loss(output, soft), F.cross_entropy(output, soft))

    def test_a_pixels_sum_is_its_weight(self) -> None:
        output, label = drawn()
        task = Segmentation(K)
        weight = 0.5 + torch.rand(label.shape, generator=torch.Generator().manual_seed(3))
        found = task.loss(output, task.batch(output, label) * weight[:, None])
        each = F.cross_entropy(output, label, ignore_index=-1, reduction="none") * weight
        torch.testing.assert_close(found, each.sum() / (label >= 0).sum())

    def test_several_is_torchs_over_what_is_known(self) -> None:
        output, label = drawn_several()
        task, known = Segmentation(K, several=True), label >= 0
        expected = F.binary_cross_entropy_with_logits(output[known], label[known].float())
        torch.testing.assert_close(task.loss(output, task.batch(output, label)), expected)

    @pytest.mark.parametrize("several", [False, True])
    def test_without_labels_there_is_none(self, several: bool) -> None:
        task = Segmentation(K, several=several)
        output = drawn()[0].requires_grad_()
        label = torch.full_like(output, -1).long() if several else torch.full((6, *SIZE), -1)
        loss = task.loss(output, task.batch(output, label))
        (slope,) = torch.autograd.grad(loss, output)
        assert loss == 0
        assert (slope == 0).all()
        values = {name: value.tolist() for name, value in task.metrics(output, label).items()}
        assert values == {"iou": [1.0] * 6, "dice": [1.0] * 6, "pixel_accuracy": [1.0] * 6, "loss": [0.0] * 6}

    def test_half_precision_scores_are_judged_in_float32(self) -> None:
        output, label = drawn()
        task = Segmentation(K)
        half = output.bfloat16()
        torch.testing.assert_close(
            task.loss(half, task.batch(half, label)), task.loss(half.float(), task.batch(half, label))
        )


class TestMetrics:
    @pytest.mark.parametrize("background", [True, False])
    def test_are_scikit_learns(self, background: bool) -> None:
        output, label = drawn(12)
        label[0][label[0] == 3] = 0
        output[0, 3] = -100  # a class that this picture has neither in truth nor in what was found
        label[1], output[1, 1:] = 0, -100  # background alone, and found
        metrics = Segmentation(K, background=background).metrics(output, label)
        assert list(metrics) == ["iou", "dice", "pixel_accuracy", "loss"]
        for i in range(12):
            known = label[i] >= 0
            truth, found = label[i][known].numpy(), output[i].argmax(0)[known].numpy()
            present = sorted({*np.unique(truth), *np.unique(found)} - ({0} if background else set()))
            expected: Any = {"pixel_accuracy": accuracy_score(truth, found), "iou": 1.0, "dice": 1.0}
            if present:
                expected["iou"] = jaccard_score(truth, found, labels=present, average="macro")
                expected["dice"] = f1_score(truth, found, labels=present, average="macro")
            for name, value in expected.items():
                assert metrics[name][i].item() == pytest.approx(value, rel=1e-6), (i, name)
        each = F.cross_entropy(output, label, ignore_index=-1, reduction="none").flatten(1).sum(1)
        torch.testing.assert_close(metrics["loss"], each / (label >= 0).flatten(1).sum(1))

    def test_of_several_are_scikit_learns(self) -> None:
        output, label = drawn_several()
        metrics = Segmentation(K, several=True).metrics(output, label)  # there is no background among them
        for i in range(len(label)):
            known = label[i] >= 0
            pairs = [(label[i, k][known[k]].numpy(), (output[i, k] > 0)[known[k]].long().numpy()) for k in range(K)]
            assert metrics["iou"][i].item() == pytest.approx(np.mean([jaccard_score(*pair) for pair in pairs]))
            assert metrics["dice"][i].item() == pytest.approx(np.mean([f1_score(*pair) for pair in pairs]))
            right = ((output[i] > 0).long() == label[i])[known].float().mean().item()
            assert metrics["pixel_accuracy"][i].item() == pytest.approx(right)
            loss = F.binary_cross_entropy_with_logits(output[i][known], label[i][known].float())
            torch.testing.assert_close(metrics["loss"][i], loss)

    def test_a_hand_made_case(self) -> None:
        label = torch.tensor([[[0, 0, 1], [0, 1, 1], [-1, -1, 2]]])
        found = torch.tensor([[[0, 1, 1], [0, 1, 0], [2, 2, 2]]])
        output = 9.0 * F.one_hot(found, 3).movedim(3, 1)
        metrics = Segmentation(3).metrics(output, label)
        assert metrics["iou"].item() == pytest.approx((2 / 4 + 1) / 2)
        assert metrics["dice"].item() == pytest.approx((4 / 6 + 1) / 2)
        assert metrics["pixel_accuracy"].item() == pytest.approx(5 / 7)

    @pytest.mark.parametrize("ghost", [True, False])
    def test_a_class_that_is_only_found_counts_as_nothing_found(self, ghost: bool) -> None:
        label = torch.ones(1, 4, 4).long()
        output = torch.zeros(1, 3, 4, 4)
        output[:, 1] = 1
        output[0, 2, 0, 0] = 2 if ghost else 0
        iou = Segmentation(3).metrics(output, label)["iou"].item()
        assert iou == pytest.approx((15 / 16 + 0) / 2 if ghost else 1)

    def test_pictures_do_not_see_each_other(self) -> None:
        output, label = drawn()
        task = Segmentation(K)
        whole = task.metrics(output, label)
        for i in range(6):
            for name, value in task.metrics(output[i : i + 1], label[i : i + 1]).items():
                torch.testing.assert_close(value[0], whole[name][i])

    def test_overlaps_are_counts(self) -> None:
        output, label = drawn()
        counts, known, right = overlaps(output.argmax(1), label, K)
        assert counts.shape == (6, K, 3)
        assert torch.equal(counts[..., 1].sum(1), known)
        assert torch.equal(counts[..., 2].sum(1), known)
        assert torch.equal(counts[..., 0].sum(1), right)
        assert torch.equal(known, (label >= 0).sum((1, 2)))

    @pytest.mark.parametrize("pixels", [1, 100, 1000])
    def test_large_pictures_are_compared_in_bands(self, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
        output, label = drawn()
        whole, counted = Segmentation(K).metrics(output, label), overlaps(output.argmax(1), label, K)
        monkeypatch.setattr(segmentation, "BAND", pixels)
        for one, other in zip(overlaps(output.argmax(1), label, K), counted, strict=True):
            assert torch.equal(one, other)
        for name, value in Segmentation(K).metrics(output, label).items():
            torch.testing.assert_close(value, whole[name])

    def test_means_leave_out_what_is_not_there(self) -> None:
        part, whole = torch.tensor([[1.0, 0, 3], [0, 0, 0]]), torch.tensor([[2.0, 0, 4], [0, 0, 0]])
        assert mean_ratio(part, whole).tolist() == [0.625, 1.0]


def test_a_network_learns_from_it() -> None:
    """Bright squares on a dark background, by a convolution of one pixel: the loss falls and the IoU rises."""
    draw = torch.Generator().manual_seed(0)
    label = torch.zeros(8, 12, 12).long()
    label[:, 3:8, 4:9] = 1
    label[:, :2] = -1
    image = label.clamp(min=0).float()[:, None] + 0.2 * torch.randn(8, 1, 12, 12, generator=draw)
    task, network = Segmentation(2), torch.nn.Conv2d(1, 2, 1)
    updates = torch.optim.SGD(network.parameters(), lr=2.0)
    target = task.batch(image, label)
    losses: list[float] = []
    for _ in range(40):
        loss = task.loss(network(image), target)
        losses.append(loss.item())
        updates.zero_grad()
        loss.backward()
        updates.step()
    assert losses[-1] < losses[0] / 4
    assert task.metrics(network(image), label)["iou"].mean() > 0.9
