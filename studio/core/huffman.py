"""Canonical Huffman codes of at most 15 bits over 1 to 256 symbols (Huffman 1952; Larmore & Hirschberg 1990).

Codes are numbered as in Deflate (RFC 1951, 3.2.2): shorter ones first, equal lengths by symbol; the code
lengths alone tell the code. Streams are written with the highest bit of each byte first.
"""

from __future__ import annotations

import heapq

import numpy as np

from studio.core.packing import Reader, damaged

LONGEST = 15
"""Bits of the longest code: a length fits in four bits, and a decoder looks at two bytes."""
SYMBOLS = 256
_SEGMENT = 1 << 15  # bytes of a stream looked at together, so that all tables stay in the cache
_JUMPS = 6  # 2^6 symbols are skipped at once while the starts of codes are searched


def lengths(counts: np.ndarray) -> np.ndarray:
    """Bits of the code of each symbol, uint8; 0 for symbols that do not occur.

    counts: (n,) how often each symbol occurs. A single symbol that occurs has length 1 (and its stream is empty).
    The sum of counts x lengths is the smallest that codes of at most 15 bits can have.
    """
    found = np.zeros(len(counts), np.uint8)
    present = np.flatnonzero(counts)
    if len(present):
        weights = sorted((int(counts[symbol]), int(symbol)) for symbol in present)
        depths = _depths([weight for weight, _ in weights])
        if max(depths) > LONGEST:
            depths = _limited([weight for weight, _ in weights])
        found[[symbol for _, symbol in weights]] = depths
    return found


def stream_bits(counts: np.ndarray, code: np.ndarray) -> int:
    """Bits of a stream of symbols that occur `counts` times, with a code of these lengths."""
    return 0 if np.count_nonzero(code) < 2 else int(counts @ code.astype(np.int64))


def table(code: np.ndarray) -> bytes:
    """Code lengths as bytes: number of symbols - 1 up to the last one used, then four bits each, low ones first.

    A length 0 is followed by four bits that say how many more zeros follow it.
    """
    used = int(np.flatnonzero(code)[-1]) + 1
    halves: list[int] = []
    place = 0
    while place < used:
        halves.append(int(code[place]))
        if code[place] == 0:
            run = 0
            while run < 15 and place + 1 < used and code[place + 1] == 0:
                run, place = run + 1, place + 1
            halves.append(run)
        place += 1
    halves += [0] * (len(halves) % 2)
    pairs = zip(halves[::2], halves[1::2], strict=True)
    return bytes([used - 1, *(low | high << 4 for low, high in pairs)])


def read_table(reader: Reader) -> np.ndarray:
    """Inverse of `table`: (256,) uint8; raises FileError for lengths that are no complete code."""
    used = reader.byte() + 1
    code = np.zeros(SYMBOLS, np.uint8)
    halves = _Halves(reader)
    place = 0
    while place < used:
        length = halves.next()
        if length == 0:
            place += halves.next()
        else:
            code[place] = length
        place += 1
    kraft = int((np.int64(1) << (LONGEST - code[code > 0].astype(np.int64))).sum())
    if place > used or kraft != 1 << (LONGEST - (np.count_nonzero(code) == 1)):
        raise damaged("a table of code lengths is no Huffman code")
    return code


def encode(symbols: np.ndarray, code: np.ndarray) -> bytes:
    """Stream of the codes of (n,) uint8 symbols, the last byte filled with zeros; nothing where only one occurs."""
    if np.count_nonzero(code) < 2 or not len(symbols):
        return b""
    size = code[symbols].astype(np.int64)
    ends = np.cumsum(size)
    values = _codes(code)[symbols]
    bits = np.zeros(-(-int(ends[-1]) // 8) * 8, np.uint8)
    for place in range(int(size.max())):
        here = size > place
        bits[ends[here] - 1 - place] = values[here] >> np.uint16(place) & np.uint16(1)
    return np.packbits(bits).tobytes()


def decode(reader: Reader, count: int, code: np.ndarray) -> np.ndarray:
    """Inverse of `encode`: (count,) uint8, read from where the reader stands to the stream's last byte.

    Raises FileError for a stream that ends too early. Time grows with the bytes and symbols read alone.
    """
    if np.count_nonzero(code) < 2:
        return np.full(count, np.argmax(code), np.uint8)
    symbols, sizes = _lookup(code)
    parts, done, bit = [], 0, 0
    content = reader.peek()
    while done < count:
        first = bit // 8
        if first >= len(content):
            raise damaged("a Huffman stream ends too early")
        windows = _windows(content[first : first + _SEGMENT + 3])
        starts, bit = _starts(sizes[windows], bit - 8 * first, count - done, 8 * first)
        parts.append(symbols[windows[starts]])
        done += len(starts)
    reader.take(-(-bit // 8))  # codes that reach behind the content end here
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


class _Halves:
    """Four bits after the other, the low ones of a byte first."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._left = reader, -1

    def next(self) -> int:
        if self._left >= 0:
            found, self._left = self._left, -1
            return found
        byte = self._reader.byte()
        self._left = byte >> 4
        return byte & 15


def _depths(weights: list[int]) -> list[int]:
    """Depth of each leaf of a Huffman tree; weights ascend."""
    if len(weights) == 1:
        return [1]
    heap = [(weight, i) for i, weight in enumerate(weights)]
    parents = [0] * (2 * len(weights) - 1)
    for made in range(len(weights), len(parents)):
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        parents[first[1]] = parents[second[1]] = made
        heapq.heappush(heap, (first[0] + second[0], made))
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[: len(weights)]


def _limited(weights: list[int]) -> list[int]:
    """Depths of at most 15 with the least total (package-merge); weights ascend."""
    leaves = [(weight, (i,)) for i, weight in enumerate(weights)]
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(LONGEST):
        row = sorted([*leaves, *packages], key=lambda item: item[0])
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(row[::2], row[1::2], strict=False)]
    depths = [0] * len(weights)
    for _, members in packages[: len(weights) - 1]:
        for i in members:
            depths[i] += 1
    return depths


def _codes(code: np.ndarray) -> np.ndarray:
    """Canonical codes, (n,) uint16 in the low bits."""
    order = sorted(np.flatnonzero(code).tolist(), key=lambda symbol: (code[symbol], symbol))
    found = np.zeros(len(code), np.uint16)
    value = length = 0
    for symbol in order:
        value <<= int(code[symbol]) - length
        length = int(code[symbol])
        found[symbol] = value
        value += 1
    return found


def _lookup(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symbol and length for each of the 2^15 windows: canonical codes of full length ascend without gaps."""
    used = np.flatnonzero(code)
    order = used[np.argsort(code[used], kind="stable")]
    repeats = 1 << (LONGEST - code[order].astype(np.int64))
    return np.repeat(order.astype(np.uint8), repeats), np.repeat(code[order], repeats)


def _windows(content: memoryview) -> np.ndarray:
    """The 15 bits from each bit on, (8 x bytes,) uint16; zeros follow the content. Three bytes look ahead."""
    size = min(len(content), _SEGMENT)
    padded = np.zeros(size + 3, np.uint32)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    words = padded[:size] << 16 | padded[1 : size + 1] << 8 | padded[2 : size + 2]
    shifted = words[:, None] >> np.arange(9, 1, -1, dtype=np.uint32)[None, :]
    windows: np.ndarray = (shifted & np.uint32((1 << LONGEST) - 1)).astype(np.uint16).reshape(-1)
    return windows


def _starts(sizes: np.ndarray, bit: int, wanted: int, before: int) -> tuple[np.ndarray, int]:
    """Bits of a segment at which codes start, at most `wanted`, and the bit of the stream behind the last one.

    sizes: length of the code that would start at each bit; `before`: bits of the stream before the segment.
    The chain from code to code is followed 64 codes at a time, then the places between are filled in.
    """
    end = len(sizes)
    jump = np.minimum(np.arange(end + 1, dtype=np.int32) + np.append(sizes, 0), end).astype(np.int32)
    jumps = [jump]
    for _ in range(_JUMPS):
        jumps.append(jumps[-1][jumps[-1]])
    anchors: list[int] = []
    far = jumps[-1]
    while bit < end and len(anchors) << _JUMPS < wanted:
        anchors.append(bit)
        bit = int(far[bit])
    starts = np.array(anchors, np.int32)
    for step in reversed(jumps[:-1]):
        starts = np.stack([starts, step[starts]], axis=1).reshape(-1)
    starts = starts[: int(np.searchsorted(starts, end))][:wanted]
    return starts, before + int(starts[-1]) + int(sizes[starts[-1]])
