"""One command: a U-Net on pictures with masks, beside segmentation_models_pytorch's in the loop most people write.

    python bench/segmentation.py --data nuclei/ --encoder resnet18 --epochs 12 --seeds 3

The usual loop: float32, NCHW, PNG files read and mirrored one by one in two workers, cross-entropy, AdamW and a cosine
schedule. Ours: `netwright train` with the same encoder, updates, batch and optimiser. Both are measured by the same
metrics on the test pictures, and timed in turn, epoch by epoch. Needs: pip install segmentation-models-pytorch.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from _epochs import ours
from _measure import in_turn, machine, ratio
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from netwright.engine.evaluate import evaluate
from netwright.recipes._assemble import Parts, assemble
from netwright.recipes._recipe import recipe
from netwright.records.intervals import of_values

LR, DECAY, WARMUP, WORKERS = 2e-3, 0.05, 0.05, 2


class Pairs(Dataset):
    """Pictures and masks of 0 and 255, mirrored at random."""

    def __init__(self, folder: Path, mean: Sequence[float], std: Sequence[float]) -> None:
        self.pictures = sorted((folder / "images").iterdir())
        self.masks = folder / "masks"
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        path = self.pictures[place]
        picture = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).float() / 255
        mask = torch.from_numpy(np.array(Image.open(self.masks / path.name).convert("L")) > 127).long()
        for axis in (-1, -2):
            if torch.rand(()) < 0.5:
                picture, mask = picture.flip(axis), mask.flip(axis)
        return (picture - self.mean) / self.std, mask


@dataclass
class Usual:
    """The usual loop."""

    network: nn.Module
    loader: DataLoader
    epochs: int

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.network.parameters(), LR, weight_decay=DECAY)
        steps = self.epochs * len(self.loader)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda now: rate((now + 0.5) / steps))

    def epoch(self) -> None:
        """Once through the pictures."""
        self.network.train()
        for picture, mask in self.loader:
            loss = F.cross_entropy(self.network(picture), mask)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            loss.item()


def rate(time: float) -> float:
    """Warm-up, then half a cosine, as netwright's cosine(warmup=0.05)."""
    if time < WARMUP:
        return time / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (time - WARMUP) / (1 - WARMUP)))


def measured(parts: Parts, network: nn.Module) -> dict[str, dict[str, float]]:
    """IoU and Dice on the test pictures, with intervals over pictures."""
    run = parts.run
    source = parts.inputs.source("test", run.profile, 0)
    found = evaluate(network.eval(), source, run.task, run.normalise, run.profile, batch_size=8)
    return {name: of_values(found.values[name]).to_json() for name in ("iou", "dice")}


def main() -> None:
    """Read the flags, train both, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print(machine())
    times: dict[str, list[float]] = {"netwright": [], "usual": []}
    for seed in range(given.seeds):
        chosen = recipe("segment").without("ema", "brightness", "contrast", "no_decay").changed(
            data=str(given.data), model=f"unet(encoder='{given.encoder}')", epochs=given.epochs,
            batch_size=given.batch_size, lr=LR, seed=seed, channels=3,
        )  # fmt: skip
        parts = assemble(chosen)
        torch.manual_seed(seed)
        network = smp.Unet(encoder_name=given.encoder, encoder_weights=None, in_channels=3, classes=2)
        seen = Pairs(given.data / "train", parts.run.normalise.mean, parts.run.normalise.std)
        how = {"shuffle": True, "drop_last": True, "num_workers": WORKERS, "persistent_workers": True}
        loader = DataLoader(seen, given.batch_size, **how)
        usual = Usual(network, loader, given.epochs)
        seconds = in_turn({"netwright": ours(parts), "usual": usual.epoch}, given.epochs, warmup=0)
        for name, each in seconds.items():
            times[name] += each[1:]  # the first epoch starts workers and fills caches
        found = {"netwright": measured(parts, parts.run.predictor()), "usual": measured(parts, network)}
        print(json.dumps({"seed": seed, "updates": parts.run.step, **found}), flush=True)
    params = {
        name: sum(p.numel() for p in each.parameters()) for name, each in (("ours", parts.run.model), ("smp", network))
    }
    print(f"parameters: {params}; precision {parts.run.profile.precision}")
    print(f"seconds an epoch: {np.median(times['netwright']):.2f} and {np.median(times['usual']):.2f}")
    print(f"usual / netwright: {ratio(times['usual'], times['netwright'])}")


if __name__ == "__main__":
    main()
