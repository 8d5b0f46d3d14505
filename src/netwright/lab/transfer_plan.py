"""What a study of transfer runs: its ways and sizes as a user writes them, and how long training is at each size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec

ARMS = ("scratch", "random_features", "features", "finetune")
ALL = "all"
SIZES = f"5,10,20,50,{ALL}"
SEEDS = 5
UPDATES = 200  # at least, however few the pictures
LONGEST = 10  # times as many epochs as the recipe has, at most


@dataclass(frozen=True)
class Size:
    """How many training pictures of each class are asked for; None means all.

    Attributes:
        pictures: in all, as every class has at most what is asked for.
        per_class: their mean over the classes.
    """

    asked: int | None
    pictures: int
    per_class: float

    @property
    def name(self) -> str:
        """As a user writes it."""
        return ALL if self.asked is None else str(self.asked)


def read_sizes(text: str) -> list[int | None]:
    """`5,10,all` as pictures a class, increasing; None means all.

    Raises:
        NetwrightError: something else stands there, or nothing.
    """
    found: set[int | None] = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word != ALL and not (word.isdecimal() and int(word) > 0):
            fix = f"give whole numbers of pictures a class, and perhaps '{ALL}': --sizes {SIZES}"
            raise NetwrightError(f"'{word}' is no number of pictures", fix)
        found.add(None if word == ALL else int(word))
    if not found:
        raise NetwrightError("no sizes were given", f"give some, as in --sizes {SIZES}")
    return sorted(found, key=lambda size: math.inf if size is None else size)


def read_arms(texts: Sequence[str]) -> list[str]:
    """Ways of transfer, separated by commas that stand in no bracket; each once, in its one spelling.

    Raises:
        NetwrightError: one cannot be read, or there is none.
    """
    found = list(dict.fromkeys(str(Spec.parse(part)) for text in texts for part in _parts(text) if part.strip()))
    if not found:
        raise NetwrightError("no arms were given", f"give some, as in --arms {','.join(ARMS)}")
    return found


def _parts(text: str) -> list[str]:
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def sizes_of(counts: Sequence[int], asked: Sequence[int | None]) -> tuple[list[Size], list[str]]:
    """Sizes with what they come to; of those that are all there is one is taken, and the others are told.

    Args:
        counts: training pictures of each class.
        asked: pictures a class, increasing, None for all.
    """
    known: list[Size] = []
    told: list[str] = []
    most = max(counts)
    for size in asked:
        if size is not None and size >= most:
            told.append(f"{size} pictures a class are all there are: no class has more than {most}")
        every = size is None or size >= most
        pictures = sum(counts) if every else sum(min(count, size) for count in counts if size)
        if not any(other.asked is None for other in known):
            known.append(Size(None if every else size, pictures, pictures / len(counts)))
    return known, told


def epochs_for(epochs: int, n: int, batch_size: int, updates: int = UPDATES) -> int:
    """The recipe's epochs, or as many as make so many updates; at most LONGEST times the recipe's.

    Args:
        epochs: the recipe's.
        n: training pictures.
        batch_size: pictures for one update.
        updates: wanted at least.
    """
    steps = max(1, n // min(n, batch_size))
    return min(LONGEST * epochs, max(epochs, math.ceil(updates / steps)))
