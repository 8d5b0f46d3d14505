"""A recipe: every choice of a run as data, each knowing where it came from. Importing it imports no torch."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.registry import Registry
from netwright.core.spec import Spec
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.tasks import TASKS
from netwright.tricks import TRICKS

# A spec in its one spelling, so that equal recipes have equal keys however they were written.
SpecText = Annotated[str, AfterValidator(lambda text: str(Spec.parse(text)))]
Origin = Literal["user", "recipe", "auto", "checkpoint"]
NAMED: dict[str, Registry] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "task": TASKS}
FIND = "find"  # the optimiser's lr: to be found by trying, when model and data stand
LARGEST = "largest"  # the batch size: to be found by trying
FOUND_LARGEST = f"batch_size.{LARGEST}"  # the source that tells it from one found by the number of pictures
# Where and how fast a run is computed does not belong to what it is.
NOT_IN_KEY = {"device", "workers", "threads", "name", "gate"}
# Fields that came later, and what recipes did before: there they leave the keys of old runs as they were.
LATER = {"non_finite": "raise", "group": None, "quarantine": None, "masks": "auto", "legend": None, "ignore": None}
# Fields that netwright fills in from the data or the machine where nobody did, and what they hold until then.
OPEN: dict[str, Any] = {
    "model": "auto",
    "batch_size": "auto",
    "image_size": None,
    "channels": None,
    "precision": "auto",
    "device": "auto",
    "threads": None,
}


class Recipe(BaseModel):
    """Every choice of a run. Frozen: `changed`, `with_` and `without` give new recipes.

    `None` or "auto" means that netwright decides from the data or the machine; the value it chose is in the run's
    record. The batch size may also be "largest", the most that memory holds, and the optimiser's `lr` "find".
    `normalise` is by the training pictures' mean and deviation, of each channel ("z_score") or of all values
    ("global"), or leaves values in [0, 1] as they are ("unit"). If a batch's loss or gradient is not a number, the run
    ends ("raise"), passes it over ("skip"), or goes back to the beginning of the epoch with half the learning rate
    ("rollback"), as `non_finite` says. `group` is a regular expression: pictures in whose names its first bracket
    finds the same are held out together. `quarantine` is a file that lists pictures to leave out. What the data gate
    finds is told ("warn"), refused where it is an error ("error"), or not looked for ("off").

    Of pictures with masks, `image_size` is the side of the crops that are trained on. `masks` says what is learnt of
    them: "semantic" classes, or background, "border" and interior of numbered things; `legend` is a file that names
    their values or colours, and `ignore` the value of pixels that count nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "custom"
    data: str = "digits"
    task: SpecText = "classification"
    model: SpecText = "lenet5"
    weights: str | None = None
    optimizer: SpecText = "sgd"
    schedule: SpecText = "cosine"
    tricks: tuple[SpecText, ...] = ()
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto", "largest"] = 128
    image_size: Annotated[int, Field(ge=4, le=4096)] | None = None
    channels: Literal[1, 3] | None = None
    fit: Literal["crop", "pad", "squash"] = "crop"
    normalise: Literal["z_score", "global", "unit"] = "z_score"
    val_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    test_fraction: Annotated[float, Field(ge=0, lt=0.9)] = 0.1
    group: str | None = None
    quarantine: str | None = None
    masks: Literal["auto", "semantic", "border"] = "auto"
    legend: str | None = None
    ignore: Annotated[int, Field(ge=0, le=65_535)] | None = None
    gate: Literal["warn", "error", "off"] = "warn"
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    non_finite: Literal["raise", "skip", "rollback"] = "raise"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    workers: Annotated[int, Field(ge=0, le=256)] = 0

    _sources: dict[str, Origin] = PrivateAttr(default_factory=dict[str, Origin])

    @property
    def sources(self) -> dict[str, Origin]:
        """Where each value came from; those inside a spec are written `optimizer.lr`, tricks `tricks.ema`."""
        fields: dict[str, Origin] = dict.fromkeys(type(self).model_fields, "recipe")
        for name in OPEN:
            fields[name] = "auto" if getattr(self, name) in (None, "auto") else "recipe"
        for text in self.tricks:
            fields[f"tricks.{Spec.parse(text).name}"] = "recipe"
        fields.update((name, origin) for name, origin in self._sources.items() if _still_there(self, name))
        return fields

    @property
    def finds_rate(self) -> bool:
        """Whether the learning rate is still to be found."""
        return Spec.parse(self.optimizer).options.get("lr") == FIND

    @property
    def key(self) -> str:
        """A hash of everything that decides the result; equal recipes have equal keys."""
        unused = {name for name, before in LATER.items() if getattr(self, name) == before}
        text = json.dumps(self.model_dump(exclude=NOT_IN_KEY | unused, mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def changed(self, origin: Origin = "user", **values: Any) -> "Recipe":
        """A recipe with some values replaced. `lr` stands for the optimiser's `lr`.

        Raises:
            NetwrightError: no such field, a value out of range, or an unknown name.
        """
        changed = self._merged(_resolved(self, values), dict.fromkeys(_origins(values), origin))
        if "optimizer" in values and "lr" not in values:
            changed._sources.pop("optimizer.lr", None)  # it was the other optimiser's
        return changed

    def with_(self, *tricks: Any, origin: Origin = "user") -> "Recipe":
        """A recipe with these tricks added, as specs or objects; one that is there already is replaced.

        Raises:
            NetwrightError: an unknown trick.
        """
        added = {spec.name: str(spec) for spec in map(_trick_spec, tricks)}
        present = {Spec.parse(text).name: text for text in self.tricks}
        return self._merged({"tricks": _sorted({**present, **added})}, {f"tricks.{name}": origin for name in added})

    def without(self, *names: str) -> "Recipe":
        """A recipe with these tricks taken out.

        Raises:
            NetwrightError: a trick that is not in the recipe.
        """
        present = {Spec.parse(text).name: text for text in self.tricks}
        for name in names:
            if name not in present:
                known = unknown("trick", name, TRICKS.names(), see="netwright list tricks")
                missing = NetwrightError(f"recipe {self.name} has no trick {name}", f"it has: {listed(present)}")
                raise missing if name in TRICKS.names() else known
        return self._merged({"tricks": _sorted({k: v for k, v in present.items() if k not in names})}, {})

    def resolved(self, **values: Any) -> "Recipe":
        """A recipe with values that netwright chose, where it had left them open."""
        open_ = {name: value for name, value in values.items() if getattr(self, name) in (None, "auto")}
        return self.changed("auto", **open_)

    def reopened(self) -> "Recipe":
        """The recipe before netwright filled in what was left open: for another machine, or other data."""
        sources = self.sources
        filled = {name: value for name, value in OPEN.items() if sources[name] == "auto"}
        if FOUND_LARGEST in sources:
            filled["batch_size"] = LARGEST
        if sources.get("optimizer.lr") == "auto":
            filled["optimizer"] = str(Spec.parse(self.optimizer).with_options(lr=FIND))
        return self._merged(filled, {})

    def with_largest(self, batch_size: int) -> "Recipe":
        """A recipe with the batch size that was found to be the largest."""
        return self._merged({"batch_size": batch_size}, {"batch_size": "auto", FOUND_LARGEST: "auto"})

    def _merged(self, values: Mapping[str, Any], origins: Mapping[str, Origin]) -> "Recipe":
        try:
            merged = type(self).model_validate({**self.model_dump(), **values})
        except ValidationError as error:
            raise _readable(error) from None
        merged._sources = {**self._sources, **origins}
        return merged


def recipe(name: str = "digits", **values: Any) -> Recipe:
    """A named recipe, with some values replaced.

    Args:
        name: one of `netwright list recipes`, or a path to a recipe's or a run record's JSON.
        values: fields of `Recipe`, and `lr`.

    Raises:
        NetwrightError: unknown name, field or value.
    """
    from netwright.recipes import RECIPES

    found = read_recipe(Path(name)).reopened() if name.endswith(".json") else RECIPES.load(name)()
    return found.changed(**values) if values else found


def recipe_for(data: Any, task: Any = None) -> str:
    """The named recipe that suits some data (a name, a path, or objects) and a task, if one is given."""
    if task == "segmentation" or has_masks(data):
        return "segment"
    if task is not None and str(task).split("(")[0] == "reconstruction":
        return "autoencode"
    if data is None or data == "digits":
        return "digits"
    return "modern"


def has_masks(data: Any) -> bool:
    """Whether data, a name or a path or opened, are pictures with masks."""
    if not isinstance(data, str):
        return getattr(data, "masks", None) is not None
    from netwright.data.kinds import is_masked

    return is_masked(data)


def read_recipe(path: Path) -> Recipe:
    """A recipe from its JSON, or from the record of a run.

    Raises:
        NetwrightError: no such file, or not a recipe.
    """
    try:
        saved = parsed(path.read_bytes())
    except (OSError, ValueError) as error:
        raise NetwrightError(
            f"cannot read the recipe {path}: {error}", "give a recipe's JSON or a run's record.json"
        ) from None
    values, sources = _parts(saved)
    if values is None:
        raise NetwrightError(f"{path} is not a recipe", "give a recipe's JSON or a run's record.json")
    for name in values:
        if name not in Recipe.model_fields:
            raise unknown("recipe field", name, Recipe.model_fields)
    return Recipe()._merged(values, {name: origin for name, origin in sources.items() if origin in get_args(Origin)})


def _parts(saved: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Values and their sources in what was saved; None where these are no recipe's."""
    if not isinstance(saved, dict):
        return None, {}
    values, sources = saved.get("recipe", saved), saved.get("sources", {})
    return (values if isinstance(values, dict) else None), (sources if isinstance(sources, dict) else {})


def _resolved(base: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """Field values, with `lr` moved into the optimiser's spec and every name checked."""
    fields = dict(values)
    for name in set(NAMED) & set(fields):
        if not isinstance(fields[name], str | Spec):
            raise NetwrightError(
                f"{name} cannot be {fields[name]!r}", f"give a name from `netwright list {NAMED[name].plural}`"
            )
    if isinstance(fields.get("tricks", ()), str | Spec) or not isinstance(fields.get("tricks", ()), Iterable):
        raise NetwrightError(f"tricks cannot be {fields['tricks']!r}", "give a list, or use --with and --without")
    rate = fields.pop("lr", None)
    if rate is not None and rate != FIND and (isinstance(rate, bool) or not isinstance(rate, int | float)):
        raise NetwrightError(f"lr cannot be {rate!r}", "give a number, as in 0.01, or 'find'")
    size = fields.get("batch_size")
    if isinstance(size, str) and size not in (OPEN["batch_size"], LARGEST):
        raise NetwrightError(f"batch_size cannot be {size!r}", "give a whole number, as in 64, or 'auto' or 'largest'")
    for name in fields:
        if name not in Recipe.model_fields:
            raise unknown("recipe field", name, [*Recipe.model_fields, "lr"])
    if rate is not None:
        given = Spec.parse(fields.get("optimizer", base.optimizer))
        if "optimizer" in fields and given.options.get("lr", rate) != rate:
            raise NetwrightError(f"two learning rates: {given} and lr={rate}", "give one of them")
        fields["optimizer"] = str(given.with_options(lr=rate if rate == FIND else float(rate)))
    for name, registry in NAMED.items():
        if name in fields:
            fields[name] = _known(registry, fields[name])
    if "tricks" in fields:
        specs = [_trick_spec(trick) for trick in fields["tricks"]]
        fields["tricks"] = _sorted({spec.name: str(spec) for spec in specs})
    return fields


def _origins(values: Mapping[str, Any]) -> list[str]:
    names = ["optimizer.lr" if name == "lr" else name for name in values]
    return names + [f"tricks.{_trick_spec(trick).name}" for trick in values.get("tricks", ())]


def _known(registry: Registry, text: str) -> str:
    spec = Spec.parse(text)
    if spec.name not in registry.names():
        raise unknown(registry.kind, spec.name, registry.names(), see=f"netwright list {registry.plural}")
    return str(spec)


def _trick_spec(trick: Any) -> Spec:
    """The spec of a trick given as text or as an object; a user's own class is registered under its name."""
    if isinstance(trick, str | Spec):
        return Spec.parse(_known(TRICKS, str(trick)))
    if trick.name not in TRICKS.names() or TRICKS.load(trick.name) is not type(trick):
        TRICKS.register(type(trick))
    return trick.spec


def _sorted(tricks: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(tricks[name] for name in sorted(tricks))


def _still_there(recipe: Recipe, name: str) -> bool:
    if name == FOUND_LARGEST:
        return recipe._sources.get("batch_size") == "auto"
    kind, _, inner = name.partition(".")
    return kind != "tricks" or not inner or any(Spec.parse(text).name == inner for text in recipe.tricks)


def _readable(error: ValidationError) -> NetwrightError:
    """pydantic's first complaint, as ours."""
    first = error.errors()[0]
    where, given = ".".join(map(str, first["loc"][:1])), first.get("input")
    return NetwrightError(f"{where} cannot be {given!r}", first["msg"][0].lower() + first["msg"][1:])
