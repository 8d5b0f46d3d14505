"""One command: netwright beside a bare PyTorch loop (the ceiling) and beside the usual recipe, on the same work.

    python bench/speed.py --data cifar10_12k.npz            # images a second, as ratios
    python bench/speed.py --data cifar10_12k.npz --epochs 10 --seeds 3   # and accuracy after equal epochs

Without --data it makes pictures of the same size, which have no accuracy worth printing.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _measure import in_turn, machine, ratio
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from netwright import create_model, fit, from_arrays, recipe
from netwright.engine.augment import Augment, prepare
from netwright.engine.device import available_threads
from netwright.engine.loop import step
from netwright.recipes._assemble import assemble

BATCH, LR, MOMENTUM, DECAY = 128, 0.2, 0.9, 5e-4


class Pictures(Dataset):
    """The usual map-style dataset: an array, turned into a PIL picture and back."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(transforms.functional.to_pil_image(self.images[index])), int(self.labels[index])


class Usual:
    """The recipe most people write: float32, NCHW, DataLoader workers, torchvision transforms, torch.optim."""

    def __init__(self, data: dict[str, np.ndarray], device: str, epochs: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.device = device
        self.model = create_model("resnet20", classes=10).to(device)
        normalise = [transforms.ToTensor(), transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))]
        moves = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        train = Pictures(data["x_train"], data["y_train"], transforms.Compose(moves + normalise))
        self.loader = DataLoader(train, BATCH, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)
        test = Pictures(data["x_test"], data["y_test"], transforms.Compose(normalise))
        self.test = DataLoader(test, 256, num_workers=2, persistent_workers=True)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, LR, total_steps=epochs * len(self.loader), pct_start=0.2, cycle_momentum=False
        )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """One update."""
        loss = F.cross_entropy(self.model(images.to(self.device)), labels.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def epoch(self) -> None:
        """One epoch and the evaluation after it."""
        self.model.train()
        for images, labels in self.loader:
            self.step(images, labels)
            self.schedule.step()
        self.accuracy()

    @torch.no_grad()
    def accuracy(self) -> float:
        """On the test pictures."""
        self.model.eval()
        right = [(self.model(x.to(self.device)).argmax(1).cpu() == y).float() for x, y in self.test]
        return float(torch.cat(right).mean())


def endless(loader: DataLoader) -> Iterator:
    """Batches for ever."""
    while True:
        yield from loader


def rates(data: dict[str, np.ndarray], device: str, rounds: int, steps: int) -> None:
    """Time of one update: ceiling, netwright's loop on a fixed batch, netwright, and the usual recipe."""
    parts = assemble(_recipe(device, 10, 0), data=_splits(data))
    ours, normalise = parts.run, parts.inputs.normalise
    augment = Augment(ours, normalise)
    raw = next(ours.loader.epoch(0))
    fixed = augment(raw)
    profile = ours.profile
    bare = profile.place(create_model("resnet20", classes=10)).train()
    optimizer = torch.optim.SGD(bare.parameters(), 0.01, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True)
    image, target = profile.layout(prepare(raw, normalise, profile)), fixed.target
    batches = _endless_ours(ours)
    usual = Usual(data, device, 10, 0)
    theirs = endless(usual.loader)
    usual.model.train()
    ours.model.train()

    def bare_step() -> None:
        with profile.autocast():
            output = bare(image)
        loss = -(target * output.float().log_softmax(1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    def repeat(action: Callable[[], object]) -> Callable[[], None]:
        return lambda: [action() for _ in range(steps)] and None

    seconds = in_turn(
        {
            "bare": repeat(bare_step),
            "fixed": repeat(lambda: step(ours, lambda _: fixed, raw, [], [])),
            "ours": repeat(lambda: step(ours, augment, next(batches), [], [])),
            "input": repeat(lambda: augment(next(batches))),
            "usual": repeat(lambda: usual.step(*next(theirs))),
        },
        rounds,
        rest=1.0,  # the usual recipe's workers fill their queues
    )
    print(f"{rounds} rounds of {steps} updates of {BATCH} pictures, ResNet-20, {device}, {profile.precision}")
    for name, label in (
        ("bare", "bare loop, fixed batch (the ceiling)"),
        ("ours", "netwright"),
        ("usual", "the usual recipe"),
    ):
        print(f"  {label:<40} {BATCH * steps / statistics.median(seconds[name]):8.0f} images/s")
    print(f"  netwright's loop / bare loop             {ratio(seconds['fixed'], seconds['bare'])}")
    print(f"  with input pipeline / fixed batch        {ratio(seconds['ours'], seconds['fixed'])}")
    print(f"  input pipeline alone / step on fixed     {ratio(seconds['input'], seconds['fixed'])}")
    print(f"  the usual recipe / netwright             {ratio(seconds['usual'], seconds['ours'])}")


def accuracies(data: dict[str, np.ndarray], device: str, epochs: int, seeds: int, output: Path) -> None:
    """Accuracy and time of both after equal epochs, seed by seed; both evaluate on the test pictures each epoch."""
    found: dict[str, list[tuple[float, float]]] = {"netwright": [], "usual": []}
    for seed in range(seeds):
        begun = time.perf_counter()
        result = fit(_recipe(device, epochs, seed), data=_splits(data), output=output)
        found["netwright"].append((result.accuracy, time.perf_counter() - begun))
        begun = time.perf_counter()
        usual = Usual(data, device, epochs, seed)
        for _ in range(epochs):
            usual.epoch()
        found["usual"].append((usual.accuracy(), time.perf_counter() - begun))
        for name, rows in found.items():
            print(f"  seed {seed}: {name:<10} {100 * rows[-1][0]:.2f} %  {rows[-1][1]:.0f} s", flush=True)
    print(f"{epochs} epochs, n = {seeds} seeds, test pictures: {len(data['x_test'])}")
    for name, rows in found.items():
        mean, spread = statistics.mean(a for a, _ in rows), statistics.stdev(a for a, _ in rows) if seeds > 1 else 0.0
        print(f"  {name:<10} {100 * mean:.2f} % (sd {100 * spread:.2f}), {statistics.median(s for _, s in rows):.0f} s")
    print(f"  time, usual / netwright: {ratio([s for _, s in found['usual']], [s for _, s in found['netwright']])}")


def _recipe(device: str, epochs: int, seed: int):
    chosen = recipe("cifar", device=device, epochs=epochs, seed=seed, batch_size=BATCH)
    return (
        chosen.changed(optimizer=f"sgd(lr={LR}, momentum={MOMENTUM}, weight_decay={DECAY})")
        .without("no_decay")
        .with_("crop(fill='zeros')")
    )


def _splits(data: dict[str, np.ndarray]):
    return from_arrays(train=(data["x_train"], data["y_train"]), val=(data["x_test"], data["y_test"]))


def _endless_ours(run) -> Iterator:
    epoch = 0
    while True:
        yield from run.loader.epoch(epoch)
        epoch += 1


def _data(path: Path | None) -> dict[str, np.ndarray]:
    if path is None:
        draw = np.random.default_rng(0)
        pictures = {
            f"x_{s}": draw.integers(0, 256, (n, 32, 32, 3), np.uint8) for s, n in (("train", 10_000), ("test", 2000))
        }
        return pictures | {f"y_{s}": draw.integers(0, 10, n) for s, n in (("train", 10_000), ("test", 2000))}
    file = path if path.is_file() else next(path.glob("*.npz"))
    return dict(np.load(file, allow_pickle=False))


def main() -> None:
    """Read the flags and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="an .npz with x_train, y_train, x_test, y_test")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=0, help="also train both this long")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    given = parser.parse_args()
    torch.set_num_threads(available_threads())
    print(machine(), f"torch {torch.__version__}")
    data = _data(given.data)
    rates(data, given.device, given.rounds, given.steps)
    if given.epochs:
        accuracies(data, given.device, given.epochs, given.seeds, given.output)


if __name__ == "__main__":
    main()
