"""Gaps in the event loop of the real window while a job trains beside it in a process of its own.

A timer of 1 ms asks for the main thread; the longest time that it had to wait is the gap a hand feels. The job
is real: int8 training on the case's training pictures, which runs from the first count to the last.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, arguments, cases, finish, say, table
from _window import LIMIT_MS, Bench

EPOCHS = 1000
"""More than it takes: the job is cancelled at the end."""


def start_job(bench: Bench) -> None:
    """Measure the time of a job, then start it by its button; wait for its first point."""
    tab, gaps = bench.window.train, bench.gaps
    bench.window.tabs.setCurrentWidget(tab)
    tab.setup.job.setCurrentIndex(tab.setup.job.findData("quantization_aware"))
    tab.setup.job.activated.emit(tab.setup.job.currentIndex())
    tab.setup.set_value("epochs", EPOCHS)
    bench.spin(tab.setup.start.isEnabled)
    gaps.start("three batches are timed")
    bench.spin(lambda: "about" in tab.setup.time.text())
    say(tab.setup.time.text())
    gaps.start("a job starts")
    tab.setup.start.click()
    bench.spin(lambda: tab.run.course.curves)


def main() -> int:
    """Open the case in the window, train, move sliders, count."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--case", default="ic_resnet8", help="name in CASES.json, with training pictures")
    parser.add_argument("--trace", action="store_true", help="say where the main thread was when it was late")
    parser.add_argument("--beside", default="nothing else", help="what else ran on the machine, for RESULTS.md")
    args = parser.parse_args()
    bench = Bench(args.trace)
    bench.open(args.case, 500 if args.quick else 1000, SHARED / cases(args.case)[0]["calibration"])
    gaps, window = bench.gaps, bench.window
    bench.spin(bench.measured)
    window.use_preset("int8")
    bench.spin(bench.measured)
    bench.slide("middle", "nothing trains, slider on the middle layer")
    start_job(bench)
    gaps.start("a job trains, its curves are shown")
    bench.spin(limit=5 if args.quick else 20)
    window.tabs.setCurrentWidget(window.network)
    bench.spin(limit=0.5)  # a hand needs longer from there to a layer: these are two events, not one
    for place in ("first", "middle", "last"):
        bench.slide(place, f"a job trains, slider on the {place} layer")
    process = window.train.process
    trained = process.status == "running"
    load = os.getloadavg()[0]
    gaps.start("the job is cancelled")
    window.train.run.cancel.click()
    bench.spin(lambda: process.status == "cancelled")
    bench.close()
    process.discard()
    return report(args, bench, trained, load)


def report(args: argparse.Namespace, bench: Bench, trained: bool, load: float) -> int:
    """Write the table."""
    gaps = bench.gaps
    rows = [[phase, f"{gap:.0f}", gaps.late[phase], f"{gaps.own[phase]:.0f}"] for phase, gap in gaps.worst.items()]
    worst = max(gaps.worst.values())
    kept = trained and worst <= LIMIT_MS
    text = table(
        ["while", "longest gap, ms", f"gaps over {LIMIT_MS:.0f} ms", "longest less waits for a core, ms"], rows
    )
    text += (
        f"\nThe job trained to the last count: {'yes' if trained else 'no'}. It runs with one thread, 10 levels of "
        f"niceness above the window's {os.getpriority(os.PRIO_PROCESS, 0)}. Beside them: {args.beside}; "
        f"load average at the end {load:.1f}. The first line, without a job, says what the machine itself adds.\n"
    )
    found = {
        "case": args.case, "gaps_ms": gaps.worst, "late": gaps.late, "own_ms": gaps.own, "worst_ms": worst,
        "trained": trained, "load": load, "kept": kept,
    }  # fmt: skip
    finish(args, f"Event loop beside a training job, {args.case}", found, text)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
