"""The first thing a person sees: drop a network, try the demo, go on with a recent one."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QImage,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.core import paths
from studio.desktop import icons, recents, theme
from studio.desktop.job import Job, Report, Stop
from studio.desktop.recent_line import RecentLine
from studio.desktop.training_line import TrainingLine


class StartPage(QWidget):
    """Says what the person wants by signals; `command(name)` is one of the window's actions."""

    open_asked = Signal()
    demo_asked = Signal()
    command = Signal(str)
    model_dropped = Signal(str)
    recent_asked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("start-page")
        self.setAcceptDrops(True)
        self._tinted: list[tuple[QWidget, str, str]] = []  # button or label, icon, token of its colour
        grid = QGridLayout()
        grid.setContentsMargins(40, 24, 40, 24)
        grid.setSpacing(18)
        grid.addWidget(self._drop_card(), 0, 0)
        grid.addWidget(self._demo_card(), 1, 0)
        grid.addWidget(self._recent_card(), 0, 1, 2, 1)
        grid.setColumnStretch(0, 33)
        grid.setColumnStretch(1, 65)
        grid.setRowStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._head())
        self.training = TrainingLine(self)
        layout.addWidget(self.training)
        layout.addLayout(grid, 1)
        self.retint()

    def _head(self) -> QWidget:
        head = QFrame()
        head.setObjectName("foot-row")
        head.setMinimumHeight(64)
        row = QHBoxLayout(head)
        row.setContentsMargins(40, 0, 40, 0)
        row.setSpacing(14)
        title = QLabel("Edge Compression Studio")
        title.setObjectName("app-title")
        row.addWidget(_Logo())
        row.addWidget(title)
        row.addStretch(1)
        self._commands: dict[str, QToolButton] = {}
        for name, text, tip in (
            ("size", "Presenter size", "Type for a projector (Ctrl+Shift+P)"),
            ("theme", "Dark", "Light or dark (Ctrl+T)"),
            ("help", "Help", "Keys and help (F1)"),
        ):
            button = QToolButton()
            button.setText(text)
            button.setToolTip(tip)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setIconSize(QSize(18, 18))
            button.clicked.connect(lambda _=False, name=name: self.command.emit(name))
            self._commands[name] = button
            self._tinted.append((button, name, "text"))
            row.addWidget(button)
        return head

    def _drop_card(self) -> QWidget:
        card = _Card(dashed=True)
        layout = QVBoxLayout(card)
        layout.setSpacing(10)
        layout.addStretch(1)
        picture = QLabel()
        self._tinted.append((picture, "drop", "accent"))
        title = QLabel("Drop a trained network here")
        title.setObjectName("page-title")
        hint = QLabel("An ONNX file, float32 or float16, opset 7 to 22")
        hint.setObjectName("secondary")
        self.open_button = QPushButton("Open network...")
        self.open_button.setObjectName("primary")
        self.open_button.setToolTip("Choose a network and its data (Ctrl+O)")
        self.open_button.clicked.connect(self.open_asked)
        self._tinted.append((self.open_button, "open", "on_accent"))
        for widget in (picture, title, hint, self.open_button):
            layout.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        return card

    def _demo_card(self) -> QWidget:
        card = _Card()
        layout = QHBoxLayout(card)
        layout.setContentsMargins(1, 1, 20, 1)
        layout.setSpacing(20)
        side = QVBoxLayout()
        side.setSpacing(8)
        title = QLabel("Try the demo")
        title.setObjectName("page-title")
        text = QLabel(
            "A small residual network names parts on a belt. Network, test crops and frames are included: "
            "compress it, export it and let it look only where it matters, in five minutes."
        )
        text.setWordWrap(True)
        text.setObjectName("secondary")
        self.demo_button = QPushButton("Start the demo")
        self.demo_button.setObjectName("demo")
        self.demo_button.setToolTip("Opens the bundled network and its data (Ctrl+D)")
        self.demo_button.clicked.connect(self.demo_asked)
        self._tinted.append((self.demo_button, "demo", "accent"))
        side.addStretch(1)
        side.addWidget(title)
        side.addWidget(text)
        side.addWidget(self.demo_button, 0, Qt.AlignmentFlag.AlignLeft)
        side.addStretch(1)
        layout.addWidget(DemoPicture())
        layout.addLayout(side, 1)
        return card

    def _recent_card(self) -> QWidget:
        card = _Card()
        layout = QVBoxLayout(card)
        layout.setContentsMargins(1, 10, 1, 8)
        head = QHBoxLayout()
        head.setContentsMargins(16, 0, 16, 4)
        title = QLabel("Recent projects")
        title.setObjectName("page-title")
        self.finder = QLineEdit()
        self.finder.setPlaceholderText("Find project")
        self.finder.setAccessibleName("Find project")
        self.finder.setClearButtonEnabled(True)
        self.finder.setFixedWidth(190)
        self.finder.textChanged.connect(self.refresh)
        head.addWidget(title)
        head.addStretch(1)
        head.addWidget(self.finder)
        layout.addLayout(head)
        self._list = QVBoxLayout()
        self._list.setSpacing(0)
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

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.training.refresh()

    def refresh(self) -> None:
        """Read the recent projects again."""
        while (item := self._list.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        text = self.finder.text().lower()
        rows = [r for r in recents.load() if text in r.opened.model.lower()]
        for recent in rows:
            line = RecentLine(recent)
            line.clicked.connect(lambda _=False, recent=recent: self.recent_asked.emit(recent))
            self._list.addWidget(line)
        if not rows:
            hint = QLabel("Networks that you open stand here." if not text else "No project of that name.")
            hint.setObjectName("secondary")
            hint.setContentsMargins(16, 12, 16, 12)
            self._list.addWidget(hint)

    def retint(self) -> None:
        """Draw the icons in the colours of the theme."""
        t = theme.tokens()
        for widget, name, role in self._tinted:
            color = getattr(t, role)
            if isinstance(widget, QLabel):
                widget.setPixmap(icons.pixmap(name, 56, color, 0.9))
            elif isinstance(widget, QPushButton | QToolButton):
                widget.setIcon(icons.icon(name, color))
        self._commands["theme"].setText("Light" if theme.is_dark() else "Dark")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and event.mimeData().urls()[0].isLocalFile():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.model_dropped.emit(event.mimeData().urls()[0].toLocalFile())


class DemoPicture(QWidget):
    """A frame of the demo as the attention stage sees it; computed once, beside the main thread."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(204)
        self.setMinimumHeight(230)
        self.setAccessibleName("A frame of the demo with what the selector looks at")
        self._picture = QImage()
        self._job = Job(self)
        self._job.done.connect(self._show)
        QTimer.singleShot(0, self, lambda: self._job.start(_demo_picture))

    def _show(self, picture: QImage) -> None:
        self._picture = picture
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        p = QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect())
        outline = QPainterPath()
        outline.addRoundedRect(box.adjusted(1, 1, 12, -1), 7, 7)
        p.setClipPath(outline)
        p.fillRect(box, QColor(theme.tokens().sunken))
        if not self._picture.isNull():
            side = float(self._picture.width())
            scale = max(box.width(), box.height()) / side
            cut = QRectF(0, 0, box.width() / scale, box.height() / scale)
            cut.moveCenter(QPointF(side / 2, side / 2))
            p.drawImage(box, self._picture, cut)
        p.end()


def _demo_picture(progress: Report, stop: Stop) -> QImage:
    """Frame of the demo, enlarged, with heat map and box of the selector."""
    import numpy as np
    from PIL import Image

    from studio.attention.edge_density import SELECTOR
    from studio.desktop.attention.pictures import heat_image, image_of

    file = paths.resource("demo") / "frames" / "images" / "frame_000.jpg"
    frame = np.asarray(Image.open(file).convert("RGB"))
    found = SELECTOR.select(frame, (32, 32), SELECTOR.settings())
    large = image_of(frame).scaled(512, 512)
    p = QPainter(large)
    p.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    if found.heat is not None:
        p.drawImage(QRectF(0, 0, 512, 512), heat_image(found.heat, 0.55))
    scale = 512 / frame.shape[1]
    left, top, right, bottom = (scale * v for v in found.box)
    for color, width in ((theme.UNDERLAY, 9), (theme.CHOSEN, 5)):
        p.setPen(QPen(QColor(color), width))
        p.drawRect(QRectF(left, top, right - left, bottom - top))
    p.end()
    return large


class _Logo(QWidget):
    """Three layers, each smaller than the one above."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(36, 34)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(QPen(QColor(t.lane0), 2))
        p.drawRoundedRect(QRectF(1.5, 2, 33, 7.5), 2, 2)
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QColor(theme.mix(t.panel, t.compressed, 0.72)))
        p.drawRoundedRect(QRectF(7, 13, 22, 8), 1.5, 1.5)
        p.setBrush(QColor(t.compressed))
        p.drawRoundedRect(QRectF(12, 24.5, 12, 8), 1.5, 1.5)
        p.end()


class _Card(QFrame):
    def __init__(self, dashed: bool = False) -> None:
        super().__init__()
        self._dashed = dashed

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        style = Qt.PenStyle.DashLine if self._dashed else Qt.PenStyle.SolidLine
        color, width = (t.soft_line, 2.0) if self._dashed else (t.line, 1.0)
        p.setPen(QPen(QColor(color), width, style))
        p.setBrush(QColor(t.panel))
        p.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 8, 8)
        p.end()
