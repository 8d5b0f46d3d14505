"""What `record.json`, `metrics.jsonl`, `evaluation.npz` and other files of a run hold. Every key may be missing.

`evaluation.npz` (read with `allow_pickle=False`) is about the headline split, which is test where there is one:
`probabilities` float32 (N, K), calibrated; `labels` int64 (N,); `names` text (N,); `split` text.
A number that is not finite is written as null.
"""

from typing import Any, Literal, TypedDict

FORMAT = 1

Status = Literal["running", "done", "interrupted", "failed"]
Source = Literal["user", "recipe", "auto", "checkpoint"]


class IntervalRecord(TypedDict, total=False):
    """`Interval.to_json()`."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str


class SplitRecord(TypedDict, total=False):
    """One split of the data: its size, and the images of each class."""

    n: int
    per_class: dict[str, int]


class QuarantinedRecord(TypedDict):
    """A file that was left out, and why."""

    name: str
    reason: str


class DataRecord(TypedDict, total=False):
    """The data a run saw."""

    name: str
    root: str
    classes: list[str]
    fingerprint: str
    splits: dict[str, SplitRecord]
    quarantined: list[QuarantinedRecord]
    gate: dict[str, int]
    notes: list[str]
    image_size: int | list[int]
    stored_size: int | list[int]
    fit: str
    channels: int
    mean: list[float]
    std: list[float]


class ModelRecord(TypedDict, total=False):
    """The network: its name, its parameters, its multiply-adds an image, and the spec that builds it.

    No spec builds a user's own network.
    """

    name: str
    params: int
    macs: int | None
    spec: str | None


class DeviceRecord(TypedDict, total=False):
    """Where and how it was computed; `why` gives a sentence for each decision.

    `capability` is the processor's best vector instructions, as torch calls them.
    """

    device: str
    name: str
    precision: str
    memory_format: str
    threads: int
    capability: str
    mkldnn: bool
    why: list[str]


class GitRecord(TypedDict):
    """The commit of the folder that the run was started in, and whether it had changes."""

    commit: str
    dirty: bool


class ResultRecord(TypedDict, total=False):
    """What came out: `splits` maps split to metric to interval; `stopped` says why a run ended early, or is empty.

    `skipped` updates were not made and `rollbacks` times the run went back, because a batch was not a number.
    """

    best_epoch: int
    epochs: int
    steps: int
    images_per_second: float
    seconds_to_first_step: float
    stopped: str
    skipped: int
    rollbacks: int
    splits: dict[str, dict[str, IntervalRecord]]
    temperature: float


class ResumedRecord(TypedDict):
    """One time that the run was resumed.

    `exact` says whether it went on bit for bit as if it had not been stopped; `differs` gives what was another then
    and now, by name; `skipped` names newer checkpoints that could not be used.
    """

    step: int
    exact: bool
    differs: dict[str, list[Any]]
    skipped: list[str]


class TrickRecord(TypedDict):
    """A trick that was on, and who chose it."""

    name: str
    spec: str
    source: Source


class Record(TypedDict, total=False):
    """Times are ISO 8601 with a zone; `key` is the hash of the recipe; `problem` says why a run failed.

    `name` is the folder's, which may be changed; `id` never changes, and the run's checkpoints bear it. `own` names the
    classes of the objects that the run was given as its data, model or task.
    """

    format: int
    netwright: str
    name: str
    id: str
    status: Status
    problem: str
    created: str
    finished: str
    seconds: float
    command: str
    recipe: dict[str, Any]
    sources: dict[str, Source]
    key: str
    seed: int
    data: DataRecord
    model: ModelRecord
    own: dict[str, str]
    device: DeviceRecord
    versions: dict[str, str]
    git: GitRecord | None
    result: ResultRecord
    resumed: list[ResumedRecord]
    tricks: list[TrickRecord]


class EpochRow(TypedDict, total=False):
    """One row of `metrics.jsonl`; other metrics come as `train_NAME` and `val_NAME` too."""

    kind: Literal["epoch"]
    epoch: int
    step: int
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float
    images_per_second: float
    gradient_norm: float | None
    skipped: int


class SampleRecord(TypedDict):
    """A sample of a batch; `name` is null where it has none."""

    id: int
    name: str | None


class NonFiniteRecord(TypedDict, total=False):
    """`non_finite.json`: the newest batch whose loss or gradient was not a number; epoch and step count from 1."""

    problem: str
    epoch: int
    step: int
    lr: float
    loss: float | None
    gradient_norm: float | None
    samples: list[SampleRecord]


class MistakeRecord(TypedDict):
    """One entry of `samples/mistakes.json`: a thumbnail, and how sure the network was of its wrong guess."""

    file: str
    name: str
    truth: str
    guess: str
    confidence: float


class RightRecord(MistakeRecord):
    """A picture of which the network was rightly sure, with its heat map, and whether anything in it is warm."""

    heat: str
    found: bool


# One entry of `samples/by_class.json`: how many pictures a class has, how many were wrong, and the surest of these.
ClassRecord = TypedDict("ClassRecord", {"class": str, "n": int, "wrong": int, "mistakes": list[MistakeRecord]})


class SeeingRecord(TypedDict, total=False):
    """`samples/seeing.json`: files of kernels and maps, heat maps of the mistakes in their order, what was left out."""

    kernels: dict[str, Any]
    example: dict[str, str]
    stages: list[dict[str, Any]]
    method: str
    heats: list[str]
    right: list[RightRecord]
    right_classes: int
    left_out: list[dict[str, str]]
