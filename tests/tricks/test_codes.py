"""Tricks of autoencoders: what the network sees, what its codes cost, and how many numbers of them are kept."""

import itertools
import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, kl_divergence

from netwright.bundle.rebuild import with_structure
from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.corruption import Kind, corrupted
from netwright.engine.run import Batch, Run
from netwright.engine.trick import Tricks
from netwright.models import create_model
from netwright.nn.observation import make_observation
from netwright.nn.output import Decoded, normal_divergence
from netwright.tricks import TRICKS
from netwright.tricks.beta_schedule import travelled
from netwright.tricks.contractive import squared_slope
from netwright.tricks.kl_warmup import warmth
from netwright.tricks.sparse import Largest, annealed, inactivity, largest, sizes
from tests.support import CLASSES, Pictures, digest, train_tiny
from tests.tricks.autoencoders import SIDE, TinyAutoencoder, tiny_picture_run, tiny_variational

WIDE = 4.5  # standard deviations that a mean of independent draws leaves once in 150 000 times
KINDS = get_args(Kind)


def pictures(n: int = 4, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def raw(n: int = 8) -> Any:
    return next(Pictures(n, SIDE).batches([np.arange(n)]))


def output(n: int = 6, width: int = 4) -> Decoded:
    """Random codes, and pictures decoded from them; beta is 2."""
    draw = torch.Generator().manual_seed(1)
    mean = torch.randn(n, width, generator=draw).requires_grad_()
    log_variance = torch.randn(n, width, generator=draw)
    natural = torch.rand(n, 3, SIDE, SIDE, generator=draw)
    return Decoded(natural, mean, mean, log_variance, make_observation("gaussian"), 2.0)


def charged(run: Run, given: Decoded, step: int = 0) -> Tensor:
    """The loss that a run's tricks make of an output after some steps."""
    run.step = step
    target = torch.zeros_like(given.natural)
    return run.loss(given, Batch(target, torch.zeros(0), target, torch.arange(len(target))), run)


def off(given: Decoded) -> Tensor:
    """The distortion without its offset, where targets are black."""
    return given.natural.square().flatten(1).sum(1).mean() / 2


def rates(given: Decoded) -> Tensor:
    assert given.log_variance is not None
    return normal_divergence(given.mean, given.log_variance).mean(0)


class TestDenoise:
    def test_gaussian_noise_has_the_standard_deviation_that_is_given(self) -> None:
        grey = torch.full((8, 3, 32, 32), 0.5)
        noise = (corrupted(grey, "gaussian", 0.1) - 0.5).flatten()
        n = len(noise)
        assert noise.std().item() == pytest.approx(0.1, abs=WIDE * 0.1 / math.sqrt(2 * n))
        assert abs(noise.mean()) < WIDE * 0.1 / math.sqrt(n)
        assert (corrupted(pictures(), "gaussian", 0.9) >= 0).all()
        assert (corrupted(pictures(), "gaussian", 0.9) <= 1).all()

    @pytest.mark.parametrize(("kind", "values"), [("salt_and_pepper", (0.0, 1.0)), ("mask", (0.0,))])
    def test_so_many_pixels_are_lost_in_all_their_channels(self, kind: str, values: tuple[float, ...]) -> None:
        picture = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
        seen = corrupted(picture, kind, 0.3)
        lost = (seen != picture).any(1)
        n = lost.numel()
        for value in values:
            share, expected = (seen == value).all(1).float().mean().item(), 0.3 / len(values)
            assert share == pytest.approx(expected, abs=WIDE * math.sqrt(expected * (1 - expected) / n))
        assert torch.equal(lost, torch.stack([(seen == value).all(1) for value in values]).any(0))
        assert torch.equal(seen.movedim(1, -1)[~lost], picture.movedim(1, -1)[~lost])

    def test_masks_grow_with_the_amount(self) -> None:
        little, much = ((corrupted(pictures() + 0.1, "mask", amount) == 0) for amount in (0.2, 0.6))
        assert (much | ~little).all()

    def test_perturbed_pixels_come_from_places_within_reach(self) -> None:
        """A picture whose values are its own places: where a pixel came from is read off."""
        side, amount = 32, 0.25
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        seen = corrupted(torch.stack([rows, columns]).float()[None].repeat(16, 1, 1, 1), "perturb", amount)
        shift = (seen - torch.stack([rows, columns]))[:, :, 4:-4, 4:-4]  # where the border is out of reach
        reach = amount * side / 2
        assert shift.abs().max() == reach == 4
        n = shift.numel()
        shares = {step: (shift == step).sum().item() / n for step in range(-4, 5)}
        expected = {step: (0.5 if abs(step) == 4 else 1.0) / 8 for step in shares}  # rounded from U(−4, 4)
        assert shares == pytest.approx(expected, abs=WIDE * math.sqrt(1 / 8 / n))
        down, across = shift.unbind(1)
        assert abs((down * across).mean()) < WIDE * down.std() * across.std() / math.sqrt(n / 2)
        assert seen.min() == 0
        assert seen.max() == side - 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_corruption_is_a_function_of_seed_and_place(self, kind: str) -> None:
        given = pictures()
        before, seen = given.clone(), corrupted(given, kind, 0.4, seed=1)
        assert torch.equal(given, before)
        assert torch.equal(seen, corrupted(given, kind, 0.4, seed=1))
        assert torch.equal(seen[:2], corrupted(given[:2], kind, 0.4, seed=1))
        assert not torch.equal(seen, corrupted(given, kind, 0.4, seed=2))
        alike = corrupted(given[:1].repeat(2, 1, 1, 1), kind, 0.4)
        assert not torch.equal(alike[0], alike[1])
        assert torch.equal(corrupted(given, kind, 0.0), given)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_image_is_corrupted_and_its_target_is_clean(self, kind: str) -> None:
        run, plain = tiny_picture_run(f"denoise(kind='{kind}', amount=0.5)"), tiny_picture_run()
        seen, clean = Augment(run).normalised(raw()), Augment(plain)(raw())
        assert torch.equal(seen.target, clean.target)
        seen = run.tricks.through("batch", seen, run)
        assert torch.equal(seen.target, clean.target)
        assert not torch.equal(seen.image, clean.image)
        mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (run.normalise.mean, run.normalise.std))
        values = seen.image * std + mean  # on the scale that the amount means, whatever pictures were normalised by
        assert values.min() > -1e-5
        assert values.max() < 1 + 1e-5
        if kind == "gaussian":
            inside = (values > 1e-3) & (values < 1 - 1e-3)
            noise = run.normal("denoise", 3 * SIDE * SIDE).view_as(values)
            torch.testing.assert_close(values[inside], (clean.target + 0.5 * noise)[inside], rtol=0, atol=1e-5)
        if kind == "mask":
            lost = (run.uniform("denoise", SIDE * SIDE) < 0.5).view(-1, 1, SIDE, SIDE)
            torch.testing.assert_close(values, clean.target * ~lost, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("kind", KINDS)
    def test_draws_belong_to_the_sample_not_to_the_batch(self, kind: str) -> None:
        run, given = tiny_picture_run(f"denoise(kind='{kind}')"), raw()
        whole = Augment(run)(given).image
        part = Augment(run)(type(given)(given.image[5:], given.label[5:], given.id[5:])).image
        assert torch.equal(part, whole[5:])

    def test_what_cannot_be_corrupted_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match="kind of corruption 'gausian'") as caught:
            corrupted(pictures(), "gausian", 0.1)
        assert "gaussian" in caught.value.fix
        with pytest.raises(NetwrightError, match=r"amount of 1\.5"):
            corrupted(pictures(), "mask", 1.5)
        with pytest.raises(NetwrightError, match="uint8"):
            corrupted((pictures() * 255).byte(), "mask", 0.5)


class TestKlWarmup:
    def test_beta_rises_in_proportion_to_the_time(self) -> None:
        run, given = tiny_picture_run("kl_warmup(until=0.5)", n=32, network=tiny_variational), output()
        assert run.steps == 16
        for step, factor in ((0, 0.0), (2, 0.25), (4, 0.5), (8, 1.0), (15, 1.0)):
            expected = off(given) + 2 * factor * rates(given).sum()
            torch.testing.assert_close(charged(run, given, step), expected, rtol=1e-5, atol=0)

    def test_without_a_time_there_is_no_warm_up(self) -> None:
        assert [warmth(progress, 0.0) for progress in (0.0, 0.5, 1.0)] == [1.0] * 3


class TestBetaSchedule:
    def test_cycles_are_those_of_the_paper(self) -> None:
        """Equations 6 and 7: τ = mod(t, T / M) / (T / M), and τ / R up to R = ½, then 1."""
        steps, cycles = 40, 4
        for t in range(steps):
            tau = (t % (steps // cycles)) / (steps / cycles)
            expected = tau / 0.5 if tau <= 0.5 else 1.0
            assert travelled(t / steps, "cyclical", cycles) == pytest.approx(expected, abs=1e-9)
        assert travelled(1.0, "cyclical", cycles) == 1.0

    def test_straight_and_cosine(self) -> None:
        assert [travelled(p, "linear") for p in (0.0, 0.25, 1.0)] == [0.0, 0.25, 1.0]
        found = [travelled(p, "cosine") for p in (0.0, 1 / 3, 0.5, 1.0)]
        assert found == pytest.approx([0.0, 0.25, 0.5, 1.0])

    def test_beta_is_multiplied_by_what_lies_between_first_and_last(self) -> None:
        run = tiny_picture_run("beta_schedule(kind='linear', first=3, last=1)", n=32, network=tiny_variational)
        given = output()
        for step, factor in ((0, 3.0), (4, 2.5), (12, 1.5)):
            expected = off(given) + 2 * factor * rates(given).sum()
            torch.testing.assert_close(charged(run, given, step), expected, rtol=1e-5, atol=0)

    def test_there_is_one_schedule(self) -> None:
        with pytest.raises(NetwrightError, match="beta_schedule cannot be combined with kl_warmup"):
            Tricks([TRICKS.build("beta_schedule"), TRICKS.build("kl_warmup")])


class TestFreeBits:
    def test_what_a_dimension_tells_counts_from_so_many_nats_on(self) -> None:
        given = output()
        found = rates(given).detach()
        nats = float(found.sort().values[1:3].mean())  # two dimensions tell less, two more
        run = tiny_picture_run(f"free_bits(nats={nats})", network=tiny_variational)
        loss = charged(run, given)
        expected = off(given) + 2 * (2 * nats + found[found > nats].sum())
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
        (slope,) = torch.autograd.grad(loss, given.mean)
        assert torch.equal(slope.abs().sum(0) > 0, found > nats)


@pytest.mark.parametrize("name", ["beta_schedule", "free_bits", "kl_warmup"])
def test_where_codes_are_not_random_there_is_nothing_to_change(name: str) -> None:
    with pytest.raises(NetwrightError, match="TinyAutoencoder has none") as caught:
        tiny_picture_run(name)
    assert f"--model vae or conditional_vae, or leave it out: --without {name}" in caught.value.fix


class TestSparse:
    def test_l1_is_the_mean_over_pictures_of_sums(self) -> None:
        code = torch.tensor([[1.0, -2.0], [0.0, 5.0]])
        assert sizes(code) == (3 + 5) / 2
        given = output()
        found = charged(tiny_picture_run("sparse(weight=0.5)"), given)
        expected = off(given) + 2 * rates(given).sum() + 0.5 * given.mean.abs().sum() / len(given.mean)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)

    def test_a_larger_decoder_makes_smaller_codes_cheaper(self) -> None:
        """Which is why the trick's description asks for a price on weights."""
        network = nn.Linear(3, 4, bias=False)
        code = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
        same = nn.functional.linear(code / 10, network.weight * 10)
        torch.testing.assert_close(same, network(code), rtol=1e-5, atol=1e-6)
        assert sizes(code / 10) == pytest.approx(float(sizes(code)) / 10)

    def test_kl_is_torchs_between_coins(self) -> None:
        code = torch.rand(7, 4, generator=torch.Generator().manual_seed(0))
        expected = kl_divergence(Bernoulli(torch.tensor(0.05)), Bernoulli(code.mean(0))).sum()
        torch.testing.assert_close(inactivity(code, 0.05), expected, rtol=1e-5, atol=0)
        dead = torch.zeros(7, 4, requires_grad=True)
        (slope,) = torch.autograd.grad(inactivity(dead + 1e-5, 0.05), dead)
        assert (slope < -100).all()  # a unit that is never active is drawn up

    def test_kl_has_activities_between_none_and_one(self) -> None:
        run = tiny_picture_run("sparse(kind='kl', weight=2, rho=0.1)")
        batch = Augment(run)(raw())
        given = run.model(batch.image)
        assert ((given.code > 0) & (given.code < 1)).all()
        found = run.loss(given, batch, run) - run.task.loss(given, batch.target)
        expected = 2 * kl_divergence(Bernoulli(torch.tensor(0.1)), Bernoulli(given.code.mean(0))).sum()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("k", [1, 3, 7, 12])
    def test_topk_is_exact(self, k: int) -> None:
        code = torch.randn(50, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
        kept = largest(code, k)
        assert ((kept != 0).sum(1) == k).all()
        for own, row in zip(code.tolist(), kept.tolist(), strict=True):
            assert sorted((value for value in row if value), reverse=True) == sorted(own, reverse=True)[:k]
            assert all(value in (0.0, given) for value, given in zip(row, own, strict=True))
        (slope,) = torch.autograd.grad(kept.sum(), code)
        assert torch.equal(slope, (kept != 0).float())
        assert ((largest(torch.ones(3, 12), k) != 0).sum(1) == k).all()  # also where numbers are equal

    def test_k_falls_from_all_to_its_value(self) -> None:
        found = [annealed(20, 4, progress, 0.4) for progress in (0.0, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0)]
        assert found == [20, 16, 12, 8, 4, 4, 4]
        assert annealed(20, 4, 0.0, 0.0) == 4

    def test_training_keeps_as_many_as_it_is_time_for(self) -> None:
        """At three of eight steps in six numbers, half-way of the first three quarters."""

        def network() -> nn.Module:
            return TinyAutoencoder(latent=6)

        run = tiny_picture_run("sparse(kind='topk', k=2, anneal=0.75)", "ema", n=16, network=network)
        image = Augment(run)(raw()).image
        for step, kept in ((0, 6), (3, 4), (6, 2), (7, 2)):
            run.step = step
            Augment(run)(raw())
            assert ((run.model.train()(image).code != 0).sum(1) == kept).all()
            for evaluated in (run.predictor(), run.model.eval()):
                assert ((evaluated(image).code != 0).sum(1) == 2).all()

    @pytest.mark.parametrize("kind", ["kl", "topk"])
    def test_a_bundle_rebuilds_the_structure(self, kind: str) -> None:
        run = train_tiny(tiny_picture_run(f"sparse(kind='{kind}', {'k=1' if kind == 'topk' else 'rho=0.1'})"))
        (trick,) = run.tricks
        assert trick.card.structure
        made = with_structure({"model": {"structure": [str(trick.spec)]}}, TinyAutoencoder()).eval()
        made.load_state_dict(run.model.state_dict())
        image = Augment(run)(raw()).image
        assert torch.equal(made(image).pixels, run.predictor()(image).pixels)
        assert isinstance(made.code, Largest if kind == "topk" else nn.Sigmoid)

    def test_what_it_cannot_do_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match="TinyAutoencoder draws them") as caught:
            tiny_picture_run("sparse", network=tiny_variational)
        assert "mlp_autoencoder" in caught.value.fix
        with pytest.raises(NetwrightError, match="k=8 numbers of codes that have 3"):
            tiny_picture_run("sparse(kind='topk')")
        with pytest.raises(NetwrightError, match=r"sparse\(kind='l1'\) has no k") as caught:
            TRICKS.build("sparse(k=3)")
        assert "kind='topk'" in caught.value.fix
        with pytest.raises(NetwrightError, match=r"sparse\(kind='topk'\) has no rho"):
            TRICKS.build("sparse(kind='topk', rho=0.2)")


def every_sign(n: int, width: int) -> Tensor:
    """All vectors of signs, for each of n pictures: their mean is no estimate. 2^D N D."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=width)))[:, None].expand(-1, n, -1)


class TestContractive:
    def test_over_all_signs_it_is_the_norm_of_a_linear_encoders_weights(self) -> None:
        encoder, image = nn.Linear(12, 3), torch.rand(5, 3, 2, 2).requires_grad_()
        found = squared_slope(encoder(image.flatten(1)), image, every_sign(5, 3))
        torch.testing.assert_close(found, encoder.weight.square().sum(), rtol=1e-5, atol=0)

    def test_over_all_signs_it_is_the_norm_of_the_jacobian_and_so_is_its_gradient(self) -> None:
        torch.manual_seed(0)
        encoder, image = nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3)), torch.rand(4, 3, 2, 2)

        def code(x: Tensor) -> Tensor:
            return encoder(x.flatten())

        each = [torch.autograd.functional.jacobian(code, x, create_graph=True) for x in image]
        exact = torch.stack([jacobian.square().sum() for jacobian in each]).mean()
        image = image.clone().requires_grad_()
        found = squared_slope(encoder(image.flatten(1)), image, every_sign(4, 3))
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=0)
        weights = (encoder[0].weight, encoder[2].weight)
        for own, expected in zip(torch.autograd.grad(found, weights), torch.autograd.grad(exact, weights), strict=True):
            torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-6)

    def test_the_loss_is_dearer_by_the_weight_times_a_sum_over_the_runs_own_signs(self) -> None:
        run = tiny_picture_run("contractive(weight=0.5, probes=2)")
        run.model.eval()  # norms of a batch would let pictures depend on one another
        batch = Augment(run)(raw())
        assert batch.image.requires_grad
        given = run.model(batch.image)
        (trick,) = run.tricks
        signs = trick.signs(given.mean, batch, run)
        assert signs.shape == (2, 8, 3)
        assert signs.abs().eq(1).all()
        found = run.loss(given, batch, run) - run.task.loss(given, batch.target)
        (jacobian,) = [torch.stack([torch.autograd.grad(given.mean[:, d].sum(), batch.image, retain_graph=True)[0]
                                    for d in range(3)], 1).flatten(2)]  # N D P  # fmt: skip
        expected = (signs[:, :, None] @ jacobian).square().sum((2, 3)).mean()
        torch.testing.assert_close(found, 0.5 * expected, rtol=1e-3, atol=1e-4)

    def test_signs_are_balanced(self) -> None:
        run = tiny_picture_run("contractive(probes=1000)")
        (trick,) = run.tricks
        batch = Augment(run)(raw())
        signs = trick.signs(torch.zeros(8, 3), batch, run)
        assert abs(signs.mean()) < WIDE / math.sqrt(signs.numel())
        assert torch.equal(trick.signs(torch.zeros(2, 3), batch.take(slice(3, 5)), run), signs[:, 3:5])


def dense(**options: Any) -> nn.Module:
    return create_model("mlp_autoencoder(hidden=(6,), latent=3)", in_channels=3, image_size=SIDE, **options)


class TestAccumulateOfPictures:
    @pytest.mark.parametrize("tricks", [(), ("contractive",), ("denoise",)], ids=str)
    def test_is_the_whole_batchs_gradient_though_parts_are_not_of_one_size(self, tricks: tuple[str, ...]) -> None:
        def gradients(*more: str) -> list[Tensor]:
            run = tiny_picture_run(*tricks, *more, network=dense)
            batch = Augment(run)(raw())
            batch.target[:3] = 0  # dark pictures count as others do
            passed = run.gradient(batch, run)
            assert isinstance(passed.output, Decoded)
            assert passed.output.pixels.shape == (8, 3, SIDE, SIDE)
            assert len(passed.output.mean) == 8
            return [p.grad for p in run.model.parameters() if p.grad is not None]

        whole, parts = gradients(), gradients("accumulate(parts=3)")
        for one, other in zip(whole, parts, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


class TestDropoutOfCodes:
    def test_units_of_a_code_are_dropped_in_training(self) -> None:
        run = tiny_picture_run("dropout(rate=0.5)")
        image = Augment(run)(raw(8)).image
        torch.manual_seed(0)
        code = run.model.train()(image).code
        assert 0.2 < (code == 0).float().mean() < 0.8
        assert (run.model.eval()(image).code != 0).all()

    def test_there_are_no_weights_to_multiply(self) -> None:
        with pytest.raises(NetwrightError, match="these are a code's"):
            tiny_picture_run("dropout(form='original')")

    def test_units_are_dropped_from_what_is_kept(self) -> None:
        """Whatever takes the place of the code, it is there before what drops from it."""
        run = tiny_picture_run("dropout(rate=0.9)", "sparse(kind='kl')")
        torch.manual_seed(0)
        code = run.model.train()(Augment(run)(raw(8)).image).code
        assert (code == 0.5).float().mean() > 0.5  # the sigmoid of nothing


class TestLayerFreezingOfAutoencoders:
    def test_the_last_layer_trains_to_the_end(self) -> None:
        run = tiny_picture_run("layer_freezing(first=0.2)", n=32)
        times = [time for _, time in run.tricks.at("gradient")[0].layers]
        assert times == sorted(times)
        assert (times[0], times[-1]) == (0.2, 1.0)


REAL = {
    "dense": dense,
    "maps": lambda: create_model("autoencoder(encoder='resnet20', latent=9, width=2)", in_channels=3, image_size=SIDE),
    "recurrent": lambda: create_model("recurrent_autoencoder(hidden=4, latent=9)", in_channels=3, image_size=SIDE),
    "variational": lambda: create_model("vae(encoder='mlp(widths=(6,))', latent=3)", in_channels=3, image_size=SIDE),
    "conditional": lambda: create_model(
        "conditional_vae(encoder='mlp(widths=(6,))', latent=3)", classes=CLASSES, in_channels=3, image_size=SIDE
    ),
}
RANDOM = ("variational", "conditional")


@pytest.mark.parametrize("network", REAL)
def test_real_families_train_with_them(network: str) -> None:
    common = ["contractive", "denoise", "ema", "accumulate", "grad_clip", "dropout"]
    own = ["free_bits", "kl_warmup"] if network in RANDOM else ["sparse(kind='topk', k=2)"]
    run = tiny_picture_run(*common, *own, network=REAL[network], n=4, epochs=1)
    before = digest(run)
    train_tiny(run)
    assert run.step == 1
    assert digest(run) != before
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())
