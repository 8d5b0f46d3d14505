"""What runs have different: recipe, data, network, machine and versions, with who chose it."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.core.spec import Spec
from netwright.report.words import setting

DATA = ("name", "fingerprint", "image_size", "stored_size", "fit", "channels", "mean", "std")
NETWORK = ("params", "macs")
MACHINE = ("device", "name", "precision", "memory_format", "threads", "capability")
SHORT = 12  # of a hash
Place = tuple[str, str]  # kind and field
Part = tuple[str, str]  # the value in words, and who chose it
ABSENT = ("none", "")


def differences(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of kind, field, values by label, and who chose them; of several runs every value is named.

    Args:
        records: those of an arm's runs, by its label.
    """
    parts = {label: [_parts(record) for record in held] for label, held in records.items()}
    rows: list[dict[str, Any]] = []
    for place in dict.fromkeys(place for held in parts.values() for part in held for place in part):
        values = {
            label: list(dict.fromkeys(part.get(place, ABSENT)[0] for part in held)) for label, held in parts.items()
        }
        if len({tuple(sorted(each)) for each in values.values()}) > 1:
            shown = {label: ", ".join(each) for label, each in values.items()}
            sources = {label: held[0].get(place, ABSENT)[1] for label, held in parts.items()}
            rows.append({"kind": place[0], "field": place[1], "values": shown, "sources": sources})
    return rows


def _parts(record: Mapping[str, Any]) -> dict[Place, Part]:
    """All that two runs may have different."""
    found = _recipe(record["recipe"], record.get("sources") or {})
    found |= {("own", name): (str(value), "user") for name, value in (record.get("own") or {}).items()}
    data: Mapping[str, Any] = record.get("data") or {}
    found |= _chosen("data", data, DATA)
    found |= {
        ("data", f"{side} pictures"): (setting(held.get("n")), "") for side, held in (data.get("splits") or {}).items()
    }
    found |= _chosen("network", record.get("model") or {}, NETWORK)
    found["training", "stopped"] = ((record.get("result") or {}).get("stopped") or "no", "")
    found["training", "resumed"] = (str(len(record.get("resumed") or [])), "")
    found |= _chosen("machine", record.get("device") or {}, MACHINE)
    found |= {("version", name): (str(value), "") for name, value in (record.get("versions") or {}).items()}
    git: Mapping[str, Any] = record.get("git") or {}
    changed = " with changes" if git.get("dirty") else ""
    return found | {("version", "commit"): (f"{str(git.get('commit', 'none'))[:SHORT]}{changed}", "")}


def _recipe(recipe: Mapping[str, Any], sources: Mapping[str, str]) -> dict[Place, Part]:
    found: dict[Place, Part] = {}
    for field, value in recipe.items():
        if field == "tricks":
            specs = {Spec.parse(text).name: text for text in value}
            found |= {("trick", name): (text, sources.get(f"tricks.{name}", "")) for name, text in specs.items()}
        elif field != "name":
            inner = {name.partition(".")[2]: who for name, who in sources.items() if name.startswith(f"{field}.")}
            chosen = [sources.get(field, ""), *(f"{name}: {who}" for name, who in inner.items() if who != "recipe")]
            found["recipe", field] = setting(value), "; ".join(filter(None, chosen))
    return found


def _chosen(kind: str, held: Mapping[str, Any], fields: Sequence[str]) -> dict[Place, Part]:
    shown = {name: setting(held.get(name)) for name in fields}
    return {(kind, name): (text[:SHORT] if name == "fingerprint" else text, "") for name, text in shown.items()}
