"""What people wear: garments, hair and skin, painted on the body mesh pixel by pixel.

A garment is a range on the body: sleeves end at a place along the arm, trousers along the leg (see
``Mesh.regions``). Cloth patterns and folds are functions of the rest position, so they move with
the body.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.render.mesh import Mesh

Array = NDArray[np.float64]

_WAIST, _THROAT, _CHIN, _CROWN = -0.20, -0.68, -0.745, -0.96
"""Heights y of the mean body at rest in metres."""
_MIDDLE_OF_HEAD = -0.055
"""Depth z of the mean body's head at rest in metres; its nose is at -0.17, its back at 0.05."""
SKIN, SHIRT, TROUSERS, SHOES, HAIR = range(5)


@dataclass(frozen=True)
class Outfits:
    """B outfits.

    Attributes:
        colour: (B, 5, 3) of skin, shirt, trousers, shoes and hair, in [0, 1].
        second: (B, 5, 3) the other colour of each pattern, in [0, 1].
        contrast: (B, 5) share of ``second`` where the pattern is strongest, in [0, 1].
        wave: (B, 5, 3) direction of the pattern, as long as its frequency in radians a metre.
        is_plaid: (B, 5) 1 for a pattern that also varies across, 0 for stripes.
        folds: (B, 5) largest slope of each wave of the folds.
        sleeve: (B,) where sleeves end along the arm, as in ``Mesh.regions``.
        hem: (B,) where trousers or a skirt end along the leg.
        collar: (B,) where the shirt ends along the neck.
        waist: (B,) height of the waist, y at rest in metres.
        sock: (B,) where shoes or socks begin along the leg; above 3 for bare feet.
        hairline: (B,) share of the head's height that the hair leaves free in front.
        hair_length: (B,) metres below the chin to which hair falls behind.
        volume: (B, 3) metres that shirt, trousers and hair add to the body.
    """

    colour: Tensor
    second: Tensor
    contrast: Tensor
    wave: Tensor
    is_plaid: Tensor
    folds: Tensor
    sleeve: Tensor
    hem: Tensor
    collar: Tensor
    waist: Tensor
    sock: Tensor
    hairline: Tensor
    hair_length: Tensor
    volume: Tensor

    def rows(self, part: slice) -> Self:
        """Some of the outfits."""
        return type(self)(**{f.name: getattr(self, f.name)[part] for f in fields(self)})


def draw_outfits(
    rng: np.random.Generator, num: int, saturation: float, pattern: float, folds: float
) -> Outfits:
    """Draw ``num`` outfits.

    Args:
        rng: Source of all randomness.
        num: Number of people.
        saturation: Spread of the cloth colours around grey, 1 for the full range.
        pattern: Largest contrast of cloth patterns, in [0, 1].
        folds: Largest slope of folds.
    """
    colour = 0.5 + (rng.uniform(0.02, 0.98, (num, 5, 3)) - 0.5) * saturation
    dark = rng.random((num, 5)) < 0.35  # much real cloth is black, white or denim
    colour[dark] = rng.uniform(0.03, 0.95, (num, 5, 1)).repeat(3, 2)[dark]
    tone = rng.uniform(0.0, 1.0, (num, 1))
    colour[:, SKIN] = (1 - tone) * (0.95, 0.76, 0.65) + tone * (0.32, 0.20, 0.14)
    colour[:, SKIN] *= rng.normal(1, 0.04, (num, 3))
    shade = rng.uniform(0.0, 1.0, (num, 1)) ** 2
    colour[:, HAIR] = (1 - shade) * (0.08, 0.06, 0.05) + shade * (0.75, 0.58, 0.35)
    suit = rng.random(num) < 0.15  # dresses, overalls, leotards
    colour[suit, TROUSERS] = colour[suit, SHIRT]
    second = np.clip(colour + rng.normal(0, 0.35, colour.shape), 0.02, 0.98)
    contrast = rng.uniform(0, 1, (num, 5)) * pattern * (rng.random((num, 5)) < 0.5)
    contrast[:, [SKIN, HAIR]] = 0
    axis = rng.normal(0, 1, (num, 5, 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    creases = rng.uniform(0.2, 1, (num, 5)) * folds
    creases[:, SKIN] *= 0.15
    creases[:, SHOES] *= 0.3

    def chosen(*options: tuple[float, float, float]) -> Array:
        """One range (share, low, high) for each person, then a value in it."""
        share = np.array([option[0] for option in options])
        index = rng.choice(len(options), num, p=share / share.sum())
        ends = np.array([option[1:] for option in options])[index]
        return rng.uniform(ends[:, 0], ends[:, 1])

    arrays = {
        "colour": colour.clip(0.01, 0.99),
        "second": second,
        "contrast": contrast,
        "wave": axis * rng.uniform(25, 140, (num, 5, 1)),
        "is_plaid": (rng.random((num, 5)) < 0.35) * 1.0,
        "folds": creases,
        "sleeve": chosen((0.15, -0.1, 0.05), (0.45, 0.3, 0.9), (0.4, 1.6, 2.0)),
        "hem": chosen((0.35, 0.15, 0.8), (0.1, 1.0, 1.5), (0.55, 1.7, 2.05)),
        "collar": chosen((0.8, -0.2, 0.3), (0.2, 0.4, 0.8)),
        "waist": _WAIST + rng.uniform(-0.10, 0.10, num),
        "sock": chosen((0.15, 3.1, 3.2), (0.45, 1.95, 2.1), (0.4, 1.3, 1.9)),
        "hairline": chosen((0.85, 0.62, 0.85), (0.15, 0.9, 1.2)),
        "hair_length": chosen((0.6, -0.1, 0.0), (0.4, 0.0, 0.25)),
        "volume": rng.uniform(0, 1, (num, 3)) * (0.018, 0.018, 0.03),
    }
    return Outfits(**{k: torch.from_numpy(np.float32(v)) for k, v in arrays.items()})


def parts_worn(regions: Tensor, rest: Tensor, outfits: Outfits) -> Tensor:
    """Which of skin, shirt, trousers, shoes and hair covers places on the body.

    Args:
        regions: (N, 3) or (1, V, 3), as in :class:`trainables.data.render.mesh.Mesh`.
        rest: (N, 3) or (1, V, 3), the same places on the mean body at rest, metres.
        outfits: One for each of N places, or B with attributes (B, 1); those of one number a
            person are read.

    Returns:
        (N,) or (B, V) int64, an index such as :data:`SKIN`.
    """
    arm, leg, head = regions.unbind(-1)
    x, y, z = rest.unbind(-1)
    o = outfits
    below = (y > o.waist) & (arm == 0)
    trousers = ((leg > 0) | below) & (leg < o.hem)
    shirt = ~below & (leg == 0) & (arm < o.sleeve) & (head <= o.collar.clamp(min=0))
    # A low collar shows skin below the neck, at the throat.
    throat = (y - _THROAT) ** 2 + x**2 < (-o.collar * 0.7).clamp(min=0) ** 2
    shirt = shirt & ~(throat & (z < 0) & (head == 0))
    shoes = leg >= o.sock
    up = (_CHIN - y) / (_CHIN - _CROWN)  # 0 at the chin, 1 at the crown
    behind = (z - _MIDDLE_OF_HEAD) / 0.1
    scalp = (head >= 1) & (up > o.hairline - 0.75 * (behind + 0.35).clamp(0, 1))
    fallen = (z > _MIDDLE_OF_HEAD + 0.05) & (y < _CHIN + o.hair_length) & (head > 0)
    part = torch.zeros(torch.broadcast_shapes(arm.shape, o.waist.shape), dtype=torch.int64)
    for mask, index in ((trousers, TROUSERS), (shirt, SHIRT), (shoes, SHOES)):
        part = torch.where(mask, index, part)
    return torch.where(scalp | fallen, HAIR, part)


def clothes_volume(mesh: Mesh, outfits: Outfits) -> Tensor:
    """Metres (B, V) by which clothes and hair stand off the body."""
    column = Outfits(**{f.name: getattr(outfits, f.name)[:, None] for f in fields(Outfits)})
    part = parts_worn(mesh.regions[None], mesh.mean[None], column)
    shirt, trousers, hair = outfits.volume.unbind(1)
    none = torch.zeros_like(shirt)
    return torch.stack([none, shirt, trousers, none + 0.006, hair + 0.005], 1).gather(1, part)


def paint_outfits(
    regions: Tensor, rest: Tensor, normals: Tensor, outfits: Outfits, image: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours and creased normals of N places on the bodies.

    Args:
        regions: (N, 3) position along arm, leg and head.
        rest: (N, 3) position on the mean body at rest, metres.
        normals: (N, 3) of the smooth body.
        outfits: B outfits.
        image: (N,) whose body each place belongs to.

    Returns:
        (N, 3) colours in [0, 1] and (N, 3) unit normals.
    """
    # The others would take 63 numbers a place and are looked up by cell below.
    scalars = ("sleeve", "hem", "collar", "waist", "sock", "hairline", "hair_length")
    own = Outfits(
        **{
            f.name: getattr(outfits, f.name)[image] if f.name in scalars else outfits.colour[:0]
            for f in fields(Outfits)
        }
    )
    part = parts_worn(regions, rest, own)
    cell = image * 5 + part
    wave = outfits.wave.flatten(0, 1)[cell]
    phase = (rest * wave).sum(1)
    across = (rest * wave.roll(1, 1)).sum(1)
    plaid = outfits.is_plaid.flatten()[cell]
    stripes = torch.sin(phase) * (1 - plaid) + torch.sin(phase) * torch.sin(across) * plaid
    share = (outfits.contrast.flatten()[cell] * (0.5 + 2 * stripes).clamp(0, 1))[:, None]
    colour = outfits.colour.flatten(0, 1)[cell]
    colour = colour + (outfits.second.flatten(0, 1)[cell] - colour) * share
    # Folds: three waves tilt the normals, in directions that differ from person to person.
    depth = outfits.folds.flatten()[cell][:, None]
    slope = torch.zeros_like(normals)
    for octave, frequency in enumerate((22.0, 41.0, 77.0)):
        direction = outfits.wave[:, octave].roll(octave, 1)[image]
        angle = (rest * torch.nn.functional.normalize(direction, dim=1)).sum(1) * frequency
        bend = torch.sin(angle + 2.5 * torch.sin(rest[:, octave] * 17.0))
        slope = slope + bend[:, None] * torch.nn.functional.normalize(direction.roll(1, 1), dim=1)
    return colour, torch.nn.functional.normalize(normals + depth * slope, dim=1)
