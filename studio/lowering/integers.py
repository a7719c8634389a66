"""The integers of a weighted operation: weights, bias, multiplier; made once for preview, writers and C."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import numpy as np

from studio.core.encoding import Codebook, Coded, Encoding, Grid, Sparse, Values, innermost
from studio.lowering.program import IntegerWeights, TensorFormat

BIAS_LIMIT = 2**30
"""A bias stays below, so that no accumulator leaves int32."""
_REMEMBERED = 8  # integers kept for one encoding: a slider moves the formats around it only a little

_cache: WeakKeyDictionary[Encoding, dict[tuple[object, ...], IntegerWeights]] = WeakKeyDictionary()
_digests: WeakKeyDictionary[IntegerWeights, str] = WeakKeyDictionary()


def make(
    encoding: Encoding, bias: np.ndarray | None, source: TensorFormat, target: TensorFormat
) -> IntegerWeights:  # fmt: skip
    """Integers of a layer that reads `source` and writes `target`; the same object for the same question.

    encoding: as `on_grid` says, output channels on axis 0; bias: (channels,) float32 or None.
    """
    known = _cache.setdefault(encoding, {})
    key = (source.scale, target.scale, None if bias is None else bias.tobytes())
    if key not in known:
        if len(known) >= _REMEMBERED:
            known.pop(next(iter(known)))
        known[key] = _make(encoding, bias, np.float32(source.scale), np.float32(target.scale))
    return known[key]


def digest(weights: IntegerWeights) -> str:
    """Content hash of all integers and scales."""
    if weights not in _digests:
        arrays = (weights.q, weights.scale, weights.bias, weights.multiplier)
        parts = [a.shape.__repr__().encode() + np.ascontiguousarray(a).tobytes() for a in arrays]
        _digests[weights] = hashlib.blake2b(b"|".join(parts), digest_size=16).hexdigest()
    return _digests[weights]


def largest_product(encoding: Encoding, source: TensorFormat) -> float:
    """Largest scale of an accumulator: `s_in * s_w` over the channels."""
    _, scale, _ = grid(encoding)
    return float(np.float32(source.scale) * scale.max())


def on_grid(encoding: Encoding | None) -> bool:
    """True for weights that are int8 with one scale a channel: also under a mask or a code.

    A Grid with groups of inputs has several scales a channel, a Codebook of float32 or 16 bits no int8.
    """
    if encoding is None:
        return False
    inner = innermost(encoding)
    if isinstance(inner, Codebook):
        return inner.centroids.dtype == np.int8
    return isinstance(inner, Grid) and inner.group is None


def grid(encoding: Encoding) -> tuple[np.ndarray, np.ndarray, Values]:
    """Integers int8 with masked places zero, scales float32 one a channel, and the Grid or Codebook itself."""
    if isinstance(encoding, Coded):
        return grid(encoding.inner)
    if isinstance(encoding, Sparse):
        q, scale, inner = grid(encoding.values)
        return np.where(encoding.mask, q, np.int8(0)), scale, inner
    if not on_grid(encoding):
        raise TypeError(f"only weights on a grid have integers, not {type(encoding).__name__}")
    if isinstance(encoding, Codebook) and encoding.scale is not None:
        return encoding.look_up(encoding.centroids), encoding.scale[encoding.block_of_channel], encoding
    assert isinstance(encoding, Grid)
    channels = encoding.q.shape[0]
    return encoding.q, np.broadcast_to(encoding.scale.astype(np.float32).reshape(-1), (channels,)), encoding


def _make(encoding: Encoding, bias: np.ndarray | None, s_in: np.float32, s_out: np.float32) -> IntegerWeights:
    q, scale, inner = grid(encoding)
    floats = np.zeros(len(q), np.float32) if bias is None else bias.astype(np.float32)
    q, scale = _raise_scales(q, scale, floats, s_in)
    product = s_in * scale
    stored = np.rint(floats.astype(np.float64) / product.astype(np.float64)).astype(np.int32)
    return IntegerWeights(
        q=np.ascontiguousarray(q, dtype=np.int8),
        scale=np.ascontiguousarray(scale, dtype=np.float32),
        bias=stored,
        multiplier=product / s_out,
        width=inner.code_bits,
        per_channel=(isinstance(inner, Grid) and inner.axis is not None) or bool((scale != scale[:1]).any()),
    )


def _raise_scales(
    q: np.ndarray, scale: np.ndarray, bias: np.ndarray, s_in: np.float32
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Weights of channels whose bias would not fit, moved to the smallest scale at which it does."""
    needed = np.abs(bias).astype(np.float64) / (float(s_in) * BIAS_LIMIT) * (1 + 2.0**-20)
    short = needed > scale
    if not short.any():
        return q, scale
    raised = np.where(short, needed, scale).astype(np.float32)
    ratio = (scale.astype(np.float64) / raised).reshape(-1, *[1] * (q.ndim - 1))
    return np.rint(q * ratio).astype(np.int8), raised
