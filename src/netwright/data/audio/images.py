"""A dataset of sounds as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from netwright.data.audio.spectrogram import spectrogram
from netwright.data.audio.waves import of_length, one_channel, read_wave
from netwright.data.changes import Change, changed, numbered


class AudioImages(Dataset[tuple[Tensor, int]]):
    """Sounds with labels as a map-style dataset of (spectrogram, label), for `fit(data=(train, val))`.

    Args:
        waves: samples from -1 to 1 at `rate`, T or C T, as arrays or tensors; or paths of sound files of any rate.
        labels: a word, or a number from 0, for each sound.
        rate: samples a second.
        seconds: to which sounds are cut, or filled up with silence.
        bands: mel bands: the height of the picture.
        hop: seconds from column to column.
        classes: names of the classes; by default those of the labels. Give the ones of `train` to `val`.
        changes: what is done to a sound whenever it is read, as `functools.partial(add_noise, decibels=(5, 20))`.
        masks: what is done to its picture, as `mask_time`.

    Raises:
        NetwrightError: labels that do not fit the sounds.
    """

    def __init__(
        self,
        waves: Sequence[Any],
        labels: Sequence[Any],
        *,
        rate: int,
        seconds: float,
        bands: int = 64,
        hop: float = 0.010,
        classes: Sequence[str] | None = None,
        changes: Sequence[Change[Tensor]] = (),
        masks: Sequence[Change[Tensor]] = (),
    ) -> None:
        self.waves = waves
        self.targets, self.classes = numbered(labels, len(waves), classes)
        self.rate = rate
        self.seconds = seconds
        self.bands = bands
        self.hop = hop
        self.changes = changes
        self.masks = masks

    def __len__(self) -> int:
        return len(self.waves)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        wave = changed(self.wave(index), self.changes)
        whole = of_length(wave, round(self.seconds * self.rate))
        picture = spectrogram(whole, self.rate, bands=self.bands, hop=self.hop)
        return changed(picture, self.masks), self.targets[index]

    def wave(self, index: int) -> Tensor:
        """A sound before any change, in one channel.

        Raises:
            NetwrightError: its file cannot be read, or its samples are not floats.
        """
        held = self.waves[index]
        return one_channel(read_wave(held, rate=self.rate)[0] if isinstance(held, str | Path) else held)
