"""Fast convolutions of stride 1 in torch, on pre-transformed weights: Winograd's F(2x2,3x3) and F(4x4,3x3), and FFT.

Matrices as in Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4. All
functions take x (N, in, H, W), weights (out, in, kh, kw) and pads (top, left, bottom, right).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SIZES = {"winograd2": 2, "winograd4": 4}
"""Outputs of one tile along each direction."""
INPUTS = {
    2: ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    4: ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1)),
}  # fmt: skip
OUTPUTS = {
    2: ((1, 1, 1, 0), (0, 1, -1, -1)),
    4: ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
}
KERNELS = {  # rows times their common denominator
    2: (((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2)), (2, 2, 2, 2)),
    4: (((1, 0, 0), (-1, -1, -1), (-1, 1, -1), (1, 2, 4), (1, -2, 4), (0, 0, 1)), (4, 6, 6, 24, 24, 1)),
}


def direct(x: Tensor, weight: Tensor, pads: Sequence[int]) -> Tensor:
    """Ordinary convolution, in the type of its arguments."""
    top, left, bottom, right = pads
    return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight)


def winograd_weights(weight: Tensor, size: int) -> Tensor:
    """`G g G^T` of every 3x3 filter, computed in float64: (out, in, 3, 3) -> (t * t, out, in), t = size + 2."""
    rows, denominators = KERNELS[size]
    g = torch.tensor(rows, dtype=torch.float64) / torch.tensor(denominators, dtype=torch.float64)[:, None]
    return _tiles_first(g @ weight.double() @ g.T).to(weight.dtype)


def winograd_integers(weight: Tensor) -> Tensor:
    """`(2G) g (2G)^T` of int8 filters, exact in int16: (out, in, 3, 3) -> (16, out, in), at most 1143 in size."""
    g = torch.tensor(KERNELS[2][0], dtype=torch.int16)
    return _tiles_first(g @ weight.to(torch.int16) @ g.T)


def winograd(x: Tensor, transformed: Tensor, size: int, pads: Sequence[int]) -> Tensor:
    """Convolution with `winograd_weights` (float), or four times it with `winograd_integers` (x and answer int32)."""
    tile = size + 2
    samples, inputs = x.shape[:2]
    top, left, bottom, right = pads
    height, width = x.shape[2] + top + bottom - 2, x.shape[3] + left + right - 2
    down, across = -(-height // size), -(-width // size)
    x = functional.pad(x, (left, right + across * size - width, top, bottom + down * size - height))
    tiles = x.unfold(2, tile, size).unfold(3, tile, size).permute(4, 5, 1, 0, 2, 3)  # (t, t, in, N, down, across)
    mixed = _both(INPUTS[size], x.dtype) @ tiles.reshape(tile * tile, -1)
    product = torch.bmm(transformed.to(x.dtype), mixed.reshape(tile * tile, inputs, -1))
    found = (_both(OUTPUTS[size], x.dtype) @ product.flatten(1)).reshape(size, size, -1, samples, down, across)
    whole = found.permute(3, 2, 4, 0, 5, 1).reshape(samples, -1, down * size, across * size)
    return whole[:, :, :height, :width]


@cache
def _both(matrix: tuple[tuple[int, ...], ...], kind: torch.dtype) -> Tensor:
    """The transform of both directions as one matrix over flattened tiles: `M d M^T` = `_both(M) @ d`."""
    one = torch.tensor(matrix, dtype=kind)
    return torch.kron(one, one)


def _tiles_first(weight: Tensor) -> Tensor:
    """(out, in, t, t) -> (t * t, out, in)."""
    return weight.flatten(2).permute(2, 0, 1).contiguous()


def fft_sizes(height: int, width: int) -> tuple[int, int]:
    """Next sizes that split into 2, 3 and 5: the transform is quick there."""
    return _smooth(height), _smooth(width)


def _smooth(size: int) -> int:
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


def fft_weights(weight: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Conjugate spectrum of every filter: (out, in, kh, kw) -> (frequencies, in, out) complex."""
    spectrum = torch.fft.rfft2(weight, s=sizes).conj()
    by_frequency: Tensor = spectrum.flatten(2).permute(2, 1, 0)
    return by_frequency.contiguous().resolve_conj()


def fft(x: Tensor, transformed: Tensor, kernel: Sequence[int], pads: Sequence[int]) -> Tensor:
    """Convolution by products of whole-picture spectra (correlation theorem; Mathieu et al. 2014)."""
    top, left, bottom, right = pads
    x = functional.pad(x, (left, right, top, bottom))
    sizes = fft_sizes(*x.shape[2:])
    spectrum = torch.fft.rfft2(x, s=sizes)
    product = torch.bmm(spectrum.flatten(2).permute(2, 0, 1), transformed)
    product = product.permute(1, 2, 0).reshape(len(x), -1, *spectrum.shape[2:])
    whole: Tensor = torch.fft.irfft2(product, s=sizes)
    return whole[:, :, : x.shape[2] - kernel[0] + 1, : x.shape[3] - kernel[1] + 1]


def multiplications(algorithm: str, weight: Sequence[int], places: Sequence[int], kernel_input: Sequence[int]) -> int:
    """Real multiplications for one sample; those of Winograd's transforms are shifts and additions, not counted.

    `weight` (out, in, kh, kw), `places` (height, width) of the output, `kernel_input` of the padded
    input. FFT: 4 a complex product, and `n log2 n` for each transformed picture of n values.
    """
    outputs, inputs, *kernel = weight
    if algorithm == "direct":
        return outputs * inputs * math.prod(kernel) * math.prod(places)
    if algorithm in SIZES:
        size = SIZES[algorithm]
        return outputs * inputs * (size + 2) ** 2 * math.prod(-(-place // size) for place in places)
    high, wide = fft_sizes(kernel_input[0], kernel_input[1])
    pictures = (inputs + outputs) * round(high * wide * math.log2(high * wide))
    return 4 * outputs * inputs * high * (wide // 2 + 1) + pictures
