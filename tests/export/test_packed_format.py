"""A second decoder of packed weights, written from FORMAT.md alone, bit by bit, against `Encoding.decode`."""

import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.encoding import Codebook, Coded, Dense, Grid, Sparse

PAIRS = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


class Bytes:
    """Content with a place in it."""

    def __init__(self, content):
        self.content, self.place = content, 0

    def take(self, count):
        self.place += count
        assert self.place <= len(self.content)
        return self.content[self.place - count : self.place]

    def byte(self):
        return self.take(1)[0]

    def count(self):
        value, shift, part = 0, 0, 0x80
        while part & 0x80:
            part = self.byte()
            value, shift = value | (part & 0x7F) << shift, shift + 7
        return value

    def floats(self, count):
        return list(struct.unpack(f"<{count}f", self.take(4 * count)))

    def packed(self, count, bits):
        number = int.from_bytes(self.take((count * bits + 7) // 8), "little")
        return [number >> i * bits & (1 << bits) - 1 for i in range(count)]

    def table(self):
        used, halves = self.byte() + 1, []

        def half():
            if not halves:
                byte = self.byte()
                halves.extend([byte & 15, byte >> 4])
            return halves.pop(0)

        lengths = []
        while len(lengths) < used:
            length = half()
            lengths += [length] if length else [0] * (1 + half())
        codes, code = {}, 0
        for length in range(1, 16):
            for symbol in (s for s, own in enumerate(lengths) if own == length):
                codes[length, code] = symbol
                code += 1
            code <<= 1
        return codes

    def stream(self, count, codes):
        """Symbols one bit after the other; afterwards the place stands behind the last byte begun."""
        if len(codes) == 1:
            return list(codes.values()) * count
        found, bit = [], 8 * self.place
        for _ in range(count):
            length = code = 0
            while (length, code) not in codes:
                code, length = code << 1 | self.content[bit // 8] >> 7 - bit % 8 & 1, length + 1
                bit += 1
            found.append(codes[length, code])
        self.place = -(-bit // 8)
        return found


def two_complement(value, bits):
    return value - (1 << bits) if value >> bits - 1 else value


def grid(b, shape, grouped):
    parameters = b.byte()
    width, axis = parameters & 15, (parameters >> 4) - 1
    power, width = width > 8, width - 8 if width > 8 else width
    group = b.count() if grouped else None
    inputs = shape[1 - axis] if grouped else 1
    groups = math.ceil(inputs / group) if grouped else 1
    scales = b.floats((shape[axis] if axis >= 0 else 1) * groups)

    def value(code, at):
        number = two_complement(code, width)
        if width == 1:
            number = 1 - 2 * code
        elif power and number:
            number = int(math.copysign(2 ** (abs(number) - 1), number))
        channel = at[axis] if axis >= 0 else 0
        return np.float32(number) * np.float32(scales[channel * groups + (at[1 - axis] // group if grouped else 0)])

    return width, width > 1, value


def codebook(b, shape):
    parameters, axis, block, entries = b.byte(), b.byte(), b.count(), b.byte() + 1
    width, size = parameters & 15, parameters >> 4
    blocks = math.ceil(shape[axis] / block) if block else 1
    scales = b.floats(blocks) if size < 4 else [1] * blocks
    kind = {1: "b", 2: "h", 4: "f"}[size]
    table = struct.unpack(f"<{blocks * entries}{kind}", b.take(blocks * entries * size))

    def value(code, at):
        own = at[axis] // block if block else 0
        return np.float32(table[own * entries + code]) * np.float32(scales[own])

    return width, False, value


def units(shape, axis):
    """Places of each unit in order: single weights, or fours along an axis."""
    if axis < 0:
        return [[at] for at in np.ndindex(*shape)]
    fewer = tuple(n // 4 if i == axis else n for i, n in enumerate(shape))
    return [[(*at[:axis], 4 * at[axis] + i, *at[axis + 1 :]) for i in range(4)] for at in np.ndindex(*fewer)]


def mask(b, shape):
    """Places that have a value, in the order of the values."""
    form = b.byte()
    code, every = form & 15, units(shape, (form >> 4) - 1)
    if code == 10:
        return [at for unit in every for at in unit]
    if code == 0:
        return [at for kept, unit in zip(b.packed(len(every), 1), every, strict=True) if kept for at in unit]
    if code in (1, 2):
        sets = [(0,), (1,), (2,), (3,)] if code == 1 else PAIRS
        return [unit[i] for one, unit in zip(b.packed(len(every), code + 1), every, strict=True) for i in sets[one]]
    found, place = [], -1
    symbols = b.count()
    if code == 9:
        if not symbols:
            return []
        split, codes = b.byte(), b.table()
        stream = Bytes(b.take(b.count()))
        high = stream.stream(symbols, codes)
        low = iter(b.packed(sum(symbol < 255 for symbol in high), split))
        skips = [(255 << split, False) if s == 255 else ((s << split) + next(low), True) for s in high]
    else:
        longest = (1 << code) - 1
        skips = [(symbol, symbol < longest) for symbol in b.packed(symbols, code)]
    for skipped, kept in skips:
        place += skipped + kept
        found += every[place] if kept else []
    return found


def decode(content):
    assert zlib.crc32(content[:-4]).to_bytes(4, "little") == content[-4:]
    b = Bytes(content[:-4])
    kind = b.byte()
    shape = tuple(b.count() for _ in range(b.byte()))
    if kind & 15 == 1:
        width, signed, value = 32, False, lambda code, at: np.float32(code)
    else:
        width, signed, value = codebook(b, shape) if kind & 15 == 3 else grid(b, shape, kind & 15 == 4)
    places = mask(b, shape) if kind & 16 else list(np.ndindex(*shape))
    if width == 32:
        codes = b.floats(len(places))
    elif kind & 32:
        codes = b.stream(len(places), b.table()) if places else []
        if signed:
            codes = [(symbol >> 1 ^ -(symbol & 1)) & (1 << width) - 1 for symbol in codes]
    else:
        codes = b.packed(len(places), width)
    assert b.place == len(content) - 4
    found = np.zeros(shape, np.float32)
    for code, at in zip(codes, places, strict=True):
        found[at] = value(code, at)
    return found


SHAPE = (8, 12, 3, 2)
ONES = np.ones(1, np.float32)


def values(kind, draw):
    """Weights of one kind, small ones frequent."""
    few = (draw.random(SHAPE) ** 3 * 15.9).astype(np.uint8)
    signs = draw.choice([-1, 1], SHAPE).astype(np.int8)
    books = draw.integers(-99, 99, (3, 16))
    books[:, 0] = 0
    return {
        "dense": lambda: Dense(few.astype(np.float32) / 7),
        "8 bits": lambda: Grid(signs * few.astype(np.int8), draw.random(12).astype(np.float32), 1, 8),
        "binary": lambda: Grid(signs, ONES / 3, None, 1),
        "powers": lambda: Grid(signs * (1 << np.minimum(few, 6)).astype(np.int8), ONES, None, 4, True),
        "groups": lambda: Grid(
            signs * (few % 8).astype(np.int8), draw.random((8, 3)).astype(np.float32), 0, 4, group=5
        ),
        "book": lambda: Codebook(few, books[:1].astype(np.int8), ONES / 9, 4),
        "books": lambda: Codebook(few, books.astype(np.int16), draw.random(3).astype(np.float32), 4, 0, 3),
        "float books": lambda: Codebook(few, (books / 7).astype(np.float32), None, 5, 1, 4),
    }[kind]()


@pytest.mark.parametrize("kind", ["dense", "8 bits", "binary", "powers", "groups", "book", "books", "float books"])
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.sampled_from([0.004, 0.05, 0.2, 0.6, 1.0]), st.booleans(), st.booleans())
def test_both_decoders_agree(kind, seed, density, fours, coded):
    draw = np.random.default_rng(seed)
    inner = values(kind, draw)
    kept = draw.random((8, 3, 1, 3, 2) if fours else SHAPE) < density
    kept = np.broadcast_to(kept, (8, 3, 4, 3, 2)).reshape(SHAPE) if fours else kept
    encoding = inner if density == 1 else Sparse(np.ascontiguousarray(kept), inner)
    content = (Coded(encoding) if coded else encoding).pack()
    assert decode(content).tobytes() == (encoding.decode() + np.float32(0)).tobytes()


@pytest.mark.parametrize("n", [1, 2])
def test_both_decoders_agree_on_patterns(n):
    draw = np.random.default_rng(n)
    order = np.argsort(draw.random((8, 3, 4, 3, 2)), axis=2) < n
    encoding = Sparse(order.reshape(SHAPE), Grid(np.full(SHAPE, 3, np.int8), ONES, None, 4))
    assert encoding.pack()[0] == 2 | 16
    assert decode(encoding.pack()).tobytes() == encoding.decode().tobytes()
