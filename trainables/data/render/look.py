"""What distinguishes one rendered domain from another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Poses, people, scene and camera of a domain."""

    complexity: tuple[float, float]
    """Parameters of the Beta distribution of pose complexity."""
    yaw_limit: tuple[float, float]
    """Largest turn from the camera in radians: for the simplest pose, for the most complex one."""
    tumble: float
    """Share of figures that are tipped towards or from the camera and then turned in the image
    plane by any angle, as in jumps, falls and gymnastics."""
    figure_share: tuple[float, float]
    """Range of the longer side of the box around the joints over the side of the image."""
    off_centre: float
    """How far from the middle of the free room a figure may stand: 1 for anywhere."""
    is_padded: bool
    """Whether images have the proportions of photographs, 2:3 to 3:2, and are padded with black
    to a square, as whole photographs are."""
    shape_spread: float
    """Spread of the body shapes, 1 for that of random adults."""
    texture: float
    """Contrast of the background texture, 0 for none."""
    structures: int
    """Largest number of rectangles (walls, doors, boards) before a horizon; 0 for no horizon."""
    clutter: int
    """Largest number of limb-like shapes behind the figure."""
    occluders: int
    """Largest number of shapes in front of a person."""
    saturation: float
    """Spread of the cloth colours around grey, 1 for the full range."""
    pattern: float
    """Largest contrast of cloth patterns."""
    folds: float
    """Largest slope of each wave of the folds of clothes."""
    ambient: tuple[float, float]
    """Range of the share of the shading that does not depend on the light."""
    side_light: float
    """How far the light moves off the camera axis, in [0, 1]."""
    cast: float
    """Spread of the colour cast and of the exposure."""
    blur: float
    """Largest blur sigma, in 64ths of the image side."""
    noise: float
    """Largest standard deviation of pixel noise, in [0, 1]."""
    labels_hidden: bool
    """Whether joints that the body or an object hides are labelled, as a renderer's are and most
    of those in photographs are not."""
