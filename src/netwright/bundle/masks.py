"""What a trained network sees in each pixel: masks of pictures of any size, at their own size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from netwright.bundle.bundle import Bundle, name_of
from netwright.core.errors import NetwrightError, listed
from netwright.data.decode import MOST_WITH_MASK, Pixels, UnreadableImage, decode, flatten, pixels_of, upright_picture
from netwright.data.masks import BORDERED
from netwright.data.preprocess import check_pixels
from netwright.engine.tiles import SMALL, Measured, probabilities, tiled
from netwright.tasks._instances import Ids, grown, regions, split_touching, uncut, watershed_tools

HALF = 0.5
STRIP = 512  # rows of a mask that are counted at once
Sink = Callable[[int, int, Tensor], None]


@dataclass(frozen=True)
class Things:
    """What is wanted of things besides their number.

    Attributes:
        numbered: a picture in which each pixel has its thing's number.
        split: cut things that touch, by the watershed of the distance from the outside.
    """

    numbered: bool = False
    split: bool = False


COUNTED = Things()


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """What a model says of each pixel of one picture.

    Attributes:
        name: the picture's path, or its place in the list.
        mask: uint8 H W of class numbers; K H W of 1 and 0 where classes overlap.
        shares: the part of the picture that each class takes, from 0 to 1.
        things: how many connected parts there are, or interiors; None unless there is one class of things.
        tile: side of the tiles that the picture was cut into; None if it was looked at as a whole.
        instances: int32 H W, the things numbered from 1 and 0 outside; None unless that was wanted.
        notes: what a user should know of this picture.
    """

    name: str
    mask: Pixels
    shares: dict[str, float] = field(default_factory=dict[str, float])
    things: int | None = None
    tile: int | None = None
    instances: Ids | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For `--json`; the mask and the numbered things are left out."""
        height, width = self.mask.shape[-2:]
        found = {"name": self.name, "width": width, "height": height, "shares": self.shares}
        return found if self.things is None else found | {"things": self.things}


class MaskPredictor(Bundle):
    """A network that gives each pixel a class: `load(run_or_bundle).predict(["photo.jpg"])`.

    Attributes:
        background: whether class 0 is what is left when nothing else is there.
        several: whether a pixel may be of several classes.
        colours: of the classes, uint8 K 3.
        ignored: the number in the masks of training whose pixels counted nowhere; None for what is usual.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        masks = self.card["masks"]
        self.background: bool = masks["background"]
        self.several: bool = masks["several"]
        self.colours = np.array(masks["colours"], np.uint8)
        self.legend: list[dict[str, Any]] | None = masks.get("legend")  # how training's masks were read
        ignored = self.card["recipe"].get("ignore")
        self.ignored: int | None = ignored if isinstance(ignored, int) else None
        self._measured: Measured | None = None

    def predict(self, images: Any, *, instances: bool = False, split_touching: bool = False) -> list[MaskPrediction]:
        """Masks of pictures at their own sizes, in order.

        Args:
            images: one or many; paths, PIL images or uint8 arrays H W (C). Their sizes may differ.
            instances: also number the things of each.
            split_touching: cut things that touch before they are counted; needs scikit-image.

        Raises:
            NetwrightError: a picture cannot be read, the model was trained on a user's own dataset, or it has no one
                class of things that could be numbered or cut.
        """
        things = Things(instances, split_touching)
        self.check_things(things)
        many = list(images) if isinstance(images, list | tuple) else [images]
        names = [name_of(image, place) for place, image in enumerate(many)]
        return self.predict_pictures([self.picture(image) for image in many], names, things=things)

    def check_things(self, wanted: Things) -> None:
        """Refuse what cannot be had, before anything is computed.

        Raises:
            NetwrightError: there is no one class of things, nothing to cut, or no scikit-image to cut with.
        """
        if wanted == COUNTED:
            return
        if not self._one_kind:
            how = "may overlap" if self.several else f"are {listed(self.classes, 8)}"
            problem = (
                f"things can be told apart where there is background and one class, and this model's classes {how}"
            )
            raise NetwrightError(problem, "leave out --instances and --split-touching: the masks have every class")
        if wanted.split and self.classes == BORDERED:
            problem = "this model has a border class, which tells apart things that touch: there is nothing to split"
            raise NetwrightError(problem, "leave out --split-touching")
        if wanted.split:
            watershed_tools()

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
        self, pictures: Sequence[Pixels], names: Sequence[str], *, sink: Sink | None = None, things: Things = COUNTED
    ) -> list[MaskPrediction]:
        """Masks of pictures that `picture` gave; those of one size are looked at together.

        Args:
            pictures: uint8 H W C each.
            names: of each.
            sink: told a picture's place, the first row, and probabilities of these rows, K h W: all of them, in order.
            things: what is wanted of things; `check_things` has passed it.
        """
        found: dict[int, MaskPrediction] = {}
        for places in _alike(pictures):
            for place, made in zip(places, self._masks([pictures[p] for p in places], places, sink), strict=True):
                found[place] = self._described(replace(made, name=names[place]), things)
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
        cut = [note for tile in tiles[-1:] if (note := self._known().note(tile))]
        return [*(note for made in predictions for note in made.notes), *cut]

    def tile_notes(self, sizes: NDArray[np.int64]) -> list[str]:
        """What a user should know of pictures of these heights and widths, N 2, if they are evaluated."""
        large = [
            (h, w) for h, w in np.unique(sizes, axis=0).tolist() if h * w > SMALL and not self._known().whole(h, w)
        ]
        return [note for _, width in large[-1:] if (note := self._known().note(self._known().tile(width)))]

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

    def _described(self, made: MaskPrediction, things: Things) -> MaskPrediction:
        taken = shares_of(made.mask, len(self.classes))
        made = replace(made, shares=dict(zip(self.classes, taken, strict=True)))
        if not self._one_kind:
            return made
        if things == COUNTED:
            return replace(made, things=connected(made.mask, 1))
        if self.classes == BORDERED:
            ids = grown(made.mask)
        else:
            ids = (split_touching if things.split else regions)(made.mask == 1)
        left = uncut(ids) if things.split else 0
        notes = (f"{made.name}: too large to be cut, and left as they are: {left} of its parts",) if left else ()
        return replace(made, things=int(ids.max()), instances=ids if things.numbered else None, notes=notes)

    @property
    def _one_kind(self) -> bool:
        """Whether there is background and one class of things, perhaps with a border of their own."""
        return self.background and not self.several and (len(self.classes) == 2 or self.classes == BORDERED)


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
