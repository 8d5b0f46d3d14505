"""Does the alarm of a collapsed VAE ring when it has collapsed, and only then? Seeds with too large a beta, and others.

    python bench/collapse.py --seeds 10 --threads 2

Digits, dense layers, a few epochs: whole runs with their record and log, as a user makes them. Counted is what the
record says (`result.latent`) and what was told on the way; of the healthy runs neither may be there.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from _measure import machine

from netwright.engine.loop import Watcher
from netwright.recipes._fit import fit
from netwright.records.intervals import wilson

MODEL = "vae(encoder='mlp(widths=(128,))', latent=8, beta={beta}, observation='gaussian(sigma={sigma})')"
KINDS = {"healthy": {"beta": 1.0, "sigma": 0.25}, "beta too large": {"beta": 3000.0, "sigma": 0.25}}


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


def runs(kind: str, given: argparse.Namespace, folder: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The record's latent statistics of each seed, and its alarms."""
    for seed in range(given.seeds):
        heard = Heard()
        done = fit(
            "autoencode", data=given.data, model=MODEL.format(**KINDS[kind]), epochs=given.epochs, batch_size=64,
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
    for kind in KINDS:
        recorded = told = 0
        with tempfile.TemporaryDirectory() as folder:
            for seed, (latent, heard) in enumerate(runs(kind, given, folder)):
                recorded += bool(latent["collapsed"])
                told += bool(heard)
                nats = sum(latent["divergence"])
                words = f"; {heard[-1]}" if heard and seed == 0 else ""
                print(f"  {kind}, seed {seed}: {latent['active']} of 8 active, {nats:.2f} nats{words}", flush=True)
        share = wilson(recorded, given.seeds)
        print(f"{kind}: collapsed by the record {recorded} of {given.seeds} {share.percent()}, alarm told in {told}")


if __name__ == "__main__":
    main()
