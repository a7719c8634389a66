"""Augmentation: what may change does, by as much as the settings say, and only by the generator's draws."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from studio.data import Preprocess
from studio.jobs._augment import augment, channels_first, generator_of, mix, refuses, time_axis
from studio.jobs._samples import Samples
from studio.jobs._settings import TrainingSettings


def pictures(count: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, 9, 7, generator=torch.Generator().manual_seed(1))


def run(x: torch.Tensor, seed: int = 0, **settings: object) -> torch.Tensor:
    return augment(x, TrainingSettings(**settings), generator_of(seed))  # type: ignore[arg-type]


def test_nothing_set_changes_nothing() -> None:
    x = pictures()
    assert run(x) is x


def test_the_same_draws_give_the_same_batch() -> None:
    every = {"flip": True, "shift": 2, "crop": 0.3, "cutout": 3, "noise": 0.1}
    x = pictures()
    before = x.clone()
    assert torch.equal(run(x, 1, **every), run(x, 1, **every))
    assert not torch.equal(run(x, 1, **every), run(x, 2, **every))
    assert torch.equal(x, before)


def test_flip_mirrors_about_half_of_the_pictures() -> None:
    x = pictures(200)
    y = run(x, flip=True)
    same = (y == x).flatten(1).all(1)
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 60 < int(mirrored.sum()) < 140


def test_shift_moves_and_repeats_the_edge() -> None:
    x = pictures(100)
    y = run(x, shift=2)
    found = set()
    for before, after in zip(x, y, strict=True):
        moves = [
            (a, b)
            for a in range(-2, 3)
            for b in range(-2, 3)
            if torch.equal(after, before[:, (torch.arange(9) + a).clamp(0, 8)][:, :, (torch.arange(7) + b).clamp(0, 6)])
        ]
        assert len(moves) == 1
        found.update(moves)
    assert len(found) > 20  # of 25


def test_cutout_blanks_one_square_with_the_mean() -> None:
    x = pictures(50)
    changed = (run(x, cutout=3) != x)[:, 0]
    assert changed.flatten(1).sum(1).tolist() == [9] * 50
    rows, columns = changed.any(2), changed.any(1)
    assert rows.sum(1).tolist() == columns.sum(1).tolist() == [3] * 50
    y = run(x, cutout=3)
    assert torch.allclose(y[0, 1][changed[0]], x[0, 1].mean())


def test_crop_keeps_shape_and_range_and_leaves_flat_pictures_flat() -> None:
    x = pictures()
    y = run(x, crop=0.5)
    assert y.shape == x.shape
    assert bool((y.amax((1, 2, 3)) <= x.amax((1, 2, 3)) + 1e-5).all())
    assert not torch.allclose(y, x)
    flat = torch.full((4, 3, 9, 7), 2.5)
    assert torch.allclose(run(flat, crop=0.5), flat)


def test_noise_has_the_size_asked_for() -> None:
    x = pictures(200) * 10
    assert float((run(x, noise=0.2) - x).std() / x.std()) == pytest.approx(0.2, rel=0.05)


def test_time_shift_moves_along_the_longest_axis() -> None:
    x = torch.randn(50, 1, 20, 5, generator=torch.Generator().manual_seed(3))
    assert time_axis(x.shape) == 2
    assert time_axis((1, 2, 100)) == 2
    assert time_axis((1, 1, 5, 20)) == 3
    y = run(x, time_shift=4)
    for before, after in zip(x, y, strict=True):
        assert any(
            torch.equal(after, before[:, (torch.arange(20) + move).clamp(0, 19)]) for move in range(-4, 5)
        )  # fmt: skip


def mixed(
    x: torch.Tensor, labels: torch.Tensor | None, seed: int = 0, **settings: object
) -> tuple[torch.Tensor, torch.Tensor | None]:
    return mix(x, labels, 5, TrainingSettings(**settings), generator_of(seed))  # type: ignore[arg-type]


def counted(count: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples that are their number everywhere, and labels; the one before each has another label."""
    numbers = torch.arange(1.0, count + 1)
    return numbers.reshape(-1, *[1] * len(shape)).expand(-1, *shape).contiguous(), torch.arange(count) % 5


def test_nothing_mixed_keeps_whole_labels() -> None:
    x, labels = counted(4, 3, 8, 8)
    assert mixed(x, labels)[0] is x
    assert mixed(x, labels)[1] is labels


@pytest.mark.parametrize("shape", [(7,), (2, 20), (3, 8, 6)])
def test_mixup_blends_samples_and_labels_by_the_same_share(shape: tuple[int, ...]) -> None:
    x, labels = counted(100, *shape)
    y, found = mixed(x, labels, mixup=0.6)
    assert found is not None
    value = y.flatten(1)
    assert torch.allclose(value, value[:, :1].expand_as(value))
    before = torch.arange(100).roll(1)
    share = (y.flatten(1)[:, 0] - x.flatten(1)[:, 0]) / (x.flatten(1)[before, 0] - x.flatten(1)[:, 0])
    assert torch.allclose(found.sum(1), torch.ones(100))
    assert torch.allclose(found[torch.arange(100), labels[before]], share, atol=1e-4)
    assert 45 < int((share > 1e-6).sum()) < 75
    assert float(share.max()) > 0.9
    assert mixed(x, None, mixup=0.6)[1] is None
    assert torch.equal(mixed(x, None, mixup=0.6)[0], y)


def test_cutmix_pastes_one_window_and_labels_by_its_area() -> None:
    x, labels = counted(60, 3, 10, 8)
    y, found = mixed(x, labels, cutmix=1.0)
    assert found is not None
    theirs = y == x.roll(1, 0)
    assert bool((theirs | (y == x)).all())
    assert torch.equal(theirs[:, 0], theirs[:, 2])
    inside = theirs[:, 0]
    assert torch.equal(inside.sum((1, 2)), inside.any(2).sum(1) * inside.any(1).sum(1))
    share = inside.float().mean((1, 2))
    assert torch.allclose(found[torch.arange(60), labels.roll(1)], share)
    assert float(share.min()) < 0.1
    assert float(share.max()) > 0.9


def test_what_does_not_fit_the_samples_is_refused() -> None:
    assert refuses(TrainingSettings(flip=True), (1, 40)) is not None
    assert refuses(TrainingSettings(time_shift=2), (1, 40)) is not None
    assert "all 49" in str(refuses(TrainingSettings(time_shift=49), (1, 1, 49, 10)))
    assert refuses(TrainingSettings(cutout=9), (1, 3, 8, 8)) is not None
    assert refuses(TrainingSettings(cutout=8, shift=1, noise=0.5), (1, 3, 8, 8)) is None
    assert refuses(TrainingSettings(cutmix=0.5), (1, 40)) is not None
    assert refuses(TrainingSettings(mixup=0.5), (1, 40)) is None
    assert "add up to 1.1" in str(refuses(TrainingSettings(mixup=0.6, cutmix=0.5), (1, 3, 8, 8)))


def test_where_the_channels_lie() -> None:
    assert channels_first((1, 3, 32, 32), None)
    assert not channels_first((1, 32, 32, 3), None)
    assert not channels_first((1, 49, 10, 1), None)
    assert channels_first((1, 16, 10, 10), None)  # none that could be: as most networks have them
    assert channels_first((1, 3, 32, 3), "NCHW")
    assert not channels_first((1, 3, 32, 3), "NHWC")
    assert channels_first((1, 640), None)


def test_samples_with_channels_last_move_along_time_and_width() -> None:
    x = np.arange(4 * 12 * 5, dtype=np.float32).reshape(4, 12, 5, 1)
    data: Any = SimpleNamespace(batch=lambda indices: x[indices], preprocess=Preprocess())
    every = np.arange(4)

    def batch(**settings: object) -> torch.Tensor:
        chosen = TrainingSettings(batch_size=4, **settings)  # type: ignore[arg-type]
        found = Samples(data, chosen, every, every[:1], None, 0).batch(0)[0]
        return found[found.flatten(1).amin(1).argsort()]

    assert torch.equal(batch(), torch.from_numpy(x))
    late = batch(time_shift=3)
    assert late.shape == x.shape
    assert torch.equal(late[:, :, 1] - late[:, :, 0], torch.ones(4, 12, 1))  # the five of a step stay together
    assert not torch.equal(late, batch())
    mirrored = batch(flip=True)
    assert {float(row[0, 1, 0] - row[0, 0, 0]) for row in mirrored} <= {1.0, -1.0}
    assert torch.equal(mirrored.amin((2, 3)), torch.from_numpy(x).amin((2, 3)))
