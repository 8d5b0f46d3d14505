"""One command: our autoencoder and VAE beside pythae's, with the same network, data, batches and optimiser.

    python bench/autoencoders.py --data mnist/ --epochs 10 --seeds 5 --limit 10000

Both begin with the same weights and take as many steps of Adam on the same pictures in the same order, so that the AEs
end equal to the last bit: the largest difference of a weight is printed. Draws of codes are each library's own, which
is what is left for seeds to show: VAEs count as equal where the whole interval of the difference in ELBO, paired by
seed, lies within `--margin` nats. Conversions, so that both minimise the same number: pythae's AE loss is the
sum of squares over a picture, ours its half over σ², so σ² = ½; its VAE's "mse" is half the sum, so σ = 1; "bce" is our
bernoulli. One evaluator, with all constants, measures both: −log p(x | z) over 16 draws of the code, and the
divergence.
Timed in turn, epoch by epoch, steps alone, in float32. Needs: pip install pythae.
"""

import argparse
import copy
import json
import logging
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from _epochs import ours
from _measure import in_turn, machine, ratio
from pythae.data.datasets import BaseDataset, collate_dataset_output
from pythae.models import AE, VAE, AEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from netwright.data import Data, open_data
from netwright.data.loader import epoch_order, repeated
from netwright.lab._stat_intervals import scalar_interval
from netwright.nn.output import Decoded
from netwright.recipes._assemble import assemble
from netwright.recipes._recipe import recipe
from netwright.records.intervals import Interval
from netwright.tasks.reconstruction import Reconstruction

DRAWS, BATCH = 16, 500
BODY = "(512, 256)"


@dataclass(frozen=True)
class Case:
    """One line of the table: a network of ours, and what pythae calls its loss."""

    name: str
    model: str
    loss: str

    @property
    def random(self) -> bool:
        """Whether codes are drawn."""
        return self.name.startswith("VAE")


def cases(latent: int) -> list[Case]:
    """Those that are compared."""
    vae = f"vae(encoder='mlp(widths={BODY})', latent={latent}, observation={{}})"
    dense = f"mlp_autoencoder(hidden={BODY}, latent={latent}, observation='gaussian(sigma={math.sqrt(0.5)!r})')"
    return [
        Case("AE", dense, "mse"),
        Case("VAE mse", vae.format("'gaussian(sigma=1.0)'"), "mse"),
        Case("VAE bce", vae.format("'bernoulli'"), "bce"),
    ]


class Encoder(BaseEncoder):
    """Our encoder as pythae wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance = self.network.encode(x)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Our decoder as pythae wants it: pictures, or for "bce" probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network.observation.pixels(self.network.decode(z)))


def subset(path: str, limit: int, tested: int) -> Data:
    """So many training and test pictures, evenly spread."""
    data = open_data(path)
    splits = {side: data.splits[side] for side in ("train", "test")}
    for side, most in (("train", limit), ("test", tested)):
        split = splits[side]
        splits[side] = split.taken(np.linspace(0, len(split) - 1, min(most, len(split))).astype(np.int64))
    return replace(data, splits=splits)


def images_of(data: Data, side: str) -> Tensor:
    """A split in [0, 1]. N C H W."""
    return torch.from_numpy(np.asarray(data.splits[side].images[:])).permute(0, 3, 1, 2).contiguous().float() / 255


class Order:
    """Our order of pictures, an epoch at each turn, for torch's DataLoader."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self.seed, self.epoch = n, batch_size, seed, 0

    def __len__(self) -> int:
        return self.n // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        yield from repeated(epoch_order(self.n, self.seed, self.epoch), len(self), self.batch_size, 1).tolist()
        self.epoch += 1


def theirs(network: nn.Module, case: Case, x: Tensor, given: argparse.Namespace, seed: int, folder: str) -> BaseTrainer:
    """Pythae's trainer, ready to be asked for epochs."""
    sizes = {"input_dim": tuple(x.shape[1:]), "latent_dim": given.latent}
    config = VAEConfig(**sizes, reconstruction_loss=case.loss) if case.random else AEConfig(**sizes)
    model = (VAE if case.random else AE)(config, encoder=Encoder(network), decoder=Decoder(network))
    how = BaseTrainerConfig(
        output_dir=folder, num_epochs=given.epochs, learning_rate=given.lr, no_cuda=True, seed=seed,
        per_device_train_batch_size=given.batch_size,
    )  # fmt: skip
    dataset = BaseDataset(x, torch.zeros(len(x)))
    trainer = BaseTrainer(model, dataset, training_config=how)
    order = Order(len(x), given.batch_size, seed)
    trainer.train_loader = DataLoader(dataset, batch_sampler=order, collate_fn=collate_dataset_output)
    trainer.prepare_training()
    handler = trainer.callback_handler
    handler.callbacks = [each for each in handler.callbacks if "ProgressBar" not in type(each).__name__]
    return trainer


@torch.no_grad()
def measured(network: nn.Module, x: Tensor) -> dict[str, float]:
    """The one evaluator: ELBO over draws of the code, rate and distortion in nats; or the loss, without draws."""
    network.eval()
    task, draw = Reconstruction(), torch.Generator().manual_seed(0)
    found: dict[str, list[Tensor]] = {}
    for part in x.split(BATCH):
        mean, log_variance = network.encode(part)
        for _ in range(1 if log_variance is None else DRAWS):
            code = mean
            if log_variance is not None:
                code = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=draw)
            output = Decoded(network.decode(code), code, mean, log_variance, network.observation, network.beta)
            for name, values in task.metrics(output, part).items():
                found.setdefault(name, []).append(values)
    wanted = ("elbo", "rate", "distortion") if "elbo" in found else ("loss", "psnr")
    return {name: float(torch.cat(found[name]).mean()) for name in wanted}


def apart(one: nn.Module, two: nn.Module) -> float:
    """The largest difference of a weight."""
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def run_case(case: Case, data: Data, given: argparse.Namespace, seed: int, folder: str) -> tuple[dict, dict, float]:
    """Both, in turn: what they reached, seconds of each epoch, and the largest difference of a weight."""
    chosen = recipe("autoencode").without("no_decay").changed(
        model=case.model, epochs=given.epochs, batch_size=given.batch_size, optimizer="adam", schedule="constant",
        lr=given.lr, seed=seed, normalise="unit", precision="fp32", device="cpu", threads=given.threads,
        image_size=data.preprocess.image_size, channels=data.preprocess.channels,
    )  # fmt: skip
    parts = assemble(chosen, data=data)
    network = copy.deepcopy(parts.run.model)
    trainer = theirs(network, case, images_of(data, "train"), given, seed, folder)
    number = iter(range(1, given.epochs + 1))
    things = {"netwright": ours(parts), "pythae": lambda: trainer.train_step(next(number))}
    seconds = in_turn(things, given.epochs, warmup=0)
    x = images_of(data, "test")
    found = {"netwright": measured(parts.run.model, x), "pythae": measured(network, x)}
    return found, seconds, apart(parts.run.model, network)


def main() -> None:
    """Read the flags, train both, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="as for `netwright train`; MNIST")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=10_000, help="training pictures")
    parser.add_argument("--tested", type=int, default=2000, help="test pictures")
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--margin", type=float, default=1.0, help="nats of ELBO below which VAEs count as equal")
    parser.add_argument("--only", default="", help="part of a case's name")
    given = parser.parse_args()
    given.limit -= given.limit % given.batch_size  # so that nobody has a last, smaller batch
    logging.getLogger("pythae").setLevel(logging.ERROR)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("pythae"):
            logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(given.threads)
    print(machine())
    data = subset(given.data, given.limit, given.tested)
    sizes = {side: len(split) for side, split in data.splits.items()}
    print(f"{sizes}, {given.epochs} epochs of {given.limit // given.batch_size} steps, latent {given.latent}")
    for case in (each for each in cases(given.latent) if given.only in each.name):
        times: dict[str, list[float]] = {"netwright": [], "pythae": []}
        headline: dict[str, list[float]] = {"netwright": [], "pythae": []}
        largest: list[float] = []
        for seed in range(given.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found, seconds, away = run_case(case, data, given, seed, folder)
            for name in times:
                times[name] += seconds[name][1:] or seconds[name]  # the first epoch fills caches
                headline[name].append(next(iter(found[name].values())))
            largest.append(away)
            print(json.dumps({"case": case.name, "seed": seed, "weights_apart": away, **found}), flush=True)
        report(case, headline, times, given.margin)
        if not case.random:
            print(f"  after training the weights differ by at most {max(largest):.2g}", flush=True)


def report(case: Case, headline: dict[str, list[float]], times: dict[str, list[float]], margin: float) -> None:
    """A case in lines."""
    what = "ELBO, nats (more is better)" if case.random else "loss, nats (less is better)"
    one, two = (np.asarray(headline[name]) for name in ("netwright", "pythae"))
    spread = [f"{each.mean():.2f} (sd {each.std(ddof=min(1, len(each) - 1)):.2f})" for each in (one, two)]
    gap = scalar_interval(one - two)
    print(f"{case.name}: {what}: netwright {spread[0]}, pythae {spread[1]}, n = {len(one)}")
    print(f"  netwright − pythae, paired by seed: {gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]")
    if case.random:
        print(f"  {verdict(gap, margin)}: margin ±{margin:g} nats")
    medians = [float(np.median(times[name])) for name in ("netwright", "pythae")]
    print(f"  seconds an epoch: {medians[0]:.2f} and {medians[1]:.2f}; pythae / netwright: "
          f"{ratio(times['pythae'], times['netwright'])}", flush=True)  # fmt: skip


def verdict(gap: Interval, margin: float) -> str:
    """Whether two are the same within a margin, by the interval of their difference."""
    if -margin < gap.low and gap.high < margin:
        return "equal within the margin"
    if gap.low > margin or gap.high < -margin:
        return "not equal"
    return "not decided, more seeds are needed"


if __name__ == "__main__":
    main()
