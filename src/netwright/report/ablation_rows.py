"""What an ablation trained: every row with what it reached and took, run by run, and what could not be trained."""

from netwright.report.ablation_method import epochs_differ
from netwright.report.ablation_terms import (
    LOSS,
    Found,
    Scale,
    failures,
    finite,
    in_bytes,
    interval_of,
    run_time,
)
from netwright.report.html import Html, join, note, section, tag
from netwright.report.tables import long_table, table
from netwright.report.words import UNKNOWN, metric_name, setting

SPEC = ("model", "optimizer", "schedule", "tricks", "epochs", "batch_size")


def rows_section(found: Found) -> Html:
    """Tables of rows, of runs and of recipes."""
    rows = _trained(found)
    scale, seeds = Scale.of(found), [str(seed) for seed in found.get("seeds") or []]
    each = [[display_name(row["name"]), *_by_seed(row, len(seeds), scale)] for row in rows]
    by_seed = long_table(["row", *(f"seed {seed}#" for seed in seeds)], each, caption="Each run")
    recipes = [[row["name"], *(setting((row.get("spec") or {}).get(name)) for name in SPEC)] for row in rows]
    specs = table(["row", *(name.replace("_", " ") for name in SPEC)], recipes, caption="Recipes", class_="dense")
    folded = tag("details", tag("summary", "The recipe of each row"), specs)
    return section("rows", "What was trained", _reached(found), *_notes(found), by_seed, folded)


def display_name(name: str, least: int = 17) -> Html:
    """A name that is not broken in the middle of a word where the column could be wider."""
    return tag("bdi", name, style=f"display: block; min-width: {min(len(name), least)}ch")


def _reached(found: Found) -> Html:
    """What each row reached and took; columns that are the same for all rows are left out."""
    rows = _trained(found)
    metric = metric_name(found.get("metric", "accuracy"))
    heads = ["row", "what is another", "seeds#", "epochs#", f"{metric}#", "loss#", "calibration error#"]
    heads += ["run#", "images/s#", "memory#", "updates#"]
    # Names of a factorial's rows say what is on, and those of most others what is another.
    named = found["kind"] == "factorial" or all(row.get("changes") in (None, [], [row["name"]]) for row in rows)
    left_out = {"what is another"} if named else set[str]()
    left_out |= set() if _seeds_differ(found) else {"seeds#"}
    left_out |= set() if epochs_differ(found) else {"epochs#"}
    kept = [place for place, head in enumerate(heads) if head not in left_out]
    cells = [_cells(row, Scale.of(found)) for row in rows]
    shown = [[row[place] for place in kept] for row in cells]
    return long_table([heads[place] for place in kept], shown, caption="Means over seeds, 95 % intervals")


def _notes(found: Found) -> list[Html]:
    """What the table cannot say: other seeds, runs that ended early, rows that are missing."""
    rows = _trained(found)
    said = ["Rows have different numbers of seeds; effects compare only the seeds that their rows share."]
    notes = [note(words) for words in (said if _seeds_differ(found) else [])]
    early = [f"{row['name']}: {', '.join(map(str, row['stopped']))}" for row in rows if row.get("stopped")]
    notes += [note(f"Ended early: {'; '.join(early)}.")] if early else []
    failed = [tag("li", tag("bdi", name), f": {reason}") for name, reason in failures(found)]
    return [*notes, join(tag("h3", "Not trained"), tag("ul", *failed, class_="notes"))] if failed else notes


def _trained(found: Found) -> list[Found]:
    return [row for row in found["rows"] if not row.get("failed")]


def _seeds_differ(found: Found) -> bool:
    return len({row.get("n") for row in _trained(found)}) > 1


def _cells(row: Found, scale: Scale) -> list[object]:
    changes = ", ".join(map(str, row.get("changes") or [])) or UNKNOWN
    error = row.get("calibration") or {}
    low, high = error.get("interval") or (None, None)
    calibration = interval_of({"value": error.get("value"), "low": low, "high": high})
    rate = f"{row['images_per_second']:,.0f}" if finite(row.get("images_per_second")) else UNKNOWN
    loss = LOSS.level(interval_of(row.get("loss")))
    cells = (scale.level(interval_of(row.get("accuracy"))), loss, Scale(100.0, 1, "points").level(calibration))
    took = (run_time(row.get("seconds")), rate, in_bytes(row.get("memory")))
    seeds, epochs, steps = (f"{row[name]:g}" if finite(row.get(name)) else UNKNOWN for name in ("n", "epochs", "steps"))
    return [display_name(row["name"]), changes, seeds, epochs, *cells, *took, steps]


def _by_seed(row: Found, seeds: int, scale: Scale) -> list[str]:
    values = list(row.get("by_seed") or [])[:seeds]
    return [scale.number(value) for value in [*values, *[None] * (seeds - len(values))]]
