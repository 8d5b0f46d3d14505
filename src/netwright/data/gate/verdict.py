"""What the data gate found, as data that can be kept, printed and drawn."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from netwright.report.words import plural

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MOST_SHOWN = 60  # examples of one finding
MOST_BESIDE = 6  # pictures of one example


@dataclass(frozen=True)
class Item:
    """One picture in a finding.

    Attributes:
        name: what the user calls it.
        place: its index in the listing.
        side: `train`, `val` or `test`; empty for pictures that are not divided or cannot be read.
        label: its class, or its classes, in words; empty where it has none.
        says: what there is to say of this picture and not of the others.
        mask: whether this is the picture's mask.
    """

    name: str
    place: int
    side: str
    label: str
    says: str = ""
    mask: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing a user should know of the data.

    Attributes:
        kind: a name for programs, as `truncated`.
        severity: an `error` has to be mended, a `warning` looked at, a `note` known.
        title: what is so, as a sentence with its number.
        detail: what it means.
        fix: what to do about it.
        count: how many examples there are in all.
        examples: at most `MOST_SHOWN` of them. Each is a picture, or up to `MOST_BESIDE` to be seen side by side.
        leave_out: the pictures that `--fix` leaves out, each with the reason; all of them.
    """

    kind: str
    severity: Severity
    title: str
    detail: str = ""
    fix: str = ""
    count: int = 0
    examples: tuple[tuple[Item, ...], ...] = ()
    leave_out: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Verdict:
    """All findings on a data set, the worst first.

    Attributes:
        name: of the data set.
        root: where it is.
        pictures: how many there are, whether or not they can be read.
        splits: for each side its pictures that can be read; undivided, for `all`.
        per_class: for each side the pictures of each class that can be read; empty for pictures without classes.
        findings: the worst first.
        images_per_second: how fast they were decoded, where they were.
        masks: of pictures with masks: how these are encoded, and by side the share of the pixels that each class has,
            the pictures that show it, the masks that show nothing, and the share of the pixels that is ignored.
    """

    name: str
    root: str
    pictures: int
    splits: Mapping[str, int]
    per_class: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    images_per_second: float | None = None
    masks: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    @property
    def passed(self) -> bool:
        """Whether nothing has to be mended."""
        return not self.of("error")

    @property
    def conclusion(self) -> str:
        """The verdict in a few words."""
        errors, warnings = len(self.of("error")), len(self.of("warning"))
        if errors:
            return f"{plural(errors, 'thing')} to mend before training"
        return f"usable, with {plural(warnings, 'thing')} to look at" if warnings else "fit for training"

    @property
    def leave_out(self) -> dict[str, str]:
        """The pictures that should not be trained on, each with the first reason why."""
        return {name: why for finding in reversed(self.findings) for name, why in finding.leave_out.items()}

    def strict(self) -> "Verdict":
        """The same with every warning an error."""
        stricter = (replace(each, severity="error") if each.severity == "warning" else each for each in self.findings)
        return replace(self, findings=tuple(stricter))

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; `from_json` reads it back."""
        return {"passed": self.passed, "conclusion": self.conclusion, **asdict(self)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Verdict":
        """What `to_json` gave."""
        given = dict(fields)
        given["findings"] = tuple(_finding(each) for each in fields["findings"])
        return cls(**{name: value for name, value in given.items() if name not in ("passed", "conclusion")})


def _finding(fields: Mapping[str, Any]) -> Finding:
    given = dict(fields)
    given["examples"] = tuple(tuple(Item(**item) for item in example) for example in fields["examples"])
    return Finding(**given)
