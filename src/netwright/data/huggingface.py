"""Data sets of Hugging Face's library `datasets`, from its hub or a folder; pictures are handed over undecoded.

This module is the door to that library, which takes seconds to import.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.spec import Spec
from netwright.data.arrow import class_numbers, missing
from netwright.data.assign import SPLITS
from netwright.data.decode import UnreadableImage, read
from netwright.data.extras import optional
from netwright.data.folder import SIDES
from netwright.data.listing import NOBODY, Listing, Stamp

PREFIX = "hf:"
OPTIONS = ("config", "revision", "image", "label", *SPLITS)
IMAGES = ("image", "img", "picture", "photo", "png", "jpg")  # usual names of the columns, the most usual first
LABELS = ("label", "labels", "class", "target", "category", "cls")
FILES = ("binary", "large_binary", "string", "large_string")  # what may be cast to pictures: bytes or paths
PURPOSE = "data from Hugging Face"


@dataclass(frozen=True, eq=False)
class Rows:
    """Pictures in the rows of tables that are mapped from disk, one table after the other.

    Attributes:
        tables: data sets of one column, each cell the bytes of a file or its path.
        names: the split and the row, as `train[17]`, or `train[17].scan`.
        ends: for each table, how many rows there are up to its last.
        stamps: for each table size and time of change of its files; None where pictures are outside or in memory.
    """

    tables: Sequence[Any]
    names: Sequence[str]
    ends: NDArray[np.int64]
    stamps: Sequence[Stamp | None]
    in_memory: bool = field(default=False, init=False)

    def read(self, place: int) -> bytes:
        """A picture's file, as it was when the data set was made."""
        cell = self._cell(place)
        if cell and cell["bytes"] is not None:
            return cell["bytes"]
        if cell and cell["path"]:
            return read(cell["path"])
        raise UnreadableImage(self.names[place], "the row has no picture")

    def stamp(self, place: int) -> Stamp | None:
        """Of the files that hold the table, or of the picture's own file."""
        stamp = self.stamps[self._table(place)]
        if stamp is not None:
            return stamp
        cell = self._cell(place)
        return _stamp([cell["path"]]) if cell and cell["bytes"] is None and cell["path"] else None

    def _table(self, place: int) -> int:
        return int(np.searchsorted(self.ends, place, side="right"))

    def _cell(self, place: int) -> dict[str, Any] | None:
        number = self._table(place)
        table = self.tables[number]
        return table[place - int(self.ends[number]) + len(table)].column(0)[0].as_py()


def listing(source: str) -> Listing:
    """The pictures and labels of a data set whose splits are named as sides are.

    Args:
        source: `hf:beans` or `hf:owner/name` from the hub; `hf:folder` for a folder that `save_to_disk` wrote or that
            `load_dataset` reads. Options: `config` and `revision` as the hub has them, `image` and `label` for columns,
            and `train`, `val`, `test` for splits: `hf:owner/name(label='species', val='dev')`.

    Raises:
        NetwrightError: it cannot be loaded, or it is not clear which columns and splits are meant.
    """
    name, options = _parsed(source)
    datasets = optional("datasets", "datasets", PURPOSE, "give a folder of pictures")
    splits = _splits(_loaded(datasets, name, options), name, options)
    image = _image_column(datasets, splits, options.get("image"))
    label = _label_column(datasets, splits, options.get("label"))
    columns = {split: _column(found, label) for split, found in splits.items()}
    known = _labelled(columns, label, name)
    classes, labels = _numbers(datasets, {split: splits[split].features[label] for split in known}, known, label)
    tables = [_undecoded(datasets, splits[split], image) for split in known]
    counts = list(map(len, tables))
    # A column that was asked for is part of the name: what is known of another one's pictures is not of these.
    suffix = f".{image}" if "image" in options else ""
    names = [f"{_titled(split, name)}[{row}]{suffix}" for split, rows in known.items() for row in range(len(rows))]
    sides = [_side(split, options) for split in known]
    divided = any(side != SPLITS.index("train") for side in sides)
    return Listing(
        Path(name).name,
        name,
        classes,
        Rows(tables, names, np.cumsum(counts), [_table_stamp(table) for table in tables]),
        labels,
        np.repeat(np.array(sides if divided else [NOBODY], np.int8), counts),
        tuple(f"left out the split {split}: it has no labels" for split in splits if split not in known),
    )


def is_saved(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    single = (path / "dataset_info.json").is_file() and (path / "state.json").is_file()
    return single or (path / "dataset_dict.json").is_file()


def _parsed(source: str) -> tuple[str, Mapping[str, str]]:
    """The name or folder, and the options in brackets."""
    text = source.removeprefix(PREFIX).strip()
    if text and Path(text).expanduser().exists():
        return str(Path(text).expanduser()), {}
    name, bracket, rest = text.partition("(")
    options = Spec.parse(f"hf{bracket}{rest}").options
    for option, value in options.items():
        if option not in OPTIONS:
            raise unknown("option of hf:", option, OPTIONS)
        if not isinstance(value, str):
            raise NetwrightError(f"option {option} of '{source}' is {value!r}", f"give a word: {option}='…'")
    if not name:
        raise NetwrightError(
            f"'{source}' names no data set", "name one, as hf:beans, or a folder, as hf:path/to/folder"
        )
    return str(Path(name).expanduser()), options


def _loaded(datasets: Any, name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Every split by its name; a data set that has none is called by the empty name."""
    try:
        if is_saved(Path(name)):
            found = datasets.load_from_disk(name)
        else:
            found = datasets.load_dataset(name, options.get("config"), revision=options.get("revision"))
    except MemoryError:
        raise
    except Exception as error:  # the library raises whatever its readers stumble on
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        if Path(name).exists():
            fix = "give a folder that save_to_disk wrote, or one of parquet files"
        else:
            fix = (
                f"check its name on the hub; without a network, run load_dataset('{name}').save_to_disk('folder') "
                "where there is one, and give hf:folder"
            )
        raise NetwrightError(f"Hugging Face datasets cannot load '{name}' ({reason})", fix) from None
    return dict(found) if isinstance(found, datasets.DatasetDict) else {"": found}


def _splits(found: Mapping[str, Any], name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """The splits that are asked for, or else all; in the order of the sides, without those that are empty."""
    asked = [options[side] for side in SPLITS if side in options]
    for split in asked:
        if split not in found:
            raise unknown(f"split of {name}", split, found)
    splits = {split: found[split] for split in asked or found if len(found[split])}
    strange = [split for split in splits if split and not asked and split.lower() not in SIDES]
    if strange:
        fix = f"say which split is for what: hf:{name}(train='{strange[0]}', test='…'); it has {listed(found)}"
        raise NetwrightError(f"the split '{strange[0]}' of {name} is for no side that is known", fix)
    sides = [_side(split, options) for split in splits]
    if len(set(sides)) < len(sides):
        fix = f"say which is meant: hf:{name}(train='…', val='…')"
        raise NetwrightError(f"two splits of {name} are for the same side: {listed(splits)}", fix)
    if len(set(asked)) < len(asked):
        raise NetwrightError(f"one split of {name} is asked for twice: {listed(asked)}", "name another for each side")
    if not splits:
        raise NetwrightError(f"{name} has no rows", "give a data set with pictures")
    return dict(sorted(splits.items(), key=lambda item: _side(item[0], options)))


def _side(split: str, options: Mapping[str, str]) -> int:
    """The index of a split's side in `SPLITS`."""
    asked = {options[side]: side for side in SPLITS if side in options}
    if not asked and not split:
        return NOBODY
    return SPLITS.index(asked[split] if asked else SIDES[split.lower()])


def _titled(split: str, name: str) -> str:
    """What rows are counted in: a split, or the data set."""
    return split or Path(name).name


def _image_column(datasets: Any, splits: Mapping[str, Any], given: str | None) -> str:
    features = _features(splits)
    fitting = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    usual = [name for name in IMAGES if name in fitting]
    usual += [name for name in IMAGES if getattr(features.get(name), "dtype", "") in FILES[:2]]
    return _chosen("image", given, usual or fitting, features)


def _label_column(datasets: Any, splits: Mapping[str, Any], given: str | None) -> str:
    features = _features(splits)
    usual = [name for name in LABELS if name in features]
    classed = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    return _chosen("label", given, usual or classed, features)


def _features(splits: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that all splits have, with their types in the first."""
    first, *others = (found.features for found in splits.values())
    return {name: feature for name, feature in first.items() if all(name in other for other in others)}


def _chosen(kind: str, given: str | None, usual: Sequence[str], features: Mapping[str, Any]) -> str:
    if given is not None and given not in features:
        raise unknown("column", given, features)
    if given is not None:
        return given
    if not usual or (len(usual) > 1 and usual[0] not in (*IMAGES, *LABELS)):
        fix = f"say which column it is: hf:…({kind}='…'). Columns: {listed(features)}."
        raise NetwrightError(f"{'several columns' if usual else 'no column'} could be the {kind}", fix)
    return usual[0]


def _column(found: Any, name: str) -> Any:
    """One column as an Arrow array; no other is read."""
    return found.select_columns([name]).with_format("arrow")[:].column(0)


def _labelled(columns: Mapping[str, Any], label: str, name: str) -> dict[str, Any]:
    """The splits' labels without splits that have none: the tests of competitions.

    Raises:
        NetwrightError: some rows of a split have no label, others have, or no row has.
    """
    absent = {split: missing(column) for split, column in columns.items()}
    known = {split: column for split, column in columns.items() if not absent[split].all()}
    if not known:
        raise NetwrightError(f"no row of {name} has a label in the column {label}", "choose another: hf:…(label='…')")
    for split in known:
        count = int(absent[split].sum())
        if count:
            first = f"{_titled(split, name)}[{int(absent[split].argmax())}]"
            problem = f"{count} rows of {name} have no label in the column {label}, the first is {first}"
            raise NetwrightError(problem, f"remove them: data.filter(lambda row: row['{label}'] not in (None, -1))")
    return known


def _numbers(
    datasets: Any, features: Mapping[str, Any], columns: Mapping[str, Any], label: str
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names, and the labels of all splits, one after the other."""
    arrow = optional("pyarrow", "pyarrow", PURPOSE)
    chunks = [chunk for column in columns.values() for chunk in column.chunks]
    return class_numbers(arrow.chunked_array(chunks), _class_names(datasets, features, label), f"the column {label}")


def _class_names(datasets: Any, features: Mapping[str, Any], label: str) -> tuple[str, ...] | None:
    """The classes by number, where the data set names them; the same for all splits."""
    kinds = {split: getattr(feature, "feature", feature) for split, feature in features.items()}
    named = {
        split: tuple(kind.names) if isinstance(kind, datasets.ClassLabel) else None for split, kind in kinds.items()
    }
    (first, classes), *others = named.items()
    for split, other in others:
        if other != classes:
            problem = f"the classes of {label} in the split {split} are not those in {first}, or in another order"
            raise NetwrightError(problem, f"cast both alike: data.cast_column('{label}', ClassLabel(names=[…]))")
    return classes


def _undecoded(datasets: Any, found: Any, image: str) -> Any:
    feature = found.features[image]
    if not isinstance(feature, datasets.Image) and getattr(feature, "dtype", "") not in FILES:
        problem = f"the column {image} holds no pictures, but {getattr(feature, 'dtype', type(feature).__name__)}"
        raise NetwrightError(problem, "choose another: hf:…(image='…'), or cast it to datasets.Image()")
    undecoded = found.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    return undecoded.with_format("arrow")


def _table_stamp(table: Any) -> Stamp | None:
    """Of the files that hold a table with all its pictures."""
    compute = optional("pyarrow.compute", "pyarrow", PURPOSE)
    files = [file["filename"] for file in table.cache_files]
    whole = compute.struct_field(table.data.column(0), "bytes").null_count == 0
    return _stamp(files) if whole and files else None


def _stamp(files: Sequence[str]) -> Stamp:
    stats = [Path(file).stat() for file in files]
    return sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)
