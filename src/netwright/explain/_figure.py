"""Figures of explanations, as files: pictures beside their heat maps, and sheets of small pictures."""

import io
import math
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from netwright.core.errors import NetwrightError, listed
from netwright.explain._colour import MAP, Bytes
from netwright.explain._method import Sheet

KINDS = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
INK, MUTED = "#1c2126", "#5a646d"
STYLE: dict[Any, Any] = {"font.size": 8, "text.color": INK, "savefig.facecolor": "white", "svg.hashsalt": "netwright"}
SIDE = 2.3  # inches of one picture
LINE = 0.145  # inches of one line of text
TILE = 0.72  # inches of a tile in a sheet
ACROSS = 8  # tiles in a row
DOTS = 150  # pixels of an inch
# What a kind of file can hold downwards, in pixels: WebP's and JPEG's own limits, matplotlib's for its canvas, and for
# PDF the 200 inches that readers show.
TALLEST = {".png": 65_000, ".jpg": 65_000, ".jpeg": 65_000, ".webp": 16_383, ".pdf": 200 * DOTS, ".svg": 65_000}
LINES = 10  # below a picture at most: a long name, and what two tests say
LETTERS = 92  # of a line below pictures that are as wide as a row


@dataclass(frozen=True)
class Row:
    """One picture and its heat map.

    Attributes:
        picture: as the network saw it, H W 3.
        overlay: the heat over it, H W 3.
        title: what the network said.
        lines: what else there is to say.
    """

    picture: Bytes
    overlay: Bytes
    title: str
    lines: Sequence[str]


def suffix_of(name: str) -> str:
    """The kind of file that a name asks for.

    Raises:
        NetwrightError: it is no kind that can be written.
    """
    dot = name.rfind(".")
    suffix = name[dot:].lower() if dot > max(name.rfind("/"), 0) else ""
    if suffix not in KINDS:
        raise NetwrightError(f"cannot tell what kind of file '{name}' is", f"let it end in one of {listed(KINDS)}")
    return suffix


def most_rows(suffix: str) -> int:
    """How many pictures with their heat maps fit in a file of a kind, whatever is said of them."""
    return int(TALLEST[suffix] / DOTS / _height(LINES))


def heat_figure(rows: Sequence[Row], says: str, suffix: str) -> bytes:
    """Pictures beside their heat maps, one below the other, with a scale of colours. `says` is what it shows."""
    texts = [[part for line in row.lines for part in wrap(line, LETTERS)] for row in rows]
    heights = [_height(len(text)) for text in texts]
    with _drawing():
        figure = Figure(figsize=(2 * SIDE + 1.0, sum(heights) + 0.1))
        whole, top = figure.get_size_inches()[1], sum(heights) + 0.05
        for row, text, height in zip(rows, texts, heights, strict=True):
            _row(figure, row, text, says, top, whole)
            top -= height
        return _saved(figure, suffix)


def sheets_figure(sheets: Sequence[Sheet], suffix: str, before: Row | None = None) -> bytes:
    """Sheets of tiles below one another, perhaps below the picture that they are about."""
    single = len(sheets) == 1 and len(sheets[0].tiles) == 1
    tile = 2 * SIDE if single else TILE
    width = tile if single else ACROSS * TILE
    blocks = [(sheet, *_words(sheet, width)) for sheet in sheets]
    heights = [
        (len(title) + len(note) + 1.2) * LINE + -(-len(sheet.tiles) // ACROSS) * (tile + _caption(sheet))
        for sheet, title, note in blocks
    ]
    first = 0.0 if before is None else SIDE + 2 * LINE
    with _drawing():
        whole = sum(heights) + first + 0.1
        figure = Figure(figsize=(width + 0.2, whole))
        top = whole - 0.05
        if before is not None:
            _text(figure, 0.1 / (width + 0.2), (top - LINE) / whole, before.title, INK)
            _image(figure, before.picture, (0.1, top - 1.4 * LINE - SIDE, SIDE, SIDE))
            top -= first
        for (sheet, title, note), height in zip(blocks, heights, strict=True):
            _sheet(figure, sheet, (title, note), top, tile)
            top -= height
        return _saved(figure, suffix)


def _height(lines: int) -> float:
    """Of one picture with its lines, in inches."""
    return SIDE + (lines + 2.4) * LINE


def _row(figure: Figure, row: Row, text: list[str], says: str, top: float, whole: float) -> None:
    _text(figure, 0.015, (top - LINE) / whole, row.title, INK, weight="bold")
    bottom = top - 1.5 * LINE - SIDE
    _image(figure, row.picture, (0.08, bottom, SIDE - 0.08, SIDE))
    _image(figure, row.overlay, (SIDE + 0.06, bottom, SIDE - 0.08, SIDE))
    width, height = figure.get_size_inches()
    axes = figure.add_axes(((2 * SIDE + 0.08) / width, (bottom + 0.1) / height, 0.1 / width, (SIDE - 0.2) / height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), MAP), cax=axes, ticks=(0, 1))
    bar.ax.set_yticklabels(("none", "most"), fontsize=7, color=MUTED)
    bar.ax.set_ylabel(says, fontsize=7, color=MUTED, labelpad=-8, parse_math=False)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    for place, line in enumerate(text):
        _text(figure, 0.015, (bottom - (place + 1) * LINE) / whole, line, MUTED)


def _sheet(figure: Figure, sheet: Sheet, words: tuple[list[str], list[str]], top: float, tile: float) -> None:
    width, whole = figure.get_size_inches()
    title, note = words
    for line in title:
        top -= LINE
        _text(figure, 0.1 / width, top / whole, line, INK, weight="bold")
    for line in note:
        top -= LINE
        _text(figure, 0.1 / width, top / whole, line, MUTED)
    top -= 0.4 * LINE
    for place, (picture, caption) in enumerate(zip(sheet.tiles, sheet.captions, strict=True)):
        down, across = divmod(place, ACROSS)
        bottom = top - tile - down * (tile + _caption(sheet))
        _image(figure, picture, (0.1 + across * tile, bottom, 0.95 * tile, 0.95 * tile))
        if caption:
            _text(figure, (0.1 + across * tile) / width, (bottom - 0.8 * LINE) / whole, caption, MUTED, fontsize=6.5)


def _caption(sheet: Sheet) -> float:
    return LINE if any(sheet.captions) else 0.0


def _words(sheet: Sheet, width: float) -> tuple[list[str], list[str]]:
    letters = int(width * 17)
    return wrap(sheet.title, int(letters * 0.92)), wrap(sheet.note, letters)


def _image(figure: Figure, picture: Bytes, inches: tuple[float, float, float, float]) -> Axes:
    width, height = figure.get_size_inches()
    left, bottom, wide, high = inches
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    small = max(picture.shape[:2]) < 64
    axes.imshow(np.asarray(picture), interpolation="nearest" if small else "antialiased")
    axes.set_axis_off()
    return axes


def _text(figure: Figure, x: float, y: float, words: str, colour: str, **style: Any) -> None:
    """Words as they are: a class may be called `$x_1$`."""
    figure.text(x, y, words, color=colour, parse_math=False, **style)


@contextmanager
def _drawing() -> Generator[None]:
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in letters that the font lacks
        yield


def _saved(figure: Figure, suffix: str) -> bytes:
    high = math.ceil(figure.get_size_inches()[1] * DOTS)
    if high > TALLEST[suffix]:
        fix = "show fewer in one, or let the file end in .png"
        raise NetwrightError(f"a figure of {high} pixels is taller than a {suffix} holds ({TALLEST[suffix]})", fix)
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    metadata = {"Date": None} if suffix == ".svg" else {"CreationDate": None} if suffix == ".pdf" else None
    figure.savefig(file, format=suffix[1:], dpi=DOTS, metadata=metadata)
    return file.getvalue()
