"""Does the alarm of a collapsed VAE ring when it has collapsed, and only then? Seeds of four prices of a code.

    python bench/collapse.py --seeds 10 --threads 2

Digits, dense layers, a few epochs: whole runs with their record and log, as a user makes them. Two settings are easy:
beta = 1, and a beta * sigma^2 beyond any variance. Two lie near the edge: half and twice the largest eigenvalue of the
training pictures' covariance, which is where a linear VAE stops using its code. Just below the edge a code pays late:
it first fades, and grows again slowly (half the edge, seed 0: 0.1 nats after 6 epochs, 0.6 after 30; a linear VAE's
best would be 0.9), so that `--epochs` matters there. Counted is what the record says (`result.latent`), and what was
told; at beta = 1 neither may be there.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from _measure import machine

from netwright.data import open_data
from netwright.engine.loop import Watcher
from netwright.nn.observation import make_observation
from netwright.recipes._alarm import variances
from netwright.recipes._fit import fit
from netwright.records.intervals import wilson

MODEL = "vae(encoder='mlp(widths=(128,))', latent=8, beta={beta}, observation='gaussian(sigma={sigma})')"
SIGMA = 0.25


def betas(data: str) -> dict[str, float]:
    """The settings: beta of each."""
    images = np.asarray(open_data(data).splits["train"].images[:])
    picture = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    edge = float(variances(picture, make_observation(f"gaussian(sigma={SIGMA})"))[0]) / SIGMA**2
    return {"beta = 1": 1.0, "half the edge": edge / 2, "twice the edge": 2 * edge, "20 times the edge": 20 * edge}


@dataclass
class Heard(Watcher):
    """Keeps what a run tells."""

    words: list[str] = field(default_factory=list)

    def told(self, words: str) -> None:
        """Keep it."""
        self.words.append(words)


def alarms(words: list[str]) -> list[str]:
    """Those about a collapse."""
    return [each for each in words if "collaps" in each.lower()]


def runs(beta: float, given: argparse.Namespace, folder: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The record's latent statistics of each seed, and its alarms."""
    for seed in range(given.seeds):
        heard = Heard()
        model = MODEL.format(beta=round(beta, 2), sigma=SIGMA)
        done = fit(
            "autoencode", data=given.data, model=model, epochs=given.epochs, batch_size=64,
            seed=seed, threads=given.threads, output=folder, watcher=heard,
        )  # fmt: skip
        latent = done.record["result"]["latent"]
        yield latent["test" if "test" in latent else "val"], alarms(heard.words)


def main() -> None:
    """Train, count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    print(machine())
    for kind, beta in betas(given.data).items():
        recorded = told = 0
        with tempfile.TemporaryDirectory() as folder:
            for seed, (latent, heard) in enumerate(runs(beta, given, folder)):
                recorded += bool(latent["collapsed"])
                told += bool(heard)
                nats = sum(latent["divergence"])
                words = f"; {heard[-1]}" if heard and seed == 0 else ""
                print(f"  {kind}, seed {seed}: {latent['active']} of 8 active, {nats:.2f} nats{words}", flush=True)
        by_record, by_words = (wilson(number, given.seeds).percent() for number in (recorded, told))
        print(
            f"{kind} (beta {beta:.3g}): collapsed by the record {recorded} of {given.seeds}, {by_record}; "
            f"alarm told in {told}, {by_words}",
            flush=True,
        )


if __name__ == "__main__":
    main()
