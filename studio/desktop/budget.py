"""The budget bar: accuracy, flash, RAM and MACs, each with float, now and limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QInputDialog, QWidget

from studio.core.result import Cost, Result
from studio.desktop import fonts
from studio.desktop.gauge import Gauge, Legend, Reading, State
from studio.desktop.network.figures import expected, float_cost
from studio.engine.score import TITLES

if TYPE_CHECKING:
    from studio.session import Session

LIMITS = (
    ("accuracy", "Least accuracy in per cent (0 = no limit)", 100.0, 1),
    ("flash", "Most flash in KiB (0 = no limit)", 1e7, 1),
    ("ram", "Most RAM in KiB (0 = no limit)", 1e7, 1),
    ("macs", "Most MACs in millions (0 = no limit)", 1e7, 2),
)
SIZES: dict[str, tuple[State, str]] = {
    "flash": ("counted", "counted, packed"),
    "ram": ("estimate", "estimate, not yet built"),
    "macs": ("counted", "counted"),
}


class BudgetBar(QWidget):
    """Four gauges. `limits_changed(most flash in bytes, least metric 0..1)`, None where there is no limit."""

    limits_changed = Signal(object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("budget")
        self._compact = False
        self.limits: dict[str, float] = {}
        self._session: Session | None = None
        self._cost: Cost | None = None
        self._estimate: Result | None = None
        self.gauges = {name: Gauge(title) for name, title in zip(
            ("accuracy", "flash", "ram", "macs"), ("Accuracy", "Flash", "Peak RAM", "MACs"), strict=True)}  # fmt: skip
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for name, gauge in self.gauges.items():
            gauge.setObjectName(f"gauge-{name}")
            gauge.clicked.connect(lambda name=name: self._ask(name))
            layout.addWidget(gauge, 5 if name == "accuracy" else 4)
        self.legend = Legend()
        layout.addWidget(self.legend)
        self.rescale()

    def set_session(self, session: Session | None) -> None:
        """Show another network's numbers."""
        self._session, self._cost, self._estimate = session, None, None
        self.limits = {}
        self._tell_limits()
        self.refresh()

    def set_compact(self, compact: bool) -> None:
        """One line less for small windows; the rest is in tooltips."""
        self._compact = compact
        self.legend.setVisible(not compact)
        self.rescale()
        for gauge in self.gauges.values():
            gauge.compact = compact
            gauge.update()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setFixedHeight(fonts.px(62 if self._compact else 84))

    def cost_changed(self, cost: Cost) -> None:
        """Exact sizes of the plan under the hand."""
        self._cost = cost
        self.refresh()

    def estimate_changed(self, result: Result) -> None:
        """Expected accuracy of the plan under the hand."""
        self._estimate = result
        self.refresh()

    def refresh(self) -> None:
        """Show what is known now."""
        session = self._session
        if session is None:
            for gauge in self.gauges.values():
                gauge.show_reading(Reading(gauge.reading.title))
            return
        self.gauges["accuracy"].show_reading(self._accuracy(session))
        cost, before = self._cost, float_cost(session)
        for name, unit, scale in (("flash", "KiB", 1024), ("ram", "KiB", 1024), ("macs", "M", 1e6)):
            now, was = (None if c is None else _figure(c, name) for c in (cost, before))
            self.gauges[name].show_reading(self._sized(name, now, was, unit, scale))

    def _sized(self, name: str, now: float | None, before: float | None, unit: str, scale: float) -> Reading:
        base = Reading(self.gauges[name].reading.title)
        state, text = SIZES[name]
        if now is None or before is None:
            return base
        limit = self.limits.get(name)
        top = max(before, now, limit * scale if limit else 0) * 1.05 or 1.0
        ratio = f" · {before / now:.1f}×" if now else ""
        figure = f"{now / scale:,.1f}" if now / scale < 100 else f"{now / scale:,.0f}"
        found = replace(
            base, state=state, state_text=text, value=f"{figure} {unit}", share=now / top, float_share=before / top,
            float_text=f"float {before / scale:,.{0 if before / scale >= 10 else 2}f}{ratio}",
        )  # fmt: skip
        if limit:
            missed = now > limit * scale
            over = f", {now / scale - limit:,.1f} over" if missed else ""
            found = replace(found, limit_share=limit * scale / top, limit_text=f"max {limit:g}{over}", missed=missed)
        return found

    def _accuracy(self, session: Session) -> Reading:
        result, base = session.result, session.float_result
        title = TITLES[session.engine.metric].split(" to ")[0].split(" with ")[0]
        found = Reading(title)
        if session.data is None:
            return replace(found, state_text="no data: open some", value="–")
        current = session.plan.key
        shown = session.measured.get(current)
        if shown is not None:
            result = shown.result
        if result is None or result.value is None:
            return replace(found, state="updating", state_text="measuring ...")
        measured = result.plan_key == current
        spread = (result.interval[1] - result.interval[0]) / 2 if result.interval else 0.0
        state: State = "measured" if result.complete and not result.quick else "updating"
        quick = f"{result.quick} · " if result.quick else ""
        count = f"{result.samples:,} samples" if result.complete else f"{result.samples:,} of {result.total:,}"
        text = f"{state} · {quick}{count}, ±{100 * spread:.1f}"
        before = base.value if base is not None else None
        delta = f" · {100 * result.delta:+.2f} pt".replace("-", "−") if result.delta is not None else ""
        low = min(0.5, result.value, before or 1.0) * 0.9

        def place(value: float) -> float:
            return (value - low) / (1.0 - low)

        found = replace(
            found, state=state, state_text=text, value=f"{100 * result.value:.2f} %", share=place(result.value),
            float_text=f"float {100 * before:.2f} %{delta}" if before is not None else delta,
            float_share=None if before is None else place(before),
        )  # fmt: skip
        found = self._accuracy_limit(found, result.value, place)
        return found if measured else self._accuracy_under(session, found, place)

    def _accuracy_under(self, session: Session, found: Reading, place: Callable[[float], float]) -> Reading:
        """The plan under the hand, not measured yet, beside the last one that was."""
        guess = self._estimate
        value = expected(session, guess) if guess is not None and guess.plan_key == session.plan.key else None
        if value is None:
            return replace(found, under="…", under_text="measuring")
        return replace(found, under=f"{100 * value:.2f} %", under_text="estimate", under_share=place(value))

    def _accuracy_limit(self, found: Reading, value: float, place: Callable[[float], float]) -> Reading:
        limit = self.limits.get("accuracy")
        if not limit:
            return found
        missed = value < limit / 100
        under = f", {limit - 100 * value:.2f} under" if missed else ""
        share = place(limit / 100)
        return replace(found, limit_share=share, limit_text=f"min {limit:g} %{under}", missed=missed)

    def _ask(self, name: str) -> None:
        if self._session is None:
            return
        _, label, top, decimals = next(row for row in LIMITS if row[0] == name)
        value, accepted = QInputDialog.getDouble(
            self, "Limit", label, self.limits.get(name, 0.0), 0.0, top, decimals
        )  # fmt: skip
        if accepted:
            self.set_limit(name, value)

    def set_limit(self, name: str, value: float) -> None:
        """Set a limit in the gauge's own unit; 0 takes it away."""
        if value > 0:
            self.limits[name] = value
        else:
            self.limits.pop(name, None)
        self._tell_limits()
        self.refresh()

    def _tell_limits(self) -> None:
        flash, least = self.limits.get("flash"), self.limits.get("accuracy")
        self.limits_changed.emit(flash and flash * 1024, least and least / 100)


def _figure(cost: Cost, name: str) -> float:
    return {"flash": cost.flash_bytes, "ram": cost.peak_ram_bytes, "macs": cost.macs}[name]
