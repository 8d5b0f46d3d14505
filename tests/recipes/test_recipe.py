"""A recipe: explicit values win, every value knows its source, and mistakes are told with a fix."""

import json
from pathlib import Path

import pytest

from netwright import NetwrightError, recipe
from netwright.recipes import RECIPES
from netwright.recipes._recipe import Recipe, read_recipe, recipe_for


@pytest.mark.parametrize("name", RECIPES.names())
def test_every_named_recipe_is_valid_and_says_how_it_is_run(name: str) -> None:
    found = recipe(name)
    assert found.name == name
    assert "netwright train" in (RECIPES.load(name).__doc__ or "")
    assert found.changed(**found.model_dump()).model_dump() == found.model_dump()  # every name in it is known


def test_values_know_their_source() -> None:
    found = recipe("modern").changed(lr=0.01, epochs=3).with_("mixup(alpha=0.4)").without("flip")
    assert found.optimizer == "adamw(lr=0.01, weight_decay=0.05)"
    sources = found.sources
    assert (sources["optimizer.lr"], sources["epochs"], sources["tricks.mixup"]) == ("user", "user", "user")
    assert (sources["batch_size"], sources["image_size"], sources["tricks.ema"]) == ("auto", "auto", "recipe")
    assert "tricks.flip" not in sources


def test_auto_never_overrides_a_user() -> None:
    found = recipe("modern", image_size=64).resolved(image_size=160, channels=3)
    assert (found.image_size, found.sources["image_size"]) == (64, "user")
    assert (found.channels, found.sources["channels"]) == (3, "auto")


def test_key_depends_on_what_is_trained_and_on_nothing_else() -> None:
    base = recipe("digits")
    assert base.key == recipe("digits").key
    assert base.with_("sam", "mixup").key == base.with_("mixup", "sam").key
    assert base.changed(device="cpu", workers=3).key == base.key
    assert base.changed(seed=1).key != base.key


def test_two_learning_rates_are_refused() -> None:
    with pytest.raises(NetwrightError, match="two learning rates"):
        recipe("digits").changed(optimizer="sgd(lr=0.1)", lr=0.2)
    assert recipe("digits").changed(optimizer="adamw", lr=0.2).optimizer == "adamw(lr=0.2)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: recipe("moderm"), "did you mean 'modern'"),
        (lambda: recipe("digits", epoch=3), "did you mean 'epochs'"),
        (lambda: recipe("digits", epochs=0), "epochs cannot be 0"),
        (lambda: recipe("digits", seed=-1), "seed cannot be -1"),
        (lambda: recipe("digits").with_("mix_up"), "did you mean 'mixup'"),
        (lambda: recipe("digits").without("sam"), "has no trick sam"),
        (lambda: recipe("digits").changed(optimizer="adamm"), "did you mean 'adam"),
        (lambda: recipe("digits").changed(schedule="cosin"), "did you mean 'cosine'"),
    ],
)
def test_mistakes_name_the_nearest(change: object, words: str) -> None:
    with pytest.raises(NetwrightError) as caught:
        change()  # type: ignore[operator]
    assert words in str(caught.value)
    assert caught.value.fix


def test_a_record_is_a_recipe(tmp_path: Path) -> None:
    chosen = recipe("digits", epochs=3).with_("sam")
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"recipe": chosen.model_dump(mode="json"), "sources": chosen.sources}))
    again = read_recipe(path)
    assert again.model_dump() == chosen.model_dump()
    assert again.sources["epochs"] == "user"


def test_recipe_for_data(tmp_path: Path) -> None:
    assert recipe_for(None) == recipe_for("digits") == "digits"
    assert recipe_for(str(tmp_path)) == "modern"


def test_recipes_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        recipe("digits").epochs = 3  # type: ignore[misc]
    assert isinstance(recipe("digits"), Recipe)
