"""What a model looks at in files, and what it looks for: from a run, a bundle, or a model's name with weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.bundle.predictor import Predictor, classifier_of, load_classifier
from netwright.core.errors import NetwrightError, listed, nearest, unknown
from netwright.core.spec import Spec
from netwright.data.preprocess import Preprocess
from netwright.data.ready import MARGIN
from netwright.engine.device import profile
from netwright.explain import METHODS
from netwright.explain._colour import overlaid, pixels
from netwright.explain._faithful import Faithful, faithful
from netwright.explain._figure import KINDS, Row, heat_figure, most_rows, sheets_figure, suffix_of
from netwright.explain._method import Sheet, Subject, What, Where
from netwright.explain._randomised import Randomised, randomised
from netwright.models import TIMM, create_model, list_models, variant
from netwright.models._weights import load_weights
from netwright.records.atomic import write_atomic


@dataclass(frozen=True)
class Explanation:
    """What a method says of one picture.

    Attributes:
        name: the picture's.
        label: the class asked about.
        probability: its calibrated probability.
        guess: the most probable class, and its probability.
        picture: what the network saw of it, uint8 H W 3.
        heat: how much each pixel speaks for the class, H W; None for methods that draw sheets.
        sheets: for methods that draw them.
        faithful: whether the map is better than one at a random place, if asked for.
        randomised: whether it depends on what was learned, if asked for.
    """

    name: str
    label: str
    probability: float
    guess: tuple[str, float]
    picture: np.ndarray
    heat: np.ndarray | None = None
    sheets: Sequence[Sheet] = ()
    faithful: Faithful | None = None
    randomised: Randomised | None = None

    @property
    def title(self) -> str:
        """The class asked about, and where it is not the most probable, that one."""
        other = f"; most probable: {self.guess[0]}, {100 * self.guess[1]:.1f} %" if self.guess[0] != self.label else ""
        return f"{self.label}, {100 * self.probability:.1f} %{other}"

    def to_json(self) -> dict[str, Any]:
        """For `--json`; the place is that of the hottest pixel in what the network saw, from its upper left corner."""
        found: dict[str, Any] = {"name": self.name, "label": self.label, "probability": self.probability}
        found["guess"] = {"label": self.guess[0], "probability": self.guess[1]}
        if self.heat is not None:
            row, column = np.unravel_index(int(self.heat.argmax()), self.heat.shape)
            found["hottest"] = {"x": int(column), "y": int(row)} if self.heat.max() > 0 else None
            found["size"] = list(self.heat.shape)
        found |= {"sheets": [_sheet_json(sheet) for sheet in self.sheets]} if self.sheets else {}
        found |= {"faithful": self.faithful.to_json()} if self.faithful else {}
        return found | ({"randomised": self.randomised.to_json()} if self.randomised else {})


@dataclass(frozen=True)
class Seen:
    """Everything that was asked for, ready to be drawn.

    Attributes:
        method: as it was asked for.
        explanations: one for each picture.
        sheets: of methods that need no picture.
        unreadable: pictures that could not be read, with the reason.
    """

    method: str
    explanations: list[Explanation]
    sheets: list[Sheet] = field(default_factory=list[Sheet])
    unreadable: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def save(self, path: Path) -> Path:
        """Draw it into a file whose ending says which kind.

        Raises:
            NetwrightError: an unknown ending, or the disk is full or not writable.
        """
        suffix = suffix_of(str(path))
        if self.sheets:
            drawn = sheets_figure(self.sheets, suffix)
        elif self.explanations[0].heat is None:
            drawn = _sheets_of(self.explanations, suffix)
        else:
            drawn = heat_figure([self._row(each) for each in self.explanations], "speaks for the class", suffix)
        write_atomic(path, drawn)
        return path

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        found: dict[str, Any] = {"method": self.method, "unreadable": self.unreadable}
        if self.sheets:
            return found | {"sheets": [_sheet_json(sheet) for sheet in self.sheets]}
        return found | {"explanations": [each.to_json() for each in self.explanations]}

    def _row(self, each: Explanation) -> Row:
        heat = each.heat if each.heat is not None else np.zeros(each.picture.shape[:2], np.float32)
        nothing = " Nothing here speaks for this class." if heat.max() <= 0 else ""
        lines = [f"{Path(each.name).name}, {self.method}.{nothing}"]
        lines += [_sentence(each.faithful.verdict)] if each.faithful else []
        lines += [_sentence(each.randomised.verdict)] if each.randomised else []
        return Row(each.picture, overlaid(each.picture, heat), each.title, lines)


def opened(what: str, weights: str | Path | None = None, device: str = "auto") -> Predictor:
    """A predictor from a run folder, a bundle, or the name of a model with its weights.

    Raises:
        NetwrightError: it is none of these, weights are missing or do not fit, or a run was given weights.
    """
    if Path(what).expanduser().exists():
        if weights is not None:
            raise NetwrightError(f"{what} has weights of its own", "leave out --weights")
        return load_classifier(Path(what).expanduser(), device=device)
    if what.split("(")[0] in list_models(task="segmentation"):
        problem = f"{what} gives each pixel a class, and this needs a network that gives each picture one"
        raise NetwrightError(problem, "`netwright predict RUN PICTURE -o FOLDER` shows what a trained one sees")
    if what.split("(")[0] in list_models(task="reconstruction"):
        problem = f"{what} is an autoencoder, and this needs a network that gives each picture a class"
        own = classifier_of(what)
        train = f': `netwright train PATH --weights RUN --model "{own}"`' if own else ""
        raise NetwrightError(problem, f"make a classifier of a trained one's encoder{train}")
    if weights is None and _is_model(what):
        raise NetwrightError(f"{what} is a model without weights", "name a file of them: --weights FILE")
    if weights is None:
        close = nearest(what, list_models())
        hint = f", or did you mean the model {close}, which wants --weights?" if close else ""
        raise NetwrightError(f"no run or bundle at {what}", f"give a run folder, as `netwright train` prints it{hint}")
    return published(what, weights, device)


def published(model: str, weights: str | Path, device: str = "auto") -> Predictor:
    """A predictor of a model by name with the weights of a file; classes are named by their numbers.

    Raises:
        NetwrightError: unknown model, or weights that do not fit it, its head included.
    """
    spec = Spec.parse(model)
    if spec.name.startswith(TIMM):
        network = create_model(spec, classes=int(spec.options.get("classes", 1000)))
        side = int((getattr(network, "configured", {}).get("input_size") or (3, 224, 224))[-1])
        classes, channels = 1000, 3
    else:
        row = variant(spec.name)
        classes, channels, side = row.classes, row.in_channels, row.image_size
        network = create_model(spec, classes=classes, in_channels=channels)
    loaded = load_weights(network, weights)
    if lacking := [name for name in loaded.missing if name.startswith(network.head_name)]:
        fix = f"give weights for the {classes} classes that {model} was published with, or a bundle"
        raise NetwrightError(f"'{weights}' has no head for {model} (missing {listed(lacking, 3)})", fix)
    mean, std = loaded.moments_for(channels)
    preprocess = Preprocess(side, round(side * MARGIN), channels=channels, mean=mean, std=std)
    card = {
        "classes": [str(number) for number in range(classes)],
        "temperature": 1.0,
        "task": "classification",
        "preprocess": preprocess.to_json(),
    }
    return Predictor(network, card, profile(device, "fp32"))


def subject_of(predictor: Predictor) -> Subject:
    """The network of a predictor, as methods want it."""
    preprocess = predictor.preprocess_or_error()
    shape = (preprocess.channels, preprocess.image_size, preprocess.image_size)
    several = predictor.task == "multi_label"
    return Subject(predictor.model, predictor.normalise(), shape, predictor.temperature, several)


def explain(
    predictor: Predictor,
    files: Sequence[str | Path] = (),
    method: str | Spec = "gradcam",
    *,
    label: str | None = None,
    orders: int = 0,
    shuffled: bool = False,
) -> Seen:
    """Explain what a model says of pictures, or what it looks for.

    Args:
        predictor: the model.
        files: pictures; none for methods that show parts of the network.
        method: from the registry, with options.
        label: the class asked about; by default the most probable of each picture.
        orders: how many moved copies each map is compared with (`explain/_faithful.py`).
        shuffled: also compare with the maps of shuffled networks (`explain/_randomised.py`).

    Raises:
        NetwrightError: an unknown method, option or class, no picture that can be read, a picture too many or too few,
            or a network that has nothing to show.
    """
    made = _fitting(method, len(files), label=label, shuffled=shuffled)
    subject, target = subject_of(predictor), class_number(predictor, label)
    if isinstance(made, What) and not made.wants_picture:
        return Seen(str(Spec.parse(method)), [], _named(made.sheets(subject, None, target), target, label))
    explanations: list[Explanation] = []
    unreadable: list[dict[str, str]] = []
    for file in files:
        try:
            stored = predictor.preprocess_or_error().stored(file)
        except NetwrightError as error:
            unreadable.append({"name": str(file), "problem": error.problem})
            continue
        explained, image, wanted = _looked_at(predictor, subject, str(file), stored, target)
        if isinstance(made, What):
            explanations.append(replace(explained, sheets=tuple(made.sheets(subject, image, target))))
        else:
            explanations.append(_heated(explained, subject, made, image, wanted, orders=orders, shuffled=shuffled))
    if not explanations:
        problems = listed((each["problem"] for each in unreadable), 3)
        raise NetwrightError(f"none of the pictures could be read: {problems}", "give others")
    return Seen(str(Spec.parse(method)), explanations, unreadable=unreadable)


def refuse_unfitting(
    method: str | Spec, pictures: int, path: Path, *, label: str | None = None, shuffled: bool = False
) -> None:
    """Told before a model is opened and pictures are looked at, which may take minutes.

    Raises:
        NetwrightError: an unknown kind of file, a method or option that does not go with the rest, or more pictures
            than a file of that kind holds.
    """
    suffix = suffix_of(str(path))
    made = _fitting(method, pictures, label=label, shuffled=shuffled)
    if isinstance(made, What) and pictures > 1:
        raise _too_many_sheets(pictures)
    if pictures > most_rows(suffix):
        room = max(KINDS, key=most_rows)
        more = f", or let the file end in {room}, which holds {most_rows(room)}" if most_rows(room) >= pictures else ""
        problem = f"{pictures} pictures do not fit in one {suffix} file, which holds at most {most_rows(suffix)}"
        raise NetwrightError(problem, f"give fewer, or explain them one by one{more}")


def _fitting(method: str | Spec, pictures: int, *, label: str | None, shuffled: bool) -> Where | What:
    """The method, if pictures, class and tests go with it."""
    made: Where | What = METHODS.build(method)
    name = Spec.parse(method).name
    wants = isinstance(made, Where) or made.wants_picture
    if pictures and not wants:
        raise NetwrightError(f"{name} shows the network itself, not pictures", "leave the files out")
    if wants and not pictures:
        raise NetwrightError(f"{name} looks at pictures, and none was named", "name at least one")
    if isinstance(made, Where):
        return made
    if label is not None and not made.wants_class:
        raise NetwrightError(f"{Spec.parse(method)} shows the same for every class", f"leave out the class '{label}'")
    if shuffled:
        raise NetwrightError(f"{name} draws no heat map to compare with others", "leave out --shuffled")
    return made


def class_number(predictor: Predictor, label: str | None) -> int | None:
    """The place of a class among the model's, by its name.

    Raises:
        NetwrightError: it has no class of that name; the nearest is named.
    """
    if label is None:
        return None
    if label not in predictor.classes:
        raise unknown("class of this model", label, predictor.classes)
    return predictor.classes.index(label)


def _looked_at(
    predictor: Predictor, subject: Subject, name: str, stored: np.ndarray, target: int | None
) -> tuple[Explanation, Tensor, Tensor]:
    """A picture as the network saw it, and what it said."""
    seen = torch.from_numpy(np.ascontiguousarray(predictor.preprocess_or_error().centre(stored)))
    device = predictor.profile.device
    value = seen.permute(2, 0, 1)[None].to(device)
    image = subject.input(value.contiguous())
    probabilities = subject.probabilities(image)[0]
    top = int(probabilities.argmax())
    asked = top if target is None else target
    said = (predictor.classes[top], float(probabilities[top]))
    explained = Explanation(
        name, predictor.classes[asked], float(probabilities[asked]), said, pixels(value[0].float() / 255)
    )
    return explained, image, torch.tensor([asked], device=device)


def _heated(
    explained: Explanation,
    subject: Subject,
    method: Where,
    image: Tensor,
    target: Tensor,
    *,
    orders: int,
    shuffled: bool,
) -> Explanation:
    heat = method.heat(subject, image, target)
    checked = faithful(subject, image, target, heat, orders=orders) if orders else None
    sane = randomised(subject, method, image, target, heat) if shuffled else None
    return replace(explained, heat=heat[0].float().cpu().numpy(), faithful=checked, randomised=sane)


def _named(sheets: list[Sheet], target: int | None, label: str | None) -> list[Sheet]:
    """Sheets that speak of a class by its number, with its name."""
    return [replace(each, title=each.title.replace(f"class {target} ", f"class {label} ")) for each in sheets]


def _sheets_of(explanations: Sequence[Explanation], suffix: str) -> bytes:
    if len(explanations) > 1:
        raise _too_many_sheets(len(explanations))
    one = explanations[0]
    before = Row(one.picture, one.picture, f"{Path(one.name).name}: {one.title}", ())
    return sheets_figure(one.sheets, suffix, before)


def _too_many_sheets(pictures: int) -> NetwrightError:
    return NetwrightError(f"sheets of {pictures} pictures do not fit in one file", "name one picture")


def _sheet_json(sheet: Sheet) -> dict[str, Any]:
    return {"title": sheet.title, "note": sheet.note, **sheet.facts}


def _is_model(name: str) -> bool:
    try:
        plain = Spec.parse(name).name
    except NetwrightError:
        return False
    return plain.startswith(TIMM) or plain in list_models()


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
