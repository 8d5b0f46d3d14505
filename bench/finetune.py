"""One command: fine-tuning beside the recipe most people write, on the same photos and weights.

    python bench/finetune.py --data photos/ --model squeezenet1_0 --weights FILE

`photos/` has train/<class>/ folders. The usual recipe: float32, NCHW, an ImageFolder whose every sample is decoded,
cropped, mirrored and normalised by itself in two workers, torch.optim.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from _measure import in_turn, machine, ratio
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from netwright import create_model
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.engine.run import Run
from netwright.models._published import IMAGENET
from netwright.recipes._assemble import assemble
from netwright.recipes._transfer import transfer_recipe
from netwright.tricks.head import Head

WORKERS = 2


def usual_steps(folder: Path, name: str, weights: str, size: int, batch: int) -> Callable[[], object]:
    """One update of the usual recipe at each call."""
    mean, std, _ = IMAGENET
    moves = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), transforms.ColorJitter(0.2)]
    scale = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    photos = ImageFolder(str(folder), transforms.Compose(moves + scale))
    loader = DataLoader(
        photos, batch, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True, prefetch_factor=4
    )
    network = Head().model(create_model(name, classes=len(photos.classes), weights=weights)).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    batches = endless(loader)

    def update() -> None:
        images, labels = next(batches)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return update


def our_steps(run: Run) -> Callable[[], object]:
    """One update of netwright at each call."""
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    batches = (raw for epoch in range(10**6) for raw in run.loader.epoch(epoch))
    run.model.train()
    return lambda: step(run, augment, next(batches), before, after)


def endless(loader: DataLoader) -> Iterator:
    """Batches for ever."""
    while True:
        yield from loader


def main() -> None:
    """Read the flags and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="squeezenet1_0")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8, help="updates in a round")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    chosen = transfer_recipe("finetune", given.weights).changed(
        model=given.model, data=str(given.data), image_size=given.image_size, batch_size=given.batch_size
    )
    run = assemble(chosen).run
    run.epochs = 10**6  # so that time does not run out, whatever is asked for here
    ours = our_steps(run)
    theirs = usual_steps(given.data / "train", given.model, given.weights, given.image_size, given.batch_size)

    def repeat(action: Callable[[], object]) -> Callable[[], None]:
        return lambda: [action() for _ in range(given.steps)] and None

    seconds = in_turn({"ours": repeat(ours), "usual": repeat(theirs)}, given.rounds, rest=2.0)
    pictures = given.batch_size * given.steps
    print(machine())
    work = f"{given.steps} updates of {given.batch_size} photos, {given.model}, {given.image_size} px"
    print(f"{given.rounds} rounds of {work}")
    for name, label in (("ours", f"netwright finetune, {run.profile.precision}"), ("usual", "the usual recipe, fp32")):
        print(f"  {label:<32} {pictures / statistics.median(seconds[name]):7.1f} images/s")
    print(f"  images/s, netwright / usual      {ratio(seconds['usual'], seconds['ours'])}")


if __name__ == "__main__":
    main()
