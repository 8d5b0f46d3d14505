"""What studies make of a data set: some of its training pictures, and pictures as a network sees them."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.data.loader import ArraySource
from netwright.data.split import Data, Split
from netwright.engine.augment import prepare
from netwright.engine.device import profile
from netwright.engine.normalise import Normalise

LOOKED_AT = 256  # pictures at once


def trained_on(data: Data, places: NDArray[np.int64]) -> Data:
    """A data set whose training pictures are only these; the other splits stay whole."""
    train = data.splits["train"].taken(places)
    fingerprint = sha256(f"{data.fingerprint} trained on {train.ids.tolist()}".encode()).hexdigest()
    return replace(data, splits=data.splits | {"train": train}, fingerprint=fingerprint, examined=None)


def pictures(data: Data, split: Split, network: nn.Module) -> Iterator[Tensor]:
    """A split as a network sees it in evaluation, on its device. N C H W each."""
    parameter = next(network.parameters())
    where = profile(str(parameter.device), "fp32")
    normalise = Normalise(data.preprocess.mean, data.preprocess.std, data.preprocess.image_size)
    places = np.arange(len(split))
    batches = np.array_split(places, -(-len(places) // LOOKED_AT))
    return (prepare(raw, normalise, where) for raw in ArraySource(split, where).batches(batches))
