"""Data sets made by hand for the data gate: facts without pictures, and small pictures on disk."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from netwright.data.facts import FACT, Examined
from netwright.data.folder import labelled, unlabelled
from netwright.data.gate.check import check
from netwright.data.gate.subject import SIDES
from netwright.data.gate.verdict import Finding
from netwright.data.listing import Files, Listing
from netwright.data.ready import looked_at
from netwright.data.split import Wanted

TRAIN, VAL, TEST = range(3)


def made(
    sides: Sequence[int],
    labels: Sequence[int] | np.ndarray,
    classes: tuple[str, ...] = ("cat", "dog"),
    names: Sequence[str] = (),
    same: Sequence[Sequence[int]] = (),
    notes: tuple[str, ...] = (),
    seed: int = 0,
) -> Examined:
    """Pictures of 100 × 100 px that have nothing in common but for the sets in `same`."""
    draw = np.random.default_rng(seed)
    n = len(sides)
    facts = np.zeros(n, FACT)
    facts["digest"] = [bytes(draw.integers(1, 256, 32, np.uint8)) for _ in range(n)]
    facts["hash"] = draw.integers(0, 2**64, n, np.uint64)
    facts["thumb"] = draw.integers(0, 256, (n, 16, 16), np.uint8)
    facts["width"], facts["height"], facts["format"], facts["mode"] = 100, 100, b"JPEG", b"RGB"
    facts["brightness"], facts["contrast"] = draw.uniform(0.3, 0.7, n), draw.uniform(0.1, 0.3, n)
    for first, *rest in same:
        facts[rest] = facts[first]
    names = list(names) or [f"{SIDES[side]}/{place}.jpg" for place, side in enumerate(sides)]
    numbers = np.asarray(labels, np.int64)
    listing = Listing("pets", "", classes, Files(Path(), names), numbers, np.asarray(sides, np.int8), notes)
    return Examined(listing, listing.sides, facts, {})


def even(n: int = 60, **options: Any) -> Examined:
    """Two classes, a quarter of all in val."""
    places = range(n)
    return made([VAL if place % 4 == 0 else TRAIN for place in places], [place // 4 % 2 for place in places], **options)


def found(examined: Examined, group: str | None = None) -> dict[str, Finding]:
    """The findings by their kind, none of them twice."""
    findings = check(examined, group).findings
    kinds = {finding.kind: finding for finding in findings}
    assert len(kinds) == len(findings)
    return kinds


def names(finding: Finding) -> list[list[str]]:
    return [[item.name for item in example] for example in finding.examples]


def looked(root: Path, plain: bool = False, **wanted: Any) -> Examined:
    """A folder's pictures, decoded; with `plain`, its folders are no classes."""
    return looked_at((unlabelled if plain else labelled)(str(root)), Wanted(**wanted))[0]


def noise(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Blots that no other seed has."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be a square of this side."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
