"""Formulas broken on purpose, one mistake at a time: the test of each formula must see it.

A mutant exists only in the memory of a child process: there the module is compiled from a changed source when it is
first imported, and pytest runs the one test that is to fail. Files and other tests see nothing of it.
"""

import gc
import importlib.util
import io
import multiprocessing
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

import netwright

PACKAGE = Path(netwright.__file__).parent
TESTS = Path(__file__).parents[1]
# Where there is a fork server it imports these once for all children; elsewhere each child does so itself, in seconds.
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
HEAVY = ("torch", "torch._dynamo", "torchvision.transforms.v2", "timm.optim", "timm.scheduler", "timm.utils")
LIGHTER = ("PIL.Image", "pydantic", "pytest", "scipy.integrate", "scipy.ndimage", "scipy.stats", "sklearn.metrics")
LONGEST = 120  # seconds that a child may take


@dataclass(frozen=True)
class Mutant:
    """A module of ours in which `broken` stands instead of `right`, and the test that must fail by it."""

    module: str
    right: str
    broken: str
    victim: str  # as pytest names it, seen from tests/

    def __str__(self) -> str:
        return f"{self.module}: {self.broken}"

    @property
    def path(self) -> Path:
        return PACKAGE.joinpath(*self.module.split(".")).with_suffix(".py")

    @property
    def source(self) -> str:
        return self.path.read_text("utf-8").replace(self.right, self.broken)


def caught_by(file: str, *rows: tuple[str, str, str, str]) -> list[Mutant]:
    """Rows of a test's name, a module, what stands there and what is to stand there instead."""
    return [Mutant(module, right, broken, f"{file}::{test}") for test, module, right, broken in rows]


MUTANTS = [
    *caught_by("tricks/test_maths.py",
        ("TestAuxiliaryHeads", "tricks.auxiliary_heads", "self.weight * loss(", "self.weight / 2 * loss("),
        ("TestFlip", "tricks.flip", "if axis == 0 else", "if axis == 1 else"),
        ("TestCrop", "tricks.crop", "(2 * self.pad + 1)", "(2 * self.pad)"),
        ("TestRotate", "tricks.rotate", "-angle.sin(), angle.sin()", "angle.sin(), -angle.sin()"),
        ("TestRotate", "tricks.rotate", ", math.radians(self.degrees))", ", self.degrees)"),
        ("TestResizedCrop", "tricks.resized_crop", "* area).sqrt()", "* area)"),
        ("TestBrightness", "tricks.brightness", "1 + self.strength)", "1 / (1 - self.strength))"),
        ("TestNoise", "tricks.noise", "self.std * noise", "self.std**2 * noise"),
        ("TestCutout", "tricks.cutout", "device=centre.device) + 0.5", "device=centre.device)"),
        ("TestMixup::test_weights_are_beta", "tricks.mixup", "draw.beta(alpha, alpha, n)", "draw.beta(alpha, 1, n)"),
        ("TestLabelSmoothing", "tricks.label_smoothing", "smoothing / outcomes", "smoothing / (outcomes - 1)"),
        ("TestL2Penalty", "tricks.l2_penalty", "squares(run.model) / 2", "squares(run.model)"),
        ("TestAccumulate", "tricks.accumulate", "return own / whole", "return 1 / round(whole / own)"),
        ("TestSam", "tricks.sam", "self.rho / (float(gradient_norm(climbed)) + 1e-12)", "self.rho"),
        ("TestSam", "tricks.sam", "alpha=scale", "alpha=-scale"),
        ("TestGradClip", "tricks.grad_clip", "norm / run.gradient_norm)", "norm / run.gradient_norm**2)"),
        ("TestEma", "tricks.ema", "(9 + self.steps_)", "(10 + self.steps_)"),
        ("TestTestTimeAugmentation", "tricks.test_time_augmentation", "seen.mean(0)", "seen.exp().mean(0).log()"),
        ("TestNoDecay", "tricks.no_decay", "parameter.dim() <= 1", "parameter.dim() < 1"),
        ("TestBalancedSampling", "tricks.balanced_sampling", "each / each.sum()", "each / counts.sum()"),
        ("TestEarlyStopping", "tricks.early_stopping", "loss < self.best_loss_", "loss <= self.best_loss_"),
        ("TestEarlyStopping", "tricks.early_stopping", ">= self.patience", "> self.patience"),
    ),
    *caught_by("tricks/test_colours.py",
        ("TestContrast", "tricks.contrast", "colour.average()", "colour.pictures.mean((2, 3))"),
        ("TestSaturation", "tricks.saturation", "1 + self.strength", "1"),
        ("TestSaturation", "tricks.grayscale", "_luma(factor.device))", "_luma(factor.device)[:, None])"),
        ("TestGrayscale", "tricks.grayscale", "0.299, 0.587, 0.114)", "0.114, 0.587, 0.299)"),
        ("TestHue", "tricks.hue", "math.radians(self.degrees)", "self.degrees"),
        ("TestHue", "tricks.hue", "[0, 0, -1.0], [0, 1.0, 0]", "[0, 0, 1.0], [0, -1.0, 0]"),
        ("TestChannelDropout", "tricks.channel_dropout", "(which * channels)", "(which * (channels - 1))"),
        ("TestInvert", "tricks.invert", "1 - 2 * chosen", "1 - chosen"),
    ),
    *caught_by("tricks/test_geometry.py",
        ("TestVerticalFlip", "engine.run", "[:, 0] < probability", "[:, 0] > probability"),
        ("TestVerticalFlip", "tricks.vertical_flip", "axis=1", "axis=0"),
        ("TestAlternatingFlip", "tricks.alternating_flip", "self.name, epoch=0", "self.name"),
        ("TestZoom", "tricks.zoom", ".neg().exp()", ".exp()"),
        ("TestShear", "tricks.shear", "1 + across * down", "1 - across * down"),
        ("TestTranslate", "tricks.translate", "across * warp.size[1], down * warp.size[0]",
         "across * warp.size[0], down * warp.size[1]"),
        ("TestPerspective", "tricks.perspective", "-v * x, -v * y", "-u * x, -v * y"),
        ("TestElastic", "tricks.elastic", "math.exp(-((d / sigma) ** 2) / 2)", "math.exp(-((d / sigma) ** 2))"),
        ("TestElasticGrid", "tricks.elastic_grid", "(a + 2) * d - (a + 3)", "(a + 2) * d - (a + 2)"),
        ("TestElasticGrid", "tricks.elastic_grid", "points.clamp(0, grid - 1)", "points.remainder(grid)"),
        ("TestElasticGrid", "tricks.elastic_grid", "self.sigma * run.normal", "self.sigma**2 * run.normal"),
        ("TestProgressiveResize", "tricks.progressive_resize", "run.progress / self.until if", "run.progress if"),
    ),
    *caught_by("tricks/test_masks.py",
        ("TestLabelSmoothing", "tricks.label_smoothing", "smoothing / outcomes * weight", "smoothing / outcomes"),
        ("TestBinaryCrossEntropy", "tricks.binary_cross_entropy", "(output, wanted) * weight", "(output, wanted)"),
        ("TestBinaryCrossEntropy", "tricks.binary_cross_entropy", "(weight > 0).sum()", "(weight > -1).sum()"),
        ("TestAccumulate", "tricks.accumulate", "batch.target.dim() < 3 or", "batch.target.dim() < 9 or"),
        ("TestTestTimeAugmentation", "tricks.test_time_augmentation", "(0, -self.shift, self.shift)",
         "(0, self.shift, -self.shift)"),
        ("TestTestTimeAugmentation", "tricks.test_time_augmentation", "total / views", "total / len(given)"),
        ("TestEncoderAndDecoder::test_the_decoder_lies_between_the_encoder_and_the_head", "nn.depth",
         "stages + (depth >= stages)", "depth + (depth >= stages)"),
        ("TestEncoderAndDecoder::test_bn_freeze_leaves_a_decoders_norms_to_learn", "tricks.bn_freeze",
         "< found.encoder", "< found.stages"),
        ("TestEncoderAndDecoder::test_sums_of_scores_are_no_residual_branches", "engine.residual",
         " and not node.enlarges", ""),
    ),
    *caught_by("tricks/test_codes.py",
        ("TestDenoise::test_gaussian_noise_has_the_standard_deviation_that_is_given", "engine.corruption",
         "amount * draw(channels", "amount**2 * draw(channels"),
        ("TestDenoise::test_the_image_is_corrupted_and_its_target_is_clean", "tricks.denoise",
         "batch.image * std + mean", "batch.image"),
        ("TestDenoise::test_the_image_is_corrupted_and_its_target_is_clean", "tricks.denoise", "changed(image=run",
         "changed(target=seen, image=run"),
        ("TestDenoise::test_so_many_pixels_are_lost_in_all_their_channels", "engine.corruption", "lost < amount, 0",
         "lost < amount / 2, 0"),
        ("TestDenoise::test_perturbed_pixels_come_from_places_within_reach", "engine.corruption",
         "min(height, width) / 2", "min(height, width)"),
        ("TestDenoise::test_perturbed_pixels_come_from_places_within_reach", "engine.corruption",
         "columns + shift[:, 1]", "columns + shift[:, 0]"),
        ("TestKlWarmup", "tricks.kl_warmup", "progress / until if", "progress if"),
        ("TestBetaSchedule", "tricks.beta_schedule", "within / MOVING", "within"),
        ("TestBetaSchedule", "tricks.beta_schedule", "math.cos(math.pi * progress)",
         "math.cos(2 * math.pi * progress)"),
        ("TestBetaSchedule", "tricks.beta_schedule", "(self.last - self.first) * way", "self.last * way"),
        ("TestFreeBits", "tricks.free_bits", "floor=self.nats", "floor=self.nats / 2"),
        ("TestSparse::test_l1_is_the_mean_over_pictures_of_sums", "tricks.sparse", ".abs().sum(1).mean()",
         ".abs().mean()"),
        ("TestSparse::test_kl_is_torchs_between_coins", "tricks.sparse", "(wanted / mean).log()",
         "(mean / wanted).log()"),
        ("TestSparse::test_topk_is_exact", "tricks.sparse", "code.topk(k, dim=1)", "code.abs().topk(k, dim=1)"),
        ("TestSparse::test_k_falls_from_all_to_its_value", "tricks.sparse", "progress / anneal)", "progress)"),
        ("TestSparse::test_training_keeps_as_many_as_it_is_time_for", "tricks.sparse", "if self.training else self.k",
         "if True else self.k"),
        ("TestContractive", "tricks.contractive", ".square().sum(1).mean()", ".square().mean()"),
        ("TestContractive", "tricks.contractive", "(code * v).sum()", "(code * v.abs()).sum()"),
        ("TestContractive::test_signs_are_balanced", "tricks.contractive", "draw < 0.5", "draw < 0.6"),
        ("TestAccumulateOfPictures", "tricks.accumulate", " or of_pictures(run.task)", ""),
        ("TestDropoutOfCodes::test_units_are_dropped_from_what_is_kept", "tricks.dropout", '"swa", "norm", "sparse",',
         '"swa", "norm",'),
        ("TestLayerFreezingOfAutoencoders", "tricks.layer_freezing", "len(body) + bool(heads)", "len(body) + 1"),
    ),
    *caught_by("tricks/test_mixing.py",
        ("TestCutmix", "tricks.cutmix", "blend(target, other, kept)", "blend(other, target, kept)"),
        ("TestCutmix", "tricks.cutmix", "inside.float().mean((1, 2, 3))", "inside.any(3).float().mean((1, 2)) ** 2"),
        ("TestCutmix", "tricks.cutmix", "(1 - weight.double()).sqrt()", "(1 - weight.double())"),
        ("TestCutmix", "tricks.cutmix", "(length + 1) // 2", "length // 2"),
        ("TestMixupOrCutmix::test_who_is_not_mixed_stays_as_it_is", "tricks.mixup_or_cutmix", "(mixed & ~cut)", "~cut"),
    ),
    *caught_by("tricks/test_dropping.py",
        ("TestDropout", "tricks.dropout", "bernoulli_(1 - rate)", "bernoulli_(rate)"),
        ("TestDropout", "tricks.dropout", "if weight.ndim > 1 else 1.0", "if weight.ndim > 1 else 1 - self.rate"),
        ("TestSpatialDropout", "tricks.spatial_dropout", "F.dropout2d(", "F.dropout("),
        ("TestDropBlock", "tricks.drop_block", "/ size**2", "/ size"),
        ("TestDropConnect", "tricks.drop_connect", "F.dropout(self.layer.weight, self.rate)",
         "F.dropout(self.layer.weight, self.rate) * (1 - self.rate)"),
        ("TestStochasticDepth", "tricks.stochastic_depth", "(number + 1)", "number"),
        ("TestStochasticDepth::test_blocks_keep_their_mean", "nn.drop_path", "bernoulli_(kept) / kept",
         "bernoulli_(kept)"),
    ),
    *caught_by("tricks/test_loop_tricks.py",
        ("test_a_checkpoint_comes_back_into_the_tensors_of_the_run", "engine.trick", "return own.copy_(saved)",
         "return saved"),
        ("TestLookahead", "tricks.lookahead", "weights, self.alpha", "weights, 1 - self.alpha"),
        ("TestSwa", "tricks.swa", "1 / n)", "1 / (n + 1))"),
        ("TestSwa", "tricks.swa", "run.progress >= self.begin", "run.progress > self.begin"),
        ("TestAdaptiveGradClip", "tricks.adaptive_grad_clip", "one = weight.dim() <= 1", "one = True"),
        ("TestGradClip", "tricks.grad_clip", "(gradients, -self.value)", "(gradients, 0.0)"),
        ("TestLayerFreezing", "tricks.layer_freezing", "group.rate / time", "group.rate * time"),
    ),
    *caught_by("tricks/test_losses.py",
        ("TestFocal", "nn.losses", "(-(-cost).expm1())", "(-cost).exp()"),
        ("TestBinaryCrossEntropy", "nn.losses", "known.sum(1).clamp(min=1)", "known.shape[1]"),
        ("TestBinaryCrossEntropy", "tricks.binary_cross_entropy", "target > self.threshold", "target > 0.5"),
        ("TestClassWeights", "tricks.class_weights", "counts.sum() / (counts / effective)",
         "len(counts) / (1 / effective)"),
        ("TestLogitAdjustment", "tricks.logit_adjustment", "+ self.adjustment", "- self.adjustment"),
        ("TestConfidencePenalty", "tricks.confidence_penalty", "output.log_softmax(1)", "output.log_softmax(-1)"),
        ("TestConfidencePenalty", "tricks._penalty", "+ self.strength *", "- self.strength *"),
        ("TestL1Penalty", "tricks.l1_penalty", "w.abs().sum()", "w.abs().mean()"),
        ("TestGroupLasso", "tricks.group_lasso", "math.sqrt(w.shape[2]) *", "w.shape[2] *"),
        ("TestOrthogonality", "tricks.orthogonality", "matrix.shape[-2] <= matrix.shape[-1]",
         "matrix.shape[-2] >= matrix.shape[-1]"),
        ("TestMaxNorm", "tricks.max_norm", "flatten(2).norm(dim=2)", "flatten(2).square().sum(2)"),
    ),
    *caught_by("tricks/test_mask_losses.py",
        ("TestDice", "tricks.dice", "sums.found_squared + sums.there_squared", "sums.found + sums.there"),
        ("TestDice", "tricks._dense", "(p * t, p * weight, t, p.square() * weight", "(p * t, p, t, p.square()"),
        ("TestDice", "tricks._dense", "each[asked.counted] if asked else each", "each"),
        ("TestDice", "tricks._dense", "target.nan_to_num() if several", "target.nan_to_num(1) if several"),
        ("TestTversky", "tricks.focal", '("dice", "logit_adjustment", "tversky")', '("logit_adjustment",)'),
        ("TestTversky", "tricks.class_weights", '("balanced_sampling", "dice", "tversky")', '("balanced_sampling",)'),
        ("TestTversky", "tricks.tversky", "alpha * made_up + beta * missed", "beta * made_up + alpha * missed"),
        ("TestTversky", "tricks.tversky", "** (1 / self.gamma)", "** self.gamma"),
        ("TestFocalOnMasks", "nn.losses", ".clamp(min=1e-30)", ""),
        ("TestClassWeightsOnMasks", "tricks.class_weights", "if isinstance(plan.train, Counted):", "if False:"),
        ("TestBorderWeights", "tricks.border_weights", "(2 * sigma**2)", "sigma**2"),
        ("TestBorderWeights", "tricks.border_weights", "in range((n - 1).bit_length())", "in range(1)"),
        ("TestBorderWeights", "tricks.border_weights", "== 1, without_it, with_it", "== 1, with_it, without_it"),
    ),
    *caught_by("tasks/test_segmentation.py",
        ("TestLoss", "nn.losses", "/ labelled.clamp(min=1)", "/ target.sum().clamp(min=1)"),
        ("TestLoss", "nn.losses", "each.sum() / known.sum().clamp(min=1)", "each.mean()"),
        ("TestMetrics", "tasks.segmentation", "torch.where(label < 0, classes, label)", "label.clamp(min=0)"),
        ("TestMetrics", "tasks.segmentation", "total / present.sum(1).clamp(min=1), 1.0)",
         "total / present.shape[1], 1.0)"),
        ("TestMetrics", "tasks.segmentation", "slice(1 if self.background and", "slice(0 if self.background and"),
        ("TestMetrics", "tasks.segmentation", "found + there - both", "found + there"),
    ),
    *caught_by("tasks/test_mask_metrics.py",
        ("TestTally", "tasks._mask_metrics", "wrong = (found != label) & known", "wrong = found != label"),
        ("TestTally", "tasks._mask_metrics", "label[known] * classes + found[known]",
         "found[known] * classes + label[known]"),
        ("TestBootstrap", "tasks._mask_metrics", "math.sqrt(n / (n - 1)) *", "math.sqrt((n - 1) / n) *"),
        ("TestBootstrap", "tasks._mask_metrics", "both, found + there - both", "both, found + there"),
        ("TestBoundaryF1", "tasks._boundary", "np.nextafter(most, np.inf)", "np.nextafter(most, 0)"),
        ("TestBoundaryF1", "tasks._boundary", "TOLERANCE = 0.0075", "TOLERANCE = 0.075"),
        ("TestOutline", "tasks._boundary", "& known[one] & known[other]\n        edge[one]",
         "& known[one]\n        edge[one]"),
        ("TestErrorsByDistance", "tasks._boundary", "distance_to(beside) + 0.5", "distance_to(beside)"),
        ("TestOtsu", "tasks._otsu", "n * above * gap**2", "above * gap**2"),
    ),
    *caught_by("tasks/test_instances.py",
        ("TestMatched", "tasks._instances", "ious > threshold", "ious >= threshold"),
        ("TestMatched", "tasks._instances", "self.found + self.truth - self.hits", "self.found + self.truth"),
        ("TestMatched", "tasks._instances", "overlap.sum(0)[None, 1:] - both", "overlap.sum(0)[None, 1:]"),
        ("TestGrown", "tasks._instances", "(whole > 0) & (whole == whole[nearest])", "(whole > 0)"),
    ),
    *caught_by("tricks/test_pixels.py",
        ("TestBlur", "tricks.blur", "(2 * weights.sum(1, keepdim=True) - 1)", "weights.sum(1, keepdim=True)"),
        ("TestBlur", "tricks.blur", "2 * (length - 1)", "2 * length - 1"),
        ("TestSharpen", "tricks.sharpen", "(1 - factor) / 13", "(1 - factor) / 9"),
        ("TestEqualize", "tricks.equalize", "(counts.cumsum(1) - counts)", "counts.cumsum(1)"),
        ("TestPosterize", "tricks.posterize", "8.0 - bits", "7.0 - bits"),
        ("TestSolarize", "tricks.solarize", ".ceil() - 0.5", ".ceil() + 0.5"),
        ("TestAutocontrast", "tricks.autocontrast", ".floor_()", ".round_()"),
        ("TestSaltAndPepper", "tricks.salt_and_pepper", "draw < amount / 2", "draw < amount"),
        ("TestJpeg", "tricks.jpeg", "(101 - self.quality)", "(100 - self.quality)"),
        ("TestRandomErasing::test_every_place_is_as_likely", "tricks._pixels", "index < end[", "index <= end["),
        ("TestRandomErasing::test_every_place_is_as_likely", "tricks.random_erasing", "(whole - length + 1)",
         "(whole - length)"),
    ),
    *caught_by("tricks/test_policies.py",
        ("TestRandaugment::test_is_torchvisions_at_every_magnitude", "tricks._policy", "* unit[1]).trunc()",
         "* unit[1]).round()"),
        ("TestRandaugment", "tricks.randaugment", "range(self.magnitude, ", "range("),
        ("TestTrivialAugment", "tricks.trivial_augment", "range(SPACE.magnitudes)", "range(SPACE.magnitudes - 1)"),
        ("TestAugmix", "tricks.augmix", "* self.depth).floor() + 1", "* self.depth).floor()"),
    ),
    *caught_by("tricks/test_init_norm.py",
        ("TestInit::test_is_torchs", "nn.init", 'if fan == "in" else', 'if fan == "out" else'),
        ("TestWhitening", "tricks.whitening", "+ eps).sqrt()", "+ eps)"),
        ("TestWhitening", "tricks.whitening", "square / n - mean.outer(mean)", "square / n"),
        ("TestWeightStandardisation", "nn.weight_standard", "correction=0", "correction=1"),
        ("TestZeroInitResidual::test_is_timms", "engine.residual", "node = max((", "node = min(("),
        ("TestBnRefresh", "nn.norm", "norm.momentum = None", "norm.momentum = 0.1"),
    ),
    *caught_by("tricks/test_repeated_augmentation.py",
        ("TestRepeatedAugmentation", "data.loader", "np.diff(order[by_value]) != 0", "np.diff(by_value) != 1"),
    ),
    *caught_by("optim/test_optimizers.py",
        ("test_muon_orthogonalises_hidden_kernels_and_leaves_the_rest_to_adamw", "optim.muon", '"nesterov": True, "ns',
         '"nesterov": False, "ns'),
        ("test_sgd", "optim.sgd", "torch._foreach_add(gradients, velocity, alpha=momentum)",
         "torch._foreach_add(velocity, gradients, alpha=momentum)"),
        ("test_adam_and_adamw", "optim._adam", "(1 - second**self.steps_) ** 0.5", "1 - second**self.steps_"),
        ("test_adam_and_adamw", "optim._adam", "-lr / (1 - first**self.steps_)", "-lr"),
        ("test_adam_and_adamw", "optim.adamw", "1 - lr * decay", "1 - decay"),
        ("test_groups_and_schedule", "optim._optimizer", "self.weight_decay * group.decay", "self.weight_decay"),
        ("test_a_schedules_momentum_reaches_the_update", "optim._library", '(momentum, *group["betas"][1:])',
         '(*group["betas"][:1], momentum)'),
    ),
    *caught_by("optim/test_schedules.py",
        ("test_cosine_is_torchs", "optim.schedules._schedule", "(1 + math.cos(math.pi * progress)) / 2",
         "math.cos(math.pi * progress / 2)"),
        ("test_cosine_after_warmup_spans_the_rest", "optim.schedules._schedule", "(progress - self.warmup) / rest",
         "progress"),
        ("test_one_cycles_momentum_is_torchs", "optim.schedules.one_cycle", "(greatest, least, progress",
         "(least, greatest, progress"),
        ("test_step_is_torchs", "optim.schedules.step", "math.floor(", "round("),
        ("test_multi_step_is_torchs", "optim.schedules.multi_step", "progress >= time", "progress > time"),
        ("test_polynomial_is_torchs", "optim.schedules.polynomial", "(1 - progress) ** self.power",
         "(1 - progress**self.power)"),
        ("test_linear_is_torchs", "optim.schedules.linear", "1 - (1 - self.floor) * progress",
         "max(self.floor, 1 - progress)"),
        ("test_cosine_restarts_are_torchs", "optim.schedules.cosine_restarts", "self.multiplier**i",
         "1 + self.multiplier * i"),
        ("test_triangular_is_torchs_with_its_momentum", "optim.schedules.triangular", "self.shrink**cycle",
         "self.shrink ** (cycle + 1)"),
        ("test_inverse_sqrt_is_the_papers", "optim.schedules.inverse_sqrt", "progress * (1 - self.warmup)", "progress"),
        ("test_plateau_is_torchs", "optim.schedules.plateau", "waited > patience", "waited >= patience"),
    ),
    *caught_by("engine/test_warp.py",
        ("test_gather_equals_resample", "engine.warp", "device=warp.matrix.device) - (length - 1) / 2",
         "device=warp.matrix.device) - length / 2"),
        ("test_composition_equals_one_after_the_other", "engine.warp", "self.matrix @ matrix", "matrix @ self.matrix"),
        ("test_reflection_repeats_the_edge_pixel", "engine.warp", "index.remainder(2 * source)",
         "index.remainder(2 * source - 2)"),
        ("test_labels_outside_are_ignored_and_ignored_ones_stay", "engine.warp", "fill=IGNORE", "fill=0"),
        ("test_labels_follow_their_pictures", "engine.warp", "(planes - IGNORE)", "planes"),
        ("test_many_classes_survive", "engine.warp", ".float(), nudged", ".half().float(), nudged"),
        ("test_half_way_between_two_pixels_is_the_one_to_the_right_and_below", "engine.warp", "+= TIE", "+= 0"),
        ("test_a_resized_bend_looks_at_the_same_places", "engine.warp", "field[:, 0] / across", "field[:, 0] * across"),
        ("test_gather_equals_resample", "engine.warp", "(width - 1) / 2", "width / 2"),
    ),
    *caught_by("engine/test_random.py",
        ("test_bits_are_splitmix64", "engine.random", "_shift(x, 27)", "(x >> 27)"),
        ("test_uniform_is_uniform", "engine.random", "[:, None] + slots), 40)", "[:, None] + slots), 41)"),
        ("test_normal_has_the_moments_of_a_normal", "engine.random", "-2.0 * torch.log1p", "-1.0 * torch.log1p"),
        ("test_normal_draws_of_a_sample_are_independent", "engine.random", "draws[:, pairs:]", "draws[:, :pairs]"),
    ),
    *caught_by("engine/test_colour.py",
        ("test_composed_equals_one_after_the_other", "engine.colour", "linear=linear @ self.linear",
         "linear=self.linear @ linear"),
        ("test_a_map_is_applied_pixel_by_pixel", "engine.colour", "colour.linear, planes", "colour.linear.mT, planes"),
    ),
    *caught_by("models/test_conformance.py",
        ("test_groups_divide_the_channels_and_are_not_single", "nn.norm", "channels // 2))", "channels))"),
    ),
    *caught_by("tricks/test_transfer_tricks.py",
        ("TestFreeze::test_the_last_stages_train", "tricks.freeze", "found.stages - self.last", "found.stages - 1"),
        ("TestFreeze::test_a_whole_backbone_gives_the_same_features_in_every_step", "tricks.freeze",
         "frozen([], self.still)", "frozen([], [])"),
        ("TestFreeze::test_a_backbone_that_stands_still_says_so", "tricks.freeze", "and self.last == 0", ""),
        ("TestBnFreeze::test_they_are_in_evaluation_mode_and_all_else_is_not", "tricks.bn_freeze",
         "frozen([], self.norms)", "frozen([], [])"),
        ("TestBnFreeze::test_statistics_stay_and_weights_if_wanted", "tricks.bn_freeze",
         "found.layers[name] < found.encoder", "found.layers[name] <= found.encoder"),
        ("TestLayerDecay::test_rates_are_powers", "tricks.layer_decay", "decay ** (stages - depth)",
         "decay ** (stages - depth - 1)"),
        ("TestLayerDecay::test_it_multiplies_what_others_asked_for", "tricks.layer_decay", "rate=group.rate * decayed",
         "rate=decayed"),
        ("TestGradualUnfreeze::test_times_are_even", "tricks.gradual_unfreeze", "until * (stages - depth) / stages if",
         "until * (stages - depth) / (stages + 1) if"),
        ("TestGradualUnfreeze::test_what_has_not_joined_has_no_gradient_and_is_in_evaluation_mode",
         "tricks.gradual_unfreeze", "for parameter, time in self.parameters if run.time < time",
         "for parameter, time in self.parameters if 0"),
        ("TestGradualUnfreeze::test_rates_are_none_before", "engine.run", "g.since <= self.time and", "True and"),
        ("TestFrozen", "nn.frozen", "layer.training = training", "layer.training = True"),
    ),
    *caught_by("nn/test_depth.py",
        ("TestOddNetworks::test_what_drops_parts_of_a_map_still_makes_it", "nn.depth", "call.start <= made.start",
         "call.start == made.start"),
        ("TestFamilies::test_known_networks", "nn.depth", "used = sorted(holding - {stages})",
         "used = [*range(stages)]"),
        ("TestOddNetworks::test_sums_overwriting_and_reading", "nn.watched", " and seen == wanted._version", ""),
        ("TestOddNetworks::test_sums_overwriting_and_reading", "nn.depth", "return min(takers) - 0.5", "return NEVER"),
        ("TestOddNetworks::test_sums_overwriting_and_reading", "nn.depth", "(user == name or reads)", "user == name"),
        ("TestTimm::test_maps_that_are_copies_in_another_order", "nn.depth",
         " or torch.equal(output.movedim(-1, 1), map_)", ""),
        ("TestUnderAHead::test_what_lies_beyond_the_map_that_is_pooled_counts_to_its_stage", "nn.depth",
         "range(stages)[network.stage] + 1", "stages"),
    ),
    *caught_by("nn/test_norm.py",
        ("test_batch_then_channel", "nn.batch_channel_norm", "self.channel(self.batch(x))",
         "self.batch(self.channel(x))"),
        ("test_every_part_has_its_own_statistics", "nn.ghost_batch_norm", "len(input) // self.size",
         "-(-len(input) // self.size)"),
    ),
]  # fmt: skip


@dataclass
class Verdict:
    """What came of a run of pytest in a child; it is the plugin that writes this down, too."""

    code: int = -1
    passed: int = 0
    raised: list[str] = field(default_factory=list)
    output: str = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        if call.excinfo:
            self.raised.append(f"{call.excinfo.typename} in {call.when}")
        self.passed += call.when == "call" and not call.excinfo
        return (yield)


class Changed(SourceFileLoader):
    """Loads a module from the mutant's source, past its file and its cached bytecode."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"netwright.{mutant.module}", str(mutant.path))
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant.source, self.path, "exec", dont_inherit=True)


@dataclass
class Finder(MetaPathFinder):
    """Finds the mutant where its module is asked for."""

    mutant: Mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != f"netwright.{self.mutant.module}":
            return None
        return importlib.util.spec_from_file_location(fullname, self.mutant.path, loader=Changed(self.mutant))


def run_tests(answer: Connection, mutant: Mutant, options: list[str], compiled: Path) -> None:
    """In a child: let pytest run with one formula broken. What children compile, the next ones find in a folder."""
    import torch

    torch.set_num_threads(1)
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they would complain that they are imported already
    assert f"netwright.{mutant.module}" not in sys.modules
    sys.meta_path.insert(0, Finder(mutant))
    sys.pycache_prefix, sys.dont_write_bytecode = str(compiled), False
    gc.freeze()  # what was there before the fork need not be searched for garbage again and again
    verdict = Verdict()
    with redirect_stdout(io.StringIO()) as output:
        verdict.code = int(pytest.main(options, plugins=[verdict]))
    verdict.output = output.getvalue()
    answer.send(verdict)


def in_child(mutant: Mutant, victims: list[str], folder: Path) -> Verdict:
    """What comes of it in a process of its own, whose temporary files go to a folder of ours."""
    options = ["-x", "-q", "-s", "--assert=plain", "-p", "no:cacheprovider", "-o", "addopts="]
    options += ["--rootdir", str(TESTS.parent), "--basetemp", str(folder / "child")]
    context = multiprocessing.get_context(START)
    context.set_forkserver_preload([*HEAVY, *LIGHTER])
    here, there = context.Pipe(duplex=False)
    arguments = (there, mutant, [*options, *(str(TESTS / victim) for victim in victims)], folder.parent / "compiled")
    child = context.Process(target=run_tests, args=arguments, daemon=True)
    child.start()
    there.close()
    try:
        assert here.poll(LONGEST), f"no answer in {LONGEST} s"
        return here.recv()
    finally:
        here.close()
        child.kill()
        child.join()


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    assert mutant.path.read_text("utf-8").count(mutant.right) == 1, "stale: the formula is not there, or not only once"
    verdict = in_child(mutant, [mutant.victim], tmp_path)
    assert verdict.code == pytest.ExitCode.TESTS_FAILED, verdict.output
    assert verdict.raised == ["AssertionError in call"], verdict.output


def test_without_a_mistake_nothing_fails(tmp_path: Path) -> None:
    one_a_file = {mutant.victim.partition("::")[0]: mutant.victim for mutant in reversed(MUTANTS)}
    unbroken = replace(MUTANTS[0], broken=MUTANTS[0].right)
    verdict = in_child(unbroken, [*one_a_file.values()], tmp_path)
    assert verdict.code == pytest.ExitCode.OK, verdict.output
    assert verdict.passed >= len(one_a_file)
