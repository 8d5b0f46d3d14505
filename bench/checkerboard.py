"""One command: the checkerboards that ways of enlarging maps begin with, and what training leaves of them.

    python bench/checkerboard.py --epochs 5 --sheet checkerboards.png

A U-Net for each way, on the generated pictures. Its score, `nn.checkerboard`, is that of a picture of one colour: at
the start over several seeds, and after training with the first of them. The sheet shows the middle of what comes out,
before and after: the scores of the last class, grey where even, else from black to white by their own range.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from _measure import machine
from PIL import Image, ImageDraw
from torch import Tensor, nn

from netwright.engine.augment import Augment
from netwright.engine.evaluate import evaluate
from netwright.engine.loop import step
from netwright.lab.compare import scalar_interval
from netwright.models._segmenter import Segmenter
from netwright.nn.checkerboard import checkerboard
from netwright.nn.init import evaluating, keep_scale
from netwright.nn.upsample import PixelShuffle
from netwright.recipes._assemble import Parts, assemble
from netwright.recipes._recipe import recipe

WAYS = {
    "nearest": "upsample='nearest'",
    "bilinear": "upsample='bilinear'",
    "transposed, random": "upsample='transposed', start='random'",
    "transposed, bilinear": "upsample='transposed'",
    "pixel shuffle, random": "upsample='pixel_shuffle'",
    "pixel shuffle, ICNR": "upsample='pixel_shuffle'",
}
SHOWN, ENLARGED, SIDE = 24, 8, 256  # pixels that the sheet shows, each as a square of 8; the side of the whole picture


def begun(way: str, given: argparse.Namespace, seed: int) -> Parts:
    """A run before its first step."""
    chosen = recipe("segment").without("ema").changed(
        data=given.data, model=f"unet(encoder='{given.encoder}', {WAYS[way]})", epochs=given.epochs,
        batch_size=given.batch_size, lr=given.lr, seed=seed, threads=given.threads,
    )  # fmt: skip
    parts = assemble(chosen)
    if way == "pixel shuffle, random":
        torch.manual_seed(seed)
        for layer in parts.run.model.modules():
            if isinstance(layer, PixelShuffle):
                keep_scale(layer.conv)
    return parts


def trained(parts: Parts) -> float:
    """All epochs; the IoU on the test pictures."""
    run = parts.run
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    for run.epoch in range(parts.recipe.epochs):
        run.model.train()
        for raw in run.loader.epoch(run.epoch):
            step(run, augment, raw, before, after)
    source = parts.inputs.source("test", run.profile, 0)
    found = evaluate(run.model.eval(), source, run.task, run.normalise, run.profile, batch_size=8)
    return float(found.values["iou"].mean())


def segmenter(parts: Parts) -> Segmenter:
    """The run's network."""
    return next(part for part in parts.run.model.modules() if isinstance(part, Segmenter))


def score(network: Segmenter) -> float:
    """Of the network as it is."""
    return checkerboard(network, channels(network), network.grid).score


def channels(network: nn.Module) -> int:
    """Of its pictures."""
    return next(network.parameters()).shape[1]


def middle(network: nn.Module) -> Tensor:
    """What comes of a picture of one colour: the last class's scores around the middle, from 0 to 1. SHOWN SHOWN."""
    with evaluating(network):
        scores = network(torch.ones(1, channels(network), SIDE, SIDE))[0, -1].float()
    first = (SIDE - SHOWN) // 2
    scores = scores[first : first + SHOWN, first : first + SHOWN]
    spread = scores.max() - scores.min()
    even = spread <= 1e-4 * scores.abs().max()
    return torch.full_like(scores, 0.5) if even else (scores - scores.min()) / spread


def sheet(rows: dict[str, list[Tensor]], path: Path) -> None:
    """A row for each way, before and after."""
    side, gap, text = SHOWN * ENLARGED, 12, 170
    image = Image.new("L", (text + 2 * (side + gap), 24 + len(rows) * (side + gap)), 255)
    draw = ImageDraw.Draw(image)
    for column, word in enumerate(("start", "trained")):
        draw.text((text + column * (side + gap), 6), word, fill=0)
    for row, (way, pictures) in enumerate(rows.items()):
        top = 24 + row * (side + gap)
        draw.text((8, top + side // 2), way, fill=0)
        for column, picture in enumerate(pictures):
            grey = Image.fromarray((picture.numpy() * 255).round().astype(np.uint8))
            image.paste(grey.resize((side, side), Image.Resampling.NEAREST), (text + column * (side + gap), top))
    image.save(path)


def main() -> None:
    """Read the flags, measure, train, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="generated")
    parser.add_argument("--encoder", default="resnet20")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--sheet", type=Path, default=Path("checkerboards.png"))
    given = parser.parse_args()
    print(machine())
    print(f"{'':24}{'start, 95 % interval':28}{'trained':12}test IoU")
    rows: dict[str, list[Tensor]] = {}
    for way in WAYS:
        runs = [begun(way, given, seed) for seed in range(given.seeds)]
        mean = scalar_interval([score(segmenter(parts)) for parts in runs])
        first = segmenter(runs[0])
        before = middle(first)
        iou = trained(runs[0])
        rows[way] = [before, middle(first)]
        start = f"{mean.value:.3f} [{max(0.0, mean.low):.3f}, {mean.high:.3f}]"
        print(f"{way:24}{start:28}{score(first):<12.3f}{iou:.3f}", flush=True)
    sheet(rows, given.sheet)
    print(f"pictures: {given.sheet}")


if __name__ == "__main__":
    main()
