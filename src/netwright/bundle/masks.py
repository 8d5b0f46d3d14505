"""What a trained network sees in each pixel: masks of pictures of any size, at their own size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from netwright.bundle.bundle import Bundle, name_of
from netwright.data.decode import MOST_WITH_MASK, Pixels, UnreadableImage, decode, flatten, pixels_of, upright_picture
from netwright.data.preprocess import check_pixels
from netwright.engine.tiles import SMALL, Measured, probabilities, tiled

BORDERED = ("background", "interior", "border")  # classes of masks in which one interior is one thing
HALF = 0.5
STRIP = 512  # rows of a mask that are counted at once
Sink = Callable[[int, int, Tensor], None]


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """What a model says of each pixel of one picture.

    Attributes:
        name: the picture's path, or its place in the list.
        mask: uint8 H W of class numbers; K H W of 1 and 0 where classes overlap.
        shares: the part of the picture that each class takes, from 0 to 1.
        things: how many connected parts there are, or interiors; None unless there is one class of things.
        tile: side of the tiles that the picture was cut into; None if it was looked at as a whole.
    """

    name: str
    mask: Pixels
    shares: dict[str, float] = field(default_factory=dict[str, float])
    things: int | None = None
    tile: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For `--json`; the mask itself is left out."""
        height, width = self.mask.shape[-2:]
        found = {"name": self.name, "width": width, "height": height, "shares": self.shares}
        return found if self.things is None else found | {"things": self.things}


class MaskPredictor(Bundle):
    """A network that gives each pixel a class: `load(run_or_bundle).predict(["photo.jpg"])`.

    Attributes:
        background: whether class 0 is what is left when nothing else is there.
        several: whether a pixel may be of several classes.
        colours: of the classes, uint8 K 3.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        masks = self.card["masks"]
        self.background: bool = masks["background"]
        self.several: bool = masks["several"]
        self.colours = np.array(masks["colours"], np.uint8)
        self._measured: Measured | None = None

    def predict(self, images: Any) -> list[MaskPrediction]:
        """Masks of pictures at their own sizes, in order.

        Args:
            images: one or many; paths, PIL images or uint8 arrays H W (C). Their sizes may differ.

        Raises:
            NetwrightError: a picture cannot be read, or the model was trained on a user's own dataset.
        """
        many = list(images) if isinstance(images, list | tuple) else [images]
        names = [name_of(image, place) for place, image in enumerate(many)]
        return self.predict_pictures([self.picture(image) for image in many], names)

    def picture(self, image: Any) -> Pixels:
        """A picture as the network takes it: upright, of its own size, grey or in colour. Shape: H W C.

        Raises:
            NetwrightError: it cannot be read, or the model was trained on a user's own dataset.
        """
        channels = self.preprocess_or_error().channels
        if isinstance(image, str | Path):
            return decode(image, channels=channels, most_megapixels=MOST_WITH_MASK)
        if isinstance(image, Image.Image):
            name = str(getattr(image, "filename", "")) or "the picture"
            if 0 in image.size:
                raise UnreadableImage(name, f"it has no pixels ({image.width}×{image.height})")
            return pixels_of(upright_picture(image, name, channels=channels))
        array = np.asarray(image)
        check_pixels(array, "the picture", dimensions=(2, 3))
        planes = array[..., None] if array.ndim == 2 else array
        if planes.shape[2] == channels:
            return planes
        made = Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
        return pixels_of(flatten(made, channels=channels))

    def predict_pictures(
        self, pictures: Sequence[Pixels], names: Sequence[str], *, sink: Sink | None = None
    ) -> list[MaskPrediction]:
        """Masks of pictures that `picture` gave; those of one size are looked at together.

        Args:
            pictures: uint8 H W C each.
            names: of each.
            sink: told a picture's place, the first row, and probabilities of these rows, K h W: all of them, in order.
        """
        found: dict[int, MaskPrediction] = {}
        for places in _alike(pictures):
            for place, made in zip(places, self._masks([pictures[p] for p in places], places, sink), strict=True):
                found[place] = self._described(replace(made, name=names[place]))
        return [found[place] for place in range(len(pictures))]

    def _masks(self, pictures: Sequence[Pixels], places: Sequence[int], sink: Sink | None) -> Iterator[MaskPrediction]:
        height, width, _ = pictures[0].shape
        if height * width <= SMALL or self._known().whole(height, width):
            batch = self._probabilities(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))
            for place, seen in zip(places, batch, strict=True):
                if sink:
                    sink(place, 0, seen)
                yield MaskPrediction("", self._ids(seen))
            return
        for place, picture in zip(places, pictures, strict=True):
            mask = np.empty((len(self.classes), height, width) if self.several else (height, width), np.uint8)
            for top, seen in self._rows(picture):
                if sink:
                    sink(place, top, seen)
                mask[..., top : top + seen.shape[1], :] = self._ids(seen)
                del seen  # before the next rows are made
            yield MaskPrediction("", mask, tile=self._known().tile(width))

    def notes(self, predictions: Sequence[MaskPrediction]) -> list[str]:
        """What a user should know of how pictures were looked at."""
        tiles = sorted({made.tile for made in predictions if made.tile is not None})
        return [note for tile in tiles[-1:] if (note := self._known().note(tile))]

    def _rows(self, picture: Pixels) -> Iterator[tuple[int, Tensor]]:
        known = self._known()
        image = torch.from_numpy(picture).permute(2, 0, 1)
        tile = known.tile(picture.shape[1])
        return tiled(self._probabilities, image, tile=tile, stride=known.stride, reach=known.reach)

    def _known(self) -> Measured:
        if self._measured is None:
            channels = self.preprocess_or_error().channels
            image = torch.zeros(1, channels, 1, 1, device=self.profile.device)
            self._measured = Measured.of(self.model, self._scores, image)
        return self._measured

    @torch.inference_mode()
    def _probabilities(self, stored: Tensor) -> Tensor:
        """uint8 N C h w -> float32 N K h w."""
        normalise = replace(self.normalise(), size=None)
        scores = self._scores(normalise(stored.to(self.profile.device)))
        return probabilities(scores, several=self.several, temperature=self.temperature)

    def _scores(self, image: Tensor) -> Tensor:
        with self.profile.autocast():
            return self.model(self.profile.layout(image))

    def _ids(self, seen: Tensor) -> Pixels:
        """Probabilities K h W as a mask."""
        found = seen >= HALF if self.several else seen.argmax(0)
        return found.to(torch.uint8).cpu().numpy()

    def _described(self, made: MaskPrediction) -> MaskPrediction:
        taken = shares_of(made.mask, len(self.classes))
        return replace(made, shares=dict(zip(self.classes, taken, strict=True)), things=self._things(made.mask))

    def _things(self, mask: Pixels) -> int | None:
        one = self.background and not self.several
        if not (one and (len(self.classes) == 2 or self.classes == BORDERED)):
            return None
        return connected(mask, 1)


def shares_of(mask: Pixels, classes: int) -> list[float]:
    """The part of a mask that each class takes. H W of ids, or K H W of 1 and 0."""
    if mask.ndim == 3:
        return [float(layer.mean()) for layer in mask]
    # Counting makes eight bytes of each, so it is done a strip at a time.
    strips = (np.bincount(mask[top : top + STRIP].ravel(), minlength=classes) for top in range(0, len(mask), STRIP))
    return (sum(strips, np.zeros(classes, np.int64)) / mask.size).tolist()


def connected(mask: Pixels, label: int) -> int:
    """How many parts of a class hang together; touching at a corner does not connect. Shape: H W.

    Strips are numbered one by one and joined where they meet: numbers of the whole would take four bytes a pixel.
    """
    from scipy import ndimage
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, above = 0, np.zeros(mask.shape[1], np.int64)
    seams = [np.zeros((2, 0), np.int64)]
    for top in range(0, len(mask), STRIP):
        found: Any = ndimage.label(mask[top : top + STRIP] == label)
        first = np.where(found[0][0] > 0, found[0][0] + count, 0)
        seams.append(np.stack([above, first])[:, (above > 0) & (first > 0)])
        above = np.where(found[0][-1] > 0, found[0][-1] + count, 0)
        count += int(found[1])
    one, other = np.concatenate(seams, axis=1) - 1
    joined = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    return int(connected_components(joined, directed=False, return_labels=False)) if count else 0


def _alike(pictures: Sequence[Pixels]) -> Iterator[list[int]]:
    """Places of pictures of one size, as many together as have the pixels of two small pictures."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pictures):
        groups.setdefault(picture.shape, []).append(place)
    for (height, width, *_), places in groups.items():
        most = max(1, 2 * SMALL // (height * width))
        yield from (places[first : first + most] for first in range(0, len(places), most))
