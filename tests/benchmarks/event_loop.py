"""Gaps in the event loop of the real window while previews run on 5,000 pictures and a slider moves.

A timer of 1 ms asks for the main thread; the longest time that it had to wait is the gap a hand feels.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import SHARED, arguments, cases, finish, say, table

LIMIT_MS = 50.0


class Gaps:
    """Longest waits of a 1 ms timer, by phase; with `--trace` where the main thread was."""

    def __init__(self, trace: bool) -> None:
        from PySide6.QtCore import Qt, QTimer

        self.worst: dict[str, float] = {}
        self.phase = ""
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(1)
        if trace:
            self._watch()

    def _tick(self) -> None:
        now = time.perf_counter()
        gap, self._last = 1e3 * (now - self._last), now
        if self.phase:
            self.worst[self.phase] = max(gap, self.worst.get(self.phase, 0.0))

    def start(self, phase: str) -> None:
        """Count under another name."""
        self.phase, self._last = phase, time.perf_counter()
        self.worst.setdefault(phase, 0.0)

    def _watch(self) -> None:
        import threading
        import traceback

        main = threading.main_thread().ident

        def look() -> None:
            while True:
                time.sleep(0.005)
                late = 1e3 * (time.perf_counter() - self._last)
                if self.phase and late > 30:
                    frame = sys._current_frames().get(main)  # type: ignore[arg-type]
                    say(f"late {late:.0f} ms in {self.phase}:\n" + "".join(traceback.format_stack(frame)[-4:]))
                    time.sleep(0.05)

        threading.Thread(target=look, daemon=True).start()


def main() -> int:
    """Open the case in the window, move sliders, count."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--case", default="cifar10_resnet20", help="name in CASES.json")
    parser.add_argument("--trace", action="store_true", help="say where the main thread was when it was late")
    args = parser.parse_args()
    os.environ["STUDIO_HOME"] = tempfile.mkdtemp()
    from PySide6.QtCore import QEventLoop, Qt, QThread
    from PySide6.QtTest import QTest

    from studio.core.plan import Step
    from studio.desktop.app import SWITCH_S, make_application
    from studio.desktop.notices import Notices
    from studio.desktop.window import MainWindow
    from studio.session.autosave import Opened

    case = cases(args.case)[0]
    app = make_application()
    sys.setswitchinterval(SWITCH_S)
    window: Any = MainWindow(Notices())
    window.show()

    def spin(until: Any, limit: float = 300.0) -> None:
        began = time.monotonic()
        while not until() and time.monotonic() - began < limit:
            app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            QThread.msleep(1)

    import torch

    torch.set_num_threads(1)
    samples = 1000 if args.quick else None
    same = case["calibration"] == "same file"
    window.open_model(
        Opened(
            str(SHARED / case["model"]), str(SHARED / case["data"]), case["preprocess"], samples=samples,
            calibration=None if same else str(SHARED / case["calibration"]),
        )
    )  # fmt: skip
    spin(lambda: window.session is not None)

    def measured() -> bool:
        known = window.session.result
        return known is not None and known.complete and known.plan_key == window.session.plan.key

    gaps = Gaps(args.trace)
    gaps.start("float model, all pictures")
    spin(measured)
    gaps.start("preset int8, all pictures")
    window.use_preset("int8")
    spin(measured)
    weighted = window.session.graph.weighted
    for place, layer in (("first", weighted[0]), ("middle", weighted[len(weighted) // 2]), ("last", weighted[-1])):
        say(f"slider on {layer.name}")
        window.network.graph.select([layer.name], layer.name)
        spin(lambda: False, 0.5)
        gaps.start(f"slider on the {place} layer")
        slider = window.network.inspector.cards["quantize"].controls["weight_bits"].slider
        for key in [Qt.Key.Key_Left] * 5 + [Qt.Key.Key_Right] * 4:
            QTest.keyClick(slider, key)
            spin(lambda: False, 0.15)
        spin(measured)
    layer = weighted[len(weighted) // 2].name
    window.network.graph.select([layer], layer)
    for technique, axis in (("prune_channels", "amount"), ("low_rank", "keep")):
        say(f"{technique} on {layer}")
        spin(lambda: False, 0.5)
        gaps.start(f"{technique} on the middle layer")
        for value in (0.3, 0.4, 0.5):
            window.session.set_step(layer, Step(technique, **{axis: value}), technique)
            spin(lambda: False, 0.15)
        spin(measured)
    gaps.phase = ""
    window.close()
    app.processEvents()
    rows = [[phase, f"{gap:.0f}"] for phase, gap in gaps.worst.items()]
    worst = max(gaps.worst.values())
    text = table(["while", "longest gap, ms"], rows)
    found = {"case": args.case, "gaps_ms": gaps.worst, "worst_ms": worst, "kept": worst <= LIMIT_MS}
    finish(args, f"Event loop while previews run, {args.case}", found, text)
    return 0 if worst <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
