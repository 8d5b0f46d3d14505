"""Augmentation in batches over torchvision's per picture, with the same operations; and its share of a training step.

python bench/augment.py            # --sides 32 for the small pictures alone
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch
from _measure import in_turn, machine, ratio
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from netwright import from_arrays, recipe
from netwright.engine.augment import Augment
from netwright.engine.device import available_threads
from netwright.engine.loop import step
from netwright.recipes._assemble import assemble

BILINEAR = InterpolationMode.BILINEAR
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
CLASSES = 10
BATCHES = 16  # in a round with a DataLoader, which needs a while to get going

# Our tricks, and torchvision's transforms of a picture of a given side. Only Beta's parameter is left to mixup.
PIPELINES: dict[str, tuple[tuple[str, ...], Callable[[int], list]]] = {
    "flip, crop": (
        ("flip", "crop(pad=4)"),
        lambda side: [v2.RandomCrop(side, padding=4), v2.RandomHorizontalFlip()],
    ),
    "colour jitter": (
        ("brightness(strength=0.4)", "contrast(strength=0.4)", "saturation(strength=0.4)"),
        lambda _: [v2.ColorJitter(0.4, 0.4, 0.4)],
    ),
    "randaugment": (("randaugment",), lambda _: [v2.RandAugment(interpolation=BILINEAR)]),
    "trivial_augment": (("trivial_augment",), lambda _: [v2.TrivialAugmentWide(interpolation=BILINEAR)]),
    "augmix": (("augmix",), lambda _: [v2.AugMix(all_ops=False)]),
    "blur": (("blur(probability=1)",), lambda _: [v2.GaussianBlur(13, (0.1, 2.0))]),
    "random_erasing": (("random_erasing",), lambda _: [v2.RandomErasing(0.5, (0.02, 0.4))]),
    "randaugment, resized_crop, flip": (
        ("randaugment", "resized_crop", "flip"),
        lambda side: [
            v2.RandomResizedCrop(side, (0.35, 1.0), antialias=False),
            v2.RandomHorizontalFlip(),
            v2.RandAugment(interpolation=BILINEAR),
        ],
    ),
    "randaugment, resized_crop, mixup": (
        ("randaugment", "resized_crop", "mixup"),
        lambda side: [v2.RandomResizedCrop(side, (0.35, 1.0), antialias=False), v2.RandAugment(interpolation=BILINEAR)],
    ),
}


class Ours:
    """A recipe's own pipeline on one batch as it is stored: from bytes to what the network sees."""

    def __init__(self, tricks: tuple[str, ...], side: int, batch: int, model: str, options: dict) -> None:
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (4 * batch, side, side, 3), np.uint8)
        labels = draw.integers(0, CLASSES, 4 * batch)
        plan = recipe("cifar", model=model, batch_size=batch, **options).without("crop", "flip").with_(*tricks)
        parts = assemble(plan, data=from_arrays(train=(images, labels), val=(images, labels)))
        self.run = parts.run
        self.raw = next(self.run.loader.epoch(0))
        self.augment = Augment(self.run)
        self.run.model.train()

    def __call__(self) -> None:
        self.run.step += 1  # what is drawn by step is drawn anew
        self.run.epoch += 1
        self.augment(self.raw)


class Theirs:
    """The same pictures one by one, as a data loader's worker does it, and put together as a batch."""

    def __init__(self, transforms: list, raw: torch.Tensor, label: torch.Tensor, *, mixed: bool) -> None:
        self.pictures = list(raw.permute(0, 3, 1, 2))  # bytes C H W
        self.label = label
        ends = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
        self.transform = v2.Compose(transforms + ends)
        self.mix = v2.MixUp(num_classes=CLASSES, alpha=0.2) if mixed else None

    def __call__(self) -> None:
        image = torch.stack([self.transform(picture) for picture in self.pictures])
        if self.mix:
            self.mix(image, self.label)


def rates(side: int, batch: int, rounds: int, options: dict) -> None:
    """Pictures a second of each pipeline, and what a picture costs one by one over in batches, on one thread."""
    print(f"{side}x{side}, batches of {batch}, one thread, pictures a second; {rounds} rounds")
    for name, (tricks, transforms) in PIPELINES.items():
        ours = Ours(tricks, side, batch, "resnet20", options | {"threads": 1})
        theirs = Theirs(transforms(side), ours.raw.image, ours.raw.label, mixed="mixup" in tricks)
        torch.set_num_threads(1)
        seconds = in_turn({"ours": ours, "theirs": theirs}, rounds)
        rate = {who: batch / statistics.median(times) for who, times in seconds.items()}
        compared = ratio(seconds["theirs"], seconds["ours"])
        print(f"  {name:<32} {rate['ours']:9.0f}  torchvision {rate['theirs']:7.0f}  {compared}", flush=True)


class Loaded:
    """torchvision's transforms as they are used: in a DataLoader whose workers have a core each."""

    def __init__(self, theirs: Theirs, batch: int, workers: int) -> None:
        options = {"num_workers": workers, "persistent_workers": True, "prefetch_factor": 4}
        pictures = [(picture, int(label)) for picture, label in zip(theirs.pictures, theirs.label, strict=True)]
        self.loader = DataLoader(Transformed(pictures * BATCHES, theirs.transform), batch, **options)
        self.mix = theirs.mix

    def __call__(self) -> None:
        for image, label in self.loader:
            if self.mix:
                self.mix(image, label)


class Transformed(Dataset):
    """Pictures in memory and what makes each of them what the network sees."""

    def __init__(self, pictures: list, transform: Callable) -> None:
        self.pictures = pictures
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> tuple:
        picture, label = self.pictures[place]
        return self.transform(picture), label


def loaded(side: int, batch: int, rounds: int, threads: int, options: dict) -> None:
    """The same on all cores: our batches on that many threads, their pictures by as many workers of a DataLoader."""
    print(f"{side}x{side}, batches of {batch}, {threads} threads or workers, pictures a second; {rounds} rounds")
    for name, (tricks, transforms) in PIPELINES.items():
        ours = Ours(tricks, side, batch, "resnet20", options | {"threads": threads})
        theirs = Theirs(transforms(side), ours.raw.image, ours.raw.label, mixed="mixup" in tricks)
        torch.set_num_threads(threads)
        many = {"ours": lambda ours=ours: [ours() for _ in range(BATCHES)], "theirs": Loaded(theirs, batch, threads)}
        seconds = in_turn(many, rounds)
        rate = {who: BATCHES * batch / statistics.median(times) for who, times in seconds.items()}
        compared = ratio(seconds["theirs"], seconds["ours"])
        print(f"  {name:<32} {rate['ours']:9.0f}  torchvision {rate['theirs']:7.0f}  {compared}", flush=True)


def shares(side: int, batch: int, rounds: int, threads: int, options: dict) -> None:
    """Time of a pipeline over that of a ResNet-18's update on a batch that never changes, both on all threads."""
    print(f"share of a resnet18 step, {side}x{side}, batches of {batch}, {threads} threads; {rounds} rounds")
    for name, (tricks, _) in PIPELINES.items():
        ours = Ours(tricks, side, batch, "resnet18", options | {"threads": threads})
        fixed = ours.augment(ours.raw)
        update = _update(ours, fixed)
        seconds = in_turn({"input": ours, "step": update}, rounds)
        cost = 1000 * statistics.median(seconds["input"]) / batch
        found = ratio(seconds["input"], seconds["step"])
        print(f"  {name:<32} {cost:6.2f} ms a picture, {ours.run.profile.precision}: {found}", flush=True)


def _update(ours: Ours, fixed: object) -> Callable[[], object]:
    """One update on the same batch; it reads the loss, so a GPU is waited for."""
    return lambda: step(ours.run, lambda _: fixed, ours.raw, [], [])


def main() -> None:
    """Read the flags and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 224])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--only", default="", help="only pipelines whose name contains this")
    given = parser.parse_args()
    for name in [name for name in PIPELINES if given.only not in name]:
        del PIPELINES[name]
    threads = available_threads()
    print(machine(), f"torch {torch.__version__}")
    options = {"device": "cpu", "precision": given.precision}
    for side in given.sides:
        batch = 128 if side <= 64 else 32
        rates(side, batch, given.rounds, options)
        loaded(side, batch, given.rounds, threads, options)
    if max(given.sides) >= 224:
        shares(224, 32, given.rounds, threads, options)


if __name__ == "__main__":
    main()
