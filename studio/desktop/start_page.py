"""The first thing a person sees: drop a network, try the demo, go on with a recent one."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio import __version__
from studio.core import paths
from studio.desktop import icons, recents, theme


class StartPage(QWidget):
    """`open_asked`: choose files; `demo_asked`; `model_dropped(path)`; `recent_asked(Recent)`."""

    open_asked = Signal()
    demo_asked = Signal()
    model_dropped = Signal(str)
    recent_asked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("start-page")
        self.setAcceptDrops(True)
        title = QLabel("Edge Compression Studio")
        title.setObjectName("page-title")
        head = QWidget()
        head.setObjectName("panel")
        row = QHBoxLayout(head)
        row.setContentsMargins(40, 16, 40, 16)
        row.addWidget(title)
        row.addStretch(1)
        grid = QGridLayout()
        grid.setContentsMargins(40, 24, 40, 16)
        grid.setSpacing(18)
        grid.addWidget(self._drop_card(), 0, 0)
        grid.addWidget(self._demo_card(), 1, 0)
        grid.addWidget(self._recent_card(), 0, 1, 2, 1)
        grid.setColumnStretch(0, 2)
        grid.setColumnStretch(1, 4)
        grid.setRowStretch(0, 1)
        foot = QLabel(f"All work stays on this computer · version {__version__}")
        foot.setObjectName("secondary")
        foot.setContentsMargins(40, 4, 40, 10)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(head)
        layout.addLayout(grid, 1)
        layout.addWidget(foot)

    def _drop_card(self) -> QWidget:
        card = _Card(dashed=True)
        layout = QVBoxLayout(card)
        layout.addStretch(1)
        picture = QLabel()
        picture.setPixmap(icons.pixmap("drop", 56, theme.tokens().accent))
        title = QLabel("Drop a trained network here")
        title.setObjectName("page-title")
        hint = QLabel("ONNX, opset 7 to 22")
        hint.setObjectName("secondary")
        self.open_button = QPushButton("Open network...")
        self.open_button.setObjectName("primary")
        self.open_button.setToolTip("Choose a network and its data (Ctrl+O)")
        self.open_button.clicked.connect(self.open_asked)
        for widget in (picture, title, hint, self.open_button):
            layout.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        return card

    def _demo_card(self) -> QWidget:
        card = _Card()
        layout = QHBoxLayout(card)
        layout.setContentsMargins(0, 0, 18, 0)
        picture = QLabel()
        picture.setFixedSize(190, 190)
        picture.setPixmap(self._demo_picture())
        side = QVBoxLayout()
        title = QLabel("Try the demo")
        title.setObjectName("page-title")
        text = QLabel("A small residual network names parts on a belt. Network, test crops and frames are included.")
        text.setWordWrap(True)
        text.setObjectName("secondary")
        self.demo_button = QPushButton(icons.icon("demo"), "Start the demo")
        self.demo_button.setObjectName("demo")
        self.demo_button.setToolTip("Opens the bundled network and its data (Ctrl+D)")
        self.demo_button.clicked.connect(self.demo_asked)
        side.addStretch(1)
        side.addWidget(title)
        side.addWidget(text)
        side.addWidget(self.demo_button, 0, Qt.AlignmentFlag.AlignLeft)
        side.addStretch(1)
        layout.addWidget(picture)
        layout.addLayout(side, 1)
        return card

    def _demo_picture(self) -> QPixmap:
        found = next(iter(sorted(paths.resource("demo").glob("frames/*.jpg"))), None)
        made = QPixmap(str(found)) if found else QPixmap()
        return made.scaled(190, 190, Qt.AspectRatioMode.KeepAspectRatioByExpanding) if found else made

    def _recent_card(self) -> QWidget:
        card = _Card()
        layout = QVBoxLayout(card)
        layout.setContentsMargins(1, 12, 1, 8)
        head = QHBoxLayout()
        head.setContentsMargins(16, 0, 16, 4)
        title = QLabel("Recent projects")
        title.setObjectName("page-title")
        self.finder = QLineEdit()
        self.finder.setPlaceholderText("Find project")
        self.finder.setAccessibleName("Find project")
        self.finder.setFixedWidth(180)
        self.finder.textChanged.connect(self.refresh)
        head.addWidget(title)
        head.addStretch(1)
        head.addWidget(self.finder)
        layout.addLayout(head)
        self._list = QVBoxLayout()
        self._list.setSpacing(0)
        self._list.setContentsMargins(0, 0, 0, 0)
        inside = QWidget()
        inside.setObjectName("panel")
        outer = QVBoxLayout(inside)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addLayout(self._list)
        outer.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(inside)
        layout.addWidget(scroll, 1)
        self.refresh()
        return card

    def refresh(self) -> None:
        """Read the recent projects again."""
        while (item := self._list.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        text = self.finder.text().lower()
        rows = [r for r in recents.load() if text in r.opened.model.lower()]
        for recent in rows:
            line = _RecentLine(recent)
            line.clicked.connect(lambda _=False, recent=recent: self.recent_asked.emit(recent))
            self._list.addWidget(line)
        if not rows:
            hint = QLabel("Networks that you open stand here." if not text else "No project of that name.")
            hint.setObjectName("secondary")
            hint.setContentsMargins(16, 12, 16, 12)
            self._list.addWidget(hint)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and event.mimeData().urls()[0].isLocalFile():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.model_dropped.emit(event.mimeData().urls()[0].toLocalFile())


class _Card(QFrame):
    def __init__(self, dashed: bool = False) -> None:
        super().__init__()
        self._dashed = dashed

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = t.accent if self._dashed else t.line
        p.setPen(
            QPen(
                QColor(color),
                1.5 if self._dashed else 1,
                Qt.PenStyle.DashLine if self._dashed else Qt.PenStyle.SolidLine,
            )
        )
        p.setBrush(QColor(t.panel))
        p.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 8, 8)
        p.end()


class _RecentLine(QPushButton):
    """One recent project: name and data, size, accuracy, when."""

    def __init__(self, recent: recents.Recent) -> None:
        super().__init__()
        self._recent = recent
        self.setFlat(True)
        self.setMinimumHeight(58)
        self.setAccessibleName(f"Open {recent.name}")
        self.setToolTip(recent.opened.model)

    def paintEvent(self, event: QPaintEvent) -> None:
        from studio.desktop import fonts

        t, p, r = theme.tokens(), QPainter(self), self._recent
        box = QRectF(self.rect())
        p.fillRect(box, QColor(t.soft if self.underMouse() or self.hasFocus() else t.panel))
        p.setPen(QPen(QColor(t.line), 1))
        p.drawLine(box.topLeft(), box.topRight())
        data = Path(r.opened.data).name if r.opened.data else "no data"
        size = f"{r.flash_bytes / 1024:,.1f} KiB" if r.flash_bytes else ""
        of = f"of {r.float_bytes / 1024:,.1f}" if r.float_bytes and r.flash_bytes else ""
        value = f"{100 * r.value:.2f} %" if r.value is not None else ""
        w, left, right = box.width(), Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        columns = (
            (16, w * 0.5, r.name, data, left), (w * 0.5, w * 0.17, size, of, right),
            (w * 0.67, w * 0.15, value, "accuracy" if value else "", right),
            (w * 0.82, w * 0.18 - 16, "", recents.when_text(r.when), right),
        )  # fmt: skip
        for x, width, first, second, side in columns:
            p.setFont(fonts.card())
            p.setPen(QColor(t.text))
            p.drawText(QRectF(x, 10, width, 20), side | Qt.AlignmentFlag.AlignVCenter, first)
            p.setFont(fonts.small())
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(x, 30, width, 18), side | Qt.AlignmentFlag.AlignVCenter, second)
        p.end()
