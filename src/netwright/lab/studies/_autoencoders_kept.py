"""What the study of autoencoders has measured, in files: nothing is trained twice, and probes want no training."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from netwright.lab.studies._autoencoders_measure import Answers, Codes, Measured
from netwright.recipes._recipe import Recipe
from netwright.records.atomic import write_atomic

FORMAT = 2
Arrays = dict[str, NDArray[Any]]
Made = TypeVar("Made")


class Kept:
    """Remembers in a folder what was measured. Several processes may share it: files are whole or absent.

    Args:
        folder: where.
        made_from: what all results depend on besides the recipe, as text.
    """

    def __init__(self, folder: Path, made_from: str) -> None:
        self.folder, self.made_from = folder, made_from

    def place(self, arm: str, recipe: Recipe, many: int | None = None) -> Path:
        """The file of an arm, or of its probe with so many labels. The recipe's network and batch size are named."""
        text = f"{FORMAT} {self.made_from} {arm} {recipe.key}" + ("" if many is None else f" {many} labels")
        return self.folder / f"autoencoder-{sha256(text.encode()).hexdigest()[:24]}.npz"

    def __call__(self, arm: str, recipe: Recipe, make: Callable[[], Measured]) -> Measured:
        """What is remembered of an arm, or else what is made now; without its probes."""
        return _remembered(self.place(arm, recipe), _measured, _arrays, make)

    def answers(self, arm: str, recipe: Recipe, many: int, make: Callable[[], Answers]) -> Answers:
        """The same of a probe."""
        return _remembered(self.place(arm, recipe, many), _answers, _of_answers, make)


def _remembered(
    place: Path, read: Callable[[Arrays], Made], write: Callable[[Made], Arrays], make: Callable[[], Made]
) -> Made:
    with (
        suppress(OSError, ValueError, KeyError, BadZipFile),
        np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as held,
    ):
        return read({name: held[name] for name in held.files})
    made = make()
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **write(made))
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, stream.getvalue())
    return made


def _arrays(measured: Measured) -> Arrays:
    arrays: Arrays = {f"error {name}": values.astype(np.float32) for name, values in measured.errors.items()}
    arrays |= {f"shown {name}": values for name, values in measured.shown.items()}
    arrays |= {f"codes {name}": np.array(value, np.float64) for name, value in measured.codes.items()}
    if measured.vectors is not None:
        arrays |= {f"vectors {name}": values for name, values in vars(measured.vectors).items()}
    arrays["used"] = np.array(json.dumps(dict(measured.used)))
    return arrays | {"seconds": np.array(measured.seconds, np.float64)}


def _measured(held: Arrays) -> Measured:
    def part(prefix: str) -> Arrays:
        return {name.removeprefix(prefix): values for name, values in held.items() if name.startswith(prefix)}

    errors = {name: values.astype(np.float64) for name, values in part("error ").items()}
    codes = {name: float(value) for name, value in part("codes ").items()}
    vectors = part("vectors ")
    known = Codes(vectors["few"], vectors["places"], vectors["asked"]) if vectors else None
    return Measured(errors, codes, part("shown "), float(held["seconds"]), json.loads(str(held["used"])), known)


def _of_answers(answers: Answers) -> Arrays:
    return {"right": answers.right.astype(bool), "edge": np.array(answers.edge)}


def _answers(held: Arrays) -> Answers:
    return Answers(held["right"].astype(np.float64), bool(held["edge"]))
