"""What is particular of each kind of autoencoder: ties, draws, classes, rows, and a classifier's weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._autoencoder import Autoencoding
from netwright.models._weights import load_weights
from netwright.models.vae import BOUND, bounded
from netwright.nn.output import wants_labels
from tests.models.test_autoencoders import made


def dense(name: str = "vae", **options: Any) -> Autoencoding:
    return made(f"{name}(encoder='mlp(widths=(20,))', latent=3)", in_channels=1, image_size=6, **options)


class TestDense:
    """`mlp_autoencoder`."""

    def test_tied_weights_are_the_encoders_transposed(self) -> None:
        model = made("mlp_autoencoder(hidden=(7, 5), latent=3, tied=True)", image_size=6, in_channels=1)
        code = torch.randn(4, 3)
        first, second = (layer for layer in model.get_submodule("encoder").modules() if isinstance(layer, nn.Linear))
        biases = [torch.randn(width) for width in (5, 7, 36)]
        for own, bias in zip(model.get_submodule("decoder").parameters(), biases, strict=True):
            own.data.copy_(bias)
        to_mean = model.get_submodule("to_mean").weight
        assert isinstance(to_mean, Tensor)
        y = F.relu(code @ to_mean + biases[0])
        y = F.relu(y @ second.weight + biases[1])
        wanted = (y @ first.weight + biases[2]).reshape(4, 1, 6, 6)
        torch.testing.assert_close(model.decode(code), wanted)

    def test_ties_hold_in_a_copy_and_after_a_layer_is_exchanged(self) -> None:
        import copy

        model = copy.deepcopy(made("mlp_autoencoder(hidden=(), latent=3, tied=True)", image_size=6, in_channels=1))
        layer = nn.Linear(36, 3)
        model.set_submodule("to_mean", layer)
        code = torch.randn(2, 3)
        torch.testing.assert_close(model.decode(code).flatten(1), code @ layer.weight)

    def test_ties_save_the_decoders_weights(self) -> None:
        own, tied = (
            made(f"mlp_autoencoder(hidden=(7, 5), latent=3, tied={tied})", image_size=6, in_channels=1)
            for tied in (False, True)
        )
        count = [sum(parameter.numel() for parameter in model.parameters()) for model in (own, tied)]
        assert count[0] - count[1] == 36 * 7 + 7 * 5 + 5 * 3

    @pytest.mark.parametrize("spec", ["hidden=()", "hidden=(), tied=True", "hidden=(9, 7), activation='none'"])
    def test_without_activations_it_is_affine(self, spec: str) -> None:
        model = made(f"mlp_autoencoder({spec}, latent=3)", image_size=6, in_channels=1)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
        (x, y), share = torch.randn(2, 4, 1, 6, 6), 0.3
        given = model(share * x + (1 - share) * y).natural
        torch.testing.assert_close(given, share * model(x).natural + (1 - share) * model(y).natural)

    def test_pcas_axes_are_a_minimum_of_the_linear_one(self) -> None:
        """They leave the sum of all but the largest eigenvalues, and no slope (Baldi & Hornik 1989)."""
        torch.manual_seed(1)
        x = torch.randn(64, 16) * torch.linspace(3, 0.1, 16)
        x = (x - x.mean(0)).reshape(64, 1, 4, 4)
        model = made("mlp_autoencoder(hidden=(), latent=2, tied=True)", image_size=4, in_channels=1)
        _, values, axes = torch.linalg.svd(x.flatten(1), full_matrices=False)
        model.get_submodule("to_mean").get_parameter("weight").data.copy_(axes[:2])
        loss = (model(x).natural - x).square().sum()
        assert loss.item() == pytest.approx(values[2:].square().sum().item(), rel=1e-5)
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().max() < 1e-3 * loss.item() for p in model.parameters())


class TestVAE:
    """`vae`."""

    def test_it_starts_near_the_priors_variance(self) -> None:
        _, log_variance = dense().encode(torch.rand(50, 1, 6, 6))
        assert log_variance is not None and log_variance.abs().max() < 0.2

    def test_draws_have_the_mean_and_variance_that_it_says(self) -> None:
        model = dense()
        nn.init.constant_(model.get_submodule("to_log_variance").get_parameter("bias"), 1.0)
        x = torch.rand(1, 1, 6, 6)
        mean, log_variance = model.encode(x)
        assert log_variance is not None
        n = 20_000
        codes = model.train()(x.expand(n, -1, -1, -1)).code
        deviation = (0.5 * log_variance).exp()
        assert ((codes.mean(0) - mean).abs() < 5 * deviation / n**0.5).all()
        assert ((codes.var(0) / deviation**2 - 1).abs() < 5 * (2 / n) ** 0.5).all()

    def test_in_evaluation_the_mean_is_decoded(self) -> None:
        model, x = dense().eval(), torch.rand(2, 1, 6, 6)
        output = model(x)
        assert torch.equal(output.code, output.mean)
        assert not torch.equal(model.train()(x).code, output.mean)

    def test_the_logarithm_of_the_variance_is_bounded_and_near_zero_itself(self) -> None:
        raw = torch.tensor([-1e30, -1e3, -0.1, 0.0, 0.1, 1e3, 1e30])
        given = bounded(raw)
        assert (given.abs() <= BOUND).all() and given.exp().isfinite().all()
        torch.testing.assert_close(given[2:5], raw[2:5], rtol=1e-4, atol=0)

    @pytest.mark.parametrize("bias", [-300.0, 300.0])
    def test_wild_variances_overflow_nowhere_and_leave_a_gradient(self, bias: float) -> None:
        model = dense()
        nn.init.constant_(model.get_submodule("to_log_variance").get_parameter("bias"), bias / 5)
        with torch.autocast("cpu", torch.bfloat16):
            output = model.train()(torch.rand(2, 1, 6, 6))
        assert output.divergence is not None and output.divergence.isfinite().all()
        output.divergence.sum().backward()
        slope = model.get_submodule("to_log_variance").get_parameter("bias").grad
        assert slope is not None and (slope * bias > 0).all(), "a step leads back"

    def test_beta_and_observation_are_the_outputs(self) -> None:
        model = made("vae(encoder='mlp', beta=4, observation='gaussian(sigma=0.3)')")
        output = model(torch.rand(1, 3, 32, 32))
        assert output.beta == model.beta == 4 and output.observation.sigma == 0.3

    def test_the_linear_one_is_linear(self) -> None:
        model = made("vae(encoder='mlp(widths=())', latent=3)", image_size=6).eval()
        (x, y), share = torch.randn(2, 4, 3, 6, 6), 0.3
        given = model(share * x + (1 - share) * y).natural
        torch.testing.assert_close(given, share * model(x).natural + (1 - share) * model(y).natural)

    def test_a_negative_beta_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match=r"beta cannot be -1"):
            create_model("vae(beta=-1)")


class TestConditional:
    """`conditional_vae`."""

    def test_the_class_matters_to_encoder_and_decoder(self) -> None:
        model, x = dense("conditional_vae").eval(), torch.rand(1, 1, 6, 6).expand(3, -1, -1, -1)
        label = torch.arange(3)
        mean, log_variance = model.encode(x, label)
        decoded = model.decode(torch.zeros(3, 3), label)
        for given in (mean, log_variance, decoded):
            assert given is not None and len(given.unique(dim=0)) == 3

    def test_it_is_the_features_with_a_one_for_the_class(self) -> None:
        model, x, label = dense("conditional_vae").eval(), torch.rand(3, 1, 6, 6), torch.tensor([2, 0, 2])
        hidden = model.maps(x)[-1].flatten(1)
        layer = model.get_submodule("to_mean")
        wanted = layer(torch.cat([hidden, F.one_hot(label, 3)], 1))
        torch.testing.assert_close(model.encode(x, label)[0], wanted)

    def test_it_wants_labels(self) -> None:
        model = dense("conditional_vae")
        assert wants_labels(model) and not wants_labels(dense())
        for act in (lambda: model(torch.rand(1, 1, 6, 6)), lambda: model.decode(torch.zeros(1, 3))):
            with pytest.raises(NetwrightError, match="wants each picture's class"):
                act()

    @pytest.mark.parametrize("wrong", [[3], [-1], [0, 7]])
    def test_a_class_that_it_does_not_have_is_refused(self, wrong: list[int]) -> None:
        model = dense("conditional_vae")
        with pytest.raises(NetwrightError, match="has 3 classes, from 0 to 2") as caught:
            model.decode(torch.zeros(len(wrong), 3), torch.tensor(wrong))
        assert str(next(each for each in wrong if each)) in caught.value.problem


class TestRecurrent:
    """`recurrent_autoencoder`."""

    def test_it_reads_and_writes_as_its_equations_say(self) -> None:
        model = made("recurrent_autoencoder(hidden=4, latent=2)", in_channels=3, image_size=(5, 6)).eval()
        x = torch.rand(1, 3, 5, 6)
        reader, writer = nn.GRUCell(18, 4), nn.GRUCell(2, 4)
        for cell, name in ((reader, "reader"), (writer, "decoder.writer")):
            own = model.get_submodule(name).state_dict()
            cell.load_state_dict({key.removesuffix("_l0"): value for key, value in own.items()})
        state = torch.zeros(1, 4)
        for row in range(5):
            state = reader(x[:, :, row].flatten(1), state)
        code = model.get_submodule("to_mean")(state)
        torch.testing.assert_close(model.encode(x)[0], code)
        state, rows = torch.tanh(model.get_submodule("decoder.start")(code)), []
        for _ in range(5):
            state = writer(code, state)
            rows.append(model.get_submodule("decoder.head")(state).unflatten(1, (3, 6)))
        torch.testing.assert_close(model.decode(code), torch.stack(rows, 2))

    def test_columns_are_the_rows_of_the_transposed_picture(self) -> None:
        rows = made("recurrent_autoencoder(hidden=4, latent=2)", in_channels=3, image_size=(5, 6))
        columns = made("recurrent_autoencoder(hidden=4, latent=2, over='columns')", in_channels=3, image_size=(6, 5))
        columns.load_state_dict(rows.state_dict())
        x = torch.rand(2, 3, 5, 6)
        torch.testing.assert_close(columns(x.mT).natural, rows(x).natural.mT)


class TestEncoder:
    """A classifier's body: its names, its maps, its weights."""

    @pytest.mark.parametrize("encoder", ["vgg(blocks=2, layers=(1, 1), width=4)", "mlp(widths=(9, 8), image_size=8)"])
    @pytest.mark.parametrize("kind", ["autoencoder", "vae"])
    def test_a_classifiers_weights_go_into_it_and_back(self, kind: str, encoder: str, tmp_path: Path) -> None:
        torch.manual_seed(1)
        classifier = create_model(encoder, classes=4, in_channels=3)
        torch.save(classifier.state_dict(), tmp_path / "w.pt")
        inner = encoder.replace(", image_size=8", "")
        model = made(f"{kind}(encoder={inner!r}, width=4, latent=3)", image_size=8)
        loaded = load_weights(model, tmp_path / "w.pt")
        own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("encoder.")}
        assert set(loaded.loaded) == set(own)
        state = classifier.state_dict()
        assert all(torch.equal(tensor, state[name.removeprefix("encoder.")]) for name, tensor in own.items())
        x = torch.rand(2, 3, 8, 8)
        torch.testing.assert_close(model.eval().maps(x)[-1], classifier.eval().stages(x)[-1])

    def test_an_autoencoders_own_weights_load_as_a_whole(self, tmp_path: Path) -> None:
        one, other = dense(), dense()
        for parameter in one.parameters():
            nn.init.normal_(parameter)
        torch.save(one.state_dict(), tmp_path / "w.pt")
        loaded = load_weights(other, tmp_path / "w.pt", classes=["a", "b", "c"])
        assert not loaded.missing and not loaded.left_over
        x = torch.rand(2, 1, 6, 6)
        assert torch.equal(one.eval()(x).natural, other.eval()(x).natural)

    def test_pictures_are_padded_with_their_border_and_cropped_back(self) -> None:
        model = made("autoencoder(encoder='vgg(blocks=2, layers=(1, 1), width=4)', width=4)", image_size=(5, 6)).eval()
        x = torch.rand(1, 3, 5, 6)
        around = F.pad(x, (0, 2, 0, 3), mode="replicate")
        torch.testing.assert_close(model.maps(x), model.get_submodule("encoder")(around))

    def test_what_a_trick_puts_behind_the_mean_code_acts(self) -> None:
        model = made("autoencoder(encoder='mlp(widths=())', latent=3)", image_size=6)
        x = torch.rand(2, 3, 6, 6)
        plain = model(x).code
        model.set_submodule("code", nn.Sigmoid())
        output = model(x)
        torch.testing.assert_close(output.code, plain.sigmoid())
        torch.testing.assert_close(output.mean, output.code)
