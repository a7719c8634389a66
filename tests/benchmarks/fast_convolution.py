"""Fast convolutions on every layer of the cases that takes one: saved, extra, error, time beside direct."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, arguments, cases, finish, say, table

LARGE = (("64 → 64, 56×56", 64, 56), ("128 → 128, 28×28", 128, 28), ("256 → 256, 56×56", 256, 56))
"""Layers of larger networks (ResNet, VGG): channels in and out, height and width."""


def rows_of(case: dict[str, Any], seen: set[Any]) -> list[dict[str, Any]]:
    """Facts of each algorithm on each kind of layer of a case that was not met yet."""
    from studio.formats import read
    from studio.network.cost import describe
    from studio.network.fold import fold
    from studio.techniques.fast_convolution import TECHNIQUE, FastConvolutionSettings, algorithms

    network = fold(read(SHARED / case["model"]))
    rows = []
    for layer in describe(network).weighted:
        alike = (layer.weight_shape, layer.input_shapes, layer.pads)
        if TECHNIQUE.refuses(layer, FastConvolutionSettings()) is not None or alike in seen:
            continue
        seen.add(alike)
        weight = network.by_name[layer.name].operator.state_dict()["weight"].numpy()
        for name in algorithms(layer, "auto"):
            chosen = FastConvolutionSettings(algorithm=name)
            rows.append(row_of(case["name"], layer.name, layer, chosen, weight, layer.input_shapes[0]))
    return rows


def large_rows() -> list[dict[str, Any]]:
    """Facts on layers of sizes that the cases do not have, with random weights."""
    import numpy as np

    from studio.core.graph import Layer
    from studio.techniques.fast_convolution import WINOGRAD, FastConvolutionSettings

    rows = []
    for title, channels, size in LARGE:
        weight = np.random.default_rng(0).standard_normal((channels, channels, 3, 3)).astype(np.float32)
        shape = (1, channels, size, size)
        layer = Layer(title, title, "conv", "Conv 3×3", (), (shape,), shape, weight.shape, 0, 0, 0, None,
                      stride=(1, 1), pads=(1, 1, 1, 1), dilation=(1, 1))  # fmt: skip
        for name in WINOGRAD:
            chosen = FastConvolutionSettings(algorithm=name)
            rows.append(row_of("random weights", title.partition(",")[0], layer, chosen, weight, shape))
    return rows


def row_of(case: str, title: str, layer: Any, settings: Any, weight: Any, shape: Any) -> dict[str, Any]:
    """One line, checked: exact integers where they are claimed."""
    from studio.techniques.fast_convolution import TECHNIQUE

    say(f"{case} {title} {settings.algorithm}")
    facts = TECHNIQUE.facts(layer, settings, weight, shape)
    exact = facts.int8_error == 0 if facts.algorithm == "winograd2" else facts.float_error < 1e-4
    return {
        "case": case, "layer": title, "detail": layer.detail, "input": list(shape), **asdict(facts),
        "saved": facts.saved, "faster": facts.faster, "exact": exact,
    }  # fmt: skip


def main() -> int:
    """Measure; exit 1 where the integer form is not exact."""
    args = arguments(__doc__ or "").parse_args()
    import torch

    torch.set_num_threads(1)
    names = [case["name"] for case in json.loads((SHARED / "CASES.json").read_text())["cases"]]
    seen: set[Any] = set()
    rows = [row for case in cases(*(["ic_resnet8"] if args.quick else names)) for row in rows_of(case, seen)] + (
        [] if args.quick else large_rows()
    )
    lines = [
        [r["case"], r["layer"], r["detail"], "×".join(map(str, r["input"][2:])), r["algorithm"], f"{r['saved']:.0%}",
         f"{r['transformed_bytes'] - r['weight_bytes']:+,}",
         f"{r['int8_transformed_bytes'] - r['int8_weight_bytes']:+,}",
         f"{r['float_error']:.1e}", r["int8_error"], f"{r['direct_ms']:.3f}", f"{r['fast_ms']:.3f}",
         f"{r['direct_ms'] / r['fast_ms']:.2f}", "yes" if r["faster"] else "no"]
        for r in rows
    ]  # fmt: skip
    columns = [
        "case", "layer", "", "input", "algorithm", "multiplications saved", "weight bytes, float32",
        "weight bytes, int8", "float error", "int8 error", "direct ms", "fast ms", "times as fast", "chosen",
    ]  # fmt: skip
    note = (
        "One sample, one thread, float32, against torch's direct convolution (oneDNN), taken in turn; layers that are "
        "alike are listed once. Float error: share of the largest output, against float64. Int8 error: units of the "
        "int32 accumulator; winograd2 in integers, the others in float32. ONNX Runtime and LiteRT choose their kernels "
        "by themselves.\n\n"
    )
    kept = all(r["exact"] for r in rows)
    finish(args, "Fast convolution layer by layer", {"rows": rows, "kept": kept}, note + table(columns, lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
