"""Losses and penalties against torch, torchvision, timm, scikit-learn and closed forms, and what they do together."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.plans import DataPlan
from netwright.engine.run import Batch, Run
from netwright.engine.trick import Trick, Tricks
from netwright.nn.matrices import matrices
from netwright.nn.output import Outputs
from netwright.tasks.classification import Classification
from netwright.tasks.multi_label import MultiLabel
from netwright.tricks import TRICKS
from tests.support import CLASSES, Pictures, digest, tiny_run, train_tiny

N = 12


def scores(classes: int = CLASSES, n: int = N, *, seed: int = 0) -> Tensor:
    return (3 * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))).requires_grad_()


def soft(n: int = N) -> Tensor:
    return torch.randn(n, CLASSES, generator=torch.Generator().manual_seed(5)).softmax(1)


def labels(classes: int = CLASSES, n: int = N) -> Tensor:
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(3))


def batch(target: Tensor | None = None) -> Batch:
    target = F.one_hot(labels(), CLASSES).float() if target is None else target
    return Batch(torch.zeros(N, 3, 8, 8), labels(), target, torch.arange(N))


def assert_same(found: Tensor, expected: Tensor, *wanted: Tensor) -> None:
    """The same value and the same gradients; both are sums of a few dozen float32 numbers of the order of one."""
    torch.testing.assert_close(found, expected)
    slopes = (torch.autograd.grad(loss, wanted, retain_graph=True) for loss in (found, expected))
    for mine, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def built(spec: str) -> Any:
    return TRICKS.build(spec)


class LossOf:
    """What a run with these tricks minimises."""

    def __init__(self, *tricks: Trick | str, **options: Any) -> None:
        self.run: Run = tiny_run(*tricks, **options)

    def __call__(self, output: Any, target: Tensor | None = None) -> Tensor:
        return self.run.loss(output, batch(target), self.run)


def counted(counts: list[int]) -> Pictures:
    source = Pictures(sum(counts))
    source.labels = np.repeat(np.arange(len(counts)), counts)
    return source


COUNTS = [30, 20, 8, 6]


class TestFocal:
    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
    def test_two_classes_are_torchvisions(self, gamma: float) -> None:
        from torchvision.ops import sigmoid_focal_loss

        output = scores(2)
        target = F.one_hot(labels(2), 2).float()
        found = built(f"focal(gamma={gamma})").criterion(Classification(2), output, target)
        # The softmax over two scores is the sigmoid of their difference.
        expected = sigmoid_focal_loss(output[:, 1] - output[:, 0], target[:, 1], -1, gamma, "mean")
        assert_same(found, expected, output)

    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
    def test_several_labels_are_torchvisions(self, gamma: float) -> None:
        from torchvision.ops import sigmoid_focal_loss

        output, target = scores(), (soft() > 0.2).float()
        found = built(f"focal(gamma={gamma})").criterion(MultiLabel(CLASSES), output, target)
        assert_same(found, sigmoid_focal_loss(output, target, -1, gamma, "mean"), output)

    def test_many_classes(self) -> None:
        output = scores()
        p = output.softmax(1)[torch.arange(N), labels()]
        assert_same(LossOf("focal(gamma=3)")(output), (-((1 - p) ** 3) * p.log()).mean(), output)

    @pytest.mark.parametrize("task", [Classification(CLASSES), MultiLabel(CLASSES)])
    def test_soft_targets_are_averaged_over(self, task: Any) -> None:
        focal, output = built("focal"), scores()
        if task.name == "classification":
            each = [focal.criterion(task, output[[i]], torch.eye(CLASSES)[[k]]) for i in range(N) for k in range(4)]
            expected = (torch.stack(each).view(N, CLASSES) * soft()).sum(1).mean()
        else:
            each = [focal.criterion(task, output[i, [k], None], torch.tensor([[float(t)]])) for i in range(N)
                    for k in range(4) for t in (0, 1)]  # fmt: skip
            yes_and_no = torch.stack([1 - soft(), soft()], 2)
            expected = (torch.stack(each).view(N, CLASSES, 2) * yes_and_no).sum(2).mean()
        assert_same(focal.criterion(task, output, soft()), expected, output)

    @pytest.mark.parametrize("task", [Classification(2), MultiLabel(2)])
    @pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
    def test_is_finite_where_the_network_is_sure(self, task: Any, gamma: float) -> None:
        output = torch.tensor([[300.0, -300.0], [-300.0, 300.0], [0.0, 0.0]], requires_grad=True)
        loss = built(f"focal(gamma={gamma})").criterion(task, output, torch.tensor([[1.0, 0], [1.0, 0], [1.0, 0]]))
        loss.backward()
        assert loss.isfinite()
        assert output.grad is not None
        assert output.grad.isfinite().all()

    def test_for_each_pixel(self) -> None:
        class Dense(Classification):
            def loss(self, output: Tensor, target: Tensor) -> Tensor:
                return -(target * output.log_softmax(1)).sum(1).mean()

        output = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        label = torch.randint(3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
        target = F.one_hot(label, 3).movedim(3, 1).float()
        surprise = F.cross_entropy(output, label, reduction="none")
        expected = ((1 - (-surprise).exp()) ** 2 * surprise).mean()
        torch.testing.assert_close(built("focal").criterion(Dense(3), output, target), expected)


class TestBinaryCrossEntropy:
    @pytest.mark.parametrize("threshold", [None, 0.2])
    @pytest.mark.parametrize("target", [soft(), None], ids=["soft", "hard"])
    def test_is_timms(self, threshold: float | None, target: Tensor | None) -> None:
        from timm.loss import BinaryCrossEntropy

        output = scores()
        expected = BinaryCrossEntropy(smoothing=0.0, target_threshold=threshold)(output, batch(target).target)
        assert_same(LossOf(f"binary_cross_entropy(threshold={threshold})")(output, target), expected, output)

    def test_is_torchs_for_labels_that_are_not_all_known(self) -> None:
        from netwright.nn.losses import binary_cross_entropy

        output, target = scores(), soft()
        known = scores(seed=9) > 0
        known[:, 0] = True  # something of each
        expected = torch.stack(
            [F.binary_cross_entropy_with_logits(output[i, known[i]], target[i, known[i]]) for i in range(N)]
        )
        found = binary_cross_entropy(output, target.masked_fill(~known, torch.nan))
        assert_same(found.sum(), expected.sum(), output)
        torch.testing.assert_close(found, expected)
        assert binary_cross_entropy(output, torch.full((N, CLASSES), torch.nan)).tolist() == [0.0] * N

    @pytest.mark.parametrize("other", ["focal", "class_weights"])
    def test_refuses_what_weighs_a_softmax(self, other: str) -> None:
        with pytest.raises(NetwrightError, match=f"binary_cross_entropy cannot be combined with {other}"):
            Tricks([built("binary_cross_entropy"), built(other)])


class TestClassWeights:
    def test_inverse_frequency_is_scikit_learns(self) -> None:
        from sklearn.utils.class_weight import compute_class_weight

        source = counted(COUNTS)
        weight = torch.from_numpy(compute_class_weight("balanced", classes=np.arange(CLASSES), y=source.labels)).float()
        loss, output = LossOf("class_weights", train_source=source), scores()
        expected = F.cross_entropy(output, labels(), weight, reduction="sum") / N
        assert_same(loss(output), expected, output)
        assert_same(loss(output, soft()), F.cross_entropy(output, soft(), weight), output)

    def test_with_label_smoothing_it_is_torchs(self) -> None:
        run = tiny_run("class_weights", "label_smoothing(smoothing=0.2)", train_source=counted(COUNTS))
        output, given = scores(), run.tricks.through("batch", batch(), run := run)
        weight = torch.tensor([sum(COUNTS) / (CLASSES * n) for n in COUNTS])
        expected = F.cross_entropy(output, labels(), weight, label_smoothing=0.2, reduction="sum") / N
        assert_same(run.loss(output, given, run), expected, output)

    @pytest.mark.parametrize("beta", [0.5, 0.9, 0.99, 0.9999])
    def test_effective_numbers(self, beta: float) -> None:
        from netwright.tricks.class_weights import weights

        counts = torch.tensor(COUNTS, dtype=torch.float64)
        found = weights(counts, beta)
        # The paper's recursion: E_1 = 1, E_n = 1 + β E_(n − 1).
        effective = {1: 1.0}
        for n in range(2, max(COUNTS) + 1):
            effective[n] = 1 + beta * effective[n - 1]
        ratio = torch.tensor([effective[n] for n in COUNTS], dtype=torch.float64) * found
        torch.testing.assert_close(ratio, ratio[0].expand(4), rtol=1e-9, atol=0)
        assert (found * counts).sum().item() == pytest.approx(sum(COUNTS), rel=1e-12)

    def test_limits(self) -> None:
        from netwright.tricks.class_weights import weights

        counts = torch.tensor(COUNTS, dtype=torch.float64)
        torch.testing.assert_close(weights(counts, 0.0), torch.ones(4, dtype=torch.float64))
        # 1 − βⁿ = n (1 − β) up to n (1 − β) / 2 in relative terms
        torch.testing.assert_close(weights(counts, 1 - 1e-7), weights(counts, 1.0), rtol=1e-5, atol=0)

    def test_balanced_draws_need_no_weights(self) -> None:
        output = scores()
        both = LossOf("class_weights", "balanced_sampling", train_source=counted(COUNTS))
        torch.testing.assert_close(both(output), F.cross_entropy(output, labels()))

    @pytest.mark.parametrize("name", ["class_weights", "logit_adjustment"])
    def test_without_labels_it_says_so(self, name: str) -> None:
        source = Pictures(8)
        source.labels = None
        with pytest.raises(NetwrightError, match=f"{name} cannot see the labels"):
            built(name).data(DataPlan(source, 4, 4))

    @pytest.mark.parametrize("name", ["class_weights", "logit_adjustment"])
    def test_a_class_without_samples_is_no_trouble(self, name: str) -> None:
        loss = LossOf(name, train_source=counted([40, 24]))(scores(), soft())
        assert loss.isfinite()


class TestLogitAdjustment:
    @pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
    def test_shifts_the_scores_by_the_log_prior(self, tau: float) -> None:
        prior = torch.tensor(COUNTS) / sum(COUNTS)
        loss, output = LossOf(f"logit_adjustment(tau={tau})", train_source=counted(COUNTS)), scores()
        assert_same(loss(output), F.cross_entropy(output + tau * prior.log(), labels()), output)

    def test_is_learnt_from_by_the_balanced_posterior(self) -> None:
        # If pictures tell nothing, all scores alike are best, however unbalanced the labels are.
        loss = LossOf("logit_adjustment", train_source=counted(COUNTS))
        target = (torch.tensor(COUNTS) / sum(COUNTS)).expand(N, CLASSES)
        output = torch.full((N, CLASSES), 0.3, requires_grad=True)
        (slope,) = torch.autograd.grad(loss(output, target), output)
        torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-7)

    def test_balanced_draws_need_no_adjustment(self) -> None:
        output = scores()
        both = LossOf("logit_adjustment", "balanced_sampling", train_source=counted(COUNTS))
        torch.testing.assert_close(both(output), F.cross_entropy(output, labels()))

    def test_composes(self) -> None:
        output, shift = scores(), (torch.tensor(COUNTS) / sum(COUNTS)).log()
        source = counted(COUNTS)
        binary = LossOf("logit_adjustment", "binary_cross_entropy", train_source=source)
        expected = F.binary_cross_entropy_with_logits(output + shift, batch().target)
        assert_same(binary(output), expected, output)
        p = (output + shift).softmax(1)[torch.arange(N), labels()]
        focal = LossOf("focal", "logit_adjustment", train_source=source)
        assert_same(focal(output), (-((1 - p) ** 2) * p.log()).mean(), output)
        weighted = LossOf("logit_adjustment", "class_weights", "focal", train_source=source)
        weight = torch.tensor([sum(COUNTS) / (CLASSES * n) for n in COUNTS])[labels()]
        assert_same(weighted(output), (-weight * (1 - p) ** 2 * p.log()).mean(), output)

    def test_metrics_see_the_scores_themselves(self) -> None:
        run = train_tiny(tiny_run("logit_adjustment(tau=5)", epochs=1))
        assert type(run.task) is Classification


class TestConfidencePenalty:
    def test_is_the_entropy_of_softmax(self) -> None:
        output = scores()
        expected = F.cross_entropy(output, labels()) - 0.3 * torch.distributions.Categorical(
            logits=output
        ).entropy().mean()  # fmt: skip
        assert_same(LossOf("confidence_penalty(strength=0.3)")(output), expected, output)

    def test_is_the_entropy_of_each_answer(self) -> None:
        run = tiny_run("confidence_penalty(strength=0.3)")
        run.task = MultiLabel(CLASSES)
        output, target = scores(), (soft() > 0.3).float()
        entropy = torch.distributions.Bernoulli(logits=output).entropy().mean()
        expected = F.binary_cross_entropy_with_logits(output, target) - 0.3 * entropy
        assert_same(run.loss(output, batch(target), run), expected, output)

    def test_for_each_pixel(self) -> None:
        from netwright.tricks.confidence_penalty import entropy

        output = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        expected = torch.distributions.Categorical(logits=output.movedim(1, 3)).entropy()
        torch.testing.assert_close(entropy(output), expected)

    @pytest.mark.parametrize("task", [Classification(CLASSES), MultiLabel(CLASSES)])
    def test_is_finite_where_the_network_is_sure(self, task: Any) -> None:
        run = tiny_run("confidence_penalty")
        run.task = task
        output = (300 * torch.eye(CLASSES)[labels()]).requires_grad_()
        (slope,) = torch.autograd.grad(run.loss(output, batch(), run), output)
        assert slope.isfinite().all()


def layers() -> nn.Sequential:
    """Every kind of layer with weights, in float64."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2),
        nn.BatchNorm2d(6),
        nn.ConvTranspose2d(6, 4, 2, groups=2),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv1d(4, 9, 1),
        nn.Linear(9, 5),
    ).double()


def rows() -> list[list[Tensor]]:
    """What comes into each unit of `layers()`, layer by layer, flat; written out by index."""
    conv, _, transposed, depthwise, one, linear = layers()
    turned = [transposed.weight[3 * g : 3 * g + 3, o].flatten() for g in range(2) for o in range(2)]
    plain = [[row.flatten() for row in layer.weight] for layer in (conv, depthwise, one, linear)]
    return [plain[0], turned, *plain[1:]]


def penalty(spec: str, network: nn.Module) -> Tensor:
    (trick,) = Tricks([built(spec)])
    run: Any = type("Run", (), {"model": network})
    return trick.loss(lambda output, batch, run: torch.zeros((), dtype=torch.float64))(None, batch(), run)


class TestL1Penalty:
    def test_value_and_gradient(self) -> None:
        network = layers()
        found = penalty("l1_penalty(strength=0.3)", network)
        weights = [w for w in network.parameters() if w.dim() > 1]
        slopes = torch.autograd.grad(found, weights)
        assert found.item() == pytest.approx(0.3 * sum(w.abs().sum().item() for w in weights), rel=1e-12)
        for weight, slope in zip(weights, slopes, strict=True):
            assert torch.equal(slope, 0.3 * weight.sign())


class TestGroupLasso:
    def test_value_and_gradient(self) -> None:
        network = layers()
        found = penalty("group_lasso(strength=0.3)", network)
        expected = 0.3 * sum(len(row) ** 0.5 * row.square().sum().item() ** 0.5 for layer in rows() for row in layer)
        assert found.item() == pytest.approx(expected, rel=1e-12)
        linear = network[-1].weight
        (slope,) = torch.autograd.grad(found, linear)
        torch.testing.assert_close(slope, 0.3 * 3 * F.normalize(linear, dim=1))

    def test_a_filter_that_is_zero_stays(self) -> None:
        network = layers()
        with torch.no_grad():
            network[0].weight[2].zero_()
        (slope,) = torch.autograd.grad(penalty("group_lasso", network), network[0].weight)
        assert (slope[2] == 0).all()
        assert (slope[3] != 0).all()


class TestOrthogonality:
    @pytest.mark.parametrize("wide", [True, False])
    def test_value_and_gradient(self, wide: bool) -> None:
        rows, columns = (3, 7) if wide else (7, 3)
        network = nn.Linear(columns, rows, dtype=torch.float64)
        w = network.weight
        found = penalty("orthogonality(strength=0.5)", network)
        first = (w.T @ w - torch.eye(columns)).square().sum()
        second = (w @ w.T - torch.eye(rows)).square().sum()
        torch.testing.assert_close(found, 0.5 * torch.minimum(first, second))
        for form in (first, second):
            torch.testing.assert_close(
                torch.autograd.grad(found, w, retain_graph=True)[0], torch.autograd.grad(0.5 * form, w)[0]
            )

    def test_orthogonal_weights_cost_nothing(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(4, 9), nn.Linear(9, 4))
        for layer in network:
            nn.init.orthogonal_(layer.weight)
        assert penalty("orthogonality(strength=1)", network).item() < 1e-10

    def test_groups_are_matrices_of_their_own(self) -> None:
        sums = []
        for layer, groups in zip(rows(), (2, 2, 4, 1, 1), strict=True):
            for part in torch.stack(layer).chunk(groups):
                gram = min((part @ part.T, part.T @ part), key=len)
                sums.append((gram - torch.eye(len(gram))).square().sum().item())
        assert penalty("orthogonality(strength=2)", layers()).item() == pytest.approx(2 * sum(sums), rel=1e-12)


class TestMaxNorm:
    def project(self, network: nn.Module, norm: float) -> None:
        run: Any = type("Run", (), {"model": network})
        built(f"max_norm(norm={norm})").after_step(run)

    @pytest.mark.parametrize("layer", [nn.Linear(7, 5), nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3, groups=2)])
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize("norm", [0.3, 0.6, 10.0])
    def test_is_torchs_renorm(self, layer: Any, layout: torch.memory_format, norm: float) -> None:
        layer = type(layer)(7, 5) if isinstance(layer, nn.Linear) else layer.to(memory_format=layout)
        before = layer.weight.detach().clone()
        self.project(layer, norm)
        torch.testing.assert_close(layer.weight.detach(), torch.renorm(before, 2, 0, norm))

    def test_units_of_every_layer(self) -> None:
        network = layers()
        self.project(network, 0.4)
        expected = [[row * min(1, 0.4 / row.norm()) for row in layer] for layer in rows()]
        for weight, wanted in zip(matrices(network), expected, strict=True):
            torch.testing.assert_close(weight.flatten(0, 1), torch.stack(wanted))

    def test_zero_weights_stay_zero_and_biases_are_left(self) -> None:
        layer = nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.fill_(100)
        self.project(layer, 0.5)
        assert (layer.weight == 0).all()
        assert (layer.bias == 100).all()

    def test_a_ball_of_no_size_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match=r"max_norm: norm cannot be 0\.0") as caught:
            built("max_norm(norm=0)")
        assert caught.value.fix == "give a value at least 1e-06"

    def test_holds_after_training(self) -> None:
        run = train_tiny(tiny_run("max_norm(norm=0.5)"))
        longest = max(w.norm(dim=2).max().item() for w in matrices(run.model))
        assert longest == pytest.approx(0.5, rel=1e-5)


class TestWithAuxiliaryHeads:
    """Each head is judged alike; penalties on weights and on doubt count once."""

    def outputs(self) -> Outputs:
        return Outputs(scores(seed=1), (scores(seed=2), scores(seed=3)))

    @pytest.mark.parametrize("name", ["focal", "binary_cross_entropy", "class_weights", "logit_adjustment"])
    def test_each_head_is_judged_alike(self, name: str) -> None:
        source = counted(COUNTS)
        alone = LossOf(name, train_source=source)
        both = LossOf(name, "auxiliary_heads(weight=0.3)", train_source=source)
        output = self.outputs()
        first, *others = [alone(each) for each in (output.scores, *output.auxiliary)]
        torch.testing.assert_close(both(output), first + 0.3 * sum(others))

    @pytest.mark.parametrize(
        "spec",
        ["l1_penalty(strength=1)", "group_lasso(strength=1)", "orthogonality(strength=1)", "confidence_penalty"],
    )
    def test_penalties_count_once(self, spec: str) -> None:
        output = self.outputs()
        alone, heads, both = LossOf(spec), LossOf("auxiliary_heads"), LossOf("auxiliary_heads", spec)
        once = alone(output) - LossOf()(output)
        torch.testing.assert_close(both(output) - heads(output), once, rtol=1e-4, atol=1e-5)

    def test_a_penalty_stays_whatever_replaces_the_loss(self) -> None:
        output = self.outputs()
        for name in ("focal", "binary_cross_entropy", "class_weights", "logit_adjustment"):
            penalised = LossOf(name, "l1_penalty(strength=1)")(output) - LossOf(name)(output)
            torch.testing.assert_close(penalised, LossOf("l1_penalty(strength=1)")(output) - LossOf()(output))


class TestEarlyStoppingWithoutRestoring:
    def test_the_last_weights_are_kept(self) -> None:
        losses = [3.0, 1.0, 2.0, 2.0]
        digests = []
        for options in ("restore_best=False", "restore_best=True"):
            run = tiny_run(f"early_stopping(patience=2, {options})", epochs=6)
            run.validate = lambda run=run: run.predictor() and {"loss": losses[run.epoch - 1]}
            train_tiny(run)
            assert run.epoch == 4
            assert "best at epoch 2" in run.stopped
            last = digest(run)
            run.predictor()
            digests.append(digest(run) == last)
        assert digests == [True, False]


def test_a_loss_that_is_judged_does_not_change_the_run() -> None:
    loss = LossOf("focal")
    before = dict(vars(loss.run))
    loss(scores())
    assert vars(loss.run) == before
