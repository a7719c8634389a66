"""Augmentation as data: settings in, a batch out; every draw comes from the generator that is handed in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from studio.jobs._settings import TrainingSettings

PICTURES = ("flip", "shift", "crop", "cutout")


def refuses(settings: TrainingSettings, shape: Sequence[int]) -> str | None:
    """Reason why samples of this shape (with the batch) cannot be augmented so; None where they can."""
    wanted = [name for name in PICTURES if getattr(settings, name)]
    if wanted and len(shape) != 4:
        return f"'{wanted[0]}' changes pictures, but samples here have the shape {tuple(shape[1:])}: switch it off."
    if settings.time_shift and len(shape) < 3:
        return f"'time_shift' needs a time axis, but samples here have the shape {tuple(shape[1:])}: set it to 0."
    if settings.cutout and settings.cutout > min(shape[2:]):
        return f"'cutout' of {settings.cutout} px is larger than the picture ({shape[2]}x{shape[3]}): set less."
    if settings.shift and settings.shift >= min(shape[2:]):
        return f"'shift' of {settings.shift} px moves the picture ({shape[2]}x{shape[3]}) out of sight: set less."
    return None


def augment(x: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Tensor:
    """Return the batch, (N, ...) float32, changed sample by sample; `x` itself where nothing is set."""
    if settings.flip:
        x = torch.where(_coin(x, generator), x.flip(-1), x)
    if settings.crop:
        x = _cropped(x, settings.crop, generator)
    if settings.shift:
        for axis in (2, 3):
            x = _shifted(x, axis, settings.shift, generator)
    if settings.time_shift:
        x = _shifted(x, time_axis(x.shape), settings.time_shift, generator)
    if settings.cutout:
        x = _blanked(x, settings.cutout, generator)
    if settings.noise:
        spread = x.flatten(1).std(1).reshape(-1, *[1] * (x.dim() - 1))
        x = x + settings.noise * spread * torch.randn(x.shape, generator=generator)
    return x


def time_axis(shape: Sequence[int]) -> int:
    """Axis of time of audio features: the longest behind the channels, the first of equal ones."""
    return 2 + max(range(len(shape) - 2), key=lambda i: shape[2 + i])


def _coin(x: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.rand(len(x), generator=generator) < 0.5).reshape(-1, *[1] * (x.dim() - 1))


def _shifted(x: Tensor, axis: int, most: int, generator: torch.Generator) -> Tensor:
    """Each sample moved by -most..most places along an axis; what comes in repeats the edge."""
    size = x.shape[axis]
    offset = torch.randint(-most, most + 1, (len(x), 1), generator=generator)
    places = (torch.arange(size) + offset).clamp_(0, size - 1)
    index = places.reshape(len(x), *[size if d == axis else 1 for d in range(1, x.dim())])
    return x.gather(axis, index.expand(x.shape))


def _cropped(x: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Window of 1 - most .. 1 of height and width at a random place, brought to the old size (bilinear)."""
    share = 1 - most * torch.rand(len(x), generator=generator)
    move = (2 * torch.rand(2, len(x), generator=generator) - 1) * (1 - share)
    zero = torch.zeros_like(share)
    turn = torch.stack([torch.stack([share, zero, move[0]], 1), torch.stack([zero, share, move[1]], 1)], 1)
    grid = functional.affine_grid(turn, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _blanked(x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Square of the sample's mean at a random place, wholly inside (cutout, DeVries and Taylor 2017)."""
    inside = []
    for axis in (2, 3):
        free = x.shape[axis] - size + 1
        start = torch.floor(torch.rand(len(x), 1, generator=generator) * free)
        place = torch.arange(x.shape[axis])
        inside.append((place >= start) & (place < start + size))
    square = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    return torch.where(square, x.mean((2, 3), keepdim=True), x)


def generator_of(*numbers: int) -> torch.Generator:
    """Return a generator that is a function of these numbers alone: a resumed run draws the same."""
    seed = 1
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(seed)
