"""What netwright does with every kind of file: what it refuses, and what it uses and how."""

from dataclasses import dataclass

from netwright.data.facts import Odd
from netwright.data.files import EXTENSIONS
from netwright.data.gate.verdict import Severity

GOOD_COPY = "replace each with a good copy, or leave it out (`--fix`)"


@dataclass(frozen=True)
class Refusal:
    """A kind of file that is not used.

    Attributes:
        kind: a name for programs.
        sign: how the reason that `data/decode.py` gives is recognised.
        what: what is wrong, as `cut short`.
        fix: what to do about it.
    """

    kind: str
    sign: str
    what: str
    fix: str = GOOD_COPY


@dataclass(frozen=True)
class Oddity:
    """A property of a file that is used all the same.

    Attributes:
        odd: its flag.
        severity: how much it matters.
        what: what is odd, as `transparent`.
        use: how the picture is used.
        fix: what to do, where something should be done.
    """

    odd: Odd
    severity: Severity
    what: str
    use: str
    fix: str = ""

    @property
    def kind(self) -> str:
        """A name for programs."""
        return str(self.odd.name).lower()


# The first whose sign is in the reason.
REFUSALS = (
    Refusal("empty", "empty file", "empty"),
    Refusal("truncated", "truncated", "cut short"),
    Refusal(
        "too_large", "over the limit", "too large to unpack", "shrink what is a picture; remove what only claims to be"
    ),
    Refusal("damaged", "damaged", "damaged"),
    Refusal("unsupported", "not supported", "in a format that is not read", "save each as JPEG or PNG"),
    Refusal("not_a_picture", "not an image", "not pictures", "fetch each anew, or remove it"),
    Refusal("no_scale", "no known scale", "values of an unknown scale", "save each with 8 or 16 bits"),
    Refusal("closed", "cannot be opened", "cannot be opened", "see to the permissions, or to the disk"),
    Refusal("unreadable", "", "cannot be read"),
)
ODDITIES = (
    Oddity(
        Odd.SEVERAL_FRAMES,
        "warning",
        "animations or several pages",
        "the first frame is used",
        "save the frames you want as pictures of their own",
    ),
    Oddity(
        Odd.BAD_EXIF,
        "warning",
        "EXIF data that cannot be read",
        "used as the pixels lie, since nothing says which way is up",
        "turn those that lie on their side, and save them anew",
    ),
    Oddity(Odd.WARNED, "warning", "warnings of the decoder", "used as decoded", "look at them, and save them anew"),
    Oddity(Odd.TURNED, "note", "turned upright", "turned as the EXIF data ask"),
    Oddity(Odd.TRANSPARENT, "note", "transparent", "laid on white"),
    Oddity(Odd.DEEP, "note", "more than 8 bits a value", "scaled down by the depth of the type"),
    Oddity(Odd.INK, "note", "CMYK, the colours of printing", "converted to RGB without the ink profile"),
    Oddity(Odd.PALETTE, "note", "colours from a table", "colours looked up"),
    Oddity(Odd.OTHER_COLOURS, "note", "colours other than RGB", "converted to RGB"),
)
OF_FORMAT = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pnm", ".ppm", ".pgm", ".pbm"),
}


def refusal(reason: str) -> Refusal:
    """The kind of a file that cannot be read, from the reason that was given."""
    return next(each for each in REFUSALS if each.sign in reason)


def misnamed(name: str, format_: str) -> bool:
    """Whether a file's extension is that of another format than its content."""
    extension = "." + name.rpartition(".")[2].lower()
    return extension in EXTENSIONS and format_ in OF_FORMAT and extension not in OF_FORMAT[format_]
