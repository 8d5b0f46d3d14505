"""Tricks around the update: lookahead, averaged weights, clipping, freezing; against torch, timm and closed forms."""

import math

import pytest
import timm.utils
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.loop import Watcher
from netwright.engine.plans import OptimPlan
from netwright.engine.run import Run
from netwright.tricks import TRICKS
from netwright.tricks.layer_freezing import freezing_times
from tests.support import digest, tiny_run, train_tiny

PARAMETERS = ("body.0", "body.1", "body.3", "head.1", "side")


class States(Watcher):
    """The weights and buffers at the start and after every step."""

    def started(self, run: Run) -> None:
        self.seen = [self.now(run)]

    def stepped(self, run: Run) -> None:
        self.seen.append(self.now(run))

    def now(self, run: Run) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in run.model.state_dict().items()}


def seen_in(run: Run) -> list[dict[str, Tensor]]:
    states = States()
    train_tiny(run, watcher=states)
    return states.seen


def only(run: Run):
    (found,) = run.tricks
    return found


@pytest.mark.parametrize(("name", "state"), [("ema", "average_"), ("lookahead", "slow_"), ("swa", "mean_")])
def test_a_checkpoint_comes_back_into_the_tensors_of_the_run(name: str, state: str) -> None:
    """They live on the run's device, where those of the file do not."""
    saved = only(train_tiny(tiny_run(name))).memory()
    trick = only(tiny_run(name, seed=1))
    own = tensors(getattr(trick, state))
    trick.recall(saved)
    found = tensors(getattr(trick, state))
    assert all(one is other for one, other in zip(own, found, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(found, tensors(saved[state]), strict=True))
    assert not any(one is other for one, other in zip(found, tensors(saved[state]), strict=True))
    assert {name: value for name, value in trick.memory().items() if name != state} == {
        name: value for name, value in saved.items() if name != state
    }


def tensors(state: dict[str, Tensor] | list[Tensor]) -> list[Tensor]:
    return list(state.values()) if isinstance(state, dict) else state


class TestLookahead:
    def test_is_the_papers_algorithm(self) -> None:
        """With a constant rate and plain gradient descent on a slope that never changes, all is arithmetic."""
        run = tiny_run("lookahead(k=3, alpha=0.25)")
        trick, weights = only(run), run.optimizer.parameters
        start = [p.detach().clone() for p in weights]
        for step in range(1, 10):
            with torch.no_grad():
                for p in weights:
                    p.sub_(0.5)
            run.step = step
            trick.after_step(run)
            # Each round of three steps gets a quarter of the way; what is left over is walked in full.
            moved = 0.25 * 1.5 * (step // 3) + 0.5 * (step % 3)
            for p, before in zip(weights, start, strict=True):
                torch.testing.assert_close(p.detach(), before - moved, rtol=0, atol=1e-6)  # nine roundings of 2^-24

    def test_in_the_loop_weights_return_to_the_slow_ones(self) -> None:
        run = tiny_run("lookahead(k=4, alpha=0.5)")
        seen, plain = seen_in(run), seen_in(tiny_run())
        for step in (1, 2, 3):
            assert all(torch.equal(seen[step][name], plain[step][name]) for name in plain[step])
        for name, _ in run.model.named_parameters():
            torch.testing.assert_close(seen[4][name], (plain[0][name] + plain[4][name]) / 2)
        assert torch.equal(seen[4]["body.1.running_mean"], plain[4]["body.1.running_mean"])


class TestSwa:
    @pytest.mark.parametrize(("begin", "epochs"), [(0.0, [1, 2, 3, 4]), (0.5, [2, 3, 4]), (0.9, [4])])
    def test_is_torchs(self, begin: float, epochs: list[int]) -> None:
        run = tiny_run(f"swa(begin={begin})", epochs=4)
        seen = seen_in(run)
        theirs = torch.optim.swa_utils.AveragedModel(run.model, use_buffers=True)
        for epoch in epochs:
            run.model.load_state_dict(seen[4 * epoch])  # four steps an epoch
            theirs.update_parameters(run.model)
        ours = run.predictor().state_dict()
        for name, value in theirs.module.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-7)  # four averages in float32
            else:
                assert torch.equal(ours[name], seen[-1][name])

    def test_before_it_begins_the_network_is_handed_on_as_it_is(self) -> None:
        run = tiny_run("swa", epochs=4)
        assert run.predictor() is run.model

    def test_training_does_not_notice(self) -> None:
        assert digest(train_tiny(tiny_run("swa(begin=0)"))) == digest(train_tiny(tiny_run()))

    def test_validation_sees_the_mean(self) -> None:
        run = tiny_run("swa(begin=0)", schedule="constant")
        plain = train_tiny(tiny_run(schedule="constant"))
        train_tiny(run)
        losses = [[row["val_loss"] for row in each.history] for each in (run, plain)]
        assert losses[0][0] == losses[1][0]  # of one epoch
        assert losses[0][1] != losses[1][1]


class TestAdaptiveGradClip:
    @pytest.mark.parametrize("clip", [0.001, 0.01, 0.3])
    @pytest.mark.parametrize("epsilon", [1e-3, 0.5])
    def test_is_timms_but_for_the_heads(self, clip: float, epsilon: float) -> None:
        run, other = tiny_run(f"adaptive_grad_clip(clip={clip}, epsilon={epsilon})"), tiny_run()
        draw = torch.Generator().manual_seed(0)
        for p, q in zip(run.model.parameters(), other.model.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=draw) * 10 ** torch.randint(-4, 1, (1,), generator=draw)
            q.grad = p.grad.clone()
        only(run).before_step(run)
        body = [p for name, p in other.model.named_parameters() if name.startswith("body")]
        timm.utils.adaptive_clip_grad(body, clip_factor=clip, eps=epsilon)
        for (name, p), q in zip(run.model.named_parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=0, msg=name)  # three roundings in float32

    def test_each_unit_for_itself(self) -> None:
        run = tiny_run("adaptive_grad_clip(clip=0.1)")
        weight = run.model.get_parameter("body.3.weight")
        with torch.no_grad():
            weight.fill_(1.0)
        weight.grad = torch.zeros_like(weight)
        weight.grad[0] = 1.0
        weight.grad[1] = 0.05
        only(run).before_step(run)
        found = weight.grad.flatten(1).mean(1)
        torch.testing.assert_close(found, torch.tensor([0.1, 0.05, *[0.0] * (len(found) - 2)]))

    def test_not_with_grad_clip(self) -> None:
        with pytest.raises(NetwrightError, match="cannot be combined"):
            tiny_run("adaptive_grad_clip", "grad_clip")


class TestGradClip:
    """By value; the norm is tested in test_maths."""

    @pytest.mark.parametrize("value", [0.001, 0.05, 10.0])
    def test_value_is_torchs(self, value: float) -> None:
        run, other = tiny_run(f"grad_clip(value={value})"), tiny_run()
        self.fill(run, other)
        only(run).before_step(run)
        nn.utils.clip_grad_value_(other.model.parameters(), value)
        for p, q in zip(run.model.parameters(), other.model.parameters(), strict=True):
            assert torch.equal(p.grad, q.grad)

    def test_first_the_norm_then_the_value(self) -> None:
        run, other = tiny_run("grad_clip(norm=2.0, value=0.1)"), tiny_run()
        self.fill(run, other)
        only(run).before_step(run)
        nn.utils.clip_grad_norm_(other.model.parameters(), 2.0)
        nn.utils.clip_grad_value_(other.model.parameters(), 0.1)
        for p, q in zip(run.model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=2e-6, atol=0)  # torch adds 1e-6 to the norm, here above 1

    def test_alone_it_is_the_norm_one(self) -> None:
        assert digest(train_tiny(tiny_run("grad_clip"))) == digest(train_tiny(tiny_run("grad_clip(norm=1)")))

    @pytest.mark.parametrize("option", ["norm", "value"])
    def test_bounds(self, option: str) -> None:
        with pytest.raises(NetwrightError, match=f"{option} cannot be -1"):
            TRICKS.build(f"grad_clip({option}=-1)")

    def fill(self, *runs: Run) -> None:
        for run in runs:
            draw = torch.Generator().manual_seed(0)
            for p in run.model.parameters():
                p.grad = torch.randn(p.shape, generator=draw)
            run.gradient_norm = float(torch.cat([p.grad.flatten() for p in run.model.parameters()]).norm())
            assert run.gradient_norm > 2


class TestLayerFreezing:
    def test_times_are_the_papers(self) -> None:
        # FreezeOut §3: linear times t₀ + (1 − t₀) l / L, cubed; t₀ = 0.8 freezes the first layer at 0.512.
        linear = [0.8 + 0.2 * layer / 4 for layer in range(5)]
        assert freezing_times(5, 0.8, 1) == pytest.approx(linear, rel=1e-12)
        assert freezing_times(5, 0.8**3, 3) == pytest.approx([t**3 for t in linear], rel=1e-12)
        assert freezing_times(5, 0.3, 2.7)[0] == 0.3
        assert freezing_times(5, 0.3, 2.7)[-1] == 1.0
        assert freezing_times(7, 1.0, 2.7) == [1.0] * 7
        assert freezing_times(1, 0.3, 2.0) == [1.0]

    def test_groups(self) -> None:
        run = tiny_run("layer_freezing(first=0.25, power=1)")
        found = {name: (g.until, g.rate) for g in run.optimizer.groups for name, _ in g.parameters}
        times = {layer: found[f"{layer}.bias" if layer != "body.0" else f"{layer}.weight"][0] for layer in PARAMETERS}
        assert times == pytest.approx({"body.0": 0.25, "body.1": 0.5, "body.3": 0.75, "head.1": 1, "side": 1})
        assert all(rate == pytest.approx(1 / until) for until, rate in found.values())
        unscaled = tiny_run("layer_freezing(first=0.25, power=1, scaled=False)")
        assert {g.rate for g in unscaled.optimizer.groups} == {1.0}

    @pytest.mark.parametrize("optimizer", ["sgd(weight_decay=0.1)", "adam(weight_decay=0.1)", "adamw", "nadam", "lamb"])
    def test_what_is_frozen_does_not_move_at_all(self, optimizer: str) -> None:
        """Not by momentum, nor decay, nor statistics of norms."""
        run = tiny_run("layer_freezing(first=0.25, power=1)", "no_decay", epochs=5, optimizer=optimizer)
        seen = seen_in(run)
        until = {name: group.until for group in run.optimizer.groups for name, _ in group.parameters}
        until |= {f"body.1.{buffer}": 0.5 for buffer in ("running_mean", "running_var", "num_batches_tracked")}
        assert set(until) == set(run.model.state_dict())
        for step in range(20):
            for name, time in until.items():
                moved = not torch.equal(seen[step][name], seen[step + 1][name])
                trains = (step + 0.5) / 20 < time and not name.startswith("side")  # whose output nobody looks at
                assert moved == trains, (step, name)

    def test_nothing_is_left_frozen(self) -> None:
        run = train_tiny(tiny_run("layer_freezing(first=0.25)"))
        assert all(p.requires_grad for p in run.predictor().parameters())
        run.model.train()
        assert all(module.training for module in run.model.modules())

    def test_no_gradient_is_computed_for_what_is_frozen(self) -> None:
        run = tiny_run("layer_freezing(first=0.25, power=1)")
        without: list[set[str]] = []

        class Gradients(Watcher):
            def stepped(self, run: Run) -> None:
                without.append({name for name, p in run.model.named_parameters() if p.grad is None} - SIDE)

        train_tiny(run, watcher=Gradients())
        first, norm = {"body.0.weight"}, {"body.1.weight", "body.1.bias"}
        last = {"body.3.weight", "body.3.bias"}
        # Updates are read in their middle: (step + 0.5) / 8.
        assert without == [set()] * 2 + [first] * 2 + [first | norm] * 2 + [first | norm | last] * 2

    def test_rates_are_freezeouts(self) -> None:
        """α_l(t) = α / t_l · ½ (1 + cos(π t / t_l)) with the cosine schedule."""
        run = tiny_run("layer_freezing(first=0.25, power=1)", schedule="cosine", optimizer="sgd(lr=0.2)")
        for run.step in range(8):
            time = (run.step + 0.5) / 8
            for group, factor in zip(run.optimizer.groups, run.factors, strict=True):
                left = 0.5 * (1 + math.cos(math.pi * time / group.until)) if time < group.until else 0.0
                assert 0.2 * factor * group.rate == pytest.approx(0.2 / group.until * left, rel=1e-12, abs=1e-15)

    def test_a_schedule_that_never_ends_ends_with_the_layer(self) -> None:
        run = tiny_run("layer_freezing(first=0.25, power=1)", schedule="constant")
        run.step = 4
        assert {g.until: factor for g, factor in zip(run.optimizer.groups, run.factors, strict=True)} == pytest.approx(
            {0.25: 0.0, 0.5: 0.0, 0.75: 1.0, 1.0: 1.0}
        )

    def test_whatever_split_the_groups_before(self) -> None:
        trick = TRICKS.build("layer_freezing(first=0.25, power=1)")
        network = tiny_run().model
        trick.model(network)
        plain = trick.optim(OptimPlan.of(network).split(lambda _, p: p.dim() <= 1, decay=0.0))
        found = {name: (g.until, g.decay) for g in plain.groups for name, _ in g.parameters}
        assert found["body.3.weight"] == pytest.approx((0.75, 1.0))
        assert found["body.3.bias"] == pytest.approx((0.75, 0.0))


SIDE = {"side.weight", "side.bias"}
