"""The preview lane: one thread that always measures the newest wanted plan.

First the exact cost, then accuracy on a small fixed subset, then on more and more samples while the
hand rests; where rounding is to be learned, all that in the quick form, then again in the learned one. A
rewrite that takes long to fit is shown in its quick form on the small subset first, then in full.
What runs when a newer plan comes is dropped only behind the small subset, so that a moving slider sees
every answer that was finished instead of none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Protocol

from studio.core.errors import Cancelled
from studio.core.plan import Plan
from studio.core.priority import step_back
from studio.core.result import Cost, Result
from studio.engine.engine import FLOAT, Engine

FIRST = 4
"""Chunks of the small fixed subset (200 samples)."""
Task = Callable[[Callable[[], bool]], None]
"""Background work: `task(stop)`, run while no preview is wanted; `stop()` turns true when one is."""


class Listener(Protocol):
    """Who hears of the lane's answers; called from its thread."""

    def answered(self, plan: Plan, answer: Cost | Result) -> None:
        """Exact sizes of a plan first, then its accuracy, on few samples first."""

    def progress(self, title: str, done: int, total: int) -> None:
        """Work that takes longer."""

    def idle(self) -> None:
        """Nothing left to do."""

    def failed(self, error: Exception) -> None:
        """Report what went wrong; the lane goes on."""


@dataclass(frozen=True)
class _Wanted:
    plan: Plan
    focus: str | None
    number: int


class PreviewLane:
    """Worker thread over one engine. `want` returns at once; answers come through the listener."""

    def __init__(self, engine: Engine, listener: Listener) -> None:
        self._engine = engine
        self._listener = listener
        self._change = Condition()
        self._wanted: _Wanted | None = None
        self._done = 0
        self._number = 0
        self._paused = self._closed = False
        self._tasks: dict[str, Task] = {}
        self._busy = False
        self._thread = Thread(target=self._work, name="preview", daemon=True)
        self._thread.start()

    def want(self, plan: Plan, focus: str | None = None) -> None:
        """Measure this plan next; `focus`: the layer being edited."""
        with self._change:
            self._number += 1
            self._wanted = _Wanted(plan, focus, self._number)
            self._change.notify_all()

    def background(self, name: str, task: Task) -> None:
        """Run a task when no preview is wanted, again from its start when one interrupts it.

        A new task takes the place of one of the same name.
        """
        with self._change:
            self._tasks.pop(name, None)
            self._tasks[name] = task
            self._change.notify_all()

    def pause(self, paused: bool) -> None:
        """Hold the growing of the sample count; the small subset is still run."""
        with self._change:
            self._paused = paused
            self._change.notify_all()

    def cancel(self) -> None:
        """Drop what is wanted and all background tasks."""
        with self._change:
            self._wanted = None
            self._tasks.clear()
            self._change.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is wanted; False on timeout."""
        with self._change:
            return self._change.wait_for(lambda: self._closed or (self._rests() and not self._busy), timeout)

    def close(self) -> None:
        """End the thread; returns when it has ended."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _rests(self) -> bool:
        return (self._wanted is None or self._done == self._wanted.number) and not self._tasks

    def _work(self) -> None:
        step_back()
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: self._closed or not self._rests())
                if self._closed:
                    return
                self._busy = True
                wanted = self._wanted
                name, task = next(iter(self._tasks.items()), ("", None))
            try:
                if wanted is not None and self._done != wanted.number:
                    self._measure(wanted)
                elif task is not None:
                    self._background(name, task)
            except Cancelled:
                pass  # where something newer is wanted, it goes on with that
            except Exception as error:
                self._give_up(error, wanted, name)
            if self._rests():
                self._listener.idle()

    def _measure(self, wanted: _Wanted) -> None:
        engine, listener = self._engine, self._listener
        engine.cost(FLOAT)  # what every gauge compares with
        if engine.variant(wanted.plan, listener.progress, self._gone).quick:
            self._first(wanted)
            self._hold(wanted)
            engine.variant(wanted.plan, listener.progress, lambda: self._overtaken(wanted), full=True)
        self._measure_form(wanted)
        if engine.pending(wanted.plan) and engine.evaluator is not None:
            self._hold(wanted)
            engine.prepare(wanted.plan, listener.progress, lambda: self._overtaken(wanted))
            self._measure_form(wanted)
        with self._change:
            self._done = max(self._done, wanted.number)
            self._change.notify_all()

    def _measure_form(self, wanted: _Wanted) -> None:
        """Cost and accuracy of a plan in the form that is there."""
        self._first(wanted)
        evaluator = self._engine.evaluator
        chunks = FIRST
        while evaluator is not None and chunks < evaluator.chunks:
            self._hold(wanted)
            chunks = min(2 * chunks, evaluator.chunks)
            self._answer(wanted, chunks, lambda: self._overtaken(wanted))

    def _first(self, wanted: _Wanted) -> None:
        """Cost of a plan in the form that is there, and its accuracy on the small subset."""
        engine, listener = self._engine, self._listener
        engine.variant(wanted.plan, listener.progress, self._gone)
        listener.answered(wanted.plan, engine.cost(wanted.plan))
        if engine.evaluator is None:
            return
        if engine.needs_ranges(wanted.plan):
            engine.ranges(wanted.plan, listener.progress)
        self._answer(wanted, min(FIRST, engine.evaluator.chunks), self._gone)

    def _answer(self, wanted: _Wanted, chunks: int, stop: Callable[[], bool]) -> None:
        evaluator = self._engine.evaluator
        assert evaluator is not None

        def report(title: str, done: int, total: int) -> None:
            self._listener.progress(title, done, evaluator.samples(evaluator.chunks))

        # The float model on the same samples first: the difference to it is part of the answer.
        self._engine.outputs(FLOAT, chunks, stop=stop)
        result = self._engine.measure(
            wanted.plan, chunks, target="onnx", focus=wanted.focus, stop=stop, progress=report
        )
        self._listener.answered(wanted.plan, result)

    def _background(self, name: str, task: Task) -> None:
        def stop() -> bool:
            newer = self._wanted is not None and self._done != self._wanted.number
            return self._closed or newer or self._tasks.get(name) is not task

        task(stop)
        with self._change:
            if self._tasks.get(name) is task:
                del self._tasks[name]

    def _hold(self, wanted: _Wanted) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._paused or self._overtaken(wanted))
        if self._overtaken(wanted):
            raise Cancelled

    def _gone(self) -> bool:
        return self._closed or self._wanted is None

    def _overtaken(self, wanted: _Wanted) -> bool:
        return self._closed or self._wanted is None or self._wanted.number != wanted.number

    def _give_up(self, error: Exception, wanted: _Wanted | None, name: str) -> None:
        with self._change:
            if wanted is not None and self._done != wanted.number:
                self._done = wanted.number
            else:
                self._tasks.pop(name, None)
            self._change.notify_all()
        self._listener.failed(error)
