"""Opening a model beside the main thread, and the dialog that asks for its data."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from studio.core.errors import FileError, PlanError
from studio.core.plan import Plan
from studio.session.autosave import Opened
from studio.session.events import Notice

if TYPE_CHECKING:
    from studio.session import Session


class Opener(QObject):
    """Opens one session in a thread of its own. `opened(session)`, `failed(error)`, `progress(title, done, total)`."""

    opened = Signal(object)
    failed = Signal(object)
    progress = Signal(str, int, int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stopped = False
        self._trusted: set[str] = set()
        self._thread: Thread | None = None

    @property
    def busy(self) -> bool:
        """True while something is being opened."""
        return self._thread is not None and self._thread.is_alive()

    def start(
        self, what: Opened | None, plan: Plan | Path | str | None = None, *, as_left: bool = False, trust: bool = False
    ) -> None:
        """Open a model, or the demo (None); `as_left`: without the plan where that no longer fits.

        `trust`: run the code that `what` names, and whenever it is named again.
        """
        self._stopped = False
        if trust and what is not None:
            self._trusted.update(what.code)
        self._thread = Thread(target=self._work, args=(what, plan, as_left), name="opener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up opening; the open session stays."""
        self._stopped = True

    def wait(self) -> None:
        """Block until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def _work(self, what: Opened | None, plan: Plan | Path | str | None, as_left: bool) -> None:
        try:
            # torch comes with the first of these imports, a second and more after the window is there.
            session = self._open(what, plan, as_left)
        except Exception as error:
            self.failed.emit(error)
            return
        self.opened.emit(session)

    def _open(self, what: Opened | None, plan: Plan | Path | str | None, as_left: bool) -> Session:
        from studio.session import demo, open_session

        report = self.progress.emit
        if what is None:
            return demo.open_demo(plan if isinstance(plan, Plan) else None, report)
        trust = self._trusted.issuperset(what.code)
        opened = partial(open_session, **asdict(what), trust=trust, progress=report, stop=lambda: self._stopped)
        try:
            return opened(plan=plan)
        except (PlanError, FileError) as error:
            if not as_left or plan is None:
                raise
            session = opened()
            session.opening_notices.append(Notice("warning", f"The plan of last time is left out: {error}"))
            return session


class OpenDialog(QDialog):
    """Model, evaluation data, calibration and training data, preprocessing, label field."""

    def __init__(self, opened: Opened | None = None, parent: QWidget | None = None, *, data_only: bool = False) -> None:
        """`data_only`: the network stays, its data and preprocessing are chosen."""
        super().__init__(parent)
        self.setWindowTitle("Data and preprocessing" if data_only else "Open a network")
        self.setObjectName("open-dialog")
        self.setMinimumWidth(640)
        self._before = opened or Opened("")
        form = QFormLayout()
        form.setLabelAlignment(Qt.AlignmentFlag.AlignRight)
        self.fields: dict[str, QLineEdit] = {}
        for name, title, hint in (
            ("model", "&Network", "model.onnx"),
            ("data", "&Evaluation data", "test.npz, or a folder of pictures"),
            ("calibration", "&Calibration data", "optional: else training, else evaluation data"),
            ("train", "&Training data", "optional"),
            ("label", "&Label field", "of annotations.json; optional"),
            ("preprocess", "&Preprocessing", "preprocess.json or its text; optional"),
            ("samples", "&Samples", "all"),
            ("expected", "E&xpected accuracy", "of the float model in per cent; optional"),
        ):
            self._row(form, name, title, hint, getattr(self._before, name))
        if data_only:
            self.fields["model"].setReadOnly(True)
            self.fields["data"].setFocus()
        self.message = QLabel()
        self.message.setObjectName("bad")
        self.message.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        for button in buttons.buttons():
            button.setIcon(QIcon())
        buttons.button(QDialogButtonBox.StandardButton.Open).setObjectName("primary")
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.message)
        layout.addWidget(buttons)
        self.result_opened: Opened | None = None

    def _row(self, form: QFormLayout, name: str, title: str, hint: str, value: Any) -> None:
        field = QLineEdit()
        field.setObjectName(f"open-{name}")
        field.setPlaceholderText(hint)
        if value is not None:
            field.setText(json.dumps(value) if isinstance(value, dict) else str(value))
            field.setCursorPosition(0)
        self.fields[name] = field
        row = QHBoxLayout()
        row.addWidget(field, 1)
        if name in ("model", "data", "calibration", "train", "preprocess"):
            file = QPushButton("File...")
            file.setAccessibleName(f"Choose a file: {name}")
            file.clicked.connect(lambda: self._browse(field, False))
            row.addWidget(file)
        if name in ("data", "calibration", "train"):
            folder = QPushButton("Folder...")
            folder.setAccessibleName(f"Choose a folder: {name}")
            folder.clicked.connect(lambda: self._browse(field, True))
            row.addWidget(folder)
        label = QLabel(title)
        label.setBuddy(field)
        form.addRow(label, row)

    def _browse(self, field: QLineEdit, folder: bool) -> None:
        start = str(Path(field.text()).parent) if field.text() else ""
        if folder:
            found = QFileDialog.getExistingDirectory(self, "Choose a folder", start)
        else:
            found, _ = QFileDialog.getOpenFileName(self, "Choose a file", start)
        if found:
            field.setText(found)

    def _accept(self) -> None:
        try:
            self.result_opened = self.value()
        except ValueError as error:
            self.message.setText(str(error))
            return
        self.accept()

    def value(self) -> Opened:
        """What the fields say; raises ValueError with a sentence."""
        texts = {name: field.text().strip() for name, field in self.fields.items()}
        if not texts["model"]:
            raise ValueError("Name a network file.")
        if texts["samples"] and not texts["samples"].isdigit():
            raise ValueError(f"Samples: '{texts['samples']}' is no whole number.")
        expected = _percent(texts["expected"])
        preprocess: Any = texts["preprocess"] or None
        if preprocess and preprocess.startswith("{"):
            try:
                preprocess = json.loads(preprocess)
            except ValueError as error:
                raise ValueError(f"Preprocessing is no JSON: {error}.") from None
        optional = {n: texts[n] or None for n in ("data", "calibration", "train", "label")}
        samples = int(texts["samples"]) if texts["samples"] else None
        same = texts["model"] == self._before.model
        network = replace(self._before, prepared=None) if same else Opened(texts["model"])
        return replace(network, **optional, preprocess=preprocess, samples=samples, expected=expected)  # type: ignore[arg-type]


def _percent(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.rstrip("% "))
    except ValueError:
        raise ValueError(f"Expected accuracy: '{text}' is no number.") from None
    return value if value <= 1 else value / 100
