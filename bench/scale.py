"""What a large data set costs in memory and time: opened, checked, and opened again, each in a process of its own.

    python bench/scale.py --pictures 200000

Makes that many small PNG files, all different, in a temporary folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, SIDE, PER_FOLDER = 100, 32, 1000
STEPS = {
    "open": "from netwright.data import open_data; open_data(sys.argv[1])",
    "open again": "from netwright.data import open_data; open_data(sys.argv[1])",
    "check": "from netwright.cli.main import code_of; code_of(['check', sys.argv[1]])",
}
MEASURED = """
import sys, time, json
before = time.perf_counter()
{code}
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1e6
own = int(status.split("RssAnon:")[1].split()[0]) / 1e6
print(json.dumps({{"seconds": time.perf_counter() - before, "peak": peak, "own": own}}))
"""


def write(root: Path, first: int, count: int) -> None:
    """Smooth random textures: noise at a quarter of the side, enlarged."""
    for number in range(first, first + count):
        draw = np.random.default_rng(number)
        small = draw.integers(0, 256, (SIDE // 4, SIDE // 4, 3), np.uint8)
        folder = root / f"class{number // PER_FOLDER % CLASSES:03d}" / f"{number // PER_FOLDER:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:07d}.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where to make them; by default a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        root = Path(place, "photos")
        begun = time.perf_counter()
        with ProcessPoolExecutor() as pool:
            starts = range(0, given.pictures, PER_FOLDER)
            list(pool.map(write, [root] * len(starts), starts, [min(PER_FOLDER, given.pictures - s) for s in starts]))
        print(f"{given.pictures} pictures made in {time.perf_counter() - begun:.0f} s", flush=True)
        environment = os.environ | {"NETWRIGHT_CACHE": str(Path(place, "cache"))}
        for name, code in STEPS.items():
            command = [sys.executable, "-c", MEASURED.format(code=code), str(root)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{name:12} {found['seconds']:7.1f} s  {given.pictures / found['seconds']:8.0f} pictures/s  "
                f"peak {found['peak']:.2f} GB, of it {found['own']:.2f} GB not file-backed at the end",
                flush=True,
            )


if __name__ == "__main__":
    main()
