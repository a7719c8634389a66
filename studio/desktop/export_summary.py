"""What a format will store and run, in a few lines: each warning stays with the format it belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from studio.session import Session

Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class LayerLine:
    """One layer in one format."""

    layer: str
    container: str
    bytes: int
    kernel: str
    note: str


@dataclass(frozen=True)
class FormatSummary:
    """One format: lines for the dialog, and all layers below."""

    name: str
    bytes: int  # weights, biases, scales
    lines: tuple[tuple[Level, str], ...]
    layers: tuple[LayerLine, ...]
    refused: bool


def summarize(session: Session, name: str) -> FormatSummary:
    """Summary of one format under the current plan; computes, so it runs beside the main thread."""
    rows = session.stored(name)
    layers = tuple(_line(layer, answer) for layer, answer in rows)
    refusals = [f"{layer}: {answer.reason}" for layer, answer in rows if not hasattr(answer, "container")]
    size = sum(line.bytes for line in layers)
    return FormatSummary(name, size, tuple(_lines(layers, refusals)), layers, bool(refusals))


def _line(layer: str, answer: Any) -> LayerLine:
    if hasattr(answer, "container"):
        return LayerLine(layer, answer.container, answer.bytes, answer.kernel, answer.note)
    return LayerLine(layer, "refused", 0, "", answer.reason)


def _lines(layers: Sequence[LayerLine], refusals: Sequence[str]) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = [("bad", text) for text in refusals]
    integer = [line for line in layers if line.kernel.startswith("integer")]
    floats = [line for line in layers if line.container == "float32"]
    if len(integer) == len(layers) and layers:
        found.append(("ok", "integer kernels in every layer"))
    if floats:
        names = ", ".join(line.layer for line in floats[:3]) + (" ..." if len(floats) > 3 else "")
        found.append(("warn", f"{len(floats)} of {len(layers)} layers run in float there: {names}"))
    for note, count in Counter(_general(line.note) for line in layers if line.note).items():
        found.append(("warn", f"{note} ({count} layer{'s' if count > 1 else ''})"))
    return found


def _general(note: str) -> str:
    """Return a note without its numbers, so that layers with the same one are counted together."""
    return note.split(",")[0].split(";")[0]
