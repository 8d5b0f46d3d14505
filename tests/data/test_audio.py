"""Changes of sounds, and sounds as pictures."""

import math
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from scipy.io import wavfile
from torch import Tensor

from netwright import fit, recipe
from netwright.core.errors import NetwrightError
from netwright.data.audio import (
    AudioImages,
    add_noise,
    compress,
    cut,
    in_a_room,
    mask_frequency,
    mask_time,
    mel_filters,
    pitch_shift,
    read_wave,
    resample,
    reverberate,
    room_response,
    spectrogram,
    time_stretch,
)
from netwright.data.audio.stretch import nearest_peak, vocoder
from netwright.data.loader import DatasetSource
from tests.support import CPU

RATE = 16000
NO_SOUNDFILE = "soundfile is an extra: python -m pip install soundfile"


def sine(hertz: float, seconds: float = 1.0, rate: int = RATE) -> Tensor:
    return torch.sin(2 * math.pi * hertz / rate * torch.arange(round(seconds * rate), dtype=torch.float64))


def white(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def peak(wave: Tensor, rate: int = RATE) -> float:
    """The frequency of a tone, from its middle half: the highest point of the windowed, zero-padded spectrum."""
    middle = wave[len(wave) // 4 : 3 * len(wave) // 4].double()
    size = 1 << 18
    spectrum = torch.fft.rfft(middle * torch.hann_window(len(middle), dtype=torch.float64), size).abs()
    return float(spectrum.argmax()) * rate / size


def ratio(sound: Tensor, noise: Tensor) -> float:
    return float(sound.double().square().mean() / noise.double().square().mean())


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 20.0])
@pytest.mark.parametrize("noise", [None, white(700, seed=1).sign() + 0.5])
def test_noise_is_as_loud_as_asked(decibels, noise):
    for wave in (sine(440), white(2, 999)):
        added = add_noise(wave, decibels, noise=noise, seed=3) - wave
        assert ratio(wave, added) == pytest.approx(10 ** (decibels / 10), rel=1e-6)
    wave = sine(440).float()
    # The sum is rounded to 2^-24 of the sound in each sample: little beside noise at 20 dB.
    assert ratio(wave, add_noise(wave, decibels, noise=noise, seed=3) - wave) == pytest.approx(
        10 ** (decibels / 10), rel=1e-6
    )


def test_noise_is_white_or_the_recording_from_anywhere():
    wave = sine(440)
    added = add_noise(wave, 0.0, seed=1) - wave
    power = torch.fft.rfft(added).abs().square()
    low, high = power[1:4000].mean(), power[4000:-1].mean()
    assert abs(float(low / high) - 1) < 4.5 * math.sqrt(2 / 4000)  # each a mean of 4000 exponential numbers
    recording = torch.arange(1.0, 101.0)
    scaled = add_noise(wave, 0.0, noise=recording, seed=5) - wave
    places = (scaled / scaled.max() * 100).round().long() % 100
    assert ((places[1:] - places[:-1]) % 100 == 1).all()
    starts = {int((add_noise(wave, 0.0, noise=recording, seed=seed) - wave).argmax()) for seed in range(30)}
    assert len(starts) > 15


def test_a_range_of_strengths_is_drawn_from_evenly():
    wave = sine(440)
    found = [10 * math.log10(ratio(wave, add_noise(wave, (5.0, 15.0), seed=seed) - wave)) for seed in range(400)]
    assert min(found) >= 5 and max(found) <= 15
    assert abs(np.mean(found) - 10) < 4.5 * 10 / math.sqrt(12 * 400)


def test_silence_bears_no_noise_and_silent_noise_is_refused():
    assert not add_noise(torch.zeros(50), 10.0).any()
    with pytest.raises(NetwrightError, match="silent"):
        add_noise(sine(440), 10.0, noise=torch.zeros(9))


def test_reverberation_is_convolution():
    wave, response = white(2, 1234), white(77, seed=1)
    expected = scipy.signal.fftconvolve(wave.numpy(), response.numpy()[None], axes=1)[:, :1234]
    torch.testing.assert_close(reverberate(wave, response), torch.from_numpy(expected), rtol=0, atol=1e-11)
    direct = np.convolve(wave[0], response)[:1234]
    torch.testing.assert_close(reverberate(wave[0], response), torch.from_numpy(direct), rtol=0, atol=1e-11)
    torch.testing.assert_close(reverberate(wave, torch.tensor([1.0])), wave, rtol=0, atol=1e-12)
    later = reverberate(wave, torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(later, torch.nn.functional.pad(wave, (2, 0))[:, :-2], rtol=0, atol=1e-12)


def test_one_of_several_rooms_is_drawn():
    rooms = [torch.tensor([float(level)]) for level in (1, 2, 3)]
    levels = [round(float(reverberate(torch.ones(4), rooms, seed=seed)[0])) for seed in range(60)]
    assert set(levels) == {1, 2, 3}


def decay(energy: Tensor, rate: int) -> float:
    """The reverberation time by Schroeder's backward integration: 60 dB at the slope from -5 to -25 dB."""
    left = energy.flip(0).cumsum(0).flip(0)
    level = 10 * torch.log10(left / left[0])
    chosen = torch.nonzero((level < -5) & (level > -25)).flatten()
    slope = np.polyfit(chosen.numpy() / rate, level[chosen].numpy(), 1)[0]
    return -60 / slope


@pytest.mark.parametrize("seconds", [0.2, 0.8])
def test_the_made_up_room_has_its_reverberation_time(seconds):
    # The fit sees a third of the response; its energy is a sum of squares of normal numbers. Over seeds the time found
    # spreads by about 1.5 sqrt(1 / (samples within 60 dB / 13.8)) of itself; the bound is 4.5 times that.
    found = decay(room_response(RATE, seconds, seed=1).double().square()[1:], RATE)
    assert abs(found / seconds - 1) < 4.5 * 1.5 / math.sqrt(seconds * RATE / 13.8)
    many = torch.stack([room_response(RATE, seconds, seed=seed).double().square()[1:] for seed in range(100)]).mean(0)
    assert abs(decay(many, RATE) / seconds - 1) < 0.45 * 1.5 / math.sqrt(seconds * RATE / 13.8) + 0.01


def test_half_of_the_rooms_energy_comes_straight():
    response = room_response(RATE, 0.3, seed=2).double()
    assert float(response[0]) ** 2 == pytest.approx(0.5, rel=1e-6)
    assert float(response.square().sum()) == pytest.approx(1.0, rel=1e-6)
    rooms = {float(in_a_room(sine(440), RATE, seed=seed)[500]) for seed in range(5)}
    assert len(rooms) == 5


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.1, 2.0])
def test_stretching_changes_time_and_not_pitch(factor):
    wave = sine(440.0) + 0.1 * sine(3000.0)
    found = time_stretch(wave, factor)
    assert len(found) == round(factor * RATE)
    assert peak(found) == pytest.approx(440, rel=2e-3)
    middle = found[len(found) // 4 : 3 * len(found) // 4]
    assert float(middle.square().mean()) == pytest.approx((1 + 0.01) / 2, rel=0.01)


def test_stretching_by_one_gives_the_sound_back():
    wave = white(2, 5000)
    torch.testing.assert_close(time_stretch(wave, 1.0), wave, rtol=0, atol=1e-9)
    assert time_stretch(wave[:, :7].float(), 1.5).shape == (2, 10) and len(time_stretch(wave[0, :1], 0.1)) == 1


def test_the_vocoder_follows_a_tone_between_two_bins():
    """A tone's phase at frame k of the stretched spectrum is its frequency times k hops, whatever the bin."""
    hop, window, hertz = 256, 1024, 1234.5
    shape = torch.hann_window(window, dtype=torch.float64)
    spectrum = torch.stft(sine(hertz), window, hop, window=shape, return_complex=True)[None]
    found = vocoder(spectrum, 1.3, hop, frames=70)[0]
    loudest = round(hertz * window / RATE)
    steps = (found[loudest, 6:70] * found[loudest, 5:69].conj()).angle()
    turn = 2 * math.pi * hertz * hop / RATE
    difference = torch.remainder(steps - turn + math.pi, 2 * math.pi) - math.pi
    assert float(difference.abs().max()) < 1e-3


def test_a_rising_tone_rises_more_slowly_and_keeps_most_of_its_power():
    """The tone climbs through many bins, each of which has to take over the phase of the one below it."""
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    found = time_stretch(torch.sin(2 * math.pi * (200 * time + 600 * time**2)), 1.3)
    assert float(found[4000:16000].square().mean()) > 0.7 * 0.5
    for place in (5000, 10000, 15000):
        around = found[place - 1024 : place + 1024] * torch.hann_window(2048, dtype=torch.float64)
        heard = float(torch.fft.rfft(around, 1 << 16).abs().argmax()) * RATE / (1 << 16)
        assert heard == pytest.approx(200 + 1200 * place / RATE / 1.3, abs=2 * RATE / 1024)  # two bins


def test_each_bin_finds_its_nearest_peak():
    size = torch.tensor([0.0, 1, 3, 1, 0, 0, 0, 2, 5, 4])[None, :, None]
    assert nearest_peak(size)[0, :, 0].tolist() == [2, 2, 2, 2, 2, 2, 8, 8, 8, 8]


def test_a_click_moves_with_the_time():
    wave = torch.zeros(RATE, dtype=torch.float64)
    wave[8000] = 1.0
    assert abs(int(time_stretch(wave, 1.5).abs().argmax()) - 12000) < 512


@pytest.mark.parametrize("semitones", [-12.0, -3.5, 0.0, 2.0, 7.0])
def test_shifting_changes_pitch_and_not_time(semitones):
    found = pitch_shift(sine(660.0), semitones)
    assert len(found) == RATE
    assert peak(found) == pytest.approx(660 * 2 ** (semitones / 12), rel=2e-3)
    assert float(found[4000:12000].square().mean()) == pytest.approx(0.5, rel=0.01)


def test_drawn_pitches_lie_in_the_range():
    found = [12 * math.log2(peak(pitch_shift(sine(660.0), (-2.0, 2.0), seed=seed)) / 660) for seed in range(20)]
    assert -2.05 < min(found) < -0.5 and 0.5 < max(found) < 2.05


@pytest.mark.parametrize("length", [501, 997, 1500])
def test_resampling_is_scipys(length):
    wave = white(999)
    expected = torch.from_numpy(scipy.signal.resample(wave.numpy(), length))
    if length % 2:
        torch.testing.assert_close(resample(wave, length), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(resample(resample(wave, 1500), 999), wave, rtol=0, atol=1e-10)


def mel(hertz: float) -> float:
    """HTK's natural-logarithm form of the scale."""
    return 1127.01048 * math.log(1 + hertz / 700)


@pytest.mark.parametrize(("size", "rate", "bands"), [(1024, 16000, 64), (512, 8000, 20), (2048, 44100, 128)])
def test_mel_filters_are_the_formulas_triangles(size, rate, bands):
    found = mel_filters(size, rate, bands)
    assert found.shape == (bands, size // 2 + 1)
    step = mel(rate / 2) / (bands + 1)
    edges = [700 * (math.exp(i * step / 1127.01048) - 1) for i in range(bands + 2)]
    for band in (0, 1, bands // 2, bands - 1):
        low, centre, high = edges[band : band + 3]
        for point in range(size // 2 + 1):
            hertz = point * rate / size
            side = (hertz - low) / (centre - low) if hertz < centre else (high - hertz) / (high - centre)
            assert float(found[band, point]) == pytest.approx(max(0.0, side), abs=1e-5)
    # Neighbours add up to one between the first centre and the last.
    frequencies = torch.arange(size // 2 + 1) * rate / size
    inside = (frequencies >= edges[1]) & (frequencies <= edges[-2])
    assert torch.allclose(found.sum(0)[inside], torch.ones(int(inside.sum()), dtype=torch.float64), atol=1e-9)


def test_too_many_bands_are_refused():
    with pytest.raises(NetwrightError, match="fewer bands"):
        mel_filters(64, 16000, 64)


def test_a_tone_is_a_bright_line_at_its_pitch():
    for hertz in (300, 1000, 5000):
        picture = spectrogram(sine(hertz).float(), RATE)
        assert picture.shape == (1, 64, 101) and picture.dtype == torch.uint8
        assert picture.max() == 255
        expected = round(mel(hertz) / mel(RATE / 2) * 65) - 1
        assert abs(63 - int(picture[0, :, 50].float().argmax()) - expected) <= 1  # the top row is the highest band


def test_grey_values_are_decibels():
    """Half a second of a tone, then the same 40 dB softer: half of the scale below."""
    wave = sine(1000).float()
    wave[8000:] *= 0.01
    loudest = spectrogram(wave, RATE)[0].amax(0)
    assert int(loudest[25]) in (254, 255) and abs(int(loudest[75]) - 127.5) <= 1.5
    assert torch.equal(spectrogram(wave, RATE), spectrogram(0.1 * wave, RATE))
    assert not spectrogram(torch.zeros(RATE), RATE).any()
    assert spectrogram(sine(440, 0.001).float(), RATE).shape == (1, 64, 1)


@pytest.mark.parametrize(("mask", "side"), [(mask_time, 2), (mask_frequency, 1)])
@pytest.mark.parametrize("floats", [False, True])
def test_masks_cover_whole_lines_with_the_mean(mask, side, floats):
    picture = torch.randint(0, 256, (1, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = picture.float() / 255 if floats else picture
    mean, before = picture.double().mean(), picture.clone()
    fill = mean if floats else mean.round()
    whole, widths = picture.shape[side], []
    for seed in range(300):
        found = mask(picture, widest=0.3, count=1, seed=seed)
        covered = (found == fill.to(found)).all(1 if side == 2 else 2)[0]
        places = torch.nonzero(covered).flatten()
        widths.append(len(places))
        assert len(places) == 0 or int(places[-1] - places[0]) == len(places) - 1
        left = torch.nonzero(~covered).flatten()
        assert torch.equal(found.index_select(side, left), picture.index_select(side, left))
    most = int(0.3 * whole)
    assert set(widths) == set(range(most + 1))
    assert abs(np.mean(widths) - most / 2) < 4.5 * math.sqrt((most * (most + 2)) / 12 / 300)
    assert torch.equal(picture, before) and torch.equal(mask(picture, widest=0.0), picture)
    assert torch.equal(mask(picture, count=0), picture)
    with pytest.raises(NetwrightError, match="from 0 to 1"):
        mask(picture, widest=2)


def test_cutting_anywhere():
    wave = torch.arange(100.0)
    starts = [int(cut(wave, 98, seed=seed)[0]) for seed in range(60)]
    assert set(starts) == {0, 1, 2} and len(cut(wave, 98)) == 98
    assert torch.equal(cut(wave, 98, seed=1), wave[starts[1] : starts[1] + 98])
    assert torch.equal(cut(wave, 200), wave)


@pytest.fixture
def no_soundfile(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)


@pytest.mark.parametrize(("kind", "scale"), [(np.int16, 32768), (np.int32, 1 << 31), (np.float32, 1), (np.uint8, 128)])
def test_wav_files_are_read_without_soundfile(tmp_path, no_soundfile, kind, scale):
    wave = torch.stack([sine(440), sine(880)]).numpy() * 0.9
    stored = wave.T * scale + (128 if kind == np.uint8 else 0)
    wavfile.write(tmp_path / "a.wav", RATE, (stored if kind == np.float32 else stored.round()).astype(kind))
    found, rate = read_wave(tmp_path / "a.wav")
    assert rate == RATE and found.shape == (2, RATE) and found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wave, atol=0.51 / min(scale, 1 << 24) if scale > 1 else 1e-7)
    wavfile.write(tmp_path / "one.wav", RATE, np.ascontiguousarray(stored[:, 0]).astype(kind))
    assert read_wave(tmp_path / "one.wav")[0].shape == (1, RATE)
    halved, rate = read_wave(tmp_path / "a.wav", rate=8000)
    assert rate == 8000 and halved.shape == (2, 8000) and peak(halved[0], 8000) == pytest.approx(440, abs=0.1)


def test_wav_files_are_what_soundfile_reads(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason=NO_SOUNDFILE)
    for coding in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        soundfile.write(tmp_path / "a.wav", (0.9 * white(400, 2).clamp(-1, 1)).numpy(), RATE, subtype=coding)
        expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
        np.testing.assert_array_equal(read_wave(tmp_path / "a.wav")[0].numpy(), expected.T)
    soundfile.write(tmp_path / "a.flac", sine(440).numpy(), RATE)
    found, rate = read_wave(tmp_path / "a.flac")
    assert rate == RATE and found.shape == (1, RATE) and found.dtype == torch.float32
    np.testing.assert_allclose(found[0].numpy(), sine(440).numpy(), atol=1.1 / 32768)


def test_what_is_no_sound(tmp_path, no_soundfile):
    with pytest.raises(NetwrightError, match="check the path"):
        read_wave(tmp_path / "none.wav")
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(NetwrightError, match="cannot be read as sound"):
        read_wave(tmp_path / "a.wav")
    with pytest.raises(NetwrightError, match=r"(?s)reading \.mp3 files needs soundfile.*pip install soundfile"):
        read_wave(tmp_path / "a.mp3")
    with pytest.raises(NetwrightError, match=r"(?s)compress needs soundfile.*pip install soundfile"):
        compress(sine(440), RATE)
    with pytest.raises(NetwrightError, match="did you mean 'opus'"):
        compress(sine(440), RATE, codec="opu")


@pytest.mark.parametrize("codec", ["vorbis", "mp3", "opus"])
def test_a_codec_keeps_the_tone_and_loses_the_rest(codec):
    pytest.importorskip("soundfile", reason=NO_SOUNDFILE)
    wave = (0.3 * sine(440, 2.0) + 0.1 * white(2 * RATE)).float()
    weak, strong = (compress(wave, RATE, codec=codec, strength=strength) for strength in (0.0, 1.0))
    assert weak.shape == strong.shape == wave.shape and weak.dtype == torch.float32
    assert peak(strong) == pytest.approx(440, abs=2)
    assert ratio(wave, strong - wave) < ratio(wave, weak - wave)
    assert ratio(wave, weak - wave) > 3  # in step with the original: a shifted copy's error would be twice the sound
    assert compress(torch.stack([wave, -wave]), RATE, codec=codec).shape == (2, 2 * RATE)


def test_a_codec_takes_long_sounds_and_says_which_rates():
    pytest.importorskip("soundfile", reason=NO_SOUNDFILE)
    assert len(compress(white(1_500_000).float().clamp(-1, 1), RATE)) == 1_500_000
    with pytest.raises(NetwrightError, match="opus does not take 11025"):
        compress(sine(440), 11025, codec="opus")


def tones(n: int, seed: int) -> tuple[list[Any], list[str]]:
    """Tones of random pitch, below or above, of different lengths in noise."""
    draw = np.random.default_rng(seed)
    labels = ["low" if i % 2 else "high" for i in range(n)]
    hertz = [draw.uniform(200, 500) if label == "low" else draw.uniform(900, 2000) for label in labels]
    waves = [np.sin(2 * np.pi * tone / 8000 * np.arange(draw.integers(2000, 6000))) for tone in hertz]
    return [wave + 0.3 * draw.normal(size=len(wave)) for wave in waves], labels


def test_sounds_become_pictures_of_one_size(tmp_path):
    waves, labels = tones(4, seed=0)
    wavfile.write(tmp_path / "a.wav", 16000, np.stack([waves[0]] * 2, 1).astype(np.float32))
    dataset = AudioImages([*waves, torch.from_numpy(waves[0]), tmp_path / "a.wav"], [*labels, "low", "low"], rate=8000,
        seconds=0.5, bands=32)  # fmt: skip
    assert dataset.classes == ("high", "low") and dataset.targets == [0, 1, 0, 1, 1, 1] and len(dataset) == 6
    assert {tuple(dataset[i][0].shape) for i in range(6)} == {(1, 32, 51)}
    assert torch.equal(dataset[0][0], dataset[4][0])
    assert len(dataset.wave(5)) == round(len(waves[0]) / 2)
    for bad in (np.zeros(5, np.int16), np.zeros((1, 2, 3)), np.zeros(0), np.full(9, np.nan)):
        with pytest.raises(NetwrightError, match="a sound has"):
            AudioImages([bad, bad], [0, 1], rate=8000, seconds=0.5)[0]


def test_a_sound_changes_from_epoch_to_epoch_and_not_otherwise():
    waves, labels = tones(4, seed=0)
    changes = (partial(add_noise, decibels=(0.0, 20.0)), partial(in_a_room, rate=8000), time_stretch, pitch_shift)
    dataset = AudioImages(waves, labels, rate=8000, seconds=0.5, bands=32, changes=changes, masks=(mask_time,))
    source = DatasetSource(dataset, CPU)
    first, again, other = (next(iter(source.batches([np.arange(4)], stream=stream))).image for stream in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_network_learns_to_tell_low_from_high(tmp_path):
    options: Any = {"rate": 8000, "seconds": 0.31, "bands": 32}
    changes = (partial(add_noise, decibels=(5.0, 20.0)), partial(cut, length=2400))
    train = AudioImages(*tones(96, seed=1), changes=changes, masks=(mask_time,), **options)
    val = AudioImages(*tones(64, seed=2), **options)
    plan = recipe("digits", epochs=2, batch_size=16, optimizer="adamw(lr=3e-3)").without("rotate", "crop")
    assert fit(plan, data=(train, val), output=tmp_path).accuracy > 0.8
