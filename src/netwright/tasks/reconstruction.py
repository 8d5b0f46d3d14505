"""The picture itself, from a code of it: distortion plus beta times rate, in nats a picture; PSNR is the headline."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.nn.output import Decoded
from netwright.tasks._latent import Latent

SLACK = 1e-3  # of rounding, outside of [0, 1]
LEAST = 1e-10  # mean squared error of a picture, where its PSNR is 100 dB; a perfect one has none


@dataclass(frozen=True)
class Reconstruction:
    """Pictures from their codes. Outputs are `nn.output.Decoded`; targets are pictures in [0, 1], N C H W.

    The loss of a picture is what is left of −log p(x | z), in nats and summed over its values, when what no decoder
    can change is taken off, plus `beta` times KL(q(z | x) ‖ N(0, I)), summed over dimensions. Observation model and
    beta are the network's. Nothing is averaged over values, so that beta means the same at every image size (Kingma &
    Welling 2014, arXiv:1312.6114; Higgins et al. 2017 for beta).

    Attributes:
        mean: of each channel, that was taken off pictures; none leaves them as they are.
        std: of each channel, that pictures were then divided by.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    name = "reconstruction"
    of_pictures = True  # targets and what metrics are measured against are pictures, whatever their labels say

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """The picture as it was before it was normalised. N C H W -> N C H W, float32.

        Raises:
            NetwrightError: there are no pictures, but features of them.
        """
        if image.dim() != 4:
            problem = f"reconstruction wants pictures, N C H W, and these are {tuple(image.shape)}"
            raise NetwrightError(problem, "give pictures; features can be kept for classification only")
        if not self.mean:
            return _refuse_outside(image.float())
        mean, std = (torch.tensor(each, device=image.device).view(1, -1, 1, 1) for each in (self.mean, self.std))
        return torch.addcmul(mean, image.float(), std)

    def loss(self, output: Decoded, target: Tensor) -> Tensor:
        """Mean over pictures of distortion − offset + beta · rate, a scalar in nats.

        Where nats are not charged (`floor`), each dimension's mean divergence over the batch counts as that at least.
        """
        off = self.distortion(output, target) - output.observation.offset * target[0].numel()
        divergence = output.divergence
        if divergence is None:
            return off.mean()
        return off.mean() + output.beta * divergence.mean(0).clamp(min=output.floor).sum()

    def distortion(self, output: Decoded, target: Tensor) -> Tensor:
        """−log p(x | z) of each picture in nats. N.

        Raises:
            NetwrightError: the network gives no pictures of this size.
        """
        given: Any = output  # whatever a caller's own network gives
        if not isinstance(given, Decoded) or given.natural.shape[1:] != target.shape[1:]:
            problem = "reconstruction wants a network that gives pictures as it was given"
            raise NetwrightError(problem, "take an autoencoder: --model autoencoder, vae or mlp_autoencoder")
        return output.observation.distortion(output.natural, target)

    def metrics(self, output: Decoded, label: Tensor) -> dict[str, Tensor]:
        """PSNR in dB, mean squared error, and loss; where codes are random also rate, distortion and ELBO. N.

        The last three are in nats. The distortion is that of the code in `output`, in evaluation the mean code's; so
        the `elbo` here is an estimate from one point, and no bound.

        Args:
            output: the network's.
            label: the pictures, N C H W.
        """
        distortion = self.distortion(output, label)
        off = distortion - output.observation.offset * label[0].numel()
        mse = squared_error(output.pixels, label)
        found = {"psnr": psnr(mse), "mse": mse}
        if output.divergence is None:
            return {**found, "loss": off}
        rate = output.divergence.sum(1)
        found |= {"rate": rate, "distortion": distortion, "elbo": -distortion - rate}
        return {**found, "loss": off + output.beta * rate}

    def summary(self) -> Latent:
        """What gathers statistics of codes while a split is evaluated."""
        return Latent()


def _refuse_outside(picture: Tensor) -> Tensor:
    """Pictures of a user's own dataset, if their values are in [0, 1].

    Raises:
        NetwrightError: they are not.
    """
    low, high = picture.amin().item(), picture.amax().item()
    if low < -SLACK or high > 1 + SLACK:
        problem = f"reconstruction wants pictures with values in [0, 1], and these have {low:.2g} to {high:.2g}"
        raise NetwrightError(problem, "give them as bytes, or leave normalising out of your dataset")
    return picture


def squared_error(pixels: Tensor, picture: Tensor) -> Tensor:
    """Mean squared error of each picture, reconstructions clipped to [0, 1] as they are when they are shown. N."""
    return (pixels.float().clamp(0, 1) - picture.float()).square().flatten(1).mean(1)


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of pictures in [0, 1], −10 log₁₀ mse, in dB; 100 dB at most. Same shape."""
    return -10 * mse.clamp(min=LEAST).log10()
