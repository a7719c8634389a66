"""Export: what each format stores is said first, then files are written, run and compared."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSettings, Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio.core.errors import ExportError, StudioError
from studio.desktop import fonts, icons
from studio.desktop.export_facts import FormatFacts, Line, collect, preview_text, seconds_text
from studio.desktop.export_rows import NAME_WIDTH, SIZE_WIDTH, FormatRow, ResultTable, file_rows, sentence, sign
from studio.desktop.job import Job
from studio.desktop.network.skipped import counted

if TYPE_CHECKING:
    from studio.session import Session

USUAL = ("onnx", "tflite")
"""Formats that are ticked at first, as on the command line."""
CONTAINERS = (("int8", "int8 weights: fastest with VNNI"), ("uint8", "uint8 weights: exact on every x86"))


class ExportDialog(QDialog):
    """Exports the current plan; `finished_run(manifest or None)` when a run has ended."""

    finished_run = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None, frames: Path | None = None) -> None:
        """`frames`: what an attention stage of the plan will look at."""
        super().__init__(parent)
        self.setObjectName("export-dialog")
        self.setWindowTitle("Export")
        self.setModal(True)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(fonts.px(1008), fonts.px(703))
        self._session, self._frames = session, frames
        self.manifest: dict[str, Any] | None = None
        self.rows: list[FormatRow] = []
        # They belong to the window: a thread that still ends finds them alive when the dialog is gone.
        self._facts_job, self._job = Job(parent), Job(parent)
        self._began = 0.0
        self._facts_job.done.connect(self._show_facts)
        self._facts_job.failed.connect(self._failed)
        self._facts_job.progressed.connect(self._progress)
        self._job.done.connect(self._exported)
        self._job.failed.connect(self._failed)
        self._job.cancelled.connect(self._cancelled)
        self._job.progressed.connect(self._progress)
        self._build()
        self._look()

    # -- building ---------------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._head())
        layout.addWidget(self._titles())
        body = QWidget()
        body.setObjectName("panel")
        self._body = QVBoxLayout(body)
        self._body.setContentsMargins(0, 0, 0, 0)
        self._body.setSpacing(0)
        self._formats = QVBoxLayout()
        self._formats.setSpacing(0)
        self._body.addLayout(self._formats)
        self._body.addWidget(self._checked())
        self._band = QFrame()
        self._band.setObjectName("band")
        self._band_row = QHBoxLayout(self._band)
        self._band_row.setContentsMargins(16, 8, 16, 8)
        self._band.hide()
        self._body.addWidget(self._band)
        self.results: ResultTable | None = None
        self._body.addStretch(1)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setWidget(body)
        layout.addWidget(self._scroll, 1)
        layout.addWidget(self._foot())

    def _head(self) -> QWidget:
        head = QWidget()
        head.setObjectName("panel")
        row = QHBoxLayout(head)
        row.setContentsMargins(16, 10, 16, 10)
        title = QLabel(self._session.path.stem)
        title.setObjectName("page-title")
        preview = QLabel(preview_text(self._session))
        preview.setObjectName("secondary")
        self.folder = QLineEdit(default_folder(self._session))
        self.folder.setObjectName("export-folder")
        self.folder.setFont(fonts.scaled(fonts.mono()))
        self.folder.setMinimumWidth(fonts.px(250))
        self.folder.setToolTip("Folder that the files are written to; only files of an earlier export are replaced")
        label = QLabel("&Folder")
        label.setBuddy(self.folder)
        browse = QPushButton("Browse...")
        browse.setToolTip("Choose the folder")
        browse.clicked.connect(self._browse)
        row.addWidget(title)
        row.addWidget(preview)
        row.addStretch(1)
        for widget in (label, self.folder, browse):
            row.addWidget(widget)
        return head

    def _titles(self) -> QWidget:
        titles = QFrame()
        titles.setObjectName("head-row")
        row = QHBoxLayout(titles)
        row.setContentsMargins(16, 5, 16, 5)
        row.setSpacing(24)
        for text, width, side in (
            ("Format", NAME_WIDTH, Qt.AlignmentFlag.AlignLeft),
            ("Expected", SIZE_WIDTH, Qt.AlignmentFlag.AlignRight),
            ("What is stored there", 0, Qt.AlignmentFlag.AlignLeft),
        ):
            label = QLabel(text)
            label.setAlignment(side)
            label.setObjectName("secondary")
            if width:
                label.setFixedWidth(fonts.px(width))
            row.addWidget(label, 0 if width else 1)
        return titles

    def _checked(self) -> QWidget:
        data = self._session.data
        samples = data.count if data else 0
        text = f"Every file is then run in its real runtime on all {samples:,} samples and compared with the preview."
        row = QFrame()
        row.setObjectName("format-row")
        self._sentences = QVBoxLayout(row)
        self._sentences.setContentsMargins(16, 9, 16, 9)
        self._sentences.addWidget(sentence(Line("ok", text)))
        return row

    def _foot(self) -> QWidget:
        foot = QFrame()
        foot.setObjectName("foot-row")
        row = QHBoxLayout(foot)
        row.setContentsMargins(16, 10, 16, 10)
        self.open_folder = QPushButton(icons.icon("open"), "Open folder")
        self.open_folder.setToolTip("Show the files in the file manager")
        self.open_folder.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self._folder_path())))
        self.netron = QPushButton(icons.icon("network"), "Open in Netron")
        self.netron.setToolTip("Show the first written file in Netron")
        self.netron.clicked.connect(self._open_netron)
        self.text = QLabel()
        self.text.setObjectName("secondary")
        self.bar = QProgressBar()
        self.bar.setFixedWidth(160)
        self.bar.setTextVisible(False)
        self.cancel = QPushButton(icons.icon("cancel"), "Cancel")
        self.cancel.setObjectName("export-cancel")
        self.cancel.setToolTip("Stop; nothing is left half-written")
        self.cancel.clicked.connect(self._job.stop)
        close = QPushButton("Close")
        close.setObjectName("export-close")
        close.setToolTip("Close this dialog (Esc)")
        close.clicked.connect(self.reject)
        self.run = QPushButton("Export")
        self.run.setObjectName("primary")
        self.run.setToolTip("Write the chosen files and check them (Enter)")
        self.run.setDefault(True)
        self.run.clicked.connect(lambda: self._start())
        for widget in (self.open_folder, self.netron, self.text, self.bar, self.cancel):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(close)
        row.addWidget(self.run)
        self.open_folder.hide()
        self.netron.hide()
        self._idle()
        return foot

    # -- facts, before anything is written --------------------------------------------------------

    def _look(self) -> None:
        options = self.options()
        self._facts_job.start(lambda progress, stop: collect(self._session, options, progress, stop))
        self._refresh()

    def options(self) -> dict[str, Any]:
        """Export options as chosen here."""
        row = next((r for r in self.rows if r.facts.name == "onnx"), None)
        chosen = self.container.currentData() if row is not None else None
        return {"onnx_weights": chosen} if chosen else {}

    def _show_facts(self, facts: list[FormatFacts]) -> None:
        wanted = {row.facts.name: row.check.isChecked() for row in self.rows}
        container = self.options().get("onnx_weights", self._session.plan.export.get("onnx_weights", "int8"))
        for row in self.rows:
            self._formats.removeWidget(row)
            row.deleteLater()
        self.rows = [FormatRow(found) for found in facts]
        for row in self.rows:
            if not row.facts.refused:
                row.check.setChecked(wanted.get(row.facts.name, row.facts.name in USUAL))
            row.changed.connect(self._refresh)
            if row.facts.name == "onnx":
                row.extra.addWidget(self._container_choice(container))
            self._formats.addWidget(row)
        if self._session.plan.attention is not None:
            self._add_attention()
        self._say_skipped()
        self._idle()

    def _say_skipped(self) -> None:
        """Say once that layers are exported without steps that they do not take; by now that is known."""
        text = counted(self._session.engine.skipped(self._session.plan))
        if text and self._sentences.count() == 1:
            self._sentences.addWidget(sentence(Line("info", f"{text}: the list is under Skipped, below the graph.")))

    def _container_choice(self, value: str) -> QComboBox:
        self.container = QComboBox()
        self.container.setObjectName("onnx-weights")
        self.container.setAccessibleName("Container of the weights in ONNX")
        self.container.setToolTip(
            "x86 processors without VNNI saturate uint8 x int8 products; weights stored as uint8 are exact everywhere"
        )
        for name, text in CONTAINERS:
            self.container.addItem(text, name)
        self.container.setCurrentIndex(max(0, self.container.findData(value)))
        self.container.activated.connect(self._look)
        return self.container

    def _add_attention(self) -> None:
        attention = self._session.plan.attention
        assert attention is not None
        text = f"attention stage in front, {attention.selector.replace('_', ' ')}: attention.onnx and, with ONNX, "
        line = Line("ok", text + "pipeline.onnx are written and run on all frames")
        if self._frames is None:
            line = Line(
                "bad", "The plan has an attention stage, but no frames are open: open some in the tab Attention."
            )
        row = QFrame()
        row.setObjectName("format-row")
        inside = QHBoxLayout(row)
        inside.setContentsMargins(16, 9, 16, 9)
        inside.addWidget(sentence(line))
        self._formats.addWidget(row)

    # -- running ----------------------------------------------------------------------------------

    def _start(self, force: bool = False) -> None:
        formats = [row.facts.name for row in self.rows if row.wanted]
        folder, options, session, frames = self._folder_path(), self.options(), self._session, self._frames
        QSettings().setValue("export-folder", str(Path(folder).parent))
        self._began = time.monotonic()
        self._drop_results()
        self._job.start(
            lambda progress, stop: session.export(
                folder, formats, options, force=force, frames=frames, progress=progress, stop=stop
            )
        )
        self._refresh()

    def _exported(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        rows = file_rows(manifest)
        good = sum(row["passed"] for row in rows)
        seconds = time.monotonic() - self._began
        kind, verb = ("ok", "exported and checked") if good == len(rows) else ("bad", "passed: see the red rows")
        text = f"{fonts.strong(f'{good} of {len(rows)} {verb}')} in {seconds_text(seconds)}, {time.strftime('%H:%M')}"
        limit = "pass: integers and scales as planned, agreement with the preview at least 99.5 %"
        self._say(Line(kind, text), limit)  # type: ignore[arg-type]
        self.results = ResultTable(manifest)
        self._body.insertWidget(self._body.count() - 1, self.results)
        self.open_folder.show()
        self.netron.show()
        self._idle()
        self._scroll.ensureWidgetVisible(self.results)
        self.finished_run.emit(manifest)

    def _failed(self, error: Exception) -> None:
        from studio.session.session import notice_of

        text = str(error) if isinstance(error, StudioError) else notice_of(error).text
        beside = isinstance(error, ExportError) and "--force" in error.remedy
        if beside:
            text = text.replace(", or write beside them with --force", "")
        self._say(Line("bad", text))
        if beside:
            button = QPushButton("Write beside them")
            button.setObjectName("export-beside")
            button.setToolTip("Keep the other files and write the export into the same folder")
            button.clicked.connect(lambda: self._start(force=True))
            self._band_row.addWidget(button)
        self._idle()
        self.finished_run.emit(None)

    def _cancelled(self) -> None:
        self._say(Line("info", "Stopped; nothing was changed in the folder."))
        self._idle()
        self.finished_run.emit(None)

    def _say(self, line: Line, right: str = "") -> None:
        while (item := self._band_row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        self._band.setProperty("kind", line.sign)
        self._band.style().polish(self._band)
        self.message = text = QLabel(line.text)
        text.setWordWrap(True)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._band_row.addWidget(sign(line.sign))
        self._band_row.addWidget(text, 1)
        if right:
            limit = QLabel(right)
            limit.setObjectName("secondary")
            self._band_row.addWidget(limit)
        self._band.show()

    def _drop_results(self) -> None:
        self.manifest = None
        self._band.hide()
        if self.results is not None:
            self._body.removeWidget(self.results)
            self.results.hide()
            self.results.deleteLater()
            self.results = None

    def _progress(self, title: str, done: int, total: int) -> None:
        self.text.setText(f"{title}  {done:,} of {total:,}" if total else title)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.text.show()
        self.bar.show()

    def _idle(self) -> None:
        self.text.hide()
        self.bar.hide()
        self._refresh()

    def _refresh(self) -> None:
        running = self._job.busy
        self.run.setText("Export again" if self.manifest else "Export")
        chosen = any(row.wanted for row in self.rows) and not self._facts_job.busy
        self.run.setEnabled(chosen and not running)
        self.cancel.setVisible(running)
        self.folder.setEnabled(not running)

    # -- small things -----------------------------------------------------------------------------

    def _folder_path(self) -> str:
        return str(Path(self.folder.text().strip() or ".").expanduser().resolve())

    def _browse(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Export folder", self._folder_path())
        if found:
            self.folder.setText(found)

    def _open_netron(self) -> None:
        from studio.desktop.netron_view import open_netron

        if self.manifest is not None:
            open_netron(Path(self.manifest["exports"][0]["path"]))

    def done(self, result: int) -> None:
        """Stop what runs and close, whichever way the dialog is closed."""
        self._job.stop()
        self._facts_job.stop()
        super().done(result)


def default_folder(session: Session) -> str:
    """Folder that is offered: beside the last one, named after the model."""
    parent = QSettings().value("export-folder", str(Path.home() / "exports"))
    return str(Path(str(parent)) / session.path.stem)
