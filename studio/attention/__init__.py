"""Selective attention: a cheap first stage finds the box, the network sees only that.

One file a selector (`edge_density`, and the baselines `centre`, `full`, `scaled`). The stage joins
selector, crop and resize; `observe` and `summarise` measure them on frames with boxes.
"""

from studio.attention._evaluate import Classifier, Observation, attend, observe, summarise
from studio.attention._resize import crop_resize
from studio.attention._selector import Selection, Selector
from studio.attention._stage import Stage

__all__ = [
    "Classifier",
    "Observation",
    "Selection",
    "Selector",
    "Stage",
    "attend",
    "crop_resize",
    "observe",
    "summarise",
]
