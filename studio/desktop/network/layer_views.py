"""Views of the selected layer behind a strip of tabs: weights, filters, ranks, code, kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QSizePolicy, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.technique import Stage
from studio.desktop import fonts
from studio.desktop.latest import Latest
from studio.desktop.network.charts import WeightChart
from studio.desktop.network.code_chart import CodeChart
from studio.desktop.network.mosaic import FilterMosaic
from studio.desktop.network.spectrum_chart import SpectrumChart

if TYPE_CHECKING:
    from studio.session import Session
    from studio.session.layer_view import LayerView
    from studio.techniques._fast_facts import FastFacts
    from studio.techniques._ranks import Spectrum

TABS = (
    ("weights", "Weights", "Histogram of the weights, with the levels or shared values that are stored"),
    ("filters", "Filters", "The filters as pictures, in float and as stored"),
    ("ranks", "Ranks", "Singular values, and the rank at which low rank cuts"),
    ("code", "Code", "Symbols that are stored, and what a Huffman code makes of them"),
    ("kernel", "Kernel", "What a fast convolution saves and costs here, measured"),
)
QUESTIONS: dict[str, Callable[[LayerView], Any]] = {
    "filters": lambda view: view.mosaics,
    "ranks": lambda view: view.spectrum,
    "code": lambda view: view.code,
    "kernel": lambda view: view.fast_facts,
}
"""What each view asks of the layer, beside the main thread."""
OWN_KERNELS = "ONNX Runtime and LiteRT choose their kernels by themselves."


class LayerViews(QWidget):
    """One view at a time, computed when it is shown. `rank_moved(rank, final)`: dragged in the ranks view."""

    rank_moved = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session: Session | None = None
        self._layer = ""
        self._latest: Latest | None = None
        self.weights, self.filters, self.ranks = WeightChart(), FilterMosaic(), SpectrumChart()
        self.code, self.kernel = CodeChart(), QLabel()
        self.kernel.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.kernel.setObjectName("secondary")
        self.kernel.setWordWrap(True)
        self.kernel.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.kernel.setAccessibleName("Facts of fast convolution")
        self.spectrum: Spectrum | None = None
        self.tabs = QTabBar()
        self.tabs.setObjectName("layer-views")
        self.tabs.setAccessibleName("Views of the layer")
        self.tabs.setExpanding(False)
        self.stack = QStackedWidget()
        for (_, title, tip), page in zip(TABS, self.pages, strict=True):
            self.tabs.addTab(title)
            self.tabs.setTabToolTip(self.tabs.count() - 1, tip)
            self.stack.addWidget(page)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.stack.addWidget(self.message)
        self.text = QLabel()
        self.text.setObjectName("secondary")
        self.text.setWordWrap(True)
        self.text.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.tabs, self.stack, self.text):
            layout.addWidget(widget)
        self.tabs.currentChanged.connect(lambda _: self.refresh())
        self.ranks.rank_moved.connect(self.rank_moved)
        self.rescale()

    @property
    def pages(self) -> tuple[QWidget, ...]:
        """Views in the order of their tabs."""
        return (self.weights, self.filters, self.ranks, self.code, self.kernel)

    @property
    def current(self) -> str:
        """Name of the view that is shown."""
        return TABS[self.tabs.currentIndex()][0]

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.stack.setFixedHeight(fonts.px(134))

    def set_session(self, session: Session | None) -> None:
        """Show layers of another network, or nothing."""
        if self._latest is not None:
            self._latest.close()
        self._session, self._layer, self.spectrum = session, "", None
        self._latest = Latest("layer views", self) if session is not None else None
        if self._latest is not None:
            self._latest.answered.connect(self._answered)

    def show_layer(self, name: str) -> None:
        """Show another layer in the same view."""
        if name != self._layer:
            self._layer = name
            self._say("Computing ..." if self.current != "weights" else None)
            self.refresh()

    def refresh(self) -> None:
        """Ask for what the shown view needs, under the current plan."""
        name, session, layer = self.current, self._session, self._layer
        question = QUESTIONS.get(name)
        if question is None:
            self._say(None)
        elif session is not None and self._latest is not None and layer:
            self._latest.ask((name, layer), lambda: question(session.layer(layer)))

    def _answered(self, key: tuple[str, str], answer: Any) -> None:
        if key != (self.current, self._layer) or self._session is None:
            return
        self.text.hide()
        if isinstance(answer, StudioError):
            self._say(str(answer.what))
        elif answer is None:
            self._say("Stored in float32, or in several factors: there are no symbols to count.")
        else:
            self._say(None)
            getattr(self, f"_show_{key[0]}")(answer)

    def _say(self, text: str | None) -> None:
        """Show a sentence in place of the view, or the view itself."""
        self.message.setText(text or "")
        self.stack.setCurrentIndex(len(TABS) if text else self.tabs.currentIndex())
        self.text.setVisible(bool(self.text.text()) and not text and self.current == "code")

    def _show_filters(self, answer: Any) -> None:
        self.filters.show_answer(answer)

    def _show_ranks(self, answer: Spectrum) -> None:
        assert self._session is not None
        steps = self._session.layer(self._layer).steps
        self.spectrum = answer
        self.ranks.show_answer(answer, any(step.stage == Stage.FACTOR for step in steps))

    def _show_code(self, answer: Any) -> None:
        self.code.show_answer(answer)
        self.text.setText(answer.sentence)
        self.text.show()

    def _show_kernel(self, answer: FastFacts) -> None:
        self.kernel.setText(kernel_text(answer))


def kernel_text(facts: FastFacts) -> str:
    """Facts of a fast convolution for a person: saved, cost, error, time, and who takes it."""
    before, after = facts.multiplications_direct, facts.multiplications
    floats = f"{facts.weight_bytes / 1024:,.1f} → {facts.transformed_bytes / 1024:,.1f} KiB float32"
    ints = f"{facts.int8_weight_bytes / 1024:,.1f} → {facts.int8_transformed_bytes / 1024:,.1f} KiB int8"
    exact = "exact" if facts.int8_error == 0 else f"{facts.int8_error:,} off in int32"
    timed = facts.fast_ms is not None and facts.direct_ms is not None
    times = f"{facts.fast_ms:.3f} ms, direct {facts.direct_ms:.3f} ms" if timed else "not timed"
    verdict = "faster here" if facts.faster else "not faster here: direct convolution is taken"
    name = {"winograd2": "Winograd F(2×2, 3×3)", "winograd4": "Winograd F(4×4, 3×3)"}.get(facts.algorithm, "FFT")
    threads = "1 thread" if facts.threads == 1 else f"{facts.threads} threads"
    return (
        f"{fonts.strong(name)} · {verdict}<br>Time {times} on {threads}<br>"
        f"Multiplications {before:,} → {after:,} ({100 * facts.saved:.0f} % saved)<br>Weights {floats}<br>"
        f"Weights {ints}<br>Largest error {facts.float_error:.1e} in float, int8 {exact}<br>{OWN_KERNELS}"
    )
