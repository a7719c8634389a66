"""The technique around the code: nothing lost, never more bytes, and what it gives on weights like real ones."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.encoding import Dense, Encoding, unpack
from studio.core.graph import Layer
from studio.core.plan import Step
from studio.core.technique import EncodeContext

LAYER = Layer("fc", "fc", "linear", "", (), (), (1, 64), (64, 512), 0, 0, 0, "fc")
WEIGHT = np.random.default_rng(0).normal(size=(64, 512)).astype(np.float32)


def stack(*steps: Step) -> Encoding:
    found: Encoding = Dense(WEIGHT)
    for step in steps:
        found = step.found.encode(found, step.values, EncodeContext(LAYER))  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("grid", [Step("quantize"), Step("share_weights", bits=4), None])
@pytest.mark.parametrize("amount", [0.0, 0.3, 0.7, 0.95])
def test_nothing_is_lost_and_no_byte_added(grid: Step | None, amount: float) -> None:
    steps = [Step("prune_weights", amount=amount), *([grid] if grid else [])]
    before, after = stack(*steps), stack(*steps, Step("huffman"))
    assert after.bits() <= before.bits()
    assert unpack(after.pack()).decode().tobytes() == before.decode().tobytes()


def test_bytes_come_near_the_entropy_of_values_and_places() -> None:
    # 90 % zeros: places cost h(0.1) bits a weight, values what their frequencies say.
    steps = [Step("prune_weights", amount=0.9), Step("share_weights", bits=4)]
    decoded = stack(*steps).decode()
    _, counts = np.unique(decoded[decoded != 0], return_counts=True)
    share = counts / counts.sum()
    places = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)) * decoded.size
    values = -float((share * np.log2(share)).sum()) * counts.sum()
    bits = stack(*steps, Step("huffman")).bits()
    assert places + values < bits < 1.03 * (places + values) + 8 * 60  # tables, centroids, head


def test_gaussian_integers_of_eight_bits_get_smaller() -> None:
    before, after = stack(Step("quantize")), stack(Step("quantize"), Step("huffman"))
    assert 0.7 < after.bits() / before.bits() < 0.95
