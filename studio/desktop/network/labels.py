"""Titles and lines of the inspector."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from studio.desktop import theme


def section(text: str) -> QLabel:
    """Title of a section; gives way where there is no room."""
    label = QLabel(text)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    label.setObjectName("section")
    return label


def secondary(text: str) -> QLabel:
    """Text that is less important."""
    label = QLabel(text)
    label.setObjectName("secondary")
    return label


def line(*widgets: QWidget) -> QHBoxLayout:
    """Widgets in a row; the first takes the room."""
    row = QHBoxLayout()
    row.addWidget(widgets[0], 1)
    for widget in widgets[1:]:
        row.addWidget(widget)
    return row


def titled(title: str, more: str) -> str:
    """Rich text: title of a section, and what is said behind it in a lighter weight."""
    return f'{title} &nbsp; <span style="font-weight:400;color:{theme.tokens().text2}">{more}</span>'


def weights_title(levels: int, shared: bool, view: str) -> str:
    """Rich text: how many values the weights of a layer may have; above their histogram its legend too."""
    values = f"{levels:,} {'centroids' if shared else 'levels'}"
    if not levels:
        return titled("Weights", "float")
    if view != "weights":
        return titled("Weights", values)
    t = theme.tokens()
    signs = ((t.float_, "□", "float"), (t.compressed, "■", "stored"), (t.accent, "|", values))
    return titled(
        "Weights", " &nbsp; ".join(f'<span style="color:{c}">{sign}</span> {text}' for c, sign, text in signs)
    )
