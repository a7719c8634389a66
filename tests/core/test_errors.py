"""The sentence of an error: place, what is wrong, remedy, on one line of a length that is read."""

from __future__ import annotations

from studio.core.errors import LONGEST, StudioError


def test_place_sentence_and_remedy() -> None:
    error = StudioError("is empty.", where="a.onnx", remedy="Copy it again.")
    assert str(error) == "a.onnx: is empty. Copy it again."
    assert str(StudioError("is empty.")) == "is empty."


def test_a_damaged_file_cannot_flood_the_screen() -> None:
    text = str(StudioError(f"its parts {[0] * 5000} do not fit.", where="a.onnx", remedy="Export it again."))
    assert len(text) < LONGEST + 50
    assert text.startswith("a.onnx: its parts [0, 0")
    assert text.endswith("... Export it again.")


def test_a_message_is_one_line() -> None:
    assert str(StudioError("torch says:\nno.")) == "torch says: no."
