"""First weights and normalisation: against torch, torchvision, timm, scikit-learn, SciPy and closed forms."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.integrate import quad
from torch import Tensor, nn

from netwright import NetwrightError, fit, from_arrays, load, recipe
from netwright.engine.augment import plain_batches
from netwright.engine.residual import branch_ends
from netwright.models import create_model, summaries, variant
from netwright.nn.activation import make_activation
from netwright.nn.drop_path import DropPath
from netwright.nn.init import activations_after, draw_, gain_of, moment, watched, weighted_layers
from netwright.nn.norm import batch_norms
from netwright.recipes._assemble import assemble
from netwright.tricks import TRICKS
from netwright.tricks.whitening import covariance, whitening_filters
from tests.support import CLASSES, TinyNetwork, digest, hash_of, tiny_run, train_tiny

PROBABILITY_OF_NORMAL = 1 / math.sqrt(2 * math.pi)


def same(one: Tensor, other: Tensor) -> None:
    """Equal but for a rounding of the deviation that float32 draws are multiplied by."""
    torch.testing.assert_close(one, other, rtol=3e-7, atol=1e-9)


def images(n: int = 16, channels: int = 3, side: int = 8) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))


class Stack(nn.Sequential):
    """Layers with an activation after some, a norm between, and a head."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 6, 3), nn.SiLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 6, 3),
            nn.ReLU(), nn.Flatten(), nn.Linear(24, CLASSES),
        )  # fmt: skip


class TestInit:
    @pytest.mark.parametrize(
        ("options", "torchs"),
        [
            ("kind='he'", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
            ("kind='he', fan='out'", lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")),
            ("kind='he', distribution='uniform'", lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
            ("kind='he', gain=3.0", lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear").mul_(3)),
            ("kind='lecun'", lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
            (
                "kind='lecun', distribution='uniform', fan='out'",
                lambda w: nn.init.kaiming_uniform_(w, mode="fan_out", nonlinearity="linear"),
            ),
            ("kind='xavier'", lambda w: nn.init.xavier_normal_(w)),
            ("kind='xavier', distribution='uniform', gain=2", lambda w: nn.init.xavier_uniform_(w, gain=2)),
            ("kind='orthogonal', gain=1.5", lambda w: nn.init.orthogonal_(w, 1.5)),
            ("kind='lsuv'", lambda w: nn.init.orthogonal_(w)),
            ("kind='normal', scale=0.3", lambda w: nn.init.normal_(w, std=0.3)),
            ("kind='uniform', scale=0.3", lambda w: nn.init.uniform_(w, -0.3, 0.3)),
            ("kind='constant', scale=-0.3", lambda w: nn.init.constant_(w, -0.3)),
            ("kind='zeros'", nn.init.zeros_),
        ],
    )
    def test_is_torchs(self, options: str, torchs: Any) -> None:
        layers = nn.Sequential(nn.Conv2d(16, 48, 5), nn.Linear(30, 20), nn.Conv2d(8, 64, 3, groups=4))
        torch.manual_seed(3)
        TRICKS.build(f"init({options})").model(layers)
        torch.manual_seed(3)
        for layer in layers:
            with torch.no_grad():
                same(layer.weight, torchs(torch.empty_like(layer.weight)))
            assert not layer.bias.any()

    def test_dirac_lets_through_what_comes_in(self) -> None:
        layers = TRICKS.build("init(kind='dirac')").model(
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Linear(8, 8))
        )
        x = images(2, 4)
        assert torch.equal(layers(x), x)

    def test_the_default_on_rectifiers_is_bitwise_what_it_was(self) -> None:
        run = tiny_run("init")
        torch.manual_seed(run_key())
        model = TinyNetwork()
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                with torch.no_grad():
                    layer.weight.normal_(0, (2.0 / layer.weight[0].numel()) ** 0.5)
                    layer.bias.zero_() if layer.bias is not None else None
        assert hash_of(run.model.state_dict()) == hash_of(model.state_dict())

    def test_the_gain_follows_the_activation(self) -> None:
        run = tiny_run("init(kind='xavier')", network=Stack)
        plain = tiny_run("init(kind='xavier', gain=1)", network=Stack)
        wanted = [gain_of(nn.SiLU()), 5 / 3, math.sqrt(2), 1.0]  # none after the head
        for layer, other, gain in zip(weighted_layers(run.model), weighted_layers(plain.model), wanted, strict=True):
            same(layer.weight, other.weight * gain)
        assert [type(a) for a in activations_after(Stack(), images()).values()] == [
            nn.SiLU, nn.Tanh, nn.ReLU, type(None),
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["gelu", "silu", "mish", "hardswish", "elu", "relu6", "leaky_relu", "relu"])
    def test_the_gain_keeps_the_second_moment(self, name: Any) -> None:
        activation = make_activation(name)

        def integrand(z: float) -> float:
            value = float(activation(torch.tensor(z, dtype=torch.float64)))
            return value * value * math.exp(-z * z / 2) * PROBABILITY_OF_NORMAL

        second = sum(quad(integrand, *ends, epsabs=1e-10)[0] for ends in ((-9, -3), (-3, 0), (0, 3), (3, 6), (6, 9)))
        assert gain_of(activation) == pytest.approx(second**-0.5, rel=1e-6)
        assert moment(activation) == pytest.approx(second, rel=1e-6)

    def test_the_gain_is_torchs_where_it_has_one(self) -> None:
        for name, activation in [("tanh", nn.Tanh()), ("selu", nn.SELU()), ("sigmoid", nn.Sigmoid())]:
            assert gain_of(activation) == nn.init.calculate_gain(name)
        assert gain_of(nn.LeakyReLU(0.2)) == nn.init.calculate_gain("leaky_relu", 0.2)

    @pytest.mark.parametrize("network", [Stack, TinyNetwork])
    def test_lsuv_gives_every_layer_unit_variance(self, network: Any) -> None:
        run = tiny_run("init(kind='lsuv')", network=network, batch_size=32)
        found: list[float] = []
        with watched(weighted_layers(run.model), lambda *args: found.append(float(args[2].detach().double().var()))):
            run.model.eval()(next(plain_batches(run)))
        # A few thousand float32 values; the deviation and the division each round.
        assert found == pytest.approx([1.0] * len(found), rel=1e-4)
        assert len(found) == (4 if network is Stack else 3)  # without the auxiliary head

    @pytest.mark.parametrize(
        "spec", ["init", "init(kind='zeros')", "whitening", "zero_init_residual", "init(kind='lsuv')"]
    )
    def test_learnt_weights_are_not_drawn_anew(self, spec: str) -> None:
        chosen = recipe("digits", weights="learnt.safetensors").with_(spec)
        with pytest.raises(NetwrightError, match=r"would undo the weights from learnt\.safetensors") as caught:
            assemble(chosen)
        assert "--without" in caught.value.fix

    def test_averages_begin_with_the_weights_drawn(self) -> None:
        run = assemble(recipe("digits", device="cpu").changed(tricks=("ema", "init(kind='lsuv')", "whitening"))).run
        average = next(trick for trick in run.tricks if trick.name == "ema").average_
        assert all(torch.equal(value, average[name]) for name, value in run.model.state_dict().items())

    def test_keeping_goes_with_learnt_weights(self) -> None:
        with pytest.raises(NetwrightError, match=r"learnt\.safetensors") as caught:
            assemble(recipe("digits", weights="learnt.safetensors").with_("init(kind='keep')"))
        assert "undo" not in str(caught.value)  # it is looked for, and not there


def run_key() -> int:
    from netwright.engine.random import key

    return key(0, "init")


RESIDUAL = {
    "resnet18": "resnet18(layers=(1, 1))",
    "resnet50": "resnet18(block='bottleneck', layers=(1, 1))",
    "preact_resnet164": "preact_resnet164",
    "convnext_tiny": "convnext_tiny(layers=(1, 1), width=8)",
    "efficientnet_b0": "efficientnet_b0",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_small": "mobilenet_v3_small",
    "xception": "xception(middle=1)",
    "resnet20": "resnet20(width=4)",
    "wrn40_1": "wrn40_1",
    "pyramidnet110_a48": "pyramidnet110_a48",
    "attention56": "attention56",
    "inception_resnet_v2": "inception_resnet_v2",
}


class TestZeroInitResidual:
    @pytest.mark.parametrize("spec", RESIDUAL.values(), ids=RESIDUAL)
    @pytest.mark.parametrize("norm", ["batch", "group", "none"])
    def test_every_branch_of_every_family_is_silent(self, spec: str, norm: str) -> None:
        name = f"{spec[:-1]}, norm={norm!r})" if spec.endswith(")") else f"{spec}(norm={norm!r})"
        model = create_model(name, classes=CLASSES).eval()
        x = torch.rand(1, 3, *[2 * max(16, model.smallest)] * 2)
        seen: list[bool] = []
        drops = [layer for layer in model.modules() if isinstance(layer, DropPath)]
        ends = branch_ends(model, x)
        with torch.no_grad(), watched(drops, lambda *args: seen.append(bool(args[1][0].any()))):
            model(x)
            loud = len(seen)
            for parameter in (p for end in ends for p in end):
                parameter.zero_()
            model(x)
        assert seen == [True] * loud + [False] * loud
        assert len(ends) == loud > 0

    def test_is_torchvisions(self) -> None:
        import torchvision

        for make in (torchvision.models.resnet18, torchvision.models.resnet50):
            model = make(zero_init_residual=True, num_classes=CLASSES)
            zeros = [name for name, p in model.named_parameters() if p.ndim == 1 and "weight" in name and not p.any()]
            found = {id(p) for end in branch_ends(make(num_classes=CLASSES), images(1, 3, 64)) for p in end}
            assert len(found) == len(zeros)
            names = {id(p): name for name, p in model.named_parameters()}
            again = [names[id(p)] for end in branch_ends(model, images(1, 3, 64)) for p in end]
            assert again == zeros

    def test_is_timms(self) -> None:
        model = create_model("timm/seresnet18", classes=CLASSES)  # timm starts at zero itself
        zeros = [name for name, p in model.named_parameters() if p.ndim == 1 and "weight" in name and not p.any()]
        names = {id(p): name for name, p in model.named_parameters()}
        assert [names[id(p)] for end in branch_ends(model, images(1, 3, 64)) for p in end] == zeros != []

    def test_networks_without_branches_are_refused(self) -> None:
        for name in ("vgg11", "densenetbc100_k12", "fractalnet20_narrow", "lenet5"):
            assert not branch_ends(create_model(name, in_channels=3), images(1, 3, 32))
        with pytest.raises(NetwrightError, match="Stack has no residual branches") as caught:
            tiny_run("zero_init_residual", network=Stack)
        assert "--without zero_init_residual" in caught.value.fix

    def test_in_a_run_it_learns_again(self) -> None:
        run = tiny_run("zero_init_residual", "init", network=lambda: create_model("resnet20(width=4)", classes=CLASSES))
        last = run.model.get_submodule("layer1.0.bn2").get_parameter("weight")
        assert not last.any()
        train_tiny(run)
        assert last.any()


class TestWhitening:
    def test_filters_are_scikit_learns(self) -> None:
        from sklearn.decomposition import PCA

        draw = np.random.default_rng(0)
        patches = draw.normal(size=(500, 12)) @ draw.normal(size=(12, 12)) + 3
        pca = PCA(whiten=True).fit(patches)
        wanted = pca.components_ / np.sqrt(pca.explained_variance_ * 499 / 500)[:, None]  # by n, not n - 1
        filters = whitening_filters(covariance(torch.from_numpy(patches).split(100)), 0.0).numpy()
        signs = np.sign((wanted * filters).sum(1, keepdims=True))
        np.testing.assert_allclose(filters, signs * wanted, rtol=1e-6)

    def test_a_run_sees_white_patches(self) -> None:
        run = tiny_run(TRICKS.load("whitening")(eps=1e-9), network=lambda: tiny_first(60))
        layer = run.model[0]
        patches = torch.cat([F.unfold(x, 3).transpose(1, 2).flatten(0, 1) for x in plain_batches(run)]).double()
        weight = layer.weight.detach().flatten(1).double()
        seen = patches @ weight[:27].T
        # Weights are float32, and the least variances of the patches are not much below the largest.
        torch.testing.assert_close(torch.cov(seen.T, correction=0), torch.eye(27).double(), rtol=0, atol=1e-4)
        assert torch.equal(weight[27:54], -weight[:27])
        torch.manual_seed(run_key())
        assert torch.equal(layer.weight[54:], tiny_first(60)[0].weight[54:])

    def test_few_filters_are_the_leading_axes(self) -> None:
        few, many = (tiny_run("whitening", network=lambda n=n: tiny_first(n)).model[0].weight for n in (5, 60))
        assert torch.equal(few, many[:5])

    @pytest.mark.parametrize("frozen", [True, False])
    def test_frozen_filters_stay(self, frozen: bool) -> None:
        run = tiny_run(TRICKS.load("whitening")(frozen=frozen))
        weight = run.model.body[0].weight
        before = weight.detach().clone()
        assert (weight in set(run.optimizer.parameters)) != frozen
        train_tiny(run)
        assert torch.equal(weight, before) == frozen

    def test_what_cannot_be_whitened_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match="no convolution"):
            tiny_run("whitening", network=lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)))
        with pytest.raises(NetwrightError, match="cut 3×3×3 from 3×2×2"):
            tiny_run("whitening", network=lambda: tiny_first(8), size=2)

    def test_every_familys_first_convolution_sees_the_pictures(self) -> None:
        from netwright.tricks.whitening import first_convolution

        for name in {summary.family: name for name, summary in summaries().items()}.values():
            with torch.device("meta"):
                model = create_model(name, in_channels=variant(name).in_channels)
            if any(isinstance(layer, nn.Conv2d) for layer in model.modules()):
                assert first_convolution(model).in_channels == variant(name).in_channels


def tiny_first(filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, filters, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(filters, CLASSES)
    )


class Normed(nn.Module):
    """One norm of each kind over maps, and one over vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.Sequential(nn.BatchNorm2d(6, eps=1e-3), nn.GroupNorm(3, 6), nn.InstanceNorm2d(6, affine=True))
        self.vector = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.vector(self.norms(x).mean((2, 3)))


class TestNorm:
    @pytest.mark.parametrize(
        ("kind", "wanted"),
        [
            ("batch", "BatchNorm2d"),
            ("layer", "GroupNorm"),
            ("group", "GroupNorm"),
            ("instance", "InstanceNorm2d"),
            ("ghost_batch", "GhostBatchNorm2d"),
            ("batch_channel", "BatchChannelNorm2d"),
            ("sync_batch", "BatchNorm2d"),
            ("none", "Identity"),
        ],
    )
    def test_every_norm_is_exchanged_and_keeps_its_weights(self, kind: str, wanted: str) -> None:
        model = Normed()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
        old = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        model = TRICKS.load("norm")(kind=kind).model(model)
        assert torch.equal(state, torch.get_rng_state())  # what is drawn later stays the same
        assert [type(norm).__name__ for norm in model.norms] == [wanted] * 3
        kept = {name.replace(".batch.", "."): value for name, value in model.state_dict().items()}
        if kind != "none":
            for name in ("norms.0.weight", "norms.0.bias", "norms.1.weight", "norms.2.bias"):
                assert torch.equal(kept[name], old[name])
        assert type(model.vector).__name__ == {
            "layer": "GroupNorm", "group": "GroupNorm", "none": "Identity"
        }.get(kind, "BatchNorm1d")  # fmt: skip
        first = model.norms[0].batch if kind == "batch_channel" else model.norms[0]
        assert kind == "none" or first.eps == 1e-3
        assert model(images(8, 6)).shape == (8, 6)

    def test_running_statistics_survive_where_there_are_any(self) -> None:
        model = Normed()
        model(images(8, 6))
        mean = model.norms[0].running_mean.clone()
        for kind in ("ghost_batch", "batch_channel"):
            swapped = TRICKS.load("norm")(kind=kind).model(Normed().train(False))
            assert not swapped.norms.training
        swapped = TRICKS.load("norm")(kind="ghost_batch").model(model)
        assert torch.equal(swapped.norms[0].running_mean, mean)

    def test_what_cannot_be_exchanged_is_refused(self) -> None:
        for name, reason in (
            ("lenet5", "has no norms that can be exchanged"),
            ("timm/efficientnet_b0", "BatchNormAct2d"),
        ):
            with pytest.raises(NetwrightError, match=reason) as caught:
                TRICKS.build("norm").model(create_model(name, classes=CLASSES))
            assert "--without norm" in caught.value.fix

    @pytest.mark.parametrize("tricks", [("norm(kind='group')",), ("norm(kind='ghost_batch', size=4)",),
                                        ("norm(kind='batch_channel')", "weight_standardisation")])  # fmt: skip
    def test_the_bundle_has_the_new_structure(self, tricks: tuple[str, ...], tmp_path: Path) -> None:
        result = fit(small().with_(*tricks), data=small_data(), output=tmp_path)
        again = load(result.path)
        x = images(4, 3, 12)
        with torch.no_grad():
            assert torch.equal(again.model(x), result.model.eval()(x))
        assert [type(m) for m in again.model.modules()] == [type(m) for m in result.model.modules()]

    def test_a_group_of_processes_gets_synchronised_norms(self, tmp_path: Path) -> None:
        # torch's SyncBatchNorm trains on GPUs only, so that on a CPU no more than the exchange can be seen.
        script = (
            "import sys, torch, torch.distributed as d; from netwright.tricks import TRICKS; from torch import nn\n"
            "d.init_process_group('gloo', init_method='file://' + sys.argv[2], rank=int(sys.argv[1]), world_size=2)\n"
            "m = TRICKS.build(\"norm(kind='sync_batch')\").model(nn.Sequential(nn.BatchNorm2d(3)))\n"
            "assert type(m[0]) is nn.SyncBatchNorm, m\n"
            "x = torch.ones(2, 3, 4, 4); assert torch.equal(m.eval()(x), nn.BatchNorm2d(3).eval()(x))\n"
            "d.destroy_process_group()"
        )
        command = [sys.executable, "-c", script]
        meeting = str(tmp_path / "meeting")
        both = [subprocess.Popen([*command, str(rank), meeting], stderr=subprocess.PIPE, text=True) for rank in (0, 1)]
        for process in both:
            assert process.communicate(timeout=120)[1] == "" or process.returncode == 0
            assert process.returncode == 0


def small(**values: Any) -> Any:
    plain = {"model": "resnet20(width=4)", "epochs": 2, "batch_size": 16, "device": "cpu", "optimizer": "sgd(lr=0.1)"}
    return recipe("cifar", **plain).changed(tricks=(), **values)


def small_data() -> Any:
    draw = np.random.default_rng(0)

    def part(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n) % 2
        pictures = draw.integers(0, 120, (n, 12, 12, 3)).astype(np.uint8)
        pictures[labels == 1, 3:9, 3:9, 1] += 100
        return pictures, labels

    return from_arrays(train=part(64), val=part(24), test=part(24))


class TestWeightStandardisation:
    @pytest.mark.parametrize(
        "options",
        [{"stride": 2, "padding": 1}, {"groups": 2, "bias": False}, {"padding": 1, "padding_mode": "reflect"}],
    )
    def test_is_timms(self, options: dict[str, Any]) -> None:
        from timm.layers import StdConv2d

        ours = TRICKS.load("weight_standardisation")(eps=1e-4).model(nn.Sequential(nn.Conv2d(4, 6, 3, **options)))
        mode = options.pop("padding_mode", "zeros")
        theirs = StdConv2d(4, 6, 3, eps=1e-4, **{"bias": True, "padding": 0, **options})
        theirs.load_state_dict(ours[0].state_dict())
        x = images(2, 4)
        wanted = theirs(x)
        if mode == "reflect":
            theirs.padding = (0, 0)
            wanted = theirs(F.pad(x, (1, 1, 1, 1), mode="reflect"))
        torch.testing.assert_close(ours(x), wanted, rtol=0, atol=1e-5)

    def test_parameters_are_the_same_objects_and_single_weights_stay(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1, groups=4))
        before = dict(model.named_parameters())
        after = dict(TRICKS.build("weight_standardisation").model(model).named_parameters())
        assert all(after[name] is parameter for name, parameter in before.items())
        assert type(model[1]) is nn.Conv2d


class NoDropout(TinyNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.head[0].p = 0.0


class TestBnRefresh:
    def test_is_torchs(self) -> None:
        from torch.optim.swa_utils import update_bn

        run = train_tiny(tiny_run("bn_refresh", network=NoDropout))
        plain = train_tiny(tiny_run(network=NoDropout))
        assert digest(run) == digest(plain)  # training is not touched
        refreshed = run.predictor()
        update_bn(plain_batches(plain), plain.model)
        for (name, one), other in zip(refreshed.state_dict().items(), plain.model.state_dict().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7, msg=name)
        assert [norm.momentum for norm in batch_norms(refreshed)] == [0.1]
        assert run.model is not refreshed
        assert not refreshed.training

    def test_statistics_are_plain_means(self) -> None:
        run = train_tiny(tiny_run("bn_refresh(batches=3)"))
        model = run.predictor()
        first = model.body[0]
        with torch.no_grad():
            maps = [first(x) for _, x in zip(range(3), plain_batches(run), strict=False)]
        mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
        variance = torch.stack([m.transpose(0, 1).flatten(1).var(1) for m in maps]).mean(0)
        torch.testing.assert_close(model.body[1].running_mean, mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model.body[1].running_var, variance, rtol=1e-5, atol=1e-6)

    def test_when(self) -> None:
        for when, refreshed in (("end", False), ("epoch", True)):
            run = tiny_run(f"bn_refresh(when={when!r})")
            assert (run.predictor() is not run.model) == refreshed

    def test_averaged_weights_get_their_own_statistics(self) -> None:
        run = train_tiny(tiny_run("ema", "bn_refresh"))
        averaged = run.tricks.at("predictor")[0].predictor(run.model)
        refreshed = run.predictor()
        assert torch.equal(refreshed.body[0].weight, averaged.body[0].weight)
        assert not torch.equal(refreshed.body[1].running_mean, averaged.body[1].running_mean)


class TestNormalising:
    @pytest.mark.parametrize("kind", ["z_score", "global", "unit"])
    def test_what_training_sees_the_bundle_sees(self, kind: str, tmp_path: Path) -> None:
        data = small_data()
        result = fit(small(normalise=kind, epochs=1), data=data, output=tmp_path)
        pictures = np.asarray(data.splits["train"].images)
        values = pictures.reshape(-1, 3).astype(np.float64) / 255
        mean, std = {
            "z_score": (values.mean(0), values.std(0)),
            "global": (values.mean().repeat(3), values.std().repeat(3)),
            "unit": (np.zeros(3), np.ones(3)),
        }[kind]
        found = load(result.path).normalise()
        assert found.mean == pytest.approx(mean, abs=2e-4)  # the record keeps four digits
        assert found.std == pytest.approx(std, abs=2e-4)
        again = load(result.path)
        x = torch.from_numpy(pictures[:4]).permute(0, 3, 1, 2).float() / 255 - torch.tensor(found.mean).view(3, 1, 1)
        with torch.no_grad():
            logits = result.model.eval()(x / torch.tensor(found.std).view(3, 1, 1)) / again.temperature
        probabilities = again.probabilities(torch.from_numpy(pictures[:4].copy()))
        np.testing.assert_allclose(probabilities, logits.softmax(1).numpy(), rtol=1e-4, atol=1e-5)

    def test_learnt_weights_bring_their_own(self) -> None:
        with pytest.raises(NetwrightError, match="not normalise=unit"):
            assemble(recipe("digits", weights="learnt.safetensors", normalise="unit"))


def test_draws_are_the_schemes_own_without_a_trick() -> None:
    layer = nn.Linear(50, 50)
    torch.manual_seed(0)
    draw_(layer, "he", squared_gain=1.0)
    torch.manual_seed(0)
    lecun = nn.Linear(50, 50)
    torch.manual_seed(0)
    draw_(lecun, "lecun")
    assert torch.equal(layer.weight, lecun.weight)
