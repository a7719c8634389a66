"""Augmentation as data: settings in, a batch out; every draw comes from the generator that is handed in.

Samples have their channels first here, (N, C, ...): see `channels_first`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from studio.core.errors import DataError
from studio.data.layout import picture_layout
from studio.jobs._settings import TrainingSettings

PICTURES = ("flip", "shift", "crop", "cutout", "cutmix")


def refuses(settings: TrainingSettings, shape: Sequence[int]) -> str | None:
    """Reason why samples of this shape (N, C, ...) cannot be augmented so; None where they can."""
    wanted = [name for name in PICTURES if getattr(settings, name)]
    if wanted and len(shape) != 4:
        return f"'{wanted[0]}' changes pictures, but samples here have the shape {tuple(shape[1:])}: switch it off."
    if settings.time_shift and len(shape) < 3:
        return f"'time_shift' needs a time axis, but samples here have the shape {tuple(shape[1:])}: set it to 0."
    if settings.time_shift and settings.time_shift >= shape[time_axis(shape)]:
        steps = shape[time_axis(shape)]
        return f"'time_shift' of {settings.time_shift} steps moves all {steps} of a sample out of sight: set less."
    if settings.cutout and settings.cutout > min(shape[2:]):
        return f"'cutout' of {settings.cutout} px is larger than the picture ({shape[2]}x{shape[3]}): set less."
    if settings.shift and settings.shift >= min(shape[2:]):
        return f"'shift' of {settings.shift} px moves the picture ({shape[2]}x{shape[3]}) out of sight: set less."
    if settings.mixup + settings.cutmix > 1:
        whole = settings.mixup + settings.cutmix
        return f"The shares 'mixup' and 'cutmix' add up to {whole:g}, and may be 1 together: lower one of them."
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


def mix(
    x: Tensor, labels: Tensor | None, classes: int, settings: TrainingSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Mix samples of a batch, (N, ...) float32, with the one before each, and their labels alike.

    Of a share `mixup` all is blended (Zhang et al. 2018), of a share `cutmix` a window is pasted (Yun et al. 2019);
    how much is drawn evenly from 0..1. Labels (N,) become probabilities (N, classes); without settings both stay.
    """
    if not (settings.mixup or settings.cutmix):
        return x, labels
    part = _parts(x, settings, generator)
    mixed = torch.lerp(x, x.roll(1, 0), part)
    if labels is None:
        return mixed, None
    whole = functional.one_hot(labels, classes).float()
    return mixed, torch.lerp(whole, whole.roll(1, 0), part.flatten(1).mean(1, keepdim=True))


def _parts(x: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Tensor:
    """How much of the other sample comes in, 0..1: by sample, and by place (N, 1, H, W) where windows are pasted."""
    kind, much = torch.rand(2, len(x), generator=generator).reshape(2, len(x), *[1] * (x.dim() - 1))
    blended = kind < settings.mixup
    part = torch.where(blended, much, 0.0)
    if not settings.cutmix:
        return part
    pasted = ~blended & (kind < settings.mixup + settings.cutmix)
    edge = much.flatten(1).sqrt()
    return torch.where(pasted, _window(x, [(edge * size).round() for size in x.shape[2:]], generator).float(), part)


def channels_first(shape: Sequence[int], layout: str | None) -> bool:
    """False for samples (N, H, W, C): as the preprocessing says, else where only the last axis can be channels."""
    if len(shape) != 4:
        return True
    try:
        return picture_layout(shape[1:], layout, "") == "NCHW"
    except DataError:  # both axes could be channels, or none
        return True


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
    return torch.where(_window(x, [size, size], generator), x.mean((2, 3), keepdim=True), x)


def _window(x: Tensor, edges: Sequence[Tensor | int], generator: torch.Generator) -> Tensor:
    """Where a rectangle lies at a random place, wholly inside: bool (N, 1, H, W); edges in px, each one or (N, 1)."""
    inside = []
    for axis, edge in zip((2, 3), edges, strict=True):
        start = torch.floor(torch.rand(len(x), 1, generator=generator) * (x.shape[axis] - edge + 1))
        place = torch.arange(x.shape[axis])
        inside.append((place >= start) & (place < start + edge))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def generator_of(*numbers: int) -> torch.Generator:
    """Return a generator that is a function of these numbers alone: a resumed run draws the same."""
    seed = 1
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(seed)
