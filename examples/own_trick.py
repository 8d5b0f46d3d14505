"""A trick of one's own, and what it does to a run: `python examples/own_trick.py`."""

from dataclasses import dataclass
from typing import Annotated

import torch

from netwright import Card, Trick, fit, recipe
from netwright.core.options import Between
from netwright.engine.run import Batch, Run


@dataclass
class Scanlines(Trick):
    """In a part of the pictures, every second row goes dark, as on an old screen."""

    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(paper="none: made up for this example", neutral={"probability": 0.0}, strong={"probability": 1.0})

    def pixels(self, batch: Batch, run: Run) -> Batch:
        """v ↦ 0 in the odd rows of the chosen pictures."""
        chosen = run.uniform(self.name)[:, 0] < self.probability  # a function of seed, epoch and sample
        odd = torch.arange(batch.image.shape[2], device=chosen.device) % 2 == 1
        hidden = chosen[:, None, None, None] & odd[None, None, :, None]  # N 1 H 1
        return batch.changed(image=batch.image.masked_fill(hidden, 0.0))


if __name__ == "__main__":
    plain = recipe("digits", epochs=6)
    for plan in (plain, plain.with_(Scanlines(probability=0.8))):
        run = fit(plan)
        accuracy = run.splits["test"]["accuracy"]
        print(f"{', '.join(plan.tricks)}: {accuracy['value']:.1%} [{accuracy['low']:.1%}, {accuracy['high']:.1%}]")
