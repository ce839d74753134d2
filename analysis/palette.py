"""How figures look: one colour per method, axes without clutter, names short enough to stand.

The colours are those of Okabe and Ito, which the colour-blind can tell apart, and light shades of
them for controls.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, BLACK, YELLOW)
"""For what has no colour of its own, in order."""
METHOD_COLOURS = {
    "Source only": GREY,
    "Oracle": BLACK,
    # A pair of hues for each method: all of the source and VAE-HM, as in the paper's Figure 4.
    "RegDA": SKY,
    "RegDA VAE-CL": GREEN,
    "RegDA VAE-HM": BLUE,
    "RegDA random third": "#B3D9F2",
    "RegDA easy third": "#A6D8C9",
    "UDAPE": ORANGE,
    "UDAPE VAE-CL": PURPLE,
    "UDAPE VAE-HM": VERMILION,
    "UDAPE random third": "#F5D899",
    "UDAPE easy third": "#EBC9DC",
}
"""Name of a trial to its colour in every figure."""
MAX_LABEL = 46
FONT = 9
"""Size of most text in points; figures are 7 inches wide, so they are printed as they are."""
WIDTH = 7.0


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name: its own, or the next of the cycle that no other name has."""
    taken = {METHOD_COLOURS[name] for name in names if name in METHOD_COLOURS}
    free = [colour for colour in CYCLE if colour not in taken] or list(CYCLE)
    others = [name for name in dict.fromkeys(names) if name not in METHOD_COLOURS]
    chosen = {name: free[place % len(free)] for place, name in enumerate(others)}
    return {name: METHOD_COLOURS.get(name) or chosen[name] for name in names}


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, in inches, that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained")


def declutter(axes: Axes, grid: str = "both") -> None:
    """Take away what does not inform: two of the four spines, and strong grid lines.

    Args:
        axes: Axes to change.
        grid: ``x``, ``y`` or ``both``.
    """
    axes.spines[["top", "right"]].set_visible(False)
    if grid in ("x", "both"):
        axes.grid(axis="x", alpha=0.3)
    if grid in ("y", "both"):
        axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=FONT - 1)


def shortened(name: str, longest: int = MAX_LABEL) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= longest else name[: longest - 3] + "..."
