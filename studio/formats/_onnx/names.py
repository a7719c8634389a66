"""Stable layer names: the same file has the same names for ever (DESIGN: Layer names)."""

from __future__ import annotations

import re

WEIGHT = re.compile(r"^[A-Za-z_].*[._/](weight|kernel|w)(_\d+)?(:0)?$")
ENDING = re.compile(r"[._/](weight|kernel|w)(_\d+)?(:0)?$")
DROPPED = re.compile(
    r"(/(Conv|Conv1D|Conv2D|DepthwiseConv2d|depthwise|ConvTranspose|Gemm|MatMul|MatMul_Gemm_|BiasAdd|ReadVariableOp|"
    r"resource|Relu6?|LeakyRelu|PRelu|Clip|Sigmoid|HardSigmoid|HardSwish|Tanh|Softmax|BatchNormalization|"
    r"FusedBatchNormV3|Flatten)(_?\d+)?)+$"
)
"""What exporters put behind a layer's own name: `/Conv`, `/Relu_1`, `/BiasAdd/ReadVariableOp/resource1`."""


class Names:
    """Hands out one name a node, in the order of the file."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}

    def make(self, kind: str, node: str, output: str, weight: str | None = None) -> str:
        """Name of a node of the given kind from the file's names of its weight, itself and its output."""
        if weight and "::" not in weight and WEIGHT.match(weight):
            text = ENDING.sub("", weight)
        else:
            text = node or output
        # A stored bias lies under the name of its layer: only with its ending is it another one.
        name = readable(text, DROPPED if kind != "constant" else None)
        if not name:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{kind}{self._counts[kind]}"
        return self._unique(name)

    def _unique(self, name: str) -> str:
        found, i = name, 2
        while found in self._used:
            found, i = f"{name}_{i}", i + 1
        self._used.add(found)
        return found


def readable(text: str, dropped: re.Pattern[str] | None = DROPPED) -> str:
    """File's own name without operator endings and doubled parts, joined with dots."""
    text = text.rsplit(";", 1)[-1]
    if dropped:
        text = dropped.sub("", text)
    parts = [part for part in text.split("/") if part]
    kept = [p for i, p in enumerate(parts) if not (i + 1 < len(parts) and parts[i + 1].startswith(p + "."))]
    if len(kept) > 1 and re.fullmatch(r"[A-Z][A-Za-z]*(_\d+)?", kept[-1]):
        kept[-1] = kept[-1].lower()  # the operator's type, as in layer1.0/Add
    return ".".join(kept)
