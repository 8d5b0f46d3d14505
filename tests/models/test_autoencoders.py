"""What every autoencoder promises, run over every name: a new one is tested by being listed."""

import copy
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import options_of
from netwright.models import check_model, create_model, list_models, summaries, variant
from netwright.models._anatomy import anatomy
from netwright.models._autoencoder import Autoencoding
from netwright.models._parity import relative_error, spread
from netwright.nn.norm import NormKind
from netwright.nn.output import Decoded, wants_labels
from netwright.tasks.reconstruction import Reconstruction

NAMES = list_models(task="reconstruction")
EVERY_VARIANT = pytest.mark.parametrize("name", NAMES)
# One small network of each kind; several where options change what is computed.
BODY = "encoder='vgg(blocks=2, layers=(1, 1), width=4)', width=4"
SMALL = (
    f"autoencoder({BODY}, latent=5)",
    "autoencoder(encoder='mlp(widths=(20, 10))', latent=5)",
    f"conditional_vae({BODY}, latent=5)",
    "conditional_vae(encoder='mlp(widths=(20,))', latent=5)",
    "mlp_autoencoder(hidden=(20, 10), latent=5)",
    "mlp_autoencoder(hidden=(20, 10), latent=5, tied=True)",
    "mlp_autoencoder(hidden=(), latent=5, tied=True, activation='none')",
    "recurrent_autoencoder(hidden=12, latent=5)",
    "recurrent_autoencoder(hidden=12, latent=5, over='columns', observation='bernoulli')",
    "vae(encoder='mlp(widths=(20,))', latent=5, observation='bernoulli')",
)
EXPORTED = (SMALL[0], SMALL[4], SMALL[7], SMALL[3])  # layers of each sort: conv, dense, recurrent, with classes
EACH = pytest.mark.parametrize("spec", SMALL)
SIZES = ((1, 4, 4), (1, 28, 28), (3, 9, 14), (2, 33, 6))  # C H W
CLASSES = 3
STEPS = 60


def meta_model(name: str, **options: Any) -> Autoencoding:
    with torch.device("meta"):
        return made(name, **options)


def made(spec: str, **options: Any) -> Autoencoding:
    torch.manual_seed(0)
    given: dict[str, Any] = {"classes": CLASSES, **options}
    model = create_model(spec, **given)
    assert isinstance(model, Autoencoding)
    return model


def model_and_batch(spec: str, **options: Any) -> tuple[Autoencoding, Tensor, Tensor]:
    """A small model of oblong pictures, three of them, and their classes."""
    model = made(spec, **{"image_size": (10, 13), "in_channels": 2, **options})
    return model, torch.rand(3, 2, *model.image_size), torch.tensor([0, 2, 1])


def loss_of(output: Decoded, picture: Tensor) -> Tensor:
    return Reconstruction().loss(output, picture)


@EVERY_VARIANT
def test_it_has_the_number_of_parameters_that_its_row_says(name: str) -> None:
    row = variant(name)
    model = meta_model(name, classes=row.classes, in_channels=row.in_channels, image_size=row.image_size)
    assert sum(parameter.numel() for parameter in model.parameters()) == row.params == summaries()[name].params
    assert row.task == "reconstruction" and row.reference is None
    own = options_of(type(model))
    assert own["in_channels"].default == row.in_channels and own["image_size"].default == row.image_size


@pytest.mark.parametrize("shape", SIZES)
@EACH
def test_pictures_come_back_at_their_size_and_codes_have_theirs(spec: str, shape: tuple[int, int, int]) -> None:
    model = meta_model(spec, image_size=shape[1:], in_channels=shape[0]).eval()
    with torch.device("meta"):
        output = model(torch.empty(2, *shape), torch.zeros(2, dtype=torch.long))
    assert output.natural.shape == (2, *shape)
    assert output.code.shape == output.mean.shape == (2, 5)
    assert (output.log_variance is not None) == model.random
    assert model.latent == 5 and (model.in_channels, *model.image_size) == shape
    with torch.device("meta"):
        assert model.decode(torch.empty(4, 5), torch.zeros(4, dtype=torch.long)).shape == (4, *shape)


@pytest.mark.parametrize(
    ("encoder", "upsample"),
    [
        ("resnet18", "nearest"), ("vgg11", "bilinear"), ("squeezenet1_1", "transposed"), ("lenet5", "pixel_shuffle"),
    ],
)  # fmt: skip
def test_any_encoder_goes_with_any_way_up(encoder: str, upsample: str) -> None:
    for size in ((4, 4), (28, 45)):
        model = meta_model(f"autoencoder(encoder={encoder!r}, upsample={upsample!r})", image_size=size).eval()
        with torch.device("meta"):
            assert model(torch.empty(1, 3, *size)).natural.shape == (1, 3, *size)


@EACH
def test_pictures_are_finite_and_do_not_depend_on_the_batch(spec: str) -> None:
    model, x, label = model_and_batch(spec)
    model.eval()
    together, alone = model(x, label), model(x[1:], label[1:])
    assert together.pixels.isfinite().all()
    torch.testing.assert_close(alone.natural, together.natural[1:], rtol=1e-4, atol=1e-5)
    assert torch.equal(together.code, together.mean)
    assert torch.equal(model.embedding(x, label), together.mean)
    torch.testing.assert_close(model.decode(together.code, label), together.natural)


@EACH
def test_a_gradient_reaches_every_parameter(spec: str) -> None:
    model, x, label = model_and_batch(spec)
    loss_of(model(x, label), x).backward()
    for part, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), part
        assert parameter.grad.count_nonzero() > 0 or (part.endswith("bias") and parameter.ndim == 1), part


@pytest.mark.parametrize("spec", [spec for spec in SMALL if "tied" not in spec])  # whose last layer is the first
def test_it_is_quiet_to_begin_with(spec: str) -> None:
    """The last layer has a gain of 0.1: its weights are normal, and n of them tell their deviation to 1/√(2n)."""
    *_, weight = (p for name, p in made(spec, image_size=16).decoder.state_dict().items() if name.endswith("weight"))
    gain = float(weight.square().mean().sqrt()) * weight[0].numel() ** 0.5
    assert abs(gain / 0.1 - 1) < 5 / (2 * weight.numel()) ** 0.5


@EACH
def test_its_first_pictures_are_near_a_colour(spec: str) -> None:
    """Its own bias is 0, so that all that is said changes by what stands for the colour, channel by channel."""
    model, x, label = model_and_batch(spec)
    model.eval()
    before = model(x, label).natural
    model.begin_at([0.2, 0.7])
    colour = torch.tensor([0.2, 0.7]).view(2, 1, 1).expand_as(before)
    torch.testing.assert_close(model.observation.pixels(model(x, label).natural - before), colour)


@EACH
def test_it_learns(spec: str) -> None:
    """The codes, that is: with those of other pictures it has to be much worse, as a bias alone would not be."""
    model, x, _ = model_and_batch(spec)
    x = 0.2 * x + torch.tensor([0.0, 0.4, 0.8]).view(-1, 1, 1, 1)
    label = torch.zeros(3, dtype=torch.long)  # one class, which tells nothing of the picture
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model(x, label), x).backward()
        optimizer.step()
    with torch.no_grad():
        codes = model.eval().encode(x, label)[0]
        own, other = (
            float((model.observation.pixels(model.decode(each, label)) - x).square().mean())
            for each in (codes, codes.roll(1, 0))
        )
    assert own < 0.8 * other


@EACH
def test_a_seed_decides_its_weights_and_its_state_survives_a_round_trip_and_a_copy(spec: str) -> None:
    (one, x, label), (same, _, _) = model_and_batch(spec), model_and_batch(spec)
    assert torch.equal(one.eval()(x, label).natural, same.eval()(x, label).natural)
    other = copy.deepcopy(one)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.01)
    assert not torch.equal(one(x, label).natural, other(x, label).natural)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x, label).natural, other(x, label).natural)


@EACH
def test_bf16_gives_nearly_the_same(spec: str) -> None:
    model, x, label = model_and_batch(spec)
    spread(model.eval())
    with torch.no_grad():
        wanted = model(x, label)
        with torch.autocast("cpu", torch.bfloat16):
            given = model(x, label)
    assert relative_error(given.natural.float(), wanted.natural) <= 0.1  # 2^-8 a rounding, over tens of layers
    assert relative_error(given.mean.float(), wanted.mean) <= 0.1
    if given.log_variance is not None:
        assert given.log_variance.dtype == given.mean.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # of torch's own GRU
@pytest.mark.parametrize("spec", EXPORTED)
def test_it_can_be_exported(spec: str) -> None:
    model, x, label = model_and_batch(spec)
    given = (x, label) if wants_labels(model) else (x,)

    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.eval()

        def forward(self, *given: Tensor) -> Tensor:
            return self.network(*given).pixels

    with torch.no_grad():
        exported = torch.export.export(Pixels(), given).module()
        assert relative_error(exported(*given), model(*given).pixels) <= 1e-5


@EACH
def test_without_classes_it_gives_mean_codes(spec: str) -> None:
    model, x, _ = model_and_batch(spec, classes=0)
    model.eval()
    codes = model(x)
    assert codes.shape == (3, 5) and torch.equal(codes, model.encode(x)[0])
    assert not wants_labels(model) and not list(model.get_head().parameters())


@EACH
def test_its_maps_are_shown_and_parts_add_up(spec: str) -> None:
    model, x, _ = model_and_batch(spec)
    maps = model.eval().stages(x)
    sides = [map_.shape[-1] for map_ in maps]
    assert sides == sorted(sides, reverse=True) and all(map_.ndim == 4 for map_ in maps)
    parts = anatomy(spec, image_size=12)
    channels = variant(spec.partition("(")[0]).in_channels
    whole = meta_model(spec, classes=10, image_size=12, in_channels=channels)
    assert sum(part.params for part in parts) == sum(parameter.numel() for parameter in whole.parameters())
    assert parts[-1].name == "decoder" and parts[-1].shape == (channels, 12, 12)
    assert sum(part.macs for part in parts) > 0


def test_every_norm_of_the_decoder_computes() -> None:
    outputs: list[Tensor] = []
    for norm in get_args(NormKind):
        spec = f"vae({BODY}, latent=5, norm={norm!r})"
        model, x, label = model_and_batch(spec)
        outputs.append(model.eval()(x, label).natural)
        assert outputs[-1].isfinite().all()
    assert len({tuple(output.flatten().tolist()) for output in outputs}) == len(outputs)


@EACH
def test_pictures_and_codes_of_another_size_are_refused(spec: str) -> None:
    model, x, label = model_and_batch(spec)
    with pytest.raises(NetwrightError, match="takes pictures of 10x13 pixels, and these have 10x12"):
        model(x[..., 1:], label)
    with pytest.raises(NetwrightError, match="takes pictures of 2 channels, and these have 1"):
        model(x[:, 1:], label)
    with pytest.raises(NetwrightError, match="takes codes of 5 numbers, and these have 4"):
        model.decode(torch.zeros(1, 4), label[:1])


@EVERY_VARIANT
def test_it_refuses_an_unknown_option_and_impossible_values(name: str) -> None:
    with pytest.raises(NetwrightError, match=f"unknown option of {name} 'latentt'") as caught:
        check_model(f"{name}(latentt=3)")
    assert "did you mean 'latent'?" in caught.value.fix
    impossible = {"latent": 0, "image_size": (28, 3), "in_channels": 0, "observation": 3}
    for option, value in impossible.items():
        with pytest.raises(NetwrightError, match=f"{option} cannot be"):
            create_model(f"{name}({option}={value!r})")
    with pytest.raises(NetwrightError, match="unknown observation 'gausian'") as caught:
        create_model(f"{name}(observation='gausian')")
    assert "did you mean 'gaussian'?" in caught.value.fix


class TestWhatForWhat:
    """Models and tasks that do not go together."""

    def test_they_are_listed_for_their_task_alone(self) -> None:
        assert set(NAMES) == {
            "autoencoder", "conditional_vae", "mlp_autoencoder", "recurrent_autoencoder", "vae",
        }  # fmt: skip
        assert not set(NAMES) & {*list_models(), *list_models(task="segmentation")}

    @EVERY_VARIANT
    def test_they_are_for_it(self, name: str) -> None:
        check_model(name)
        check_model(name, "reconstruction")

    @pytest.mark.parametrize("task", ["classification", "segmentation", "verification"])
    @EVERY_VARIANT
    def test_they_are_for_no_other(self, name: str, task: str) -> None:
        with pytest.raises(NetwrightError, match=f"{name} gives pictures again") as caught:
            check_model(name, task)
        assert "unet" in caught.value.fix if task == "segmentation" else "--task reconstruction" in caught.value.fix

    @pytest.mark.parametrize("name", ["resnet18", "timm/resnet10t"])
    def test_a_classifier_is_offered_as_encoder(self, name: str) -> None:
        with pytest.raises(NetwrightError, match="reconstruction wants the picture again") as caught:
            check_model(name, "reconstruction")
        assert f"--model \"autoencoder(encoder='{name}')\"" in caught.value.fix

    def test_a_network_for_masks_is_none(self) -> None:
        with pytest.raises(NetwrightError, match="unet gives each pixel a class, and reconstruction wants") as caught:
            check_model("unet", "reconstruction")
        assert "--model autoencoder" in caught.value.fix

    def test_none_is_an_encoder(self) -> None:
        with pytest.raises(NetwrightError, match="vae is an autoencoder itself"):
            create_model("autoencoder(encoder='vae')")

    @pytest.mark.parametrize("option", ["classes", "in_channels", "image_size"])
    def test_a_dense_encoder_has_no_options_of_the_network_around_it(self, option: str) -> None:
        with pytest.raises(NetwrightError, match=f"an encoder has no option {option}"):
            create_model(f"vae(encoder='mlp({option}=5)')")

    def test_a_dense_encoders_own_options_are_checked(self) -> None:
        with pytest.raises(NetwrightError, match="unknown option of mlp 'width'"):
            create_model("vae(encoder='mlp(width=(5,))')")


class TestImageSize:
    """`create_model(image_size=…)`."""

    def test_it_goes_to_families_that_have_it(self) -> None:
        assert made("mlp_autoencoder", image_size=20).image_size == (20, 20)
        assert made("mlp_autoencoder", image_size=(20, 20)).image_size == (20, 20)
        assert made("vae", image_size=(20, 24)).image_size == (20, 24)
        assert made("vae").image_size == (32, 32)
        create_model("resnet20", image_size=20)

    def test_what_the_name_says_counts_more(self) -> None:
        assert made("mlp_autoencoder(image_size=8)", image_size=20).image_size == (8, 8)

    def test_it_is_checked(self) -> None:
        with pytest.raises(NetwrightError, match="image_size cannot be 3"):
            made("vae", image_size=3)

    def test_an_mlp_takes_oblong_pictures(self) -> None:
        mlp = create_model("mlp(image_size=(4, 6), widths=(5,))", classes=2, in_channels=1)
        assert mlp(torch.rand(2, 1, 4, 6)).shape == mlp(torch.rand(2, 1, 9, 9)).shape == (2, 2)
