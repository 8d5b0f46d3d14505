"""Scenes as training and evaluation read them: crops in which rare classes appear, and whole pictures.

Crops around a pixel of a foreground class: Isensee et al., nnU-Net (Nature Methods 2021).
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.data.decode import Pixels
from netwright.data.loader import ahead
from netwright.data.masks import IGNORED
from netwright.data.scenes import Scenes
from netwright.engine.device import Profile
from netwright.engine.plans import Raw
from netwright.engine.random import bits, generator, key, uniform
from netwright.engine.warp import IGNORE

RARE = 1 / 3  # of the crops are put where a foreground class is, as in nnU-Net
MOST_PLACES = 1000  # of a class in a picture, of which one is drawn
JITTER = 1 / 4  # of a crop's side: how far such a pixel is from the middle at most
COUNTED = 1000  # crops, at least, from which it is seen how many pixels of each class an epoch has
WHOLE_CROP = 256  # side of the square that counts as one sample where whole pictures are put together

Place = tuple[int, int]


class CropSource:
    """Square crops for training, at native resolution. Which crop is drawn follows from (stream, id) alone.

    An epoch has about as many pixels as the pictures: each gives as many crops as cover its area.

    Args:
        scenes: one split.
        profile: the device.
        crop: side in pixels.
        rare: share of crops that are put around a pixel of a foreground class; of which class is drawn among those
            that the picture has, so that rare ones come as often as others.
    """

    labels = None

    def __init__(self, scenes: Scenes, profile: Profile, crop: int, *, rare: float = RARE) -> None:
        self.scenes = scenes
        self.device = profile.device
        self.crop = crop
        self.rare = rare
        counts = np.maximum(1, -(-scenes.sizes.prod(1) // crop**2))
        self.picture = np.repeat(np.arange(len(scenes)), counts)  # of each crop
        self.ids = _numbered(scenes.ids, counts)
        self._places: dict[tuple[int, int], NDArray[np.int32]] = {}

    def __len__(self) -> int:
        return len(self.picture)

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` on the device for each array of positions: image uint8 N S S C, label int64 N S S, or N K S S.

        Labels are -1 where ignored, and outside the picture where that is smaller than the crop.
        """
        made = (self._batch(chosen, key(stream, "crop")) for chosen in positions)
        return made if self.device.type == "cpu" and not self.scenes.mapped else ahead(made)

    @cached_property
    def pixel_counts(self) -> NDArray[np.int64]:
        """Labelled pixels of each class in the crops of an epoch, K, in which rare ones are more than in the pictures.

        As in epochs drawn for this alone, a thousand crops at least; the same for every run. Counted once.
        """
        epochs = -(-COUNTED // max(1, len(self)))
        counts = np.zeros(self.scenes.pixels.shape[1], np.int64)
        for epoch in range(epochs):
            draws = uniform(key("counts", epoch), torch.from_numpy(self.ids), 5).numpy().astype(np.float64)
            for place, draw in zip(self.picture.tolist(), draws, strict=True):
                mask = self.scenes.masks[place]
                crop = cut(mask, self._corner(place, mask, draw), self.crop, outside=IGNORED)
                counts += _pixels(crop, len(counts))
        return np.where(counts > 0, np.maximum(1, np.rint(counts / epochs)), 0).astype(np.int64)

    def _batch(self, positions: np.ndarray, stream: int) -> Raw:
        ids = torch.from_numpy(self.ids[positions])
        draws = uniform(stream, ids, 5).numpy().astype(np.float64)
        images: list[Pixels] = []
        masks: list[Pixels] = []
        for place, draw in zip(self.picture[positions].tolist(), draws, strict=True):
            mask = self.scenes.masks[place]
            corner = self._corner(place, mask, draw)
            images.append(cut(self.scenes.images[place], corner, self.crop))
            masks.append(cut(mask, corner, self.crop, outside=IGNORED))
        return _raw(np.stack(images), np.stack(masks), ids, self.device)

    def _corner(self, place: int, mask: Pixels, draw: NDArray[np.float64]) -> Place:
        """The crop's top left corner; negative where the picture is smaller. Draw: 5 numbers in [0, 1)."""
        height, width = self.scenes.sizes[place].tolist()
        foreground = self._foreground[place]
        if draw[0] >= self.rare or not len(foreground):
            return _free(draw[3], height, self.crop), _free(draw[4], width, self.crop)
        found = self._places_of(place, int(foreground[int(draw[1] * len(foreground))]), mask)
        y, x = divmod(int(found[int(draw[2] * len(found))]), width)
        return _around(y, draw[3], height, self.crop), _around(x, draw[4], width, self.crop)

    @cached_property
    def _foreground(self) -> list[NDArray[np.int64]]:
        """The foreground classes that each picture has."""
        own = np.array(self.scenes.foreground, np.int64)
        return [own[row[own] > 0] for row in self.scenes.pixels]

    def _places_of(self, place: int, label: int, mask: Pixels) -> NDArray[np.int32]:
        """Some pixels of a class in a picture, y · width + x; looked for once."""
        if (place, label) not in self._places:
            all_ = np.flatnonzero(mask[label] == 1 if self.scenes.several else mask == label)
            draw = generator("places", int(self.scenes.ids[place]), label)
            chosen = draw.integers(0, len(all_), MOST_PLACES) if len(all_) > MOST_PLACES else slice(None)
            self._places[place, label] = all_[chosen].astype(np.int32)
        return self._places[place, label]


class WholeSource:
    """Whole pictures for evaluation, in order. Pictures of different sizes cannot be in one batch.

    Args:
        scenes: one split.
        profile: the device.
        crop: side of the square that counts as one sample: larger pictures make smaller batches.
    """

    labels = None

    def __init__(self, scenes: Scenes, profile: Profile, *, crop: int = WHOLE_CROP) -> None:
        self.scenes = scenes
        self.device = profile.device
        self.crop = crop

    def __len__(self) -> int:
        return len(self.scenes)

    def chunks(self, batch_size: int) -> list[np.ndarray]:
        """All positions in order, cut where the size changes, where a batch is full, or where it has the pixels of
        `batch_size` crops. A picture larger than that is alone."""
        found: list[list[int]] = []
        sizes = self.scenes.sizes.tolist()
        for place, (height, width) in enumerate(sizes):
            most = min(batch_size, max(1, batch_size * self.crop**2 // (height * width)))
            if not found or len(found[-1]) >= most or sizes[found[-1][-1]] != [height, width]:
                found.append([])
            found[-1].append(place)
        return [np.array(chunk, np.int64) for chunk in found]

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` on the device for each array of positions: image uint8 N H W C, label int64 N H W, or N K H W.

        Raises:
            NetwrightError: pictures of different sizes are asked for together.
        """
        made = (self._batch(np.asarray(chosen)) for chosen in positions)
        return made if self.device.type == "cpu" and not self.scenes.mapped else ahead(made)

    def _batch(self, positions: np.ndarray) -> Raw:
        sizes = np.unique(self.scenes.sizes[positions], axis=0)
        if len(sizes) > 1:
            words = " and ".join(f"{width}×{height}" for height, width in sizes[:2].tolist())
            raise NetwrightError(f"pictures of {words} px cannot be in one batch", "take the batches from chunks()")
        images = np.stack([self.scenes.images[place] for place in positions.tolist()])
        masks = np.stack([self.scenes.masks[place] for place in positions.tolist()])
        return _raw(images, masks, torch.from_numpy(self.scenes.ids[positions]), self.device)


def cut(array: Pixels, corner: Place, side: int, *, outside: int | None = None) -> Pixels:
    """A square of an array H W, H W 3, H W 1 or K H W whose corner may lie outside.

    Args:
        array: a mask where `outside` is given, else a picture, H W C.
        corner: y and x.
        side: in pixels.
        outside: what a mask has outside; a picture is reflected there, or where it is one pixel wide, repeated.
    """
    first = array.ndim - 2 if outside is not None else 0  # the axis of y
    size = array.shape[first : first + 2]
    inside = all(at >= 0 and at + side <= length for at, length in zip(corner, size, strict=True))
    if inside:
        y, x = (slice(at, at + side) for at in corner)
        return array[..., y, x] if outside is not None else array[y, x]
    rows, columns = (np.arange(at, at + side) for at in corner)
    if outside is None:
        return array[_reflected(rows, size[0])][:, _reflected(columns, size[1])]
    sheet = np.full((*array.shape[:first], side, side), outside, np.uint8)
    y, x = (np.flatnonzero((at >= 0) & (at < length)) for at, length in zip((rows, columns), size, strict=True))
    sheet[..., y[0] : y[-1] + 1, x[0] : x[-1] + 1] = array[
        ..., rows[y[0]] : rows[y[-1]] + 1, columns[x[0]] : columns[x[-1]] + 1
    ]
    return sheet


def _pixels(mask: Pixels, classes: int) -> NDArray[np.int64]:
    """Pixels of each class: H W of ids, or K H W of 1, 0 and IGNORED -> K."""
    if mask.ndim == 3:
        return (mask == 1).sum((1, 2))
    return np.bincount(mask.ravel(), minlength=IGNORED + 1)[:classes]


def _reflected(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Places outside 0 … length-1 folded back at the first and last, which are not repeated."""
    if length == 1:
        return np.zeros_like(places)
    folded = places % (2 * length - 2)
    return np.minimum(folded, 2 * length - 2 - folded)


def _free(draw: float, length: int, side: int) -> int:
    """Where a crop begins that may be anywhere; a picture that is smaller is in its middle."""
    return int(draw * (length - side + 1)) if length >= side else -((side - length) // 2)


def _around(at: int, draw: float, length: int, side: int) -> int:
    """Where a crop begins that has a pixel near its middle, without leaving the picture."""
    if length < side:
        return _free(draw, length, side)
    moved = at - side // 2 + int((2 * draw - 1) * JITTER * side)
    return min(max(moved, 0), length - side)


def _raw(images: Pixels, masks: Pixels, ids: Tensor, device: torch.device) -> Raw:
    """On the device; masks become labels there, since they are an eighth of the size before."""
    label = torch.from_numpy(masks).to(device).long()
    return Raw(torch.from_numpy(images).to(device), label.masked_fill_(label == IGNORED, IGNORE), ids.to(device))


def _numbered(ids: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """A different number for each crop of each picture; the first crop has the picture's own."""
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    own = torch.from_numpy(np.repeat(ids, counts))
    mixed = (bits(key("crops"), own + torch.from_numpy(numbers)) >> 1).numpy() & (2**63 - 1)
    found = np.where(numbers == 0, own.numpy(), mixed)
    while len(np.unique(found)) < len(found):  # two of 64 bits meet once in a lifetime
        _, first = np.unique(found, return_index=True)
        again = np.setdiff1d(np.arange(len(found)), first)
        found[again] = (found[again] + 1) & (2**63 - 1)
    return found
