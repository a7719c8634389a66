"""Every command of the window with its icon, key and tooltip: tool bar, menu and help are made from here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QHeaderView,
    QLabel,
    QMenu,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.desktop import fonts, icons, presets, theme

if TYPE_CHECKING:
    from studio.desktop.window import MainWindow

OTHER_KEYS = (
    ("Up, Down", "previous, next layer"), ("Shift+click, Ctrl+click", "select several layers"),
    ("Ctrl+A", "select all layers"), ("Space, double click", "open or collapse a block"),
    ("Ctrl+F", "find a layer"), ("M", "show or hide the minimap"), ("Ctrl+wheel, Ctrl++, Ctrl+-", "zoom"),
    ("Ctrl+0", "show the whole network"), ("Ctrl+L", "leave the layer in float"),
    ("Ctrl+B", "measure each layer's share"), ("Ctrl+P", "pause measuring"), ("Ctrl+.", "cancel what runs"),
)  # fmt: skip


MENU = (
    ("open", "data", "demo", "home"), ("plan_open", "plan_save", "netron", "export"), ("undo", "redo"),
    ("tab1", "tab2", "tab3", "theme", "size", "help"), ("quit",),
)  # fmt: skip


class Actions:
    """Actions of a window by name."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._icons: dict[str, str] = {}
        self.by_name: dict[str, QAction] = {}
        self._in_menu: dict[str, QAction] = {}
        bar = QToolBar("Tools")
        bar.setObjectName("tools")
        bar.setMovable(False)
        bar.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        window.addToolBar(bar)
        self.bar = bar
        w = window
        self._add_menu()
        self._add("open", "Open", "Ctrl+O", "Open a network and its data", lambda: w.ask_open())
        self._add("data", "Data", "Ctrl+Shift+D", "Choose other data or preprocessing for this network", w.ask_data)
        self._add("demo", "", "Ctrl+D", "Open the bundled demo", w.open_demo, shown=False)
        self._add("home", "", "Ctrl+Home", "Back to the start page", w.go_home, shown=False)
        bar.addSeparator()
        self._add("undo", "", "Ctrl+Z", "Undo", w.undo)
        self._add("redo", "", "Ctrl+Shift+Z", "Redo", w.redo)
        bar.addSeparator()
        self.preset = QComboBox()
        self.preset.setObjectName("preset")
        self.preset.setAccessibleName("Preset")
        self.preset.setToolTip("Give all layers a shipped plan (Ctrl+1 for the first)")
        self.preset.addItem("Preset: choose ...", None)
        for preset in presets.names():
            self.preset.addItem(preset, preset)
            tip = presets.describe(presets.load(preset))
            self.preset.setItemData(self.preset.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.preset.activated.connect(self._preset)
        bar.addWidget(self.preset)
        self._add("preset1", "First preset", "Ctrl+1", "Apply the first preset", lambda: self._preset(1), icon="plan",
                  shown=False)  # fmt: skip
        self._add("plan_open", "", "Ctrl+Shift+O", "Apply a plan file", w.load_plan, icon="plan", shown=False)
        self._add("plan_save", "", "Ctrl+S", "Write the plan to a file", w.save_plan, icon="save", shown=False)
        self._add("netron", "", "Ctrl+N", "Show the network file in Netron", w.show_netron, icon="network", shown=False)
        spacer = QWidget()
        spacer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        bar.addWidget(spacer)
        self._add("size", "", "Ctrl+Shift+P", "Type for a projector", w.set_presenter, checkable=True)
        self._add("theme", "", "Ctrl+T", "Light or dark", lambda: w.set_dark(not theme.is_dark()))
        self._add("help", "", "F1", "Keys and help", self.show_help)
        self._add("export", "Export...", "Ctrl+E", "Write files for devices and check them", w.export)
        self._add("tab1", "Network tab", "Alt+1", "Show the network", lambda: w.tabs.setCurrentIndex(0), icon="network",
                  shown=False)  # fmt: skip
        self._add("tab2", "Attention tab", "Alt+2", "Show the attention stage", lambda: w.tabs.setCurrentIndex(1),
                  icon="attention", shown=False)  # fmt: skip
        self._add("tab3", "Train tab", "Alt+3", "Show training", lambda: w.tabs.setCurrentIndex(2), icon="play",
                  shown=False)  # fmt: skip
        self._add("quit", "", "Ctrl+Q", "Close the studio", w.close, icon="cancel", shown=False)
        self._fill_menu()
        self.refresh()
        self.retint()
        self.rescale()

    def _add_menu(self) -> None:
        self.menu = QMenu(self._window)
        self.menu.setObjectName("menu")
        self.menu_button = QToolButton()
        self.menu_button.setObjectName("tool-menu")
        self.menu_button.setMenu(self.menu)
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setToolTip("All commands (F10)")
        self.menu_button.setAccessibleName("All commands")
        self.menu_button.setShortcut("F10")
        self.bar.addWidget(self.menu_button)

    def _fill_menu(self) -> None:
        for group in MENU:
            for name in group:
                action = QAction(self.by_name[name].toolTip().rsplit(" (", 1)[0], self._window)
                action.setShortcut(self.by_name[name].shortcut())
                # Only shown here: two actions with one key would answer to neither.
                action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
                action.triggered.connect(self.by_name[name].trigger)
                self.by_name[name].enabledChanged.connect(action.setEnabled)
                action.setEnabled(self.by_name[name].isEnabled())
                self._in_menu[name] = action
                self.menu.addAction(action)
            self.menu.addSeparator()

    def _add(
        self, name: str, text: str, keys: str, tip: str, act: Callable[..., object], *,
        icon: str | None = None, shown: bool = True, checkable: bool = False,
    ) -> None:  # fmt: skip
        action = QAction(text or tip, self._window)
        action.setShortcut(QKeySequence(keys))
        action.setToolTip(f"{tip} ({action.shortcut().toString()})")
        action.setCheckable(checkable)
        self._icons[name] = icon or name
        action.setIcon(icons.icon(self._icons[name]))
        action.triggered.connect(act if checkable else lambda _=False: act())
        self._window.addAction(action)
        self.by_name[name] = action
        if shown:
            self.bar.addAction(action)
            button = self.bar.widgetForAction(action)
            button.setObjectName(f"tool-{name}")
            button.setAccessibleName(tip)
            if name == "export":
                button.setProperty("primary", True)
            if not text:
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)  # type: ignore[attr-defined]

    def refresh(self) -> None:
        """Enable what can be done now and say what undo would take back."""
        session = self._window.session
        undo = session.undo_label if session else None
        redo = session.redo_label if session else None
        for name, label in (("undo", undo), ("redo", redo)):
            action = self.by_name[name]
            action.setEnabled(label is not None)
            keys = action.shortcut().toString()
            action.setToolTip(f"{name.capitalize()}{': ' + label if label else ''} ({keys})")
        for name in ("data", "plan_open", "plan_save", "netron", "export", "home", "preset1", "tab1", "tab2", "tab3"):
            self.by_name[name].setEnabled(session is not None)
        self.preset.setEnabled(session is not None)

    def retint(self) -> None:
        """Draw all icons in the colours of the theme."""
        for name, action in self.by_name.items():
            color = theme.tokens().on_accent if name == "export" else None
            action.setIcon(icons.icon(self._icons[name], color))
            if name in self._in_menu:
                self._in_menu[name].setIcon(icons.icon(self._icons[name]))
        self.menu_button.setIcon(icons.icon("menu"))

    def rescale(self) -> None:
        """Take room for the current size of type."""
        self.bar.setIconSize(QSize(fonts.px(18), fonts.px(18)))
        self.preset.setMinimumWidth(fonts.px(190))

    def _preset(self, index: int) -> None:
        name = self.preset.itemData(index)
        self.preset.setCurrentIndex(0)
        if name:
            self._window.use_preset(name)

    def show_help(self) -> None:
        """Show all keys."""
        dialog = QDialog(self._window)
        dialog.setObjectName("help")
        dialog.setWindowTitle("Keys")
        dialog.resize(560, 640)
        rows = [(a.shortcut().toString(), a.toolTip().rsplit(" (", 1)[0]) for a in self.by_name.values()]
        rows += list(OTHER_KEYS)
        table = QTableWidget(len(rows), 2)
        table.setHorizontalHeaderLabels(["Key", "What it does"])
        table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        table.setColumnWidth(0, 220)
        table.verticalHeader().hide()
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        for i, (keys, text) in enumerate(rows):
            table.setItem(i, 0, QTableWidgetItem(keys))
            table.setItem(i, 1, QTableWidgetItem(text))
        hint = QLabel("Solid numbers were measured or counted; hatched ones are estimates.")
        hint.setObjectName("secondary")
        layout = QVBoxLayout(dialog)
        layout.addWidget(table)
        layout.addWidget(hint)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
