"""Which keypoints lie in an image: one rule for labels, views, predictions and heatmaps.

Free of torch, which takes seconds to import: labels are checked before a study starts.
"""

from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@overload
def in_frame(points: "Tensor", width: float, height: float) -> "Tensor": ...


@overload
def in_frame(
    points: NDArray[np.floating], width: NDArray[Any] | float, height: NDArray[Any] | float
) -> NDArray[np.bool_]: ...


def in_frame(points: Any, width: Any, height: Any) -> Any:
    """Tell which points lie on a pixel of an image, or on a cell of a map.

    Integers are pixel centres, so the pixels of a row cover [-0.5, width - 0.5). The right edge
    belongs to the next pixel: a point is in the frame if the pixel it rounds to is.

    Args:
        points: (..., 2) array or tensor, x before y.
        width: Pixels of a row; for arrays also (...), one for each point.
        height: Pixels of a column, likewise.

    Returns:
        (...) bool, an array or a tensor as ``points`` is; False for NaN.
    """
    x, y = points[..., 0], points[..., 1]
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
