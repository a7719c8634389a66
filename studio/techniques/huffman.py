"""Frequent weights in fewer bits: canonical Huffman codes (Deep Compression, Han et al. 2016, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from studio.core.encoding import Coded, Encoding
from studio.core.graph import Layer
from studio.core.settings import Settings
from studio.core.technique import EncodeContext, Stage


class HuffmanSettings(Settings):
    """Nothing to set: codes, tables and the split of the distances are those of the fewest real bytes."""


class Huffman:
    """Codes shared values or integers by how often they occur, and the distances between kept weights."""

    name: ClassVar[str] = "huffman"
    title: ClassVar[str] = "Huffman coding"
    help: ClassVar[str] = "Store frequent values in fewer bits, without any loss; where that saves nothing, as before."
    letters: ClassVar[str] = "H"
    stage: ClassVar[Stage] = Stage.CODE
    settings: ClassVar[type[Settings]] = HuffmanSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse a layer without weights."""
        return None if layer.weighted else f"{layer.name} has no weights to code."

    def chip(self, settings: Any) -> str:
        """`H`."""
        return "H"

    def scope(self, settings: Any) -> str:
        """Every layer has its own codes."""
        return "layer"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """There are no settings."""
        return {}

    def encode(self, encoding: Encoding, settings: Any, context: EncodeContext) -> Encoding:
        """Return Coded over the encoding as it came."""
        return Coded(encoding)


TECHNIQUE = Huffman()
