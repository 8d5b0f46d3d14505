"""A training step of our networks over one of torchvision's own modules, under the same engine, in turn.

python bench/step.py
"""

import argparse

import numpy as np
import torch
from _measure import in_turn, machine, ratio

from netwright import from_arrays, recipe
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.engine.run import Run
from netwright.models._parity import reference_network
from netwright.recipes._assemble import assemble


class Steps:
    """Updates of one network on one batch that never changes."""

    def __init__(self, name: str, *, reference: bool, side: int, batch: int, device: str) -> None:
        draw = np.random.default_rng(0)
        images, labels = draw.integers(0, 256, (4 * batch, side, side, 3), np.uint8), draw.integers(0, 10, 4 * batch)
        plan = recipe("cifar", model=name, device=device, batch_size=batch).without("crop", "flip")
        network = reference_network(f"torchvision/{name}", num_classes=10) if reference else None
        parts = assemble(plan, data=from_arrays(train=(images, labels), val=(images, labels)), model=network)
        self.run: Run = parts.run
        self.raw = next(self.run.loader.epoch(0))
        self.batch = Augment(self.run, parts.inputs.normalise)(self.raw)
        self.run.model.train()

    def __call__(self) -> None:
        step(self.run, lambda _: self.batch, self.raw, [], [])  # reads the loss, so a GPU is waited for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    print(machine(), f"torch {torch.__version__}; batches of {given.batch} of {given.side}x{given.side}")
    for name in ("resnet50", "mobilenet_v2"):
        sizes = {"side": given.side, "batch": given.batch, "device": given.device}
        ours, theirs = Steps(name, reference=False, **sizes), Steps(name, reference=True, **sizes)
        seconds = in_turn({"ours": ours, "theirs": theirs}, given.rounds, warmup=3)
        print(f"  {name:<13} netwright's / torchvision's: {ratio(seconds['ours'], seconds['theirs'])}", flush=True)


if __name__ == "__main__":
    main()
