"""Apply a plan, export it, read every file back and run it in its real runtime."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli import _common as common
from studio.core.errors import PlanError

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.session import Session

EXAMPLE = "edge-studio compress model.onnx --data test.npz --preset int8 --set 'fc:quantize(weight_bits=4)' --out out"


def arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, what to apply, where ranges come from, what to write."""
    common.model_arguments(parser)
    common.data_arguments(parser, required=True)
    common.calibration_arguments(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--plan", metavar="FILE", help="plan.json to apply")
    start.add_argument("--preset", metavar="NAME", help="shipped plan: int8")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SPEC",
        help="a step on top: 'LAYER:technique(key=value,..)', globs allowed, 'LAYER:float'",
    )  # fmt: skip
    parser.add_argument("--calibration-samples", type=int, metavar="N", help="samples for ranges (default 300)")
    parser.add_argument("--attention", metavar="SPEC", help="selector in front: 'edge_density(stride=2)'")
    parser.add_argument("--crop", metavar="HxW", help="window of the attention stage in frame pixels")
    parser.add_argument("--frames", metavar="DATA", help="frames with boxes for the attention stage")
    parser.add_argument("--format", default="onnx,tflite", metavar="LIST", help="files to write (default onnx,tflite)")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="onnx_weights=int8|uint8")
    parser.add_argument("--out", required=True, metavar="DIR", help="export folder")
    parser.add_argument("--force", action="store_true", help="write into a folder that holds other files")
    parser.add_argument(
        "--skip-refused", action="store_true", help="leave out steps that a layer refuses, and list them"
    )
    common.json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Return 0 when every file passed, 1 when one does not agree with the preview."""
    if not (args.plan or args.preset or args.set):
        raise PlanError("there is nothing to apply.", remedy="Give --plan FILE, --preset NAME or --set SPEC.")
    began = time.monotonic()
    start, args.plan = _start(args), None
    with common.progress_on_stderr() as progress:
        session = common.open_session(args, args.model, progress)
        session.cancel()
        try:
            plan, dropped = _plan(args, start, session)
            session.set_plan(plan, "command line")
            session.cancel()
            formats = tuple(name.strip() for name in args.format.split(",") if name.strip())
            found = session.export(
                args.out, formats, _options(args.option), force=args.force, progress=progress, frames=args.frames
            )
        finally:
            session.close()
    answer = {key: found[key] for key in ("before", "previewed", "exports", "attention", "calibration")}
    answer |= {"plan": str(Path(args.out).resolve() / "plan.json"), "seconds": time.monotonic() - began}
    answer["skipped"] = found["skipped"] + dropped
    if args.json:
        common.print_json(answer)
    else:
        print_results(answer)
    return 0 if all(row["passed"] for row in files(found)) else 1


def files(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of all files of an export, those of the attention stage last."""
    return [*found["exports"], *(found["attention"] or {}).get("files", ())]


def _start(args: argparse.Namespace) -> Plan:
    from studio.core.plan import Plan

    if args.plan:
        return Plan.load(args.plan)
    return preset(args.preset) if args.preset else Plan()


def preset(name: str) -> Plan:
    """Return a shipped plan; raises PlanError with the names there are."""
    from studio.core import paths
    from studio.core.plan import Plan

    folder = paths.resource("presets")
    if not (folder / f"{name}.json").is_file():
        known = ", ".join(sorted(f.stem for f in folder.glob("*.json")))
        raise PlanError(f"there is no preset '{name}'.", remedy=f"Known: {known}.")
    return Plan.load(folder / f"{name}.json")


def _plan(args: argparse.Namespace, plan: Plan, session: Session) -> tuple[Plan, list[dict[str, str]]]:
    """Plan file or preset, `--set` on top, flags on top of that; and the steps that were left out."""
    from studio.core.errors import Refused
    from studio.core.plan import Attention
    from studio.core.setspec import parse, parse_call
    from studio.engine.resolve import canonical, check_model
    from studio.session.opening import weights_identity

    warning = check_model(plan, session.graph, weights_identity(session.original))
    if warning:
        sys.stderr.write(warning + "\n")
    dropped = []
    for spec in args.set:
        pattern, step = parse(spec)
        for layer in session.graph.match(pattern):
            wanted = canonical(plan.with_step(layer.name, step), session.graph)
            try:
                session.engine.resolve(wanted)
            except Refused as error:
                if not args.skip_refused:
                    raise
                dropped.append({"layer": layer.name, "technique": str(step.technique), "reason": error.what})
                continue
            plan = wanted
    source = "calibration" if args.calibration else plan.calibration.source
    samples = args.calibration_samples or plan.calibration.samples
    plan = replace(plan, calibration=replace(plan.calibration, source=source, samples=samples))
    if args.attention:
        name, settings = parse_call(args.attention)
        plan = replace(plan, attention=Attention(name, settings, parse_size(args.crop)))
    return plan, dropped


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`"32x48"` as (height, width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise PlanError(f"--crop {text!r} is no size.", remedy="Write height x width in pixels, as in 32x32.")
    return int(parts[0]), int(parts[1])


def _options(pairs: list[str]) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if (key, equals) != ("onnx_weights", "=") or value not in ("int8", "uint8"):
            raise PlanError(f"unknown --option {pair!r}.", remedy="Possible: onnx_weights=int8 or onnx_weights=uint8.")
        found[key] = value
    return found


def print_results(found: dict[str, Any]) -> None:
    """Print the table that a person reads: float, previewed, each file."""
    before, previewed = found["before"], found["previewed"]
    size, preview_size = common.kib(before["flash_bytes"]), common.kib(previewed["flash_bytes"])
    rows = [
        ("float", common.percent(before["value"]), size, "", "", ""),
        ("previewed", common.percent(previewed["value"]), preview_size, "", "", ""),
    ]
    for row in files(found):
        latency = f"{row['latency_ms']['median']:.3f} ms" if row["latency_ms"] else ""
        state = "passed" if row["passed"] else "FAILED"
        size = f"{row['file_bytes']:,} B"
        same = row["agreement"] if "agreement" in row else row["equal_to_python"] / row["frames"]
        rows.append((row["format"], common.percent(row["value"]), size, common.percent(same), latency, state))
    title = f"{before['metric']} on {before['samples']:,} samples"
    common.table(title, ("", "accuracy", "bytes", "agreement", "latency", "check"), rows, right=(1, 2, 3, 4))
    for row in files(found):
        for note in row["notes"]:
            sys.stdout.write(f"{row['format']}: {note}\n")
    for skip in found.get("skipped", []):
        sys.stdout.write(f"left out: {skip['layer']}: {skip['technique']}: {skip['reason']}\n")
    if found["calibration"]["same_as_evaluation"]:
        sys.stdout.write(
            "Ranges were taken from the evaluation data itself; give --calibration for an honest figure.\n"
        )
    for row in files(found):
        sys.stdout.write(f"{row['path']}\n")
