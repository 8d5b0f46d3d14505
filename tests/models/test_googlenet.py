"""GoogLeNet: the paper's table 1, its auxiliary heads, and how its weights start."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from netwright.models import create_model
from netwright.models._parity import reference_network
from netwright.models._weights import load_weights
from netwright.models.googlenet import Branches, GoogLeNet
from netwright.nn.output import Outputs

TABLE = {
    "conv1": (64, 112),
    "maxpool1": (64, 56),
    "conv3": (192, 56),
    "maxpool2": (192, 28),
    "inception3a": (256, 28),
    "inception3b": (480, 28),
    "maxpool3": (480, 14),
    "inception4a": (512, 14),
    "inception4b": (512, 14),
    "inception4c": (512, 14),
    "inception4d": (528, 14),
    "inception4e": (832, 14),
    "maxpool4": (832, 7),
    "inception5a": (832, 7),
    "inception5b": (1024, 7),
}


def small(**options: object) -> GoogLeNet:
    torch.manual_seed(0)
    return GoogLeNet(**{"classes": 7, **options})


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_it_has_the_papers_sizes_and_depths() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        model = GoogLeNet().eval()
        for name in TABLE:
            layer = model.get_submodule(name)
            layer.register_forward_hook(lambda _, __, y, name=name: shapes.__setitem__(name, tuple(y.shape[1:])))
        model(torch.rand(1, 3, 224, 224))
    assert shapes == {name: (channels, side, side) for name, (channels, side) in TABLE.items()}


@pytest.mark.parametrize(("name", "thousands"), [("inception3a", 159), ("inception3b", 380), ("inception4b", 437)])
def test_with_5x5_convolutions_modules_have_the_papers_parameters(name: str, thousands: int) -> None:
    with torch.device("meta"):
        module = GoogLeNet(kernel=5).get_submodule(name)
        smaller = GoogLeNet(kernel=3).get_submodule(name)
    weights = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 4)
    assert weights / 1024 == pytest.approx(thousands, rel=0.005)
    assert count(smaller) < count(module)


def test_branches_look_at_the_same_map_and_stack_their_channels_in_order() -> None:
    x = torch.randn(2, 3, 4, 4)
    y = Branches({"b": nn.Identity(), "a": nn.ReLU()})(x)
    assert torch.equal(y[:, :3], x) and torch.equal(y[:, 3:], x.relu())


def test_auxiliary_heads_speak_in_training_alone_and_the_deepest_first() -> None:
    model, said = small(), list[Tensor]()
    for head in (model.aux1, model.aux2):
        assert head is not None
        head.register_forward_hook(lambda _, __, y: said.append(y))
    x = torch.rand(2, 3, 64, 64)
    output = model(x)
    assert isinstance(output, Outputs)
    deep, shallow = output.auxiliary
    assert {id(deep), id(shallow)} == set(map(id, said)) and deep.shape == shallow.shape == output.scores.shape
    upto_4d = torch.autograd.grad(shallow.sum(), model.inception4d.parameters(), allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in upto_4d)
    assert all(g is not None for g in torch.autograd.grad(deep.sum(), model.inception4d.parameters()))
    said.clear()
    assert isinstance(model.eval()(x), Tensor) and not said


def test_without_auxiliary_heads_it_has_torchvisions_published_count() -> None:
    with torch.device("meta"):
        model = GoogLeNet(aux=False)
        assert count(model) == 6_624_904
        assert isinstance(model(torch.rand(2, 3, 64, 64)), Tensor)


def test_without_classes_training_gives_the_embedding_alone() -> None:
    assert small(classes=0)(torch.rand(2, 3, 64, 64)).shape == (2, 1024)


def test_maps_can_be_had_in_training_too() -> None:
    assert [map_.shape[1] for map_ in small().stages(torch.rand(2, 3, 64, 64))] == [64, 192, 480, 832, 1024]


def test_weights_for_other_classes_fit_but_for_the_last_layers(tmp_path: Path) -> None:
    torch.save(create_model("googlenet", classes=3).state_dict(), tmp_path / "weights.pt")
    found = load_weights(create_model("googlenet", classes=4), tmp_path / "weights.pt")
    assert sorted(found.missing) == [
        "aux1.fc2.bias",
        "aux1.fc2.weight",
        "aux2.fc2.bias",
        "aux2.fc2.weight",
        "fc.bias",
        "fc.weight",
    ]
    alone = load_weights(create_model("googlenet(aux=False)", classes=3), tmp_path / "weights.pt")
    assert not alone.missing and alone.left_over


def test_its_norms_have_torchvisions_constants() -> None:
    def constants(network: nn.Module) -> dict[str, tuple[float, float | None]]:
        layers = network.named_modules()
        return {name: (layer.eps, layer.momentum) for name, layer in layers if isinstance(layer, nn.BatchNorm2d)}

    with torch.device("meta"):
        assert constants(GoogLeNet()) == constants(reference_network("torchvision/googlenet"))


def test_its_weights_start_with_torchvisions_spread() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.googlenet(init_weights=True, aux_logits=True)
    model = create_model("googlenet", classes=1000).state_dict()
    for name, wanted in reference.named_parameters():
        if wanted.ndim > 1:
            assert model[name].std().item() == pytest.approx(wanted.std().item(), rel=0.1), name


def test_without_norm_the_signal_keeps_its_scale() -> None:
    last = small(norm="none").stages(torch.randn(2, 3, 96, 96))[-1]
    assert 0.03 < last.std().item() < 30
