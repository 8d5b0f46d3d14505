"""A tiny real run for tests: random pictures, a small network with every kind of layer, and the true engine."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.core.errors import EXIT_INTERRUPTED, Interrupted
from netwright.core.spec import Spec
from netwright.data.loader import Loader
from netwright.engine.device import Profile
from netwright.engine.evaluate import evaluate, predict
from netwright.engine.loop import Watcher, train
from netwright.engine.normalise import Normalise
from netwright.engine.plans import DataPlan, OptimPlan, Raw
from netwright.engine.random import key
from netwright.engine.run import Run
from netwright.engine.saver import Saver
from netwright.engine.trick import Trick, Tricks
from netwright.nn.drop_path import DropPath
from netwright.nn.output import Outputs
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.tasks.classification import Classification
from netwright.tasks.segmentation import Segmentation
from netwright.tricks import TRICKS

CPU = Profile(torch.device("cpu"), "test", "fp32", channels_last=False, threads=1)
NORMALISE = Normalise(mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
TIMING = ("seconds", "images_per_second")
CLASSES = 4
LIGHTER: dict[str, dict[str, Any]] = {  # as many kinds of layers as the smallest of the family, fewer or smaller ones
    "alexnet": {"hidden": (64, 64)},
    "attention56": {"width": 16},
    "convnext_tiny": {"layers": (1, 1, 2, 1), "width": 32},
    "densenetbc100_k12": {"layers": (4, 4, 4)},
    "efficientnet_b0": {"depth": 0.5},
    "inception_resnet_v2": {"modules": (1, 2, 1)},
    "inception_v4": {"modules": (1, 2, 1)},
    "nasnetamobile": {"repeats": 1},
    "preact_resnet164": {"layers": (3, 3, 3)},
    "pyramidnet110_a48": {"depth": 20},
    "segnet": {"width": 16},
    "unet_2015": {"width": 16},
    "xception": {"middle": 1},
    "zfnet": {"hidden": (64, 64)},
}


def lighter(name: str) -> str:
    """A network of the same family with every kind of its layers, for what needs no published size."""
    return str(Spec(name, LIGHTER.get(name, {})))


class Pictures:
    """A source of random pictures in memory, bytes N H W C or floats N C H W; its classes are unbalanced."""

    def __init__(self, n: int, size: int = 8, *, seed: int = 0, floats: bool = False) -> None:
        draw = np.random.default_rng(seed)
        self.labels = draw.choice(CLASSES, n, p=(0.4, 0.3, 0.2, 0.1))
        pictures = draw.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
        pictures[..., 0] = (
            pictures[..., 0] // 2 + 30 * self.labels[:, None, None]
        )  # so that there is something to learn
        images = torch.from_numpy(pictures)
        self.images = images.permute(0, 3, 1, 2).float().div(255) if floats else images
        self.ids = torch.arange(n) * 7 + 100

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        for chosen in positions:
            yield Raw(self.images[chosen], torch.from_numpy(self.labels[chosen]), self.ids[chosen])


class TinyNetwork(nn.Module):
    """Convolutions with and without bias, batch normalisation, dropout, a linear layer, an auxiliary head, DropPath."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.drop_path = DropPath()  # nothing goes around it: at its own rate of 0 the network is the same without
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, CLASSES))
        self.side = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Any:
        features = self.drop_path(self.body(x))
        scores = self.head(features)
        return Outputs(scores, (self.side(features),)) if self.training else scores


class Scenes:
    """A source of random pictures with masks, bytes N H W C; classes are unbalanced, and some pixels are ignored (-1).

    With `several`, classes overlap: masks are N K H W of 1, 0 and -1.
    """

    def __init__(self, n: int, size: tuple[int, int] = (9, 12), *, seed: int = 0, several: bool = False) -> None:
        draw = np.random.default_rng(seed)
        blocks = draw.choice(4, (n, 3, 4), p=(0.1, 0.5, 0.25, 0.15)) - 1
        high, wide = -(-size[0] // 3), -(-size[1] // 4)
        self.masks = torch.from_numpy(blocks.repeat(high, 1).repeat(wide, 2)[:, : size[0], : size[1]].copy())
        pictures = draw.integers(0, 256, (n, *size, 3), dtype=np.uint8)
        pictures[..., 0] = pictures[..., 0] // 2 + 40 * (self.masks.numpy() + 1)  # so that there is something to learn
        self.images = torch.from_numpy(pictures)
        self.ids = torch.arange(n) * 7 + 100
        self.labels = np.zeros(n, dtype=np.int64)
        self.pixel_counts = np.bincount(self.masks[self.masks >= 0].numpy(), minlength=3)
        if several:
            stack = self.masks[:, None] == torch.arange(3).view(-1, 1, 1)
            self.masks = torch.where(self.masks[:, None] < 0, -1, stack | stack.roll(1, 1)).long()

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        for chosen in positions:
            yield Raw(self.images[chosen], self.masks[chosen], self.ids[chosen])


class TinyMaskNetwork(nn.Module):
    """Scores for each pixel of pictures of any size: down, up, a skip, batch norms, DropPath, an auxiliary head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.side = nn.Conv2d(8, 3, 1)
        self.down = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.drop_path = DropPath()
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Any:
        fine = self.stem(x)
        coarse = self.drop_path(self.down(fine))
        wide = self.up(coarse)[:, :, : x.shape[2], : x.shape[3]]
        scores = self.head(self.drop(torch.cat([fine, wide], 1)))
        if not self.training:
            return scores
        return Outputs(scores, (nn.functional.interpolate(self.side(coarse), x.shape[2:], mode="bilinear"),))


def trick(given: Trick | str) -> Trick:
    return TRICKS.build(given) if isinstance(given, str) else given


def tiny_run(
    *tricks: Trick | str,
    epochs: int = 2,
    n: int = 64,
    seed: int = 0,
    batch_size: int = 16,
    size: int = 8,
    floats: bool = False,
    optimizer: str = "sgd(lr=0.1, weight_decay=0.01)",
    schedule: str = "one_cycle",
    network: Callable[[], nn.Module] = TinyNetwork,
    validates: bool = True,
    train_source: Any = None,
    normalise: Normalise = NORMALISE,
    task: Any = None,
    held_out: Any = None,
) -> Run:
    """A run assembled as `fit` assembles it, from objects in memory."""
    chosen = Tricks(trick(given) for given in tricks)
    task = task or Classification(CLASSES)
    torch.manual_seed(key(seed, "init"))
    model = chosen.through("model", network())
    plan = DataPlan(train_source or Pictures(n, size, floats=floats), task.classes, batch_size)
    updates = OPTIMIZERS.build(optimizer)
    updates.start(chosen.through("optim", OptimPlan.of(model)).groups)
    run = Run(
        seed=seed,
        epochs=epochs,
        task=task,
        model=model,
        optimizer=updates,
        schedule=SCHEDULES.build(schedule),
        loader=Loader(chosen.through("data", plan), seed),
        tricks=chosen,
        profile=CPU,
        normalise=normalise,
    )
    if validates:
        source = held_out or Pictures(24, size, seed=1, floats=floats)
        run.validate = lambda: evaluate(run.predictor(), source, task, normalise, CPU).means()
    chosen.start(run)
    return run


def tiny_mask_run(
    *tricks: Trick | str,
    n: int = 8,
    batch_size: int = 4,
    size: tuple[int, int] = (9, 12),
    several: bool = False,
    network: Callable[[], nn.Module] = TinyMaskNetwork,
    **options: Any,
) -> Run:
    """As `tiny_run`, on pictures with a class for each pixel, of three."""
    return tiny_run(
        *tricks,
        batch_size=batch_size,
        network=network,
        task=Segmentation(3, several=several),
        train_source=Scenes(n, size, several=several),
        held_out=Scenes(4, size, seed=1, several=several),
        **options,
    )


def mask_outputs(run: Run) -> np.ndarray:
    """What the run's predictor gives for each pixel of held-out pictures. N K H W."""
    with one_thread():
        found = predict(run.predictor(), Scenes(4, seed=2), NORMALISE, CPU)
        return torch.cat([output for _, output in found]).numpy()


def train_tiny(
    run: Run,
    *,
    save: Saver | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Train to the end; returns the run."""
    with one_thread():
        train(run, watcher or Watcher(), save or Noted())
    return run


@contextmanager
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost these small tensors more than they save, the more on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class StopAfter(Watcher):
    """Interrupts the run after some steps, as a signal would."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def stepped(self, run: Run) -> None:
        if run.step == self.steps:
            run.interrupted = EXIT_INTERRUPTED


def train_until(run: Run, steps: int, folder: Path) -> None:
    """Train, interrupt after so many steps, and leave a checkpoint in the folder."""
    try:
        train_tiny(run, save=saver(folder), watcher=StopAfter(steps))
    except Interrupted:
        return
    raise AssertionError(f"the run ended before step {steps}")


def saver(folder: Path, *, seconds: float = math.inf) -> Saver:
    """Writes checkpoints as files: at the end or on interruption, and every so many seconds before."""
    return Saver(folder, Path.write_bytes, owner="test", seconds=seconds, told=print)


class Noted(Saver):
    """Writes nothing, but notes after which (epoch, step) a run was to be saved."""

    def __init__(self, *, seconds: float = math.inf) -> None:
        super().__init__(Path(), Path.write_bytes, owner="test", seconds=seconds, told=print)
        self.places: list[tuple[int, int]] = []

    def __call__(self, run: Run) -> None:
        self.places.append((run.epoch, run.step))


def digest(run: Run) -> str:
    """A hash over every weight and buffer."""
    return hash_of(run.model.state_dict())


def outputs(run: Run) -> np.ndarray:
    """What the run's predictor gives for held-out pictures."""
    with one_thread():
        found = evaluate(run.predictor(), Pictures(24, seed=2), run.task, NORMALISE, CPU, keep=True)
    assert found.output is not None
    return found.output


def hash_of(value: Any) -> str:
    """A hash over tensors, numbers and words, however nested."""
    total = hashlib.sha256()
    _feed(value, total.update)
    return total.hexdigest()


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of metrics without what the clock wrote."""
    return [{name: value for name, value in row.items() if name not in TIMING} for row in history]


def _feed(value: Any, take: Callable[[bytes], Any]) -> None:
    if isinstance(value, Tensor):
        take(f"{value.dtype}{tuple(value.shape)}".encode())
        take(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        for name in sorted(value):
            take(repr(name).encode())
            _feed(value[name], take)
    elif isinstance(value, list | tuple):
        take(f"[{len(value)}]".encode())
        for part in value:
            _feed(part, take)
    else:
        take(repr(value).encode())
