"""What became of weights that were loaded, tensor by tensor, and in words."""

from dataclasses import dataclass, field

from netwright.core.errors import NetwrightError, listed
from netwright.models._bodied import CODE
from netwright.models._published import IMAGENET, Moments


@dataclass(frozen=True)
class Loaded:
    """What became of every tensor, by name.

    Attributes:
        loaded: taken as they were, or in another order of classes.
        adapted: taken for another number of input channels.
        missing: of the model but not, or of another shape or other classes, in the weights: they stay as drawn.
        left_over: in the weights, but the model has no place for them.
        moments: mean and deviation of each channel with which the weights were trained, and whose they are; none of
            no channels where only the author of their data knows.
        head: what became of the head, in words.
        holder: of whose part of the file these are, as "backbone."; nothing where all of it was taken.
        filters: what was done to them for a trick in the bundle's structure that does not follow, in words.
        beside: where they are the encoder's alone, those of the missing that are not of the encoder.
        of_autoencoder: whether they are the encoder of an autoencoder, which has no head.
    """

    loaded: list[str]
    adapted: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    left_over: list[str] = field(default_factory=list[str])
    moments: Moments = IMAGENET
    head: str = ""
    holder: str = ""
    filters: str = ""
    beside: list[str] = field(default_factory=list[str])
    of_autoencoder: bool = False

    def moments_for(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of each of a picture's channels; where the weights had others, their means of both.

        Raises:
            NetwrightError: nobody knows them, since the weights were trained on a user's own dataset.
        """
        mean, std, _ = self.moments
        if not mean:
            problem = (
                "these weights were trained on your own dataset, so netwright does not know how to prepare pictures "
                "for them"
            )
            fix = "prepare a tensor as your dataset does, and call `load(…).model(tensor)` in Python"
            raise NetwrightError(problem, fix)
        if len(mean) == channels:
            return mean, std
        return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels

    def __str__(self) -> str:
        if self.of_autoencoder:
            return self._of_encoder()
        missing = [name for name in self.missing if name not in self.beside]
        parts = {"adapted": self.adapted, "missing and drawn afresh": missing, "left over": self.left_over}
        said = [f"{len(names)} {what} ({listed(names, most=4)})" for what, names in parts.items() if names]
        whose = " into the encoder" if self.beside else ""
        whose += f" from what stands under '{self.holder}'" if self.holder else ""
        told = ", ".join([f"{len(self.loaded)} tensors loaded{whose}", *said])
        return "; ".join(filter(None, (told, self.filters, self.head, self._drawn)))

    def _of_encoder(self) -> str:
        """The encoder's tensors; the decoder's, which stay behind, are not named one by one."""
        adapted = f", of which {len(self.adapted)} adapted ({listed(self.adapted, 4)})" if self.adapted else ""
        missing = [name for name in self.missing if name not in self.beside]
        fresh = (
            f"{len(missing)} missing and drawn afresh ({listed(missing, most=4)})" if missing and self.beside else ""
        )
        new = f"a new head, {len(missing)} tensors ({listed(missing, most=4)})" if missing and not self.beside else ""
        count = len(self.loaded) + len(self.adapted)
        told = f"the encoder of an autoencoder, {count} tensors{adapted}"
        return "; ".join(filter(None, (told, self.filters, fresh, new, self._drawn)))

    @property
    def _drawn(self) -> str:
        parts = "code and decoder" if CODE in self.beside else "decoder and head"
        return f"{parts} stay as drawn, {len(self.beside)} tensors" if self.beside else ""
