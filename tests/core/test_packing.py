"""Integers of few bits in bytes, counts, and a reader that does not run over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import FileError
from studio.core.packing import Reader, pack_count, pack_integers, packed_size, signed, unpack_integers


def test_three_bit_values_lie_lowest_bit_first() -> None:
    # 5 = 101, 2 = 010, 7 = 111: bits from the lowest up 101 010 111 -> 1 1101 0101 = 0xD5, 0x01
    assert pack_integers(np.array([5, 2, 7]), 3) == bytes([0b11_010_101, 0b1])


def test_negative_values_are_twos_complement() -> None:
    assert pack_integers(np.array([-1, 1, -2, 0], np.int8), 2) == bytes([0b00_10_01_11])


@given(st.integers(1, 8), st.data())
def test_integers_come_back(width: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40))
    content = pack_integers(np.array(values, np.int64), width)
    assert len(content) == packed_size(len(values), width)
    number = sum(value << (i * width) for i, value in enumerate(values))
    assert content == number.to_bytes(len(content), "little")
    assert unpack_integers(content, len(values), width).tolist() == values


@given(st.integers(2, 8), st.data())
def test_signs_come_back(width: int, data: st.DataObject) -> None:
    most = 2 ** (width - 1)
    values = data.draw(st.lists(st.integers(-most, most - 1), min_size=1, max_size=20))
    content = pack_integers(np.array(values, np.int8), width)
    assert signed(unpack_integers(content, len(values), width), width).tolist() == values


@given(st.integers(0, 2**35 - 1))
def test_counts_come_back(value: int) -> None:
    reader = Reader(pack_count(value))
    assert reader.count() == value
    assert reader.left == 0


def test_a_count_without_end_is_an_error() -> None:
    with pytest.raises(FileError, match="too large"):
        Reader(b"\xff" * 9).count()


def test_reading_past_the_end_is_an_error() -> None:
    reader = Reader(b"abc")
    with pytest.raises(FileError, match="too early"):
        reader.take(4)
    with pytest.raises(FileError, match="too early"):
        reader.floats(1 << 60)


def test_a_shape_over_the_limit_is_refused_before_anything_is_made() -> None:
    content = bytes([2]) + pack_count(1 << 20) + pack_count(1 << 20)
    with pytest.raises(FileError, match="more than the 1,000 allowed"):
        Reader(content).shape(1000)
