"""Lets batch norms keep the statistics they came with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.symptoms import Symptom
from netwright.engine.run import Passed
from netwright.engine.trick import Card, GradFn, Trick
from netwright.nn.depth import depths
from netwright.nn.frozen import frozen
from netwright.nn.norm import batch_norms

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class BnFreeze(Trick):
    """In training too they use the running statistics of earlier pictures, as small batches have none worth using.

    It is meant for weights that were learnt; norms in a new head, or in a decoder, which saw no pictures yet, learn
    theirs.

    Attributes:
        affine: whether their weights and biases stay as well.
    """

    affine: bool = False

    card = Card(
        paper="He et al., Deep residual learning for image recognition, CVPR 2016, appendix A",
        strong={"affine": True},
        treats=(Symptom.UNSTABLE_LOSS,),
        after=("head", "weight_standardisation"),
        excludes=("bn_refresh", "norm"),
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Remember them, and withhold their parameters from the optimiser if these stay.

        Raises:
            NetwrightError: there are none.
        """
        found = depths(module)
        norms = {id(norm) for norm in batch_norms(module)}
        body = [layer for name, layer in module.named_modules() if found.layers[name] < found.encoder]
        self.norms = [layer for layer in body if id(layer) in norms]
        if not self.norms:
            raise NetwrightError(
                f"bn_freeze: {type(module).__name__} has no batch norms with running statistics before its head",
                "its norms are the same in training and in use already: --without bn_freeze",
            )
        for parameter in (p for norm in self.norms for p in norm.parameters() if self.affine):
            parameter.requires_grad_(False)
        return module

    def gradient(self, gradient: GradFn) -> GradFn:
        """With batch norms as in evaluation."""

        def still(batch: "Batch", run: "Run") -> Passed:
            with frozen([], self.norms):
                return gradient(batch, run)

        return still
