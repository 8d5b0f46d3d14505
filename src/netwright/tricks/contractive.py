"""Lets codes change little when pictures do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine import random
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.nn.output import Decoded, main_output
from netwright.tricks._code import NO_CODE, coder

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Contractive(Trick):
    """loss + weight · mean ‖∂z/∂x‖², of mean codes z by what the network sees, x, in the Frobenius norm.

    The norm is estimated with random signs v: the mean of ‖∂(v·z)/∂x‖² over draws is the norm exactly (Hutchinson
    1990), and one draw is enough, since every step has another. Each is one more pass back through the encoder, and the
    gradient of it another: a step takes about twice the encoder's time and memory.

    As with any price on codes, a decoder with larger weights needs smaller ones: keep weight decay, or max_norm.

    Attributes:
        weight: in nats for a unit of the squared norm.
        probes: random vectors a picture; more make the estimate steadier.
    """

    weight: Annotated[float, Between(0)] = 0.1
    probes: Annotated[int, Between(1, 1000)] = 1

    card = Card(
        paper="Rifai et al., Contractive auto-encoders: explicit invariance during feature extraction, ICML 2011; "
        "Hutchinson, Communications in Statistics 1990, for the estimate",
        neutral={"weight": 0.0},
        strong={"weight": 10.0},
        ranges={"weight": Range(1e-3, 10.0, log=True)},
        treats=(Symptom.OVERFITTING,),
        tasks=("reconstruction",),
        why=NO_CODE,
        targets=True,  # pictures stay as they are
        after=("cutmix", "denoise", "mixup", "mixup_or_cutmix"),  # the pictures by which it differentiates are the last
    )

    def start(self, run: "Run") -> None:
        """There has to be a code, and a second derivative of it.

        Raises:
            NetwrightError: it is no autoencoder, or its encoder is one that CUDA differentiates once only.
        """
        coder(self.name, run.model)
        recurrent = any(isinstance(layer, nn.RNNBase) for layer in run.model.modules())
        if recurrent and run.profile.device.type == "cuda" and self.weight:
            problem = f"contractive needs second derivatives, and {type(run.model).__name__} on CUDA has none"
            raise NetwrightError(problem, "train it with --device cpu, or leave it out: --without contractive")

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """Ask for derivatives by the pictures."""
        return batch.changed(image=batch.image.detach().requires_grad_()) if self.weight else batch

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""

        def contracted(output: Any, batch: "Batch", run: "Run") -> Tensor:
            decoded: Decoded = main_output(output)
            signs = self.signs(decoded.mean, batch, run)
            return loss(output, batch, run) + self.weight * squared_slope(decoded.mean, batch.image, signs)

        return contracted if self.weight else loss

    def signs(self, code: Tensor, batch: "Batch", run: "Run") -> Tensor:
        """A function of seed, epoch and sample, however the batch is cut. P N D of −1 and 1."""
        stream = random.key(run.seed, run.epoch, self.name)
        draw = random.uniform(stream, batch.id, self.probes * code.shape[1])
        return torch.where(draw < 0.5, -1.0, 1.0).view(len(code), self.probes, -1).transpose(0, 1)


def squared_slope(code: Tensor, image: Tensor, signs: Tensor) -> Tensor:
    """An unbiased estimate of the mean over pictures of ‖∂z/∂x‖², whose gradient can be taken. Scalar.

    Args:
        code: N D, of which picture n's depends on image n alone; what norms of a batch add by way of the others
            counts too.
        image: N C H W, requires a gradient.
        signs: P N D, of −1 and 1.
    """
    slopes = [torch.autograd.grad((code * v).sum(), image, create_graph=True)[0] for v in signs]
    return torch.stack([slope.float().flatten(1).square().sum(1).mean() for slope in slopes]).mean()
