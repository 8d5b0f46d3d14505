"""A recipe's network with its learnt weights, what pictures do to its units, and the same with statistics mended."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.data import Data
from netwright.data.preprocess import Preprocess
from netwright.data.split import Split
from netwright.engine.device import profile
from netwright.engine.normalise import Normalise
from netwright.engine.random import key
from netwright.engine.trick import Tricks
from netwright.lab.domain_shift import OWN_MOMENTS, REFRESHED, DomainShift, domain_shift
from netwright.models import create_model
from netwright.models._weights import load_weights
from netwright.nn.norm import refresh_
from netwright.recipes._recipe import Recipe
from netwright.tricks import TRICKS

HEAD = "head"  # the trick that takes the place of the layer that the weights may have no rows for
LOOKED_AT = 128  # pictures
BATCH = 32


@dataclass(frozen=True, eq=False)
class Learnt:
    """A network as its weights make it.

    Attributes:
        network: in float32, under the tricks that its weights are meant for.
        wanted: mean and deviation that the weights were trained with; the pictures' own where nobody knows.
        made_by: specs of these tricks: what trains this network has to leave them out.
    """

    network: nn.Module
    wanted: Normalise
    made_by: tuple[str, ...] = ()


def learnt(recipe: Recipe, data: Data) -> Learnt:
    """A recipe's network and weights, as a run makes them but for the head: other kinds of norm are in their places.

    Args:
        recipe: with its network named.
        data: whose classes and channels it is for.

    Raises:
        NetwrightError: unknown names, or weights of another model or of other tricks.
    """
    if recipe.weights is None:
        raise NetwrightError("there are no weights to look at", "give them: --weights FILE")
    prepared = data.preprocess
    tricks = [trick for trick in Tricks(TRICKS.build(text) for text in recipe.tricks) if trick.card.structure]
    structure = [str(trick.spec) for trick in tricks]
    torch.manual_seed(key(recipe.seed, "init"))
    network = create_model(recipe.model, classes=len(data.classes), in_channels=prepared.channels)
    mean, std, _ = load_weights(network, recipe.weights, classes=data.classes, tricks=structure).moments
    if len(mean) != prepared.channels:
        mean, std = prepared.mean, prepared.std
    dressing = Tricks(trick for trick in tricks if trick.name != HEAD)
    made_by = tuple(str(trick.spec) for trick in dressing.at("model"))
    return Learnt(dressing.through("model", network), Normalise(mean, std, prepared.image_size), made_by)


def shift_of(known: Learnt, split: Split, prepared: Preprocess, device: str = "auto") -> DomainShift | None:
    """The table for some pictures of a split, evenly spread; None where the network has nothing that can be watched.

    Args:
        known: network and moments.
        split: of bytes.
        prepared: how the pictures were.
        device: where it is computed, in float32.
    """
    where = profile(device, "fp32")
    batches = [batch.to(where.device) for batch in pictures(split, prepared)]
    network = copy.deepcopy(known.network).to(where.device)
    try:
        return domain_shift(network, batches, known.wanted)
    except NetwrightError:
        return None


def mended(known: Learnt, how: str, split: Split, data: Data) -> tuple[nn.Module, Data]:
    """The network, and the data prepared, under one of the conditions of `domain_shift`, for training a head.

    Args:
        known: network and moments.
        how: `own moments` or `bn_refresh`.
        split: whose statistics are taken: the training pictures.
        data: to be prepared.
    """
    network = copy.deepcopy(known.network)
    if how == REFRESHED:
        refresh_(network, [known.wanted(batch) for batch in pictures(split, data.preprocess)])
        return network, moments_set(data, known.wanted.mean, known.wanted.std)
    if how != OWN_MOMENTS:
        raise ValueError(how)
    batches = pictures(split, data.preprocess)
    wide = torch.cat([batch.transpose(0, 1).flatten(1) for batch in batches], 1).double() / 255
    std = wide.std(1).clamp(min=1 / 255)
    return network, moments_set(data, wide.mean(1).tolist(), std.tolist())


def moments_set(data: Data, mean: Sequence[float], std: Sequence[float]) -> Data:
    """Data whose pictures are normalised with these."""
    return replace(data, preprocess=replace(data.preprocess, mean=tuple(mean), std=tuple(std)))


def pictures(split: Split, prepared: Preprocess) -> list[Tensor]:
    """Some pictures of a split as evaluation crops them, bytes N C H W."""
    places = np.linspace(0, len(split) - 1, min(LOOKED_AT, len(split))).astype(np.int64)
    images = np.ascontiguousarray(prepared.centre(np.asarray(split.images[places])).transpose(0, 3, 1, 2))
    return list(torch.from_numpy(images).split(BATCH))
