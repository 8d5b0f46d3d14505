"""One run that the lab wants: a recipe with its seed, on which data, and a key by which its outcome is found again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from netwright.lab.pruning import Pruning
from netwright.lab.trial import contents
from netwright.recipes._recipe import Recipe

FORMAT = 2


@dataclass(frozen=True)
class Job:
    """A recipe to be trained and measured, by whichever process has time.

    Attributes:
        recipe: with its seed, and nothing left open that another machine would fill in otherwise.
        fingerprint: of the data that `recipe.data` names.
        split: on which it is measured.
        like: the spec of a network whose first weights this one takes where names and shapes agree; "" for its own.
        pruning: who may stop it early; it does not belong to the key.
    """

    recipe: Recipe
    fingerprint: str
    split: str
    like: str = ""
    pruning: Pruning | None = None

    @cached_property
    def key(self) -> str:
        """A hash of everything that decides the outcome bit for bit: threads, kind of device and torch round too."""
        weights, rest = contents(self.recipe.weights), self.recipe.changed("auto", weights=None, data="")
        like = "" if self.like == self.recipe.model else self.like
        rounds = f"{rest.threads} {rest.device.partition(':')[0]} {version('torch')}"
        known = f"{FORMAT} {rest.key} {weights} {self.fingerprint} {self.split} {like} {rounds}"
        return sha256(known.encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads: to be handed to another process."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "split": self.split,
            "like": self.like,
            "pruning": None if self.pruning is None else self.pruning.to_json(),
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Job":
        """The job that `to_json` wrote."""
        pruning = None if held["pruning"] is None else Pruning(**held["pruning"])
        recipe = Recipe().changed("auto", **held["recipe"])
        return cls(recipe, held["fingerprint"], held["split"], held["like"], pruning)
