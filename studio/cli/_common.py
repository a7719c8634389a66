"""What verbs share: arguments, progress on stderr, results on stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.session import Session

Progress = Callable[[str, int, int], None]


def data_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Arguments of every verb that takes DATA."""
    parser.add_argument(
        "--data",
        metavar="DATA",
        required=required,
        help="evaluation data: .npz, a folder of pictures, or MODULE:FUNCTION",
    )
    preprocess_arguments(parser)


def preprocess_arguments(parser: argparse.ArgumentParser) -> None:
    """How samples are read and prepared."""
    parser.add_argument("--preprocess", metavar="FILE", help="preprocess.json: layout, resize, scale, mean, std ...")
    parser.add_argument("--samples", type=int, metavar="N", help="use N samples, drawn by class (default: all)")
    parser.add_argument("--label", metavar="FIELD", help="field of annotations.json that names the picture's label")
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (default 0)")


def calibration_arguments(parser: argparse.ArgumentParser) -> None:
    """Where ranges of activations come from."""
    parser.add_argument(
        "--calibration", metavar="DATA", help="calibration data (default: training, else evaluation data)"
    )
    parser.add_argument("--train-data", metavar="DATA", help="training data")


def model_arguments(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """MODEL, and the user's own code where it is needed to make it."""
    many = {"nargs": "?"} if optional else {}
    parser.add_argument("model", metavar="MODEL", help="model file (.onnx, or a state dict with --factory)", **many)  # type: ignore[arg-type]
    code_arguments(parser)


def code_arguments(parser: argparse.ArgumentParser) -> None:
    """The user's own code, and the consent to run it."""
    parser.add_argument("--factory", metavar="MODULE:FUNCTION", help="code that makes the torch module of a state dict")
    parser.add_argument("--trust", action="store_true", help="run the code that --factory or DATA names")


def json_argument(parser: argparse.ArgumentParser) -> None:
    """`--json`: one object on stdout and nothing else."""
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def open_session(args: argparse.Namespace, model: str, progress: Progress) -> Session:
    """Open a session from a verb's arguments."""
    from studio.session import open_session

    find_code(args)
    return open_session(
        model, args.data, preprocess=args.preprocess, label=args.label, samples=args.samples, seed=args.seed,
        calibration=getattr(args, "calibration", None), train=getattr(args, "train_data", None),
        plan=getattr(args, "plan", None), factory=args.factory, trust=args.trust, progress=progress,
    )  # fmt: skip


def find_code(args: argparse.Namespace) -> None:
    """Let trusted code be found where the command is typed, as `python -m` finds it."""
    if args.trust and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """Yield `report(title, done, total)`: a bar in a terminal, else a plain line every few seconds."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda title, done, total: bar.update(task, description=title, completed=done, total=total or None)
    else:
        last: tuple[str, float] = ("", 0.0)

        def report(title: str, done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if title != last[0] or now - last[1] > 5:
                count = f" {done:,} of {total:,}" if total else ""
                sys.stderr.write(f"{title}{count}\n")
                last = (title, now)

        yield report


def print_json(value: Any) -> None:
    """One JSON object on stdout; NaN and infinities become null."""
    sys.stdout.write(json.dumps(plain(value), allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """JSON values from numpy scalars, arrays, tuples and paths; not-finite numbers become None."""
    import math
    from pathlib import Path

    import numpy as np

    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table on stdout; columns whose index is in `right` are right-aligned. Nothing is cut short.

    Columns without names have no head.
    """
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        cells = (f"{c:>{w}}" if i in right else f"{c:<{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(cells).rstrip()

    out = [title] if title else []
    out += [line(columns), "  ".join("-" * w for w in widths)] if any(columns) else []
    out += [line([str(c) for c in row]) for row in rows]
    sys.stdout.write("\n".join(out) + "\n")


def kib(size: float) -> str:
    """Bytes as KiB with one decimal."""
    return f"{size / 1024:,.1f} KiB"


def percent(value: float | None) -> str:
    """Fraction as per cent with two decimals, or a dash."""
    return "–" if value is None else f"{100 * value:.2f} %"


def count(value: float) -> str:
    """Large counts with k, M or G."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"
