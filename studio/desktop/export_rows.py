"""Rows of the export dialog: a format with what it stores, and the files that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.desktop import fonts, icons, theme
from studio.desktop.export_facts import FormatFacts, LayerFact, Line, Sign

SIGNS: dict[Sign, str] = {"ok": "check", "warn": "warning", "bad": "cancel", "info": "info"}
NAME_WIDTH, SIZE_WIDTH = 320, 84
LAYER_COLUMNS = ("Layer", "Stored as", "Bytes", "What runs it", "Note")


def sign(kind: Sign, size: int = 15) -> QLabel:
    """Label with the sign of a sentence, in its colour."""
    t = theme.tokens()
    color = {"ok": t.ok, "warn": t.warn, "bad": t.bad, "info": t.text2}[kind]
    label = QLabel()
    label.setPixmap(icons.pixmap(SIGNS[kind], size, color))
    label.setAccessibleName({"ok": "good", "warn": "warning", "bad": "failed", "info": "note"}[kind])
    label.setFixedWidth(size + 4)
    return label


def sentence(line: Line) -> QWidget:
    """One sentence behind its sign."""
    widget = QWidget()
    row = QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(6)
    row.addWidget(sign(line.sign), 0, Qt.AlignmentFlag.AlignTop)
    text = QLabel(line.text)
    text.setWordWrap(True)
    text.setFont(fonts.scaled(fonts.small()))
    if line.sign == "bad":
        text.setObjectName("bad")
    row.addWidget(text, 1)
    return widget


class FormatRow(QFrame):
    """One format: choice, expected bytes, sentences; opens to a list of layers. `changed()`."""

    changed = Signal()

    def __init__(self, facts: FormatFacts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("format-row")
        self.facts = facts
        self.check = QCheckBox()
        self.check.setObjectName(f"export-{facts.name}")
        self.check.setAccessibleName(f"Export {facts.title}")
        self.check.setChecked(not facts.refused)
        self.check.setEnabled(not facts.refused)
        self.check.setToolTip(facts.lines[0].text if facts.refused else f"Write {facts.file_name}")
        self.check.toggled.connect(self.changed)
        self.extra = QVBoxLayout()
        self._layers: LayerList | None = None
        self._open = QToolButton()
        self._open.setText("Layers")
        self._open.setObjectName("outlined")
        self._open.setCheckable(True)
        self._open.setToolTip("Show what is stored and run layer by layer")
        self._open.setAccessibleName(f"Layers in {facts.title}")
        self._open.toggled.connect(self._toggle)
        self._open.setVisible(bool(facts.layers))
        self._build()

    def _build(self) -> None:
        size = QLabel("refused" if self.facts.bytes is None else f"{self.facts.bytes / 1024:,.1f} KiB")
        size.setFont(fonts.scaled(fonts.card()))
        size.setFixedWidth(fonts.px(SIZE_WIDTH))
        size.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if self.facts.refused:
            size.setObjectName("bad")
        title = QLabel(self.facts.title)
        title.setFont(fonts.scaled(fonts.card()))
        text = QLabel(self.facts.help)
        text.setObjectName("secondary")
        text.setWordWrap(True)
        name = QVBoxLayout()
        name.setSpacing(1)
        name.addWidget(title)
        name.addWidget(text)
        name.addLayout(self.extra)
        name.addStretch(1)
        left = QWidget()
        left.setFixedWidth(fonts.px(NAME_WIDTH))
        row = QHBoxLayout(left)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        row.addWidget(self.check, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(name, 1)
        lines = QVBoxLayout()
        lines.setSpacing(3)
        for line in self.facts.lines:
            lines.addWidget(sentence(line))
        lines.addStretch(1)
        top = QHBoxLayout()
        top.setSpacing(24)
        top.addWidget(left)
        top.addWidget(size, 0, Qt.AlignmentFlag.AlignTop)
        top.addLayout(lines, 1)
        top.addWidget(self._open, 0, Qt.AlignmentFlag.AlignTop)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(16, 11, 16, 11)
        self._column.addLayout(top)

    @property
    def wanted(self) -> bool:
        """True where the format is to be written."""
        return self.check.isChecked() and self.check.isEnabled()

    def _toggle(self, on: bool) -> None:
        if on and self._layers is None:
            self._layers = LayerList(self.facts.layers)
            self._column.addWidget(self._layers)
        if self._layers is not None:
            self._layers.setVisible(on)


class LayerList(QTableWidget):
    """What one format stores and runs, layer by layer."""

    def __init__(self, layers: tuple[LayerFact, ...]) -> None:
        super().__init__(len(layers), len(LAYER_COLUMNS))
        self.setHorizontalHeaderLabels(list(LAYER_COLUMNS))
        self.setAccessibleName("Layers in this format")
        self.verticalHeader().hide()
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.verticalHeader().setDefaultSectionSize(fonts.px(26))
        self.setFixedHeight(fonts.px(min(8, len(layers)) * 26 + 34))
        for i, layer in enumerate(layers):
            texts = (layer.layer, layer.container or "–", f"{layer.bytes:,}", layer.kernel or "refused", layer.note)
            for j, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                if j == 2:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(i, j, item)
        for column, width in enumerate((180, 74, 80, 220)):
            self.setColumnWidth(column, fonts.px(width))
        self.horizontalHeader().setSectionResizeMode(4, QHeaderView.ResizeMode.Stretch)


RESULT_COLUMNS = ("", "File", "Runtime", "Bytes", "Accuracy there", "Agreement", "Latency")
STRETCH = (0, 5, 4, 2, 3, 3, 3)


class ResultTable(QWidget):
    """The files that were written and what they gave in their runtime; failures red, notes under their file."""

    def __init__(self, manifest: dict[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("export-results")
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(16, 6, 16, 8)
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(8)
        for column, (title, stretch) in enumerate(zip(RESULT_COLUMNS, STRETCH, strict=True)):
            label = QLabel(title)
            label.setObjectName("secondary")
            right = column in (3, 4, 5)
            self._grid.addWidget(label, 0, column, Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft)
            self._grid.setColumnStretch(column, stretch)
        self.rows = file_rows(manifest)
        for row in self.rows:
            self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        at, kind = self._grid.rowCount(), "ok" if row["passed"] else "bad"
        self._grid.addWidget(sign("ok" if row["passed"] else "bad"), at, 0)
        for column, text in enumerate(result_texts(row), 1):
            label = QLabel(text)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            if column == 1:
                label.setFont(fonts.scaled(fonts.mono()))
                label.setToolTip(row["path"])
            if column == 4:
                label.setFont(fonts.scaled(fonts.section()))
            if kind == "bad":
                label.setObjectName("bad")
            side = Qt.AlignmentFlag.AlignRight if column in (3, 4, 5) else Qt.AlignmentFlag.AlignLeft
            self._grid.addWidget(label, at, column, side)
        for note in summary(row["notes"]):
            at = self._grid.rowCount()
            self._grid.addWidget(sentence(Line("warn" if row["passed"] else "bad", note)), at, 1, 1, 6)


def file_rows(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of all files of an export, those of the attention stage last."""
    attention = manifest.get("attention") or {}
    return [*manifest["exports"], *attention.get("files", [])]


def result_texts(row: dict[str, Any]) -> tuple[str, ...]:
    """File, runtime, bytes, accuracy, agreement and latency of one written file."""
    value = "–" if row["value"] is None else f"{100 * row['value']:.2f} %"
    if "agreement" in row:
        same = f"{100 * row['agreement']:.2f} %"
    else:
        same = f"{row['equal_to_python']} of {row['frames']} frames"
    median = row["latency_ms"]["median"]
    return (
        Path(row["path"]).name, row["runtime"], f"{row['file_bytes']:,}", value, same, f"{median:.3g} ms on this PC",
    )  # fmt: skip


def summary(notes: list[str], shown: int = 3) -> list[str]:
    """Notes of one file, those beyond `shown` counted."""
    if len(notes) <= shown + 1:
        return notes
    return [*notes[:shown], f"and {len(notes) - shown} more of this kind, all in manifest.json"]
