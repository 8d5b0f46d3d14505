"""A labelled grid of small pictures, as one picture. No torch."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from netwright.core.errors import NetwrightError

Pixels = NDArray[np.uint8]

PAPER, FRAME, INK, MUTED = (255, 255, 255), (200, 204, 208), (28, 33, 38), (90, 100, 109)
SIDE = 112  # pixels that a picture has at least, if there is room
WIDEST = 1800  # pixels of all columns together that enlarging keeps to
MOST = 178_000_000  # pixels of a sheet, above which Pillow and others refuse to read it again
GAP = 3  # between pictures: a frame of one pixel around each, and one of paper
EDGE = 8  # around everything
TEXT, TITLE = 13, 16  # pixels of letters
TITLED = 480  # pixels across that a sheet with a title has at least
MARGIN = 200  # pixels that labels of rows may take
LINES = 3  # of a label


def sheet(
    rows: Sequence[Sequence[Pixels | None]],
    *,
    rows_named: Sequence[str] = (),
    columns_named: Sequence[str] = (),
    scale: int | None = None,
    title: str = "",
) -> Image.Image:
    """Pictures in a grid, each enlarged by the same whole factor with its pixels left square.

    Rows may differ in length, and None leaves a place free. A picture smaller than the largest stands in the middle of
    its place. Labels that are too long are wrapped, then cut with "…".

    Args:
        rows: of pictures; uint8 H W, H W 1 or H W 3.
        rows_named: a label for each row, at its left; a new line where it says so.
        columns_named: a label for each column, above it.
        scale: how many times each picture is enlarged; by default until a picture has 112 pixels or the sheet 1,800.
        title: above everything.

    Returns:
        An RGB picture.

    Raises:
        NetwrightError: no pictures, no bytes, labels that do not fit in number, a scale below 1, or a sheet that would
            be too large to be read again.
    """
    grid = [[None if each is None else _rgb(each) for each in row] for row in rows]
    height, width = _largest(grid)
    across = max(map(len, grid))
    _check_names("rows", rows_named, len(grid))
    _check_names("columns", columns_named, across)
    scale = _scale(scale, max(height, width), width * across)
    step_y, step_x = height * scale + GAP, width * scale + GAP
    left = _Labels([_fitted(each, MARGIN) for each in rows_named])
    above = _Labels([_fitted(each, step_x - GAP) for each in columns_named])
    text_x, text_y = EDGE + left.wide + (EDGE if left.texts else 0), above.tall + (EDGE // 2 if above.texts else 0)
    whole_x = max(text_x + across * step_x + EDGE, TITLED if title else 0)
    head = _fitted(title, whole_x - 2 * EDGE, TITLE) if title else ""
    text_y += EDGE + (_size(head, TITLE)[1] + EDGE if head else 0)
    page = _page(whole_x, text_y + len(grid) * step_y + EDGE)
    pen = ImageDraw.Draw(page)
    if head:
        pen.multiline_text((EDGE, EDGE), head, INK, _font(TITLE))
    for place, label in enumerate(above.texts):
        middle = text_x + place * step_x + (step_x - GAP) / 2
        pen.multiline_text((middle, text_y - EDGE // 2), label, MUTED, _font(TEXT), "md", align="center")
    for place, label in enumerate(left.texts):
        middle = text_y + place * step_y + (step_y - GAP) / 2
        pen.multiline_text((text_x - EDGE, middle), label, MUTED, _font(TEXT), "rm", align="right")
    for y, row in enumerate(grid):
        for x, picture in enumerate(row):
            if picture is not None:
                _put(page, picture, scale, (text_x + x * step_x, text_y + y * step_y), (step_x - GAP, step_y - GAP))
    return page


def check_room(rows: int, across: int, size: tuple[int, int]) -> None:
    """Refuse a sheet of so many pictures before they are made; labels and the title are not counted.

    Args:
        rows: of pictures.
        across: pictures of a row.
        size: of one, height and width.

    Raises:
        NetwrightError: it would be too large to be read again.
    """
    height, width = size
    scale = _scale(None, max(size), width * across)
    _refuse_large(across * (width * scale + GAP), rows * (height * scale + GAP))


class _Labels:
    """Labels of one side, and the room that they take in pixels."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        sizes = [_size(each) for each in texts]
        self.wide = max((wide for wide, _ in sizes), default=0)
        self.tall = max((tall for _, tall in sizes), default=0)


def _rgb(picture: Pixels) -> Pixels:
    """H W 3."""
    bytes_ = np.asarray(picture)
    flat = bytes_[..., None] if bytes_.ndim == 2 else bytes_
    if flat.dtype != np.uint8 or flat.ndim != 3 or flat.shape[2] not in (1, 3) or 0 in flat.shape:
        problem = f"a sheet wants pictures of bytes, H W, H W 1 or H W 3, and this is {bytes_.dtype} {bytes_.shape}"
        raise NetwrightError(problem, "convert it: (x * 255).round().astype('uint8'), channels last")
    return flat if flat.shape[2] == 3 else np.repeat(flat, 3, axis=2)


def _largest(grid: Sequence[Sequence[Pixels | None]]) -> tuple[int, int]:
    """The largest height and the largest width."""
    sides = [each.shape[:2] for row in grid for each in row if each is not None]
    if not sides:
        raise NetwrightError("a sheet of no pictures", "give at least one")
    return max(height for height, _ in sides), max(width for _, width in sides)


def _check_names(what: str, names: Sequence[str], count: int) -> None:
    if names and len(names) != count:
        problem = f"{len(names)} names for {count} {what} of a sheet"
        raise NetwrightError(problem, "give one for each, or none")


def _scale(given: int | None, side: int, across: int) -> int:
    """Whole factor at which a side has `SIDE` pixels, or all columns together not more than `WIDEST`."""
    if given is not None and given < 1:
        raise NetwrightError(f"pictures of a sheet enlarged {given} times", "give a whole number from 1 on")
    return max(1, min(-(-SIDE // side), WIDEST // across)) if given is None else given


def _refuse_large(width: int, height: int) -> None:
    if width * height > MOST:
        problem = f"a sheet of {width}x{height} pixels cannot be read again"
        raise NetwrightError(problem, "give fewer pictures, or a smaller scale")


def _page(width: int, height: int) -> Image.Image:
    _refuse_large(width, height)
    return Image.new("RGB", (width, height), PAPER)


def _put(page: Image.Image, picture: Pixels, scale: int, corner: tuple[int, int], room: tuple[int, int]) -> None:
    """A picture in the middle of its place, framed."""
    large = Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1))
    left, top = (at + (free - own) // 2 for at, free, own in zip(corner, room, large.size, strict=True))
    page.paste(FRAME, (left - 1, top - 1, left + large.width + 1, top + large.height + 1))
    page.paste(large, (left, top))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings along: the same everywhere, with Greek and Cyrillic letters."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _size(text: str, size: int = TEXT) -> tuple[int, int]:
    """Width and height of text in pixels."""
    _, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, _font(size))
    return round(right), round(bottom if top >= 0 else bottom - top)


def _fitted(text: str, room: int, size: int = TEXT) -> str:
    """Text in lines no wider than `room` pixels, at most `LINES` of them."""
    text = text.encode(errors="backslashreplace").decode()  # names of files need not be valid text
    lines = [line for part in text.split("\n") for line in _wrapped(part, room, size)]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], " ".join(lines[LINES - 1 :])]
    return "\n".join(_cut(line, room, size) for line in lines)


def _wrapped(text: str, room: int, size: int) -> list[str]:
    """Lines broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(size).getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


def _cut(text: str, room: int, size: int) -> str:
    """Text without the letters for which there is no room; its end stays, since names of files differ there."""
    font, kept = _font(size), len(text)
    cut = text
    while kept > 1 and font.getlength(cut) > room:
        kept -= 1
        cut = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
    return cut
