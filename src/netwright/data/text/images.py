"""Texts as pictures, one-hot tokens by position (Zhang, Zhao & LeCun, NeurIPS 2015), and a dataset of them."""

import string
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from netwright.core.errors import NetwrightError, unknown
from netwright.data.changes import Change, changed, numbered
from netwright.data.text.split import characters_of, words_of
from netwright.engine.random import key

# The paper's alphabet; it counts the hyphen twice.
ALPHABET = {
    letter: row for row, letter in enumerate(string.ascii_lowercase + string.digits + string.punctuation + "\n")
}
Unit = Literal["character", "word"]


def token_image(text: str, *, unit: Unit = "character", size: tuple[int, int] = (72, 256)) -> Tensor:
    """A picture with a column for each token, white in the row of that token. Shape: 1 H W, bytes.

    Characters of the paper's alphabet have rows of their own, if there are as many rows; all others, and words, share
    rows by their hash. Capitals count as small letters, a space leaves its column black, and what does not fit into
    the width is cut off.

    Args:
        text: any.
        unit: what a token is.
        size: height and width of the picture.

    Raises:
        NetwrightError: an unknown unit, or a picture without pixels.
    """
    height, width = _checked(size)
    if unit not in ("character", "word"):
        raise unknown("unit", unit, ("character", "word"))
    tokens = (characters_of(text.lower()) if unit == "character" else words_of(text.lower())[0])[:width]
    found = [(_row(token, height), column) for column, token in enumerate(tokens) if token.strip(" \t")]
    picture = torch.zeros(1, height, width, dtype=torch.uint8)
    if found:
        rows, columns = zip(*found, strict=True)
        picture[0, list(rows), list(columns)] = 255
    return picture


class TextImages(Dataset[tuple[Tensor, int]]):
    """Texts with labels as a map-style dataset of (picture, label), for `fit(data=(train, val))`.

    Args:
        texts: any number.
        labels: a word, or a number from 0, for each text.
        unit: of `token_image`.
        size: of `token_image`.
        classes: names of the classes; by default those of the labels. Give the ones of `train` to `val`.
        changes: what is done to a text whenever it is read, as `functools.partial(delete_words, probability=0.2)`.

    Raises:
        NetwrightError: labels that do not fit the texts.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[Any],
        *,
        unit: Unit = "character",
        size: tuple[int, int] = (72, 256),
        classes: Sequence[str] | None = None,
        changes: Sequence[Change[str]] = (),
    ) -> None:
        self.texts = texts
        self.targets, self.classes = numbered(labels, len(texts), classes)
        self.unit: Unit = unit
        self.size = size
        self.changes = changes

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        text = changed(self.texts[index], self.changes)
        return token_image(text, unit=self.unit, size=self.size), self.targets[index]


def _row(token: str, height: int) -> int:
    return ALPHABET.get(token, key("token", token)) % height


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    if min(size) < 1:
        raise NetwrightError(f"size is {size}", "give a height and a width of 1 or more")
    return size
