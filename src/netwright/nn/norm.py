"""Normalisation by name, for feature maps: batch, layer, instance, group (Wu & He 2018, arXiv:1803.08494), or none."""

from collections.abc import Iterable
from typing import Any, Literal

from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from netwright.nn.batch_channel_norm import BatchChannelNorm2d
from netwright.nn.ghost_batch_norm import GhostBatchNorm2d
from netwright.nn.init import Images, evaluating, shown

NormKind = Literal["batch", "layer", "instance", "group", "none"]
SwapKind = Literal["batch", "layer", "instance", "group", "ghost_batch", "batch_channel", "sync_batch", "none"]
SWAPPABLE = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.InstanceNorm2d, GhostBatchNorm2d,
    BatchChannelNorm2d,
)  # fmt: skip

MOST_GROUPS = 32  # the group normalisation paper's choice for every layer of its networks


def make_norm(kind: NormKind, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """A normalisation layer for maps of shape N C H W, with a weight and a bias a channel.

    `layer` takes its statistics over C, H and W, which is one group of all channels; torch's `LayerNorm` over C alone
    is another layer. `none` is the identity: give the convolution before it a bias. `eps` is added to the variance;
    `momentum` is the newest batch's share in the running statistics that batch normalisation keeps.
    """
    match kind:
        case "batch":
            return nn.BatchNorm2d(channels, eps, momentum)
        case "layer":
            return nn.GroupNorm(1, channels, eps)
        case "instance":
            return nn.InstanceNorm2d(channels, eps, affine=True)
        case "group":
            return nn.GroupNorm(group_count(channels), channels, eps)
        case "none":
            return nn.Identity()


def group_count(channels: int) -> int:
    """The most groups, up to 32, that divide the channels and hold two or more: one each is instance normalisation."""
    most = max(1, min(MOST_GROUPS, channels // 2))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


def swapped(norm: nn.Module, kind: SwapKind, *, size: int = 32) -> nn.Module:
    """Another norm for the same channels, with the tensors of the old one that fit it.

    A norm of vectors, N C, stays where the kind means nothing for them. "sync_batch" is "batch" in a single process.

    Args:
        norm: one of `SWAPPABLE`.
        kind: of the new one.
        size: pictures of a part, for "ghost_batch".
    """
    if isinstance(norm, nn.BatchNorm1d) and kind in ("instance", "ghost_batch", "batch_channel"):
        return norm
    new = _made(norm, kind, size)
    home = new.batch if isinstance(new, BatchChannelNorm2d) else new
    state = home.state_dict()
    fitting = {k: v for k, v in norm.state_dict().items() if k in state and v.shape == state[k].shape}
    home.load_state_dict(fitting, strict=False)
    like = next(norm.parameters(), None)
    return new.to(like.device if isinstance(like, Tensor) else "cpu").train(norm.training)


def _made(norm: Any, kind: SwapKind, size: int) -> nn.Module:
    if isinstance(norm, BatchChannelNorm2d):
        norm = norm.batch
    channels, eps = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features, norm.eps
    momentum = norm.momentum if isinstance(norm, _BatchNorm) else 0.1
    match kind:
        case "ghost_batch":
            return GhostBatchNorm2d(channels, size, eps, momentum)
        case "batch_channel":
            return BatchChannelNorm2d(channels, group_count(channels), eps, momentum)
        case "sync_batch" if distributed.is_available() and distributed.is_initialized():
            return nn.SyncBatchNorm(channels, eps, momentum)
        case "batch" | "sync_batch":
            return (nn.BatchNorm1d if isinstance(norm, nn.BatchNorm1d) else nn.BatchNorm2d)(channels, eps, momentum)
        case _:
            return make_norm(kind, channels, eps=eps)


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The layers of a network that keep running statistics of batches."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]


def refresh_(model: nn.Module, batches: Iterable[Images]) -> None:
    """Statistics of every batch norm become the mean of those of the batches; nothing else trains.

    Dropout is off, as it will be in use. Norms that are not used in evaluation, as of auxiliary heads, are reset.
    """
    norms = batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for a plain mean
            norm.train()
        for batch in batches:
            shown(model, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
