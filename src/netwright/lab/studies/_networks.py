"""Networks that a study trains and goes on with, kept in a file each so that none is made twice."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from netwright.core.errors import NetwrightError, listed
from netwright.data import Data
from netwright.engine.run import Task
from netwright.lab.trial import Trial, measured
from netwright.recipes._recipe import Recipe
from netwright.records.atomic import write_atomic

State = Mapping[str, Tensor]
FORMAT = 1
NETWORK, OTHER = "network.", "other."


@dataclass(frozen=True)
class Trained:
    """A trained network, read when it is asked for.

    Attributes:
        key: of everything that it came from.
        trial: what it reached.
        other: tensors that were kept beside it.
        state: gives its tensors by name.
    """

    key: str
    trial: Trial
    other: State
    state: Callable[[], State]


class Networks:
    """Trains networks, and remembers them in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def trained(
        self,
        recipe: Recipe,
        data: Data,
        *,
        made_from: str,
        network: Callable[[], nn.Module],
        task: Callable[[], Task] | None = None,
        beside: Callable[[nn.Module], State] | None = None,
    ) -> Trained:
        """The network that a recipe makes of one, trained now or before; measured on the test split, else on val.

        Args:
            recipe: how.
            data: on what.
            made_from: everything else that the result depends on, as text.
            network: builds the network to train.
            task: builds what takes the place of the recipe's task.
            beside: tensors to keep beside the network, made of it when it is trained.

        Raises:
            NetwrightError: whatever training refuses, or a trick that hands on a network of another kind.
        """
        split = "test" if "test" in data.splits else "val"
        key = sha256(f"{FORMAT} {recipe.key} {data.fingerprint} {split} {made_from}".encode()).hexdigest()[:24]
        place = self.folder / f"network-{key}.safetensors"

        def made() -> dict[str, Tensor]:
            built = network()
            names = set(built.state_dict())
            trial, parts = measured(recipe, data, split=split, network=lambda: built, task=task() if task else None)
            predictor = parts.run.predictor()
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in predictor.state_dict().items()}
            _refuse_another(names, set(state), recipe)
            other = beside(predictor) if beside else {}
            tensors = {f"{NETWORK}{name}": tensor.clone() for name, tensor in state.items()}
            tensors |= {f"{OTHER}{name}": tensor for name, tensor in other.items()}
            tensors |= {"guesses": torch.from_numpy(trial.guesses), "labels": torch.from_numpy(trial.labels)}
            tensors["took"] = torch.tensor([trial.seconds, trial.images_per_second], dtype=torch.float64)
            _write(place, tensors)
            return tensors

        def state() -> State:
            held = _part(_read(place, NETWORK) or {}, NETWORK)
            return held or _part(made(), NETWORK)

        known = _read(place, "") or made()
        return Trained(key, _trial(known), _part(known, OTHER), state)

    def forget_network(self, trained: Trained) -> None:
        """Keep what it reached, and give back the room that its weights take: nobody goes on with it."""
        place = self.folder / f"network-{trained.key}.safetensors"
        held = _read(place, "")
        if held and _part(held, NETWORK):
            _write(place, {name: tensor for name, tensor in held.items() if not name.startswith(NETWORK)})


def _trial(held: State) -> Trial:
    guesses, labels = held["guesses"].numpy(), held["labels"].numpy()
    seconds, speed = held["took"].tolist()
    return Trial((guesses == labels).astype(np.float64), guesses, labels, seconds, speed)


def _part(held: State, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in held.items() if name.startswith(prefix)}


def _write(place: Path, tensors: State) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def _read(place: Path, prefix: str) -> dict[str, Tensor] | None:
    """The tensors in a file whose names begin like this; None where there is none, or it cannot be read."""
    with suppress(OSError, SafetensorError), safe_open(place, "pt") as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names if name.startswith(prefix)}
    return None


def _refuse_another(before: set[str], after: set[str], recipe: Recipe) -> None:
    if before != after:
        fix = f"leave out the trick that changes the network; there are {listed(recipe.tricks) or 'none'}"
        raise NetwrightError("the network that training handed on has other layers than it began with", fix)
