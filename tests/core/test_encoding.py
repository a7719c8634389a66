"""Encodings: what is packed is what is counted, and comes back."""

from __future__ import annotations

import time
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from studio.core.encoding import Codebook, Coded, Dense, Encoding, Grid, Sparse, innermost, levels, unpack
from studio.core.encoding_values import POWER_WIDTHS
from studio.core.errors import FileError

SHAPES = st.sampled_from(
    [(1, 1), (3, 5), (8, 4), (16, 40), (4, 8, 3), (6, 4, 3, 3), (8, 1, 3, 3), (2, 12, 1, 1), (0, 4), (5,)]
)


@st.composite
def grids(draw: st.DrawFn, shape: tuple[int, ...]) -> Grid:
    """Uniform, binary or power-of-two; scales per tensor, per channel or per group of inputs."""
    power = draw(st.booleans())
    width = draw(st.sampled_from(POWER_WIDTHS) if power else st.integers(1, 8))
    if power:
        sizes = [2**k for k in range(levels(width))]
        possible = [0, *sizes, *(-size for size in sizes)]
    else:
        possible = [q for q in range(-levels(width), levels(width) + 1) if q or width > 1]
    q = draw(hnp.arrays(np.int8, shape, elements=st.sampled_from(possible)))
    axis = draw(st.sampled_from([None, *range(min(2, len(shape)))]))
    group = draw(st.sampled_from([None, 1, 3, 32])) if axis is not None and len(shape) > 1 else None
    count = (1,) if axis is None else (shape[axis],)
    count += () if group is None or axis is None else (-(-shape[1 - axis] // group),)
    scale = draw(hnp.arrays(np.float32, count, elements=st.floats(2**-20, 2**20, width=32)))
    return Grid(q, scale, axis, width, power, group)


@st.composite
def codebooks(draw: st.DrawFn, shape: tuple[int, ...]) -> Codebook:
    """With and without a zero, one or several tables, 8, 16 or 32 bits a centroid."""
    width, axis = draw(st.integers(1, 8)), draw(st.integers(0, min(1, len(shape) - 1)))
    entries = draw(st.integers(1, 2**width))
    block = draw(st.sampled_from([0, 1, 3]))
    blocks = 1 if block == 0 else max(1, -(-shape[axis] // block))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from([np.int8, np.int16, np.float32]))
    centroids = generator.integers(-127, 128, (blocks, entries)).astype(kind)
    if draw(st.booleans()):
        centroids[:, 0] = 0
    scale = None if kind is np.float32 else generator.random(blocks).astype(np.float32) + np.float32(0.01)
    indices = (entries * generator.random(shape) ** draw(st.sampled_from([1, 6]))).astype(np.uint8)
    return Codebook(indices, centroids, scale, width, axis, block)


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    shape = draw(SHAPES)
    kind = draw(st.sampled_from(["dense", "grid", "codebook"]))
    if kind == "dense":
        values: Encoding = Dense(draw(hnp.arrays(np.float32, shape, elements=st.floats(width=32, allow_nan=False))))
    else:
        values = draw(grids(shape) if kind == "grid" else codebooks(shape))
    if draw(st.booleans()):
        density = draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.8, 1.0]))
        generator = np.random.default_rng(draw(st.integers(0, 99)))
        values = Sparse(generator.random(shape) < density, values)
    return Coded(values) if draw(st.booleans()) else values


def same(a: Encoding, b: Encoding) -> bool:
    return a.shape == b.shape and a.decode().tobytes() == b.decode().tobytes()


@settings(max_examples=400, deadline=None)
@given(encodings())
def test_packed_bytes_are_counted_and_come_back(encoding: Encoding) -> None:
    content = encoding.pack()
    assert encoding.bits() == 8 * len(content)
    found = unpack(content)
    assert same(found, encoding)
    assert found.pack() == content
    assert found.bits() == encoding.bits()


def pattern(kind: str) -> np.ndarray:
    """(8, 16, 3, 3); the places move on from one output channel to the next."""
    mask = np.zeros((8, 16, 3, 3), np.bool_)
    for out in range(8):
        if kind == "2:4":
            mask[out, out % 2 :: 4] = mask[out, 2 + out % 2 :: 4] = True
        elif kind == "1:4":
            mask[out, out % 4 :: 4] = True
        elif kind == "1x4":
            mask[out, 4 * (out % 4) : 4 * (out % 4) + 4] = True
    if kind == "rare":
        mask.reshape(-1)[::97] = True
    return mask


@pytest.mark.parametrize("kind", ["2:4", "1:4", "1x4", "rare"])
@pytest.mark.parametrize("transposed", [False, True])
def test_patterns_come_back_along_either_axis(kind: str, transposed: bool) -> None:
    mask = pattern(kind)
    if transposed:
        mask = np.ascontiguousarray(mask.swapaxes(0, 1))
    q = np.where(np.arange(mask.size).reshape(mask.shape) % 2, 3, -7).astype(np.int8)
    encoding = Sparse(mask, Grid(q, np.ones(1, np.float32), None, 4))
    assert same(unpack(encoding.pack()), encoding)
    assert encoding.bits() == 8 * len(encoding.pack())


def head(rank: int, scales: int) -> int:
    return 1 + 1 + rank + 1 + 4 * scales  # kind, rank, one byte a length, width and axis, scales


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("2:4", 288 * 3 // 8 + 576 // 2),  # 288 fours: 3 bits tell the six pairs apart; 576 values of 4 bits
        ("1:4", 288 * 2 // 8 + 288 // 2),
        ("1x4", 288 // 8 + 72 * 4 // 2),  # a bit for each four; one four in four kept
    ],
)
def test_size_of_a_pattern_by_hand(kind: str, body: int) -> None:
    grid = Grid(np.full((8, 16, 3, 3), 5, np.int8), np.ones(8, np.float32), 0, 4)
    form, crc = 1, 4
    assert Sparse(pattern(kind), grid).bits() == 8 * (head(4, 8) + form + body + crc)


def test_size_of_gaps_by_hand() -> None:
    # Kept at 5, 30, 31 of 1600: gaps 5, 24, 0. At 5 bits no filler: 3 symbols = 15 bits = 2 bytes + 1 for their
    # number; at 4 bits one filler (15 + 9): 4 symbols = 2 bytes; at 3 bits 24 = 7+7+7+3: 6 symbols = 18 bits.
    q = np.zeros((40, 40), np.int8)
    q.reshape(-1)[[5, 30, 31]] = [1, -1, 7]
    encoding = Sparse(q != 0, Grid(q, np.ones(1, np.float32), None, 4))
    assert encoding.bits() == 8 * (head(2, 1) + 1 + (1 + 2) + 2 + 4)
    assert same(unpack(encoding.pack()), encoding)


def test_size_of_dense_and_grid_by_hand() -> None:
    assert Dense(np.ones((3, 2), np.float32)).bits() == 8 * (4 + 24 + 4)
    grid = Grid(np.ones((3, 5), np.int8), np.ones(3, np.float32), 0, 3)
    assert grid.bits() == 8 * (head(2, 3) + 6 + 4)  # 45 bits in 6 bytes


def test_a_mask_that_saves_nothing_costs_nothing() -> None:
    grid = Grid(np.ones((16, 16), np.int8), np.ones(1, np.float32), None, 2)
    mask = np.ones((16, 16), np.bool_)
    mask[0, 0] = False
    assert Sparse(mask, grid).bits() == grid.bits()
    assert same(unpack(Sparse(mask, grid).pack()), Sparse(mask, grid))


def test_only_kept_values_are_stored() -> None:
    mask = np.zeros((4, 4), np.bool_)
    mask[1, 2] = True
    here, there = np.full((4, 4), 3, np.float32), np.full((4, 4), 3, np.float32)
    there[0, 0] = 9
    assert Sparse(mask, Dense(here)).pack() == Sparse(mask, Dense(there)).pack()
    assert (Sparse(mask, Dense(there)).decode() != 0).sum() == 1


def test_negative_zero_keeps_its_sign() -> None:
    values = np.zeros((10, 10), np.float32)
    values[3, 3] = -0.0
    found = unpack(Sparse(np.ones((10, 10), np.bool_), Dense(values)).pack())
    assert np.signbit(found.decode()).sum() == 1


def test_pruning_more_never_needs_more_bytes() -> None:
    generator = np.random.default_rng(3)
    order = generator.permutation(8 * 16 * 9)
    for width in (2, 4, 8):
        grid = Grid(np.ones((8, 16, 3, 3), np.int8), np.ones(1, np.float32), None, width)
        mask = np.ones((8, 16, 3, 3), np.bool_)
        sizes = []
        for place in order:
            mask.reshape(-1)[place] = False
            sizes.append(Sparse(mask.copy(), grid).bits())
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] < sizes[0]


def test_grid_decodes_one_product_a_weight() -> None:
    grid = Grid(np.array([[1, -2], [3, 0]], np.int8), np.array([0.5, 0.1], np.float32), 0, 4)
    assert grid.decode().tolist() == [[0.5, -1.0], [float(np.float32(3) * np.float32(0.1)), 0.0]]
    columns = Grid(grid.q, grid.scale, 1, 4)
    assert columns.decode()[:, 0].tolist() == [0.5, 1.5]


RARE = np.random.default_rng(5).integers(0, 256, (20, 30), np.uint8)
SMALL = [
    Dense(np.array([[1.5, -2.0]], np.float32)),
    Grid(np.array([[1, -1, 0, 1]], np.int8), np.ones(1, np.float32), 0, 2),
    Sparse(np.arange(64).reshape(4, 16) % 9 == 0, Grid(np.ones((4, 16), np.int8), np.ones(4, np.float32), 0, 3)),
    Sparse(pattern("2:4")[:1], Grid(np.ones((1, 16, 3, 3), np.int8), np.ones(1, np.float32), None, 2)),
    Grid(np.array([[1, -1, -1, 1]], np.int8), np.ones(1, np.float32), 0, 1),
    Grid(np.array([[1, -64, 0, 8]], np.int8), np.ones((1, 2), np.float32), 0, 4, True, 2),
    Codebook(np.array([[2, 0], [1, 1]], np.uint8), np.array([[0, 5, -9]], np.int8), np.ones(1, np.float32), 2),
    Codebook(np.array([[1, 0], [1, 1]], np.uint8), np.array([[1, 2], [3, 4]], np.float32), None, 1, 0, 1),
    Coded(Sparse(RARE < 40, Codebook(RARE % 4 % 3, np.array([[0, 5, -9]], np.int8), np.ones(1, np.float32), 2))),
    Coded(Grid((RARE < 50).astype(np.int8) * 3, np.ones(1, np.float32), None, 4)),
    Coded(Sparse(pattern("1x4"), Grid(np.full((8, 16, 3, 3), 3, np.int8), np.ones(1, np.float32), None, 8))),
    Coded(Sparse(RARE < 1, Dense(np.ones(RARE.shape, np.float32)))),
]


@pytest.mark.parametrize("encoding", SMALL)
def test_every_flipped_or_missing_byte_is_found(encoding: Encoding) -> None:
    content = encoding.pack()
    for place in range(len(content)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= flip
            with pytest.raises(FileError, match="damaged"):
                unpack(bytes(damaged))
        with pytest.raises(FileError, match="damaged"):
            unpack(content[:place])
    with pytest.raises(FileError, match="damaged"):
        unpack(content + b"\0")


@pytest.mark.parametrize("encoding", SMALL)
def test_damage_under_a_fitting_check_sum_gives_weights_or_an_error(encoding: Encoding) -> None:
    body = encoding.pack()[:-4]
    start = time.perf_counter()
    for place in range(len(body)):
        for value in (0, 1, 2, 7, 16, 0x7F, 0x80, 0xFF, body[place] ^ 1, body[place] ^ 0x10):
            damaged = bytearray(body)
            damaged[place] = value
            content = bytes(damaged) + zlib.crc32(damaged).to_bytes(4, "little")
            try:
                found = unpack(content, limit=100_000)
            except FileError:
                continue
            assert found.pack() == content
    assert time.perf_counter() - start < 20


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_give_weights_or_an_error(body: bytes) -> None:
    content = body + zlib.crc32(body).to_bytes(4, "little")
    try:
        found = unpack(content, limit=10_000)
    except FileError:
        return
    assert found.pack() == content


def test_a_few_bytes_cannot_claim_a_huge_layer() -> None:
    body = bytes([18, 2, *[0xFF, 0xFF, 0xFF, 0x7F] * 2, 8, 0, 0, 128, 63, 3, 0])
    with pytest.raises(FileError, match="more than"):
        unpack(body + zlib.crc32(body).to_bytes(4, "little"))


def test_a_few_bytes_cannot_keep_a_decoder_busy() -> None:
    # A million weights that cost no bit, since there is one symbol alone: read in no time, and known as strange.
    body = bytes([3 | 48, 2, *[0x80, 0x08] * 2, 1 | 16, 0, 0, 1, 0, 0, 128, 63, 7, 9, 10, 0, 1])
    content = body + zlib.crc32(body).to_bytes(4, "little")
    start = time.process_time()
    assert unpack(content).decode().tolist()[1023][1023] == 7
    assert time.process_time() - start < 1
    with pytest.raises(FileError, match="more than"):
        unpack(content, limit=1000)


def test_scales_that_are_no_positive_numbers_are_refused() -> None:
    for scale in (0.0, -1.0, np.nan, np.inf):
        content = Grid(np.ones((2, 2), np.int8), np.full(1, scale, np.float32), None, 8).pack()
        with pytest.raises(FileError, match="scale"):
            unpack(content)


def test_binary_powers_of_two_and_groups_decode_by_hand() -> None:
    scale = np.array([0.5], np.float32)
    assert Grid(np.array([[1, -1]], np.int8), scale, None, 1).decode().tolist() == [[0.5, -0.5]]
    assert Grid(np.array([[64, 0, -2]], np.int8), scale, None, 4, True).decode().tolist() == [[32.0, 0.0, -1.0]]
    two = Grid(np.ones((2, 5), np.int8), np.array([[1, 2], [4, 8]], np.float32), 0, 8, group=3)
    assert two.decode().tolist() == [[1, 1, 1, 2, 2], [4, 4, 4, 8, 8]]
    turned = Grid(np.ones((5, 2, 1), np.int8), two.scale, 1, 8, group=3)
    assert turned.decode()[..., 0].T.tolist() == two.decode().tolist()


def test_bytes_of_binary_powers_of_two_and_groups_by_hand() -> None:
    one, crc = np.ones(1, np.float32), 4
    assert Grid(np.ones((3, 6), np.int8), one, None, 1).bits() == 8 * (head(2, 1) + 3 + crc)  # 18 bits
    assert Grid(np.ones((3, 6), np.int8), one, None, 3, True).bits() == 8 * (head(2, 1) + 7 + crc)  # 54 bits
    grouped = Grid(np.ones((3, 6), np.int8), np.ones((3, 2), np.float32), 0, 4, group=4)
    assert grouped.bits() == 8 * (head(2, 6) + 1 + 9 + crc)


def test_a_codebook_decodes_by_hand() -> None:
    indices = np.array([[0, 1], [1, 0], [2, 1]], np.uint8)
    integers = np.array([[0, 10, -7], [3, 1, 2]], np.int8)
    one = Codebook(indices, integers[:1], np.array([0.5], np.float32), 2)
    assert one.decode().tolist() == [[0, 5], [5, 0], [-3.5, 5]]
    blocks = Codebook(indices, integers, np.array([0.5, 2], np.float32), 2, 0, 2)  # channels 0 and 1; channel 2
    assert blocks.decode().tolist() == [[0, 5], [5, 0], [4, 2]]
    turned = Codebook(indices.T.copy(), integers.astype(np.float32), None, 2, 1, 2)
    assert turned.decode().T.tolist() == [[0, 10], [10, 0], [2, 1]]
    # kind, rank, two lengths, width, axis, block, entries, scale, three centroids, 12 bits, CRC-32
    assert one.bits() == 8 * (1 + 1 + 2 + 1 + 1 + 1 + 1 + 4 + 3 + 2 + 4)


def test_size_of_coded_indices_by_hand() -> None:
    # 800 x 0, 100 x 1, 60 x 2, 40 x 3: lengths 1, 2, 3, 3 -> 800 + 200 + 180 + 120 = 1300 bits; the table: 4 halves.
    indices = np.repeat(np.array([0, 1, 2, 3], np.uint8), [800, 100, 60, 40]).reshape(40, 25)
    book = Codebook(indices, np.array([[9, 1, 2, 3]], np.int8), np.ones(1, np.float32), 2)
    before = 1 + 1 + 2 + 4 + 4 + 4
    assert book.bits() == 8 * (before + 250 + 4)
    assert Coded(book).bits() == 8 * (before + 1 + (1 + 2) + 163 + 4)
    assert same(unpack(Coded(book).pack()), book)


@settings(max_examples=200, deadline=None)
@given(encodings())
def test_coding_never_costs_a_byte(encoding: Encoding) -> None:
    if not isinstance(encoding, Coded):
        assert Coded(encoding).bits() <= encoding.bits()
        assert same(Coded(encoding), encoding)
        assert innermost(Coded(encoding)) is innermost(encoding)


def test_random_values_stay_as_they_are() -> None:
    q = np.random.default_rng(0).integers(-127, 128, (64, 64)).astype(np.int8)
    grid = Grid(q, np.ones(1, np.float32), None, 8)
    assert Coded(grid).pack() == grid.pack()


def test_what_no_encoding_can_be_is_a_programmers_mistake() -> None:
    q, one = np.ones((2, 2), np.int8), np.ones(1, np.float32)
    with pytest.raises(TypeError):
        Dense(np.ones(2))
    with pytest.raises(ValueError, match="outside 2 bits"):
        Grid(2 * q, one, None, 2)
    with pytest.raises(ValueError, match="scales"):
        Grid(q, one, 0, 8)
    with pytest.raises(ValueError, match="mask"):
        Sparse(np.ones((2, 3), np.bool_), Grid(q, one, None, 8))
    with pytest.raises(TypeError, match="Sparse"):
        Sparse(q > 0, Sparse(q > 0, Grid(q, one, None, 8)))
    with pytest.raises(TypeError, match="Coded"):
        Coded(Coded(Grid(q, one, None, 8)))
    with pytest.raises(ValueError, match="outside 1 bits"):
        Grid(0 * q, one, None, 1)
    with pytest.raises(ValueError, match="outside 4 bits"):
        Grid(3 * q, one, None, 4, True)
    with pytest.raises(ValueError, match="scales"):
        Grid(q, one, None, 4, group=32)
    with pytest.raises(ValueError, match="indices"):
        Codebook(np.full((2, 2), 2, np.uint8), np.zeros((1, 2), np.int8), one, 4)
    with pytest.raises(ValueError, match="scale"):
        Codebook(np.zeros((2, 2), np.uint8), np.zeros((1, 2), np.int8), None, 4)


def test_a_million_weights_are_packed_and_counted_quickly() -> None:
    generator = np.random.default_rng(0)
    q = generator.integers(-7, 8, (1024, 1024)).astype(np.int8)
    mask = generator.random(q.shape) < 0.3
    counted, packed = [], []
    for _ in range(3):
        encoding = Sparse(mask, Grid(q, np.ones(1024, np.float32), 0, 4))
        start = time.process_time()
        encoding.bits()
        middle = time.process_time()
        encoding.pack()
        counted.append(middle - start)
        packed.append(time.process_time() - middle)
    assert min(counted) < 0.03  # about 0.01 measured
    assert min(packed) < 0.15  # about 0.03 measured


def test_share_of_a_bitmap() -> None:
    # Half of many 8-bit weights kept without any pattern: one bit each for the mask, eight for every second one.
    mask = np.random.default_rng(1).permutation(20_000).reshape(100, 200) % 2 == 0
    grid = Grid(np.ones((100, 200), np.int8), np.ones(1, np.float32), None, 8)
    assert Fraction(Sparse(mask, grid).bits() // 8 - head(2, 1) - 1 - 4 - 1, 1) == 20_000 // 8 + 10_000
