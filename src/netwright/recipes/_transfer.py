"""`--transfer`: how much of learnt weights is used again, as one of the named recipes with its tricks."""

from netwright.core.errors import NetwrightError, unknown
from netwright.core.spec import Spec
from netwright.recipes._recipe import Recipe, recipe
from netwright.tricks import TRICKS

AUTO = "auto"
# The named recipe behind each way, and the trick whose options are the way's.
WAYS = {
    "features": ("features", "head"),
    "finetune": ("finetune", "layer_decay"),
    "partial": ("finetune", "freeze(last=1)"),
    "gradual_unfreeze": ("finetune", "gradual_unfreeze"),
    "random_features": ("features", "head"),
    "scratch": ("modern", "head(norm='batch', power=0.5)"),  # the head of the others, so that only weights differ
}
WITHOUT_WEIGHTS = ("random_features", "scratch")


def transfer_recipe(way: str | Spec, weights: str | None = None) -> Recipe:
    """The recipe for a way of using learnt weights again.

    Args:
        way: `features`, the backbone stands still and a new head trains; `finetune`, all layers train;
            `partial(last=2)`, the head and the last stages do; `gradual_unfreeze`, one stage after the other; or, to
            compare with, `random_features` and `scratch`, which take no weights. Options are those of the trick that
            does it: head, layer_decay, freeze, gradual_unfreeze.
        weights: where they are.

    Raises:
        NetwrightError: an unknown way or option, weights that are missing, or some that mean nothing here.
    """
    spec = Spec.parse(way)
    if spec.name not in WAYS:
        raise unknown("way to transfer", spec.name, [*WAYS, AUTO])
    base, trick = WAYS[spec.name]
    if weights is None and spec.name not in WITHOUT_WEIGHTS:
        fix = "give weights: --weights FILE, a bundle, hf-hub:NAME or imagenet; or --transfer random_features"
        raise NetwrightError(f"{spec.name} has nothing to transfer", fix)
    if weights is not None and spec.name in WITHOUT_WEIGHTS:
        raise NetwrightError(f"{spec.name} takes no weights, and {weights} was given", "leave out --weights")
    found = recipe(base).changed("recipe", name=spec.name, weights=weights)
    own = {Spec.parse(text).name: Spec.parse(text) for text in found.tricks}
    usual = Spec.parse(trick)
    given = own.get(usual.name, usual).with_options(**spec.options)
    TRICKS.build(given)  # refuses an option that it does not have
    return found.with_(given, origin="user" if spec.options else "recipe")
