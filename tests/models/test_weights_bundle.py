"""Bundles as weights: whose model, which classes, and what tricks did to the structure."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._family import Family
from netwright.models._weights import Loaded, load_weights, model_of
from netwright.nn.headed import Headed
from netwright.tricks import TRICKS

NAME = "resnet20(width=4)"
ANIMALS = ["cat", "dog", "eel"]
GROUPS = "norm"


def bundle(
    folder: Path, network: nn.Module, classes: list[str], structure: list[str] | None = None, **more: Any
) -> Path:
    """A bundle of a network, as far as loading its weights reads it."""
    folder.mkdir(exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    model = {"spec": NAME, "structure": structure or [], "in_channels": 3}
    preprocess = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    card = {"classes": classes, "model": model, "preprocess": preprocess, **more}
    (folder / "bundle.json").write_text(json.dumps(card))
    return folder


def donor(name: str = NAME, classes: int = 3) -> Family:
    torch.manual_seed(1)
    return create_model(name, classes=classes)


def taken(source: Path, classes: list[str] | None, **more: Any) -> tuple[Family, Loaded]:
    torch.manual_seed(2)
    model = create_model(NAME, classes=len(classes or ANIMALS))
    return model, load_weights(model, source, classes=classes, **more)


def test_a_bundle_names_its_model(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", donor(), ANIMALS)
    for source in (made, tmp_path, made / "model.safetensors"):
        assert model_of(str(source)) == NAME
    torch.save(donor().state_dict(), tmp_path / "w.pt")
    for source in (tmp_path / "w.pt", tmp_path / "none", "imagenet", "hf-hub:some/body"):
        assert model_of(str(source)) is None
    (made / "bundle.json").write_text("{")
    with pytest.raises(NetwrightError, match="cannot be read"):
        model_of(str(made))


def test_the_same_classes_keep_the_head(tmp_path: Path) -> None:
    model, loaded = taken(bundle(tmp_path, donor(), ANIMALS), ANIMALS)
    assert torch.equal(model.state_dict()["linear.weight"], donor().state_dict()["linear.weight"])
    assert loaded.missing == []
    assert str(loaded).endswith("; the head is that of the same 3 classes")


def test_classes_in_another_order_move_the_rows(tmp_path: Path) -> None:
    other = ["eel", "cat", "dog"]
    model, loaded = taken(bundle(tmp_path, donor(), ANIMALS), other)
    x = torch.rand(2, 3, 12, 12)
    with torch.no_grad():
        then, now = donor().eval()(x), model.eval()(x)
    for place, name in enumerate(other):
        assert torch.equal(now[:, place], then[:, ANIMALS.index(name)])
    assert "rows put in the order of these" in loaded.head


def test_renamed_classes_leave_the_head_fresh(tmp_path: Path) -> None:
    torch.manual_seed(2)
    drawn = create_model(NAME, classes=3).state_dict()["linear.weight"].clone()
    model, loaded = taken(bundle(tmp_path, donor(), ANIMALS), ["cat", "dog", "seal"])
    assert torch.equal(model.state_dict()["linear.weight"], drawn)
    assert loaded.missing == ["linear.weight", "linear.bias"]
    assert "1 new (seal), 1 gone (eel)" in loaded.head
    assert torch.equal(model.state_dict()["conv1.weight"], donor().state_dict()["conv1.weight"])


def test_fewer_classes_name_those_that_are_gone(tmp_path: Path) -> None:
    _, loaded = taken(bundle(tmp_path, donor(), ANIMALS), ["cat", "dog"])
    assert "the head is fresh" in loaded.head and "1 gone (eel)" in loaded.head


def test_auxiliary_heads_follow_the_head(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = create_model("googlenet", classes=3)
    made = bundle(tmp_path, trained, ANIMALS)
    moved, fresh = (create_model("googlenet", classes=3) for _ in range(2))
    load_weights(moved, made, classes=["eel", "cat", "dog"])
    loaded = load_weights(fresh, made, classes=["a", "b", "c"])
    rows = ["fc.weight", "fc.bias", "aux1.fc2.weight", "aux1.fc2.bias", "aux2.fc2.weight", "aux2.fc2.bias"]
    assert set(loaded.missing) == set(rows)
    for name, tensor in moved.state_dict().items():
        wanted = trained.state_dict()[name]
        assert torch.equal(tensor, wanted[[2, 0, 1]] if name in rows else wanted), name


def test_a_plain_file_says_nothing_of_classes(tmp_path: Path) -> None:
    torch.save(donor().state_dict(), tmp_path / "w.pt")
    model, loaded = taken(tmp_path / "w.pt", ANIMALS)
    assert torch.equal(model.state_dict()["linear.weight"], donor().state_dict()["linear.weight"])
    assert "whether its 3 classes are these, the weights do not say" in loaded.head
    _, loaded = taken(tmp_path / "w.pt", ["a", "b"])
    assert "tells 3 classes apart, the data has 2" in loaded.head
    assert taken(tmp_path / "w.pt", None)[1].head == ""
    headless = create_model(NAME, classes=0)
    assert load_weights(headless, tmp_path / "w.pt", classes=ANIMALS).head == ""


def test_a_head_of_its_own_is_left_over(tmp_path: Path) -> None:
    backbone = create_model(NAME, classes=0)
    made = bundle(tmp_path, Headed(backbone, nn.Linear(16, 3)), ANIMALS, ["head(kind='mlp')"])
    model, loaded = taken(made, ANIMALS)
    assert sorted(loaded.left_over) == ["head.bias", "head.weight"]
    assert loaded.missing == ["linear.weight", "linear.bias"]
    assert "the head is fresh" in loaded.head
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in backbone.state_dict().items())


def test_other_norms_want_the_same_trick(tmp_path: Path) -> None:
    trained = TRICKS.build(GROUPS).model(donor())
    made = bundle(tmp_path, trained, ANIMALS, [GROUPS])
    with pytest.raises(NetwrightError, match="were trained with norm, which changed") as caught:
        taken(made, ANIMALS)
    assert caught.value.fix == 'give the same: --with "norm"'
    model, _ = taken(made, ANIMALS, tricks=[GROUPS])
    again = TRICKS.build(GROUPS).model(model)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in trained.state_dict().items())


def test_norms_of_the_same_names_and_shapes_need_no_trick(tmp_path: Path) -> None:
    ghosts = TRICKS.build("norm(kind='ghost_batch')").model(donor())
    model, _ = taken(bundle(tmp_path, ghosts, ANIMALS, ["norm(kind='ghost_batch')"]), ANIMALS)
    assert torch.equal(model.state_dict()["bn1.weight"], ghosts.state_dict()["bn1.weight"])


def test_standardised_filters_are_not_taken_for_plain_ones(tmp_path: Path) -> None:
    """Names and shapes are the same, and yet the network would compute something else."""
    made = bundle(tmp_path, donor(), ANIMALS, ["weight_standardisation"])
    with pytest.raises(NetwrightError, match="were trained with weight_standardisation"):
        taken(made, ANIMALS)
    for more in ({"tricks": ["weight_standardisation"]}, {"strict": False}):
        taken(made, ANIMALS, **more)


def test_averaged_views_are_only_wrapped(tmp_path: Path) -> None:
    views = TRICKS.build("test_time_augmentation").predictor(donor())
    model, _ = taken(bundle(tmp_path, views, ANIMALS, ["test_time_augmentation"]), ANIMALS)
    assert torch.equal(model.state_dict()["linear.weight"], donor().state_dict()["linear.weight"])


def test_moments_of_a_users_own_dataset_are_not_known(tmp_path: Path) -> None:
    _, loaded = taken(bundle(tmp_path, donor(), ANIMALS, preprocess=None), ANIMALS)
    assert loaded.moments == ((), (), "nobody's")
