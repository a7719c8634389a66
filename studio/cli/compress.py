"""Apply a plan, export it, read every file back and run it in its real runtime."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli import _common as common
from studio.cli import _furthest, _jobs
from studio.core.errors import DataError, PlanError

if TYPE_CHECKING:
    from studio.core.plan import Plan
    from studio.session import Session

EXAMPLE = "edge-studio compress model.onnx --data test.npz --preset int8 --set 'fc:quantize(weight_bits=4)' --out out"


METRICS = {
    "top1": ("accuracy", common.percent),
    "agreement": ("same top-1", common.percent),
    "cosine": ("cosine", lambda value: "–" if value is None else f"{value:.5f}"),
}
"""Column of the results: its name, and how a value is written."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, what to apply, where ranges come from, what to write."""
    common.model_arguments(parser)
    common.data_arguments(parser, required=True)
    common.calibration_arguments(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--plan", metavar="FILE", help="plan.json to apply")
    start.add_argument(
        "--preset", metavar="NAME", help="shipped plan: int8, int4-weights, deep-compression, structured-int8"
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="SPEC",
        help="a step on top: 'LAYER:technique(key=value,..)', globs allowed, 'LAYER:float'",
    )  # fmt: skip
    _furthest.arguments(parser)
    _jobs.arguments(parser)
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
    if not (args.plan or args.preset or args.set or args.furthest or args.job or args.retrain):
        remedy = "Give --plan FILE, --preset NAME, --set SPEC, --furthest SPEC, --job SPEC or --retrain EPOCHS."
        raise PlanError("there is nothing to apply.", remedy=remedy)
    furthest = [_furthest.parse(text) for text in args.furthest]
    from studio.core.plan import Plan

    began = time.monotonic()
    start, options = _jobs.with_jobs(_with_flags(_start(args), args), args), _options(args.option)
    args.plan = Plan(preprocess=start.preprocess)  # steps come on top, where refused ones can be left out
    with common.progress_on_stderr() as progress:
        session = common.open_session(args, args.model, progress)
        session.cancel()
        try:
            _check_calibration(args, start, session)
            _say_doubt(session, progress)
            dropped = _apply(args, start, session)
            session.cancel()
            cuts = _furthest.cut(session, furthest, progress)
            trained = _jobs.train(session, args, progress)
            session.cancel()
            formats = tuple(name.strip() for name in args.format.split(",") if name.strip())
            found = session.export(args.out, formats, options, force=args.force, progress=progress, frames=args.frames)
            if trained is not None:
                trained.discard()
        finally:
            session.close()
    answer = {key: found[key] for key in ("before", "previewed", "exports", "attention", "calibration", "jobs")}
    answer |= {"plan": str(Path(args.out).resolve() / "plan.json"), "seconds": time.monotonic() - began}
    answer |= {"furthest": cuts, "skipped": found["skipped"] + dropped, "float_layers": found["float_layers"]}
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


def _apply(args: argparse.Namespace, start: Plan, session: Session) -> list[dict[str, str]]:
    """Give the session its plan; the steps that were left out."""
    from studio.core.errors import Refused

    try:
        plan, dropped = _plan(args, start, session)
        session.set_plan(plan, "command line")
    except Refused as error:
        if not args.skip_refused:
            error.remedy += " Or add --skip-refused: it goes on without what layers refuse."
        raise
    return dropped


def _plan(args: argparse.Namespace, plan: Plan, session: Session) -> tuple[Plan, list[dict[str, str]]]:
    """Plan with `--set` on top, and the steps that were left out, the plan's own among them."""
    from studio.core.errors import Refused
    from studio.core.setspec import parse
    from studio.engine.opening import weights_identity
    from studio.engine.resolve import canonical, check_model, is_factor, with_step

    warning = check_model(plan, session.graph, weights_identity(session.original))
    if warning:
        sys.stderr.write(warning + "\n")
    plan, steps, dropped = canonical(plan, session.graph), [], []
    if args.skip_refused:  # begin with what cannot be refused, and try the plan's own steps one by one
        steps = [(name, step) for own in (plan.groups, plan.layers) for name, found in own.items() for step in found]
        plan = replace(plan, groups={}, layers={name: own for name, own in plan.layers.items() if not own})
    for pattern, step in map(parse, args.set):
        factor = is_factor(pattern, session.graph)
        names = [pattern] if factor else [layer.name for layer in session.graph.match(pattern)]
        steps += [(name, step) for name in names]
    for name, step in steps:
        wanted = with_step(plan, session.graph, name, step)
        try:
            session.engine.resolve(wanted)
        except Refused as error:
            if not args.skip_refused:
                raise
            dropped.append({"layer": name, "technique": str(step.technique), "reason": error.what})
            continue
        plan = wanted
    return plan, dropped


def _with_flags(plan: Plan, args: argparse.Namespace) -> Plan:
    """Return a plan with what flags say of calibration and attention, checked as a plan file is."""
    from studio.core.plan import Plan
    from studio.core.setspec import parse_call

    value = plan.to_json()
    given = {
        "source": "calibration" if args.calibration else None,
        "samples": args.calibration_samples,
        "seed": args.seed or None,
    }
    value["calibration"] |= {key: flag for key, flag in given.items() if flag is not None}
    if args.attention:
        name, settings = parse_call(args.attention)
        value["attention"] = {"selector": name, "settings": settings, "crop": None}
    flag = "--crop" if args.crop else "--frames" if args.frames else None
    if flag and value["attention"] is None:
        remedy = "Give --attention SPEC as well, as in --attention edge_density."
        raise PlanError(f"{flag} is for an attention stage, and the plan has none.", remedy=remedy)
    if args.crop:
        value["attention"]["crop"] = list(parse_size(args.crop) or ())
    return Plan.from_json(value)


def _check_calibration(args: argparse.Namespace, plan: Plan, session: Session) -> None:
    """Raise DataError where more calibration samples are asked for than there are."""
    source = session.engine.calibration(plan.calibration)[0]
    if (args.calibration_samples or 0) > source.count:
        what = f"{args.calibration_samples:,} calibration samples are asked for, but there are only {source.count:,}."
        raise DataError(what, where=source.source, remedy=f"Ask for at most {source.count}.")


def _say_doubt(session: Session, progress: common.Progress) -> None:
    """Say on stderr what is wrong before any compression: preprocessing or labels."""
    from studio.engine.engine import FLOAT

    session.float_result = session.engine.measure(FLOAT, progress=progress)
    doubt = session.doubt()
    if doubt:
        sys.stderr.write(f"edge-studio: {doubt}\n")


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
    name, show = METRICS[before["metric"]]
    size, preview_size = common.kib(before["flash_bytes"]), common.kib(previewed["flash_bytes"])
    rows = [
        ("float", show(before["value"]), size, "", "", ""),
        ("previewed", show(previewed["value"]), preview_size, "", "", ""),
    ]
    for row in files(found):
        latency = f"{row['latency_ms']['median']:.3f} ms" if row["latency_ms"] else ""
        state = "passed" if row["passed"] else "FAILED"
        size = f"{row['file_bytes']:,} B"
        same = row["agreement"] if "agreement" in row else row["equal_to_python"] / row["frames"]
        rows.append((row["format"], show(row["value"]), size, common.percent(same), latency, state))
    title = f"{before['metric']} on {before['samples']:,} samples"
    common.table(title, ("", name, "bytes", "agreement", "latency", "check"), rows, right=(1, 2, 3, 4))
    for row in files(found):
        for note in row["notes"]:
            sys.stdout.write(f"{row['format']}: {note}\n")
    if found["float_layers"]:
        sys.stdout.write(f"mixed, not full-integer: float layers are {', '.join(found['float_layers'])}\n")
    for skip in found.get("skipped", []):
        sys.stdout.write(f"left out: {skip['layer']}: {skip['technique']}: {skip['reason']}\n")
    for row in found.get("furthest", []):
        sys.stdout.write(f"{_furthest.sentence(row)}\n")
    for job in found["jobs"]:
        said = " ".join(job[name] for name in ("ended", "verdict", "warning") if name in job)
        sys.stdout.write(f"trained: {job['job']}, {job['seconds']:,.0f} s{said and '. ' + said}\n")
    if found["calibration"]["same_as_evaluation"]:
        sys.stdout.write(
            "Ranges were taken from the evaluation data itself; give --calibration for an honest figure.\n"
        )
    for row in files(found):
        sys.stdout.write(f"{row['path']}\n")
