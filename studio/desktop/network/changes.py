"""Samples whose answer the plan changes, as pictures, and what that does to each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QImage, QPixmap, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from studio.core.errors import StudioError
from studio.desktop import cells, fonts
from studio.desktop.job import Job

if TYPE_CHECKING:
    from studio.engine.flips import Flip, Flips
    from studio.session import Session

KINDS = (
    ("lost", "Lost", "right in float, wrong compressed"),
    ("won", "Won", "wrong in float, right compressed"),
    ("other", "Other", "wrong in both, in another way"),
)
SHOWN = 60
"""Pictures loaded of each kind."""
SIDE = 64
COLUMNS = ("Class", "Samples", "Change")
NOTHING = "Samples that the plan gets wrong and the float model right appear here once a plan was measured."


@dataclass(frozen=True, eq=False)
class Changes:
    """Flips of one plan with the pictures of the first ones, (H, W) or (H, W, 3) uint8."""

    plan_key: str
    flips: Flips
    pictures: dict[int, np.ndarray]
    names: tuple[str, ...]

    def name(self, label: int | None) -> str:
        """Class by name, or its number."""
        if label is None:
            return "–"
        return self.names[label] if label < len(self.names) else str(label)


class ChangesPanel(QWidget):
    """Follows the plan: compares it with the float model as soon as it was measured on all samples."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("changes")
        self._session: Session | None = None
        self.changes: Changes | None = None
        self.job = Job(self)
        self.job.done.connect(self._done)
        self.job.failed.connect(self._failed)
        self.kind = QComboBox()
        self.kind.setAccessibleName("Which changed samples")
        for name, title, tip in KINDS:
            self.kind.addItem(title, name)
            self.kind.setItemData(self.kind.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.kind.currentIndexChanged.connect(lambda _: self._show())
        self.text = QLabel(NOTHING)
        self.text.setObjectName("secondary")
        self.text.setWordWrap(True)
        self.pictures = QListWidget()
        self.pictures.setAccessibleName("Samples whose answer changed: class, before, after")
        self.pictures.setViewMode(QListWidget.ViewMode.IconMode)
        self.pictures.setMovement(QListWidget.Movement.Static)
        self.pictures.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.pictures.setFrameShape(QListWidget.Shape.NoFrame)
        self.classes = cells.table(COLUMNS, "Change of each class in points")
        self.classes.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        head = QHBoxLayout()
        head.addWidget(self.text, 1)
        head.addWidget(self.kind)
        body = QHBoxLayout()
        body.addWidget(self.pictures, 1)
        body.addWidget(self.classes)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 0)
        layout.addLayout(head)
        layout.addLayout(body, 1)
        self._next = QTimer(self, interval=0, singleShot=True)
        self._next.timeout.connect(self._add_some)
        self._waiting: list[Flip] = []
        self.rescale()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.pictures.setIconSize(QSize(fonts.px(SIDE), fonts.px(SIDE)))
        self.pictures.setGridSize(QSize(fonts.px(SIDE + 68), fonts.px(SIDE + 26)))
        self.classes.setFixedWidth(fonts.px(250))
        self.classes.verticalHeader().setDefaultSectionSize(fonts.px(24))
        for column in (1, 2):
            self.classes.setColumnWidth(column, fonts.px(74))

    def set_session(self, session: Session | None) -> None:
        """Show the changes of another session."""
        if self.job.busy:
            self.job.wait()
        self._session, self.changes = session, None
        self._show()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def refresh(self) -> None:
        """Compare again if the plan was measured on all samples and is not the one shown."""
        session = self._session
        if session is None or not self.isVisible():
            return
        plan = session.plan
        known = session.measured.get(plan.key)
        if known is None or not known.result.complete or known.result.quick:
            return
        if self.changes is not None and self.changes.plan_key == plan.key:
            return
        self.job.start(lambda _report, stop: collect(session, stop))

    def _done(self, changes: Changes) -> None:
        self.changes = changes
        self._show()

    def _failed(self, error: Exception) -> None:
        self.changes = None
        self._show()
        self.text.setText(str(error.what) if isinstance(error, StudioError) else str(error))

    def _show(self) -> None:
        self.pictures.clear()
        self._waiting = []
        found = self.changes
        if found is None:
            self.classes.setRowCount(0)
            self.text.setText(NOTHING)
            return
        flips: tuple[Flip, ...] = getattr(found.flips, self.kind.currentData())
        counts = " · ".join(f"{len(getattr(found.flips, name)):,} {title.lower()}" for name, title, _ in KINDS)
        more = f" · the first {SHOWN} shown" if len(flips) > SHOWN else ""
        self.text.setText(f"{counts} of {found.flips.samples:,} samples{more}")
        self.classes.setRowCount(len(found.flips.classes))
        for i, row in enumerate(found.flips.classes):
            share = f"{100 * row.before:.1f} % → {100 * row.after:.1f} %"
            change = f"{100 * (row.after - row.before):+.1f} pt".replace("-", "−")
            for column, text in enumerate((found.name(row.label), f"{row.samples:,}", change)):
                cells.write(self.classes, i, column, text, share)
        self._waiting = list(flips[:SHOWN])
        self._next.start()

    def _add_some(self) -> None:
        """Add a few pictures at a time: scaling all of them at once would hold up the window."""
        found = self.changes
        few, self._waiting = self._waiting[:8], self._waiting[8:]
        if found is None:
            return
        for flip in few:
            names = [found.name(n) for n in (flip.truth, flip.before, flip.after)]
            item = QListWidgetItem(f"{names[1]} → {names[2]}")
            item.setToolTip(f"Sample {flip.index:,}: class {names[0]}, float {names[1]}, compressed {names[2]}")
            picture = found.pictures.get(flip.index)
            if picture is not None:
                item.setIcon(pixmap(picture, fonts.px(SIDE)))
            self.pictures.addItem(item)
        if self._waiting:
            self._next.start()


def collect(session: Session, stop: Callable[[], bool]) -> Changes:
    """Compare the session's plan with the float model; raises DataError, Cancelled."""
    from studio.engine.flips import flips

    plan, data = session.plan, session.data
    found = flips(session.engine, plan, stop=stop)
    pictures: dict[int, np.ndarray] = {}
    names: tuple[str, ...] = ()
    if data is not None:
        names = tuple(map(str, data.classes or ()))
        for kind in (found.lost, found.won, found.other):
            for flip in kind[:SHOWN]:
                picture = data.shown(flip.index)
                if picture is not None:
                    pictures[flip.index] = picture
    return Changes(plan.key, found, pictures, names)


def pixmap(picture: np.ndarray, side: int) -> QPixmap:
    """Picture (H, W) or (H, W, 3) uint8, enlarged by whole pixels or reduced to fit a square."""
    pixels = np.ascontiguousarray(picture)
    height, width = pixels.shape[:2]
    kind = QImage.Format.Format_RGB888 if pixels.ndim == 3 else QImage.Format.Format_Grayscale8
    image = QImage(pixels.tobytes(), width, height, pixels.strides[0], kind)
    small = max(height, width) < side
    way = Qt.TransformationMode.FastTransformation if small else Qt.TransformationMode.SmoothTransformation
    return QPixmap.fromImage(image.scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio, way))
