"""The main job in a real window, by clicks and keys only: start page to exported files that run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QDialog, QPushButton
from pytestqt.qtbot import QtBot

LEFT = Qt.MouseButton.LeftButton
WAIT_MS = 120_000


def dialog(name: str) -> Any:
    found = [w for w in QApplication.topLevelWidgets() if isinstance(w, QDialog) and w.objectName() == name]
    return next((w for w in found if w.isVisible()), None)


def test_from_start_page_to_files_that_run(
    window: Any, qtbot: QtBot, measured: Callable[[Any], None], tmp_path: Path
) -> None:
    qtbot.mouseClick(window.start.demo_button, LEFT)  # 1: the demo
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    measured(window)
    qtbot.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)  # 2: preset int8
    measured(window)
    assert window.session.undo_label == "preset int8"
    qtbot.keyClick(window.network.graph, Qt.Key.Key_End)  # 3: the last layer
    last = window.session.graph.weighted[-1].name
    assert window.network.inspector.title.text() == last
    slider = window.network.inspector.cards["quantize"].controls["weight_bits"].slider
    for _ in range(2):  # 4: 8 -> 6 bits by keys
        qtbot.keyClick(slider, Qt.Key.Key_Left)
    card = window.network.inspector.cards["prune_weights"]
    qtbot.mouseClick(card.check, LEFT, pos=QPoint(8, card.check.height() // 2))  # 5: prune it
    measured(window)
    previewed = window.session.result
    qtbot.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)  # 6: export
    qtbot.waitUntil(lambda: dialog("export-dialog") is not None)
    export = dialog("export-dialog")
    export.folder.selectAll()
    qtbot.keyClicks(export.folder, str(tmp_path / "out"))  # 7: where
    qtbot.waitUntil(export.run.isEnabled)
    qtbot.waitUntil(lambda: len(export.rows) >= 2, timeout=WAIT_MS)
    with qtbot.waitSignal(export.finished_run, timeout=WAIT_MS) as done:
        qtbot.mouseClick(export.run, LEFT)  # 8: go
    manifest = done.args[0]
    assert [row["passed"] for row in manifest["exports"]] == [True, True]
    assert len(export.results.rows) == 2
    assert "2 of 2" in export.message.text()
    qtbot.mouseClick(export.findChild(object, "export-close"), LEFT)
    qtbot.waitUntil(lambda: dialog("export-dialog") is None)
    check_files(tmp_path / "out", window.session, previewed.value)


def check_files(out: Path, session: Any, value: float) -> None:
    """Load the files in their runtimes, without any code of the studio in between."""
    from ai_edge_litert.interpreter import Interpreter

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["previewed"]["value"] == value
    indices = np.arange(200)
    x, y = session.data.batch(indices), session.data.labels[indices]
    runtime = ort.InferenceSession(str(out / "model.onnx"))
    (logits,) = runtime.run(None, {runtime.get_inputs()[0].name: x})
    onnx_classes = logits.argmax(1)
    lite = Interpreter(str(out / "model.tflite"))
    source, target = lite.get_input_details()[0], lite.get_output_details()[0]
    lite.resize_tensor_input(source["index"], [len(x), *source["shape"][1:]])
    lite.allocate_tensors()
    scale, zero = source["quantization"]
    q = np.clip(np.rint(x.transpose(0, 2, 3, 1) / np.float32(scale)) + zero, -128, 127).astype(np.int8)
    lite.set_tensor(source["index"], q)
    lite.invoke()
    lite_classes = lite.get_tensor(target["index"]).argmax(1)
    assert (onnx_classes == lite_classes).mean() >= 0.995
    assert abs((onnx_classes == y).mean() - value) < 0.06


def test_cancel_leaves_nothing_behind(window: Any, qtbot: QtBot, tmp_path: Path) -> None:
    qtbot.mouseClick(window.start.demo_button, LEFT)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    window.use_preset("int8")
    qtbot.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: dialog("export-dialog") is not None)
    export = dialog("export-dialog")
    export.folder.setText(str(tmp_path / "out"))
    qtbot.waitUntil(lambda: len(export.rows) >= 2, timeout=WAIT_MS)
    with qtbot.waitSignal(export.finished_run, timeout=WAIT_MS) as done:
        qtbot.mouseClick(export.run, LEFT)
        qtbot.mouseClick(export.cancel, LEFT)
    assert done.args[0] is None
    assert "Stopped" in export.message.text()
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    export.close()


def test_escape_closes_the_dialog(window: Any, qtbot: QtBot) -> None:
    qtbot.mouseClick(window.start.demo_button, LEFT)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    window.export()
    with warnings.catch_warnings():  # no window manager gives the dialog the focus
        warnings.simplefilter("ignore", DeprecationWarning)
        QApplication.setActiveWindow(dialog("export-dialog"))
    qtbot.keyClick(dialog("export-dialog"), Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: dialog("export-dialog") is None)


def test_a_folder_with_other_files_is_asked_about(window: Any, qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    qtbot.mouseClick(window.start.demo_button, LEFT)
    qtbot.waitUntil(lambda: window.session is not None, timeout=WAIT_MS)
    window.use_preset("int8")
    window.export()
    export = dialog("export-dialog")
    export.folder.setText(str(tmp_path))
    qtbot.waitUntil(lambda: len(export.rows) >= 2, timeout=WAIT_MS)
    with qtbot.waitSignal(export.finished_run, timeout=WAIT_MS) as done:
        qtbot.mouseClick(export.run, LEFT)
    assert done.args[0] is None
    assert "thesis.txt" in export.message.text()
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with qtbot.waitSignal(export.finished_run, timeout=WAIT_MS) as done:
        qtbot.mouseClick(export.findChild(QPushButton, "export-beside"), LEFT)
    assert [row["passed"] for row in done.args[0]["exports"]] == [True, True]
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    export.close()
