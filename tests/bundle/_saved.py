"""Small autoencoders as they lie on the disk, with weights as drawn, and pictures for them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from netwright.bundle.save import save_bundle
from netwright.data.preprocess import Preprocess
from netwright.models import create_model

SIDE = 8
PLAIN = "mlp_autoencoder(hidden=(12,), latent=4)"
RANDOM = "vae(encoder='mlp(widths=(12,))', latent=3)"
PLANE = "vae(encoder='mlp(widths=(12,))', latent=2)"
CONDITIONAL = "conditional_vae(encoder='mlp(widths=(12,))', latent=2)"
CLASSES = ("dark", "light")


def saved(
    folder: Path,
    spec: str = RANDOM,
    *,
    seed: int = 0,
    stored: int = SIDE,
    fit: Any = "crop",
    tricks: tuple[str, ...] = (),
    latent: dict[str, Any] | None = None,
) -> str:
    """A bundle in a folder; its path."""
    folder.mkdir(parents=True)
    spec = spec.replace(", latent=", f", image_size={SIDE}, latent=")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = create_model(spec, classes=len(CLASSES) if spec.startswith("conditional") else 0, in_channels=1)
        for parameter in network.parameters():  # some networks begin at nought, where nothing depends on anything
            torch.nn.init.normal_(parameter, std=0.4)
    save_bundle(
        folder,
        network,
        spec=spec,
        structure=[],
        classes=CLASSES,
        in_channels=1,
        macs=1000,
        task="reconstruction",
        preprocess=Preprocess(SIDE, stored, fit, 1, mean=(0.5,), std=(0.5,)).to_json(),
        temperature=1.0,
        metrics={},
        recipe={"precision": "fp32", "tricks": list(tricks)},
        versions={},
        write=lambda path, data: path.write_bytes(data.encode() if isinstance(data, str) else data),
        latent=latent,
    )
    return str(folder)


def kept(dimensions: int, **changed: Any) -> dict[str, Any]:
    """What a run says of codes that lie where the prior does."""
    rows = {"mean": [0.0] * dimensions, "deviation": [0.9] * dimensions, "divergence": [1.5] * dimensions}
    covariance = (0.81 * np.eye(dimensions)).tolist()
    return {"n": 100, "dimensions": dimensions, **rows, "covariance": covariance, **changed}


def pictures(folder: Path, n: int = 4, *, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Path:
    """Grey noise in two folders, `dark` and `light`."""
    draw = np.random.default_rng(seed)
    for place in range(n):
        name, low = (CLASSES[0], 0) if place % 2 == 0 else (CLASSES[1], 128)
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(low, low + 128, size[::-1]).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{place:03d}.png")
    return folder


def read(path: Path) -> np.ndarray:
    """A picture's pixels."""
    return np.asarray(Image.open(path))
