"""Cross-layer equalization (Nagel et al. 2019, Data-Free Quantization, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from studio.core.graph import Layer
from studio.core.settings import Settings
from studio.core.technique import Stage
from studio.techniques._rewrite import RewriteContext

if TYPE_CHECKING:
    from studio.network.network import Network


class EqualizeSettings(Settings):
    """Nothing to set: scales are moved until no channel's range can be made more equal."""


class Equalize:
    """Moves scales of channels between a layer and the one behind its ReLU, so that ranges agree.

    `W1[c] / s`, `W2[:, c] * s` with `s = sqrt(max |W1[c]| / max |W2[:, c]|)`: the network computes the same, and one
    scale for a whole layer then fits all its channels.
    """

    name: ClassVar[str] = "equalize"
    title: ClassVar[str] = "Equalize"
    help: ClassVar[str] = "Make the ranges of channels alike across layers before quantizing; changes no output."
    letters: ClassVar[str] = "E"
    stage: ClassVar[Stage] = Stage.EQUALIZE
    settings: ClassVar[type[Settings]] = EqualizeSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse a layer whose channels no single layer reads through a ReLU, with what stands in the way."""
        return layer.unequal if layer.weighted else f"{layer.name} has no weights to equalize."

    def chip(self, settings: Any) -> str:
        """`E`."""
        return self.letters

    def scope(self, settings: Any) -> str:
        """All pairs of the network take turns."""
        return "global"

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """There are no settings."""
        return {}

    def rewrite(self, network: Network, work: Mapping[str, Any], context: RewriteContext) -> Network:
        """Return the network with all pairs equalized whose first layer, or whose layer's factor, is in `work`."""
        from studio.network.partners import Partner, partners
        from studio.network.shapes import tensor_shapes
        from studio.techniques._equalize import equalized

        found = partners(network, tensor_shapes(network))
        wanted = {name: one for name, one in found.items() if name in work or name.rpartition("/")[0] in work}
        return equalized(network, {name: one for name, one in wanted.items() if isinstance(one, Partner)})


TECHNIQUE = Equalize()
