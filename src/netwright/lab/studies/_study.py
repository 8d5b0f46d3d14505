"""Runs a named study: opens the data once, keeps what was trained, and writes what was found."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec
from netwright.data.split import Data, Split
from netwright.data.subset import some_of_each
from netwright.engine.device import profile
from netwright.engine.trick import Trick, Tricks
from netwright.lab.studies import STUDIES
from netwright.lab.studies._networks import Networks
from netwright.lab.studies._output import refuse_unwritable
from netwright.lab.trial import Trials, opened
from netwright.models import check_model
from netwright.models._published import IMAGENET
from netwright.recipes._recipe import Recipe
from netwright.records.atomic import write_atomic
from netwright.tricks import TRICKS

TRIALS = "trials"
DIGITS = 32  # grey pictures up to this side are taken for digits
SMALL = 64  # larger ones need networks that halve them five times


@dataclass
class Setting:
    """What a study works with.

    Attributes:
        protocol: how everything is trained; its network is named.
        data: one class a picture.
        trials: runs that only their results are wanted of.
        networks: those that somebody goes on with.
        told: hears of every training, in a line.
        total: how many trainings there will be.
    """

    protocol: Recipe
    data: Data
    trials: Trials
    networks: Networks
    told: Callable[[str], None]
    total: int = 0
    done: int = field(default=0, init=False)

    @property
    def channels(self) -> int:
        """Of the pictures."""
        return self.data.preprocess.channels

    @property
    def split(self) -> str:
        """Where everything is measured."""
        return "test" if "test" in self.data.splits else "val"

    @property
    def measured(self) -> Split:
        """The pictures of that split."""
        return self.data.splits[self.split]

    def count(self, what: str, accuracy: float, seconds: float) -> None:
        """Tell of one training that is done."""
        self.done += 1
        self.told(f"{self.done} of {self.total}: {what}: {100 * accuracy:.1f} % right, {seconds:.0f} s")


def study(
    name: str | Spec,
    protocol: Recipe,
    *,
    per_class: int | None = None,
    output: str | Path | None = None,
    told: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """Run a named study and write `study.json`, `.html`, `.md` and `.png` into `output`.

    What is trained is kept in `output/trials`: the same call goes on where it was stopped, and costs nothing once done.

    Args:
        name: one of `netwright list studies`, with its options: `continual(memory=20)`.
        protocol: data, budget, optimiser, tricks, network and first seed of every training.
        per_class: training pictures of each class, drawn by the protocol's seed; None for all.
        output: folder; by default one of the study's name.
        told: hears how it goes.

    Returns:
        What `study.json` holds.

    Raises:
        NetwrightError: an unknown study or option, unusable data, a folder that cannot be written into, or whatever
            training refuses.
        Interrupted: a signal stopped it; what is finished is kept.
    """
    spec = Spec.parse(name)
    chosen = STUDIES.build(spec)
    folder = Path(output or spec.name)
    refuse_unwritable(folder)
    refuse(protocol, task_of(chosen))
    data = opened(protocol, classes=True)  # whatever is learnt, something is asked about classes
    data = data if per_class is None else some_of_each(data, per_class, protocol.seed)
    protocol = _named(protocol, data)
    setting = Setting(protocol, data, Trials(folder / TRIALS), Networks(folder / TRIALS), told)
    found = _head(spec, setting) | chosen(setting)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "study.json", json.dumps(found, indent=2, ensure_ascii=False))
    from netwright.report.study import write  # brings matplotlib along, which training need not wait for

    write(folder)
    return found


def task_of(chosen: Any) -> str:
    """What a study trains for: classification, unless it says something else."""
    return getattr(chosen, "task", "classification")


def refuse(protocol: Recipe, task: str = "classification") -> None:
    """Refuse what no study can go on with.

    Raises:
        NetwrightError: another task than the study's, or a trick that changes the network or draws its weights anew.
    """
    if Spec.parse(protocol.task).name != task:
        raise NetwrightError(f"such studies are for {task}, not {protocol.task}", "leave out --set task=… and --recipe")
    if protocol.model != "auto":
        check_model(protocol.model)
    for trick in tricks_of(protocol):
        if trick.card.fresh or trick.card.structure:
            does = "draws weights anew" if trick.card.fresh else "changes the network"
            fix = f"leave it out: --without {trick.name}; norms and the like are options of --model"
            raise NetwrightError(f"{trick.name} {does}, and studies carry weights from one network to another", fix)


def refuse_unmeasured(setting: Setting, groups: Sequence[Sequence[str]]) -> None:
    """Refuse groups of classes of which there is no picture to measure with; data without some to learn from is none.

    Raises:
        NetwrightError: names the classes.
    """
    measured = set(setting.measured.labels.tolist())
    held = {name for label, name in enumerate(setting.data.classes) if label in measured}
    for group in groups:
        if not held & set(group):
            several = f"classes {listed(group)} have" if len(group) > 1 else f"class {group[0]} has"
            problem = f"{several} no {setting.split} picture, so nothing could be measured of what is learnt of them"
            raise NetwrightError(problem, f"give one in {setting.split}, or leave these classes out of the data")


def tricks_of(protocol: Recipe) -> list[Trick]:
    """The tricks that a recipe names.

    Raises:
        NetwrightError: an option out of range, or two that exclude each other.
    """
    return [*Tricks(TRICKS.build(spec) for spec in protocol.tricks)]


def normalised_as(data: Data, moments: Any) -> Data:
    """The same pictures, normalised as some weights want them, where these know as many channels."""
    mean, std, _ = moments or IMAGENET
    if len(mean) != data.preprocess.channels:
        return data
    preprocess = replace(data.preprocess, mean=tuple(mean), std=tuple(std))
    return replace(data, preprocess=preprocess, fingerprint=f"{data.fingerprint} {mean} {std}")


def _named(protocol: Recipe, data: Data) -> Recipe:
    """With a network that suits the pictures, where none was named."""
    side = data.preprocess.image_size
    digits = data.preprocess.channels == 1 and side <= DIGITS
    model = "lenet5(modern=True)" if digits else "resnet20" if side <= SMALL else "resnet18"
    return protocol.resolved(model=model)


def _head(spec: Spec, setting: Setting) -> Mapping[str, Any]:
    protocol, data = setting.protocol, setting.data
    return {
        "format": 1,
        "study": str(spec),
        "data": data.name,
        "split": setting.split,
        "pictures": {side: len(split) for side, split in data.splits.items()},
        "image_size": data.preprocess.image_size,
        "protocol": protocol.model_dump(mode="json", exclude={"name"}),
        "device": profile(protocol.device, protocol.precision).name,
    }
