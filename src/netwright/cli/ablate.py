"""`netwright ablate`: which trick helps here, and how sure that is."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.cli._columns import columns
from netwright.core.errors import NetwrightError, listed

if TYPE_CHECKING:
    from netwright.lab.plan import Plan
    from netwright.recipes._recipe import Recipe

UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

Seeds = Annotated[
    int | None,
    typer.Option(min=1, help="Runs of each arm. [default: what the budget holds, or 8]"),
]
Budget = Annotated[str | None, typer.Option(metavar="TIME", help="That all runs may take: 45m, 2h.")]
On = Annotated[str, typer.Option(help="local, ray (a cluster on this machine), or ray://HOST:10001.")]
Processes = Annotated[
    int | None, typer.Option(min=1, help="Runs beside each other. [default: one for each core, if memory allows]")
]
Gpus = Annotated[float, typer.Option(min=0, help="With Ray: GPUs of each run, 0.25 for four runs on one.")]
Store = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Run store: postgresql+psycopg://… [default: runs.db in the output folder]"),
]


def ablate(
    path: options.Path_ = None,
    recipe: options.Recipe = None,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="The recipe without each of its tricks in turn. The default.")
    ] = False,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="The recipe without tricks, and with each of them alone.")
    ] = False,
    factorial: Annotated[
        str | None, typer.Option(metavar="2^(K-P)", help="Tricks together, to see interactions: full, or 2^(6-2).")
    ] = None,
    arms: Annotated[
        list[str] | None,
        typer.Option(help='Arms of your own: "mixup(alpha=8); without ema + lr=0.01; schedule=constant".'),
    ] = None,
    tricks: Annotated[
        str | None,
        typer.Option(help='Which tricks: "mixup, ema, schedule". [default: the recipe\'s, and its schedule]'),
    ] = None,
    seeds: Seeds = None,
    budget: Budget = None,
    until_resolved: Annotated[
        bool, typer.Option("--until-resolved", help="Add seeds where they are worth most, until all is resolved.")
    ] = False,
    most_seeds: Annotated[int, typer.Option(min=2, help="That --until-resolved may come to.")] = 24,
    equal: Annotated[str, typer.Option(help="What is the same for all arms: epochs, steps or time.")] = "epochs",
    margin: Annotated[
        float, typer.Option(help="A difference that would not matter: 0.01 is a point, or a dB of PSNR.")
    ] = 0.01,
    test: Annotated[str, typer.Option(help="auto, sign_flip or t; see the page on how the lab decides.")] = "auto",
    split: Annotated[str, typer.Option(help="Where runs are measured: test or val.")] = "test",
    plan_only: Annotated[bool, typer.Option("--plan", help="Say what would be trained, and train nothing.")] = False,
    on: On = "local",
    processes: Processes = None,
    gpus: Gpus = 0.0,
    store: Store = None,
    model: options.Model = None,
    weights: options.Weights = None,
    transfer: options.Transfer = None,
    optimizer: options.Optimizer = None,
    schedule: options.Schedule = None,
    with_: options.With = None,
    without: options.Without = None,
    set_: options.Set = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Rate = None,
    image_size: options.ImageSize = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    device: options.Device = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for results.")] = Path("ablation"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Find out which trick helps on your pictures: paired seeds, intervals, and a verdict for each.

    The same command goes on where it was stopped, and runs that are finished are not repeated.
    """
    fields = ("model", "weights", "optimizer", "schedule", "epochs", "batch_size", "lr", "image_size", "seed", "device")
    given = (model, weights, optimizer, schedule, epochs, batch_size, lr, image_size, seed, device)
    changes = options.changes(dict(zip(fields, given, strict=True)), set_)
    chosen = options.chosen_recipe(path, recipe, changes, with_, without, transfer)
    kind = kind_of(leave_one_out=leave_one_out, one_at_a_time=one_at_a_time, factorial=factorial, arms=arms)
    plan = plan_of(kind, chosen, tricks, factorial, arms)
    seconds = None if budget is None else seconds_of(budget)

    from netwright.lab.ablate import Wanted, Where

    wanted: dict[str, Any] = {"seeds": seeds, "budget": seconds, "equal": equal, "margin": margin, "test": test}
    wanted |= {"split": split, "until_resolved": until_resolved, "most_seeds": most_seeds}
    where = Where(on=on, processes=processes, gpus=gpus, store=store)
    _run(plan, Wanted(**wanted), where, output, plan_only=plan_only, as_json=as_json)


def kind_of(**given: Any) -> str:
    """The one kind of plan that was asked for.

    Raises:
        NetwrightError: more than one.
    """
    asked = [name for name, value in given.items() if value]
    if len(asked) > 1:
        flags = [f"--{name.replace('_', '-')}" for name in asked]
        raise NetwrightError(f"{listed(flags)} are different plans", "give one of them")
    return asked[0] if asked else "leave_one_out"


def plan_of(kind: str, recipe: "Recipe", tricks: str | None, factorial: str | None, arms: list[str] | None) -> "Plan":
    """The plan of a kind; pure, so that mistakes are told at once.

    Raises:
        NetwrightError: whatever the plan refuses.
    """
    from netwright.lab import plan

    if kind == "arms":
        if tricks:
            raise NetwrightError("--tricks and --arms both say what is compared", "leave one of them out")
        return plan.named_arms(recipe, arms or [])
    if kind == "factorial":
        return plan.factorial(recipe, tricks, fraction=factorial or "full")
    return plan.leave_one_out(recipe, tricks) if kind == "leave_one_out" else plan.one_at_a_time(recipe, tricks)


def seconds_of(text: str) -> float:
    """A time as people write it, in seconds: 90s, 45m, 2h, 1h30m.

    Raises:
        NetwrightError: it is none.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if not parts or "".join(number + unit for number, unit in parts) != re.sub(r"\s", "", text.lower()):
        raise NetwrightError(f"cannot read the time {text!r}", "write it as 90s, 45m, 2h or 1h30m")
    unknown = [unit for _, unit in parts if unit not in UNITS]
    if unknown:
        raise NetwrightError(f"{unknown[0]!r} is no unit of time", "use s, m, h or d, as in 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def _run(plan: "Plan", wanted: Any, where: Any, output: Path, *, plan_only: bool, as_json: bool) -> None:
    """Say the plan first, then train; torch is imported here."""
    from netwright.lab.ablate import carry_out, foreseen, prepare

    told = options.silent if as_json else typer.echo
    prepared = prepare(plan, wanted, where, output, told)
    for line in foreseen(prepared):
        told(line)
    if plan_only:
        if as_json:
            typer.echo(json.dumps(prepared.to_json(), ensure_ascii=False))
        return
    found = carry_out(prepared, where, output, told, command=shlex.join(["netwright", *sys.argv[1:]]))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _conclude(found, output)


def _conclude(found: dict[str, Any], output: Path) -> None:
    """The effects, what they say, and where the rest is."""
    from netwright.report.ablation import rows_of, words

    for line in ["", *columns(rows_of(found)), "", *words(found)]:
        typer.echo(line)
    typer.echo(f"report: {output / 'ablation.html'}; numbers: {output / 'ablation.json'}")
