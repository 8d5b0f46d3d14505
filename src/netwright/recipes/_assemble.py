"""Names become objects: a recipe's data, network, tricks, optimiser and schedule, put together as a run."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec
from netwright.data.features import FeatureSource
from netwright.data.loader import First, Loader
from netwright.engine.cost import trace
from netwright.engine.device import Profile, profile
from netwright.engine.evaluate import EVALUATION_BATCH, evaluate
from netwright.engine.lr_find import lr_find
from netwright.engine.plans import DataPlan, OptimPlan, Source
from netwright.engine.random import key
from netwright.engine.run import Run, Task
from netwright.engine.trick import Trick, Tricks
from netwright.models import check_model, create_model
from netwright.models._autoencoder import Autoencoding
from netwright.models._weights import check_weights, load_weights, model_of
from netwright.nn.headed import Headed
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.optim._optimizer import Base
from netwright.recipes._alarm import alarm
from netwright.recipes._choose import largest_batch, sized, suited
from netwright.recipes._inputs import Inputs, read_inputs
from netwright.recipes._recipe import FIND, LARGEST, Recipe
from netwright.recipes._room import AT_A_TIME, OWN_STATE, feature_bytes, refuse_too_large, stands_still
from netwright.recipes._task import completed, refuse_conditions, refuse_labels, task_for
from netwright.tasks._latent import Latent
from netwright.tricks import TRICKS

SETTLED = 0.2  # of a run: before, a code that says nothing is no news
CHANGES_PICTURES = ("geometry", "colour", "pixels", "batch")  # stations at which a picture may become another


@dataclass(frozen=True)
class Parts:
    """The objects a recipe's names stand for.

    Attributes:
        macs: multiply-adds for one picture.
        spec: what builds the network; None if it is the caller's.
        own: the classes of the caller's data, model and task, where these are objects.
    """

    recipe: Recipe
    inputs: Inputs
    run: Run
    macs: int
    spec: str | None
    own: dict[str, str]


def assemble(
    recipe: Recipe,
    *,
    data: Any = None,
    model: nn.Module | None = None,
    task: Task | None = None,
    classes: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    before: dict[str, Any] | None = None,
) -> Parts:
    """Names become objects: data, network, tricks, optimiser, schedule. `before` is the record of a run that goes on.

    Raises:
        NetwrightError: an unknown name, an option out of range, data that cannot be used, or more of it than fits.
    """
    recipe = _as_weights_name(recipe)
    tricks = Tricks(TRICKS.build(spec) for spec in recipe.tricks)
    tricks.require(task.name if task else recipe.task)
    _refuse_fresh(recipe, tricks)
    _check(recipe, model, resumed=before is not None)
    inputs = read_inputs(recipe, data, classes, progress)
    if before is not None and (recipe.weights or not inputs.repeats):  # not by what is measured now
        inputs = inputs.normalised(before["data"]["mean"], before["data"]["std"])
    fitting = suited(recipe, inputs)
    recipe = fitting if model is None else recipe.resolved(batch_size=fitting.batch_size)
    refuse_labels(task or task_for(recipe, inputs), inputs)
    torch.manual_seed(key(recipe.seed, "init"))
    # Not "if not network": an nn.Sequential has a length, and an empty one would count as none.
    spec, network = None, model
    if network is None:
        spec = sized(recipe, inputs)
        network, inputs = _created(recipe, str(spec), inputs, tricks, resumed=before is not None)
    refuse_conditions(network, inputs)
    chosen_task = (
        completed(task, inputs) if task else task_for(recipe, inputs)
    )  # now that pictures are normalised as the weights want it
    network = tricks.through("model", network)
    macs, activations = _cost(network, inputs)
    kept, inputs = _kept(network, inputs, tricks)
    where = profile(recipe.device, recipe.precision, macs=macs, threads=recipe.threads)
    where.apply()
    if where.device.type == "cpu" and recipe.batch_size != LARGEST:
        _refuse_too_large(recipe, network, inputs, tricks, activations, kept, resumed=before is not None)

    def built(recipe: Recipe, *, on_copies: bool = False) -> Run:
        # Together: a trick may hold a part of the network.
        own, used = copy.deepcopy((network, tricks)) if on_copies else (network, tricks)
        return _run(recipe, inputs, own, chosen_task, used, where, kept, named=model is None, tried=on_copies)

    if recipe.batch_size == LARGEST:
        recipe = _with_largest_batch(recipe, inputs, where, partial(built, on_copies=True))
    run = built(recipe)
    if before is None and recipe.finds_rate:
        recipe = _with_found_rate(recipe, run)
    seen = {} if inputs.preprocess is None else {"image_size": inputs.shape[1], "channels": inputs.channels}
    recipe = recipe.resolved(
        **seen,
        precision=where.precision,
        device=str(where.device),
        threads=where.threads,
    )
    own = {kind: type(given).__name__ for kind, given in objects(data=data, model=model, task=task).items()}
    return Parts(recipe, inputs, run, macs, spec, own)


def objects(**given: Any) -> dict[str, Any]:
    """Those that are a caller's own rather than a name, or nothing."""
    return {kind: value for kind, value in given.items() if not (value is None or isinstance(value, str))}


def evaluation_batch(recipe: Recipe) -> int:
    """Without gradients twice the training batch fits in the memory that training needs."""
    return min(EVALUATION_BATCH, 2 * int(recipe.batch_size))


def _as_weights_name(recipe: Recipe) -> Recipe:
    """A bundle of ours says which network its weights are of, where nobody named one."""
    task = Spec.parse(recipe.task).name
    named = model_of(recipe.weights, task) if recipe.weights and recipe.model == "auto" else None
    return recipe if named is None else recipe.resolved(model=named)


def _check(recipe: Recipe, model: nn.Module | None, *, resumed: bool) -> None:
    """What can be refused before the pictures are decoded, which may take minutes."""
    OPTIMIZERS.build(_optimizer(recipe))
    SCHEDULES.build(recipe.schedule)
    if model is None and recipe.model != "auto":
        check_model(recipe.model, Spec.parse(recipe.task).name)
    if model is not None and recipe.weights:
        raise NetwrightError("weights go with a model's name", "load them into your own network before fit")
    if recipe.weights and not resumed:
        check_weights(recipe.weights)


def _refuse_fresh(recipe: Recipe, tricks: Tricks) -> None:
    """Weights that were learnt go with neither tricks that draw them anew nor another scale of the pictures."""
    drawing = [trick.name for trick in tricks if trick.card.fresh and not _neutral(trick)]
    if recipe.weights and drawing:
        fix = f"leave out weights, or --without {drawing[0]}"
        raise NetwrightError(f"{listed(drawing)} would undo the weights from {recipe.weights}", fix)
    if recipe.weights and recipe.normalise != "z_score":
        fix = "leave out weights, or --set normalise=z_score"
        raise NetwrightError(f"weights want pictures as they were trained on, not normalise={recipe.normalise}", fix)


def _neutral(trick: Trick) -> bool:
    neutral = trick.card.neutral
    return neutral is not None and all(getattr(trick, name) == value for name, value in neutral.items())


def _optimizer(recipe: Recipe) -> Spec:
    """The optimiser's spec; a rate that is still to be found is left at the default until then."""
    spec = Spec.parse(recipe.optimizer)
    found = {name: value for name, value in spec.options.items() if (name, value) != ("lr", FIND)}
    return Spec(spec.name, found)


def _with_largest_batch(recipe: Recipe, inputs: Inputs, where: Profile, trial: Callable[[Recipe], Run]) -> Recipe:
    # What trials draw, the run does not miss.
    with torch.random.fork_rng([where.device] if where.device.type == "cuda" else []):
        return recipe.with_largest(largest_batch(recipe, len(inputs.splits["train"]), trial))


def _with_found_rate(recipe: Recipe, run: Run) -> Recipe:
    rate = lr_find(run).best
    run.optimizer.lr = rate
    return recipe.changed("auto", lr=rate)


def _created(recipe: Recipe, spec: str, inputs: Inputs, tricks: Tricks, *, resumed: bool) -> tuple[nn.Module, Inputs]:
    """The recipe's network, at the pictures' mean colour or with its weights if it names some, and the data as these
    want it.

    A run that is resumed takes its weights from the checkpoint instead.
    """
    network = create_model(spec, classes=len(inputs.classes), in_channels=inputs.channels)
    if isinstance(network, Autoencoding) and inputs.colour:
        network.begin_at(inputs.colour)
    if recipe.weights is None or resumed:
        return network, inputs
    structure = [str(trick.spec) for trick in tricks if trick.card.structure]
    loaded = load_weights(network, recipe.weights, classes=inputs.classes, tricks=structure)
    told = f"weights from {recipe.weights}: {loaded}"
    if inputs.ready:
        return network, inputs.noted(told, "pictures are floats of your own dataset, and are not normalised again")
    mean, std, whose = loaded.moments
    if inputs.channels != len(mean):  # grey pictures into a network of colours
        mean, std, whose = inputs.normalise.mean, inputs.normalise.std, "these pictures'"
    return network, inputs.normalised(mean, std, told, f"pictures are normalised with {whose} mean and deviation")


def _run(
    recipe: Recipe,
    inputs: Inputs,
    network: nn.Module,
    task: Task,
    tricks: Tricks,
    where: Profile,
    kept: frozenset[str],
    *,
    named: bool,
    tried: bool,
) -> Run:
    """What is trained; where something is only `tried`, no features of whole splits are computed."""
    network = where.place(network)
    train = inputs.source("train", where, recipe.workers)
    plan: DataPlan = tricks.through("data", DataPlan(train, len(inputs.classes), int(recipe.batch_size)))
    val = inputs.source("val", where, recipe.workers) if "val" in inputs.splits else None
    size = evaluation_batch(recipe)
    if kept and tried and val is not None:
        val = First(val, size)
    seen = val
    if isinstance(network, Headed) and not tried:
        made_by = _made_by(recipe, tricks) if named else None
        features = partial(FeatureSource, network, normalise=inputs.normalise, profile=where, made_by=made_by)
        plan = replace(plan, train=features(plan.train, batch_size=plan.batch_size)) if "train" in kept else plan
        seen = features(val, batch_size=size) if val is not None and "val" in kept else val
    optimizer = OPTIMIZERS.build(_optimizer(recipe))
    optimizer.start(tricks.through("optim", OptimPlan.of(network)).groups)
    run = Run(
        seed=recipe.seed,
        epochs=recipe.epochs,
        task=task,
        model=network,
        optimizer=optimizer,
        schedule=SCHEDULES.build(recipe.schedule),
        loader=Loader(plan, recipe.seed),
        tricks=tricks,
        profile=where,
        normalise=inputs.normalise,
        non_finite=recipe.non_finite,
    )
    if val is not None and seen is not None:
        run.validate = partial(_validated, run, recipe, val, seen, size)
    tricks.start(run)
    return run


def _kept(network: nn.Module, inputs: Inputs, tricks: Tricks) -> tuple[frozenset[str], Inputs]:
    """The splits whose features are computed once, and the data with a note of those of which they cannot be."""
    if not (isinstance(network, Headed) and _features_stay(network, tricks)):
        return frozenset(), inputs
    splits = [split for split in ("train", "val") if split in inputs.splits]
    kept = frozenset(split for split in splits if inputs.stays(split))
    drawn = [split for split in splits if split not in kept]
    why = f"your dataset draws pictures of {listed(drawn)} at random: their features are computed anew in every epoch"
    return kept, inputs.noted(why) if drawn else inputs


def _made_by(recipe: Recipe, tricks: Tricks) -> str:
    """What builds the network below its head, as text."""
    changing = [str(trick.spec) for trick in tricks.at("model") if trick.name != "head"]
    return f"{recipe.model} {changing}"


def _features_stay(network: Headed, tricks: Tricks) -> bool:
    """Whether a picture has the same features in every step: a fixed backbone, and nothing that changes pictures.

    Nor may anything draw the backbone's weights when training starts.
    """
    return network.fixed and not changing_pictures(tricks) and not any(trick.card.fresh for trick in tricks)


def changing_pictures(tricks: Tricks) -> tuple[str, ...]:
    """The tricks that may make another picture of a picture, by name."""
    at_pictures = (trick for station in CHANGES_PICTURES for trick in tricks.at(station))
    return tuple(sorted({trick.name for trick in at_pictures if not trick.card.targets}))


def _validated(run: Run, recipe: Recipe, pictures: Source, seen: Source, size: int) -> dict[str, float]:
    """Means over the validation split: of pictures where the predictor is another kind of network, which looks at them
    in ways of its own, and else of what training sees."""
    predictor = run.predictor()
    source = seen if type(predictor) is type(run.model) else pictures
    found = evaluate(predictor, source, run.task, run.normalise, run.profile, batch_size=size)
    if isinstance(found.summary, Latent) and run.progress >= SETTLED and not run.warned:
        run.warned = alarm(found.summary, recipe, run.progress, run)
        run.alarms += [run.warned] if run.warned else []
    return found.means()


def _refuse_too_large(
    recipe: Recipe,
    network: nn.Module,
    inputs: Inputs,
    tricks: Tricks,
    activations: int,
    kept: frozenset[str],
    *,
    resumed: bool,
) -> None:
    """Refuse what main memory cannot hold, before an hour went into it."""
    parts = max((trick.passes for trick in tricks), default=1)
    batch = min(int(recipe.batch_size), len(inputs.splits["train"]))
    optimizer = OPTIMIZERS.build(_optimizer(recipe))
    slots = len(optimizer.slots) if isinstance(optimizer, Base) else OWN_STATE
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    if not stands_still(network):
        refuse_too_large(trained, inputs.splits, activations, -(-batch // parts), slots, resumed=resumed)
        return
    batch = max(batch, min(evaluation_batch(recipe), max(map(len, inputs.splits.values()))))
    held = sum(len(inputs.splits[split]) for split in kept) * feature_bytes(network, inputs.shape)
    refuse_too_large(trained, inputs.splits, activations, batch, slots, resumed=resumed, features=held)


def _cost(network: nn.Module, inputs: Inputs) -> tuple[int, int]:
    """Multiply-adds and bytes for one picture; the first time that the network meets the size of the data.

    Bytes are of all that it gives, which gradients need, or else of what is held at a time.
    """
    parameter = next(network.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    try:
        operations = trace(network, torch.zeros(1, *inputs.shape, device=device)).operations
        sizes = [operation.bytes for operation in operations]
        held = AT_A_TIME * max(sizes, default=0) if stands_still(network) else sum(sizes)
        return sum(operation.macs for operation in operations), held
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        channels, height, width = inputs.shape
        reason = str(error).split("\n")[0]
        raise NetwrightError(
            f"the network cannot take pictures of {channels}×{height}×{width} (channels, height, width): {reason}",
            "give the size it is made for with --image-size, or take another --model",
        ) from error
