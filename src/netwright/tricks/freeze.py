"""Leaves a network as it is but for its head, and for its last stages where that is wanted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.run import Passed
from netwright.engine.trick import Card, GradFn, Range, Trick
from netwright.nn.depth import Depths, depths
from netwright.nn.frozen import frozen
from netwright.nn.headed import Headed

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Freeze(Trick):
    """What is frozen has no gradient, its norms keep their statistics, and its dropout is off: no bit of it changes.

    What lies between the last feature map and the head counts to the last stage, as the first dense layers of VGG.

    Attributes:
        last: how many of the last stages train besides the head; of a network for masks the decoder is the last.
        cache: whether features under a `head` may be computed once rather than in each step, where nothing but the
            head trains; what is learnt is the same.
    """

    last: Annotated[int, Between(0)] = 0
    cache: bool = True

    card = Card(
        paper="Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014",
        strong={"last": 0},
        ranges={"last": Range(0, 2)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "it trains a head on what others have learnt, and an autoencoder has none; --weights "
            "lets all of it go on from there",
        },
        after=("head", "init", "norm", "weight_standardisation", "whitening"),
        # Nothing that is frozen can get used to other norms or filters, and its statistics are to stay.
        excludes=("bn_refresh", "gradual_unfreeze", "layer_freezing", "norm", "weight_standardisation"),
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Withhold what is frozen from the optimiser.

        Raises:
            NetwrightError: there are fewer stages than are to train, or nothing is left to train.
        """
        found = depths(module)
        first = self.first(module, found)
        for name, parameter in module.named_parameters():
            if found.of[name] < first:
                parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise NetwrightError(
                f"freeze leaves nothing to train: {type(module).__name__} has no head",
                "give it one with --with head, or leave it out: --without freeze",
            )
        self.still = [module.get_submodule(name) for name, depth in found.layers.items() if depth < first]
        if isinstance(module, Headed) and self.last == 0:
            module.fixed = self.cache
        return module

    def first(self, module: nn.Module, found: Depths) -> int:
        """The depth from which on everything trains."""
        if self.last > found.stages:
            several = "1 stage" if found.stages == 1 else f"{found.stages} stages"
            own = module.backbone if isinstance(module, Headed) else module
            raise NetwrightError(
                f"freeze: last cannot be {self.last}, since {type(own).__name__} has {several}",
                f"give last from 0 to {found.stages}; with {found.stages} everything trains",
            )
        return found.stages - self.last

    def gradient(self, gradient: GradFn) -> GradFn:
        """With what is frozen as in evaluation."""

        def still(batch: "Batch", run: "Run") -> Passed:
            with frozen([], self.still):
                return gradient(batch, run)

        return still
