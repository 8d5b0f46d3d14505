"""The sections about where a result comes from: data, recipe, machine. One function each."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.report.html import Html, join, note, section, tag
from netwright.report.reading import Reading
from netwright.report.tables import SOURCES, facts, long_table, recipe_table, table
from netwright.report.words import count, moment, plural, setting, size, split_name


def data(reading: Reading) -> Html:
    """The splits, the balance of the classes, and what was left out."""
    record: Mapping[str, Any] = reading.at("data") or {}
    if not record:
        return section("data", "Data", note("The record says nothing about the data."))
    geometry = _cropping(record) if reading.masked else _preprocessing(record)
    parts = (_splits(record), geometry, _balance(reading), _quarantine(record), _notes(record))
    return section("data", "Data", *parts)


def recipe(reading: Reading) -> Html:
    """Every choice, and who made it."""
    chosen: Mapping[str, Any] = reading.at("recipe") or {}
    if not chosen:
        return section("recipe", "Recipe", note("The record holds no recipe."))
    says = note("Values in bold are your own; they always win over everything else.")
    return section("recipe", "Recipe", says, _tricks(reading), recipe_table(chosen, reading.at("sources") or {}))


def machine(reading: Reading) -> Html:
    """What to know to run it again."""
    command = reading.at("command")
    parts = (
        tag("pre", tag("code", command), tabindex="0", role="region", aria_label="Command") if command else None,
        _identity(reading),
        _device(reading.at("device") or {}),
        _versions(reading.at("versions") or {}),
        _resumed(reading.at("resumed") or []),
    )
    return section("machine", "To run it again", *parts)


def _splits(record: Mapping[str, Any]) -> Html:
    splits: Mapping[str, Any] = record.get("splits") or {}
    sizes = {split_name(name): plural(split.get("n") or 0, "image") for name, split in splits.items()}
    return facts({"name": record.get("name"), "classes": count(len(record.get("classes") or [])), **sizes})


def _preprocessing(record: Mapping[str, Any]) -> Html:
    stored = record.get("stored_size")
    return facts(
        {
            "image size": size(record.get("image_size")),
            "stored as": size(stored) if stored != record.get("image_size") else None,
            "fit": record.get("fit"),
            **_values(record),
        }
    )


def _cropping(record: Mapping[str, Any]) -> Html:
    """Images with masks keep their sizes: the network is trained on crops, and judged on whole images."""
    sizes = [size(each) for each in record.get("sizes") or []]
    fields = {
        "size of images": " to ".join(dict.fromkeys(sizes)),
        "crop in training": size(record.get("image_size")),
        **_values(record),
    }
    return facts(fields)


def _values(record: Mapping[str, Any]) -> dict[str, object]:
    return {
        "channels": record.get("channels"),
        "mean": _numbers(record.get("mean")),
        "standard deviation": _numbers(record.get("std")),
    }


def _numbers(values: Sequence[float] | None) -> str | None:
    return ", ".join(f"{value:.3f}" for value in values) if values else None


def balance(per_class: Mapping[str, Mapping[str, int]], names: Sequence[str] = ()) -> Html:
    """How many images each class has in each split, as bars; without names all classes that are counted."""
    names = names or list(next(iter(per_class.values())))
    bars = [_bars([each.get(name, 0) for name in names]) for each in per_class.values()]
    rows = [(tag("bdi", name), *each) for name, *each in zip(names, *bars, strict=True)]
    return long_table(("class", *(split_name(name) for name in per_class)), rows, caption="Images by class")


def _balance(reading: Reading) -> Html | None:
    splits: Mapping[str, Any] = reading.at("data", "splits") or {}
    counted = {name: split["per_class"] for name, split in splits.items() if split.get("per_class")}
    return balance(counted, reading.classes) if counted else None


def _bars(counts: Sequence[int]) -> list[Html]:
    # Each split has its own scale: what matters is whether the splits are alike, not that one is smaller.
    most = max(1, *counts)
    return [tag("span", tag("i", style=f"--share:{n / most:.3f}"), count(n), class_="bar") for n in counts]


def _quarantine(record: Mapping[str, Any]) -> Html | None:
    left_out: Sequence[Mapping[str, Any]] = record.get("quarantined") or []
    if not left_out:
        return note("No file was left out.")
    rows = [(tag("bdi", each.get("name", "?")), each.get("reason", "")) for each in left_out]
    files = plural(len(rows), "file was", "files were")
    return long_table(("file", "reason"), rows, caption=f"{files} left out")


def _notes(record: Mapping[str, Any]) -> Html | None:
    notes: Sequence[str] = record.get("notes") or []
    return tag("ul", *(tag("li", each) for each in notes), class_="notes") if notes else None


def _tricks(reading: Reading) -> Html:
    tricks: Sequence[Mapping[str, Any]] = reading.at("tricks") or []
    if not tricks:
        return note("No trick was on.")
    rows = [(each.get("name", "?"), tag("code", each.get("spec", "")), _chosen(each)) for each in tricks]
    return table(("trick", "as written", "chosen by"), rows, caption="Tricks that were on", class_="recipe")


def _chosen(trick: Mapping[str, Any]) -> Html | str:
    source = str(trick.get("source", ""))
    return tag("strong", SOURCES[source], class_="user") if source == "user" else SOURCES.get(source, source)


def _identity(reading: Reading) -> Html:
    git: Mapping[str, Any] = reading.at("git") or {}
    commit = str(git.get("commit") or "")[:12]
    return facts(
        {
            "model": reading.at("model", "spec") or reading.at("model", "name"),
            "seed": setting(reading.at("seed")),
            "recipe key": str(reading.at("key") or "")[:12],
            "data fingerprint": str(reading.at("data", "fingerprint") or "")[:12],
            "git commit": f"{commit}, with changes" if commit and git.get("dirty") else commit,
            "started": moment(reading.at("created")),
            "ended": moment(reading.at("finished")),
        }
    )


def _device(device: Mapping[str, Any]) -> Html:
    what = facts(
        {
            "device": device.get("name") or device.get("device"),
            "precision": device.get("precision"),
            "memory format": device.get("memory_format"),
            "threads": device.get("threads"),
        }
    )
    why = [tag("li", each) for each in device.get("why") or []]
    return join(what, tag("ul", *why, class_="notes") if why else None)


def _resumed(times: Sequence[Mapping[str, Any]]) -> Html | None:
    """Where the run was taken up again, and whether that was exact."""
    if not times:
        return None
    rows = [(setting(each.get("step")), "bit for bit" if each.get("exact") else "no", _differs(each)) for each in times]
    return table(("at step", "exact", "what was another, then and now"), rows, caption="Resumed", class_="recipe")


def _differs(resumed: Mapping[str, Any]) -> str:
    pairs: Mapping[str, Sequence[Any]] = resumed.get("differs") or {}
    words = [f"{name}: {then}, {now}" for name, (then, now) in pairs.items()]
    return "; ".join([*words, *(f"left out {name}" for name in resumed.get("skipped") or [])])


def _versions(versions: Mapping[str, Any]) -> Html | None:
    return note(" · ".join(f"{name} {version}" for name, version in versions.items())) if versions else None
