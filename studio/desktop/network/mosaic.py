"""A layer's filters as pictures, in float and as stored, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPaintEvent
from PySide6.QtWidgets import QWidget

from studio.desktop import canvas, theme
from studio.desktop.theme import fonts

Pictures = Sequence[tuple[str, np.ndarray]]
GAP = 14.0


class FilterMosaic(QWidget):
    """Weights as colours: blue positive, orange negative, one scale for all pictures."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Filters of the layer as pictures, in float and as stored")
        self.setToolTip("One row of kernels an output channel, one column an input channel; the first 12 of each")
        self._pictures: Pictures = ()

    def show_answer(self, pictures: Pictures) -> None:
        """Titles and pictures (rows, columns), NaN between the tiles."""
        self._pictures = pictures
        names = ", ".join(f"{title} {picture.shape[0]}×{picture.shape[1]}" for title, picture in pictures)
        self.setAccessibleDescription(names)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, p, whole = theme.tokens(), canvas.painter(self), canvas.area(self)
        p.setFont(fonts.small())
        limit = max((float(np.nanmax(np.abs(picture), initial=0)) for _, picture in self._pictures), default=0) or 1.0
        room = (whole.width() - GAP * (len(self._pictures) - 1)) / max(1, len(self._pictures))
        for i, (title, picture) in enumerate(self._pictures):
            left = i * (room + GAP)
            p.setPen(QColor(t.text2))
            p.drawText(QRectF(left, 0, room, 18), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
            rows, columns = picture.shape
            scale = min(room / columns, (whole.height() - 20) / rows)
            p.drawImage(QRectF(left, 20, columns * scale, rows * scale), colored(picture, limit, t))
        p.end()


def colored(picture: np.ndarray, limit: float, t: theme.Tokens) -> QImage:
    """Picture (rows, columns) of weights from -limit to limit; NaN is transparent."""
    colors = [QColor(c) for c in (t.sensitivity[2], t.sunken, t.compressed)]
    ends = [np.array([c.red(), c.green(), c.blue()], np.float64) for c in colors]
    share = np.nan_to_num(np.clip(picture / limit, -1, 1))[..., None]
    mixed = np.where(share < 0, ends[1] + (ends[0] - ends[1]) * -share, ends[1] + (ends[2] - ends[1]) * share)
    alpha = np.where(np.isnan(picture), 0, 255)[..., None]
    pixels = np.ascontiguousarray(np.concatenate([np.rint(mixed), alpha], -1).astype(np.uint8))
    image = QImage(pixels.tobytes(), picture.shape[1], picture.shape[0], 4 * picture.shape[1],
                   QImage.Format.Format_RGBA8888)  # fmt: skip
    return image.copy()
