"""`netwright show --checkerboard`: how uneven a network's scores are where the picture is the same everywhere."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import typer

from netwright.cli._columns import columns
from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec

if TYPE_CHECKING:
    from netwright.models._segmenter import Segmenter

SEEDS = 3
HEADER = ("", "score", "95 % interval", "")
MEANING = (
    "The deviation of scores within one period of the network's stride, relative to their root mean square, on a "
    "picture of one colour: 0 is even, 1 what independent values would have."
)


class Row(NamedTuple):
    """A score, and where it is a mean over first weights, how far it may be off."""

    kind: str
    score: float
    low: float | None
    high: float | None
    drift: float

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row as the terminal shows it."""
        interval = "" if self.low is None or self.high is None else f"[{self.low:.3f}, {self.high:.3f}]"
        doubt = f"borders may account for {self.drift:.3f} of it" if self.drift > 1e-2 else ""
        return self.kind, f"{self.score:.3f}", interval, doubt


def show_checkerboard(name: str, *, as_json: bool) -> None:
    """Print the table, or JSON, for a model's name or for a trained network in a run folder or bundle."""
    trained = Path(name).exists()
    rows = [of_trained(name)] if trained else at_start(name)
    if as_json:
        typer.echo(json.dumps({"name": name, "rows": [row._asdict() for row in rows]}))
        return
    when = "after training" if trained else f"before training, mean over {SEEDS} seeds"
    lines = [f"checkerboard of {name} {when}", *columns([HEADER, *(row.cells for row in rows)]), "", MEANING]
    typer.echo("\n".join(lines))


def at_start(name: str) -> list[Row]:
    """Scores under fresh weights: of every way of upsampling that the model can have, or the one that is asked for.

    Raises:
        NetwrightError: unknown name or option, or a model that gives no scores for pixels.
    """
    from netwright.lab.compare import scalar_interval

    rows: list[Row] = []
    kinds = _kinds(Spec.parse(name))
    typer.echo(f"computing scores of {len(kinds) * SEEDS} networks …", err=True)
    for kind, spec in kinds.items():
        found = [_started(spec, seed) for seed in range(SEEDS)]
        mean = scalar_interval([score for score, _ in found])
        rows.append(Row(kind, mean.value, max(0.0, mean.low), mean.high, max(drift for _, drift in found)))
    return rows


def of_trained(path: str) -> Row:
    """The score of the network in a run folder or a bundle.

    Raises:
        NetwrightError: no bundle there, or a network that gives no scores for pixels.
    """
    from netwright.bundle.predictor import load

    predictor = load(path, device="cpu")
    model = predictor.card["model"]
    score, drift = _scored(_segmenter(predictor.model, str(model["spec"])), model["in_channels"])
    return Row(
        str(Spec.parse(model["spec"] or "network").options.get("upsample", "as trained")), score, None, None, drift
    )


def _kinds(spec: Spec) -> dict[str, Spec]:
    from netwright.models import TIMM, model_options
    from netwright.nn.upsample import UpsampleKind

    if spec.name.startswith(TIMM):
        raise _no_scores(spec.name)
    offered = {option.name: option for option in model_options(spec)}
    if "upsample" not in offered:
        return {spec.name: spec}
    if "upsample" in spec.options:
        return {str(spec.options["upsample"]): spec}
    kinds = {kind: spec.with_options(upsample=kind) for kind in get_args(UpsampleKind)}
    if "start" in offered and "start" not in spec.options:
        kinds["transposed, start='random'"] = kinds["transposed"].with_options(start="random")
    return kinds


def _started(spec: Spec, seed: int) -> tuple[float, float]:
    import torch

    from netwright.models import create_model, variant

    channels: int = spec.options.get("in_channels", variant(spec.name).in_channels)
    torch.manual_seed(seed)
    model = create_model(spec, classes=variant(spec.name).classes, in_channels=channels)
    return _scored(_segmenter(model, str(spec)), channels)


def _scored(model: "Segmenter", channels: int) -> tuple[float, float]:
    from netwright.nn.checkerboard import checkerboard

    found = checkerboard(model, channels, model.grid)
    return found.score, found.drift


def _segmenter(model: Any, name: str) -> "Segmenter":
    """The network for pixels in a network, which tricks may have wrapped.

    Raises:
        NetwrightError: there is none.
    """
    from netwright.models._segmenter import Segmenter

    found = next((part for part in model.modules() if isinstance(part, Segmenter)), None)
    if found is None:
        raise _no_scores(name)
    return found


def _no_scores(name: str) -> NetwrightError:
    from netwright.models import list_models

    problem = f"{name} gives no scores for pixels, in which a checkerboard could show"
    return NetwrightError(problem, f"name a network for segmentation: {listed(list_models(task='segmentation'))}")
