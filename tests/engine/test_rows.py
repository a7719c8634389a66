"""Layers as matrix products, against the operators themselves."""

from __future__ import annotations

import pytest
import torch

from studio.engine import rows
from studio.network.operators import Conv, ConvTranspose, Linear, Operator

GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR)


CASES: dict[str, tuple[Operator, tuple[int, ...]]] = {
    "grouped, dilated, uneven": (Conv(random(6, 2, 3, 5), random(6), (2, 1), (1, 0, 2, 3), (1, 2), 2), (4, 9, 12)),
    "depthwise": (Conv(random(8, 1, 3, 3), random(8), (1, 1), (1,) * 4, (1, 1), 8), (8, 9, 9)),
    "1d": (Conv(random(6, 4, 3), random(6), (2,), (1, 2), (2,), 1), (4, 20)),
    "transposed": (
        ConvTranspose(random(4, 3, 3, 2), random(6), (2, 3), (1, 0, 1, 1), (1, 0), (1, 2), 2), (4, 5, 6),
    ),
    "transposed 1d": (ConvTranspose(random(4, 3, 4), random(3), (2,), (1, 1), (0,), (1,), 1), (4, 7)),
    "linear": (Linear(random(5, 7), random(5)), (7,)),
    "linear over a sequence": (Linear(random(5, 7), random(5)), (3, 7)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rows_times_matrix_is_the_layer(case: str) -> None:
    operator, shape = CASES[case]
    x = random(3, *shape)
    with torch.no_grad():
        y = operator(x)
    there = rows.places(y.shape, operator)
    chosen = torch.stack([torch.randperm(there, generator=GENERATOR)[:5] for _ in range(3)])
    weight, bias = operator.weight.detach(), operator.bias.detach()
    matrix = rows.to_matrix(weight, operator)
    found = rows.input_rows(x, operator, chosen) @ matrix.mT + bias.reshape(rows.groups_of(operator), 1, -1)
    assert torch.allclose(found, rows.output_rows(y, operator, chosen), atol=1e-5)
    assert torch.equal(rows.from_matrix(matrix, operator), weight)


def test_rows_do_not_depend_on_how_many_samples_are_unfolded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, shape = CASES["depthwise"]
    x, chosen = random(7, *shape), torch.arange(4).expand(7, -1)
    whole = rows.input_rows(x, operator, chosen)
    monkeypatch.setattr(rows, "BLOCK", 1)
    assert torch.equal(rows.input_rows(x, operator, chosen), whole)
