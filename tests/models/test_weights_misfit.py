"""Weights of another model: what fits is counted, and the model they are of is found."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._misfit import share
from netwright.models._nearest import nearest_variant
from netwright.models._placed import fit_of, placed
from netwright.models._weights import load_weights


def shapes(name: str, classes: int = 7) -> dict[str, Tensor]:
    """The tensors of a model, without values."""
    with torch.device("meta"):
        return dict(create_model(name, classes=classes).state_dict())


def error_of(model: str, state: dict[str, Tensor], folder: Path) -> NetwrightError:
    torch.save(state, folder / "w.pt")
    with pytest.raises(NetwrightError) as caught:
        load_weights(create_model(model), folder / "w.pt")
    return caught.value


FOUND = ("resnet20", "resnet18", "vgg11_bn", "squeezenet1_0", "googlenet", "mobilenet_v2", "lenet5", "zfnet")


@pytest.mark.parametrize("classes", [7, 0])
@pytest.mark.parametrize("name", FOUND)
def test_a_model_is_found_whatever_its_head(name: str, classes: int) -> None:
    near = nearest_variant(shapes(name, classes))
    assert near is not None and near.name == name and near.fit.whole


def test_holders_and_other_channels_do_not_hide_a_model() -> None:
    state = shapes("resnet20")
    state["conv1.weight"] = torch.empty(16, 5, 3, 3, device="meta")
    near = nearest_variant({f"encoder.{name}": tensor for name, tensor in state.items()})
    assert near is not None and near.name == "resnet20" and near.fit.whole


def test_nothing_is_near_what_no_model_has() -> None:
    assert nearest_variant({"a.weight": torch.zeros(3)}) is None
    assert nearest_variant({}) is None


def test_another_family(tmp_path: Path) -> None:
    said = error_of("resnet20", dict(create_model("squeezenet1_1", classes=5).state_dict()), tmp_path)
    assert "fits ResNetCifar: no name is the same" in said.problem
    assert "the weights' are features.0.weight" in said.problem
    assert said.fix == "they fit squeezenet1_1, all 50 tensors, heads apart: --model squeezenet1_1"


def test_another_depth_is_counted(tmp_path: Path) -> None:
    said = error_of("resnet32", dict(create_model("resnet20", classes=5).state_dict()), tmp_path)
    names = ("resnet20", "resnet32")
    shallow, deep = (sum(t.numel() for n, t in shapes(name).items() if "linear" not in n) for name in names)
    # Counters of batches are no weights: 19 and 31 of them.
    part = (shallow - 19) / (deep - 31)
    assert f"95 of its 155 tensors fit by name and shape, {100 * part:.1f} % of all values" in said.problem
    assert "60 missing (layer1.3.conv1.weight" in said.problem
    assert said.fix.endswith("--model resnet20")


def test_another_width_of_the_same_model(tmp_path: Path) -> None:
    said = error_of("resnet20", dict(create_model("resnet20(width=4)").state_dict()), tmp_path)
    assert "95 of another shape (conv1.weight: 4×3×3×3, not 16×3×3×3" in said.problem
    assert "options, such as width" in said.fix
    assert "95 of 95 names are those of ResNetCifar" in said.fix


def test_another_width_of_another_model(tmp_path: Path) -> None:
    said = error_of("squeezenet1_1", dict(create_model("resnet20(width=4)").state_dict()), tmp_path)
    assert "nearest model is resnet20" in said.fix
    assert "names agree and shapes do not" in said.fix


@pytest.mark.parametrize(
    ("names", "whose"),
    [
        (["cls_token", "patch_embed.proj.weight"], "a vision transformer"),
        (["vit.embeddings.cls_token"], "Hugging Face's transformers"),
        (["conv_stem.weight", "bn1.weight"], "timm's efficient and mobile networks"),
        (["backbone.body.conv1.weight"], "torchvision's detectors"),
    ],
)
def test_names_of_other_libraries(names: list[str], whose: str, tmp_path: Path) -> None:
    said = error_of("squeezenet1_1", {name: torch.zeros(3, 3) for name in names}, tmp_path)
    assert whose in said.fix


def test_a_part_of_a_larger_network_is_taken(tmp_path: Path) -> None:
    donor = create_model("resnet20(width=4)").state_dict()
    state = {f"net.backbone.{name}": tensor for name, tensor in donor.items()}
    torch.save({**state, "projector.weight": torch.zeros(2)}, tmp_path / "w.pt")
    model = create_model("resnet20(width=4)")
    loaded = load_weights(model, tmp_path / "w.pt")
    assert all(torch.equal(tensor, donor[name]) for name, tensor in model.state_dict().items())
    assert loaded.left_over == ["projector.weight"]
    assert "from what stands under 'net.backbone.'" in str(loaded)


def test_the_same_network_twice_is_refused(tmp_path: Path) -> None:
    donor = create_model("resnet20(width=4)").state_dict()
    twice = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in donor.items()}
    said = error_of("resnet20(width=4)", twice, tmp_path)
    assert "2 times: student., teacher." in said.problem
    assert "removeprefix('student.')" in said.fix


def test_placed_and_counted() -> None:
    own = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2), "fc.weight": torch.zeros(9, 9)}
    given = {"module.a.weight": torch.zeros(2, 3), "module.a.bias": torch.zeros(4)}
    found = fit_of(placed(given, own).state, own, ("fc.",))
    assert (found.fits, found.named, found.tensors) == (1, 2, 2)
    assert found.values == 6 / 10  # of ten in the file, the larger


@pytest.mark.parametrize(
    ("part", "said"),
    [(0, "0.0 %"), (1, "100.0 %"), (0.43, "43.0 %"), (1e-5, "less than 0.1 %"), (0.9999, "more than 99.9 %")],
)
def test_shares_never_round_to_none_or_all(part: float, said: str) -> None:
    assert share(part) == said
