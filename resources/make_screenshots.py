"""Make the pictures of README and of every view, in both themes, from the real app on the bundled demo.

Run: `python resources/make_screenshots.py` for the pictures that README shows;
`--out FOLDER` for all views. Without a display it draws offscreen.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QDialog, QSplitter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

README = (
    "main-light",
    "main-dark",
    "attention-light",
    "export-light",
    "changes-light",
    "heat-map-dark",
    "view-ranks-light",
)
"""Pictures that are kept in the repository."""
SIZE = (1440, 900)
SMALL = (1280, 720)
PROJECTOR = (1920, 1080)
WAIT_S = 180.0
COLORS = 256
"""Colours of a written picture: the views are flat, and a palette takes a third of the bytes."""


class Studio:
    """The window under a script: waits for what a person would wait for, and takes pictures."""

    def __init__(self, out: Path, only: tuple[str, ...]) -> None:
        """Pictures go to `out`; `only` names the ones to write, none of them = all."""
        from studio.desktop.app import make_application
        from studio.desktop.notices import Notices
        from studio.desktop.window import MainWindow

        self.out, self.only = out, only
        self.app = make_application()
        self.window: Any = MainWindow(Notices())
        self.window.resize(*SIZE)
        self.window.show()

    def wait(self, until: Callable[[], object], what: str) -> None:
        """Let the app run until something holds; raises TimeoutError."""
        began = time.monotonic()
        while not until():
            if time.monotonic() - began > WAIT_S:
                raise TimeoutError(what)
            self.rest(0.02)

    def rest(self, seconds: float = 0.4) -> None:
        """Let the app run for some time."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            self.app.processEvents()
            self.app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
            time.sleep(0.005)

    def measured(self) -> None:
        """Wait until the plan was measured on all samples and nothing runs any more."""

        def done() -> bool:
            session = self.window.session
            known = session.measured.get(session.plan.key) if session else None
            return known is not None and known.result.complete

        self.wait(done, "a measured plan")
        self.wait(lambda: self.window.session.lane.wait(0), "rest")
        self.rest()

    def themes(self, name: str, widget: Any = None) -> None:
        """Take a picture in both themes."""
        for dark in (False, True):
            self.window.set_dark(dark)
            self.rest()
            self.shoot(f"{name}-{'dark' if dark else 'light'}", widget)
        self.window.set_dark(False)
        self.rest(0.1)

    def shoot(self, name: str, widget: Any = None) -> None:
        """Take one picture; a dialog is drawn over the dimmed window, as it stands on a screen."""
        if self.only and name not in self.only:
            return
        from PySide6.QtGui import QColor, QPainter

        picture = self.window.grab()
        if widget is not None:
            p = QPainter(picture)
            p.fillRect(picture.rect(), QColor(0, 0, 0, 90))
            p.drawPixmap((self.window.width() - widget.width()) // 2, 95, widget.grab())
            p.end()
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / f"{name}.png"
        picture.save(str(path))
        _shrink(path)
        print(f"{path}  {path.stat().st_size / 1024:.0f} KiB", file=sys.stderr)


def _shrink(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def start_pages(studio: Studio) -> None:
    """Start page without and with a recent project."""
    studio.rest(1.5)
    studio.themes("start")


def network(studio: Studio) -> None:
    """A plan in work: int8, some layers changed, one of them selected, each layer's share measured."""
    from studio.core.plan import Step

    window = studio.window
    window.open_demo()
    studio.wait(lambda: window.session is not None, "the demo")
    studio.measured()
    window.use_preset("int8")
    studio.measured()
    window.session.measure_blame()
    studio.wait(lambda: window.session.blame is not None and len(window.session.blame.rows) > 1, "blame")
    studio.measured()
    names = [layer.name for layer in window.session.graph.weighted]
    for i, bits in ((2, 6), (3, 4), (4, 4), (4, 3)):
        window.session.set_step(names[i], Step("quantize", weight_bits=bits))
        studio.measured()
    window.session.set_step(names[5], Step("prune_weights", amount=0.5))
    studio.measured()
    for name, value in (("accuracy", 93), ("flash", 64), ("ram", 24)):
        window.budget.set_limit(name, value)
    window.network.graph.select([names[4]], names[4])
    studio.measured()
    studio.themes("main")
    window.resize(*SMALL)
    studio.themes("main-1280")
    window.resize(*SIZE)


def lists(studio: Studio) -> None:
    """Layer table and blame with more room."""
    network_tab = studio.window.network
    left = network_tab.findChild(QSplitter, "left-splitter")
    sizes = left.sizes()
    left.setSizes([250, 500])
    studio.themes("table")
    network_tab.lists.setCurrentIndex(1)
    studio.themes("blame")
    network_tab.lists.setCurrentIndex(2)
    studio.themes("heat-map")
    network_tab.lists.setCurrentIndex(3)
    studio.wait(lambda: network_tab.changes.changes is not None, "changed samples")
    studio.rest(1.0)
    studio.themes("changes")
    network_tab.lists.setCurrentIndex(0)
    left.setSizes(sizes)


def layer_views(studio: Studio) -> None:
    """Each view of a layer: channels cut together, centroids, filters, ranks to drag, a code, a kernel."""
    from studio.core.plan import Plan, Step

    window, before = studio.window, studio.window.session.plan
    cut = Step("prune_channels", amount=0.3, scope="layer")
    small = (Step("prune_weights", amount=0.5), Step("share_weights", bits=4), Step("huffman"))
    layers = {"layer3.0.conv1": small, "layer3.0.conv2": (Step("low_rank", keep=0.4),)}
    plan = Plan(defaults=(Step("quantize"),), groups={"layer2.0.conv2": (cut,)}, layers=layers)
    window.session.set_plan(plan, "views of a layer")
    studio.measured()
    tabs = window.network.inspector.views.tabs
    for name, layer, tab in (
        ("cut", "layer2.0.conv2", 0), ("centroids", "layer3.0.conv1", 0), ("filters", "layer3.0.conv1", 1),
        ("ranks", "layer3.0.conv2", 2), ("code", "layer3.0.conv1", 3), ("kernel", "layer3.0.conv2", 4),
    ):  # fmt: skip
        window.network.graph.select([layer], layer)
        tabs.setCurrentIndex(tab)
        studio.rest(1.5)
        studio.themes(f"view-{name}")
    tabs.setCurrentIndex(0)
    window.session.set_plan(before, "back")
    studio.measured()


def attention(studio: Studio) -> None:
    """The attention tab, measured."""
    window = studio.window
    window.tabs.setCurrentIndex(1)
    studio.wait(lambda: window.attention.table.rowCount() > 1, "the selectors' table")
    studio.rest(1.0)
    studio.themes("attention")
    window.tabs.setCurrentIndex(0)


def export(studio: Studio) -> None:
    """The export dialog before and after a run; a modal dialog keeps the theme it was opened in."""
    window = studio.window
    for dark in (False, True):
        window.set_dark(dark)
        window.export()
        dialog = window.findChild(QDialog, "export-dialog")
        dialog.folder.setText("~/exports/parts")
        studio.wait(lambda dialog=dialog: len(dialog.rows) >= 2, "facts of the formats")
        studio.rest()
        name = "dark" if dark else "light"
        studio.shoot(f"export-before-{name}", dialog)
        with tempfile.TemporaryDirectory() as folder:
            dialog.folder.setText(str(Path(folder) / "parts"))
            dialog.run.click()
            studio.wait(lambda dialog=dialog: dialog.manifest is not None, "the export")
        dialog.folder.setText("~/exports/parts")
        studio.rest()
        studio.shoot(f"export-{name}", dialog)
        dialog.close()
        studio.rest()
    window.set_dark(False)


def train(studio: Studio) -> None:
    """What would be trained, a recipe, a short job and what it did, and a student with and without teacher."""
    from studio.core import paths
    from studio.core.plan import JobSpec, Plan, Step
    from studio.session.autosave import Opened

    window, folder = studio.window, paths.resource("demo")
    before, few = window.session, str(folder / "crops_calibration.npz")
    opened = Opened(str(folder / "parts.onnx"), str(folder / "crops_test.npz"), calibration=few, train=few)
    jobs = (JobSpec("retrain", {"epochs": 4}), JobSpec("quantization_aware", {"epochs": 4}))
    steps = (Step("prune_weights", amount=0.5), Step("quantize", weight_bits=3))
    window.open_model(opened, Plan(defaults=steps, jobs=jobs))
    studio.wait(lambda: window.session is not before, "the demo with training data")
    studio.measured()
    window.tabs.setCurrentIndex(2)
    for row, name in ((0, "train-before"), (2, "train-recipe")):
        window.train.setup.recipe.list.setCurrentRow(row)
        studio.wait(lambda: "about" in window.train.setup.time.text(), "the time that it takes")
        studio.themes(name)
    _run_job(studio)
    studio.themes("train")
    window.resize(*SMALL)
    studio.themes("train-1280")
    window.resize(*SIZE)
    window.train.run.apply.click()
    studio.wait(lambda: window.session.plan.state is not None, "the result in use")
    studio.measured()
    window.tabs.setCurrentIndex(0)
    studio.themes("train-arrow")
    window.undo()
    window.tabs.setCurrentIndex(2)
    _distill(studio)
    window.tabs.setCurrentIndex(0)


def _run_job(studio: Studio) -> None:
    """Start what is chosen and wait for its end."""
    tab = studio.window.train
    studio.wait(tab.setup.start.isEnabled, "a job that can start")
    tab.setup.start.click()
    studio.wait(tab.run.apply.isVisible, "the end of the job")
    studio.rest()


def _distill(studio: Studio) -> None:
    """A student with and without teacher, and a teacher that does not fit."""
    from studio.core.plan import JobSpec

    tab = studio.window.train
    setup = tab.setup
    setup.recipe.list.setCurrentRow(0)
    setup.recipe.set_alone(JobSpec("distill", {"epochs": 8}))
    setup.recipe.list.setCurrentRow(1)
    setup.recipe.list.setCurrentRow(0)
    _run_job(studio)
    studio.wait(tab.run.verdict.text, "whether the teacher helped")
    studio.themes("train-distill")
    setup.set_value("teacher", "/models/teacher.onnx")
    studio.wait(lambda: "teacher.onnx" in setup.facts.text(), "a refusal")
    studio.themes("train-refused")
    tab.process.discard()


def notice(studio: Studio) -> None:
    """A broken file: a notice, and the open model stays."""
    from studio.session.autosave import Opened

    window = studio.window
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken.onnx"
        broken.write_text("not a network")
        window.open_model(Opened(str(broken)))
        studio.wait(window.notice_bar.texts, "a notice")
    studio.rest()
    studio.themes("notice")
    window.notice_bar.clear()


def presenter(studio: Studio) -> None:
    """Type for a projector."""
    window = studio.window
    window.resize(*PROJECTOR)
    window.set_presenter(True)
    studio.rest()
    studio.themes("presenter")
    window.set_presenter(False)
    window.resize(*SIZE)


def recent(studio: Studio) -> None:
    """The start page when something was open before."""
    studio.window.go_home()
    studio.rest()
    studio.themes("start-recent")


VIEWS = (start_pages, network, lists, layer_views, attention, export, train, notice, presenter, recent)


def main() -> int:
    """Walk through the app and take pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for all views; else README's pictures are renewed")
    parser.add_argument("--only", nargs="*", default=[], help="names of the pictures to write")
    args = parser.parse_args()
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as home:
        os.environ["STUDIO_HOME"] = home
        only = tuple(args.only) or (() if args.out else README)
        studio = Studio(args.out or Path(__file__).parent / "screenshots", only)
        for view in VIEWS:
            view(studio)
        studio.window.close()
        studio.rest(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
