"""Going on with a run: what it may change, what is refused, and what is said of the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from netwright.core.errors import NetwrightError, listed
from netwright.engine.run import Run
from netwright.recipes._recipe import Recipe, read_recipe
from netwright.records.folder import RunFolder
from netwright.records.plain import plain
from netwright.records.schema import ResumedRecord

Verdict = Literal["refused", "extended", "compared", "told", "free"]

# What becomes of another value of a recipe's field when a run is resumed:
#   refused   it decides the result, and the run would be neither the old one nor a new one
#   extended  by `extend` only, which says what it does to the schedule
#   compared  the files may have moved: the data behind the name must be the same
#   told      the run goes on, not bit for bit as it would have, and says so
#   free      the result is the same
FIELDS: dict[str, Verdict] = {
    "name": "refused",
    "data": "compared",
    "task": "refused",
    "model": "refused",
    "weights": "refused",
    "optimizer": "refused",
    "schedule": "refused",
    "tricks": "refused",
    "epochs": "extended",
    "batch_size": "refused",
    "image_size": "refused",
    "channels": "refused",
    "fit": "refused",
    "normalise": "refused",
    "val_fraction": "refused",
    "test_fraction": "refused",
    "group": "refused",
    "quarantine": "compared",
    "masks": "refused",
    "legend": "compared",
    "ignore": "refused",
    "gate": "free",
    "seed": "refused",
    "non_finite": "told",
    "precision": "told",
    "device": "told",
    "threads": "told",
    "workers": "free",
}
MAY_DIFFER = tuple(name for name, verdict in FIELDS.items() if verdict in ("told", "extended"))
ROUNDING = ("device", "name", "precision", "memory_format", "threads", "capability", "mkldnn")
USED = {"data": "learnt from", "model": "trained", "task": "used"}
SAME_DATA = ("fingerprint", "splits", "classes", "channels", "image_size", "mean", "std")


NEEDED = ("recipe", "data", "model")  # of a record

Memory = dict[str, Any]


@dataclass(frozen=True)
class Before:
    """A run as its folder has it when it is resumed, and how many epochs it is to have, if that is asked for."""

    recipe: Recipe
    record: dict[str, Any]
    extend: int | None = None

    @classmethod
    def of(cls, folder: RunFolder, extend: int | None = None) -> "Before":
        """Read it.

        Raises:
            NetwrightError: the run was stopped before it wrote a record, or that is not whole.
        """
        fix = "start it anew, or name another run"
        if not folder.record_file.exists():
            raise NetwrightError(f"{folder.path} has nothing to go on from: it was stopped before it began", fix)
        record = folder.record()
        lost = [name for name in NEEDED if not isinstance(record.get(name), dict)]
        if lost:
            raise NetwrightError(f"{folder.record_file} does not say what the run was: no {listed(lost)} in it", fix)
        return cls(read_recipe(folder.record_file), record, extend)


def resumed_recipe(then: Recipe, changes: Mapping[str, Any], extend: int | None) -> Recipe:
    """The recipe that a run goes on with.

    Args:
        then: the one it has.
        changes: fields that are asked to be another.
        extend: how many epochs it is to have in all.

    Raises:
        NetwrightError: a change that would make it another run.
    """
    now = then.changed(**changes) if changes else then
    for name, (before, asked) in _changed(then, now).items():
        if FIELDS[name] == "extended" and asked > before:
            raise NetwrightError(
                f"a resumed run takes no other {name}: its schedule would change without a word",
                f"--extend {asked} trains to a total of {asked} epochs and says what the schedule does",
            )
        if FIELDS[name] in ("refused", "extended"):
            allowed = [field for field, verdict in FIELDS.items() if verdict in ("compared", "told", "free")]
            raise NetwrightError(
                f"a resumed run cannot change {name}: it was {before!r}, and {asked!r} is asked for",
                f"leave it out, or start a new run; {listed(allowed)} may change",
            )
    return now if extend is None else now.changed(epochs=extend)


def refuse_other_data(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse data that are not those that the run began with; both as in a run's record.

    Raises:
        NetwrightError: they are not; the message says what is known of the difference.
    """
    found = plain(now)
    if any(name in then and then[name] != found.get(name) for name in SAME_DATA):
        raise NetwrightError(
            f"the data is not what this run began with: {listed(_data_changes(then, found), 6)}",
            "bring the old files back, name the path that they lie at now, or start a new run",
        )


def refuse_other_objects(record: Mapping[str, Any], objects: Mapping[str, Any], call: str) -> None:
    """Refuse to go on without the caller's own objects that a run began with, or with others.

    Args:
        record: the run's.
        objects: what is given as "data", "model" and "task"; None for those that are not.
        call: how they are given, as "fit(resume=…".

    Raises:
        NetwrightError: one is missing, is of another class, or takes the place of what netwright builds.
    """
    model = record["model"]
    early = {"model": model.get("name", "network")} if model.get("spec") is None else {}
    own: dict[str, str] = record.get("own", early)
    for kind, given in objects.items():
        if kind not in own:
            if given is not None and kind != "data":
                fix = f"leave it out: {call})"
                problem = f"this run began with a {kind} of netwright's, and {type(given).__name__} is given"
                raise NetwrightError(problem, fix)
        elif given is None:
            value = "…" if kind == "data" else f"{own[kind]}(…)"
            fix = f"pass it again, in Python: {call}, {kind}={value})"
            raise NetwrightError(f"this run {USED[kind]} your own {own[kind]}", fix)
        elif kind != "data" and type(given).__name__ != own[kind]:
            problem = f"this run {USED[kind]} your own {own[kind]}, and {type(given).__name__} is given"
            raise NetwrightError(problem, f"pass it again: {call}, {kind}={own[kind]}(…))")


def go_on(run: Run, memory: Memory, before: Before) -> None:
    """Put a run where it stopped.

    Args:
        run: newly assembled.
        memory: what its checkpoint holds.
        before: what it was, and how many epochs it is to have in all.

    Raises:
        NetwrightError: the checkpoint is of another network, or the run is to be extended to less than it has done.
    """
    put_back(run, memory)
    extend = before.extend
    if extend is not None and extend <= run.epoch:
        done = f"this run has done {run.epoch} epochs already"
        raise NetwrightError(f"{done}, which --extend {extend} does not exceed", f"give at least {run.epoch + 1}")
    if extend is not None or _was_overruled(before.record, run.step):
        overrule(run)


def put_back(run: Run, memory: Memory) -> None:
    """Give a run what its checkpoint holds.

    Raises:
        NetwrightError: it is of another network, optimiser or set of tricks.
    """
    try:
        run.recall(memory)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).split("\n")[0]
        problem = f"the checkpoint does not fit this network, optimiser or these tricks ({reason})"
        raise NetwrightError(problem, "pass the same objects to fit as when the run began") from error


def overrule(run: Run) -> None:
    """Let a run go on that had been stopped: whoever asks for more has overruled what stopped it."""
    if not run.stopped:
        return
    run.stopped = ""
    for trick in run.tricks.at("overruled"):
        trick.overruled(run)


def resumed(
    run: Run, memory: Memory, then: Mapping[str, Any], now: Mapping[str, Any], *, repeats: bool
) -> ResumedRecord:
    """What a run's record keeps of its being resumed, but for checkpoints that were left out.

    Args:
        run: as it goes on.
        memory: what its checkpoint holds.
        then: the conditions that the checkpoint was written under.
        now: those of this process.
        repeats: whether the same seeds give the same training pictures.
    """
    overruled = {"stopped": [memory["stopped"], ""]} if memory["stopped"] and not run.stopped else {}
    drawn = {} if repeats else {"dataset": ["at one draw", "at another, which no seed reaches"]}
    differs = plain(otherwise(then, now) | overruled | drawn)
    exact = not differs and run.profile.device.type == "cpu"
    return {"step": run.step, "exact": exact, "differs": differs, "skipped": []}


def conditions(record: Mapping[str, Any]) -> dict[str, Any]:
    """How a run is computed: what decides how numbers round, and what of the recipe may become another.

    A checkpoint keeps them, since a run may be resumed in another way and end before it has written one.

    Args:
        record: a run's, or its "recipe", "device" and "versions".
    """
    device, recipe = record.get("device", {}), record.get("recipe", {})
    rounding = {"processor" if name == "name" else name: device[name] for name in ROUNDING if name in device}
    return {name: recipe[name] for name in MAY_DIFFER if name in recipe} | rounding | record.get("versions", {})


def otherwise(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What is not as it was of two conditions, by name: then and now."""
    return {name: [then[name], now[name]] for name in then if name in now and then[name] != now[name]}


def told(run: Run, found: ResumedRecord) -> list[str]:
    """The same in words for a user, one sentence an entry."""
    words = [f"checkpoint {name} is left out, and the run goes on from an older one" for name in found["skipped"]]
    words.append(f"goes on from step {found['step']} of {run.steps}, {_how(found)}")
    if "epochs" in found["differs"]:
        words.append(_extended(run, *found["differs"]["epochs"]))
    elif run.epoch >= run.epochs or run.stopped:
        words.append("it had been trained to its end and is only evaluated again; --extend EPOCHS trains it for longer")
    return words


def _how(found: ResumedRecord) -> str:
    if found["exact"]:
        return "bit for bit as if it had not been stopped"
    differs = listed(f"{name} was {then} and is {now}" for name, (then, now) in found["differs"].items())
    return f"but not bit for bit as if it had not been stopped: {differs or 'a GPU may add up in another order'}"


def _extended(run: Run, then: int, now: int) -> str:
    """What longer training does to the learning rate."""
    rates: list[float] = []
    for epochs in (then, now):
        run.epochs = epochs
        rates.append(run.rate)
    return (
        f"{now} epochs instead of {then}: schedule and tricks go on as at this step of a run of {now} epochs; "
        f"the learning rate goes from {rates[0]:.3g} to {rates[1]:.3g}"
    )


def _changed(then: Recipe, now: Recipe) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (getattr(then, name), getattr(now, name)) for name in FIELDS}
    return {name: (before, asked) for name, (before, asked) in pairs.items() if before != asked}


def _was_overruled(record: Mapping[str, Any], step: int) -> bool:
    """Whether the run was extended at this step, and ended before it wrote another checkpoint."""
    return any("stopped" in entry["differs"] for entry in record.get("resumed", []) if entry["step"] == step)


def _data_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the records tell of the difference between two states of some data."""
    words = _classes_changes(then.get("classes", []), now.get("classes", []))
    before, after = then.get("splits", {}), now.get("splits", {})
    for split in dict.fromkeys([*before, *after]):
        words += _split_changes(split, before.get(split), after.get(split))
    closed = {row["name"] for row in now.get("quarantined", [])} - {row["name"] for row in then.get("quarantined", [])}
    words += [f"cannot be read any more: {listed(sorted(closed), 3)}"] if closed else []
    shapes = [name for name in ("channels", "image_size") if then.get(name) != now.get(name)]
    words += [f"{name} was {then.get(name)} and is {now.get(name)}" for name in shapes]
    return words or ["as many pictures of each class, but other names, contents or labels"]


def _classes_changes(then: list[str], now: list[str]) -> list[str]:
    gone, new = [name for name in then if name not in now], [name for name in now if name not in then]
    words = [f"classes gone: {listed(gone)}"] if gone else []
    words += [f"new classes: {listed(new)}"] if new else []
    return words or (["the classes stand in another order"] if then != now else [])


def _split_changes(name: str, then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    if then is None or now is None:
        return [f"there was no {name} split"] if then is None else [f"there is no {name} split"]
    before, after = then.get("per_class", {}), now.get("per_class", {})
    pairs = {label: (count, after.get(label, 0)) for label, count in before.items()}
    words = [f"{name}/{label} had {was} pictures and has {has}" for label, (was, has) in pairs.items() if was != has]
    different = [f"{name} had {then.get('n')} pictures and has {now.get('n')}"] if then.get("n") != now.get("n") else []
    return words or different
