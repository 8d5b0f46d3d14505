"""Lets few numbers of a code be used for each picture."""

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.nn.output import Decoded, main_output
from netwright.tricks._code import NO_CODE, coder

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run

Kind = Literal["l1", "kl", "topk"]
OWN = {"rho": ("kl",), "k": ("topk",), "anneal": ("topk",)}  # options that only some kinds have
LEAST = 1e-6  # of a unit's mean activity and of its distance from 1: its logarithm stays finite


@dataclass
class Sparse(Trick):
    """Codes of an autoencoder become sparse; those of a variational one are dense by their prior, and are refused.

    "l1" adds weight · Σ |z| to the loss, summed over a code and averaged over pictures. A decoder with larger weights
    needs smaller codes, so that alone it shrinks codes rather than emptying them: give the weights a price too, with
    the optimiser's weight decay, or bound them with max_norm. Values come near zero and are not exactly zero.

    "kl" puts codes through a sigmoid and adds weight · Σ KL(rho ‖ mean activity), the mean being each unit's over the
    batch, which wants batches of some tens of pictures. A unit that is never active costs without bound, so none dies.

    "topk" keeps the k largest numbers of each code and makes the others exactly zero. While k falls from all to its
    value, units get the time to find a use; in evaluation it is always k.

    Attributes:
        kind: a price for sizes, a price for mean activities, or a number that are kept.
        weight: of "l1" and "kl", in nats for a unit of what they sum.
        rho: the mean activity that "kl" wants.
        k: how many "topk" keeps.
        anneal: the progress at which "topk" has come down to k.
    """

    kind: Kind = "l1"
    weight: Annotated[float, Between(0)] = 0.1
    rho: Annotated[float, Between(0.001, 0.999)] = 0.05
    k: Annotated[int, Between(1)] = 8
    anneal: Annotated[float, Between(0, 1)] = 0.3

    card = Card(
        paper="Olshausen & Field, Nature 1996 (l1); Lee, Ekanadham & Ng, NeurIPS 2007, and Ng, Sparse autoencoder, "
        "CS294A notes, 2011 (kl); Makhzani & Frey, k-sparse autoencoders, ICLR 2014 (topk)",
        neutral={"weight": 0.0},
        strong={"kind": "topk", "k": 1, "anneal": 0.5},
        ranges={"weight": Range(1e-3, 10.0, log=True)},
        treats=(Symptom.OVERFITTING, Symptom.DEAD_UNITS),
        tasks=("reconstruction",),
        why=NO_CODE,
        targets=True,  # pictures stay as they are
        structure=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in fields(self):
            kinds = OWN.get(field.name, (self.kind,))
            if self.kind not in kinds and field.default is not MISSING and getattr(self, field.name) != field.default:
                problem = f"sparse(kind='{self.kind}') has no {field.name}"
                raise NetwrightError(problem, f"{field.name} is for kind='{kinds[0]}'; leave one of the two out")

    def model(self, module: nn.Module) -> nn.Module:
        """Put a sigmoid, or what keeps the largest, behind the code.

        Raises:
            NetwrightError: codes are random or there are none, or there are fewer numbers than are to be kept.
        """
        found = coder(self.name, module)
        if found.random:
            problem = f"sparse wants codes that are not random, and {type(module).__name__} draws them: a prior of "
            problem += "N(0, 1) keeps every number busy or empty"
            raise NetwrightError(problem, "take --model autoencoder or mlp_autoencoder, or --without sparse")
        if self.kind == "topk" and self.k > found.latent:
            problem = f"sparse cannot keep k={self.k} numbers of codes that have {found.latent}"
            raise NetwrightError(problem, f"give k from 1 to {found.latent}, or a larger latent to the model")
        if self.kind == "kl":
            found.code = nn.Sigmoid()
        if self.kind == "topk":
            found.code = Largest(self.k)
        return module

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """How many are kept now: a function of the run's time alone, so that a resumed run keeps as many."""
        found = coder(self.name, run.model)
        if isinstance(found.code, Largest):
            found.code.kept = annealed(found.latent, self.k, run.progress, self.anneal)
        return batch

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""

        def sparse(output: Any, batch: "Batch", run: "Run") -> Tensor:
            decoded: Decoded = main_output(output)
            price = sizes(decoded.mean) if self.kind == "l1" else inactivity(decoded.mean, self.rho)
            return loss(output, batch, run) + self.weight * price

        return sparse if self.weight and self.kind != "topk" else loss


class Largest(nn.Module):
    """Keeps the k largest numbers of each code, and makes the others zero; in training it may keep more. N D -> N D."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.kept = k  # how many in training; what evaluates knows nothing of it

    def forward(self, code: Tensor) -> Tensor:
        """N D -> N D."""
        return largest(code, self.kept if self.training else self.k)

    def extra_repr(self) -> str:
        """What makes it another layer."""
        return f"k={self.k}"


def largest(code: Tensor, k: int) -> Tensor:
    """The k largest of each row, the others exactly zero; of equal ones as many as there is room for. N D -> N D."""
    if k >= code.shape[1]:
        return code
    value, place = code.topk(k, dim=1)
    return torch.zeros_like(code).scatter(1, place, value)


def annealed(latent: int, k: int, progress: float, anneal: float) -> int:
    """How many numbers are kept: from all, straight, to k when `progress` is `anneal`."""
    return k if progress >= anneal else round(latent + (k - latent) * progress / anneal)


def sizes(code: Tensor) -> Tensor:
    """Σ |z| of each code, averaged over pictures. N D -> scalar."""
    return code.float().abs().sum(1).mean()


def inactivity(code: Tensor, rho: float) -> Tensor:
    """Σ KL(rho ‖ mean) in nats, of two coins for each unit, the mean being over the batch. N D in [0, 1] -> scalar."""
    mean = code.float().mean(0).clamp(LEAST, 1 - LEAST)
    wanted = torch.full_like(mean, rho)
    return (wanted * (wanted / mean).log() + (1 - wanted) * ((1 - wanted) / (1 - mean)).log()).sum()
