"""How fast the data gate decodes and examines pictures, beside a plain Pillow loop in two processes.

    python bench/gate.py --photos clothing/ --arrays cifar10.npz

The gate begins with an empty cache in every round: it hashes every file, decodes it, resizes it into the cache, and
notes its facts. Then it judges. Pillow opens each file and converts it to RGB.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from _measure import in_turn, machine, ratio
from PIL import Image

from netwright.data.gate.check import check
from netwright.data.kinds import listing_of
from netwright.data.ready import looked_at
from netwright.data.split import Wanted

EXTENSIONS = (".jpg", ".jpeg", ".png")


def decode(paths: list[Path]) -> int:
    """What a plain loop does."""
    for path in paths:
        with Image.open(path) as picture:
            picture.convert("RGB").load()
    return len(paths)


def gate(source: Path) -> Callable[[], object]:
    """The gate, with a cache that was never used."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["NETWRIGHT_CACHE"] = cache
            check(looked_at(listing_of(str(source), "any"), Wanted())[0], cached=False)

    return run


def plain(paths: list[Path], pool: ProcessPoolExecutor) -> Callable[[], object]:
    """The loop, over halves of the files."""
    return lambda: list(pool.map(decode, [paths[::2], paths[1::2]]))


def unpacked(arrays: Path, root: Path) -> Path:
    """Every picture of an .npz with Keras' names as a PNG file."""
    held = np.load(arrays, allow_pickle=False)
    for side in ("train", "test"):
        for number, (image, label) in enumerate(zip(held[f"x_{side}"], held[f"y_{side}"], strict=True)):
            folder = root / side / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:06d}.png")
    return root


def measure(name: str, source: Path, rounds: int) -> None:
    """Print one line."""
    paths = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in EXTENSIONS]
    with ProcessPoolExecutor(2) as pool:
        seconds = in_turn({"gate": gate(source), "pillow": plain(paths, pool)}, rounds)
    speeds = {each: len(paths) / median(took) for each, took in seconds.items()}
    print(
        f"{name}: {len(paths)} files, gate {speeds['gate']:.0f} images/s, Pillow {speeds['pillow']:.0f} images/s, "
        f"gate's time / Pillow's {ratio(seconds['gate'], seconds['pillow'])}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--arrays", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print(machine())
    if given.photos:
        measure("photos", given.photos, given.rounds)
    if given.arrays:
        with tempfile.TemporaryDirectory() as root:
            measure("arrays as PNG", unpacked(given.arrays, Path(root)), given.rounds)


if __name__ == "__main__":
    main()
