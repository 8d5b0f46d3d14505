"""What a file of vectors says of how they were made, checked before it is followed: it may come from anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from netwright.bundle.card import LARGEST_SIDE, PREPROCESS, _check_fields
from netwright.core.errors import NetwrightError
from netwright.core.options import Between, value_of
from netwright.data.files import located
from netwright.data.preprocess import Preprocess
from netwright.engine.device import Precision
from netwright.models._published import HUB
from netwright.nn.headed import Pool

LARGEST = LARGEST_SIDE * 7 // 8  # of what the network sees, so that what is stored around it is no larger than allowed
LONGEST_REASON = 200
ImageSize = Annotated[int, Between(1, LARGEST)]
FACTS: dict[str, Any] = {
    "model": str,
    "weights": str | None,
    "digest": str,
    "stage": int | None,
    "pool": Pool | None,
    "preprocess": dict[str, Any],
    "precision": Precision,
}
OF_DATA: dict[str, Any] = {"name": str, "source": str, "classes": list[str]}
Asked = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Made:
    """How vectors were made: the facts of `embedder.Embedder.meta`."""

    model: str
    weights: str | None
    digest: str
    stage: int | None
    pool: Pool | None
    preprocess: Preprocess
    precision: Precision

    def chosen(self, model: str | None) -> tuple[str, str | None]:
        """The model and the weights to load, with what a user says of where these lie now.

        What a file says is followed to files that are here and to published weights, and not to what anybody may
        have put on the hub: only a user may name that.

        Raises:
            NetwrightError: the run has moved, or the weights are fetched and the user has not named them.
        """
        if model is not None:
            moved = Path(model).is_file() or model.startswith(HUB) or model == self.weights
            return (self.model, model) if self.weights is not None and moved else (model, None)
        if self.weights is None and not located(self.model).is_dir():
            raise NetwrightError(f"the run that made these vectors is not at {self.model}", "say where: --model RUN")
        if self.weights is not None and self.weights.startswith(HUB):
            problem = f"these vectors ask for weights that anybody may have made: {self.weights}"
            raise NetwrightError(problem, f"where you trust them, name them yourself: --model {self.weights}")
        return self.model, self.weights


def how_made(meta: Mapping[str, Any]) -> Made | None:
    """What a file says of how its vectors were made; None where it says nothing, as others' files.

    Raises:
        NetwrightError: it says what no file that was made here says.
    """
    if not meta:
        return None
    try:
        _check_fields("", meta, FACTS)
        _check_fields("preprocess.", meta["preprocess"], PREPROCESS)
        if "data" in meta:
            value_of("data", dict[str, Any], meta["data"])
            _check_fields("data.", meta["data"], OF_DATA)
        prepared = Preprocess.from_json(meta["preprocess"])
        facts: dict[str, Any] = {name: meta[name] for name in FACTS if name != "preprocess"}
        return Made(**facts, preprocess=prepared)
    except NetwrightError as error:
        raise forged(error.problem) from None


def forged(reason: str) -> NetwrightError:
    """What is said of a file whose facts cannot be."""
    problem = f"what the vectors say of how they were made cannot be: {reason[:LONGEST_REASON]}"
    return NetwrightError(problem, "the file is damaged or forged: make it anew with `netwright embed`")
