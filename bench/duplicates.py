"""How many planted duplicates are found, what else is reported, and what the search costs.

    OMP_NUM_THREADS=1 python bench/duplicates.py DATA --sheets FOLDER     # --scale 1000000 for the cost alone

DATA holds clothing/, cifar10_12k/ and mnist/. Copies of pictures are planted beside the first 12,000 of a set.
The limit in grey values follows from copies of pictures at even places, and recall is counted on copies of those at odd
places; the limit of distance was chosen by looking at pairs of CIFAR-10.
"""

import argparse
import gzip
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from _measure import machine
from numpy.typing import NDArray
from PIL import Image

from netwright.data.facts import FACT, complete, thumbnail
from netwright.data.gate.duplicates import NearPairs, Pair, _compared, exact_groups, near_pairs
from netwright.data.gate.likeness import TURNS
from netwright.records.intervals import wilson

Picture = Image.Image
Change = Callable[[Picture], Picture]
T = Image.Transpose
WANTED = 300  # copies of each kind
MOST = 12_000  # pictures among which they are looked for
SHOWN = 60  # pairs on a sheet


def jpeg(picture: Picture, quality: int = 50) -> Picture:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def short_side(picture: Picture, side: int) -> Picture:
    scale = side / min(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def halved(picture: Picture) -> Picture:
    return short_side(picture, min(picture.size) // 2)


# What is done to a picture, and what of that the search should name.
KINDS: dict[str, tuple[Change, str]] = {
    "exact": (lambda picture: picture.copy(), ""),
    "resized to half": (halved, ""),
    "resized to 224": (partial(short_side, side=224), ""),
    "resized to 64": (partial(short_side, side=64), ""),
    "squashed to 96×64": (lambda picture: picture.resize((96, 64), Image.Resampling.BICUBIC), ""),
    "JPEG 50": (jpeg, ""),
    "flipped": (lambda picture: picture.transpose(T.FLIP_LEFT_RIGHT), "flipped"),
    "flipped upside down": (lambda picture: picture.transpose(T.FLIP_TOP_BOTTOM), "flipped upside down"),
    "rotated by 90°": (lambda picture: picture.transpose(T.ROTATE_90), "rotated by 90°"),
    "rotated by 180°": (lambda picture: picture.transpose(T.ROTATE_180), "rotated by 180°"),
    "rotated by 270°": (lambda picture: picture.transpose(T.ROTATE_270), "rotated by 270°"),
    "flipped, JPEG 50": (lambda picture: jpeg(picture.transpose(T.FLIP_LEFT_RIGHT)), "flipped"),
    "transposed, 64, JPEG 50": (
        lambda picture: jpeg(short_side(picture.transpose(T.TRANSPOSE), 64)),
        "flipped and rotated by 90°",
    ),
    "half, JPEG 50": (lambda picture: jpeg(halved(picture)), ""),
}


def clothing(data: Path) -> tuple[list[Picture], NDArray[np.str_]]:
    paths = sorted(data.glob("clothing/*/*/*.jpg"))
    return [Image.open(path).convert("RGB") for path in paths], np.array([path.parts[-3] for path in paths])


def cifar(data: Path) -> tuple[list[Picture], NDArray[np.str_]]:
    file = np.load(data / "cifar10_12k" / "cifar10_12k.npz", allow_pickle=False)
    arrays = [file["x_train"], file["x_test"]]
    return [Image.fromarray(each) for array in arrays for each in array], np.repeat(
        ["train", "test"], [*map(len, arrays)]
    )


def mnist(data: Path) -> tuple[list[Picture], NDArray[np.str_]]:
    raw = data / "mnist" / "MNIST" / "raw"
    arrays = [
        np.frombuffer(gzip.decompress((raw / f"{name}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
        for name in ("train", "t10k")
    ]
    pictures = [Image.fromarray(each) for array in arrays for each in array.reshape(-1, 28, 28)]
    return [picture.convert("RGB") for picture in pictures], np.repeat(["train", "test"], [60_000, 10_000])


def facts_of(pictures: Sequence[Picture]) -> NDArray[np.void]:
    facts = np.zeros(len(pictures), FACT)
    for row, picture in zip(facts, pictures, strict=True):
        row["digest"], row["thumb"] = np.void(sha256(picture.tobytes()).digest()), thumbnail(picture)
        row["width"], row["height"] = picture.size
    complete(facts)
    return facts


def recall(pictures: Sequence[Picture], facts: NDArray[np.void]) -> None:
    """Plants copies of pictures at odd places, kind by kind, and prints how many are found, and named rightly."""
    odd = np.random.default_rng(0).permutation(np.arange(1, len(facts), 2))[:WANTED]
    for name, (change, turn) in KINDS.items():
        planted = np.concatenate([facts, facts_of([change(pictures[i]) for i in odd])])
        turns = {(pair.first, pair.second): pair.turn for pair in near_pairs(planted).pairs}
        stands = np.arange(len(planted))  # what stands for a picture that is there exactly more than once
        for first, *rest in exact_groups(planted["digest"]):
            stands[rest] = first
        seen = zip(odd.tolist(), stands[len(facts) :].tolist(), strict=True)
        found = [one for one in ("" if i == k else turns.get((i, k)) for i, k in seen) if one is not None]
        print(f"  {name:24} {wilson(len(found), len(odd))!s:24} n = {len(odd)}, {found.count(turn)} with their turn")


def distances(pictures: Sequence[Picture], facts: NDArray[np.void]) -> None:
    """Prints how far copies of pictures at even places are from them."""
    even = np.random.default_rng(0).permutation(np.arange(0, len(facts), 2))[:WANTED]
    for name, (change, turn) in KINDS.items():
        copies = facts_of([change(pictures[i]) for i in even])
        turned = next(each for each in TURNS if each.name == turn)
        bits = np.bitwise_count(turned.hashes(facts["hash"][even]) ^ copies["hash"])
        distance, greys = _compared(turned.thumbs(facts["thumb"][even]), copies["thumb"])
        measured = {"bits": bits, "distance": distance, "greys": greys}
        told = (
            f"{what} {' '.join(f'{x:6.3f}' for x in np.percentile(values, [50, 95, 100]))}"
            for what, values in measured.items()
        )
        print(f"  {name:24} median, 95 %, most: {', '.join(told)}")


def alarms(pictures: Sequence[Picture], sides: NDArray[np.str_], facts: NDArray[np.void], sheet: Path | None) -> None:
    """Prints what is reported in the pictures as they are, and draws it."""
    begun = time.perf_counter()
    near = near_pairs(facts)
    seconds = time.perf_counter() - begun
    between = Counter(" – ".join(sorted((sides[pair.first], sides[pair.second]))) for pair in near.pairs)
    exact = sum(len(group) - 1 for group in exact_groups(facts["digest"]))
    print(f"  as it is: {exact} exact copies, {len(near.pairs)} near pairs {dict(between)},", end=" ")
    print(f"{near.flat} flat, {near.crowded} crowded, {seconds:.1f} s")
    if sheet and near.pairs:
        contact_sheet(pictures, near, sheet)


def contact_sheet(pictures: Sequence[Picture], near: NearPairs, path: Path, side: int = 112) -> None:
    """The reported pairs side by side, five to a row, the most different ones first."""
    pairs: list[Pair] = sorted(near.pairs, key=lambda pair: -pair.distance)[:SHOWN]
    page = Image.new("RGB", (5 * (2 * side + 12), -(-len(pairs) // 5) * (side + 8)), "white")
    for number, pair in enumerate(pairs):
        row, column = divmod(number, 5)
        for half, place in enumerate((pair.first, pair.second)):
            small = pictures[place].resize((side, side), Image.Resampling.BICUBIC)
            page.paste(small, (column * (2 * side + 12) + half * (side + 2), row * (side + 8)))
        print(f"    {number}: {pair.first}, {pair.second}: {pair.turn or 'as it is'}, distance {pair.distance:.3f}")
    page.save(path)


def cost(n: int) -> None:
    """Prints what the search takes in pictures with the spectrum of photographs and random phases."""
    draw, facts = np.random.default_rng(0), np.zeros(n, FACT)
    side = facts["thumb"].shape[1]
    frequency = np.hypot(*np.meshgrid(np.arange(side), np.arange(side)))
    strength = np.where(frequency > 0, np.maximum(frequency, 1) ** -1.5, 0)
    cosines = np.cos(np.pi * np.outer(np.arange(side), np.arange(side) + 0.5) / side)
    for begin in range(0, n, 20_000):
        rows = facts[begin : begin + 20_000]
        waves = cosines.T @ (draw.normal(size=(len(rows), side, side)) * strength) @ cosines
        rows["thumb"] = np.clip(128 + 40 * waves / waves.std((1, 2), keepdims=True), 0, 255)
        complete(rows)
    facts["digest"], facts["width"], facts["height"] = np.frombuffer(draw.bytes(32 * n), "V32"), side, side
    before = peak()
    begun = time.perf_counter()
    found = near_pairs(facts)
    seconds = time.perf_counter() - begun
    print(f"{n} pictures of noise: {seconds:.1f} s, peak {before} -> {peak()} MB,", end=" ")
    print(f"of which facts {facts.nbytes >> 20} MB; {len(found.pairs)} pairs, {found.crowded} crowded")


def peak() -> int:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--sheets", type=Path, help="a folder for pictures of the pairs that are reported")
    parser.add_argument("--scale", type=int, nargs="*", default=[])
    given = parser.parse_args()
    print(machine())
    for n in given.scale:
        cost(n)
    for load in (clothing, cifar, mnist) if given.data else ():
        pictures, sides = load(given.data)
        facts = facts_of(pictures)
        print(f"{load.__name__}: {len(pictures)} pictures")
        alarms(pictures, sides, facts, given.sheets and given.sheets / f"{load.__name__}.png")
        distances(pictures, facts)
        recall(pictures, facts[:MOST])


if __name__ == "__main__":
    main()
