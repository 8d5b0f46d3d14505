"""Tricks where each pixel has a class: those whose card says so keep the rules, and the others say why they do not."""

import copy
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.residual import branch_ends
from netwright.engine.run import Batch, Run
from netwright.engine.trick import Trick, Tricks
from netwright.engine.warp import IGNORE
from netwright.models import create_model
from netwright.nn.depth import depths
from netwright.nn.drop_path import DropPath
from netwright.nn.norm import batch_norms
from netwright.nn.output import Outputs
from netwright.tasks.segmentation import Segmentation
from netwright.tricks import TRICKS
from netwright.tricks.accumulate import counted, share
from netwright.tricks.test_time_augmentation import Views
from tests.support import (
    Scenes,
    TinyMaskNetwork,
    digest,
    hash_of,
    mask_outputs,
    tiny_mask_run,
    train_tiny,
    train_until,
    untimed,
)

NAMES = TRICKS.names()
CLAIMING = [name for name in NAMES if "segmentation" in TRICKS.load(name).card.tasks]
REFUSING = [name for name in NAMES if name not in CLAIMING]
NEUTRAL = [name for name in CLAIMING if TRICKS.load(name).card.neutral is not None]
EXCLUSIVE = ("binary_cross_entropy", "border_weights", "class_weights", "logit_adjustment")  # as they say themselves
ALONE = ("several", "one")


def strong(name: str) -> Trick:
    return TRICKS.load(name)(**TRICKS.load(name).card.strong)


@pytest.fixture(scope="module")
def plain() -> Run:
    return train_tiny(tiny_mask_run())


def test_most_tricks_apply() -> None:
    assert len(CLAIMING) >= 70
    assert [name for name in REFUSING if "classification" in TRICKS.load(name).card.tasks] == [
        "augmix", "balanced_sampling", "head",
    ]  # fmt: skip


@pytest.mark.parametrize("name", REFUSING)
def test_who_refuses_says_why(name: str) -> None:
    with pytest.raises(NetwrightError, match=f"{name} does not apply to segmentation: .{{30}}") as caught:
        Tricks([TRICKS.load(name)()]).require("segmentation")
    assert f"--without {name}" in caught.value.fix
    assert set(TRICKS.load(name).card.why).isdisjoint(TRICKS.load(name).card.tasks)


@pytest.mark.parametrize("name", NAMES)
def test_reasons_are_for_tasks_that_are_refused(name: str) -> None:
    card = TRICKS.load(name).card
    assert set(card.why).isdisjoint(card.tasks)
    assert all(reason and not reason.endswith(".") for reason in card.why.values())


@pytest.mark.parametrize("name", CLAIMING)
def test_trains_resumes_and_keeps_the_rules(name: str, plain: Run, tmp_path: Path) -> None:
    """The trick acts, options stay, state ends in an underscore; a run made again, in two parts, is the same run."""
    each = strong(name)
    Tricks([each]).require("segmentation")
    given = {field.name: getattr(each, field.name) for field in fields(each)}
    whole = train_tiny(tiny_mask_run(each))
    assert vars(each) == given, "a run left state in the user's object"
    (copied,) = whole.tricks
    assert {field.name: getattr(copied, field.name) for field in fields(copied)} == given
    assert set(copied.memory()) == {attribute for attribute in vars(copied) if attribute.endswith("_")}
    assert whole.step == 4
    assert np.isfinite([value for value in whole.history[-1].values() if isinstance(value, float)]).all()
    weights, scores = digest(whole), mask_outputs(whole)
    assert np.isfinite(scores).all()
    changed = weights != digest(plain) or scores.tobytes() != mask_outputs(plain).tobytes()
    assert changed or len(whole.optimizer.groups) > 1 or whole.stopped

    train_until(tiny_mask_run(strong(name)), 3, tmp_path)
    second = tiny_mask_run(strong(name))
    second.recall(read_checkpoint(tmp_path)[0])
    train_tiny(second)
    assert digest(second) == weights
    assert hash_of(second.tricks.memory()) == hash_of(whole.tricks.memory())
    assert mask_outputs(second).tobytes() == scores.tobytes()


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_options_change_nothing(name: str, plain: Run) -> None:
    kind = TRICKS.load(name)
    neutral = train_tiny(tiny_mask_run(kind(**kind.card.neutral)))
    assert digest(neutral) == digest(plain)
    assert mask_outputs(neutral).tobytes() == mask_outputs(plain).tobytes()
    assert untimed(neutral.history) == untimed(plain.history)


@pytest.mark.parametrize("name", CLAIMING)
def test_classes_that_overlap(name: str) -> None:
    """Masks of 1, 0 and -1 for each class: the trick trains, or says that it cannot."""
    if name in EXCLUSIVE:
        with pytest.raises(NetwrightError, match=r"overlap|no class here") as caught:
            train_tiny(tiny_mask_run(strong(name), epochs=1, several=True))
        assert f"--without {name}" in caught.value.fix
        return
    run = train_tiny(tiny_mask_run(strong(name), n=4, epochs=1, several=True))
    assert run.step == 1
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())


def test_all_together() -> None:
    holding = ("bn_freeze", "freeze", "gradual_unfreeze")
    free = [name for name in CLAIMING if name not in holding]
    excluded = {other for name in free for other in TRICKS.load(name).card.excludes}
    chosen = [name for name in free if name not in excluded]
    run = train_tiny(tiny_mask_run(*(TRICKS.load(name)() for name in chosen)))
    assert run.step == 4
    assert np.isfinite(mask_outputs(run)).all()


def scores_and_masks(several: bool = False) -> tuple[Segmentation, Tensor, Tensor, Tensor]:
    """A task, scores N K H W, labels of which a fifth is ignored, and their target."""
    draw = torch.Generator().manual_seed(0)
    task = Segmentation(3, several=several)
    label = torch.from_numpy(np.random.default_rng(0).choice(4, (4, 5, 7), p=(0.2, 0.4, 0.3, 0.1)) - 1)
    label[0] = IGNORE
    if several:
        label = torch.stack([label.sign(), label.roll(1, 2).sign(), label.roll(1, 1).sign()], 1)
    output = torch.randn(4, 3, 5, 7, generator=draw)
    return task, output, label, task.batch(output, label)


def judged_by(trick: Any, task: Segmentation, output: Tensor, target: Tensor) -> Tensor:
    run = tiny_mask_run(trick, several=task.several)
    none = torch.zeros(0)
    return run.loss(output, Batch(none, none, target, torch.arange(len(target))), run)


class TestLabelSmoothing:
    def smoothed(self, several: bool) -> tuple[Tensor, Tensor]:
        _, output, label, target = scores_and_masks(several)
        run = tiny_mask_run("label_smoothing(smoothing=0.3)", several=several)
        batch = Batch(output, label, target, torch.arange(4))
        return target, run.tricks.through("batch", batch, run).target

    def test_ignored_pixels_stay_nothing_and_others_sum_to_their_weight(self) -> None:
        target, found = self.smoothed(False)
        assert (found[(target.sum(1, keepdim=True) == 0).expand_as(found)] == 0).all()
        torch.testing.assert_close(found.sum(1), target.sum(1), rtol=0, atol=1e-6)
        expected = torch.where(target == 1, 0.7 + 0.1, 0.1) * target.sum(1, keepdim=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)

    def test_what_is_unknown_stays_unknown(self) -> None:
        target, found = self.smoothed(True)
        assert torch.equal(found.isnan(), target.isnan())
        torch.testing.assert_close(found, target * 0.7 + 0.15, rtol=0, atol=1e-6, equal_nan=True)


class TestBinaryCrossEntropy:
    def test_is_torchs_over_labelled_pixels(self) -> None:
        task, output, label, target = scores_and_masks()
        found = judged_by("binary_cross_entropy", task, output, target)
        chosen = label != IGNORE
        expected = F.binary_cross_entropy_with_logits(output.movedim(1, -1)[chosen], target.movedim(1, -1)[chosen])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)

    def test_a_pixels_weight_multiplies_its_loss_and_not_its_probabilities(self) -> None:
        task, output, _, target = scores_and_masks()
        once, twice = (judged_by("binary_cross_entropy", task, output, by * target) for by in (1, 2))
        torch.testing.assert_close(twice, 2 * once, rtol=1e-5, atol=1e-6)

    def test_a_threshold_is_of_probabilities_whatever_a_pixel_weighs(self) -> None:
        task, output, _, target = scores_and_masks()
        mixed = 5 * (0.7 * target + 0.3 * target.roll(1, 1))  # two classes a pixel, of which the first is above a half
        found = judged_by("binary_cross_entropy(threshold=0.5)", task, output, mixed)
        torch.testing.assert_close(found, 5 * judged_by("binary_cross_entropy", task, output, target))

    def test_nothing_labelled_costs_nothing(self) -> None:
        task, output, _, target = scores_and_masks()
        assert judged_by("binary_cross_entropy", task, output, 0 * target) == 0


class TestLogitAdjustment:
    def test_adds_the_logarithm_of_the_share_of_pixels(self) -> None:
        task, output, _, target = scores_and_masks()
        counts = Scenes(8).pixel_counts
        assert counts.min() > 0
        shares = torch.from_numpy(counts / counts.sum()).float()
        expected = task.loss(output + 2 * shares.log().view(1, 3, 1, 1), target)
        torch.testing.assert_close(judged_by("logit_adjustment(tau=2)", task, output, target), expected)


class TestConfidencePenalty:
    @pytest.mark.parametrize("several", [False, True], ids=ALONE[::-1])
    def test_takes_the_mean_entropy_of_pixels(self, several: bool) -> None:
        task, output, _, target = scores_and_masks(several)
        found = task.loss(output, target) - judged_by("confidence_penalty(strength=1)", task, output, target)
        if several:
            expected = torch.distributions.Bernoulli(logits=output).entropy().mean()
        else:
            expected = torch.distributions.Categorical(logits=output.movedim(1, -1)).entropy().mean()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


class TestMixing:
    def mixed(self, trick: str) -> tuple[Batch, Batch]:
        run = tiny_mask_run(trick)
        raw = next(Scenes(8).batches([np.arange(8)]))
        image = raw.image.permute(0, 3, 1, 2).float() / 255
        batch = Batch(image, raw.label, run.task.batch(image, raw.label), raw.id)
        return batch, run.tricks.through("batch", batch, run)

    def test_mixup_blends_each_pixels_target_with_its_picture(self) -> None:
        """A mixture's share is read off the pictures; the same one joins the targets, ignored pixels with nothing."""
        batch, found = self.mixed("mixup(alpha=8)")
        for n in range(8):
            errors = []
            for other in range(8):
                difference = (batch.image[n] - batch.image[other]).flatten()
                share = 1.0 if other == n else float((found.image[n] - batch.image[other]).flatten() @ difference
                                                     / difference.square().sum())  # fmt: skip
                image = share * batch.image[n] + (1 - share) * batch.image[other]
                target = share * batch.target[n] + (1 - share) * batch.target[other]
                errors.append(max((image - found.image[n]).abs().max(), (target - found.target[n]).abs().max()))
            assert min(errors) < 1e-5
        assert torch.equal(found.label, batch.label)

    def test_cutmix_pastes_targets_with_their_pixels(self) -> None:
        batch, found = self.mixed("cutmix(alpha=1)")
        own = (found.image == batch.image).all(1)  # no two pictures are alike in a pixel
        assert 0 < (~own).float().mean() < 1
        for n in range(8):
            assert torch.equal(found.target[n][:, own[n]], batch.target[n][:, own[n]])
            pasted = [
                torch.equal(found.image[n][:, ~own[n]], batch.image[other][:, ~own[n]])
                and torch.equal(found.target[n][:, ~own[n]], batch.target[other][:, ~own[n]])
                for other in range(8)
            ]
            assert any(pasted)

    @pytest.mark.parametrize("trick", ["mixup(alpha=8)", "cutmix", "mixup_or_cutmix"])
    def test_weights_of_pixels_are_between_none_and_one(self, trick: str) -> None:
        _, found = self.mixed(trick)
        weight = found.target.sum(1)
        assert ((weight >= 0) & (weight <= 1 + 1e-6)).all()
        assert (weight < 0.5).any()


@pytest.mark.parametrize("name", ["cutout", "random_erasing", "noise", "blur"])
def test_tricks_on_pixels_leave_masks(name: str) -> None:
    run = tiny_mask_run(strong(name))
    raw = next(Scenes(8).batches([np.arange(8)]))
    batch = Augment(run).normalised(raw)
    assert torch.equal(batch.label, raw.label)
    assert torch.equal(batch.target, run.task.batch(batch.image, raw.label))
    assert not torch.equal(batch.image, Augment(tiny_mask_run()).normalised(raw).image)


class Pointwise(nn.Module):
    """Scores of a pixel are a function of that pixel alone: every view, turned back, says the same."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], 2 * x[:, 1], x.sum(1)], 1)


class Places(nn.Module):
    """Scores are where the network sees a pixel: rows and columns of what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = torch.meshgrid(*(torch.arange(side).float() for side in x.shape[2:]), indexing="ij")
        return torch.stack([rows, columns]).expand(len(x), -1, -1, -1)


class TestTestTimeAugmentation:
    @pytest.mark.parametrize("size", [(6, 9), (5, 5), (1, 3), (1, 1)])
    @pytest.mark.parametrize(("flip", "shift"), [(True, 0), (True, 2), (False, 3), (True, 7)])
    def test_views_are_turned_back(self, flip: bool, shift: int, size: tuple[int, int]) -> None:
        image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
        found = Views(Pointwise(), flip=flip, shift=shift)(image)
        torch.testing.assert_close(found, Pointwise()(image), rtol=0, atol=1e-6)

    def test_only_views_that_showed_a_pixel_judge_it(self) -> None:
        """By hand, in rows of four, moved by two: the second view shows pixels 0 and 1 at 2 and 3."""
        found = Views(Places(), flip=False, shift=2)(torch.zeros(1, 3, 4, 4))
        assert found[0, 1, 0].tolist() == [(0 + 2) / 2, (1 + 3) / 2, 2, 3]
        assert found[0, 1, 3].tolist() == [0, 1, (2 + 0) / 2, (3 + 1) / 2]
        assert found[0, 0, :, 0].tolist() == [(0 + 2) / 2, (1 + 3) / 2, 2, 3]

    def test_is_the_mean_of_log_probabilities(self) -> None:
        model = TinyMaskNetwork().eval()
        image = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(1))
        found = Views(model, flip=True, shift=0)(image).log_softmax(1)
        views = torch.stack([model(image), model(image.flip(3)).flip(3)]).log_softmax(2)
        torch.testing.assert_close(found, views.mean(0).log_softmax(1), rtol=1e-5, atol=1e-5)


class TestAccumulate:
    def gradients(self, trick: tuple[str, ...], several: bool) -> list[Tensor]:
        def network() -> nn.Module:
            return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))

        run = tiny_mask_run(*trick, network=network, several=several)
        raw = next(Scenes(8, several=several).batches([np.arange(8)]))
        raw.label[:3, ..., 2:] = IGNORE  # parts differ in how much they have
        run.gradient(Augment(run).normalised(raw), run)
        return [p.grad for p in run.model.parameters() if p.grad is not None]

    @pytest.mark.parametrize("several", [False, True], ids=ALONE[::-1])
    def test_is_the_whole_batchs_gradient_though_parts_have_other_numbers_of_pixels(self, several: bool) -> None:
        whole, parts = self.gradients((), several), self.gradients(("accumulate(parts=3)",), several)
        assert len(whole) == 4
        for one, other in zip(whole, parts, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)

    def test_parts_of_a_batch_without_labels_count_alike(self) -> None:
        """A loss of whole regions may still say something of it."""
        run = tiny_mask_run("accumulate(parts=3)")
        raw = next(Scenes(6).batches([np.arange(6)]))
        raw.label[:] = IGNORE
        batch = Augment(run).normalised(raw)
        whole = counted(batch, run)
        assert int(whole) == 0
        shares = [float(share(batch.take(slice(i, i + 2)), run, whole, 3)) for i in (0, 2, 4)]
        assert shares == pytest.approx([1 / 3] * 3)


class TestAuxiliaryHeads:
    def test_heads_for_each_pixel_count(self) -> None:
        run = tiny_mask_run("auxiliary_heads(weight=0.5)")
        task, output, _, target = scores_and_masks()
        other = output.roll(1, 2)
        batch = Batch(output, target, target, torch.arange(4))
        found = run.loss(Outputs(output, (other,)), batch, run)
        torch.testing.assert_close(found, task.loss(output, target) + 0.5 * task.loss(other, target))


@cache
def template() -> nn.Module:
    return create_model("unet(encoder='resnet20', width=2)", classes=3)


def unet() -> nn.Module:
    return copy.deepcopy(template())  # to copy one takes a tenth of the time that it takes to make one


def named(model: nn.Module, parameters: Any) -> set[str]:
    """The first parts of some parameters' names."""
    wanted = {id(parameter) for parameter in parameters}
    return {name.partition(".")[0] for name, parameter in model.named_parameters() if id(parameter) in wanted}


class TestEncoderAndDecoder:
    def test_the_decoder_lies_between_the_encoder_and_the_head(self) -> None:
        model = unet()
        found = depths(model)
        assert (found.stages, found.encoder) == (4, 3)
        by_part = {part: {d for name, d in found.of.items() if name.startswith(f"{part}.")}
                   for part in ("encoder", "decoder", "head")}  # fmt: skip
        assert by_part == {"encoder": {0, 1, 2}, "decoder": {3}, "head": {4}}

    def test_another_networks_stages_are_all_an_encoders(self) -> None:
        found = depths(create_model("resnet20"))
        assert (found.stages, found.encoder) == (3, 3)

    def test_layer_decay_slows_what_lies_deeper(self) -> None:
        run = tiny_mask_run("layer_decay(decay=0.5)", network=unet, size=(12, 16))
        rates = {group.rate: named(run.model, [p for _, p in group.parameters]) for group in run.optimizer.groups}
        assert rates == {1 / 16: {"encoder"}, 1 / 8: {"encoder"}, 1 / 4: {"encoder"}, 1 / 2: {"decoder"}, 1.0: {"head"}}

    @pytest.mark.parametrize(("last", "parts"), [(0, {"head"}), (1, {"decoder", "head"})])
    def test_freeze_trains_the_head_then_the_decoder(self, last: int, parts: set[str]) -> None:
        run = tiny_mask_run(f"freeze(last={last})", network=unet, size=(12, 16), epochs=1)
        assert named(run.model, run.optimizer.parameters) == parts
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        train_tiny(run)
        moved = {n.partition(".")[0] for n, v in run.model.state_dict().items() if not torch.equal(v, before[n])}
        assert moved == parts

    def test_gradual_unfreeze_lets_the_decoder_join_first(self) -> None:
        run = tiny_mask_run("gradual_unfreeze(until=0.8)", network=unet, size=(12, 16))
        since = {g.since: named(run.model, [p for _, p in g.parameters]) for g in run.optimizer.groups}
        assert [since[time] for time in sorted(since)] == [{"head"}, {"decoder"}, *[{"encoder"}] * 3]

    def test_bn_freeze_leaves_a_decoders_norms_to_learn(self) -> None:
        run = tiny_mask_run("bn_freeze", network=unet, size=(12, 16), epochs=1)
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        train_tiny(run)
        moved = [n for n, v in run.model.state_dict().items() if "running_mean" in n and not torch.equal(v, before[n])]
        assert moved
        assert all(name.startswith("decoder.") for name in moved)
        assert len(moved) < len(batch_norms(run.model))

    def test_branches_and_maps_are_the_encoders(self) -> None:
        run = tiny_mask_run("stochastic_depth(rate=0.9)", "drop_block(stages=3)", network=unet, size=(12, 16))
        rates = [layer.probability for layer in run.model.encoder.modules() if isinstance(layer, DropPath)]
        assert len(rates) == 9
        assert max(rates) == pytest.approx(0.9)
        assert not any(isinstance(layer, DropPath) for layer in run.model.decoder.modules())
        hooked = [n for n, layer in run.model.named_modules() if layer._forward_hooks or layer._forward_pre_hooks]
        assert len(hooked) == 3
        assert all(name.startswith("encoder.") for name in hooked)

    def test_dropout_acts_before_the_last_convolution(self) -> None:
        run = tiny_mask_run("dropout(rate=0.5)", network=unet, size=(12, 16))
        assert run.model.head._forward_pre_hooks
        assert run.model(torch.rand(1, 3, 12, 16)).shape == (1, 3, 12, 16)

    def test_sums_of_scores_are_no_residual_branches(self) -> None:
        """FCN adds enlarged scores to those of a finer map: silenced, all that the deeper layers see would be lost."""
        model = create_model("fcn(encoder='resnet18', stride=8)", classes=3)
        ends = branch_ends(model, torch.rand(1, 3, 64, 64))
        assert len(ends) == 8
        assert named(model, [parameter for end in ends for parameter in end]) == {"encoder"}

    @pytest.mark.parametrize("name", [name for name in CLAIMING if Tricks([strong(name)]).at("model")])
    def test_tricks_on_networks_train_a_unet(self, name: str) -> None:
        run = train_tiny(tiny_mask_run(strong(name), network=unet, size=(17, 20), n=4, epochs=1))
        assert run.step == 1
        assert run.predictor()(torch.rand(2, 3, 17, 20)).isfinite().all()

    def test_auxiliary_heads_of_a_real_network(self) -> None:
        def network() -> nn.Module:
            return create_model("fcn_resnet50(encoder='resnet18')", classes=3)

        run = tiny_mask_run("auxiliary_heads", network=network, size=(17, 20), n=2, batch_size=2, epochs=1)
        train_tiny(run)
        gradients = [p.grad for name, p in run.model.named_parameters() if name.startswith("aux_classifier")]
        assert any(gradient is not None and gradient.any() for gradient in gradients)
        without = tiny_mask_run("auxiliary_heads", network=unet, size=(12, 16), epochs=1)
        with pytest.raises(NetwrightError, match="UNet has no auxiliary heads") as caught:
            train_tiny(without)
        assert "fcn_resnet50 for masks" in caught.value.fix


class TestWindow:
    """Pictures are stored with a margin, and the network sees the centre, or what geometry brings there."""

    @pytest.mark.parametrize(("stored", "seen"), [((16, 16), 14), ((24, 24), 21), ((17, 19), 14)])
    @pytest.mark.parametrize("tricks", [(), ("flip", "vertical_flip", "crop(pad=3)"), ("crop(fill='zeros')",)], ids=str)
    def test_masks_are_cut_where_their_pictures_are(
        self, tricks: tuple[str, ...], stored: tuple[int, int], seen: int
    ) -> None:
        """Whole warps: the picture is its own mask, and stays so bit for bit."""
        source = Scenes(16, stored)
        source.masks.clamp_(min=0)
        source.images = F.one_hot(source.masks, 3).to(torch.uint8) * 255
        run = tiny_mask_run(*tricks)
        image, label = Augment(run, type(run.normalise)((0.0,) * 3, (1.0,) * 3, seen)).pictures(
            next(source.batches([np.arange(16)]))
        )
        assert image.dtype == torch.uint8
        assert image.shape == (16, 3, seen, seen)
        inside = label != IGNORE
        assert torch.equal(image.movedim(1, -1)[inside], F.one_hot(label[inside], 3).to(torch.uint8) * 255)
        if not tricks:
            top, left = (stored[0] - seen) // 2, (stored[1] - seen) // 2
            assert torch.equal(label, source.masks[:, top : top + seen, left : left + seen])
        if "crop(fill='zeros')" in tricks:
            assert (image.amax(1)[~inside] == 0).all()
        assert inside.float().mean() > 0.7

    def test_progressive_resize_shrinks_masks_and_stacks_with_their_pictures(self) -> None:
        for several in (False, True):
            run = tiny_mask_run("progressive_resize(smallest=0.5, multiple=1)", several=several, size=(12, 16))
            raw = next(Scenes(4, (12, 16), several=several).batches([np.arange(4)]))
            batch = Augment(run).normalised(raw)
            assert batch.image.shape[2:] == batch.label.shape[-2:] == batch.target.shape[2:] == (6, 8)
            assert torch.equal(batch.label, raw.label[..., 1::2, 1::2])


GEOMETRY = [name for name in CLAIMING if Tricks([strong(name)]).at("geometry")]


@pytest.mark.parametrize("name", GEOMETRY)
def test_overlapping_masks_move_as_each_would_alone(name: str) -> None:
    for seed in range(5):
        source, run = Scenes(6, (18, 20), seed=seed, several=True), tiny_mask_run(strong(name), seed=seed)
        raw = next(source.batches([np.arange(6)]))
        _, stack = Augment(run).pictures(raw)
        for plane in range(3):
            _, alone = Augment(run).pictures(type(raw)(raw.image, raw.label[:, plane], raw.id))
            assert torch.equal(stack[:, plane], alone)


@pytest.mark.parametrize("name", GEOMETRY)
def test_what_moves_is_the_pixel_and_its_mask(name: str) -> None:
    """A picture that is its own mask: where it shows one class alone, and there is something, the mask says that."""
    for seed in range(5):
        source, run = Scenes(6, (18, 20), seed=seed), tiny_mask_run(strong(name), seed=seed)
        source.masks.clamp_(min=0)
        source.images = F.one_hot(source.masks, 3).to(torch.uint8) * 255
        augment = Augment(run)
        augment.coloured = False  # policies change colours too
        image, label = augment.pictures(next(source.batches([np.arange(6)])))
        image = image.float() / (255 if image.dtype == torch.uint8 else 1)
        inside = label != IGNORE
        assert (image.gather(1, label.clamp(min=0)[:, None])[:, 0][inside] >= 0.25 - 1e-3).all()  # nearest of four
        clear = inside & (image.amax(1) > 1 - 1e-4)
        assert torch.equal(image.argmax(1)[clear], label[clear])
        assert clear.float().mean() > 0.2
