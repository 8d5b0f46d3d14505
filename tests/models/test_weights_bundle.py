"""Bundles as weights: whose model, which classes, and what tricks did to the structure."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from netwright import fit, recipe
from netwright.bundle.embedder import make_embedder
from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._bundled import UNKNOWN, Said, with_own_norms
from netwright.models._family import Family
from netwright.models._weights import Loaded, load_weights, model_of
from netwright.nn.headed import Headed
from netwright.recipes._transfer import transfer_recipe
from netwright.tricks import TRICKS
from tests.conftest import COLOURS, photo

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
    with pytest.raises(NetwrightError, match="were trained with norm, which changed"):
        taken(made, ANIMALS)
    model, _ = taken(made, ANIMALS, tricks=[GROUPS])
    again = TRICKS.build(GROUPS).model(model)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in trained.state_dict().items())


@pytest.mark.parametrize("kind", ["group", "layer", "instance"])
def test_norms_that_a_trick_made_are_an_option_of_the_model(kind: str, tmp_path: Path) -> None:
    """So that tricks that freeze, with which the trick norm does not go, take such weights."""
    trick = str(TRICKS.build(f"norm(kind='{kind}')").spec)
    trained = TRICKS.build(trick).model(donor())
    made = bundle(tmp_path, trained, ANIMALS, [trick])
    option = f"resnet20(norm='{kind}', width=4)"
    assert model_of(str(made)) == option
    with pytest.raises(NetwrightError) as caught:
        taken(made, ANIMALS)
    assert caught.value.fix == f'name the model that has them of its own: --model "{option}"'
    own = create_model(option, classes=3)
    load_weights(own, made, classes=ANIMALS)
    x = torch.rand(2, 3, 12, 12)
    with torch.inference_mode():
        assert torch.equal(own.eval()(x), trained.eval()(x))


def test_every_family_with_the_option_has_the_norms_of_the_trick() -> None:
    assert TRICKS.build("norm").kind == "group"  # what a card means by it
    for name in ("vgg11_bn", "resnet18", "mobilenet_v2", "densenet40_k12(layers=(2, 2, 2))", "inception_v3"):
        spec = with_own_norms(Said(name, (), ("norm",), UNKNOWN))
        assert spec is not None and "norm='group'" in spec, name
    for name, trick in (
        ("resnet20", "norm(kind='batch_channel')"),  # no option
        ("resnet20", "norm(kind='none')"),  # the option adds biases
        ("inception_v3", "norm(kind='instance')"),  # the option reaches a head whose norms the trick leaves
        ("timm/resnet18", "norm"),
        ("resnet20(width='wide')", "norm"),
        (None, "norm"),
        ("resnet20", "head"),
    ):
        assert with_own_norms(Said(name, (), (trick,), UNKNOWN)) is None, (name, trick)


def test_norms_of_another_kind_are_not_taken_for_their_like(tmp_path: Path) -> None:
    """Layer and group norms have tensors of the same names and shapes."""
    layers = "norm(kind='layer')"
    made = bundle(tmp_path, TRICKS.build(layers).model(donor()), ANIMALS, [layers])
    groups = create_model("resnet20(norm='group', width=4)", classes=3)
    with pytest.raises(NetwrightError, match=r"were trained with norm\(kind='layer'\)"):
        load_weights(groups, made)
    assert load_weights(groups, made, strict=False).loaded


def test_norms_that_no_option_makes_say_what_they_go_with(tmp_path: Path) -> None:
    trick = "norm(kind='batch_channel')"
    made = bundle(tmp_path, TRICKS.build(trick).model(donor()), ANIMALS, [trick])
    assert model_of(str(made)) == NAME
    with pytest.raises(NetwrightError) as caught:
        taken(made, ANIMALS)
    assert f'--with "{trick}"' in caught.value.fix
    assert "not with features or partial" in caught.value.fix


def test_a_card_with_a_norm_that_is_not_is_refused(tmp_path: Path) -> None:
    made = bundle(tmp_path, donor(), ANIMALS, ["norm(kind='none such')"])
    with pytest.raises(NetwrightError, match="names a norm that is not: 'none such'"):
        taken(made, ANIMALS)


def test_norms_of_the_same_names_and_shapes_need_no_trick(tmp_path: Path) -> None:
    ghosts = TRICKS.build("norm(kind='ghost_batch')").model(donor())
    model, _ = taken(bundle(tmp_path, ghosts, ANIMALS, ["norm(kind='ghost_batch')"]), ANIMALS)
    assert torch.equal(model.state_dict()["bn1.weight"], ghosts.state_dict()["bn1.weight"])


def standard_donor(eps: float) -> tuple[Family, str]:
    trick = TRICKS.build(f"weight_standardisation(eps={eps})")
    torch.manual_seed(1)
    plain = create_model("squeezenet1_1", classes=3)  # whose head is a convolution
    return trick.model(plain), str(trick.spec)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_standardised_filters_are_not_taken_for_plain_ones(eps: float, strict: bool, tmp_path: Path) -> None:
    """Names and shapes are the same; what is computed is, since filters come as they were in use."""
    trained, trick = standard_donor(eps)
    model = create_model("squeezenet1_1", classes=3)
    loaded = load_weights(model, bundle(tmp_path, trained, ANIMALS, [trick]), classes=ANIMALS, strict=strict)
    x = torch.rand(2, 3, 48, 48)
    with torch.inference_mode():
        assert torch.equal(model.eval()(x), trained.eval()(x))
        grey = create_model("squeezenet1_1", classes=3, in_channels=1)
        load_weights(grey, tmp_path)
        g = x[:, :1]
        torch.testing.assert_close(grey.eval()(g), trained(g.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    assert f"; filters are as {trick} made them, in plain convolutions; the head is that of" in str(loaded)


def test_filters_stay_raw_where_the_trick_follows(tmp_path: Path) -> None:
    trained, trick = standard_donor(1e-5)
    model = create_model("squeezenet1_1", classes=3)
    loaded = load_weights(model, bundle(tmp_path, trained, ANIMALS, [trick]), classes=ANIMALS, tricks=[trick])
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in trained.state_dict().items())
    assert loaded.filters == ""


@pytest.mark.parametrize("eps", ["0", "-1.0", "1e999", "'small'"])
def test_a_card_with_an_eps_that_cannot_be_is_refused(eps: str, tmp_path: Path) -> None:
    made = bundle(tmp_path, donor(), ANIMALS, [f"weight_standardisation(eps={eps})"])
    with pytest.raises(NetwrightError, match="cannot be right"):
        taken(made, ANIMALS)


def test_groups_and_standardised_filters_together(tmp_path: Path) -> None:
    """The usual pair."""
    tricks = [GROUPS, "weight_standardisation"]
    trained: nn.Module = donor()
    for trick in tricks:
        trained = TRICKS.build(trick).model(trained)
    made = bundle(tmp_path, trained, ANIMALS, tricks)
    named = model_of(str(made))
    assert named is not None
    model = create_model(named, classes=3)
    load_weights(model, made)
    x = torch.rand(2, 3, 12, 12)
    with torch.inference_mode():
        assert torch.equal(model.eval()(x), trained.eval()(x))


HEADS = {
    "the same": (["cat", "dog", "eel"], "a new head takes its place (head), for the same 3 classes"),
    "in another order": (["eel", "cat", "dog"], "a new head takes its place (head), for the same 3 classes"),
    "renamed": (["cat", "dog", "seal"], "a new head takes its place (head); the weights' classes are others: "
        "1 new (seal), 1 gone (eel)"),
}  # fmt: skip


@pytest.mark.parametrize("how", HEADS)
def test_a_head_that_follows_is_told(how: str, tmp_path: Path) -> None:
    classes, said = HEADS[how]
    _, loaded = taken(bundle(tmp_path, donor(), ANIMALS), classes, tricks=["head(norm='batch', power=0.5)"])
    assert loaded.head == said
    assert str(loaded).endswith(f"; {said}")


def test_a_head_that_follows_a_plain_file(tmp_path: Path) -> None:
    torch.save(donor().state_dict(), tmp_path / "w.pt")
    _, loaded = taken(tmp_path / "w.pt", ANIMALS, tricks=["head"])
    assert loaded.head == "a new head takes its place (head)"


def test_averaged_views_are_only_wrapped(tmp_path: Path) -> None:
    views = TRICKS.build("test_time_augmentation").predictor(donor())
    model, _ = taken(bundle(tmp_path, views, ANIMALS, ["test_time_augmentation"]), ANIMALS)
    assert torch.equal(model.state_dict()["linear.weight"], donor().state_dict()["linear.weight"])


def test_moments_of_a_users_own_dataset_are_not_known(tmp_path: Path) -> None:
    _, loaded = taken(bundle(tmp_path, donor(), ANIMALS, preprocess=None), ANIMALS)
    assert loaded.moments == ((), (), "nobody's")


def test_a_network_for_a_users_own_dataset_embeds_no_pictures(tmp_path: Path) -> None:
    made = bundle(tmp_path, donor(), ANIMALS, preprocess=None)
    with pytest.raises(NetwrightError, match="trained on your own dataset") as caught:
        make_embedder(NAME, weights=str(made), device="cpu")
    assert "prepare a tensor as your dataset does" in caught.value.fix


def test_features_of_exchanged_norms_and_standardised_filters(tmp_path: Path) -> None:
    """From a run with both tricks to one that freezes, which goes with neither."""
    for side, n in (("train", 8), ("val", 4), ("test", 4)):
        for place, (name, colour) in enumerate(COLOURS.items()):
            for i in range(n):
                photo(tmp_path / "photos" / side / name / f"{i}.png", colour, seed=1000 * place + 100 * len(side) + i)
    data = str(tmp_path / "photos")
    first = recipe("modern", model=NAME, epochs=1, batch_size=12, device="cpu", image_size=32, lr=0.01)
    first = first.with_("norm").with_("weight_standardisation").without("ema")
    source = fit(first, data=data, output=tmp_path / "runs").path
    again = transfer_recipe("features", str(source)).changed("user", epochs=1, device="cpu", image_size=32)
    record = json.loads((fit(again, data=data, output=tmp_path / "runs").path / "record.json").read_text())
    assert record["recipe"]["model"] == "resnet20(norm='group', width=4)"
    notes = " ".join(record["data"]["notes"])
    assert "; filters are as weight_standardisation made them, in plain convolutions; " in notes
    assert "a new head takes its place (head), for the same 3 classes" in notes
