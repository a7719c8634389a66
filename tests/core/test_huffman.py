"""Huffman codes against entropy, against all trees by search, and damaged tables and streams."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core import gaps, huffman
from studio.core.encoding import Codebook, Coded, Sparse, unpack
from studio.core.errors import FileError
from studio.core.packing import Reader

COUNTS = st.lists(st.integers(0, 5000), min_size=1, max_size=256).filter(any)


def entropy(counts: np.ndarray) -> float:
    """Bits of all symbols together."""
    n = counts[counts > 0].astype(np.float64)
    return float((n * np.log2(n.sum() / n)).sum())


@settings(deadline=None)
@given(COUNTS)
def test_length_lies_between_entropy_and_one_bit_more(values: list[int]) -> None:
    counts = np.array(values)
    code = huffman.lengths(counts)
    bits = huffman.stream_bits(counts, code)
    assert entropy(counts) - 1e-6 <= bits <= entropy(counts) + counts.sum()
    assert (code > 0).tolist() == (counts > 0).tolist()
    kraft = (0.5 ** code[code > 0].astype(float)).sum()
    assert kraft == (1 if np.count_nonzero(counts) > 1 else 0.5)


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=5))
def test_no_other_code_is_shorter(counts: list[int]) -> None:
    possible = itertools.product(range(1, 5), repeat=len(counts))
    best = min(
        sum(n * length for n, length in zip(counts, one, strict=True))
        for one in possible
        if sum(0.5**length for length in one) <= 1
    )
    assert huffman.stream_bits(np.array(counts), huffman.lengths(np.array(counts))) == best


def test_the_code_is_that_of_the_deflate_standard() -> None:
    # RFC 1951, 3.2.2: lengths (3, 3, 3, 3, 3, 2, 4, 4) give 010 011 100 101 110 00 1110 1111.
    code = np.zeros(256, np.uint8)
    code[:8] = [3, 3, 3, 3, 3, 2, 4, 4]
    assert huffman.encode(np.array([0, 5, 7, 1], np.uint8), code) == bytes([0b010_00_111, 0b1_011_0000])


def test_codes_stay_within_fifteen_bits_at_the_least_cost() -> None:
    numbers = [1, 1]
    while len(numbers) < 24:
        numbers.append(numbers[-1] + numbers[-2])
    code = huffman.lengths(np.array(numbers))
    assert code.max() == 15
    assert (0.5 ** code.astype(float)).sum() == 1
    # A tree of depth 15 at least: the 2^k rarest cut to equal depths costs more or equal.
    free = huffman._depths(numbers)
    assert np.array(numbers) @ np.array(free) <= np.array(numbers) @ code.astype(np.int64)
    assert np.array(numbers) @ code.astype(np.int64) <= 1.001 * (np.array(numbers) @ np.array(free))


@settings(deadline=None)
@given(COUNTS, st.integers(0, 99))
def test_streams_and_tables_come_back(values: list[int], seed: int) -> None:
    counts = np.array(values) // 10 + (np.array(values) > 0)
    symbols = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.uint8)
    code = huffman.lengths(np.bincount(symbols, minlength=256))
    assert (huffman.read_table(Reader(huffman.table(code))) == code).all()
    stream = huffman.encode(symbols, code)
    reader = Reader(stream + b"rest")
    assert (huffman.decode(reader, len(symbols), code) == symbols).all()
    assert bytes(reader.take(4)) == b"rest"
    assert len(stream) == -(-huffman.stream_bits(np.bincount(symbols, minlength=256), code) // 8)
    if stream:
        with pytest.raises(FileError, match="early"):
            huffman.decode(Reader(stream[:-1]), len(symbols), code)


def test_a_long_stream_is_read_in_parts() -> None:
    symbols = np.random.default_rng(1).binomial(255, 0.5, 300_000).astype(np.uint8)
    code = huffman.lengths(np.bincount(symbols, minlength=256))
    assert (huffman.decode(Reader(huffman.encode(symbols, code)), len(symbols), code) == symbols).all()


def test_table_by_hand() -> None:
    code = np.zeros(256, np.uint8)
    code[[0, 5, 6]] = [1, 2, 2]
    # Seven symbols; 1, then 0 and three more zeros, then 2 and 2: halves 1 0 3 2 2 0.
    assert huffman.table(code) == bytes([6, 0x01, 0x23, 0x02])


@pytest.mark.parametrize(
    "content", [b"", b"\x01\x22", b"\x01\x31", b"\x02\x11\x01", b"\x00\x02", b"\x00\xf0", b"\xff\x11"]
)
def test_tables_that_are_no_code_are_refused(content: bytes) -> None:
    with pytest.raises(FileError, match="damaged"):
        huffman.read_table(Reader(content))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(0, 300))
def test_gaps_come_back_and_are_counted(distances: list[int], rest: int) -> None:
    places = np.cumsum(np.array(distances, np.int64) + 1) - 1
    flags = np.zeros((int(places[-1]) + 1 if len(places) else 0) + rest, np.bool_)
    flags[places] = True
    chosen = gaps.choose(flags)
    content = chosen.write(flags)
    assert chosen.size == len(content)
    assert (gaps.read(Reader(content), len(flags)) == flags).all()


def test_gaps_by_hand() -> None:
    # Distances 0, 0, 0, 520 = two fillers and 10 at split 0; at split 1: one filler (510) and 5, four low bits.
    flags = np.zeros(600, np.bool_)
    flags[[0, 1, 2, 523]] = True
    three = gaps._with_split(gaps.distances(flags), np.ones(4, np.int64), 0)
    assert three.counts[[0, 10, 255]].tolist() == [3, 1, 2]
    one = gaps._with_split(gaps.distances(flags), np.ones(4, np.int64), 1)
    assert one.counts[[0, 5, 255]].tolist() == [3, 1, 1]
    # Split 4: 520 = 32 x 16 + 8: symbols 0 0 0 32, lengths 1 and 1, four bits of stream, four times four low bits.
    four = gaps._with_split(gaps.distances(flags), np.ones(4, np.int64), 4)
    assert four.write(flags)[:2] == bytes([4, 4])
    assert four.write(flags)[-4:] == bytes([1, 0b0001_0000, 0, 0x80])


def test_a_million_coded_weights_are_counted_and_read_quickly() -> None:
    generator = np.random.default_rng(0)
    book = Codebook(
        generator.binomial(15, 0.4, (1024, 1024)).astype(np.uint8),
        np.arange(16, dtype=np.int8)[None],
        np.ones(1, np.float32),
        4,
    )
    encoding = Coded(Sparse(generator.random(book.shape) < 0.3, book))
    start = time.process_time()
    encoding.bits()
    counted = time.process_time()
    content = encoding.pack()
    packed = time.process_time()
    assert unpack(content).decode().tobytes() == encoding.decode().tobytes()
    assert counted - start < 0.2  # about 0.03 measured
    assert packed - counted < 1
    assert time.process_time() - packed < 3
