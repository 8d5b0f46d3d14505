"""What the study of autoencoders compares: a network for each way to learn a code, and what has learnt none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from netwright.core.errors import NetwrightError, unknown
from netwright.core.spec import Spec
from netwright.data.preprocess import Preprocess

Group = Literal["control", "plain", "denoising", "sparse", "variational"]
CORRUPTIONS = ("gaussian", "salt_and_pepper", "mask", "perturb")
SPARSE = ("l1", "kl", "topk")
PIXELS, DRAWN, PLAIN = "raw pixels", "encoder as drawn", "autoencoder"
BODIES = ("autoencoder", "mlp_autoencoder")
GREY = 32  # grey pictures up to this side are taken for digits: dense layers suit them
SHARED = (
    "upsample",
    "width",
    "norm",
    "activation",
    "observation",
)  # options of plain ones that variational ones have too
SMALL = 64  # larger ones need encoders that halve them five times


@dataclass(frozen=True)
class Arm:
    """One way to a code.

    Attributes:
        name: in tables.
        group: what kind of way it is.
        latent: numbers of its code; 0 for as many as there are pixels.
        model: the network; empty where there is none.
        trick: that makes it what it is; empty where none does.
        own: the corruption that it learns to undo; empty for none.
    """

    name: str
    group: Group
    latent: int = 0
    model: str = ""
    trick: str = ""
    own: str = ""

    @property
    def trains(self) -> bool:
        """Whether it is a network that is trained."""
        return self.group != "control"


def body_for(preprocess: Preprocess) -> str:
    """The autoencoder that suits pictures where none is named."""
    side = preprocess.image_size
    if preprocess.channels == 1 and side <= GREY:
        return "mlp_autoencoder(hidden=(512, 256))"
    return f"autoencoder(encoder='{'resnet20' if side <= SMALL else 'resnet18'}')"


def arms_of(body: str, latents: Sequence[int], amount: float) -> tuple[Arm, ...]:
    """Every arm, controls first.

    Args:
        body: the plain autoencoder, as of `autoencoder` or `mlp_autoencoder`, without `latent`.
        latents: of the variational ones; the largest is that of all others.
        amount: of every corruption.

    Raises:
        NetwrightError: another network, one that says how long its codes are, or one with tied weights.
    """
    spec, most = Spec.parse(body), max(latents)
    if spec.name not in BODIES:
        raise unknown("autoencoder to study", spec.name, BODIES)
    if "latent" in spec.options:
        fix = f"leave latent out of --model, and give --latent {spec.options['latent']}"
        raise NetwrightError("the study says how long codes are", fix)
    if spec.options.get("tied"):
        fix = "leave tied out of --model: then all have the same layers"
        raise NetwrightError("variational autoencoders have no tied weights, so they would have other layers", fix)
    plain = str(spec.with_options(latent=most))
    controls = (
        Arm(PIXELS, "control"),
        *(Arm(pca_name(k), "control", k) for k in sorted(latents)),
        Arm(DRAWN, "control", most, plain),
    )
    learnt = (
        Arm(PLAIN, "plain", most, plain),
        *(
            Arm(denoiser(kind), "denoising", most, plain, str(Spec("denoise", {"kind": kind, "amount": amount})), kind)
            for kind in CORRUPTIONS
        ),
        *(Arm(sparse_name(kind), "sparse", most, plain, _sparse(kind, most)) for kind in SPARSE),
        *(Arm(vae_name(k), "variational", k, variational(spec, k)) for k in sorted(latents)),
    )
    return (*controls, *learnt)


def pca_name(k: int) -> str:
    """Of principal components."""
    return f"PCA {k}"


def vae_name(k: int) -> str:
    """Of a variational autoencoder."""
    return f"VAE {k}"


def denoiser(kind: str) -> str:
    """Of what learns to undo a corruption."""
    return f"denoising {kind.replace('_', ' ')}"


def sparse_name(kind: str) -> str:
    """Of what makes codes sparse."""
    return f"sparse {kind}"


def variational(body: Spec, latent: int) -> str:
    """A variational autoencoder with the same layers as a plain one."""
    options: dict[str, Any] = {name: value for name, value in body.options.items() if name in SHARED}
    if body.name == "mlp_autoencoder":
        widths = tuple(body.options.get("hidden", (512, 256)))
        own = {name: body.options[name] for name in ("activation",) if name in body.options}
        encoder = str(Spec("mlp", {"widths": widths, **own}))
    else:
        encoder = str(body.options.get("encoder", "resnet20"))
    return str(Spec("vae", {"encoder": encoder, "latent": latent, **options}))


def _sparse(kind: str, latent: int) -> str:
    """A quarter of the code at once where a number is to be said."""
    options: dict[str, Any] = {"kind": kind} | ({"k": max(1, latent // 4)} if kind == "topk" else {})
    return str(Spec("sparse", options))
