"""Selective attention measured on frames, with a network where one is given (INTERFACE: `attend`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio import attention, formats
from studio.attention import Classifier
from studio.core.errors import DataError
from studio.core.graph import Graph
from studio.data import Preprocess, prepare
from studio.data.frames import Frames, open_frames
from studio.data.preprocess import load
from studio.data.sampling import balanced_order
from studio.network.cost import describe
from studio.network.fold import fold
from studio.network.network import Network, Node
from studio.network.operators import Input

Progress = Callable[[str, int, int], None]
Size = tuple[int, int]


def attend(
    frames: Path | str,
    selector: str,
    settings: Mapping[str, Any] | None = None,
    *,
    class_name: str | None = None,
    crop: Size | None = None,
    hit: float = 0.9,
    model: Path | str | None = None,
    preprocess: Mapping[str, Any] | Path | str | None = None,
    classes: Sequence[str] | None = None,
    label: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Measure a selector beside its baselines; the result is the JSON of `edge-studio attend`.

    `classes` are the network's class names in the order of its outputs (default: those that its ONNX file
    carries as metadata `classes`, as it may carry `preprocess`); `label`: see `open_frames`.
    Raises StudioError for what does not fit.
    """
    if not 0 < hit <= 1:
        remedy = "Choose a share of the box's area, as in --hit 0.9."
        raise DataError(f"a hit cannot be {hit:g} of the box.", where="attend", remedy=remedy)
    source = open_frames(frames, label)
    network = None if model is None else _classifier_of_file(Path(model), preprocess, classes, source.size(0))
    return attention.attend(
        source if samples is None else _Some(source, samples, seed),
        selector,
        settings,
        crop=crop,
        hit=hit,
        class_name=class_name,
        classifier=network,
        progress=progress,
        cancelled=cancelled,
    )


def classifier(
    network: Network, preprocess: Preprocess, classes: Sequence[str] = (), frame: Size | None = None
) -> Classifier:
    """Return a folded network as the measurement needs it; `frame` is tried for the baseline `full`.

    Raises DataError for a network that takes no pictures.
    """
    shape = network.input_shape
    size = input_size(shape, preprocess)

    def run(pictures: np.ndarray) -> np.ndarray:
        return _run(network, prepare(list(pictures), preprocess, shape))

    made = Classifier(size, describe(network).macs, run, tuple(classes))
    return made if frame is None else _with_full(made, network, preprocess, frame)


def _classifier_of_file(
    model: Path, preprocess: Mapping[str, Any] | Path | str | None, classes: Sequence[str] | None, frame: Size
) -> Classifier:
    network = fold(formats.read(model))
    carried = _metadata(model)
    if preprocess is None:
        found: Mapping[str, Any] = carried.get("preprocess") or {}
    else:
        found = preprocess if isinstance(preprocess, Mapping) else load(Path(preprocess).expanduser())
    names = classes if classes is not None else carried.get("classes") or ()
    return classifier(network, Preprocess.from_json(found, str(model)), tuple(map(str, names)), frame)


def _metadata(model: Path) -> dict[str, Any]:
    """JSON values that an ONNX file carries under `classes` and `preprocess`."""
    if model.suffix.lower() != ".onnx":
        return {}
    import onnx

    found = {}
    for entry in onnx.load(str(model), load_external_data=False).metadata_props:
        if entry.key in ("classes", "preprocess"):
            try:
                found[entry.key] = json.loads(entry.value)
            except ValueError:
                continue
    return found


def _with_full(made: Classifier, network: Network, preprocess: Preprocess, frame: Size) -> Classifier:
    """Add the network at the frame's resolution, or the reason why it cannot run there."""
    try:
        describe_at(network, preprocess, frame)
    except (RuntimeError, ValueError, IndexError):
        reason = f"The network is not fully convolutional: it runs at {made.size[1]}x{made.size[0]} only."
        return replace(made, full_reason=reason)
    cost: dict[Size, int] = {}

    def macs(size: Size) -> int:
        if size not in cost:
            cost[size] = describe_at(network, preprocess, size).macs
        return cost[size]

    def run(pictures: np.ndarray) -> np.ndarray:
        size = pictures.shape[1], pictures.shape[2]
        shape = _shape(network.input_shape, preprocess, size)
        return _run(resized(network, shape), prepare(list(pictures), replace(preprocess, resize=None), shape))

    return replace(made, full_macs=macs, run_full=run)


def describe_at(network: Network, preprocess: Preprocess, size: Size) -> Graph:
    """Graph of the network for pictures of another size; raises ValueError where its outputs change shape."""
    other = resized(network, _shape(network.input_shape, preprocess, size))
    graph, own = describe(other), describe(network)
    if [graph.layer(name).output_shape for name in graph.outputs] != [own.layer(n).output_shape for n in own.outputs]:
        raise ValueError("the outputs depend on the input's size")
    return graph


def resized(network: Network, shape: tuple[int, ...]) -> Network:
    """Return the same network with another shape of its input; all tensors are shared."""
    first = network.inputs[0]
    other = Node(first.name, first.source, first.inputs, Input(shape))
    return network.with_nodes([other if node is first else node for node in network.nodes])


def input_size(shape: tuple[int, ...], preprocess: Preprocess) -> Size:
    """Height and width that a network takes; raises DataError for one that takes no pictures."""
    if len(shape) != 4:
        remedy = "Attention needs a network that takes pictures."
        raise DataError(f"the network takes {list(shape)}, no pictures.", where="attention", remedy=remedy)
    return (shape[1], shape[2]) if _last(shape, preprocess) else (shape[2], shape[3])


def _shape(shape: tuple[int, ...], preprocess: Preprocess, size: Size) -> tuple[int, ...]:
    return (1, *size, shape[3]) if _last(shape, preprocess) else (1, shape[1], *size)


def _last(shape: tuple[int, ...], preprocess: Preprocess) -> bool:
    """Whether the channels of the network's input come last."""
    return preprocess.layout == "NHWC" or (preprocess.layout is None and shape[1] not in (1, 3) and shape[3] in (1, 3))


def _run(network: Network, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        output: np.ndarray = network(torch.from_numpy(x))[0].numpy()
    return output


class _Some:
    """A seeded draw of the frames, in their order."""

    def __init__(self, frames: Frames, samples: int, seed: int) -> None:
        if not 1 <= samples <= frames.count:
            what = f"{samples:,} frames are asked for, there are {frames.count:,}."
            raise DataError(what, where=frames.source, remedy=f"Ask for 1 to {frames.count}.")
        self._frames = frames
        self._chosen = np.sort(balanced_order(frames.count, None, seed)[:samples]).tolist()
        self.count = samples

    def frame(self, i: int) -> np.ndarray:
        """Frame i of the draw."""
        return self._frames.frame(self._chosen[i])

    def boxes(self, i: int) -> Sequence[Any]:
        """Boxes of frame i of the draw."""
        return self._frames.boxes(self._chosen[i])
