"""The frame with its heat map and boxes, the crop, and the gate's histogram."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, fonts, theme
from studio.desktop.attention.worker import Look
from studio.desktop.network.charts import draw_bars

INFERNO = np.array(
    [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39],
     [252, 255, 164]], dtype=np.float32,
)  # fmt: skip
"""Stops of the inferno ramp, at equal distances."""


def image_of(pixels: np.ndarray) -> QImage:
    """Picture uint8 (h, w, 3) as Qt's, with memory of its own."""
    height, width = pixels.shape[:2]
    made = QImage(np.ascontiguousarray(pixels).data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return made.copy()


def heat_image(heat: np.ndarray, opacity: float) -> QImage:
    """Heat map (rows, columns) in inferno; transparent where there is nothing."""
    share = np.clip(heat / max(1, int(heat.max())), 0, 1)
    at = share * (len(INFERNO) - 1)
    low = at.astype(int).clip(0, len(INFERNO) - 2)
    part = (at - low)[..., None]
    rgb = INFERNO[low] * (1 - part) + INFERNO[low + 1] * part
    alpha = (255 * opacity * np.sqrt(share))[..., None]
    rgba = np.ascontiguousarray(np.concatenate([rgb, alpha], axis=2).astype(np.uint8))
    height, width = heat.shape
    return QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()


class FrameView(QWidget):
    """One frame, scaled by whole factors where it fits: heat map, chosen box, truth."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(320, 260)
        self.setAccessibleName("Frame with heat map and boxes")
        self.opacity, self.truth = 0.6, True
        self._look: Look | None = None
        self._frame = self._heat = QImage()

    def show_look(self, look: Look | None) -> None:
        """Show what the stage did on a frame."""
        self._look = look
        self._frame = image_of(look.frame) if look else QImage()
        self._tint()

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the heat map, 0..1."""
        self.opacity = opacity
        self._tint()

    def set_truth(self, on: bool) -> None:
        """Show or hide the truth."""
        self.truth = on
        self.update()

    def _tint(self) -> None:
        heat = self._look.heat if self._look else None
        self._heat = QImage() if heat is None or self.opacity == 0 else heat_image(heat, self.opacity)
        self.update()

    def _area(self) -> QRectF:
        w, h = self._frame.width(), self._frame.height()
        scale = min(self.width() / w, self.height() / h)
        scale = int(scale) if scale >= 2 else scale
        return QRectF((self.width() - w * scale) / 2, (self.height() - h * scale) / 2, w * scale, h * scale)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p = theme.tokens(), QPainter(self)
        p.fillRect(self.rect(), QColor(t.well))
        if self._look is None:
            p.setPen(QColor(t.text2))
            p.setFont(fonts.body())
            p.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "Open frames to see where the network would look.")
            p.end()
            return
        area = self._area()
        p.drawImage(area, self._frame)
        if not self._heat.isNull():
            p.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            p.drawImage(area, self._heat)
        scale = area.width() / self._frame.width()
        if self.truth and self._look.truth is not None:
            self._box(p, area, scale, self._look.truth, theme.TRUTH, Qt.PenStyle.DashLine)
        self._box(p, area, scale, self._look.box, theme.CHOSEN, Qt.PenStyle.SolidLine)
        self._label(p, area, scale)
        p.end()

    def _box(
        self, p: QPainter, area: QRectF, scale: float, box: tuple[float, ...], color: str, style: Qt.PenStyle
    ) -> None:
        x0, y0, x1, y1 = (scale * v for v in box)
        rect = QRectF(area.left() + x0, area.top() + y0, x1 - x0, y1 - y0)
        p.setBrush(Qt.BrushStyle.NoBrush)
        p.setPen(QPen(QColor(theme.UNDERLAY), 4))
        p.drawRect(rect)
        p.setPen(QPen(QColor(color), 2, style))
        p.drawRect(rect)

    def _label(self, p: QPainter, area: QRectF, scale: float) -> None:
        assert self._look is not None
        name, share = self._look.scores[0]
        text = f"{name} {100 * share:.1f} %" if self._look.awake else "asleep: nothing there"
        p.setFont(fonts.section())
        width = p.fontMetrics().horizontalAdvance(text) + 12
        x = min(area.left() + scale * self._look.box[0], area.right() - width)
        y = max(area.top(), area.top() + scale * self._look.box[1] - 23)
        p.fillRect(QRectF(x, y, width, 21), QColor(theme.UNDERLAY))
        p.setPen(QColor("#FFFFFF"))
        p.drawText(QRectF(x, y, width, 21), Qt.AlignmentFlag.AlignCenter, text)


class CropView(QWidget):
    """What the network sees, pixel by pixel."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rescale()
        self.setAccessibleName("What the network sees")
        self._picture = QImage()

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.setFixedSize(fonts.px(200), fonts.px(200))

    def show_crop(self, crop: np.ndarray | None) -> None:
        """Show pixels uint8 (h, w, 3)."""
        self._picture = QImage() if crop is None else image_of(crop)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        p = QPainter(self)
        p.fillRect(self.rect(), QColor(theme.tokens().sunken))
        if not self._picture.isNull():
            p.drawImage(QRectF(self.rect()), self._picture)
            p.setPen(QPen(QColor(theme.CHOSEN), 2))
            p.drawRect(self.rect().adjusted(1, 1, -1, -1))
        p.end()


class GateChart(QWidget):
    """Scores of frames with and without the class; the threshold is dragged. `threshold_changed(score)`."""

    threshold_changed = Signal(int)
    BINS = 40

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(fonts.px(120))
        self.setAccessibleName("Scores of frames, with the wake-up threshold")
        self.setToolTip("Drag the line: frames whose score is left of it do not wake the network")
        self._with = self._without = np.zeros(0)
        self._threshold = 0

    def show_scores(self, with_class: np.ndarray, without: np.ndarray) -> None:
        """Scores of frames that hold the class, and of empty ones."""
        self._with, self._without = with_class, without
        self.update()

    def set_threshold(self, threshold: int) -> None:
        """Show another threshold."""
        self._threshold = threshold
        self.update()

    def _top(self) -> float:
        both = np.concatenate([self._with, self._without])
        return float(max(both.max() if len(both) else 1, self._threshold, 1)) * 1.05

    def _box(self) -> QRectF:
        whole = canvas.area(self)
        return QRectF(8, 18, whole.width() - 16, whole.height() - 40)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, box, top = theme.tokens(), canvas.painter(self), self._box(), self._top()
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        x = box.left() + self._threshold / top * box.width()
        p.fillRect(QRectF(x, box.top(), box.right() - x, box.height()), QColor(t.soft))
        counts = [np.histogram(v, self.BINS, (0, top))[0] for v in (self._without, self._with)]
        peak = max(1, *(int(c.max()) for c in counts))
        for count, color in zip(counts, (t.neutral, t.compressed), strict=True):
            draw_bars(p, box, (count / peak).tolist(), color)
        p.setPen(QPen(QColor(t.text), 2))
        p.drawLine(QPointF(x, box.top() - 6), QPointF(x, box.bottom()))
        p.setFont(fonts.small())
        p.setPen(QColor(t.text2))
        if x > 50:
            p.drawText(QRectF(0, 0, x - 6, 16), Qt.AlignmentFlag.AlignRight, "sleep")
        p.drawText(QRectF(x + 6, 0, 80, 16), Qt.AlignmentFlag.AlignLeft, "wake")
        p.drawText(QRectF(box.left(), box.bottom() + 4, box.width(), 16), Qt.AlignmentFlag.AlignRight, f"{top:.0f}")
        p.drawText(QRectF(box.left(), box.bottom() + 4, box.width(), 16), Qt.AlignmentFlag.AlignLeft, "score 0")
        p.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._drag(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._drag(event)

    def _drag(self, event: QMouseEvent) -> None:
        box = self._box()
        share = (canvas.at(event.position()).x() - box.left()) / max(1.0, box.width())
        self._threshold = round(max(0.0, min(1.0, share)) * self._top())
        self.update()
        self.threshold_changed.emit(self._threshold)
