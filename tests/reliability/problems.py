"""What is trained while processes die: digits, a network that draws and remembers, and tricks that do both."""

import os
import random
import signal
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from netwright import Recipe

TRAIN, VAL, BATCH, EPOCHS = 256, 64, 32, 4
STEPS = TRAIN // BATCH  # an epoch
COMMON: dict[str, Any] = {"batch_size": BATCH, "epochs": EPOCHS, "device": "cpu", "threads": 1, "precision": "fp32"}


class Net(nn.Module):
    """Batch normalisation, whose statistics move with every pass, and dropout, which draws in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(256, 10))

    def forward(self, x: Tensor) -> Tensor:
        """N 1 H W -> N 10."""
        return self.head(self.body(x))


class Shaken:
    """A user's own dataset, whose transforms draw from each of the three generators that such transforms use."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = images
        self.labels = labels
        self.targets = labels.tolist()
        self.classes = [str(digit) for digit in range(10)]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[np.ndarray, int]:
        image = np.roll(self.images[position], random.randint(-1, 1), axis=0)
        noise = np.random.randint(0, 40, image.shape)
        image = np.clip(image * float(torch.rand(())) + noise, 0, 255).astype(np.uint8)
        return image, int(self.labels[position])


class Fatal(Shaken):
    """Reading one of the samples kills the process that does it, if that is a worker."""

    def __init__(self, dataset: Shaken, deadly: int) -> None:
        super().__init__(dataset.images, dataset.labels)
        self.deadly = deadly

    def __getitem__(self, position: int) -> tuple[np.ndarray, int]:
        if position == self.deadly and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(position)


@cache
def digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Pictures, uint8 N 8 8, and labels: for training and for validation."""
    found = load_digits()
    images = (found.images * 15).astype(np.uint8)
    end = TRAIN + VAL
    return (images[:TRAIN], found.target[:TRAIN]), (images[TRAIN:end], found.target[TRAIN:end])


def shaken(size: int = 8) -> tuple[Shaken, Shaken]:
    """The same digits as a user's own dataset, enlarged to a multiple of 8 pixels."""
    (train, labels), (val, held_out) = digits()
    enlarge = np.ones((1, size // 8, size // 8), np.uint8)
    return Shaken(np.kron(train, enlarge), labels), Shaken(np.kron(val, enlarge), held_out)


RECIPES = {
    "ema": Recipe(
        optimizer="adamw(lr=5e-3, weight_decay=0.05)",
        schedule="one_cycle(momentum=(0.85, 0.95))",
        tricks=("accumulate(parts=4)", "ema(decay=0.9)", "mixup", "no_decay", "rotate", "translate"),
        **COMMON,
    ),
    "swa": Recipe(
        optimizer="sgd(lr=0.05)",
        schedule="plateau(patience=0, min_delta=0.2, factor=0.5)",
        tricks=(
            "balanced_sampling",
            "cutmix",
            "early_stopping(patience=2, min_delta=0.4)",
            "grad_clip",
            "lookahead(k=3)",
            "no_decay",
            "randaugment",
            "swa(begin=0.3)",
        ),
        **COMMON,
    ),
    "dataset": Recipe(
        optimizer="nadam(lr=2e-3)",
        schedule="cosine(warmup=0.2)",
        tricks=("dropout(rate=0.4)", "ema(decay=0.9)", "label_smoothing", "translate"),
        **COMMON,
    ),
}


def arguments(problem: str) -> dict[str, Any]:
    """What `fit` is told again whenever a run goes on: objects cannot be read from its folder."""
    return {"data": shaken() if problem == "dataset" else digits(), "model": Net()}
