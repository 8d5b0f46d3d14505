"""Inception-v3: the paper's table 1, its auxiliary head at every size, and how its weights start."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from netwright.models import create_model
from netwright.models._parity import parity, reference_network, relative_error, spread
from netwright.models._weights import load_weights
from netwright.models.inception_v3 import AuxiliaryHead, InceptionV3, neighbourhood
from netwright.nn.output import Outputs

TABLE = {
    "Conv2d_1a_3x3": (32, 149),
    "Conv2d_2a_3x3": (32, 147),
    "Conv2d_2b_3x3": (64, 147),
    "maxpool1": (64, 73),
    "Conv2d_3b_1x1": (80, 73),
    "Conv2d_4a_3x3": (192, 71),
    "maxpool2": (192, 35),
    "Mixed_5b": (256, 35),
    "Mixed_5c": (288, 35),
    "Mixed_5d": (288, 35),
    "Mixed_6a": (768, 17),
    "Mixed_6b": (768, 17),
    "Mixed_6e": (768, 17),
    "Mixed_7a": (1280, 8),
    "Mixed_7b": (2048, 8),
    "Mixed_7c": (2048, 8),
}


def auxiliary_head(**options: object) -> AuxiliaryHead:
    torch.manual_seed(0)
    head = AuxiliaryHead(16, 7, **{"norm": "batch", "activation": "relu", **options})
    return head.eval()


def test_it_has_the_papers_sizes_and_depths() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        model = InceptionV3().eval()
        for name in TABLE:
            layer = model.get_submodule(name)
            layer.register_forward_hook(lambda _, __, y, name=name: shapes.__setitem__(name, tuple(y.shape[1:])))
        model(torch.rand(1, 3, 299, 299))
    assert shapes == {name: (channels, side, side) for name, (channels, side) in TABLE.items()}


def test_smaller_images_than_it_asks_for_would_leave_nothing() -> None:
    with torch.device("meta"):
        model = InceptionV3()
        assert model.maps(torch.rand(2, 3, 75, 75))[-1].shape[-2:] == (1, 1)
        with pytest.raises(RuntimeError):
            model.maps(torch.rand(2, 3, 74, 74))


def test_the_auxiliary_head_speaks_in_training_alone() -> None:
    model, said = InceptionV3(classes=7), list[Tensor]()
    assert model.AuxLogits is not None
    model.AuxLogits.register_forward_hook(lambda _, __, y: said.append(y))
    x = torch.rand(2, 3, 96, 96)
    output = model(x)
    assert isinstance(output, Outputs)
    assert output.auxiliary == (said.pop(),) and output.auxiliary[0].shape == (2, 7)
    assert isinstance(model.eval()(x), Tensor) and not said


def test_without_classes_or_auxiliary_head_training_gives_one_tensor() -> None:
    with torch.device("meta"):
        x = torch.rand(2, 3, 96, 96)
        alone = InceptionV3(aux=False)
        assert sum(parameter.numel() for parameter in alone.parameters()) == 23_834_568
        assert alone(x).shape == (2, 1000)
        assert InceptionV3(classes=0)(x).shape == (2, 2048)


def test_with_maps_of_more_than_17_pixels_the_auxiliary_head_is_torchvisions() -> None:
    found = parity("inception_v3", side=351, samples=1)
    assert found.output <= 1e-5
    assert found.gradient <= 1e-4


def test_on_small_images_it_is_torchvisions_in_evaluation() -> None:
    torch.manual_seed(0)
    reference, model = reference_network("torchvision/inception_v3").eval(), create_model("inception_v3", classes=1000)
    spread(reference)
    model.eval().load_state_dict(reference.state_dict())
    x = torch.randn(2, 3, 75, 131)
    with torch.no_grad():
        assert relative_error(model(x), reference(x)) <= 1e-5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 7), (5, 19), (17, 17), (24, 18)])
def test_the_auxiliary_head_sees_smaller_maps_with_their_pixels_repeated(height: int, width: int) -> None:
    head, x = auxiliary_head(), torch.randn(2, 16, height, width)
    rows = [row * height // 17 for row in range(17)] if height < 17 else list(range(height))
    columns = [column * width // 17 for column in range(17)] if width < 17 else list(range(width))
    pooled = F.avg_pool2d(x[:, :, rows][..., columns], 5, 3)
    wanted = head.fc(head.conv1(head.conv0(pooled)).mean((2, 3)))
    assert torch.allclose(head(x), wanted, atol=1e-6)


def test_with_instance_norm_the_auxiliary_head_still_sees_the_image() -> None:
    one, other = auxiliary_head(norm="instance")(torch.randn(2, 16, 17, 17))
    assert not torch.allclose(one, other)


def test_a_neighbourhood_counts_the_zeros_beyond_the_edge() -> None:
    wanted = torch.tensor([[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]) / 9
    assert torch.allclose(neighbourhood(torch.ones(1, 1, 3, 3))[0, 0], wanted)


def test_weights_for_other_classes_fit_but_for_the_last_layers(tmp_path: Path) -> None:
    torch.save(create_model("inception_v3", classes=3).state_dict(), tmp_path / "weights.pt")
    found = load_weights(create_model("inception_v3", classes=4), tmp_path / "weights.pt")
    assert sorted(found.missing) == ["AuxLogits.fc.bias", "AuxLogits.fc.weight", "fc.bias", "fc.weight"]
    alone = load_weights(create_model("inception_v3(aux=False)", classes=3), tmp_path / "weights.pt")
    assert not alone.missing and alone.left_over


def test_its_norms_have_torchvisions_constants() -> None:
    def constants(network: nn.Module) -> dict[str, tuple[float, float | None]]:
        layers = network.named_modules()
        return {name: (layer.eps, layer.momentum) for name, layer in layers if isinstance(layer, nn.BatchNorm2d)}

    with torch.device("meta"):
        assert constants(InceptionV3()) == constants(reference_network("torchvision/inception_v3"))


def test_its_weights_start_with_torchvisions_spread() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.inception_v3(init_weights=True)
    model = create_model("inception_v3", classes=1000).state_dict()
    authors = {"AuxLogits.conv1.conv.weight": 0.01}  # torchvision means to have it, but has 0.1
    for name, theirs in reference.named_parameters():
        if theirs.ndim > 1:
            wanted = authors.get(name, theirs.std().item())
            assert model[name].std().item() == pytest.approx(wanted, rel=0.1), name


def test_without_norm_the_signal_keeps_its_scale() -> None:
    torch.manual_seed(0)
    last = InceptionV3(classes=7, norm="none").stages(torch.randn(2, 3, 107, 107))[-1]
    assert 0.03 < last.std().item() < 30
