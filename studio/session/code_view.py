"""What a layer's weights look like to a Huffman code: how often each value occurs, and the bits it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.core import huffman, sparsity
from studio.core.encoding import Coded, Encoding, Sparse, innermost
from studio.core.encoding_base import FLOAT_BITS, Values
from studio.core.encoding_sparse import fold, unfold
from studio.core.packing import signed
from studio.core.sparsity import Form


@dataclass(frozen=True, eq=False)
class CodeView:
    """Symbols of one layer, the most frequent first. Bits per stored weight unless said otherwise."""

    symbols: np.ndarray  # (k,) integers of a grid, indices of a codebook
    counts: np.ndarray  # (k,) how often each is stored
    lengths: np.ndarray  # (k,) bits of its code: real ones where `coded`, else what a Huffman code would take
    indices: bool  # symbols are indices of shared values
    coded: bool
    width: int  # bits of a symbol without a code
    weights: int  # of the layer, zeros that need no symbol among them
    packed_bits: int  # of all bytes of the layer: head, tables, mask, stream

    @property
    def entropy(self) -> float:
        """Least mean bits of a stored symbol by any code of single symbols (Shannon 1948)."""
        share = self.counts / self.counts.sum()
        return float(-(share * np.log2(share)).sum())

    @property
    def mean_length(self) -> float:
        """Mean bits of a stored symbol by the Huffman code."""
        return float(self.counts @ self.lengths / self.counts.sum())

    @property
    def bits_per_weight(self) -> float:
        """All packed bits over all weights."""
        return self.packed_bits / self.weights

    @property
    def sentence(self) -> str:
        """What a person reads of it."""
        real = f"in all {self.bits_per_weight:.2f} bits a weight"
        if self.coded:
            return f"Huffman {self.mean_length:.2f} bits, entropy {self.entropy:.2f}; {real}"
        return f"Not coded (Huffman {self.mean_length:.2f} bits, entropy {self.entropy:.2f}); {real}"


def code_view(encoding: Encoding) -> CodeView | None:
    """Symbols of an encoding; None for float32 values, which no code shortens, and where nothing is stored."""
    inner = innermost(encoding)
    choice = encoding.choice if isinstance(encoding, Coded) else None
    if inner.code_bits == FLOAT_BITS:
        return None
    sparse = _sparse(encoding, inner)
    form = choice.form if choice is not None else sparse.choice[0] or Form(sparsity.EVERY)
    folded = fold(_stored(sparse, form).reshape(-1), inner.code_bits, inner.signed)
    counts = np.bincount(folded, minlength=huffman.SYMBOLS).astype(np.int64)
    if not counts.any():
        return None
    lengths = choice.code if choice is not None else huffman.lengths(counts)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    codes = unfold(order.astype(np.uint8), inner.code_bits, inner.signed)
    symbols = signed(codes, inner.code_bits) if inner.signed else codes
    return CodeView(
        symbols.astype(np.int64), counts[order], lengths[order].astype(np.int64), not inner.signed,
        choice is not None, inner.code_bits, sparse.mask.size, encoding.bits(),
    )  # fmt: skip


def _sparse(encoding: Encoding, inner: Values) -> Sparse:
    if isinstance(encoding, Coded):
        return encoding.sparse
    return encoding if isinstance(encoding, Sparse) else Sparse(np.ones(inner.shape, np.bool_), inner)


def _stored(sparse: Sparse, form: Form) -> np.ndarray:
    """Codes that a form writes: all of them, or the kept ones with the zeros that come along in groups of four."""
    if form.code == sparsity.EVERY:
        return sparse.codes
    if form.code == sparsity.CODED_GAPS:
        stored = sparsity.spread(sparsity.flags(sparse.stored, form), form)
    else:
        _, stored = sparsity.write(sparse.stored, form)
    found: np.ndarray = sparsity.arrange(sparse.codes, form)[stored]
    return found
