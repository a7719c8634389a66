"""Measure what each layer costs when it alone is compressed: layer x technique x strength."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from studio.cli import _common as common
from studio.cli.compress import METRICS
from studio.core.errors import Refused

if TYPE_CHECKING:
    from studio.engine.sensitivity import SensitivityRow

EXAMPLE = "edge-studio sensitivity model.onnx --data test.npz --only int4 --only low_rank --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Model, data, where ranges come from, and which cases are measured."""
    common.model_arguments(parser)
    common.data_arguments(parser, required=True)
    common.calibration_arguments(parser)
    parser.add_argument(
        "--only", action="append", metavar="NAME",
        help="measure this case (int4, 'channels 30 %%') or technique (quantize) only, may be repeated; all by default",
    )  # fmt: skip
    common.json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print one row a layer and case, the most harmful case of each layer first.

    What was measured before, here or in the app, is not measured again; Ctrl-C leaves what was measured.
    """
    from studio.engine.sensitivity import measure_layers

    cases = wanted(args.only)
    with common.progress_on_stderr() as progress:
        session = common.open_session(args, args.model, progress)
        session.cancel()
        for table in measure_layers(session.engine, session.blame, cases=cases, modes=("alone",), progress=progress):
            session.blame = found = table
        session.close()
    places = [(case, layer.name) for case in cases for layer in session.graph.weighted]
    rows = [row for place in places if (row := found.find(place[1], place[0])) is not None]
    value = {"metric": found.metric, "base": found.base, "samples": found.samples, "rows": [_plain(r) for r in rows]}
    if args.json:
        common.print_json(value)
    else:
        _print(value)
    return 0


def wanted(names: Sequence[str] | None) -> tuple[str, ...]:
    """Cases that names of cases or of techniques stand for, in the order of the heat map; all without names.

    Raises Refused for an unknown name.
    """
    from studio.engine.sensitivity import CASES

    techniques = {case: str(make().technique) for case, make in CASES.items()}
    for name in names or ():
        if name not in (*techniques, *techniques.values()):
            known = ", ".join((*techniques, *dict.fromkeys(techniques.values())))
            raise Refused(f"there is no case '{name}'.", where="--only", remedy=f"Choose from {known}.")
    return tuple(case for case in CASES if not names or case in names or techniques[case] in names)


def _plain(row: SensitivityRow) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key != "mode"}


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
