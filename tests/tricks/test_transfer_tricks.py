"""Tricks for weights that were learnt elsewhere: what stands still, since when, and at which rate the rest moves."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.plans import Group, OptimPlan
from netwright.engine.run import Run
from netwright.engine.trick import Tricks
from netwright.models import create_model
from netwright.nn.depth import depths
from netwright.nn.frozen import frozen
from netwright.nn.headed import Headed
from netwright.nn.norm import batch_norms
from netwright.tricks import TRICKS
from netwright.tricks.gradual_unfreeze import joining_times
from netwright.tricks.layer_decay import decayed
from tests.support import CLASSES, TinyNetwork, digest, hash_of, outputs, tiny_run, train_tiny, train_until
from tests.tricks.test_loop_tricks import seen_in

# What the tiny network's two stages and its heads hold; `side` is learnt with auxiliary_heads alone.
FIRST = {"body.0.weight", *(f"body.1.{each}" for each in ("weight", "bias"))}
STATISTICS = {f"body.1.{each}" for each in ("running_mean", "running_var", "num_batches_tracked")}
SECOND = {"body.3.weight", "body.3.bias"}
HEAD = {"head.1.weight", "head.1.bias"}
SIDE = {"side.weight", "side.bias"}


class Norms(nn.Module):
    """A network whose every stage has a batch norm, and dropout between stages; nothing else is at random."""

    head_name = "fc"
    auxiliary_names = ()
    smallest = 4

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.stage2 = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 5, 2, 2), nn.BatchNorm2d(5), nn.ReLU())
        self.stage3 = nn.Sequential(nn.Conv2d(5, 6, 2, 2), nn.BatchNorm2d(6))
        self.fc = nn.Linear(6, classes) if classes else nn.Identity()

    def maps(self, x: Tensor) -> list[Tensor]:
        first = self.stage1(x)
        second = self.stage2(first)
        return [first, second, self.stage3(second)]

    def stages(self, x: Tensor) -> list[Tensor]:
        return self.maps(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.maps(x)[-1].mean((2, 3)))


def headed() -> Headed:
    return Headed(Norms(0), nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, CLASSES)))


def moved(run: Run) -> set[str]:
    """The names of tensors that a run changes at all."""
    seen = seen_in(run)
    return {name for name in seen[0] if any(not torch.equal(state[name], seen[0][name]) for state in seen[1:])}


def groups_of(run: Run) -> dict[str, Group]:
    """The group of each parameter that the optimiser has."""
    return {name: group for group in run.optimizer.groups for name, _ in group.parameters}


def beneath(of: dict[str, int], depth: int) -> set[str]:
    return {name for name, own in of.items() if own < depth}


MOVING = [
    ("sgd(weight_decay=0.1)", ["ema(decay=0.5)", "no_decay"]),
    ("adamw(lr=0.01, weight_decay=0.1)", ["swa(begin=0)", "l2_penalty(strength=0.1)"]),
    ("muon(lr=0.01)", ["lookahead(k=2)", "accumulate(parts=2)"]),
    ("nesterov(weight_decay=0.1)", ["sam(rho=0.5)", "max_norm(norm=0.01)", "group_lasso"]),
    ("lamb(weight_decay=0.1)", ["adaptive_grad_clip", "spatial_dropout", "layer_decay"]),
]


class TestFreeze:
    @pytest.mark.parametrize("network", [Norms, headed], ids=["family", "headed"])
    @pytest.mark.parametrize(("optimizer", "others"), MOVING)
    @pytest.mark.parametrize("last", [0, 1])
    def test_what_is_frozen_stays_to_the_bit(
        self, optimizer: str, others: list[str], last: int, network: Callable[[], nn.Module]
    ) -> None:
        run = tiny_run(f"freeze(last={last})", *others, optimizer=optimizer, network=network)
        still = beneath(depths(run.model).of, depths(run.model).stages - last)
        assert any(name.endswith("running_var") for name in still)
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        train_tiny(run)
        for state in (run.model.state_dict(), run.predictor().state_dict()):
            assert {name for name in before if not torch.equal(state[name], before[name])} == {*before} - still
            assert hash_of({name: state[name] for name in still}) == hash_of({name: before[name] for name in still})

    @pytest.mark.parametrize("last", [0, 1, 2, 3])
    def test_the_last_stages_train(self, last: int) -> None:
        run = tiny_run(f"freeze(last={last})", network=Norms)
        trained = ("fc", "stage3", "stage2", "stage1")[: last + 1]
        assert moved(run) == {name for name in run.model.state_dict() if name.startswith(trained)}
        assert {*groups_of(run)} == {name for name, _ in run.model.named_parameters() if name.startswith(trained)}

    def test_no_more_stages_than_there_are(self) -> None:
        with pytest.raises(NetwrightError, match="last cannot be 4, since Norms has 3 stages") as caught:
            tiny_run("freeze(last=4)", network=Norms)
        assert "from 0 to 3" in caught.value.fix
        with pytest.raises(NetwrightError, match="last cannot be -1"):
            TRICKS.build("freeze(last=-1)")

    def test_without_a_head_nothing_is_left(self) -> None:
        with pytest.raises(NetwrightError, match="nothing to train: Norms has no head") as caught:
            TRICKS.build("freeze").model(Norms(classes=0))
        assert "--with head" in caught.value.fix

    def test_a_whole_backbone_gives_the_same_features_in_every_step(self) -> None:
        """In training too its norms use running statistics, and nothing is dropped."""
        run = tiny_run("freeze", network=headed)
        given: list[tuple[Tensor, Tensor]] = []
        hook = run.model.backbone.register_forward_hook(lambda _, x, y: given.append((x[0].clone(), y.clone())))
        run.validate = None
        train_tiny(run)
        hook.remove()
        assert len(given) == run.steps
        assert all(module.training for module in run.model.modules())  # nothing is left as it was in between
        backbone = run.model.backbone.eval()
        assert all(torch.equal(backbone(x), y) for x, y in given)

    def test_what_a_step_does_to_the_head_is_sgd_on_fixed_features(self) -> None:
        """w ← w − r ∂L/∂w, with features that the network in evaluation gives."""
        run = tiny_run(
            "freeze", optimizer="sgd(lr=0.5, momentum=0, weight_decay=0)", schedule="constant", network=Norms, epochs=1
        )
        wanted = [parameter.detach().clone() for parameter in run.model.fc.parameters()]
        body = copy.deepcopy(run.model).eval()
        for raw in run.loader.epoch(0):
            with torch.no_grad():
                features = body.maps(Augment(run).normalised(raw).image)[-1].mean((2, 3))
            w, b = (each.clone().requires_grad_() for each in wanted)
            F.cross_entropy(features @ w.T + b, raw.label).backward()
            wanted = [(each - 0.5 * each.grad).detach() for each in (w, b)]
        train_tiny(run)
        torch.testing.assert_close(list(run.model.fc.parameters()), wanted, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("options", "fixed"), [("last=0", True), ("last=0, cache=False", False), ("last=1", False)]
    )
    def test_a_backbone_that_stands_still_says_so(self, options: str, fixed: bool) -> None:
        assert tiny_run(f"freeze({options})", network=headed).model.fixed is fixed

    def test_no_gradient_is_computed_for_what_is_frozen(self) -> None:
        run = train_tiny(tiny_run("freeze(last=1)", network=Norms, epochs=1))
        assert {name for name, p in run.model.named_parameters() if p.grad is not None} == {*groups_of(run)}
        assert not any(p.requires_grad for name, p in run.model.named_parameters() if name.startswith("stage1"))

    def test_statistics_that_stay_are_not_refreshed(self) -> None:
        for other in ("bn_refresh", "norm", "weight_standardisation", "layer_freezing", "gradual_unfreeze"):
            with pytest.raises(NetwrightError, match=f"freeze cannot be combined with {other}"):
                Tricks([TRICKS.build("freeze"), TRICKS.build(other)])

    def test_a_family_of_ours(self) -> None:
        """The last of resnet20's three stages and its head."""
        run = tiny_run("freeze(last=1)", network=lambda: create_model("resnet20", classes=CLASSES), epochs=1, n=16)
        assert moved(run) == {name for name in run.model.state_dict() if name.startswith(("layer3", "linear"))}


class TestBnFreeze:
    @pytest.mark.parametrize("affine", [False, True])
    def test_statistics_stay_and_weights_if_wanted(self, affine: bool) -> None:
        run = tiny_run(f"bn_freeze(affine={affine})", network=headed)
        names = {f"backbone.stage{place}.{layer}" for place, layer in ((1, 1), (2, 2), (3, 1))}
        still = {f"{name}.{each}" for name in names for each in ("running_mean", "running_var", "num_batches_tracked")}
        still |= {f"{name}.{each}" for name in names for each in ("weight", "bias")} if affine else set()
        assert moved(run) == {*run.model.state_dict()} - still
        assert "head.0.running_mean" not in still  # a new head's norm has to learn its own

    def test_they_are_in_evaluation_mode_and_all_else_is_not(self) -> None:
        run = tiny_run("bn_freeze", network=headed, epochs=1)
        seen: list[bool] = []
        held = batch_norms(run.model.backbone)
        for layer in run.model.modules():
            layer.register_forward_pre_hook(
                lambda each, _: seen.append(each.training == all(each is not norm for norm in held))
            )
        run.validate = None
        train_tiny(run)
        assert len(seen) > 20
        assert all(seen)

    def test_a_network_without_batch_norms_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match="has no batch norms") as caught:
            tiny_run("bn_freeze", network=lambda: nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 4)))
        assert "--without bn_freeze" in caught.value.fix


class TestLayerDecay:
    @pytest.mark.parametrize("decay", [0.7, 0.5, 1.0])
    def test_rates_are_powers(self, decay: float) -> None:
        run = tiny_run(f"layer_decay(decay={decay})", network=Norms)
        wanted = {"stage1": decay**3, "stage2": decay**2, "stage3": decay, "fc": 1.0}
        for name, group in groups_of(run).items():
            assert group.rate == pytest.approx(wanted[name.split(".")[0]], rel=1e-12)
        assert [decayed(decay, depth, 3) for depth in range(4)] == pytest.approx([decay**3, decay**2, decay, 1.0])
        assert len(run.optimizer.groups) == (4 if decay < 1 else 1)

    def test_steps_are_as_much_smaller(self) -> None:
        """One step of plain SGD: Δw = decay^k · Δw of the run without it."""
        plain, slowed = (
            tiny_run(*tricks, optimizer="sgd(lr=0.1, momentum=0)", network=Norms, epochs=1, n=16)
            for tricks in ([], ["layer_decay(decay=0.25)"])
        )
        before = {name: p.detach().clone() for name, p in plain.model.named_parameters()}
        train_tiny(plain), train_tiny(slowed)
        factor = {"stage1": 0.25**3, "stage2": 0.25**2, "stage3": 0.25, "fc": 1.0}
        for (name, one), (_, other) in zip(
            plain.model.named_parameters(), slowed.model.named_parameters(), strict=True
        ):
            whole, part = one.detach() - before[name], other.detach() - before[name]
            torch.testing.assert_close(part, whole * factor[name.split(".")[0]], rtol=1e-4, atol=1e-7)

    def test_it_multiplies_what_others_asked_for(self) -> None:
        trick = TRICKS.build("layer_decay(decay=0.5)")
        network = trick.model(Norms())
        plan = OptimPlan.of(network).split(lambda _, p: p.dim() <= 1, decay=0.0, rate=2.0)
        found = {name: (g.rate, g.decay) for g in trick.optim(plan).groups for name, _ in g.parameters}
        assert found["stage1.0.weight"] == pytest.approx((0.125, 1.0))
        assert found["stage1.0.bias"] == pytest.approx((0.25, 0.0))
        assert found["fc.bias"] == pytest.approx((2.0, 0.0))

    def test_with_frozen_stages_and_stages_that_wait(self) -> None:
        frozen_too = groups_of(tiny_run("layer_decay(decay=0.5)", "freeze(last=1)", "no_decay", network=Norms))
        assert {name: (g.rate, g.decay) for name, g in frozen_too.items()} == {
            "stage3.0.weight": (0.5, 1.0), "stage3.0.bias": (0.5, 0.0), "stage3.1.weight": (0.5, 0.0),
            "stage3.1.bias": (0.5, 0.0), "fc.weight": (1.0, 1.0), "fc.bias": (1.0, 0.0),
        }  # fmt: skip
        waiting = groups_of(tiny_run("layer_decay(decay=0.5)", "gradual_unfreeze(until=0.75)", network=Norms))
        wanted = {"stage1": (0.125, 0.75), "stage2": (0.25, 0.5), "stage3": (0.5, 0.25), "fc": (1.0, 0.0)}
        for name, group in waiting.items():
            assert (group.rate, group.since) == pytest.approx(wanted[name.split(".")[0]])


class TestGradualUnfreeze:
    def test_times_are_even(self) -> None:
        assert joining_times(4, 0.8) == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
        assert joining_times(4, 0.8)[-1] == 0
        assert joining_times(0, 0.8) == [0.0]

    @pytest.mark.parametrize("optimizer", ["sgd(weight_decay=0.1)", "adamw(lr=0.01, weight_decay=0.1)", "lamb", "muon"])
    def test_a_stage_moves_from_its_time_on_and_not_before(self, optimizer: str) -> None:
        """Nor do its statistics; momentum and weight decay included."""
        run = tiny_run("gradual_unfreeze(until=0.6)", network=Norms, epochs=5, optimizer=optimizer, schedule="constant")
        seen = seen_in(run)
        times = {"stage1": 0.6, "stage2": 0.4, "stage3": 0.2, "fc": 0.0}
        assert run.steps == 20
        for step in range(20):
            for name in seen[0]:
                same = torch.equal(seen[step][name], seen[step + 1][name])
                assert same == ((step + 0.5) / 20 < times[name.split(".")[0]]), (step, name)

    def test_what_has_not_joined_has_no_gradient_and_is_in_evaluation_mode(self) -> None:
        run = tiny_run("gradual_unfreeze(until=0.6)", network=Norms, epochs=5)
        seen: list[tuple[int, list[bool], list[bool]]] = []
        parts = [run.model.get_submodule(name) for name in ("stage1", "stage2", "stage3", "fc")]

        def noted(*_: Any) -> None:
            if torch.is_grad_enabled():
                modes = [part.training for part in parts]
                seen.append((run.step, modes, [next(part.parameters()).requires_grad for part in parts]))

        run.model.fc.register_forward_hook(noted)
        train_tiny(run)
        for step, modes, graded in seen:
            joined = [(step + 0.5) / 20 >= time for time in (0.6, 0.4, 0.2, 0.0)]
            assert modes == graded == joined
        assert all(parameter.requires_grad for parameter in run.model.parameters())

    def test_rates_are_none_before(self) -> None:
        """0 before its time, then what the schedule says: ½ (1 + cos πt)."""
        run = tiny_run("gradual_unfreeze(until=0.6)", network=Norms, epochs=5, schedule="cosine")
        for run.step in range(20):
            time = (run.step + 0.5) / 20
            whole = 0.5 * (1 + math.cos(math.pi * time))
            wanted = [whole if time >= group.since else 0.0 for group in run.optimizer.groups]
            assert run.factors == pytest.approx(wanted, rel=1e-12)
        assert sorted(group.since for group in run.optimizer.groups) == pytest.approx([0.0, 0.2, 0.4, 0.6])

    @pytest.mark.parametrize("steps", [3, 9, 13])
    def test_a_run_that_was_stopped_goes_on_in_the_same_way(self, steps: int, tmp_path: Path) -> None:
        tricks = ("gradual_unfreeze(until=0.6)", "ema", "layer_decay", "lookahead(k=2)")
        whole = train_tiny(tiny_run(*tricks, network=Norms, epochs=5, optimizer="adamw"))
        train_until(tiny_run(*tricks, network=Norms, epochs=5, optimizer="adamw"), steps, tmp_path)
        second = tiny_run(*tricks, network=Norms, epochs=5, optimizer="adamw")
        second.recall(read_checkpoint(tmp_path)[0])
        train_tiny(second)
        assert digest(second) == digest(whole)
        assert outputs(second).tobytes() == outputs(whole).tobytes()
        assert hash_of(second.optimizer.memory()) == hash_of(whole.optimizer.memory())

    def test_a_plain_network(self) -> None:
        found = groups_of(tiny_run("gradual_unfreeze(until=0.5)"))
        times = {name: group.since for name, group in found.items()}
        assert times == dict.fromkeys(FIRST, 0.5) | dict.fromkeys(SECOND, 0.25) | dict.fromkeys(HEAD | SIDE, 0.0)


class TestFrozen:
    def test_all_is_as_before_afterwards_even_if_it_fails(self) -> None:
        network = TinyNetwork()
        network.body[0].weight.requires_grad_(False)
        network.body[1].eval()
        before = [p.requires_grad for p in network.parameters()], [layer.training for layer in network.modules()]

        with pytest.raises(ZeroDivisionError), frozen(network.parameters(), network.modules()):
            assert not any(p.requires_grad for p in network.parameters())
            assert not any(layer.training for layer in network.modules())
            raise ZeroDivisionError
        after = [p.requires_grad for p in network.parameters()], [layer.training for layer in network.modules()]
        assert after == before
