"""A training step that keeps the memory of freed tensors over one that hands it back, each in processes of its own.

python bench/memory.py             # --model resnet20 --side 32 --batch 128 for small pictures
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from _measure import machine, ratio

from netwright import from_arrays, recipe
from netwright.engine import device
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.recipes._assemble import assemble

STEPS, WARMUP = 12, 2


def seconds(model: str, side: int, batch: int) -> float:
    """The median time of an update in this process."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (2 * batch, side, side, 3), np.uint8), np.arange(2 * batch) % 10
    plan = recipe("cifar", model=model, batch_size=batch).without("crop", "flip")
    run = assemble(plan, data=from_arrays(train=(images, labels), val=(images, labels))).run
    augment, raw, times = Augment(run), next(run.loader.epoch(0)), []
    run.model.train()
    for _ in range(STEPS):
        begun = time.perf_counter()
        step(run, augment, raw, [], [])
        times.append(time.perf_counter() - begun)
    return statistics.median(times[WARMUP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--only", choices=("kept", "returned"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        device.keep_freed_memory = device.keep_freed_memory if given.only == "kept" else lambda: None
        print(json.dumps(seconds(given.model, given.side, given.batch)))
        return
    print(machine(), f"torch {torch.__version__}; {given.model}, batches of {given.batch} of {given.side}x{given.side}")
    found: dict[str, list[float]] = {"kept": [], "returned": []}
    for _ in range(given.rounds):
        for name, times in found.items():
            done = subprocess.run([sys.executable, *sys.argv, "--only", name], capture_output=True, check=True)
            times.append(float(done.stdout.splitlines()[-1]))
    print(f"  returned / kept: {ratio(found['returned'], found['kept'])}")


if __name__ == "__main__":
    main()
