"""The recipes that `auto` measures: all of one network, and the probes without what would make them live."""

from collections.abc import Callable
from dataclasses import dataclass

from netwright.core.spec import Spec
from netwright.data import Data
from netwright.engine.trick import Tricks
from netwright.lab.trial import network_for
from netwright.recipes._assemble import changing_pictures
from netwright.recipes._recipe import LARGEST, Recipe
from netwright.tricks import TRICKS

FEATURES, RANDOM, FINETUNE = "features", "random_features", "finetune"
STOPPING = "early_stopping"  # it wants a validation split, and would choose on what is measured

RecipeOf = Callable[[str], Recipe]


@dataclass(frozen=True)
class Ways:
    """Recipes of ways of transfer, for trials.

    Attributes:
        recipe_of: as the user asked for it.
        model: the network of every way that names none.
        left_out: tricks that the probes go without.
    """

    recipe_of: RecipeOf
    model: str
    left_out: tuple[str, ...] = ()

    def __call__(self, way: str) -> Recipe:
        """The recipe of a way; all but the fine-tune are probes, whose features are computed once."""
        recipe = self.recipe_of(way).resolved(model=self.model)
        if recipe.batch_size == LARGEST:
            recipe = recipe.changed("auto", batch_size="auto")
        recipe = _without(recipe, STOPPING)
        return recipe if way == FINETUNE else _without(recipe, *self.left_out)


def ways_for(recipe_of: RecipeOf, data: Data) -> Ways:
    """The ways of one network: the one that is named, else a bundle's own, else what suits the pictures.

    Raises:
        NetwrightError: an unknown name, or a bundle that cannot be read.
    """
    first = recipe_of(FEATURES)
    tricks = Tricks(TRICKS.build(text) for text in first.tricks)
    return Ways(recipe_of, network_for(first.weights, data), changing_pictures(tricks))


def _without(recipe: Recipe, *names: str) -> Recipe:
    present = {Spec.parse(text).name for text in recipe.tricks}
    return recipe.without(*(name for name in names if name in present))
