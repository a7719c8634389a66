"""A mask over other weights, and a code over both: what makes pruned and shared weights small."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from studio.core import gaps, huffman, sparsity
from studio.core.encoding_base import CODED, FLOAT_BITS, SPARSE, Encoding, Values, write_codes
from studio.core.packing import packed_size, signed


@dataclass(frozen=True, eq=False)
class Sparse(Encoding):
    """A mask over another encoding: zeros stay zero, `values` holds the kept ones.

    Packed in the smallest of several forms; where plain values are smaller, `pack()` gives those
    (the saving is zero then, and `unpack` no Sparse). A kept weight that is zero is packed
    as a pruned one: only the decoded weights come back, not the difference.
    """

    mask: np.ndarray  # bool, True = kept
    values: Encoding  # same shape as mask; what lies under False is ignored

    def __post_init__(self) -> None:
        if not isinstance(self.values, Values):
            raise TypeError(f"Sparse lies over Dense, Grid or Codebook, not {type(self.values).__name__}")
        if self.mask.dtype != np.bool_ or self.mask.shape != self.values.shape:
            raise ValueError(f"mask {self.mask.shape} {self.mask.dtype} over weights {self.values.shape}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        return self.mask.shape

    @property
    def inner(self) -> Values:
        """The values, as what they are."""
        assert isinstance(self.values, Values)
        return self.values

    def decode(self) -> np.ndarray:
        """Return the weights with exact zeros where the mask is False."""
        return np.where(self.mask, self.values.decode(), np.float32(0))

    @cached_property
    def stored(self) -> np.ndarray:
        """Bool of `shape`: weights that need a value."""
        found: np.ndarray = self.mask & self.inner.nonzero
        return found

    @property
    def codes(self) -> np.ndarray:
        """Codes of `shape`, 0 where pruned."""
        codes = self.inner.codes
        return np.where(self.mask, codes, codes.dtype.type(0))

    @property
    def fills(self) -> bool:
        """True where code 0 may stand for a pruned weight."""
        return self.inner.has_zero or bool(self.mask.all())

    @cached_property
    def choice(self) -> tuple[sparsity.Form | None, int]:
        """Smallest form (None = plain values) and the size of everything behind the head."""
        bits = self.inner.code_bits
        form, size = sparsity.choose(self.stored, bits, fills=self.inner.has_zero)
        plain = packed_size(self.mask.size, bits)
        return (form, size + 1) if size + 1 < plain or not self.fills else (None, plain)

    @cached_property
    def size(self) -> int:  # noqa: D102
        return len(self.inner.head()) + self.choice[1]

    def body(self) -> bytes:  # noqa: D102
        inner, form = self.inner, self.choice[0]
        if form is None:
            return inner.head() + write_codes(self.codes.reshape(-1), inner.code_bits)
        mask, stored = sparsity.write(self.stored, form)
        values = write_codes(sparsity.arrange(self.codes, form)[stored], inner.code_bits)
        return inner.head(SPARSE) + bytes([form.byte]) + mask + values


@dataclass(frozen=True, eq=False)
class _Choice:
    """One way to code a layer: `form` of the mask, its gaps where these are coded, the code of the values."""

    form: sparsity.Form
    gaps: gaps.Gaps | None
    code: np.ndarray  # (256,) lengths; empty for float32 values, which stay as they are
    size: int  # bytes behind the head


@dataclass(frozen=True, eq=False)
class Coded(Encoding):
    """Huffman code over the values of another encoding, and over the distances between kept ones.

    Packed in the smallest of several forms: every weight coded, zero being one symbol; a mask of
    `sparsity` and the kept values coded; coded distances and the kept values coded. Where the encoding
    itself is smaller, `pack()` gives that (and `unpack` no Coded).
    """

    inner: Encoding  # Values, or Sparse over them

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Values | Sparse):
            raise TypeError(f"Coded lies over values or Sparse, not {type(self.inner).__name__}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded weights."""
        return self.inner.shape

    def decode(self) -> np.ndarray:
        """Return the weights of the encoding inside: the code loses nothing."""
        return self.inner.decode()

    @cached_property
    def sparse(self) -> Sparse:
        """Inside, with a mask."""
        if isinstance(self.inner, Sparse):
            return self.inner
        assert isinstance(self.inner, Values)
        return Sparse(np.ones(self.inner.shape, np.bool_), self.inner)

    @cached_property
    def choice(self) -> _Choice | None:
        """Smallest way, or None where the encoding inside is smaller."""
        best = min(self._ways(), key=lambda way: way.size, default=None)
        smaller = best is not None and len(self.sparse.inner.head()) + best.size < self.sparse.size
        return best if smaller else None

    def _ways(self) -> list[_Choice]:
        sparse = self.sparse
        counts = self._counts()
        found = [self._way(form, code, counts) for form, code in self._masks()]
        if sparse.fills and sparse.inner.code_bits < FLOAT_BITS:
            found.append(self._way(sparsity.Form(sparsity.EVERY), None, counts))
        return found

    def _masks(self) -> list[tuple[sparsity.Form, gaps.Gaps | None]]:
        """Ways to store which weights are kept, zeros beside them only where they come in fours."""
        sparse = self.sparse
        found: list[tuple[sparsity.Form, gaps.Gaps | None]] = []
        if sparse.choice[0] is not None:
            found.append((sparse.choice[0], None))
        for axis, flags in sparsity.units(sparse.stored, fills=sparse.inner.has_zero):
            if axis is None or np.count_nonzero(flags) * sparsity.GROUP < 2 * np.count_nonzero(sparse.stored):
                found.append((sparsity.Form(sparsity.CODED_GAPS, axis), gaps.choose(flags)))
        return found

    def _counts(self) -> np.ndarray:
        """How often each symbol occurs among the values that must be stored: (256,)."""
        inner = self.sparse.inner
        if inner.code_bits == FLOAT_BITS:
            return np.zeros(0, np.int64)
        symbols = fold(self.sparse.codes.reshape(-1), inner.code_bits, inner.signed)
        counts = np.bincount(symbols, minlength=huffman.SYMBOLS).astype(np.int64)
        counts[0] -= symbols.size - np.count_nonzero(self.sparse.stored)
        return counts

    def _way(self, form: sparsity.Form, code: gaps.Gaps | None, counts: np.ndarray) -> _Choice:
        """Size of a form; values in fours bring zeros with them."""
        stored = self.sparse.stored
        values, mask = sparsity.sizes(stored, form)
        mask = code.size if code is not None else mask
        if not len(counts):
            return _Choice(form, code, counts, 1 + mask + 4 * values)
        counts = counts.copy()
        counts[0] += values - np.count_nonzero(stored)
        lengths = huffman.lengths(counts)
        table = len(huffman.table(lengths)) if values else 0
        stream = (huffman.stream_bits(counts, lengths) + 7) // 8
        return _Choice(form, code, lengths, 1 + mask + table + stream)

    @cached_property
    def size(self) -> int:  # noqa: D102
        return self.sparse.size if self.choice is None else len(self.sparse.inner.head()) + self.choice.size

    def body(self) -> bytes:  # noqa: D102
        sparse, choice = self.sparse, self.choice
        if choice is None:
            return sparse.body()
        inner, form = sparse.inner, choice.form
        if choice.gaps is not None:
            flags = sparsity.flags(sparse.stored, form)
            mask, stored = choice.gaps.write(flags), sparsity.spread(flags, form)
        else:
            mask, stored = sparsity.write(sparse.stored, form)
        values = sparsity.arrange(sparse.codes, form)[stored]
        head = inner.head(CODED | SPARSE) + bytes([form.byte]) + mask
        if inner.code_bits == FLOAT_BITS:
            return head + write_codes(values, FLOAT_BITS)
        table = huffman.table(choice.code) if len(values) else b""
        return head + table + huffman.encode(fold(values, inner.code_bits, inner.signed), choice.code)


def fold(codes: np.ndarray, bits: int, is_signed: bool) -> np.ndarray:
    """Symbols of codes, small numbers first: two's complement 0, -1, 1, -2 -> 0, 1, 2, 3; others as they are."""
    if not is_signed:
        return codes
    number = signed(codes, bits)
    return ((number << np.int8(1)) ^ (number >> np.int8(7))).view(np.uint8)


def unfold(symbols: np.ndarray, bits: int, is_signed: bool) -> np.ndarray:
    """Inverse of `fold`; symbols over `bits` bits are cut to them, which a reader notices when it packs again."""
    if not is_signed:
        return symbols
    number = (symbols >> np.uint8(1)) ^ (np.uint8(0) - (symbols & np.uint8(1)))
    cut: np.ndarray = number & np.uint8((1 << bits) - 1)
    return cut
