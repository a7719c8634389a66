"""The real window under a benchmark: opened on a case, driven by keys, watched for gaps in its event loop."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import SHARED, cases, say

LIMIT_MS = 50.0


class Gaps:
    """Longest waits of a 1 ms timer, by phase; with `trace` where the main thread was.

    `own`: the same less the time in which the main thread was ready and the machine gave it no core.
    """

    def __init__(self, trace: bool) -> None:
        from PySide6.QtCore import Qt, QTimer

        self.worst: dict[str, float] = {}
        self.own: dict[str, float] = {}
        self.late: dict[str, int] = {}  # gaps over the limit
        self.phase = ""
        self._last, self._starved = time.perf_counter(), starved_ms()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(1)
        if trace:
            self._watch()

    def _tick(self) -> None:
        now, starved = time.perf_counter(), starved_ms()
        gap, without = 1e3 * (now - self._last), starved - self._starved
        self._last, self._starved = now, starved
        if self.phase:
            self.worst[self.phase] = max(gap, self.worst[self.phase])
            self.own[self.phase] = max(gap - without, self.own[self.phase])
            self.late[self.phase] += gap > LIMIT_MS

    def start(self, phase: str) -> None:
        """Count under another name; an empty one counts nothing."""
        say(f"{time.strftime('%H:%M:%S')} {phase or 'end'}")
        self.phase, self._last, self._starved = phase, time.perf_counter(), starved_ms()
        if phase:
            self.worst.setdefault(phase, 0.0)
            self.own.setdefault(phase, 0.0)
            self.late.setdefault(phase, 0)

    def _watch(self) -> None:
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


def starved_ms() -> float:
    """Milliseconds that the main thread was ready to run and other work had the cores (Linux: schedstat)."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e6


class Bench:
    """The window in a home of its own, with one torch thread, as it is beside other work."""

    def __init__(self, trace: bool) -> None:
        os.environ["STUDIO_HOME"] = tempfile.mkdtemp()
        import torch

        from studio.desktop.app import SWITCH_S, make_application
        from studio.desktop.notices import Notices
        from studio.desktop.window import MainWindow

        torch.set_num_threads(1)
        self.app = make_application()
        sys.setswitchinterval(SWITCH_S)
        self.window: Any = MainWindow(Notices())
        self.window.show()
        self.gaps = Gaps(trace)

    def spin(self, until: Callable[[], object] = lambda: False, limit: float = 300.0) -> None:
        """Let the app run until something holds, at most so many seconds."""
        from PySide6.QtCore import QEventLoop, QThread

        began = time.monotonic()
        while not until() and time.monotonic() - began < limit:
            self.app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            QThread.msleep(1)

    def open(self, name: str, samples: int | None, train: Path | None = None) -> None:
        """Open a case of CASES.json, with `samples` of its pictures."""
        from studio.session.autosave import Opened

        case = cases(name)[0]
        calibration = None if case["calibration"] == "same file" else str(SHARED / case["calibration"])
        model, data, trained = str(SHARED / case["model"]), str(SHARED / case["data"]), train and str(train)
        self.window.open_model(
            Opened(model, data, case["preprocess"], calibration=calibration, train=trained, samples=samples)
        )
        self.spin(lambda: self.window.session is not None)

    def measured(self) -> bool:
        """True once the plan as it is was measured on all pictures."""
        known = self.window.session.result
        return known is not None and known.complete and known.plan_key == self.window.session.plan.key

    def slide(self, place: str, phase: str) -> None:
        """Move the slider of the bits of the first, middle or last layer by keys, until all is measured again."""
        from PySide6.QtCore import Qt
        from PySide6.QtTest import QTest

        weighted = self.window.session.graph.weighted
        layer = {"first": weighted[0], "middle": weighted[len(weighted) // 2], "last": weighted[-1]}[place]
        say(f"slider on {layer.name}")
        self.window.network.graph.select([layer.name], layer.name)
        self.spin(limit=0.5)
        self.gaps.start(phase)
        slider = self.window.network.inspector.cards["quantize"].controls["weight_bits"].slider
        for key in [Qt.Key.Key_Left] * 5 + [Qt.Key.Key_Right] * 4:
            QTest.keyClick(slider, key)
            self.spin(limit=0.15)
        self.spin(self.measured)

    def close(self) -> None:
        """Count no longer and close the window."""
        self.gaps.start("")
        self.window.close()
        self.app.processEvents()
