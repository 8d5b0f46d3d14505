"""The sheet of the study of autoencoders: corrupted pictures, and what each way makes of them."""

from pathlib import Path
from typing import Any

from netwright.lab.studies._autoencoders_arms import CORRUPTIONS, PIXELS, Arm
from netwright.lab.studies._autoencoders_measure import SHOWN, Bench, as_bytes
from netwright.lab.studies._autoencoders_values import Results
from netwright.records.atomic import replacing
from netwright.report.sheet import sheet

SHEET = "corrupted.png"


def drawn_sheet(seen: Bench, results: Results, path: Path) -> dict[str, Any]:
    """Write the sheet of the first seed: a row a corrupted picture, a column for what each arm makes of it.

    Args:
        seen: the first pictures, as the first seed corrupts them.
        results: what arms made of them.
        path: of the picture.

    Returns:
        `file` and what stands below it.
    """
    shown = [arm for arm in results.arms if _drawn(arm, results)]
    clean = as_bytes(seen.clean[:SHOWN])
    rows: list[list[Any]] = []
    names: list[str] = []
    for kind in CORRUPTIONS:
        noisy = as_bytes(seen.noisy[kind][:SHOWN])
        for place in range(len(clean)):
            made = [results.by_arm[arm.name][0].shown[kind][place] for arm in shown]
            rows.append([clean[place], noisy[place], *made])
            names.append(kind.replace("_", " "))
    path.parent.mkdir(parents=True, exist_ok=True)
    heads = ["clean", "corrupted", *(arm.name for arm in shown)]
    with replacing(path) as temporary:
        sheet(rows, rows_named=names, columns_named=heads).save(temporary, format="PNG")
    says = "Test pictures, the same corrupted, and what each arm makes of the corrupted one, with the first seed."
    return {"file": path.name, "caption": says}


def _drawn(arm: Arm, results: Results) -> bool:
    """Whether it makes pictures; of principal components only the most."""
    if arm.name == PIXELS or not results.by_arm[arm.name][0].shown:
        return False
    return arm.group != "control" or arm.latent == max(each.latent for each in results.arms)
