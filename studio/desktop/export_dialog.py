"""Formats first, what each stores; then the run, and what every written file scored in its real runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QCloseEvent, QDesktopServices
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.core import registry
from studio.core.errors import Cancelled, ExportError
from studio.desktop import theme
from studio.desktop.export_summary import FormatSummary, summarize

if TYPE_CHECKING:
    from studio.session import Session

RESULTS = ("", "File", "Runtime", "Bytes", "Accuracy there", "Agreement", "Latency")
SIGNS = {"ok": "✓", "warn": "⚠", "bad": "✕"}


class ExportDialog(QDialog):
    """Exports the current plan; `finished_run(manifest or None)` when a run has ended."""

    finished_run = Signal(object)
    _told = Signal(str, object)

    def __init__(self, session: Session, parent: QWidget | None = None, frames: Path | None = None) -> None:
        """`frames`: what an attention stage of the plan will look at."""
        super().__init__(parent)
        self._session, self._frames = session, frames
        self._stopped = False
        self._thread: Thread | None = None
        self.setObjectName("export-dialog")
        self.setWindowTitle("Export")
        self.resize(1008, 703)
        self.setModal(True)
        self.checks: dict[str, QCheckBox] = {}
        self._sizes: dict[str, QLabel] = {}
        self._stories: dict[str, QLabel] = {}
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        layout.addLayout(self._head())
        layout.addLayout(self._formats())
        layout.addWidget(self._layers())
        layout.addLayout(self._options())
        layout.addLayout(self._run_line())
        layout.addWidget(self._results(), 1)
        layout.addLayout(self._buttons())
        self._told.connect(self._hear, Qt.ConnectionType.QueuedConnection)
        self._work(self._summarize)

    # -- building ---------------------------------------------------------------------------------

    def _head(self) -> QHBoxLayout:
        title = QLabel(self._session.path.stem)
        title.setObjectName("page-title")
        known = self._session.measured.get(self._session.plan.key)
        text = "not measured yet"
        if known is not None and known.result.value is not None:
            cost = known.result.cost
            text = f"preview: {100 * known.result.value:.2f} % · {cost.flash_bytes / 1024:,.1f} KiB"
        preview = QLabel(text)
        preview.setObjectName("secondary")
        self.folder = QLineEdit(str(Path.home() / "exports" / self._session.path.stem))
        self.folder.setObjectName("export-folder")
        self.folder.setAccessibleName("Export folder")
        self.folder.setMinimumWidth(320)
        browse = QPushButton("Browse...")
        browse.clicked.connect(self._browse)
        label = QLabel("&Folder")
        label.setBuddy(self.folder)
        row = QHBoxLayout()
        row.addWidget(title)
        row.addWidget(preview)
        row.addStretch(1)
        row.addWidget(label)
        row.addWidget(self.folder)
        row.addWidget(browse)
        return row

    def _formats(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        for column, text in enumerate(("Format", "Expected", "What is stored there")):
            head = QLabel(text)
            head.setObjectName("secondary")
            grid.addWidget(head, 0, column)
        for i, name in enumerate(registry.names("export.targets"), 1):
            target = registry.find("export.targets", name)
            check = QCheckBox(target.title)
            check.setObjectName(f"format-{name}")
            check.setChecked(True)
            check.setToolTip(target.help)
            check.toggled.connect(self._refresh_button)
            self.checks[name] = check
            self._sizes[name], self._stories[name] = QLabel("..."), QLabel("looking at the layers ...")
            self._stories[name].setTextFormat(Qt.TextFormat.RichText)
            self._stories[name].setWordWrap(True)
            for column, widget in enumerate((check, self._sizes[name], self._stories[name])):
                grid.addWidget(widget, i, column, Qt.AlignmentFlag.AlignTop)
        grid.setColumnStretch(2, 1)
        return grid

    def _layers(self) -> QTreeWidget:
        self.layers = QTreeWidget()
        self.layers.setObjectName("export-layers")
        self.layers.setAccessibleName("What runs where, layer by layer")
        self.layers.setHeaderLabels(["Layer", "Stored as", "Bytes", "What runs", "Note"])
        self.layers.setMaximumHeight(150)
        for column, width in enumerate((240, 90, 90, 220)):
            self.layers.setColumnWidth(column, width)
        return self.layers

    def _options(self) -> QHBoxLayout:
        self.weights = QComboBox()
        self.weights.setObjectName("onnx-weights")
        self.weights.setAccessibleName("Weights in model.onnx")
        self.weights.addItem("int8 (fastest with VNNI)", "int8")
        self.weights.addItem("uint8 (safe on every processor)", "uint8")
        label = QLabel("&Weights in model.onnx")
        label.setBuddy(self.weights)
        data = self._session.data
        samples = f"{data.count:,}" if data else "no"
        checked = QLabel(f"Every file is read back and run in its real runtime on {samples} samples.")
        checked.setObjectName("secondary")
        row = QHBoxLayout()
        row.addWidget(label)
        row.addWidget(self.weights)
        row.addStretch(1)
        row.addWidget(checked)
        return row

    def _run_line(self) -> QHBoxLayout:
        self.message = QLabel()
        self.message.setObjectName("secondary")
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.progress = QProgressBar()
        self.progress.setFixedWidth(220)
        self.progress.setTextVisible(False)
        self.cancel = QPushButton("Cancel")
        self.cancel.setObjectName("export-cancel")
        self.cancel.clicked.connect(self._cancel)
        for widget in (self.progress, self.cancel):
            widget.hide()
        row = QHBoxLayout()
        row.addWidget(self.message, 1)
        row.addWidget(self.progress)
        row.addWidget(self.cancel)
        return row

    def _results(self) -> QTableWidget:
        self.results = QTableWidget(0, len(RESULTS))
        self.results.setObjectName("export-results")
        self.results.setAccessibleName("What the files scored")
        self.results.setHorizontalHeaderLabels(list(RESULTS))
        self.results.verticalHeader().hide()
        self.results.setShowGrid(False)
        self.results.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.results.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.results.setColumnWidth(0, 30)
        self.results.setColumnWidth(2, 190)
        return self.results

    def _buttons(self) -> QHBoxLayout:
        self.open_folder = QPushButton("Open folder")
        self.open_folder.setEnabled(False)
        self.open_folder.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self.folder.text())))
        close = QPushButton("Close")
        close.setObjectName("export-close")
        close.clicked.connect(self.close)
        self.run = QPushButton("Export")
        self.run.setObjectName("primary")
        self.run.setDefault(True)
        self.run.clicked.connect(lambda: self._start(False))
        row = QHBoxLayout()
        row.addWidget(self.open_folder)
        row.addStretch(1)
        row.addWidget(close)
        row.addWidget(self.run)
        return row

    # -- running ----------------------------------------------------------------------------------

    def _work(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:
                self._told.emit("failed", error)

        self._thread = Thread(target=guarded, name="export", daemon=True)
        self._thread.start()

    def _summarize(self) -> None:
        for name in self.checks:
            self._told.emit("summary", summarize(self._session, name))

    def _start(self, force: bool) -> None:
        formats = [name for name, check in self.checks.items() if check.isChecked()]
        options = {"onnx_weights": self.weights.currentData()}
        out = Path(self.folder.text()).expanduser()
        self._stopped = False
        self._running(True)

        def report(title: str, done: int, total: int) -> None:
            self._told.emit("progress", (title, done, total))

        def work() -> None:
            found = self._session.export(
                out, formats, options, force=force, frames=self._frames, progress=report, stop=lambda: self._stopped
            )
            self._told.emit("done", found)

        self._work(work)

    def _running(self, on: bool) -> None:
        self.progress.setVisible(on)
        self.cancel.setVisible(on)
        self.run.setEnabled(not on)
        for check in self.checks.values():
            check.setEnabled(not on)

    def _cancel(self) -> None:
        self._stopped = True
        self.message.setText("Stopping ...")

    def _hear(self, what: str, value: Any) -> None:
        if what == "summary":
            self._show_summary(value)
        elif what == "progress":
            title, done, total = value
            self.message.setText(f"{title} {done:,} of {total:,}" if total else title)
            self.progress.setRange(0, total)
            self.progress.setValue(done)
        elif what == "done":
            self._running(False)
            self._show_results(value)
            self.finished_run.emit(value)
        else:
            self._running(False)
            self._show_failure(value)
            self.finished_run.emit(None)

    # -- showing ----------------------------------------------------------------------------------

    def _show_summary(self, summary: FormatSummary) -> None:
        t = theme.tokens()
        colors = {"ok": t.ok, "warn": t.warn, "bad": t.bad}
        lines = [f'<span style="color:{colors[level]}">{SIGNS[level]}</span> {text}' for level, text in summary.lines]
        self._stories[summary.name].setText("<br>".join(lines))
        self._sizes[summary.name].setText(f"<b>{summary.bytes / 1024:,.1f} KiB</b>")
        self._sizes[summary.name].setToolTip("Weights, biases and scales; the file adds its graph")
        check = self.checks[summary.name]
        if summary.refused:
            check.setChecked(False)
            check.setEnabled(False)
        top = QTreeWidgetItem([check.text(), "", f"{summary.bytes:,}"])
        for line in summary.layers:
            top.addChild(QTreeWidgetItem([line.layer, line.container, f"{line.bytes:,}", line.kernel, line.note]))
        self.layers.addTopLevelItem(top)
        self._refresh_button()

    def _refresh_button(self) -> None:
        self.run.setEnabled(any(check.isChecked() for check in self.checks.values()))

    def _show_results(self, manifest: dict[str, Any]) -> None:
        rows = manifest["exports"]
        failed = [row for row in rows if not row["passed"]]
        passed = f"{len(rows) - len(failed)} of {len(rows)} exported and checked"
        self._say(passed if not failed else f"{passed}; {_first_failure(failed[0])}", "bad" if failed else "ok")
        self.run.setText("Export again")
        self.open_folder.setEnabled(True)
        self.results.setRowCount(len(rows))
        for i, row in enumerate(rows):
            latency = row.get("latency_ms")
            texts = (
                SIGNS["ok" if row["passed"] else "bad"], Path(row["path"]).name, row["runtime"],
                f"{row['file_bytes']:,}", _percent(row.get("value")), _percent(row.get("agreement")),
                f"{latency['median']:.3f} ms" if latency else "",
            )  # fmt: skip
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip("\n".join(row["notes"]))
                if column >= 3:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                color = theme.tokens().ok if row["passed"] else theme.tokens().bad
                if column == 0 or not row["passed"]:
                    item.setForeground(theme.color(color))
                self.results.setItem(i, column, item)

    def _show_failure(self, error: Exception) -> None:
        if isinstance(error, Cancelled):
            self._say("Stopped; nothing was changed in the folder.", "warn")
            return
        self._say(str(error), "bad")
        if isinstance(error, ExportError) and "--force" in error.remedy:
            text = f"{error.what}\n\nWrite the export beside them? They are not touched."
            answer = QMessageBox.question(self, "Export", text)
            if answer == QMessageBox.StandardButton.Yes:
                self._start(True)

    def _say(self, text: str, level: str) -> None:
        colors = {"ok": theme.tokens().ok, "warn": theme.tokens().warn, "bad": theme.tokens().bad}
        self.message.setText(f'<span style="color:{colors[level]}">{SIGNS[level]}</span> {text}')

    def _browse(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Export folder", self.folder.text())
        if found:
            self.folder.setText(found)

    def closeEvent(self, event: QCloseEvent) -> None:
        self._stopped = True
        if self._thread is not None:
            self._thread.join()
        super().closeEvent(event)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _first_failure(row: dict[str, Any]) -> str:
    return f"{Path(row['path']).name}: {row['notes'][-1] if row['notes'] else 'does not agree'}"
