"""Arms: recipes under names, how a user writes what differs in them, and the command that trains one alone."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.spec import Spec, literal
from netwright.models import check_model, summaries
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.recipes import RECIPES
from netwright.recipes._recipe import FIND, NOT_IN_KEY, OPEN, Recipe, recipe, recipe_for
from netwright.tricks import TRICKS

if TYPE_CHECKING:  # torch comes with it, which a mistake in a word must not wait for
    from netwright.engine.trick import Trick

BASELINE = "baseline"
JOINED = " + "
EXAMPLE = '--arms "mixup(alpha=8); without flip + lr=0.01; tuned: schedule=constant"'
ASSIGNED = re.compile(r"([A-Za-z_]\w*)\s*=\s*(.*)", re.DOTALL)
NAMED = re.compile(r"([^=()\[\]{}'\":]*):(.*)", re.DOTALL)  # a colon after "=" or a bracket belongs to a value
REMOVED = re.compile(r"(?:without\b|-)\s*(.*)", re.DOTALL)
EXPONENT = re.compile(r"(?<![\w.])[\d.]+[eE]$")
CLOSING = {"(": ")", "[": "]", "{": "}"}

# Fields in which arms may not differ, and what to do instead.
HELD_OUT = "arms are compared on the same pictures; give it for all of them: {flag}"
MEANT = "arms are compared on the same masks, read in the same way; give it for all of them: {flag}"
WHERE = "where and how fast runs are computed is the same for all arms; give it for all of them: {flag}"
REFUSED = {
    **dict.fromkeys(("data", "group", "quarantine", "val_fraction", "test_fraction"), HELD_OUT),
    **dict.fromkeys(("masks", "legend", "ignore"), MEANT),
    **dict.fromkeys(("device", "threads", "workers", "gate"), WHERE),
    "task": "arms are compared by what the same task measures; give it for all of them: {flag}",
    "seed": "every arm is trained with the same seeds; say how many: --seeds 8",
    "tricks": "write tricks themselves: mixup(alpha=0.4) + without flip",
    "name": "a name goes before the changes: tuned: lr=0.01",
}
# What another named recipe brings; the pictures, the network and how long it trains stay the baseline's.
BROUGHT = ("optimizer", "schedule", "batch_size", "normalise", "non_finite")
FLAGS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "model", "weights", "optimizer", "schedule", "epochs", "batch_size", "image_size", "group", "quarantine",
        "seed", "device", "workers",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """A recipe under a name.

    Attributes:
        name: as tables show it.
        recipe: what is trained, but for the seed.
        changes: how it differs from the recipe that it was made from, in words.
    """

    name: str
    recipe: Recipe
    changes: tuple[str, ...] = ()


@dataclass
class _Changes:
    """What one arm says, sorted: another recipe first, then fields, tricks that are added, and those left out."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    added: dict[str, str] = field(default_factory=dict[str, str])
    removed: list[str] = field(default_factory=list[str])

    def applied(self, base: Recipe) -> Recipe:
        """The recipe of the arm."""
        fields = dict(self.fields)
        named = fields.pop("recipe", None)
        start = base if named is None else _as_in(base, str(named))
        return start.changed(**fields).with_(*self.added.values()).without(*self.removed)

    def refuse_second(self, name: str) -> None:
        """One arm says one thing about a field or a trick."""
        if name in (*self.fields, *self.added, *self.removed):
            raise NetwrightError(f"{name} is changed twice", "change it once in each arm")


def read_arms(base: Recipe, texts: str | Sequence[str]) -> list[Arm]:
    """Arms as a user writes them: `a; b; c`, each of changes joined by ` + `, perhaps with a name before a colon.

    A change is a trick, which is added or replaces the one of that name (`mixup(alpha=8)`); `without NAME` or `-NAME`;
    `field=value` for a recipe's field or `lr`; or `recipe=NAME`, which trains as that recipe does, on the same
    pictures, with the same network, for as many epochs. Values are literals; nothing is executed.

    Args:
        base: that the arms differ from.
        texts: one or several such texts.

    Raises:
        NetwrightError: no arms, one that cannot be read, a name given twice, or a change that arms may not differ in.
    """
    given = [texts] if isinstance(texts, str) else texts
    arms = [_arm(base, part) for text in given for part in parted(text, ";") if part]
    if not arms:
        raise NetwrightError("no arms were given", f"give some, as in {EXAMPLE}")
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1 or name == BASELINE:
            problem = f"the arm '{name}' is given twice" if name != BASELINE else f"an arm cannot be named {BASELINE}"
            raise NetwrightError(problem, "give each arm a name of its own before a colon: gentle: mixup(alpha=0.1)")
    return arms


def parted(text: str, separator: str) -> list[str]:
    """Parts of a text between separators that stand in no bracket, quotes or number (`1e+3`), without blanks around.

    Raises:
        NetwrightError: a bracket or a quote that is not closed, or closed and never opened.
    """
    parts, closing, quote, escaped = [""], "", "", False
    for letter in text:
        if letter == separator and not (quote or closing or (letter == "+" and EXPONENT.search(parts[-1]))):
            parts.append("")
            continue
        parts[-1] += letter
        if escaped or (quote and letter == "\\"):
            escaped = not escaped
        elif quote or letter in "'\"":
            quote = "" if letter == quote else quote or letter
        elif letter in CLOSING:
            closing = CLOSING[letter] + closing
        elif letter in CLOSING.values():
            if not closing.startswith(letter):
                raise NetwrightError(f"cannot read '{text.strip()}': '{letter}' closes nothing", "remove it")
            closing = closing[1:]
    if quote or closing:
        raise NetwrightError(f"cannot read '{text.strip()}': no {quote or closing[0]} at its end", "close it")
    return [part.strip() for part in parts]


def differences(one: Recipe, other: Recipe) -> tuple[str, ...]:
    """How another recipe differs from one, in words; how it is computed and what it is named do not count."""
    before, after = _tricks(one), _tricks(other)
    words = [f"with {text}" for name, text in after.items() if name not in before]
    words += [f"without {name}" for name in before if name not in after]
    words += [
        f"{after[name]} instead of {before[name]}" for name in before if after.get(name, before[name]) != before[name]
    ]
    for name in _fields(one, other):
        if name not in NOT_IN_KEY and name != "seed":
            words.append(f"{name} {getattr(other, name)} instead of {getattr(one, name)}")
    return tuple(words)


def command(arm: Arm, *, seed: int | None = None) -> str:
    """The `netwright train` line that trains an arm alone, quoted for a shell.

    Args:
        arm: the arm.
        seed: instead of the recipe's.
    """
    chosen = arm.recipe if seed is None else arm.recipe.changed("auto", seed=seed)
    base = recipe(chosen.name if chosen.name in RECIPES.names() else recipe_for(chosen.data))
    words = ["netwright", "train", chosen.data or "PATH", "--recipe", base.name]
    before, after = _tricks(base), _tricks(chosen)
    for name in _fields(base, chosen):
        if name not in ("data", "seed") and not (name in NOT_IN_KEY and chosen.sources[name] == "auto"):
            words += _flag(name, getattr(chosen, name))
    words += [word for name, text in after.items() if before.get(name) != text for word in ("--with", text)]
    words += [word for name in before if name not in after for word in ("--without", name)]
    return shlex.join([*words, "--seed", str(chosen.seed)])


def _flag(name: str, value: Any) -> list[str]:
    if name in FLAGS and value is not None:
        return [FLAGS[name], str(value)]
    return ["--set", f"{name}={value if isinstance(value, str) else repr(value)}"]


def _fields(one: Recipe, other: Recipe) -> list[str]:
    """Fields other than tricks and name in which two recipes differ."""
    every = (name for name in Recipe.model_fields if name not in ("tricks", "name"))
    return [name for name in every if getattr(one, name) != getattr(other, name)]


def _tricks(of: Recipe) -> dict[str, str]:
    return {Spec.parse(text).name: text for text in of.tricks}


def _arm(base: Recipe, text: str) -> Arm:
    named = NAMED.fullmatch(text)
    name, body = (named[1].strip(), named[2]) if named else ("", text)
    if named and not name:
        raise NetwrightError(f"the arm '{text}' has no name before its colon", "write one, or leave the colon out")
    try:
        changes = _Changes()
        said = [_read(part, changes) for part in parted(body, "+")]
        arm = changes.applied(base)
    except NetwrightError as error:
        raise NetwrightError(f"arm '{text}': {error.problem}", error.fix) from None
    return Arm(name or JOINED.join(said), arm, differences(base, arm))


def _read(part: str, changes: _Changes) -> str:
    """One change, into the list of its kind; in its one spelling."""
    if not part:
        raise NetwrightError("a change is missing", f"join changes by '{JOINED}', as in {EXAMPLE}")
    if assigned := ASSIGNED.fullmatch(part):
        name, value = assigned.groups()
        _refuse_field(name, value)
        changes.refuse_second(name)
        changes.fields[name] = literal(value)
        return f"{name}={value}"
    if removed := REMOVED.fullmatch(part):
        name = removed[1].strip()
        _refuse_several(name)
        changes.refuse_second(name)
        changes.removed.append(name)
        return f"without {name}"
    spec = Spec.parse(re.sub(r"^with\s+", "", part))
    refuse_unknown_trick(spec)
    changes.refuse_second(spec.name)
    changes.added[spec.name] = str(spec)
    return str(spec)


def _refuse_field(name: str, value: str) -> None:
    if name in REFUSED:
        flag = FLAGS.get(name, f"--set {name}=…") if name != "data" else "netwright ablate PATH"
        raise NetwrightError(f"arms cannot differ in {name}", REFUSED[name].format(flag=flag))
    allowed = [known for known in Recipe.model_fields if known not in REFUSED] + ["lr", "recipe"]
    if name not in allowed:
        raise unknown("recipe field", name, allowed)
    if not value:
        raise NetwrightError(f"{name} has no value", f"write {name}=VALUE")


def _refuse_several(name: str) -> None:
    if not name or re.search(r"[\s,]", name):
        fix = JOINED.join(f"without {word}" for word in re.split(r"[\s,]+", name or "NAME") if word)
        raise NetwrightError(f"'without {name}' does not name one trick", f"write {fix}")


def refuse_unknown_trick(spec: Spec, *also: str) -> None:
    """Refuse a name that no trick has; what it names elsewhere is said.

    Args:
        spec: that should be a trick's.
        also: what else would have done.

    Raises:
        NetwrightError: an unknown trick.
    """
    if spec.name in TRICKS.names():
        return
    elsewhere: dict[str, Iterable[str]] = {
        "schedule": SCHEDULES.names(),
        "optimizer": OPTIMIZERS.names(),
        "recipe": RECIPES.names(),
        "model": summaries(),
    }
    for kind, names in elsewhere.items():
        if spec.name in names:
            fix = f'compare it in an arm of its own: --arms "{kind}={spec}"'
            raise NetwrightError(f"'{spec.name}' is no trick: it belongs to {kind}=", fix)
    raise unknown("trick", spec.name, [*TRICKS.names(), *also], see="netwright list tricks")


def _as_in(base: Recipe, name: str) -> Recipe:
    """The baseline's pictures, network and epochs, trained as another named recipe does; what a user fixed stays.

    Raises:
        NetwrightError: no such recipe.
    """
    if name not in RECIPES.names():
        raise unknown("recipe", name, RECIPES.names(), see="netwright list recipes")
    other, sources = recipe(name), base.sources
    brought = {each: getattr(other, each) for each in BROUGHT if sources[each] != "user"}
    if sources.get("optimizer.lr") == "user" and "optimizer" in brought:
        rate = Spec.parse(base.optimizer).options["lr"]
        brought["optimizer"] = str(Spec.parse(other.optimizer).with_options(lr=rate))
    given = [text for trick, text in _tricks(base).items() if sources[f"tricks.{trick}"] == "user"]
    return base.changed("recipe", name=name, tricks=other.tricks, **brought).with_(*given)


def told(base: Recipe, arms: Iterable[Arm]) -> list[str]:
    """What a user should know about arms that see pictures otherwise, or are trained for longer."""
    changed = {name for arm in arms for name in _fields(base, arm.recipe)}
    notes: list[str] = []
    if seen := sorted(changed & {"image_size", "fit", "channels", "normalise"}):
        notes.append(f"arms differ in {listed(seen)}: they are measured on the same pictures, seen otherwise")
    if changed & {"model", "weights"}:
        notes.append("arms differ in model or weights: first weights are shared only where names and shapes agree")
    if longer := sorted(changed & {"epochs", "batch_size"}):
        notes.append(
            f"arms differ in {listed(longer)}, so in how long they train; --equal steps or time evens that out"
        )
    return notes


def refuse_unfit(chosen: Recipe, kept: Iterable[str]) -> None:
    """What the cards of tricks, and the options of what has a name, rule out before any data is opened.

    Args:
        chosen: the recipe of an arm.
        kept: names of the tricks of the user's own recipe, which an arm may leave out.

    Raises:
        NetwrightError: options that there are not, tricks that exclude each other or do not fit the task or weights.
    """
    from netwright.engine.trick import refusal  # brings torch along, as every trick does

    tricks: list[Trick] = [TRICKS.build(text) for text in chosen.tricks]
    for trick in tricks:
        for other in trick.card.excludes:
            if any(other == each.name for each in tricks):
                raise _clash(trick.name, other, kept)
        if (task := Spec.parse(chosen.task).name) not in trick.card.tasks:
            fix = f"it is for {listed(trick.card.tasks)}; leave it out"
            raise NetwrightError(refusal(trick, task), fix)
        if chosen.weights and trick.card.fresh and not _neutral(trick):
            fix = f"leave out --weights, or {trick.name}"
            raise NetwrightError(f"{trick.name} would undo the weights from {chosen.weights}", fix)
    optimizer = Spec.parse(chosen.optimizer)
    OPTIMIZERS.build(Spec(optimizer.name, {k: v for k, v in optimizer.options.items() if (k, v) != ("lr", FIND)}))
    SCHEDULES.build(chosen.schedule)
    if chosen.model != OPEN["model"]:
        check_model(chosen.model, Spec.parse(chosen.task).name)


def _clash(one: str, other: str, kept: Iterable[str]) -> NetwrightError:
    """Two tricks that exclude each other; one that the user's recipe brought is the one to leave out."""
    brought = [name for name in (other, one) if name in kept]
    fix = "they can be compared: --one-at-a-time, with both in --tricks"
    if brought:
        old, new = (other, one) if brought[0] == other else (one, other)
        fix = f'leave one out: --without {old}; or compare them: --arms "without {old} + {new}"'
    return NetwrightError(f"{one} cannot be combined with {other}", fix)


def _neutral(trick: "Trick") -> bool:
    neutral = trick.card.neutral
    return neutral is not None and all(getattr(trick, name) == value for name, value in neutral.items())
