"""The attention stage in front of a network: selector, crop, resize, gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from studio.attention._resize import crop_resize, resize_operations
from studio.attention._selector import Selection, Selector, Size
from studio.core import registry
from studio.core.errors import PlanError
from studio.core.settings import Settings, validate


@dataclass(frozen=True)
class Stage:
    """One selector with its settings, on frames of one size, for one input size.

    `crop` is the window in frame pixels. Made by `Stage.of`, which checks everything.
    """

    selector: Selector
    settings: Settings
    frame: Size
    crop: Size
    size: Size  # the network's input: height, width

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Any], *, frame: Size, size: Size, crop: Size | None = None) -> Stage:
        """Stage by its selector's name; raises PlanError for unknown names and settings, or a refusal."""
        selector: Selector = registry.find("attention", name)
        values = validate(selector.settings, dict(settings), name)
        window = crop or size
        if min(window) < 1:
            raise PlanError(f"a crop of {window[0]}x{window[1]} is empty.", where=name, remedy="Choose 1x1 or more.")
        return cls(selector, values, frame, window, size).on(frame)

    def on(self, frame: Size) -> Stage:
        """Return the same stage for frames of another size; raises PlanError where the selector refuses."""
        reason = self.selector.refuses(frame, self.crop, self.settings)
        if reason:
            raise PlanError(reason, where=self.selector.name, remedy="Choose other settings or another crop.")
        return replace(self, frame=frame)

    @cached_property
    def window(self) -> Size:
        """Size of the box that is cut out."""
        return self.selector.window(self.frame, self.crop)

    @property
    def threshold(self) -> int:
        """Smallest score that wakes the network; 0 (always) for baselines."""
        return int(getattr(self.settings, "threshold", 0))

    @property
    def pixels_kept(self) -> float:
        """Share of the frame's pixels inside the box."""
        return self.window[0] * self.window[1] / (self.frame[0] * self.frame[1])

    @property
    def operations(self) -> int:
        """Integer operations for one frame, resize included (`full` hands the frame on as it is)."""
        found = self.selector.operations(self.frame, self.crop, self.settings)
        return found if self.selector.name == "full" else found + resize_operations(self.window, self.size)

    def select(self, frame: np.ndarray) -> Selection:
        """Box, score and heat map of one frame: uint8 (h, w, 3) of the stage's frame size."""
        if frame.shape != (*self.frame, 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected uint8 {(*self.frame, 3)}, got {frame.dtype} {frame.shape}")
        return self.selector.select(frame, self.crop, self.settings)

    def wakes(self, selection: Selection) -> bool:
        """Whether the network is run."""
        return selection.score >= self.threshold

    def cut(self, frame: np.ndarray, selection: Selection) -> np.ndarray:
        """Return what the network gets: uint8 (*size, 3)."""
        return crop_resize(frame, selection.box, self.size)
