"""Names the wave form of a tone by its sound, with a network for pictures: `python examples/audio.py`."""

from functools import partial

import numpy as np
from scipy import signal

from netwright.data.audio import AudioImages, add_noise, cut, in_a_room, mask_frequency, mask_time

RATE, SECONDS = 8000, 0.32
FORMS = {"sine": np.sin, "square": signal.square, "saw": signal.sawtooth}


def sounds(n: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """Tones of random pitch, softening at random speed, half a second long."""
    draw = np.random.default_rng(seed)
    time = np.arange(RATE // 2) / RATE
    labels = [str(name) for name in draw.choice(list(FORMS), n)]
    hertz, decays = draw.uniform(150, 600, n), draw.uniform(0, 4, n)
    waves = [
        0.5 * np.exp(-decay * time) * FORMS[label](2 * np.pi * tone * time)
        for label, tone, decay in zip(labels, hertz, decays, strict=True)
    ]
    return waves, labels


if __name__ == "__main__":
    from netwright import fit, recipe

    changes = [
        partial(cut, length=round(SECONDS * RATE)),
        partial(in_a_room, rate=RATE, seconds=(0.1, 0.4)),
        partial(add_noise, decibels=(10, 40)),
    ]
    options = {"rate": RATE, "seconds": SECONDS, "bands": 32}
    train = AudioImages(*sounds(400, seed=0), changes=changes, masks=[mask_time, mask_frequency], **options)
    val = AudioImages(*sounds(150, seed=1), changes=[partial(in_a_room, rate=RATE, seconds=0.3)], **options)
    plan = recipe("digits", epochs=4, batch_size=32, optimizer="adamw(lr=3e-3)").without("crop", "rotate")
    run = fit(plan, data=(train, val))
    print(f"accuracy {run.accuracy:.1%}; look at {run.path / 'report.html'}")
