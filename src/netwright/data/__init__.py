"""Pictures with labels: found, split, decoded once. Loading the parts is left to whoever opens some data."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from netwright.data.arrays import from_arrays
    from netwright.data.listing import Listing
    from netwright.data.masks import MaskWanted
    from netwright.data.split import Data

__all__ = ["Data", "from_arrays", "list_data", "names", "open_data", "summaries"]

_HOME = {"Data": "netwright.data.split", "from_arrays": "netwright.data.arrays"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'netwright.data' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def open_data(
    source: str,
    *,
    image_size: int | None = None,
    stored_size: int | None = None,
    fit: Literal["crop", "pad", "squash"] = "crop",
    channels: int | None = None,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    quarantine: Mapping[str, str] | None = None,
    group: str | None = None,
    masks: "MaskWanted | None" = None,
    classes: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> "Data":
    """The data that a name or a path stands for, decoded and ready to train on. No random choice is made.

    Args:
        source: a name or a path; `netwright list data` has the kinds.
        image_size: side of the square the network sees. By default pictures that all have one size, up to 128, keep
            it; others have 160, or the next smaller multiple of 32 when half of them are smaller; digits have 32.
        stored_size: side of the square that is kept. By default 8/7 of image_size where pictures are that large.
        fit: `crop`, `pad` or `squash` what is not square.
        channels: 1 or 3. By default 1 when up to 200 pictures looked at are all grey.
        fractions: shares of train, val and test where the data comes without a split.
        quarantine: pictures to leave out, by name, and why.
        group: a regular expression; pictures in whose names its first bracket finds the same are held out together.
        masks: how masks are read, for pictures with masks; by default that is found out. Such pictures keep their
            size, and `image_size` is the side of the crops in training: by default the pictures' own where all have
            one up to 512, else 256 or less.
        classes: whether each picture must have a class. Without, folders of pictures alone are one class.
        progress: called with the pictures done and their total while they are decoded.

    Raises:
        NetwrightError: the data cannot be used as it is; the message says what to change.
    """
    from netwright.data.split import Wanted

    wanted = Wanted(image_size, stored_size, fit, channels, fractions, progress, quarantine or {}, group, masks)
    listing = list_data(source) if classes else _pictures(source)
    if listing.masks is not None:
        from netwright.data.scenes import ready_scenes

        return ready_scenes(listing, wanted)
    from netwright.data.ready import ready

    return ready(listing, wanted)


def list_data(source: str, *, strict: bool = True) -> "Listing":
    """The pictures that a name or a path stands for, with labels and sides, before any is decoded.

    Args:
        source: as for `open_data`.
        strict: whether it must be possible to train on it; for measuring a model, a test split alone will do.

    Raises:
        NetwrightError: the data cannot be used as it is.
    """
    from netwright.data.kinds import listing_of

    return listing_of(source, "train" if strict else "labelled")


def _pictures(source: str) -> "Listing":
    """The pictures that a source stands for, for what needs no classes."""
    from netwright.data.kinds import listing_of

    return listing_of(source, "pictures")


def names() -> list[str]:
    """The kinds of data that can be opened."""
    return sorted(summaries())


def summaries() -> dict[str, str]:
    """One line on each kind of data, by its name."""
    from netwright.data.kinds import KINDS

    return {kind.name: kind.summary for kind in KINDS}
