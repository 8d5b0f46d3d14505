"""Sounds: changed as augmentation, and turned into pictures that every network here can classify."""

from netwright.data.audio.effects import add_noise, compress, in_a_room, reverberate, room_response
from netwright.data.audio.images import AudioImages
from netwright.data.audio.spectrogram import mask_frequency, mask_time, mel_filters, spectrogram
from netwright.data.audio.stretch import pitch_shift, time_stretch
from netwright.data.audio.waves import cut, read_wave, resample

__all__ = [
    "AudioImages",
    "add_noise",
    "compress",
    "cut",
    "in_a_room",
    "mask_frequency",
    "mask_time",
    "mel_filters",
    "pitch_shift",
    "read_wave",
    "resample",
    "reverberate",
    "room_response",
    "spectrogram",
    "time_stretch",
]
