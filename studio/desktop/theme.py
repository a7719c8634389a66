"""Colours, light and dark, as one set of tokens; palette and style sheet made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from studio.core import paths
from studio.desktop import fonts

__all__ = ["DARK", "LIGHT", "Tokens", "apply", "color", "fonts", "is_dark", "tokens"]


@dataclass(frozen=True)
class Tokens:
    """Colours by role; text pairs have a contrast of 4.5:1 and more, marks of 3:1."""

    window: str
    panel: str
    raised: str
    well: str
    sunken: str
    line: str
    ctl: str
    text: str
    text2: str
    text3: str
    disabled: str
    accent: str
    on_accent: str
    soft: str
    soft_line: str
    ok: str
    warn: str
    bad: str
    lane0: str
    lane1: str
    float_: str
    compressed: str
    updating: str
    neutral: str
    importance: tuple[str, ...]
    sensitivity: tuple[str, ...]
    techniques: Mapping[str, str]

    def technique(self, name: str) -> str:
        """Colour of a technique's swatch; never alone, letters stand beside it."""
        return self.techniques.get(name, self.neutral)


LIGHT = Tokens(
    window="#E9ECF0", panel="#FFFFFF", raised="#F5F6F8", well="#F8F9FB", sunken="#DFE3E8", line="#D0D6DD",
    ctl="#7F8996", text="#141A21", text2="#46515E", text3="#616C7A", disabled="#7A8592", accent="#0F5FAE",
    on_accent="#FFFFFF", soft="#DDEBFA", soft_line="#8DBAE6", ok="#18753F", warn="#96500A", bad="#B3261E",
    lane0="#36414D", lane1="#8659B5", float_="#66717E", compressed="#1D76C6", updating="#858F9B", neutral="#A3ADB8",
    importance=("#E1F1ED", "#A9D5CB", "#62B0A3", "#23837A", "#0A4F4A"),
    sensitivity=("#FBEED8", "#F6CB88", "#E69A3E", "#BC611B", "#76310A"),
    techniques=MappingProxyType({
        "prune_channels": "#7443B8", "low_rank": "#A92B76", "equalize": "#616C7A", "prune_weights": "#167A42",
        "quantize": "#125FB0", "share_weights": "#8A5A00", "huffman": "#B5401A", "fast_convolution": "#4B5A6B",
    }),
)  # fmt: skip
DARK = Tokens(
    window="#121519", panel="#1B1F25", raised="#23282F", well="#161A1F", sunken="#0E1114", line="#353D47",
    ctl="#75808E", text="#EDF0F4", text2="#B9C2CD", text3="#9BA6B3", disabled="#7F8A97", accent="#6DB5F8",
    on_accent="#07192A", soft="#1A3149", soft_line="#3C6E9E", ok="#63CE8F", warn="#F2B055", bad="#FF8E85",
    lane0="#B9C2CD", lane1="#B795E4", float_="#A3AFBC", compressed="#4BA0EA", updating="#7C8794", neutral="#6A7581",
    importance=("#14302D", "#1C5750", "#2F8479", "#62B6A6", "#C2F0E2"),
    sensitivity=("#3B2C18", "#70481A", "#B46C20", "#EA9E49", "#FFDFAE"),
    techniques=MappingProxyType({
        "prune_channels": "#BC9BF2", "low_rank": "#F08DC3", "equalize": "#9BA6B3", "prune_weights": "#67CF93",
        "quantize": "#74BAF9", "share_weights": "#E3B24D", "huffman": "#F79069", "fast_convolution": "#AAB8C7",
    }),
)  # fmt: skip
CHOSEN, TRUTH, UNDERLAY = "#4FC3FF", "#FFFFFF", "#0B0E12"
"""Boxes on pictures, the same in both themes."""
SPINS = "QAbstractSpinBox#outlined, QInputDialog QAbstractSpinBox"
"""Boxes with arrows. Not those without: Qt leaves no room for their text once they have a border."""
_current = LIGHT


def tokens() -> Tokens:
    """Tokens of the current theme."""
    return _current


def color(value: str) -> QColor:
    """Return a token as Qt's colour."""
    return QColor(value)


def is_dark() -> bool:
    """True for the dark theme."""
    return _current is DARK


def apply(app: QApplication, dark: bool) -> None:
    """Give the whole application a theme: Fusion with our palette and a short style sheet."""
    global _current
    _current = DARK if dark else LIGHT
    app.setStyle("Fusion")
    app.setFont(fonts.body())
    app.setPalette(palette(_current))
    app.setStyleSheet(style_sheet(_current))


def palette(t: Tokens) -> QPalette:
    """The fifteen roles of Qt's palette."""
    role, made = QPalette.ColorRole, QPalette()
    colors = {
        role.Window: t.window, role.Base: t.panel, role.AlternateBase: t.well, role.Button: t.raised,
        role.Mid: t.sunken, role.Midlight: t.line, role.Dark: t.ctl, role.Text: t.text, role.WindowText: t.text,
        role.ButtonText: t.text, role.PlaceholderText: t.text3, role.Highlight: t.accent, role.Link: t.accent,
        role.HighlightedText: t.on_accent, role.ToolTipBase: t.raised, role.ToolTipText: t.text,
    }  # fmt: skip
    for which, color in colors.items():
        made.setColor(which, QColor(color))
    for which in (role.Text, role.WindowText, role.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, which, QColor(t.disabled))
    return made


def mix(base: str, other: str, share: float) -> str:
    """Colour between two, `share` of the second."""
    a, b = QColor(base), QColor(other)
    parts = [(getattr(a, c)(), getattr(b, c)()) for c in ("red", "green", "blue")]
    return "#" + "".join(f"{round(x + (y - x) * share):02X}" for x, y in parts)


def icon_file(name: str, t: Tokens) -> str:
    """Path of a shipped icon for style sheets, which take files only."""
    return (paths.resource("icons") / f"{name}-{'dark' if t is DARK else 'light'}.svg").as_posix()


def _each(selectors: str, part: str) -> str:
    """Selectors of a part of several widgets."""
    return ", ".join(one + part for one in selectors.split(", "))


def style_sheet(t: Tokens) -> str:
    """What the palette cannot say."""
    parts = (_texts_and_lists, _tabs, _inputs, _choices, _menus_and_tools, _rows_and_sliders, _notices_and_progress)
    return "".join(part(t) for part in parts)


def _texts_and_lists(t: Tokens) -> str:
    """Labels, bars, tables and lists."""
    page, section, small = (fonts.px(size) for size in (fonts.PAGE, fonts.SECTION, fonts.SMALL))
    return f"""
    QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.ctl}; padding: 4px 6px; }}
    QLabel#page-title {{ font-size: {page}px; font-weight: 600; }}
    QLabel#app-title {{ font-size: {round(page * 1.12)}px; font-weight: 600; }}
    QLabel#section {{ font-size: {section}px; font-weight: 600; }}
    QLabel#secondary {{ color: {t.text2}; font-size: {small}px; }}
    QLabel:disabled {{ color: {t.disabled}; }}
    QLabel#bad {{ color: {t.bad}; }} QLabel#ok {{ color: {t.ok}; }} QLabel#warn {{ color: {t.warn}; }}
    QWidget#inspector-body, QWidget#panel {{ background: {t.panel}; }}
    QToolBar {{ background: {t.raised}; border: 0; border-bottom: 1px solid {t.line}; padding: 6px 10px;
        spacing: 6px; }}
    QStatusBar {{ background: {t.raised}; border-top: 1px solid {t.line}; color: {t.text2}; }}
    QStatusBar::item {{ border: 0; }}
    QHeaderView::section {{ background: {t.raised}; color: {t.text2}; border: 0; border-bottom: 1px solid {t.line};
        padding: 4px 6px; font-weight: 500; }}
    QHeaderView::up-arrow, QHeaderView::down-arrow {{ subcontrol-origin: padding; subcontrol-position: top center;
        width: 9px; height: 7px; }}
    QTableView {{ border: 0; selection-background-color: {t.soft}; selection-color: {t.text}; background: {t.panel};
        alternate-background-color: {t.well}; }}
    QTableView::item {{ padding: 2px 6px; }}
    QListWidget#jobs {{ border: 1px solid {t.ctl}; border-radius: 4px; background: {t.panel}; outline: 0;
        padding: 2px; }}
    QListWidget#jobs::item {{ height: {fonts.px(24)}px; padding-left: 6px; }}
    QListWidget#jobs::item:selected {{ background: {t.soft}; color: {t.text}; }}
    QListWidget#jobs:focus {{ border: 2px solid {t.accent}; }}
    """


def _tabs(t: Tokens) -> str:
    """Tabs."""
    return f"""
    QTabWidget::pane {{ border: 0; }}
    QTabBar {{ background: {t.window}; qproperty-drawBase: 0; }}
    QTabBar::tab {{ background: {t.window}; color: {t.text2}; padding: 7px 14px; border: 1px solid transparent;
        border-top-left-radius: 4px; border-top-right-radius: 4px; }}
    QTabBar::tab:selected {{ background: {t.panel}; color: {t.text}; border-color: {t.line};
        border-top: 2px solid {t.accent}; border-bottom-color: {t.panel}; font-weight: 600; }}
    QTabBar#layer-views {{ background: {t.panel}; }}
    QTabBar#layer-views::tab {{ background: {t.panel}; padding: 3px 10px; border: 0; border-radius: 0;
        border-bottom: 2px solid transparent; font-weight: 400; }}
    QTabBar#layer-views::tab:selected {{ border-bottom: 2px solid {t.accent}; font-weight: 600; }}
    QTabBar#layer-views::tab:focus {{ color: {t.accent}; }}
    """


def _inputs(t: Tokens) -> str:
    """Buttons, fields and what drops down from them."""
    return f"""
    QPushButton, QComboBox, QLineEdit {{ min-height: {fonts.px(24)}px; border: 1px solid {t.ctl};
        border-radius: 4px; padding: 1px 8px; background: {t.panel}; color: {t.text}; }}
    {SPINS} {{ border: 1px solid {t.ctl}; border-radius: 4px; background: {t.panel}; color: {t.text};
        min-height: {fonts.px(24)}px; padding-left: 6px; }}
    {_each(SPINS, ":focus")} {{ border-color: {t.accent}; }}
    {_each(SPINS, "::up-button")} {{ width: 18px; border: 0; subcontrol-position: top right; }}
    {_each(SPINS, "::down-button")} {{ width: 18px; border: 0; subcontrol-position: bottom right; }}
    {_each(SPINS, "::up-arrow")} {{ image: url({icon_file("chevron-up", t)}); width: 9px; height: 9px; }}
    {_each(SPINS, "::down-arrow")} {{ image: url({icon_file("chevron", t)}); width: 9px; height: 9px; }}
    QAbstractSpinBox QLineEdit {{ border: 0; padding: 0 4px; min-height: 0; background: transparent; }}
    QLineEdit[missed="true"] {{ color: {t.bad}; border-color: {t.bad}; }}
    QPushButton {{ background: {t.raised}; padding: 2px 12px; }}
    QPushButton:hover, QComboBox:hover {{ border-color: {t.accent}; }}
    QPushButton:focus, QComboBox:focus, QLineEdit:focus {{ border: 2px solid {t.accent}; }}
    QPushButton:disabled, QComboBox:disabled {{ color: {t.disabled}; border-color: {t.line}; }}
    QPushButton#primary {{ background: {t.accent}; color: {t.on_accent}; border-color: {t.accent}; font-weight: 600;
        min-height: 28px; }}
    QPushButton#primary:disabled {{ background: {t.sunken}; color: {t.disabled}; border-color: {t.line}; }}
    QComboBox {{ padding-right: 22px; }}
    QPushButton#primary:focus {{ border: 2px solid {t.text}; }}
    QPushButton#demo {{ color: {t.accent}; border-color: {t.accent}; background: {t.panel}; font-weight: 600; }}
    QComboBox::drop-down {{ border: 0; width: 22px; }}
    QComboBox::down-arrow {{ image: url({icon_file("chevron", t)}); width: 12px; height: 12px; }}
    QComboBox QAbstractItemView {{ background: {t.panel}; border: 1px solid {t.ctl}; outline: 0;
        selection-background-color: {t.soft}; selection-color: {t.text}; }}
    """


def _choices(t: Tokens) -> str:
    """What is ticked."""
    return f"""
    QCheckBox, QRadioButton {{ spacing: 7px; }}
    QCheckBox#section {{ font-size: {fonts.px(fonts.SECTION)}px; font-weight: 600; }}
    QRadioButton::indicator {{ width: {fonts.px(14)}px; height: {fonts.px(14)}px; border: 1px solid {t.ctl};
        border-radius: {fonts.px(14) // 2 + 1}px; background: {t.panel}; }}
    QRadioButton::indicator:hover, QRadioButton::indicator:focus {{ border: 1px solid {t.accent}; }}
    QRadioButton::indicator:checked {{ border: 1px solid {t.accent};
        background: qradialgradient(cx: 0.5, cy: 0.5, radius: 0.5, fx: 0.5, fy: 0.5,
        stop: 0.48 {t.accent}, stop: 0.58 {t.panel}); }}
    QRadioButton::indicator:disabled {{ background: {t.well}; border-color: {t.line}; }}
    QCheckBox::indicator {{ width: {fonts.px(14)}px; height: {fonts.px(14)}px; border: 1px solid {t.ctl};
        border-radius: 3px; background: {t.panel}; }}
    QCheckBox::indicator:hover, QCheckBox::indicator:focus {{ border: 1px solid {t.accent}; }}
    QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent};
        image: url({icon_file("check", t)}); }}
    QCheckBox::indicator:disabled {{ background: {t.well}; border-color: {t.line}; image: none; }}
    """


def _menus_and_tools(t: Tokens) -> str:
    """Menus and buttons of tool bars."""
    return f"""
    QMenu {{ background: {t.panel}; border: 1px solid {t.ctl}; padding: 4px; }}
    QMenu::item {{ padding: 6px 28px 6px 12px; border-radius: 3px; }}
    QMenu::item:selected {{ background: {t.soft}; color: {t.text}; }}
    QMenu::item:disabled {{ color: {t.disabled}; }}
    QMenu::separator {{ height: 1px; background: {t.line}; margin: 4px 8px; }}
    QToolButton {{ border: 1px solid transparent; border-radius: 4px; padding: 4px 7px; color: {t.text}; }}
    QToolButton#chevron {{ padding: 2px; }}
    QToolButton#outlined {{ border: 1px solid {t.ctl}; background: {t.raised}; }}
    QToolButton#outlined:checked {{ background: {t.soft}; border-color: {t.accent}; }}
    QToolButton::menu-indicator {{ image: none; }}
    QToolBar::separator {{ background: {t.line}; width: 1px; margin: 6px 8px; }}
    QToolButton:hover {{ background: {t.soft}; }} QToolButton:focus {{ border-color: {t.accent}; }}
    QToolButton[primary="true"] {{ background: {t.accent}; color: {t.on_accent}; font-weight: 600; padding: 5px 12px; }}
    QToolButton[primary="true"]:disabled {{ background: {t.sunken}; color: {t.disabled}; }}
    QToolButton:disabled {{ color: {t.disabled}; }}
    """


def _rows_and_sliders(t: Tokens) -> str:
    """Rows, bands, sliders and small buttons."""
    return f"""
    QFrame#format-row {{ background: {t.panel}; border: 0; border-bottom: 1px solid {t.line}; }}
    QFrame#head-row {{ background: {t.raised}; border: 0; border-top: 1px solid {t.line};
        border-bottom: 1px solid {t.line}; }}
    QFrame#foot-row {{ background: {t.raised}; border: 0; border-top: 1px solid {t.line}; }}
    QFrame#band[kind="ok"] {{ background: {mix(t.panel, t.ok, 0.16)}; border: 0; }}
    QFrame#band[kind="bad"] {{ background: {mix(t.panel, t.bad, 0.16)}; border: 0; }}
    QFrame#band[kind="info"] {{ background: {t.soft}; border: 0; }}
    QSplitter::handle {{ background: {t.window}; }}
    QSlider::groove:horizontal {{ height: 4px; background: {t.sunken}; border-radius: 2px; }}
    QSlider::sub-page:horizontal {{ background: {t.accent}; border-radius: 2px; }}
    QSlider::sub-page:horizontal:disabled {{ background: {t.line}; }}
    QSlider::handle:horizontal {{ width: 10px; height: 16px; margin: -7px 0; border-radius: 3px; background: {t.panel};
        border: 1.5px solid {t.ctl}; }}
    QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus {{ border: 2px solid {t.accent}; }}
    QSlider:horizontal {{ min-height: 20px; }}
    QPushButton#link {{ border: 0; background: transparent; color: {t.accent}; padding: 0; text-align: left;
        min-height: {fonts.px(20)}px; }}
    QPushButton#link:hover, QPushButton#link:focus {{ text-decoration: underline; }}
    QPushButton#small {{ min-height: {fonts.px(16)}px; padding: 0 {fonts.px(8)}px; }}
    """


def _notices_and_progress(t: Tokens) -> str:
    """Notices, progress and scroll bars."""
    return f"""
    QFrame#notice {{ background: {t.panel}; border: 1px solid {t.accent}; border-radius: 4px; }}
    QFrame#notice[level="warning"] {{ border-color: {t.warn}; }}
    QFrame#notice[level="error"] {{ border-color: {t.bad}; }}
    QLabel#notice-sign {{ color: {t.accent}; font-weight: 600; }}
    QLabel#notice-sign[level="warning"] {{ color: {t.warn}; }}
    QLabel#notice-sign[level="error"] {{ color: {t.bad}; }}
    QProgressBar {{ background: {t.sunken}; border: 0; border-radius: 3px; max-height: 8px; min-height: 8px; }}
    QProgressBar::chunk {{ background: {t.updating}; border-radius: 3px; }}
    QScrollBar:vertical {{ background: transparent; width: 12px; margin: 0; }}
    QScrollBar::handle:vertical {{ background: {t.neutral}; border-radius: 4px; min-height: 30px; margin: 2px; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
    """
