"""Tricks where pictures are given back: those whose card says so keep the rules, and the others say why they do not."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.run import Run
from netwright.engine.trick import TaskName, Trick, Tricks
from netwright.tricks import TRICKS
from tests.support import Pictures, digest, hash_of, train_tiny, train_until, untimed
from tests.tricks.autoencoders import reconstructions, tiny_picture_run, tiny_variational

NAMES = TRICKS.names()
CLAIMING = [name for name in NAMES if "reconstruction" in TRICKS.load(name).card.tasks]
REFUSING = [name for name in NAMES if name not in CLAIMING]
RANDOM = ("beta_schedule", "free_bits", "kl_warmup")  # act on random codes only
CODES = ("contractive", "denoise", "sparse", *RANDOM)  # are for this task only


def strong(name: str) -> Trick:
    return TRICKS.load(name)(**TRICKS.load(name).card.strong)


def made(name: str, *tricks: Trick | str, seed: int = 0) -> Run:
    """A run of the network that a trick is for."""
    return tiny_picture_run(*tricks, seed=seed, **{"network": tiny_variational} if name in RANDOM else {})


@pytest.fixture(scope="module")
def plain() -> dict[bool, Run]:
    """Runs without tricks, of random codes or of others."""
    return {name in RANDOM: train_tiny(made(name)) for name in ("denoise", "kl_warmup")}


def test_who_is_for_this_task_and_who_is_not() -> None:
    assert len(CLAIMING) >= 50
    assert {name for name in NAMES if TRICKS.load(name).card.tasks == ("reconstruction",)} == set(CODES)
    assert set(REFUSING) == {
        "augmix", "auxiliary_heads", "balanced_sampling", "binary_cross_entropy", "blur", "border_weights",
        "channel_dropout", "class_weights", "confidence_penalty", "cutmix", "cutout", "dice", "focal", "freeze",
        "gradual_unfreeze", "head", "jpeg", "label_smoothing", "logit_adjustment", "mixup", "mixup_or_cutmix", "noise",
        "posterize", "progressive_resize", "randaugment", "random_erasing", "salt_and_pepper", "sharpen", "solarize",
        "test_time_augmentation", "trivial_augment", "tversky",
    }  # fmt: skip


@pytest.mark.parametrize("name", REFUSING)
def test_who_refuses_says_why(name: str) -> None:
    with pytest.raises(NetwrightError, match=f"{name} does not apply to reconstruction: .{{30}}") as caught:
        Tricks([TRICKS.load(name)()]).require("reconstruction")
    assert f"--without {name}" in caught.value.fix
    if any(Tricks([strong(name)]).at("pixels")):
        assert "denoise" in str(caught.value) + TRICKS.load(name).card.why["reconstruction"]


@pytest.mark.parametrize("name", CODES)
def test_tricks_on_codes_say_why_they_are_for_no_other_task(name: str) -> None:
    for task in set(get_args(TaskName)) - {"reconstruction"}:
        with pytest.raises(NetwrightError, match=f"{name} does not apply to {task}: .{{30}}"):
            Tricks([TRICKS.load(name)()]).require(task)


@pytest.mark.parametrize("name", CLAIMING)
def test_trains_resumes_and_keeps_the_rules(name: str, plain: dict[bool, Run], tmp_path: Path) -> None:
    """A run is a function of its seed and does not depend on being stopped, the trick acts, and options stay."""
    each = strong(name)
    given = {field.name: getattr(each, field.name) for field in fields(each)}
    whole, without = train_tiny(made(name, each)), plain[name in RANDOM]
    assert vars(each) == given, "a run left state in the user's object"
    (copied,) = whole.tricks
    assert {field.name: getattr(copied, field.name) for field in fields(copied)} == given
    assert set(copied.memory()) == {attribute for attribute in vars(copied) if attribute.endswith("_")}
    assert whole.step == 4
    assert np.isfinite([value for value in whole.history[-1].values() if isinstance(value, float)]).all()
    weights, pictures = digest(whole), reconstructions(whole)
    assert np.isfinite(pictures).all()
    acts = weights != digest(without) or pictures.tobytes() != reconstructions(without).tobytes()
    assert acts or len(whole.optimizer.groups) > 1 or whole.stopped
    if not (copied.memory() or name in CODES):  # that runs resume is tested elsewhere; here, what they have to keep
        return

    train_until(made(name, strong(name)), 3, tmp_path)
    second = made(name, strong(name))
    second.recall(read_checkpoint(tmp_path)[0])
    train_tiny(second)
    assert digest(second) == weights
    assert hash_of(second.tricks.memory()) == hash_of(whole.tricks.memory())
    assert untimed(second.history) == untimed(whole.history)
    assert reconstructions(second).tobytes() == pictures.tobytes()


@pytest.mark.parametrize("name", [name for name in CLAIMING if TRICKS.load(name).card.neutral is not None])
def test_neutral_options_change_nothing(name: str, plain: dict[bool, Run]) -> None:
    kind = TRICKS.load(name)
    neutral = train_tiny(made(name, kind(**kind.card.neutral)))
    without = plain[name in RANDOM]
    assert digest(neutral) == digest(without)
    assert reconstructions(neutral).tobytes() == reconstructions(without).tobytes()
    assert untimed(neutral.history) == untimed(without.history)


@pytest.mark.parametrize("random", [False, True], ids=["fixed", "random"])
def test_all_together(random: bool) -> None:
    unfit = ("contractive", "sparse") if random else RANDOM
    free = [name for name in CLAIMING if name not in (*unfit, "bn_freeze")]
    free += ["contractive"] if random else []
    chosen: list[str] = []
    for name in free:  # the first of those that exclude each other
        if not any(
            name in TRICKS.load(each).card.excludes or each in TRICKS.load(name).card.excludes for each in chosen
        ):
            chosen.append(name)
    network = {"network": tiny_variational} if random else {}
    run = train_tiny(tiny_picture_run(*(TRICKS.load(name)() for name in chosen), **network))
    assert run.step == 4
    assert np.isfinite(reconstructions(run)).all()


@pytest.mark.parametrize("name", [n for n in CLAIMING if Tricks([strong(n)]).at("geometry")
                                  or Tricks([strong(n)]).at("colour") or Tricks([strong(n)]).at("pixels")])  # fmt: skip
def test_the_target_changes_with_the_picture(name: str) -> None:
    run = tiny_picture_run(strong(name))
    raw = next(Pictures(8).batches([np.arange(8)]))
    batch = Augment(run).normalised(raw)
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (run.normalise.mean, run.normalise.std))
    torch.testing.assert_close(batch.target, batch.image * std + mean, rtol=0, atol=1e-6)
    assert not torch.equal(batch.target, Augment(tiny_picture_run()).normalised(raw).target)
