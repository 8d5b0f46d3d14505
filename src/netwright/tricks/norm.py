"""Exchanges the normalisation of a network for another kind."""

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from netwright.core.errors import NetwrightError, listed
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.nn.norm import SWAPPABLE, swapped

Kind = Literal["keep", "batch", "layer", "instance", "group", "ghost_batch", "batch_channel", "sync_batch", "none"]


@dataclass
class Norm(Trick):
    """Every norm of maps N C H W becomes one of another kind; weight, bias and statistics are kept where they fit.

    Attributes:
        kind: statistics over the batch and the map ("batch"), all channels of one map ("layer"), one ("instance") or
            some ("group", up to 32 groups); over parts of the batch ("ghost_batch"); batch, then group
            ("batch_channel"); the batch of all processes ("sync_batch", in a single one the same as "batch");
            "none", which also leaves out weight and bias; "keep": what the network came with.
        size: pictures of a part of the batch, for "ghost_batch".
    """

    kind: Kind = "group"
    size: Annotated[int, Between(2)] = 32

    card = Card(
        paper="Ioffe & Szegedy, ICML 2015 (batch); Ba et al., 2016 (layer); Ulyanov et al., 2016 (instance); "
        "Wu & He, ECCV 2018 (group); Hoffer et al., NeurIPS 2017 (ghost_batch); Qiao et al., 2019 (batch_channel)",
        neutral={"kind": "keep"},
        strong={"kind": "instance"},
        treats=(Symptom.UNSTABLE_LOSS,),
        structure=True,
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Exchange them in place."""
        if self.kind == "keep":
            return module
        refuse_foreign(module)
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if type(child) in SWAPPABLE:
                    setattr(parent, name, swapped(child, self.kind, size=self.size))
        return module


def refuse_foreign(module: nn.Module) -> None:
    """Refuse a network without norms that can be exchanged, or with some that hold more than a norm.

    Raises:
        NetwrightError: names them.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, SWAPPABLE)]
    foreign = {type(layer).__name__ for layer in norms if type(layer) not in SWAPPABLE}
    if foreign or not norms:
        own = f"norms of its own kind ({listed(sorted(foreign))})"
        raise NetwrightError(
            f"norm: {type(module).__name__} has {own if foreign else 'no norms that can be exchanged'}",
            "a model's own option may do it, as in --model \"convnext_tiny(norm='batch')\"; or --without norm",
        )
