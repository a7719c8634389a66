"""Whole channels removed from all layers that share them (Li et al. 2017; He et al. 2017; Luo et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from studio.core import registry
from studio.core.errors import DataError
from studio.core.graph import Layer
from studio.core.settings import Settings, setting
from studio.core.technique import Stage

if TYPE_CHECKING:
    import numpy as np

    from studio.network.network import Network
    from studio.techniques._rewrite import RewriteContext

RECONSTRUCTION = "reconstruction"
"""Not a score of the layer itself: what the layers that read a channel miss without it."""
GIVE_DATA = "Give data with --data, --calibration or --train-data (in the app: Data)."
CRITERIA = (
    RECONSTRUCTION,
    *(n for n in registry.names("criteria") if "measurement" not in registry.find("criteria", n).needs),
)


def unscored(criterion: str) -> DataError:
    """Error where there are no samples to score channels with."""
    what = f"the criterion {criterion} needs some samples."
    return DataError(
        what, remedy=f"{GIVE_DATA} Or choose another criterion (l1) and switch 'Fit again' (reestimate) off."
    )


def unfitted() -> DataError:
    """Error where there are no samples to fit the weights behind a cut on."""
    what = "fitting the weights behind a cut needs some samples."
    return DataError(what, remedy=f"{GIVE_DATA} Or switch 'Fit again' (reestimate) off.")


class PruneChannelsSettings(Settings):
    """What a person can set."""

    amount: float = setting(
        0.3, "Share that is removed: of the multiplications, or with scope layer of each group's channels.",
        title="Amount", low=0, high=0.95, step=0.01, strength="up",
    )  # fmt: skip
    scope: Literal["global", "layer"] = setting(
        "global", "Over all groups with this step where a saving costs least, or the same share of each.", title="Scope"
    )
    criterion: str = setting(
        RECONSTRUCTION,
        "What decides which channels go first; reconstruction: those that the next layers make up for best.",
        choices=CRITERIA,
    )
    minimum: int = setting(1, "Channels that stay in any case.", title="At least", low=1, high=1024, step=1)
    multiple: Literal[1, 4, 8] = setting(
        1, "Channels that stay are a multiple of this, as many kernels want them.", title="Multiple of"
    )
    reestimate: bool = setting(
        True, "Fit the weights behind the cut to what they gave before, on calibration samples without labels.",
        title="Fit again",
    )  # fmt: skip


class PruneChannels:
    """Scope layer removes exactly `floor(amount * n)` of n channels of each part, fewer for minimum and multiple.

    Scope global removes channels of all groups with the same settings until that share is gone of the
    multiplications that would go with all of their channels.
    """

    name: ClassVar[str] = "prune_channels"
    title: ClassVar[str] = "Fewer channels"
    help: ClassVar[str] = "Remove the least important channels from all layers that share them."
    letters: ClassVar[str] = "C"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    settings: ClassVar[type[Settings]] = PruneChannelsSettings

    def refuses(self, layer: Layer, settings: Any) -> str | None:
        """Refuse where no channel can go, where none may go by minimum and multiple, and where there is no score."""
        if layer.group is None or not layer.weighted:
            return f"{layer.name} has no channels of its own to remove."
        if layer.uncut is not None:
            return layer.uncut
        least = max(settings.minimum, settings.multiple)
        if layer.group_channels <= least:
            what = f"{layer.group_channels} channels" if layer.group_channels != 1 else "one channel"
            return f"The group of {layer.name} has {what} that can go, and {least} must stay."
        if settings.criterion == RECONSTRUCTION:
            return None
        return registry.find("criteria", settings.criterion).refuses(layer)  # type: ignore[no-any-return]

    def chip(self, settings: Any) -> str:
        """`C30 %`."""
        return f"C{100 * settings.amount:.0f} %"

    def scope(self, settings: Any) -> str:
        """Return the setting itself."""
        scope: str = settings.scope
        return scope

    def inactive(self, settings: Any) -> Mapping[str, str]:
        """All settings matter."""
        return {}

    def missing(self, settings: Any) -> DataError | None:
        """What these settings cannot do without samples; None where they need none."""
        if settings.criterion == RECONSTRUCTION or registry.find("criteria", settings.criterion).needs:
            return unscored(settings.criterion)
        return unfitted() if settings.reestimate else None

    def rewrite(self, network: Network, work: Mapping[str, Any], context: RewriteContext) -> Network:
        """Return the network without the channels that go; `work`: settings by channel group.

        Raises DataError where a setting needs samples and there are none, Refused where a criterion
        has no score.
        """
        from studio.techniques._channel_cut import rewritten

        return rewritten(network, work, context)

    def sketch(
        self, network: Network, work: Mapping[str, Any], context: RewriteContext
    ) -> tuple[Network, Mapping[str, np.ndarray]] | None:
        """Return a quick form of what `rewrite` and `kept` would give; None where they run no sample themselves."""
        from studio.techniques._channel_sketch import sketched

        if all(self.missing(settings) is None for settings in work.values()):
            return None
        return sketched(network, work, context)

    def kept(self, network: Network, work: Mapping[str, Any], context: RewriteContext) -> Mapping[str, np.ndarray]:
        """Return what `rewrite` would leave, bool (channels,) by channel group; arguments and errors are its."""
        from studio.techniques._channel_cut import kept_channels

        return kept_channels(network, work, context)


TECHNIQUE = PruneChannels()
