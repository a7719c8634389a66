"""The frozen integer network: what preview, writers and (later) C all take.

Tensors keep the network's layout (batch first, channels second); a batch of 1 stands in shapes.
Activations are int8 (`TensorFormat.bits == 8`), the ONNX writer shifts them to uint8 by 128; where the
plan says 16 bits a float operation's output passes through int16 (quantize, then dequantize).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from studio.core.encoding import Encoding
    from studio.network.operators import Operator


@dataclass(frozen=True)
class TensorFormat:
    """Format of an integer activation tensor: `real = (q - zero_point) * scale`, q in [-128, 127] for 8 bits."""

    scale: float  # exactly representable in float32
    zero_point: int
    bits: int = 8  # or 16


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the program; `format` None means float32."""

    name: str
    shape: tuple[int, ...]
    format: TensorFormat | None


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """Integers of a weighted operation, made once.

    Accumulator: `sum((x - z_in) * q) + bias`, int32; then `rint(float32(acc) * multiplier) + z_out`.
    """

    q: np.ndarray  # int8, network layout
    scale: np.ndarray  # float32 (channels,), one per output channel also for per-tensor weights
    bias: np.ndarray  # int32 (channels,), scale s_in * s_w
    multiplier: np.ndarray  # float32 (channels,): (s_in * s_w) / s_out, operation by operation
    width: int  # planned bits of a weight
    per_channel: bool


@dataclass(frozen=True, eq=False)
class Operation:
    """One step of the program, writing the tensor `output` (named after the last node it stands for).

    `kind`: an operator kind of the network, or quantize / dequantize / requantize. `nodes`: the
    network's nodes that it fuses, first to last ("conv1", "bn1", "relu1"). `integer` False: float32
    on decoded weights (`weight`, `bias` float arrays). `clamp`: range of the stored integers after
    the operation (the fused activation; [-128, 127] where there is none); float ops keep activations
    as operations of their own. `bounds`: the fused activation in real numbers, `(0, inf)` for ReLU, None
    where there is none. `listed`: a runtime may round otherwise here (`studio.lowering.listed`).
    """

    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    integer: bool
    settings: Mapping[str, Any] = field(default_factory=dict)  # Operator.settings() of the main node
    weights: IntegerWeights | None = None
    weight: np.ndarray | None = None  # float32, decoded, for float operations
    bias: np.ndarray | None = None
    encoding: Encoding | None = None  # what `weight` or `weights` were made from; None = the network's own
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)  # other tensors of the operator (PReLU slope ...)
    clamp: tuple[int, int] = (-128, 127)
    bounds: tuple[float, float] | None = None
    listed: bool = False
    operator: Operator | None = None  # of the main node; None for quantize, dequantize, requantize
    input_formats: tuple[TensorFormat | None, ...] = ()  # as of `inputs`; None = float32
    output_format: TensorFormat | None = None
    key: str = ""  # content key over everything above, the input formats and the keys of its inputs


@dataclass(frozen=True, eq=False)
class Program:
    """Operations in topological order. The network's inputs are float tensors that no operation writes."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]  # float tensors; an integer output ends in a dequantize operation
    tensors: Mapping[str, TensorInfo]
    operations: tuple[Operation, ...]
    free_batch: bool = True

    @cached_property
    def by_output(self) -> dict[str, Operation]:
        """Operation that writes each tensor."""
        return {op.output: op for op in self.operations}

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Weighted layers that compute in float: empty for a full-integer network."""
        return tuple(op.nodes[0] for op in self.operations if op.weight is not None)
