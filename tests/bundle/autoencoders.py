"""Bundles of small autoencoders with weights as drawn, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from netwright.bundle.save import save_bundle
from netwright.models import create_model

SIDE = 8
CLASSES = ("cat", "dog", "7")
VAE = "vae(encoder='mlp(widths=(8,))', image_size=8, latent=3)"
PLAIN = "mlp_autoencoder(hidden=(8,), image_size=8, latent=3)"
CONDITIONAL = "conditional_vae(encoder='mlp(widths=(8,))', image_size=8, latent=3)"
RECURRENT = "recurrent_autoencoder(hidden=8, image_size=8, latent=3)"
CONVOLUTIONAL = "autoencoder(encoder='resnet20(width=2)', image_size=8, latent=3, width=2)"
LATENT = {"mean": [1.0, -2.0, 0.5], "covariance": [[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], "n": 9}


def bundle(folder: Path, spec: str = VAE, **changes: Any) -> Path:
    """A bundle, whose running statistics are those of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = changes.get("in_channels", 1)
    classes = changes.get("classes", CLASSES)
    torch.manual_seed(0)
    network = create_model(spec, classes=len(classes), in_channels=channels)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, channels, SIDE, SIDE), torch.zeros(8, dtype=torch.long))
    card: dict[str, Any] = {
        "spec": spec,
        "structure": [],
        "classes": classes,
        "in_channels": channels,
        "macs": 1,
        "task": "reconstruction",
        "preprocess": {
            "image_size": SIDE,
            "stored_size": SIDE + 2,
            "fit": "crop",
            "channels": channels,
            "mean": [0.5] * channels,
            "std": [0.25] * channels,
        },
        "temperature": 1.0,
        "latent": LATENT,
        "metrics": {},
        "recipe": {"precision": "fp32"},
        "versions": {},
    }
    save_bundle(folder, network, **(card | changes), write=_write)
    return folder


def pictures(n: int, side: int = 12) -> list[np.ndarray]:
    """Noise, grey, larger than the network wants."""
    return [np.random.default_rng(place).integers(0, 256, (side, side), np.uint8) for place in range(n)]


def _write(path: Path, data: bytes | str) -> None:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
