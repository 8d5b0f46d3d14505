"""Pictures with masks for measuring a model that exists: its classes decide; pairs are decoded when they are due."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data.assign import SPLITS
from netwright.data.decode import MOST_WITH_MASK, Pixels, UnreadableImage, decode, pixels_of, upright_picture
from netwright.data.labelled import ORDER, SEEN
from netwright.data.listing import Listing, taken
from netwright.data.masks import IGNORED, Masks, MaskWanted, understood
from netwright.engine.device import Profile
from netwright.engine.plans import Raw
from netwright.engine.warp import IGNORE

BORDERED = ("background", "interior", "border")
AT_ONCE = 524_288  # pixels of one batch; a larger picture is alone


@dataclass(frozen=True)
class Pairs:
    """How to read some pictures with masks as a model wants them.

    Attributes:
        listing: all of them.
        masks: how their masks are read.
        channels: of pictures, 1 or 3.
        classes: the model's.
    """

    listing: Listing
    masks: Masks
    channels: int
    classes: tuple[str, ...]

    def read(self, place: int) -> tuple[Pixels, Pixels]:
        """A picture H W C and its mask with the model's numbers, H W or K H W.

        Raises:
            UnreadableImage: one of them cannot be read, or they have not one size.
        """
        name, blob = self.listing.blobs.names[place], self.listing.blobs.read(place)
        if isinstance(blob, bytes):
            picture = decode(blob, channels=self.channels, most_megapixels=MOST_WITH_MASK)
        else:
            flat = Image.fromarray(blob[..., 0] if blob.shape[2:] == (1,) else blob)
            picture = pixels_of(upright_picture(flat, name, channels=self.channels))
        mask = self.masks.read(place)
        if mask.shape[-2:] != picture.shape[:2]:
            sizes = " and its mask ".join(f"{w}×{h} px" for h, w in (picture.shape[:2], mask.shape[-2:]))
            raise UnreadableImage(name, f"the picture is {sizes}")
        return picture, self._numbered(mask)

    def _numbered(self, mask: Pixels) -> Pixels:
        numbers = np.array([self.classes.index(name) for name in self.masks.classes], np.uint8)
        if mask.ndim == 2:
            table = np.full(256, IGNORED, np.uint8)
            table[: len(numbers)] = numbers
            return table[mask]
        layers = np.zeros((len(self.classes), *mask.shape[1:]), np.uint8)
        layers[numbers] = mask
        return layers


class PairSource:
    """Whole pictures with their masks, those of one size together; `engine.plans.WholePictures`.

    Args:
        pairs: how to read them.
        places: which of them.
        sizes: height and width of each of these, N 2.
        profile: the device.
    """

    labels = None

    def __init__(self, pairs: Pairs, places: Sequence[int], sizes: NDArray[np.int64], profile: Profile) -> None:
        self.pairs = pairs
        self.places = list(places)
        self.sizes = sizes
        self.device = profile.device

    def __len__(self) -> int:
        return len(self.places)

    def chunks(self, batch_size: int) -> list[np.ndarray]:
        """All positions, by size; as many together as have `AT_ONCE` pixels."""
        found: list[np.ndarray] = []
        _, groups = np.unique(self.sizes, axis=0, return_inverse=True)
        for group in range(int(groups.max(initial=-1)) + 1):
            same = np.flatnonzero(groups.reshape(-1) == group)
            most = min(batch_size, max(1, AT_ONCE // int(self.sizes[same[0]].prod())))
            found += [same[first : first + most] for first in range(0, len(same), most)]
        return found

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` for each array of positions: image uint8 N H W C, label int64 N H W or N K H W with -1 ignored."""
        for chosen in positions:
            pictures, masks = zip(*(self.pairs.read(self.places[place]) for place in chosen.tolist()), strict=True)
            label = torch.from_numpy(np.stack(masks)).to(self.device).long()
            image = torch.from_numpy(np.stack(pictures)).to(self.device)
            ids = torch.from_numpy(np.asarray(chosen, np.int64))
            yield Raw(image, label.masked_fill_(label == IGNORED, IGNORE), ids)


@dataclass(frozen=True)
class LabelledPairs:
    """Pictures with masks, the name of their split, and what a user should know of them."""

    source: PairSource
    name: str
    notes: tuple[str, ...]


def labelled_pairs(
    listing: Listing, channels: int, classes: Sequence[str], profile: Profile, *, several: bool
) -> LabelledPairs:
    """Pairs as a model wants them: those for test where there are some, else validation, else everything.

    Args:
        listing: pictures with masks.
        channels: that the model takes.
        classes: its class names.
        profile: the device.
        several: whether its classes overlap.

    Raises:
        NetwrightError: a class the model does not know, no pair that can be read, or masks of another kind.
    """
    name = next((side for side in ORDER if listing.having(side)), "all")
    if name != "all":
        listing = taken(listing, np.flatnonzero(listing.sides == SPLITS.index(name)))
    masks = understood(listing, MaskWanted("border" if tuple(classes) == BORDERED else "auto"))
    _check(listing, masks, classes, several=several)
    pairs = Pairs(listing, masks, channels, tuple(classes))
    sizes, bad = _sizes(pairs)
    if not sizes:
        problem = f"none of the {len(bad)} pairs of picture and mask in {listing.root} can be read ({listed(bad, 3)})"
        raise NetwrightError(problem, "replace them with good copies")
    notes = [*listing.notes, *([SEEN] if name in ("all", "train") else []), *(f"left out: {file}" for file in bad)]
    source = PairSource(pairs, list(sizes), np.array(list(sizes.values()), np.int64), profile)
    return LabelledPairs(source, name, (*notes, f"masks: {masks.encoding}", *masks.notes))


def _check(listing: Listing, masks: Masks, classes: Sequence[str], *, several: bool) -> None:
    for name in masks.classes:
        if name not in classes:
            raise unknown("class for this model", name, classes)
    if masks.several != several:
        has, wants = ("several classes", "one") if masks.several else ("one class", "several")
        problem = f"{listing.root or listing.name} has masks with {has} a pixel, and this model was trained for {wants}"
        raise NetwrightError(problem, "give other data")


def _sizes(pairs: Pairs) -> tuple[dict[int, tuple[int, ...]], list[str]]:
    """Height and width of each pair that can be read, and what is wrong with the others."""
    sizes: dict[int, tuple[int, ...]] = {}
    bad: list[str] = []
    for place in range(len(pairs.listing)):
        try:
            sizes[place] = pairs.read(place)[0].shape[:2]
        except NetwrightError as error:
            reason = error.reason if isinstance(error, UnreadableImage) else error.problem
            bad.append(f"{pairs.listing.blobs.names[place]}: {reason}")
    return sizes, bad
