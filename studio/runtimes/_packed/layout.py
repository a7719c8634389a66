"""Bytes of a packed file: magic, header, tensors, check sum. Nothing here knows what an operation does."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

import numpy as np

from studio.core.errors import FileError
from studio.core.packing import Reader, pack_count

MAGIC = b"ECS"
VERSION = 2
CHECK = 4
HEADER_LIMIT = 1 << 24
"""Bytes of a header that room is made for; a thousand layers take about 100,000."""
DICTIONARY = (
    b'"classes":["single":1,"constant","concat","gather","k":[["value","i8","f4",[1]]]"prelu","pad","slice","axis":1'
    b',"softmax","sigmoid","hard_swish","resize","mul","add",["requantize","quantize","dequantize","l":1,"b":["c":['
    b'-128,127],"q":[0.,-128]}],"inf"],"relu6","clip","average_pool","global_average_pool","conv_transpose","matmul",'
    b'"resize":null,"interpolation":"bilinear","crop":null,"channels":"RGB","scale":0.00392156862745098,"mean":[0.0],'
    b'"std":[1.0]}}["max_pool","batch_norm","relu","reshape",{"s":{"shape":[,"keep_batch":true}}],["linear",{"n":["o":'
    b'{"s":{"kernel":[2,2],"stride":[2,2],"pads":[0,0,0,0],"ceil":false,"dilation":[1,1]}}],["conv",[0],{"s":{"stride"'
    b':[1,1],"pads":[1,1,1,1],"dilation":[1,1],"groups":1},"w":"v":"f"}]],"outputs":[],"ops":["preprocess":{"layout":'
    b'null,{"name":"","inputs":[["input",[1,'
)
"""What headers often say, as if Deflate had seen it before (RFC 1950, 2.2): small models have small headers."""
TYPES: dict[str, np.dtype[Any]] = {
    "f4": np.dtype("<f4"),
    "i8": np.dtype("<i8"),
    "i4": np.dtype("<i4"),
    "u1": np.dtype("u1"),
}
"""Types of the other tensors of an operation, as the header names them."""
FLOAT_BIAS = "f"


def damaged(what: str) -> FileError:
    """Return the error of a file that is not as it was written; the caller adds where it lies."""
    return FileError(f"the packed file is damaged: {what}.", remedy="Export the model again.")


def wrap(header: dict[str, Any], tensors: bytes) -> bytes:
    """Whole file from its header and the bytes of all tensors."""
    text = json.dumps(finite(header), separators=(",", ":"), allow_nan=False).encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=DICTIONARY)
    packed = packer.compress(text) + packer.flush()
    content = MAGIC + bytes([VERSION]) + pack_count(len(packed)) + pack_count(len(text)) + packed + tensors
    return content + zlib.crc32(content).to_bytes(CHECK, "little")


def unwrap(content: bytes) -> tuple[dict[str, Any], Reader]:
    """Header and a reader of the tensors; raises FileError."""
    if content[: len(MAGIC)] != MAGIC:
        raise FileError("is no packed model.", remedy="Give a model.ecs that `compress --format packed` wrote.")
    body = content[:-CHECK]
    if len(body) <= len(MAGIC):
        raise damaged("it ends too early")
    if body[len(MAGIC)] != VERSION:
        what = f"is a packed model of version {body[len(MAGIC)]}; version {VERSION} is read."
        raise FileError(what, remedy="Export the model again, or use a newer studio.")
    if zlib.crc32(body).to_bytes(CHECK, "little") != content[-CHECK:]:
        raise damaged("its check sum does not fit")
    reader = Reader(memoryview(body)[len(MAGIC) + 1 :])
    stored, size = reader.count(), reader.count()
    if size > HEADER_LIMIT:
        raise damaged(f"a header of {size:,} bytes")
    unpacker = zlib.decompressobj(-15, zdict=DICTIONARY)
    try:
        text = unpacker.decompress(bytes(reader.take(stored)), size + 1)
        header = json.loads(text)
    except (zlib.error, ValueError, RecursionError):
        raise damaged("its header cannot be read") from None
    if len(text) != size or not isinstance(header, dict):
        raise damaged("its header cannot be read")
    return header, reader


def finite(value: Any) -> Any:
    """JSON value in which infinite numbers are written as text, and tuples and numpy numbers as JSON has them."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def infinite(value: Any) -> Any:
    """Inverse of `finite` for one setting: "inf" and "-inf" become numbers."""
    return float(value) if value in ("inf", "-inf") else value


def bias_width(bias: np.ndarray) -> int:
    """Bytes that hold every int32 of a bias in two's complement: 1 to 4; 0 where all are zero."""
    largest = int(np.where(bias < 0, ~bias.astype(np.int64), bias).max(initial=0))
    return 0 if not bias.any() else (largest.bit_length() + 8) // 8


def pack_bias(bias: np.ndarray, width: int) -> bytes:
    """Low `width` bytes of each value, little-endian."""
    return bias.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes()


def read_bias(reader: Reader, count: int, width: int) -> np.ndarray:
    """Inverse of `pack_bias`: (count,) int32."""
    wide = np.zeros((count, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(reader.take(count * width), np.uint8).reshape(count, width)
    found: np.ndarray = wide.reshape(-1).view("<i4") >> (8 * (4 - width))
    return found.astype(np.int32)
