"""Measure what each layer costs when it alone is compressed: layer x technique x strength."""

from __future__ import annotations

import argparse
from typing import Any

from studio.cli import _common as common
from studio.cli.compress import METRICS

EXAMPLE = "edge-studio sensitivity model.onnx --data test.npz --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Model, data, and where ranges come from."""
    common.model_arguments(parser)
    common.data_arguments(parser, required=True)
    common.calibration_arguments(parser)
    common.json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print one row a layer and case, the most harmful case of each layer first."""
    from studio.engine.sensitivity import measure_layers

    with common.progress_on_stderr() as progress:
        session = common.open_session(args, args.model, progress)
        session.cancel()
        *_, found = measure_layers(session.engine, modes=("alone",), progress=progress)
        session.close()
    value = found.to_json()
    if args.json:
        rows = [{k: v for k, v in row.items() if k not in ("case", "mode")} for row in value["rows"]]
        common.print_json({**value, "rows": rows})
    else:
        _print(value)
    return 0


def _print(found: dict[str, Any]) -> None:
    cases = list(dict.fromkeys(row["case"] for row in found["rows"]))
    by_layer: dict[str, dict[str, float]] = {}
    for row in found["rows"]:
        by_layer.setdefault(row["layer"], {})[row["case"]] = row["delta"]
    cosine = found["metric"] == "cosine"
    rows = [(layer, *(_change(deltas.get(case), cosine) for case in cases)) for layer, deltas in by_layer.items()]
    rows.sort(key=lambda row: min(by_layer[row[0]].values()))
    title = (
        f"{found['metric']} {METRICS[found['metric']][1](found['base'])} in float on {found['samples']:,} samples; "
        f"change{'' if cosine else ' in points'} when one layer alone is compressed"
    )
    common.table(title, ("layer", *cases), rows, right=range(1, len(cases) + 1))


def _change(delta: float | None, cosine: bool) -> str:
    return "–" if delta is None else f"{delta:+.5f}" if cosine else f"{100 * delta:+.2f}"
