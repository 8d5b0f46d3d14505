"""Masks as pictures: colours of classes, a mask laid over its picture, and where two masks differ. No torch, no Pillow.

Colours: Okabe and Ito, Color Universal Design, 2008; colour-blind sight: Machado et al., A Physiologically-based Model
for Simulation of Color Vision Deficiency, IEEE TVCG 15, 2009.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

Pixels = NDArray[np.uint8]
Flags = NDArray[np.bool_]

IGNORED = 255  # in uint8 masks: no class is known there
BLACK = (0, 0, 0)
OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
HIT, MISSED, FALSE_ALARM, WRONG_CLASS = "found", "missed", "false alarm", "wrong class"
LEGEND: dict[str, tuple[int, int, int]] = {
    HIT: (190, 255, 210),  # of no class among the first seven
    MISSED: (213, 94, 0),
    FALSE_ALARM: (240, 228, 66),
    WRONG_CLASS: (204, 121, 167),
}
GREYS = (110, 150)  # the two of the hatching over ignored pixels
HATCH = 4  # its stripes' width, in pixels
STRIP = 256  # rows that are mixed at once: floats of a whole large picture would take twelve times its memory

# What deuteranopes and protanopes see of linear RGB.
_SIGHT = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
)
_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)


def palette(k: int, *, background: bool = True) -> Pixels:
    """Colours of k classes; the colours of fewer are the first ones of more. Shape: K 3.

    Black for a background, then Okabe and Ito's seven, then whatever is farthest from all colours before it in the
    eyes of people with normal sight, deuteranopia and protanopia alike.

    Args:
        k: how many classes, 1 … 255.
        background: whether class 0 is one.

    Raises:
        NetwrightError: more classes than a mask of 8 bits has ids.
    """
    if not 1 <= k <= IGNORED:
        raise NetwrightError(f"{k} classes cannot have colours", f"a mask has 1 to {IGNORED} classes")
    first = 0 if background else 1
    return _colours()[first : first + k].copy()


def coloured(mask: Pixels, colours: Pixels, *, top: int = 0) -> Pixels:
    """A mask in the colours of its classes, hatched grey where it is ignored. Shape: H W or K H W -> H W 3.

    Where several classes share a pixel, it has the mean of their colours; where none is, it is black.

    Args:
        mask: ids, or a stack of 0, 1 and 255.
        colours: of the classes, K 3.
        top: the first row's place in a larger picture, which the hatching follows.
    """
    if mask.ndim == 3:
        return _stack(mask, colours, top)
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    painted = table[mask]
    _hatch(painted, mask == IGNORED, top)
    return painted


def overlay(
    picture: Pixels,
    mask: Pixels,
    colours: Pixels,
    *,
    alpha: float = 0.4,
    background: bool = True,
    contour: int | None = None,
) -> Pixels:
    """A picture under its mask: classes tinted, and their outlines opaque, so that thin things stay visible.

    Args:
        picture: H W, H W 1 or H W 3.
        mask: ids H W, or a stack K H W of 0, 1 and 255.
        colours: of the classes, K 3.
        alpha: how much of the tint there is, from 0 (outlines only) to 1.
        background: whether class 0 is one, which is left as it is. A stack has none.
        contour: width of outlines in pixels; by default 1 for each 1200 of the longer side, at least 1.

    Returns:
        uint8 H W 3.
    """
    below = _rgb(picture)
    layers = list(mask) if mask.ndim == 3 else [mask]
    _same_size(below, *layers)
    width = max(1, round(max(below.shape[:2]) / 1200)) if contour is None else contour
    shown = below.copy()
    for rows, halo in _strips(len(below), width):
        cut = slice(rows.start - halo.start, rows.stop - halo.start)
        seen = mask[..., halo, :]
        things = _things(seen, background=background)
        tint = coloured(seen, colours, top=halo.start)
        lines = _outlines(seen, things, width)
        shown[rows] = _painted(below[rows], tint[cut], things[cut], lines[cut], alpha)
    return shown


def legend(classes: int, *, background: bool, several: bool = False) -> dict[str, tuple[int, int, int]]:
    """Those colours of `LEGEND` that `errors` can show.

    Args:
        classes: how many there are, with background.
        background: whether class 0 is one.
        several: whether a pixel may be of several classes.
    """
    if several:
        shown = {HIT, MISSED, FALSE_ALARM, *([WRONG_CLASS] if classes > 1 else [])}
    else:
        shown = {HIT, MISSED, FALSE_ALARM, *([WRONG_CLASS] if classes > 2 else [])} if background else {WRONG_CLASS}
    return {kind: colour for kind, colour in LEGEND.items() if kind in shown}


def errors(picture: Pixels, truth: Pixels, found: Pixels, *, background: bool = True, alpha: float = 0.65) -> Pixels:
    """The picture in grey, with what was found, missed, or found where nothing is; `legend` names the colours.

    With more than one class, things found as another class have a colour of their own. What the truth ignores is
    hatched. Without a background, right pixels keep their grey, since everything would be painted otherwise.

    Args:
        picture: H W, H W 1 or H W 3.
        truth: ids H W, or a stack K H W of 0, 1 and 255.
        found: the same of the network.
        background: whether class 0 is one. A stack has none.
        alpha: how much of the colour there is.

    Returns:
        uint8 H W 3.
    """
    grey = np.rint(_rgb(picture) @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    below = np.repeat(grey[..., None], 3, axis=2)
    stack = truth.ndim == 3
    _same_size(below, *(truth if stack else (truth,)), *(found if stack else (found,)))
    kinds = kinds_of_error(truth, found, background=background)
    if not background and not stack:
        kinds.pop(HIT)
    tint, touched = np.zeros_like(below), np.zeros(below.shape[:2], bool)
    for kind, where in kinds.items():
        tint[where] = LEGEND[kind]
        touched |= where
    shown = _painted(below, tint, touched, np.zeros_like(touched), alpha)
    _hatch(shown, (truth == IGNORED).any(axis=0) & ~touched if stack else truth == IGNORED)
    return shown


def kinds_of_error(truth: Pixels, found: Pixels, *, background: bool = True) -> dict[str, Flags]:
    """Which pixels were found, missed, false alarms, or of the wrong class; pixels that are ignored are in none.

    Of a stack, a pixel counts as found where every class of it is right, as of the wrong class where one was missed and
    another was found instead.
    """
    if truth.ndim == 3:
        return _kinds_of_stack(truth, found)
    known, same = truth != IGNORED, truth == found
    if not background:
        none = np.zeros_like(known)
        return {HIT: known & same, MISSED: none, FALSE_ALARM: none, WRONG_CLASS: known & ~same}
    there, seen = known & (truth != 0), known & (found != 0)
    return {
        HIT: there & same,
        MISSED: there & ~seen,
        FALSE_ALARM: seen & ~there,
        WRONG_CLASS: there & seen & ~same,
    }


def _kinds_of_stack(truth: Pixels, found: Pixels) -> dict[str, Flags]:
    there, seen = truth == 1, found == 1
    missed = (there & ~seen).any(axis=0)
    alarm = (seen & ~there & (truth != IGNORED)).any(axis=0)
    return {
        HIT: there.any(axis=0) & ~missed & ~alarm,
        MISSED: missed & ~alarm,
        FALSE_ALARM: alarm & ~missed,
        WRONG_CLASS: missed & alarm,
    }


def _painted(below: Pixels, tint: Pixels, things: Flags, lines: Flags, alpha: float) -> Pixels:
    """Tint over a picture: in part on things, wholly on lines."""
    part = np.where(lines, 1.0, np.where(things, alpha, 0.0)).astype(np.float32)[..., None]
    return np.rint(below + (tint.astype(np.float32) - below) * part).astype(np.uint8)


def _things(mask: Pixels, *, background: bool) -> Flags:
    if mask.ndim == 3:
        return (mask != 0).any(axis=0)
    return mask != 0 if background else np.ones(mask.shape, bool)


def _outlines(mask: Pixels, things: Flags, width: int) -> Flags:
    """Pixels of things that lie within `width` of another class; ignored regions have no outline of their own."""
    layers = list(mask) if mask.ndim == 3 else [mask]
    lines = np.zeros(things.shape, bool)
    for layer in layers:
        near = _edges(layer)
        for _ in range(width - 1):
            near = _grown(near)
        lines |= near & (layer != IGNORED) & (layer != 0 if mask.ndim == 3 else things)
    return lines


def _edges(mask: Pixels) -> Flags:
    """Pixels with a neighbour of another value, above, below, left or right."""
    near = np.zeros(mask.shape, bool)
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    near[1:] |= down
    near[:-1] |= down
    near[:, 1:] |= right
    near[:, :-1] |= right
    return near


def _grown(flags: Flags) -> Flags:
    grown = flags.copy()
    grown[1:] |= flags[:-1]
    grown[:-1] |= flags[1:]
    grown[:, 1:] |= flags[:, :-1]
    grown[:, :-1] |= flags[:, 1:]
    return grown


def _strips(height: int, halo: int) -> Iterator[tuple[slice, slice]]:
    """Rows to paint, and those that have to be seen for their outlines."""
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        yield slice(top, bottom), slice(max(0, top - halo), min(height, bottom + halo))


def _stack(mask: Pixels, colours: Pixels, top: int) -> Pixels:
    there = mask == 1
    count = np.maximum(there.sum(axis=0), 1)[..., None]
    total = np.zeros((*mask.shape[1:], 3), np.int32)
    for layer, colour in zip(there, colours, strict=True):
        total[layer] += colour.astype(np.int32)
    painted = np.rint(total / count).astype(np.uint8)
    _hatch(painted, (mask == IGNORED).any(axis=0) & ~there.any(axis=0), top)
    return painted


def _hatch(painted: Pixels, where: Flags, top: int = 0) -> None:
    rows, columns = np.nonzero(where)
    stripe = (rows + top + columns) // HATCH % 2
    painted[rows, columns] = np.array(GREYS, np.uint8)[stripe][:, None]


def _rgb(picture: Pixels) -> Pixels:
    flat = picture[..., None] if picture.ndim == 2 else picture
    return flat if flat.shape[2] == 3 else np.repeat(flat[..., :1], 3, axis=2)


def _same_size(picture: Pixels, *masks: Pixels) -> None:
    height, width = picture.shape[:2]
    for mask in masks:
        if mask.shape != (height, width):
            problem = f"a mask of {mask.shape[1]}×{mask.shape[0]} px cannot lie over a picture of {width}×{height} px"
            raise NetwrightError(problem, "give the mask of this picture")


@cache
def _colours() -> Pixels:
    """Black and 255 colours for classes, each far from those before it, none as dark as the background."""
    steps = np.arange(0, 256, 15)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    seen = _seen(grid)
    bright = (seen[0, :, 0] > 35) & (seen[0, :, 0] < 95)
    grid, seen = grid[bright], seen[:, bright]
    chosen = [BLACK, *OKABE_ITO]
    taken = _seen(np.array([*chosen, *((grey, grey, grey) for grey in GREYS)]))
    gap = np.linalg.norm(seen[:, :, None] - taken[:, None], axis=-1).min(axis=(0, 2))
    while len(chosen) < IGNORED + 1:
        best = int(gap.argmax())
        chosen.append(tuple(grid[best]))
        gap = np.minimum(gap, np.linalg.norm(seen - seen[:, best : best + 1], axis=-1).min(axis=0))
    return np.array(chosen, np.uint8)


def _seen(colours: NDArray[np.integer]) -> NDArray[np.float64]:
    """CIE L*a*b* of colours under three kinds of sight. Shape: N 3 -> 3 N 3."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    views = np.clip(np.einsum("sij,nj->sni", np.array(_SIGHT), linear), 0, 1)
    xyz = views @ np.array(_XYZ).T / np.array(_WHITE)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
