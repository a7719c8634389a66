"""Paints one row of the graph view: card, join, block."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QPixmap, QPolygonF

from studio.desktop.network.charts import draw_bars, draw_outline, ramp, shades
from studio.desktop.network.graph_model import GraphModel
from studio.desktop.network.rows import Row
from studio.desktop.network.thumbnails import Sketch, Thumbnail, Thumbnails, together
from studio.desktop.theme import Tokens, fonts

LEAST = {"name": 196.0, "output": 104.0, "weights": 84.0, "importance": 100.0, "techniques": 96.0, "size": 92.0}
"""Least width of each column; importance, weights, techniques, then output are left out where there is no room."""
GROWTH = (("techniques", 84.0), ("name", 60.0), ("importance", 90.0), ("weights", 50.0))
"""What columns take of the room that is left, one after the other; the rest is given to techniques."""
EDGE = 16.0
"""Room left of the name: sensitivity stripe and a gap."""
TITLES = {
    "name": "Layer", "output": "Output", "weights": "Weights", "importance": "Importance", "techniques": "Techniques",
    "size": "Size, KiB",
}  # fmt: skip
SHOWN_POINTS = 1.0
"""Points lost at 4 bits at which the sensitivity tint is darkest."""


def columns(width: float) -> dict[str, tuple[float, float]]:
    """Left edge and width of every column of a card of this width."""
    widths = dict(LEAST)
    for name in ("importance", "weights", "techniques", "output"):
        if sum(widths.values()) + EDGE > width:
            del widths[name]
    left = width - EDGE - sum(widths.values())
    if left < 0:
        widths["name"], left = max(40.0, widths["name"] + left), 0.0
    for name, most in GROWTH:
        if name in widths:
            grown = min(left, most)
            widths[name] += grown
            left -= grown
    if "techniques" in widths:
        widths["techniques"] += left
    found, x = {}, EDGE
    for name, w in widths.items():
        found[name] = (x, w - 14)
        x += w
    found["size"] = (width - LEAST["size"], LEAST["size"] - 10)
    return found


PAINT_S = 0.012
"""Time for drawing changed rows in one painting; the others follow in the next."""
SHADOW = 4
"""Room around a row for its outline and the second sheet of a block."""
Pictures = dict[str, tuple[tuple[object, ...], QPixmap]]
"""Drawn rows by name, with what each was drawn from."""


class RowPainter:
    """Paints rows of one model with the tokens of the current theme."""

    def __init__(self, model: GraphModel, thumbnails: Thumbnails, tokens: Tokens, pictures: Pictures) -> None:
        """`pictures`: rows drawn already, kept by the view from one painting to the next."""
        self.model = model
        self.thumbnails = thumbnails
        self.t = tokens
        self.pictures = pictures
        self._until = time.perf_counter() + PAINT_S

    def paint(self, p: QPainter, row: Row, rect: QRectF, lane_color: str, hovered: bool, scale: float) -> bool:
        """Paint a row into `rect` (unscaled pixels); drawn again only where what it shows has changed.

        Returns False where the time for one painting is over: the row is shown as it was, to be painted again.
        """
        content = self._content(row, rect, lane_color, hovered, scale)
        known = self.pictures.get(row.name)
        if (known is None or known[0] != content) and time.perf_counter() < self._until:
            known = (content, self._picture(row, rect, lane_color, hovered, scale))
            known[1].setDevicePixelRatio(p.device().devicePixelRatioF())
            self.pictures[row.name] = known
        if known is None:
            return False
        # On whole pixels, else every text is blurred.
        at = p.worldTransform().map(rect.topLeft() - QPointF(SHADOW, SHADOW))
        p.save()
        p.resetTransform()
        p.drawPixmap(round(at.x()), round(at.y()), known[1])
        p.restore()
        return known[0] == content

    def _content(self, row: Row, rect: QRectF, lane_color: str, hovered: bool, scale: float) -> tuple[object, ...]:
        """Everything that a row's picture depends on."""
        weighted = [layer.name for layer in row.layers if layer.weighted]
        tints = tuple(self.model.tint(name) for name in weighted)
        marks = (self._is_selected(row), self._is_current(row), self._is_companion(row))
        state = (hovered, *marks, lane_color, id(self.t), self._found(row))
        return (rect.width(), scale, *state, tuple(self.model.chips(row)), self.model.sizes(row), tints)

    def _picture(self, row: Row, rect: QRectF, lane_color: str, hovered: bool, scale: float) -> QPixmap:
        made = QPixmap(round((rect.width() + 2 * SHADOW) * scale) + 1, round((rect.height() + 2 * SHADOW) * scale) + 1)
        made.setDevicePixelRatio(scale)
        made.fill(Qt.GlobalColor.transparent)
        p = QPainter(made)
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(SHADOW, SHADOW, rect.width(), rect.height())
        if row.kind == "header":
            self._header(p, row, box)
        elif row.kind == "slim":
            self._slim(p, row, box)
        else:
            self._card(p, row, box, lane_color, hovered)
        p.end()
        return made

    def _header(self, p: QPainter, row: Row, rect: QRectF) -> None:
        self._arrow(p, rect.left() + 16, rect.center().y(), down=True)
        layers = [layer for layer in row.layers if layer.weighted]
        now, before = self.model.sizes(row)
        self._text(p, rect.adjusted(26, 0, 0, 0), row.title, fonts.card(), self.t.text)
        x = 26 + QFontMetricsF(fonts.card()).horizontalAdvance(row.title) + 10
        self._text(p, rect.adjusted(x, 0, 0, 0), f"{len(layers)} layers", fonts.small(), self.t.text2)
        text = f"{now / 1024:,.1f} of {before / 1024:,.1f}"
        self._text(p, rect.adjusted(0, 0, -10, 0), text, fonts.small(), self.t.text2, right=True)

    def _slim(self, p: QPainter, row: Row, rect: QRectF) -> None:
        left, wide = columns(rect.width())["output"]
        box = QRectF(rect.left(), rect.top() + 2, left + wide, rect.height() - 4)
        self._box(p, box, self.t.well, self.t.soft_line if self._is_selected(row) else self.t.line)
        name = row.layers[0].name
        middle = Qt.TextElideMode.ElideMiddle
        self._text(p, QRectF(box.left() + EDGE, box.top(), left - EDGE - 8, box.height()), name, fonts.small(),
                   self.t.text, elide=middle)  # fmt: skip
        x = EDGE + QFontMetricsF(fonts.small()).horizontalAdvance(name) + 8
        detail = ", ".join(dict.fromkeys(layer.detail for layer in row.layers))
        if x < left - 30:
            self._text(
                p, QRectF(box.left() + x, box.top(), left - x - 6, box.height()), detail, fonts.small(), self.t.text3
            )
        self._text(
            p, QRectF(box.left() + left, box.top(), wide - 6, box.height()), shape(row), fonts.mono(), self.t.text2
        )

    def _card(self, p: QPainter, row: Row, rect: QRectF, lane_color: str, hovered: bool) -> None:
        selected = self._is_selected(row)
        back = self.t.soft if selected else self.t.panel
        edge = self.t.accent if self._is_current(row) else self.t.soft_line if selected else lane_color
        if row.kind == "block":
            self._box(p, rect.translated(3, 3), self.t.panel, self.t.line)
        self._box(p, rect, back, self.t.accent if hovered and not selected else edge, 2 if self._is_current(row) else 1)
        if self._is_companion(row):
            p.setPen(QPen(QColor(self.t.technique("prune_channels")), 2, Qt.PenStyle.DashLine))
            p.setBrush(Qt.BrushStyle.NoBrush)
            p.drawRoundedRect(rect.adjusted(-1, -1, 1, 1), 5, 5)
        self._stripe(p, row, rect)
        place = columns(rect.width())
        self._names(p, row, rect, place)
        self._thumbnail(p, row, rect, place)
        if "techniques" in place:
            self._chips(p, row, rect, place["techniques"])
        self._sizes(p, row, rect, place["size"])

    def _names(self, p: QPainter, row: Row, rect: QRectF, place: dict[str, tuple[float, float]]) -> None:
        first, last = row.layers[0], row.layers[-1]
        x, w = place["name"]
        title, detail = first.name, ", ".join([first.detail, *(n.detail for n in row.layers[1:])])
        macs = first.macs
        if row.kind == "block":
            self._arrow(p, rect.left() + x + 4, rect.top() + 15, down=False)
            weighted = [layer for layer in row.layers if layer.weighted]
            title, detail, macs = f"    {row.title}", f"{len(weighted)} layers", sum(n.macs for n in weighted)
        self._two_lines(p, rect, x, w, title, detail)
        x, w = place["output"]
        out = "×".join(map(str, last.output_shape[1:]))
        self._two_lines(p, rect, x, w, out, f"{count(macs)} MACs", fonts.mono())

    def _two_lines(
        self, p: QPainter, rect: QRectF, x: float, w: float, first: str, second: str, font: QFont | None = None
    ) -> None:
        top = QRectF(rect.left() + x, rect.top() + 4, w, rect.height() / 2 - 3)
        low = QRectF(rect.left() + x, rect.center().y(), w, rect.height() / 2 - 4)
        self._text(p, top, first, font or fonts.card(), self.t.text, elide=Qt.TextElideMode.ElideMiddle)
        self._text(p, low, second, fonts.small(), self.t.text2)

    def _stripe(self, p: QPainter, row: Row, rect: QRectF) -> None:
        """Sensitivity tint at the left edge; a block shows one band for each of its layers."""
        layers = [layer for layer in row.layers if layer.weighted]
        height = (rect.height() - 2) / max(1, len(layers))
        for i, layer in enumerate(layers):
            points = self.model.tint(layer.name)
            color = self.t.raised if points is None else ramp(self.t.sensitivity, points / SHOWN_POINTS)
            p.fillRect(QRectF(rect.left() + 1, rect.top() + 1 + i * height, 8, height), QColor(color))

    def _thumbnail(self, p: QPainter, row: Row, rect: QRectF, place: dict[str, tuple[float, float]]) -> None:
        layers = self._found(row)
        if not layers:
            return
        found = layers[0] if row.kind == "card" else together(layers)
        if "weights" in place:
            x, w = place["weights"]
            self._histogram(p, found, QRectF(rect.left() + x, rect.top() + 6, w, rect.height() - 13))
        if "importance" in place:
            x, w = place["importance"]
            self._importance(p, found, QRectF(rect.left() + x, rect.top() + 14, w, rect.height() - 28))

    def _found(self, row: Row) -> tuple[Thumbnail, ...]:
        """Thumbnails that a row draws; none while one of a block's layers has none."""
        names = [layer.name for layer in row.layers if layer.weighted] if row.kind in ("card", "block") else []
        found = [self.thumbnails.find(name) for name in names]
        known = tuple(one for one in found if one is not None)
        return known if len(known) == len(found) else ()

    def _histogram(self, p: QPainter, found: Sketch, box: QRectF) -> None:
        draw_bars(p, box, found.after.tolist(), self.t.compressed)
        draw_outline(p, box, found.before.tolist(), self.t.float_, 1)
        p.drawLine(box.bottomLeft(), box.bottomRight())

    def _importance(self, p: QPainter, found: Sketch, box: QRectF) -> None:
        """One bar a channel in file order, at most one for each pixel; dead channels are gaps on a base line."""
        bars = min(len(found.importance), int(box.width()))
        if bars < 1:
            return
        starts = np.linspace(0, len(found.importance), bars, endpoint=False).astype(int)
        scores = np.add.reduceat(found.importance, starts) / np.diff([*starts, len(found.importance)])
        colors = _colors(self.t.importance)
        shown = colors[np.clip(np.rint(scores * (len(colors) - 1)), 0, len(colors) - 1).astype(int)]
        shown[np.logical_and.reduceat(found.dead, starts)] = 0
        # One picture of one row, stretched: a call for each bar would be a hundred for each card.
        picture = QImage(shown.tobytes(), bars, 1, 4 * bars, QImage.Format.Format_ARGB32)
        p.fillRect(QRectF(box.left(), box.bottom() - 1, box.width(), 1), QColor(self.t.float_))
        p.drawImage(box, picture)
        p.setPen(QPen(QColor(self.t.line), 1))
        p.setBrush(Qt.BrushStyle.NoBrush)
        p.drawRect(box)

    def _chips(self, p: QPainter, row: Row, rect: QRectF, place: tuple[float, float]) -> None:
        x, w = rect.left() + place[0], place[1]
        end = x + w
        chips = self.model.chips(row)
        if not chips:
            self._text(p, QRectF(x, rect.top(), w, rect.height()), "float", fonts.small(), self.t.text3)
        for chip in chips:
            width = QFontMetricsF(fonts.chip()).horizontalAdvance(chip.text) + 22
            if x + width > end:
                self._text(p, QRectF(x, rect.top(), 20, rect.height()), "…", fonts.chip(), self.t.text2)
                return
            box = QRectF(x, rect.center().y() - 11, width, 22)
            pen = QPen(QColor(self.t.accent if chip.dashed else self.t.line), 1.2)
            pen.setStyle(Qt.PenStyle.DashLine if chip.dashed else Qt.PenStyle.SolidLine)
            p.setPen(pen)
            p.setBrush(QColor(self.t.raised))
            p.drawRoundedRect(box, 3, 3)
            p.fillRect(QRectF(x + 6, box.center().y() - 5, 5, 10), QColor(self.t.technique(chip.technique)))
            self._text(p, box.adjusted(15, 0, 0, 0), chip.text, fonts.chip(), self.t.text)
            x += width + 6

    def _sizes(self, p: QPainter, row: Row, rect: QRectF, place: tuple[float, float]) -> None:
        now, before = self.model.sizes(row)
        x, w = place
        top = QRectF(rect.left() + x, rect.top() + 4, w, rect.height() / 2 - 3)
        low = QRectF(rect.left() + x, rect.center().y(), w, rect.height() / 2 - 4)
        color = self.t.accent if self._is_current(row) else self.t.text
        self._text(p, top, f"{now / 1024:,.1f}", fonts.card(), color, right=True)
        self._text(p, low, f"of {before / 1024:,.1f}", fonts.small(), self.t.text2, right=True)

    def _is_selected(self, row: Row) -> bool:
        return any(layer.name in self.model.selected for layer in row.layers)

    def _is_companion(self, row: Row) -> bool:
        """Cut together with the current layer: shown although it is not selected."""
        return any(layer.name in self.model.companions for layer in row.layers if layer.weighted)

    def _is_current(self, row: Row) -> bool:
        return row.kind == "card" and row.layers[0].name == self.model.current

    def _box(self, p: QPainter, rect: QRectF, back: str, edge: str, width: float = 1) -> None:
        p.setPen(QPen(QColor(edge), width))
        p.setBrush(QBrush(QColor(back)))
        p.drawRoundedRect(rect, 4, 4)

    def _arrow(self, p: QPainter, x: float, y: float, down: bool) -> None:
        points = [(-4, -2), (4, -2), (0, 4)] if down else [(-2, -4), (-2, 4), (4, 0)]
        p.setPen(Qt.PenStyle.NoPen)
        p.setBrush(QColor(self.t.text))
        p.drawPolygon(QPolygonF([QPointF(x + dx, y + dy) for dx, dy in points]))

    def _text(
        self, p: QPainter, rect: QRectF, text: str, font: QFont, color: str, *, right: bool = False,
        elide: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> None:  # fmt: skip
        p.setFont(font)
        p.setPen(QColor(color))
        shown = QFontMetricsF(font).elidedText(text, elide, rect.width())
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        p.drawText(rect, side | Qt.AlignmentFlag.AlignVCenter, shown)


@cache
def _colors(ramp_: tuple[str, ...]) -> np.ndarray:
    """Shades of a ramp as pixels (SHADES,) uint32."""
    return np.array([QColor(c).rgba() for c in shades(ramp_)], dtype=np.uint32)


def shape(row: Row) -> str:
    """Output shape of a row without its batch."""
    return "×".join(map(str, row.layers[-1].output_shape[1:]))


def count(value: float) -> str:
    """Large counts with k, M or G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"
