"""Pictures drawn from a conditional autoencoder, as a folder to train on; `lab.tstr` says what that is worth.

The conditional VAE: Sohn, Lee & Yan 2015, Learning structured output representation, NIPS 28.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.core.errors import NetwrightError, listed
from netwright.records.atomic import disk_errors

Pixels = NDArray[np.uint8]
PLAIN = re.compile(r"[^\x00-\x1f/\\:*?\"<>|]{1,120}")


@dataclass(frozen=True, eq=False)
class Drawn:
    """Pictures that never were.

    Attributes:
        images: uint8 N S S C.
        labels: the class that each was asked for. N.
        classes: their names.
        seed: of the codes.
    """

    images: Pixels
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    seed: int


def drawn(bundle: AutoencoderBundle, per_class: int, seed: int = 0) -> Drawn:
    """So many pictures of each class, by codes drawn from the prior.

    Pictures are what the decoder expects for a code, without the noise of the observation model.

    Raises:
        NetwrightError: the network takes no classes or has no prior, or nothing is asked for.
    """
    refuse_unconditional(bundle)
    if per_class < 1:
        raise NetwrightError(f"{per_class} pictures of each class are none", "ask for at least 1: --per-class 100")
    labels = np.repeat(np.arange(len(bundle.classes)), per_class)
    codes = bundle.sample(len(labels), seed, labels)
    parts = (part.mul(255).round_().byte().permute(0, 2, 3, 1) for part in bundle.decoded_parts(codes, labels))
    return Drawn(np.concatenate([part.numpy() for part in parts]), labels, bundle.classes, seed)


def refuse_unconditional(bundle: AutoencoderBundle) -> None:
    """Refuse networks that cannot be asked for a class.

    Raises:
        NetwrightError: it is one.
    """
    if not (bundle.conditional and bundle.random):
        problem = "this autoencoder cannot be asked for pictures of a class: it was trained without classes"
        fix = 'train one that can: netwright train DATA --task reconstruction --model "conditional_vae(latent=8)"'
        raise NetwrightError(problem, fix)


def write(made: Drawn, folder: Path) -> dict[str, str]:
    """A folder for each class, with PNG files that say what they are; the whole folder appears at once.

    Returns:
        The folder of each class.

    Raises:
        NetwrightError: the folder is there and not empty, or cannot be written.
    """
    refuse_taken(folder)
    named = _folders(made.classes)
    aside = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}-{token_hex(4)}")
    info = PngInfo()
    info.add_text("Software", "netwright synthesize")
    info.add_text("Description", "drawn by a network: no photograph")
    with disk_errors(folder):
        try:
            for number, name in enumerate(made.classes):
                (aside / named[name]).mkdir(parents=True)
                for count, place in enumerate(np.flatnonzero(made.labels == number).tolist()):
                    picture_of(made.images[place]).save(aside / named[name] / f"{count:05d}.png", pnginfo=info)
            if folder.is_dir():
                folder.rmdir()
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return named


def refuse_taken(folder: Path) -> None:
    """Refuse a place at which something is already.

    Raises:
        NetwrightError: a file, or a folder that is not empty.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        problem = f"{folder} is there already, and drawn pictures are not mixed with others"
        raise NetwrightError(problem, "name a new folder: -o NAME")


def picture_of(pixels: Pixels) -> Image.Image:
    """A grey or coloured picture, uint8 H W C."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _folders(classes: tuple[str, ...]) -> dict[str, str]:
    """A folder's name for each class: its own, or where no folder can be called so, its number."""
    usable = {name for name in classes if PLAIN.fullmatch(name) and not name.startswith(".")}
    named = {name: name if name in usable else f"class_{number}" for number, name in enumerate(classes)}
    if len(set(named.values())) < len(classes):
        raise NetwrightError(f"two of the classes would have the folder of one: {listed(classes)}", "rename them")
    return named
