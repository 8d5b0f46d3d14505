"""How alike two pictures look: SSIM (Wang et al., Image Quality Assessment: From Error Visibility to Structural
Similarity, IEEE TIP 13, 2004), as scikit-image computes it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

SIDE = 11  # pixels of the window: a Gaussian of 1.5 pixels, cut at 3.5 of them


def ssim(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """SSIM of each pair of pictures with values in [0, 1], with the constants of the paper. N H W C, N H W C -> N.

    Raises:
        NetwrightError: scikit-image is not there, or pictures are smaller than the window.
    """
    similarity = similarity_tool()
    if one.shape != other.shape or one.ndim != 4:
        problem = f"pictures of shapes {one.shape} and {other.shape} cannot be compared one by one"
        raise NetwrightError(problem, "give both as N H W C")
    if min(one.shape[1:3]) < SIDE:
        problem = f"SSIM looks at windows of {SIDE} x {SIDE} pixels, and these pictures are smaller"
        raise NetwrightError(problem, "take PSNR for pictures of this size")
    as_published: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = zip(one.astype(np.float64), other.astype(np.float64), strict=True)
    return np.array([similarity(*pair, data_range=1.0, channel_axis=-1, **as_published) for pair in pairs])


def similarity_tool() -> Any:
    """scikit-image's `structural_similarity`.

    Raises:
        NetwrightError: scikit-image is not there.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        problem = "SSIM needs scikit-image, and it is not there"
        raise NetwrightError(problem, "python -m pip install 'netwright[instances]'") from error
    return structural_similarity
