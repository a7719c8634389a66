"""Deep Compression with training, on MNIST: prune, share, code; the size of the whole `model.ecs`, decoded and run.

Han et al. 2016 report 40x for LeNet-300-100 and 39x for LeNet-5, soft weight-sharing (Ullrich et al. 2017)
64x and 162x. The ratio is the original float32 bytes (weights and biases) to the size of the file as it lies
on the disk: graph, tables, gaps, biases and check sums are in it. Each seed trains its own float network from the
labels; the compressed one starts from it and is taught by it, or, with `teacher_epochs`, by a float lenet-5 that
is trained on the same pictures for that long. Settings were chosen on 5,000 held-back training pictures; the test
set is read once a seed, when both networks are done. One thread; seconds are processor time, the teacher's too.
With `--curve` the same recipe keeps several shares of the weights: what accuracy costs in bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _common import arguments, finish, say, table
from _lenet import KINDS, Kind, mnist, train_float
from _lenet_prune import Lean, Recipe, Teacher, accuracy, prune
from _lenet_share import share

RECIPES = {
    "lenet-300-100": Recipe(
        float_epochs=25, shift=True, keep=0.042, epochs=200, learning_rate=0.1, ramp=0.75, focus=0.4,
        values=(8, 8, 16), share_epochs=8, teacher_epochs=8,
    ),
    "lenet-5": Recipe(
        float_epochs=8, shift=False, keep=0.0232, epochs=20, learning_rate=0.03, ramp=0.7, focus=0.4,
        values=(16, 8, 8, 8), share_epochs=6,
    ),
}  # fmt: skip
WANTED = {"lenet-300-100": 80.0, "lenet-5": 190.0}
"""Ratio at least."""
MOST_DROP = 0.001
"""Of top-1, in the mean of the seeds."""
DECIDE = 5
"""Seeds whose mean decides; fewer keep no limit."""
OUT = Path(tempfile.gettempdir()) / "edge-studio-deep-compression"


def known(kind: Kind, recipe: Recipe, seed: int, out: Path) -> dict[str, Any]:
    """Row of a seed: of an earlier run with the same recipe that was cut short, else of a new one."""
    file = out / f"{kind.name}-{seed}" / "row.json"
    wanted = json.loads(json.dumps(asdict(recipe)))
    found = json.loads(file.read_text()) if file.exists() else {}
    if found.get("recipe") != wanted:
        found = {"recipe": wanted, "row": run(kind, recipe, seed, out)}
        file.write_text(json.dumps(found))
    row: dict[str, Any] = found["row"]
    return row


def run(kind: Kind, recipe: Recipe, seed: int, out: Path) -> dict[str, Any]:
    """Train, compress, write and run one seed."""
    import torch
    from _lenet_file import engine_for, plan_of, write

    torch.set_num_threads(1)
    began, wall = time.process_time(), time.monotonic()
    data = mnist()
    weights, biases = train_float(kind, data, seed, recipe.float_epochs, recipe.shift)
    lean = Lean(kind, weights, biases)
    before = accuracy(lean, weights, biases, data, data.held)
    say(f"{kind.name} seed {seed}: float {before:.4f} on held-back pictures, {time.process_time() - began:.0f} s")
    teacher = teacher_of(kind, weights, biases, data, recipe, seed)
    prune(lean, data, teacher, recipe, seed)
    kept = sum(int(mask.sum()) for mask in lean.masks)
    value = accuracy(lean, lean.weights, lean.biases, data, data.held)
    say(f"  {kept:,} weights of {lean.total:,} left: {value:.4f}, {time.process_time() - began:.0f} s")
    shared = share(lean, data, teacher, recipe, seed)
    after = accuracy(lean, [one.weight() for one in shared], lean.biases, data, data.held)
    engine = engine_for(kind, weights, biases)
    row = write(engine, plan_of(engine, lean, shared), kind.name, out / f"{kind.name}-{seed}")
    found = {
        "seed": seed, "kept": kept, "float": row["float"], "value": row["value"], "samples": row["samples"],
        "drop": row["float"] - row["value"], "bytes": row["file_bytes"], "ratio": kind.bytes / row["file_bytes"],
        "held_float": before, "held": after, "passed": row["passed"], "path": row["path"],
        "seconds": time.process_time() - began, "wall_seconds": time.monotonic() - wall,
    }  # fmt: skip
    say(f"  shared {after:.4f}; file {found['bytes']:,} bytes, {found['ratio']:.1f}x, drop {100 * found['drop']:+.2f}")
    return found


def teacher_of(kind: Kind, weights: Any, biases: Any, data: Any, recipe: Recipe, seed: int) -> Teacher:
    """The float network, or a float lenet-5 trained on moved pictures with the same seed."""
    if recipe.teacher_epochs:
        kind = KINDS["lenet-5"]
        weights, biases = train_float(kind, data, seed, recipe.teacher_epochs, shift=True)
    return Teacher(kind, weights, biases, data, recipe)


def summary(kind: Kind, recipe: Recipe, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of all seeds, as INTERFACE.md names them."""
    drops = [row["drop"] for row in rows]
    ratio = kind.bytes / statistics.mean(row["bytes"] for row in rows)
    error = statistics.stdev(drops) / math.sqrt(len(drops)) if len(drops) > 1 else None
    return {
        "model": kind.name, "float": statistics.mean(row["float"] for row in rows),
        "compressed": statistics.mean(row["value"] for row in rows), "drops": drops,
        "drop": statistics.mean(drops), "standard_error": error, "ratio": ratio,
        "bytes": round(statistics.mean(row["bytes"] for row in rows)), "files": [row["path"] for row in rows],
        "seconds": sum(row["seconds"] for row in rows), "rows": rows, "recipe": asdict(recipe),
        "kept": len(rows) >= DECIDE and ratio >= WANTED[kind.name] and statistics.mean(drops) <= MOST_DROP + 1e-9
        and all(row["passed"] for row in rows),
    }  # fmt: skip


def text(found: dict[str, Any]) -> str:
    """Page of one model."""
    columns = ["seed", "weights left", "float top-1", "file's top-1", "drop in points", "model.ecs", "ratio",
               "processor s"]  # fmt: skip
    lines = [
        [r["seed"], f"{r['kept']:,}", f"{r['float']:.4f}", f"{r['value']:.4f}", f"{100 * r['drop']:+.2f}",
         f"{r['bytes']:,}", f"{r['ratio']:.1f}x", f"{r['seconds']:.0f}"]
        for r in found["rows"]
    ]  # fmt: skip
    lines.append(["mean", "", f"{found['float']:.4f}", f"{found['compressed']:.4f}",
                  f"{_drop(found)} (≤ {100 * MOST_DROP:.1f})", f"{found['bytes']:,}",
                  f"{found['ratio']:.1f}x (≥ {WANTED[found['model']]:g}x)",
                  f"{found['seconds'] / len(found['rows']):.0f}"])  # fmt: skip
    recipe = ", ".join(f"{name} {value}" for name, value in found["recipe"].items())
    few = "" if len(found["rows"]) >= DECIDE else f" ({len(found['rows'])} of the {DECIDE} seeds that decide)"
    return f"{table(columns, lines)}\nKept: {'yes' if found['kept'] else 'NO'}{few}. Recipe: {recipe}.\n"


def curve(found: list[dict[str, Any]]) -> str:
    """Page of one model at several shares of the weights."""
    columns = ["share kept", "weights left", "seeds", "float top-1", "file's top-1", "drop in points", "model.ecs",
               "ratio"]  # fmt: skip
    lines = [
        [f"{one['recipe']['keep']:g}", f"{one['rows'][0]['kept']:,}", len(one["rows"]), f"{one['float']:.4f}",
         f"{one['compressed']:.4f}", _drop(one), f"{one['bytes']:,}", f"{one['ratio']:.1f}x"]
        for one in found
    ]  # fmt: skip
    recipe = ", ".join(f"{name} {value}" for name, value in found[0]["recipe"].items() if name != "keep")
    return f"{table(columns, lines)}\nRecipe: {recipe}.\n"


def _drop(found: dict[str, Any]) -> str:
    """Mean loss of top-1 in points, with its standard error where there are several seeds."""
    error = found["standard_error"]
    return f"{100 * found['drop']:+.2f}" + ("" if error is None else f" ± {100 * error:.2f}")


def main() -> int:
    """Run the seeds of one model; exit 1 where a limit is missed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--model", choices=sorted(KINDS), required=True)
    parser.add_argument("--seeds", type=int, default=DECIDE)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the exports")
    parser.add_argument("--resume", action="store_true", help="take seeds that an earlier run with --resume finished")
    parser.add_argument("--curve", type=float, nargs="+", metavar="KEEP", help="shares of the weights, a line each")
    parser.add_argument("--shift", action=argparse.BooleanOptionalAction, help="pictures moved by a pixel")
    parser.add_argument("--epochs", type=int, help="of pruning")
    for name in ("keep", "focus", "learning_rate", "ramp"):
        parser.add_argument("--" + name.replace("_", "-"), type=float)
    args = parser.parse_args()
    kind, recipe = KINDS[args.model], RECIPES[args.model]
    names = ("keep", "focus", "learning_rate", "ramp", "shift", "epochs")
    recipe = replace(recipe, **{n: getattr(args, n) for n in names if getattr(args, n) is not None})
    if args.quick:
        recipe = replace(recipe, float_epochs=1, epochs=2, share_epochs=1)
    take, seeds = known if args.resume else run, range(1 if args.quick else args.seeds)

    def of(recipe: Recipe, out: Path) -> dict[str, Any]:
        return summary(kind, recipe, [take(kind, recipe, seed, out) for seed in seeds])

    if args.curve:
        several = [of(replace(recipe, keep=keep), args.out / f"keep-{keep:g}") for keep in args.curve]
        finish(args, f"Deep Compression, accuracy against ratio: {kind.name}", {"curve": several}, curve(several))
        return 0
    found = of(recipe, args.out)
    finish(args, f"Deep Compression with training: {kind.name}", found, text(found))
    return 0 if found["kept"] or args.quick else 1


if __name__ == "__main__":
    sys.exit(main())
